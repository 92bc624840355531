package orgscan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/internal/secret"
	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// forge is a GitHub with a few repositories, over real git.
type forge struct {
	t    *testing.T
	root string
	url  string

	mu      sync.Mutex
	repos   map[string]map[string]any // full name -> what the API says
	limited int                       // requests that are refused for the rate
	busy    int                       // requests of git that are answered 429
	asked   map[string]int
}

func newForge(t *testing.T) *forge {
	t.Helper()
	f := &forge{t: t, root: t.TempDir(), repos: map[string]map[string]any{}, asked: map[string]int{}}
	core, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	git := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"), Root: "/git",
		Env: []string{"GIT_PROJECT_ROOT=" + f.root, "GIT_HTTP_EXPORT_ALL=1"},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/git/", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked[strings.SplitN(strings.TrimPrefix(r.URL.Path, "/git/"), ".git/", 2)[0]]++
		busy := f.busy > 0
		f.busy--
		f.mu.Unlock()
		if busy {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		git.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /api/v3/orgs/{org}/repos", f.list)
	mux.HandleFunc("GET /api/v3/users/{org}/repos", f.list)
	mux.HandleFunc("GET /api/v3/orgs/{org}/members", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `[{"login":"ann"}]`)
	})
	mux.HandleFunc("GET /api/v3/users/{user}/gists", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `[{"id":"aa11","git_pull_url":%q,"public":true,"updated_at":"2026-01-01T00:00:00Z"}]`, f.url+"/git/aa11.git")
	})
	mux.HandleFunc("POST /api/graphql", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Variables map[string]any }
		err := json.NewDecoder(r.Body).Decode(&q)
		if err != nil || q.Variables["slug"] != "corp" {
			fmt.Fprint(w, `{"data":{"enterprise":null}}`)
			return
		}
		page, next := `{"login":"acme"}`, `{"hasNextPage":true,"endCursor":"x"}`
		if q.Variables["after"] == "x" {
			page, next = `{"login":"second"}`, `{"hasNextPage":false,"endCursor":"y"}`
		}
		fmt.Fprintf(w, `{"data":{"enterprise":{"organizations":{"nodes":[%s],"pageInfo":%s}}}}`, page, next)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

func (f *forge) host() Host {
	return Host{API: f.url + "/api/v3", Token: secret.New("t"), Wait: func(context.Context, time.Time) error { return nil }}
}

// list gives two repositories a page.
func (f *forge) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited > 0 {
		f.limited--
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-RateLimit-Limit", "60")
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(-time.Hour).Unix(), 10))
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"API rate limit exceeded"}`)
		return
	}
	var names []string
	for n := range f.repos {
		if strings.HasPrefix(n, r.PathValue("org")+"/") && !strings.HasSuffix(n, ".wiki") {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	page = max(page, 1)
	from, to := min(len(names), 2*page-2), min(len(names), 2*page)
	if to < len(names) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?page=%d>; rel="next"`, f.url, r.URL.Path, page+1))
	}
	out := []map[string]any{}
	for _, n := range names[from:to] {
		out = append(out, f.repos[n])
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (f *forge) git(dir string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+f.root, "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// create makes a repository, empty or as a copy.
func (f *forge) create(name, from string, about map[string]any) {
	f.t.Helper()
	dir := filepath.Join(f.root, name+".git")
	if from == "" {
		f.git(f.root, "init", "-q", "--bare", "-b", "main", dir)
	} else {
		f.git(f.root, "clone", "-q", "--bare", filepath.Join(f.root, from+".git"), dir)
	}
	about["full_name"], about["clone_url"], about["pushed_at"] = name, f.url+"/git/"+name+".git", "2026-01-01T00:00:00Z"
	f.mu.Lock()
	f.repos[name] = about
	f.mu.Unlock()
}

// push commits files to a repository.
func (f *forge) push(name, file, text string, force bool) {
	f.t.Helper()
	work := f.t.TempDir()
	remote := filepath.Join(f.root, name+".git")
	if force || f.git(remote, "for-each-ref") == "" {
		f.git(work, "init", "-q", "-b", "main")
		f.git(work, "remote", "add", "origin", remote)
	} else {
		f.git(work, "clone", "-q", remote, ".")
	}
	err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644)
	if err != nil {
		f.t.Fatal(err)
	}
	f.git(work, "add", "-A")
	f.git(work, "commit", "-q", "-m", "change "+file)
	f.git(work, "push", "-q", "--force", "origin", "main")
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.repos[name]; r != nil {
		at, _ := time.Parse(time.RFC3339, r["pushed_at"].(string))
		r["pushed_at"] = at.Add(time.Minute).Format(time.RFC3339)
	}
}

func token(n int) string {
	return "gh" + "p_" + fmt.Sprintf("zQWBu%03dSOoRi4A9spHcVY5ncnsDkxkJ0mLq", n)
}

func leak(n int) string { return "token = '" + token(n) + "'\n" }

var engine = sync.OnceValues(func() (*scanner.Engine, error) { return scanner.New(scanner.Options{}) })

func options(t *testing.T, state string) Options {
	t.Helper()
	e, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Engine: e, StateDir: state, Limits: gitwire.Limits{TempDir: t.TempDir()}, Workers: 2}
}

// places are repository and path of findings.
func places(fs []Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Repository+" "+f.Path)
	}
	slices.Sort(out)
	return out
}

func TestList(t *testing.T) {
	f := newForge(t)
	f.create("acme/a", "", map[string]any{"has_wiki": true})
	f.create("acme/b", "", map[string]any{"fork": true})
	f.create("acme/c", "", map[string]any{"archived": true})
	f.create("second/d", "", map[string]any{})
	names := func(x Target) []string {
		rs, err := f.host().List(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range rs {
			out = append(out, r.Name)
		}
		return out
	}
	f.limited = 2
	for _, c := range []struct {
		target Target
		want   string
	}{
		{Target{Org: "acme"}, "acme/a"},
		{Target{Org: "acme", Forks: true}, "acme/a acme/b"},
		{Target{Org: "acme", Archived: true, Wikis: true}, "acme/a acme/a.wiki acme/c"},
		{Target{Org: "acme", Gists: true}, "acme/a gist ann/aa11"},
		{Target{User: "second"}, "second/d"},
		{Target{Enterprise: "corp", Forks: true, Archived: true}, "acme/a acme/b acme/c second/d"},
	} {
		if got := strings.Join(names(c.target), " "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.target, got, c.want)
		}
	}
	if f.limited != 0 {
		t.Error("the rate limit was not met")
	}
	_, err := f.host().List(t.Context(), Target{Enterprise: "other"})
	if err == nil {
		t.Error("an unknown enterprise has repositories")
	}
	_, err = f.host().List(t.Context(), Target{})
	if err == nil {
		t.Error("no target has repositories")
	}
}

func TestSweepFindsWhatIsNewGoneAndStillThere(t *testing.T) {
	f := newForge(t)
	f.create("acme/a", "", map[string]any{"has_wiki": true})
	f.push("acme/a", "one.env", leak(1), false)
	f.create("acme/a.wiki", "", map[string]any{})
	f.push("acme/a.wiki", "Home.md", leak(2), false)
	f.create("acme/fork", "acme/a", map[string]any{"fork": true})
	f.push("acme/fork", "two.env", leak(3), false)
	f.create("acme/old", "", map[string]any{"archived": true, "has_wiki": true}) // its wiki has no pages
	f.push("acme/old", "three.env", leak(4), false)
	target := Target{Org: "acme", Forks: true, Archived: true, Wikis: true}
	o := options(t, t.TempDir())
	var secrets []string
	o.Emit = func(_ Repository, x scanner.Finding) { secrets = append(secrets, x.Secret.Reveal()) }
	sweep := func() Summary {
		t.Helper()
		repos, err := f.host().List(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := Sweep(t.Context(), o, repos)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	sum := sweep()
	// The fork is told of what it shares with acme/a, too.
	want := []string{"acme/a one.env", "acme/a.wiki Home.md", "acme/fork one.env", "acme/fork two.env", "acme/old three.env"}
	if got := places(sum.Findings); !slices.Equal(got, want) || sum.Trend != (Trend{5, 0, 0}) || sum.Secrets != 4 || sum.Scanned != 5 || len(sum.Failed)+len(sum.Partial) > 0 {
		t.Fatalf("%q, %+v", got, sum)
	}
	if sum.Blobs != 4 {
		t.Errorf("%d blobs were looked at, want each of the 4 once", sum.Blobs)
	}
	slices.Sort(secrets)
	if !slices.Equal(secrets, []string{token(1), token(1), token(2), token(3), token(4)}) {
		t.Errorf("emitted %q", secrets)
	}
	if len(sum.ByProvider) != 1 || sum.ByProvider[0] != (Row{"github", Trend{5, 0, 0}}) || len(sum.ByRepository) != 4 {
		t.Errorf("%+v %+v", sum.ByProvider, sum.ByRepository)
	}

	// Nothing was pushed: nothing is fetched, and of wikis, of which GitHub tells
	// nothing, the refs are asked for.
	clear(f.asked)
	secrets = nil
	sum = sweep()
	if sum.Trend != (Trend{0, 5, 0}) || sum.Unchanged != 4 || f.asked["acme/a"] != 0 || f.asked["acme/a.wiki"] != 2 || len(secrets) != 0 {
		t.Errorf("%+v %v %q", sum, f.asked, secrets)
	}

	// One more, one rewritten away, one repository deleted.
	f.push("acme/a", "four.env", leak(5), false)
	f.push("acme/fork", "clean.txt", "nothing\n", true)
	delete(f.repos, "acme/old")
	sum = sweep()
	gone := []string{"acme/fork one.env", "acme/fork two.env", "acme/old three.env"}
	if got := places(sum.GoneFindings); sum.Trend != (Trend{1, 2, 3}) || !slices.Equal(got, gone) {
		t.Errorf("gone %q, %+v", got, sum)
	}
	sum = sweep()
	if sum.Trend != (Trend{0, 3, 0}) {
		t.Errorf("%+v", sum.Trend)
	}

	// Other rules find something in what did not change.
	e, err := scanner.New(scanner.Options{ExtraRules: []byte("[[rules]]\nid = 'ours'\nregex = 'nothing'\n")})
	if err != nil {
		t.Fatal(err)
	}
	o.Engine = e
	sum = sweep()
	if sum.Trend != (Trend{1, 3, 0}) || sum.Unchanged != 0 {
		t.Errorf("with another rule: %+v, %d unchanged", sum.Trend, sum.Unchanged)
	}

	// What is kept holds no secret.
	err = filepath.WalkDir(o.StateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for n := range 6 {
			if strings.Contains(string(data), token(n)) {
				t.Errorf("%s holds a secret", d.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSweepGoesOnWhereItStopped(t *testing.T) {
	f := newForge(t)
	var repos []Repository
	for n := range 4 {
		name := fmt.Sprintf("acme/r%d", n)
		f.create(name, "", map[string]any{})
		f.push(name, "x.env", leak(n), false)
		repos = append(repos, Repository{Name: name, Kind: KindCode, URL: f.url + "/git/" + name + ".git"})
	}
	o := options(t, t.TempDir())
	o.Workers = 1
	ctx, stop := context.WithCancel(t.Context())
	o.Progress = func(p Progress) {
		if p.Done == 2 {
			stop()
		}
	}
	_, err := Sweep(ctx, o, repos)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	clear(f.asked)
	o.Progress = nil
	sum, err := Sweep(t.Context(), o, repos)
	if err != nil {
		t.Fatal(err)
	}
	if !sum.Resumed || sum.Trend != (Trend{4, 0, 0}) || f.asked["acme/r0"] != 0 || f.asked["acme/r3"] == 0 {
		t.Errorf("%+v, asked for %v", sum, f.asked)
	}
}

func TestWhatCannotBeReadIsTold(t *testing.T) {
	f := newForge(t)
	f.create("acme/a", "", map[string]any{})
	f.push("acme/a", "x.env", leak(1), false)
	local := filepath.Join(f.root, "acme/a.git")
	sum, err := Sweep(t.Context(), options(t, t.TempDir()), []Repository{
		{Name: "gone", URL: f.url + "/git/acme/nosuch.git", Kind: KindCode},
		{Name: "nowhere", URL: t.TempDir(), Kind: KindCode},
		{Name: "local", URL: local, Kind: KindCode},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sum.Failed) != 2 || sum.Scanned != 1 || len(sum.Findings) != 1 || sum.Findings[0].Repository != "local" {
		t.Errorf("%+v", sum)
	}
}

func TestOneSweepAtATime(t *testing.T) {
	o := options(t, t.TempDir())
	st, err := openStates(o.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Sweep(t.Context(), o, nil)
	if !errors.Is(err, ErrHeld) {
		t.Errorf("a second sweep: %v", err)
	}
	st.close()
	_, err = Sweep(t.Context(), o, nil)
	if err != nil {
		t.Error(err)
	}
}

// TestBusyHost: a host that asks for patience is asked again when it said so.
func TestBusyHost(t *testing.T) {
	f := newForge(t)
	f.create("acme/a", "", map[string]any{})
	f.push("acme/a", "x.env", leak(1), false)
	f.busy = 2
	o := options(t, t.TempDir())
	var waited []time.Duration
	o.Wait = func(_ context.Context, until time.Time) error {
		waited = append(waited, time.Until(until).Round(time.Minute))
		return nil
	}
	repos := []Repository{{Name: "acme/a", Kind: KindCode, URL: f.url + "/git/acme/a.git"}}
	sum, err := Sweep(t.Context(), o, repos)
	if err != nil || len(sum.Findings) != 1 || !slices.Equal(waited, []time.Duration{2 * time.Minute, 2 * time.Minute}) {
		t.Errorf("%v, %+v, waited %v", err, sum, waited)
	}
	f.busy = 1000
	repos[0].Name = "other"
	sum, err = Sweep(t.Context(), o, repos)
	if err != nil || len(sum.Failed) != 1 {
		t.Errorf("%v, %+v", err, sum)
	}
}
