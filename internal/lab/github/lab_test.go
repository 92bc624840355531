package github

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// hook receives deliveries.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	heads  []http.Header
	bodies [][]byte
	status int
}

func newHook(t testing.TB) *hook {
	h := &hook{status: http.StatusAccepted}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.heads, h.bodies = append(h.heads, r.Header.Clone()), append(h.bodies, body)
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

type world struct {
	t     testing.TB
	lab   *Server
	clock *clock
	hook  *hook
	app   *App
	in    *Installation
	repo  *Repo
	user  *Account
	dir   string
}

// newWorld is an organisation with the plan enterprise, a repository, an App on
// it and a clone.
func newWorld(t testing.TB, o Options) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}, hook: newHook(t), dir: t.TempDir()}
	o.Now, o.DataDir = w.clock.now, t.TempDir()
	var err error
	w.lab, err = Start(o)
	must(t, err)
	t.Cleanup(w.lab.Close)
	w.user, err = w.lab.CreateUser("mona")
	must(t, err)
	_, err = w.lab.CreateOrg("octo", PlanEnterprise, "mona")
	must(t, err)
	w.repo, err = w.lab.CreateRepo("octo", "shop", true)
	must(t, err)
	w.app, err = w.lab.CreateApp(AppOptions{Name: "stanch", Owner: "octo", WebhookURL: w.hook.URL})
	must(t, err)
	w.in, err = w.lab.Install(w.app.ID, "octo")
	must(t, err)
	w.git("init", "-q", "-b", "main")
	w.git("remote", "add", "origin", strings.Replace(w.repo.CloneURL, "://", "://mona:"+w.user.Password+"@", 1))
	return w
}

func (w *world) tryGit(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Mona", "GIT_AUTHOR_EMAIL=" + w.user.Email, "GIT_COMMITTER_NAME=Bot", "GIT_COMMITTER_EMAIL=bot@example.com"}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	out, err := w.tryGit(args...)
	if err != nil {
		w.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return out
}

func (w *world) commit(name, content string) string {
	w.t.Helper()
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(content), 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "write "+name)
	return w.git("rev-parse", "HEAD")
}

func (w *world) settle() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(w.t, w.lab.Wait(ctx))
}

// last returns the newest delivery of an event.
func (w *world) last(event string) (http.Header, map[string]any) {
	w.t.Helper()
	w.settle()
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	for i := len(w.hook.heads) - 1; i >= 0; i-- {
		if w.hook.heads[i].Get("X-GitHub-Event") == event {
			var m map[string]any
			must(w.t, json.Unmarshal(w.hook.bodies[i], &m))
			return w.hook.heads[i], m
		}
	}
	w.t.Fatalf("no %s was delivered", event)
	return nil, nil
}

func (w *world) count(event string) int {
	w.settle()
	w.hook.mu.Lock()
	defer w.hook.mu.Unlock()
	n := 0
	for _, h := range w.hook.heads {
		if h.Get("X-GitHub-Event") == event {
			n++
		}
	}
	return n
}

func (w *world) jwt(iat, exp time.Duration) string {
	w.t.Helper()
	now := w.clock.now()
	s, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": strconv.FormatInt(w.app.ID, 10), "iat": now.Add(iat).Unix(), "exp": now.Add(exp).Unix(),
	}).SignedString(w.app.key)
	must(w.t, err)
	return s
}

// call makes a REST request and returns status, headers and the decoded answer.
func (w *world) call(method, path, auth, body string) (int, http.Header, any) {
	w.t.Helper()
	req, err := http.NewRequest(method, w.lab.APIURL()+path, strings.NewReader(body))
	must(w.t, err)
	if auth != "" {
		req.Header.Set("Authorization", "Bearer "+auth)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	must(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	must(w.t, err)
	var v any
	if len(raw) > 0 {
		must(w.t, json.NewDecoder(bytes.NewReader(raw)).Decode(&v))
	}
	return resp.StatusCode, resp.Header, v
}

func (w *world) status(want int, method, path, auth, body string) any {
	w.t.Helper()
	got, _, v := w.call(method, path, auth, body)
	if got != want {
		w.t.Errorf("%s %s: status %d, want %d: %v", method, path, got, want, v)
	}
	return v
}

func (w *world) installationToken(body string) string {
	w.t.Helper()
	v := w.status(201, "POST", "/app/installations/"+strconv.FormatInt(w.in.ID, 10)+"/access_tokens", w.jwt(-time.Minute, 9*time.Minute), body)
	return v.(map[string]any)["token"].(string)
}

func TestPushIsDeliveredSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	first := w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	second := w.commit("b", "2")
	w.git("rm", "-q", "a")
	third := w.commit("b", "3")
	w.git("push", "-q", "origin", "main")
	head, p := w.last("push")
	w.hook.mu.Lock()
	mac := hmac.New(sha256.New, []byte(w.app.WebhookSecret))
	mac.Write(w.hook.bodies[len(w.hook.bodies)-1])
	w.hook.mu.Unlock()
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); head.Get("X-Hub-Signature-256") != want {
		t.Errorf("signature %q, want %q", head.Get("X-Hub-Signature-256"), want)
	}
	for _, h := range []string{"X-GitHub-Delivery", "X-GitHub-Hook-ID", "X-Hub-Signature"} {
		if head.Get(h) == "" {
			t.Errorf("no %s", h)
		}
	}
	if !strings.HasPrefix(head.Get("User-Agent"), "GitHub-Hookshot/") {
		t.Errorf("user agent %q", head.Get("User-Agent"))
	}
	if p["ref"] != "refs/heads/main" || p["before"] != first || p["after"] != third || p["forced"] != false || p["created"] != false {
		t.Errorf("payload: %v", p)
	}
	commits := p["commits"].([]any)
	if len(commits) != 2 || commits[0].(map[string]any)["id"] != second {
		t.Fatalf("commits: %v", commits)
	}
	c := commits[1].(map[string]any)
	if c["distinct"] != true || c["removed"].([]any)[0] != "a" || c["modified"].([]any)[0] != "b" || c["author"].(map[string]any)["username"] != "mona" {
		t.Errorf("commit: %v", c)
	}
	if p["repository"].(map[string]any)["full_name"] != "octo/shop" || p["installation"].(map[string]any)["id"] != float64(w.in.ID) ||
		p["organization"].(map[string]any)["login"] != "octo" || p["pusher"].(map[string]any)["name"] != "mona" {
		t.Errorf("payload: %v", p)
	}
}

func TestPushFlags(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	first := w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	_, p := w.last("push")
	if p["created"] != true || p["before"] != zeroID || len(p["commits"].([]any)) != 1 || p["base_ref"] != nil {
		t.Errorf("first push: %v", p)
	}
	w.git("push", "-q", "origin", "main:topic")
	_, p = w.last("push")
	if p["created"] != true || p["base_ref"] != "refs/heads/main" || len(p["commits"].([]any)) != 0 || p["head_commit"].(map[string]any)["id"] != first {
		t.Errorf("branch: %v", p)
	}
	w.git("commit", "-q", "--amend", "-m", "other")
	w.git("push", "-q", "--force", "origin", "main")
	_, p = w.last("push")
	if p["forced"] != true || p["before"] != first {
		t.Errorf("forced: %v", p)
	}
	w.git("push", "-q", "origin", ":topic")
	_, p = w.last("push")
	if p["deleted"] != true || p["after"] != zeroID || p["head_commit"] != nil {
		t.Errorf("deleted: %v", p)
	}
	w.git("tag", "-a", "-m", "m", "v1")
	w.git("push", "-q", "origin", "v1")
	_, p = w.last("push")
	if p["ref"] != "refs/tags/v1" || p["after"] != w.git("rev-parse", "v1") || len(p["commits"].([]any)) != 0 || p["head_commit"] == nil {
		t.Errorf("tag: %v", p)
	}
}

func TestNoEventForManyTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	for _, tag := range []string{"1", "2", "3", "4"} {
		w.git("tag", "t"+tag)
	}
	before := w.count("push")
	w.git("push", "-q", "--tags", "origin")
	if n := w.count("push"); n != before {
		t.Errorf("%d events for 4 tags at once", n-before)
	}
	w.git("push", "-q", "origin", ":t1", ":t2", ":t3")
	if n := w.count("push"); n != before+3 {
		t.Errorf("%d events for 3 deleted tags", n-before)
	}
}

func TestLargePushGoesThrough(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	noise := make([]byte, 3<<20) // beyond git's http.postBuffer: chunked
	for i, x := 0, uint64(7); i < len(noise); i++ {
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 56)
	}
	w.commit("noise", string(noise))
	w.git("push", "-q", "origin", "main")
	if n := w.count("push"); n != 1 {
		t.Errorf("%d push events", n)
	}
}

func TestGitAccess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	other, err := w.lab.CreateRepo("octo", "other", true)
	must(t, err)
	stranger, err := w.lab.CreateUser("eve")
	must(t, err)
	with := func(login, password string) string {
		return strings.Replace(w.repo.CloneURL, "://", "://"+login+":"+password+"@", 1)
	}
	narrowed := w.installationToken(`{"repositories":["other"],"permissions":{"contents":"read"}}`)
	blind := w.installationToken(`{"permissions":{"metadata":"read"}}`)
	good := w.installationToken(`{"repositories":["shop"],"permissions":{"contents":"read"}}`)
	classic, err := w.lab.CreateToken("mona", KindClassic, "gist")
	must(t, err)
	for name, c := range map[string]struct {
		url string
		ok  bool
	}{
		"anonymous":            {w.repo.CloneURL, false},
		"wrong password":       {with("mona", "x"), false},
		"stranger":             {with("eve", stranger.Password), false},
		"member":               {with("mona", w.user.Password), true},
		"installation token":   {with("x-access-token", good), true},
		"other repository":     {with("x-access-token", narrowed), false},
		"without contents":     {with("x-access-token", blind), false},
		"token without scope":  {with("mona", classic), false},
		"other with its token": {strings.Replace(other.CloneURL, "://", "://x-access-token:"+narrowed+"@", 1), true},
	} {
		_, err := w.tryGit("ls-remote", c.url)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = w.tryGit("push", "-q", with("x-access-token", good), "main:evil")
	if err == nil {
		t.Error("read-only token pushed")
	}
	w.clock.add(time.Hour + time.Second)
	_, err = w.tryGit("ls-remote", with("x-access-token", good))
	if err == nil {
		t.Error("expired token was accepted")
	}
	must(t, w.lab.Publicize("octo/shop"))
	_, err = w.tryGit("ls-remote", w.repo.CloneURL)
	must(t, err)
	w.last("public")
}
