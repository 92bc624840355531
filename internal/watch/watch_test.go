package watch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v60/github"

	"stanch/internal/githubapp"
	lab "stanch/internal/lab/github"
	"stanch/internal/secret"
	"stanch/scanner"
)

// made up, and split so that no scanner takes them for leaks of ours
var (
	tokenA = "gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
	tokenB = "gh" + "o_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
)

// api is a GitHub that lists events.
type api struct {
	mu      sync.Mutex
	events  map[string][]map[string]any // by path, newest first
	members []string
	refs    map[string]string // "owner/name refs/heads/x" to id
	broken  map[string]int    // "path page" to a status
	poll    string
	left    int // requests left, -1 without limit
	asked   []string
	status  []int

	gists      map[string][]map[string]any // by login
	askedGists []string                    // "login since status"
}

// listGists lists one gist a page.
func (a *api) listGists(w http.ResponseWriter, r *http.Request, login string) {
	since, err := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	var list []map[string]any
	for _, g := range a.gists[login] {
		at, _ := time.Parse(time.RFC3339, g["updated_at"].(string))
		if !at.Before(since) {
			list = append(list, g)
		}
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	status := 200
	etag := fmt.Sprintf(`W/"%d %s"`, len(list), since)
	w.Header().Set("ETag", etag)
	switch {
	case err != nil:
		status = 422
	case r.Header.Get("If-None-Match") == etag:
		status = 304
	case page < len(list):
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d>; rel="next"`, r.Host, r.URL.Path, page+1))
	}
	a.askedGists = append(a.askedGists, fmt.Sprintf("%s %d", login, status))
	w.WriteHeader(status)
	if status == 200 {
		_ = json.NewEncoder(w).Encode(list[min(page-1, len(list)):min(page, len(list))])
	}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	say := func(status int, v any) {
		a.status = append(a.status, status)
		w.WriteHeader(status)
		if status != 304 {
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if login, ok := strings.CutSuffix(strings.TrimPrefix(path, "users/"), "/gists"); ok && a.left < 0 {
		a.listGists(w, r, login)
		return
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	a.asked = append(a.asked, fmt.Sprintf("%s %d", path, page))
	w.Header().Set("X-Poll-Interval", a.poll)
	if a.left >= 0 {
		w.Header().Set("X-RateLimit-Limit", "60")
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(max(0, a.left-1)))
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(30*time.Minute).Unix(), 10))
		if a.left == 0 {
			say(403, map[string]string{"message": "API rate limit exceeded"})
			return
		}
		a.left--
	}
	if s := a.broken[fmt.Sprintf("%s %d", path, page)]; s != 0 {
		say(s, map[string]string{"message": "broken"})
		return
	}
	if strings.HasSuffix(path, "members") {
		out := []map[string]any{}
		for _, m := range a.members {
			out = append(out, map[string]any{"login": m})
		}
		say(200, out)
		return
	}
	if repo, ref, ok := strings.Cut(path, "/git/ref/"); ok {
		id := a.refs[strings.TrimPrefix(repo, "repos/")+" refs/"+ref]
		if id == "" {
			say(404, map[string]string{"message": "Not Found"})
			return
		}
		say(200, map[string]any{"ref": "refs/" + ref, "object": map[string]string{"sha": id, "type": "commit"}})
		return
	}
	list, ok := a.events[path]
	if !ok {
		say(404, map[string]string{"message": "Not Found"})
		return
	}
	newest := "none"
	if len(list) > 0 {
		newest = list[0]["id"].(string)
	}
	etag := `W/"` + newest + `"`
	w.Header().Set("ETag", etag)
	if r.Header.Get("If-None-Match") == etag {
		say(304, nil)
		return
	}
	from, to := min(len(list), (page-1)*perPage), min(len(list), page*perPage)
	if to < len(list) {
		w.Header().Set("Link", fmt.Sprintf(`<http://%s/%s?per_page=%d&page=%d>; rel="next"`, r.Host, path, perPage, page+1))
	}
	say(200, list[from:to])
}

// world is a GitHub with a repository to push to.
type world struct {
	t    *testing.T
	api  *api
	url  string
	web  string
	dir  string
	now  time.Time
	next int

	state State
	seen  []Seen
	notes []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	srv, err := lab.Start(lab.Options{Seed: 1, DataDir: t.TempDir()})
	must(t, err)
	t.Cleanup(srv.Close)
	user, err := srv.CreateUser("mona")
	must(t, err)
	repo, err := srv.CreateRepo("mona", "dots", false)
	must(t, err)
	w := &world{t: t, dir: t.TempDir(), now: time.Now().UTC().Truncate(time.Second), next: 40_000_000_000,
		api: &api{events: map[string][]map[string]any{"users/mona/events/public": {}}, refs: map[string]string{}, broken: map[string]int{}, poll: "60", left: -1}}
	w.web = strings.TrimSuffix(repo.CloneURL, "/mona/dots.git")
	u, err := url.Parse(repo.CloneURL)
	must(t, err)
	u.User = url.UserPassword(user.Login, user.Password)
	w.git("init", "-q", "-b", "main")
	w.git("remote", "add", "origin", u.String())
	s := httptest.NewServer(w.api)
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Mona", "GIT_AUTHOR_EMAIL=mona@example.com", "GIT_COMMITTER_NAME=Mona", "GIT_COMMITTER_EMAIL=mona@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits a file, pushes it to main, and gives the ids before and after.
func (w *world) push(name, content string) (before, after string) {
	w.t.Helper()
	before = strings.Repeat("0", 40)
	cmd := exec.Command("git", "rev-parse", "-q", "--verify", "HEAD")
	cmd.Dir = w.dir
	out, err := cmd.Output()
	if err == nil {
		before = strings.TrimSpace(string(out))
	}
	must(w.t, os.WriteFile(filepath.Join(w.dir, name), []byte(content+"\n"), 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "write "+name)
	w.git("push", "-q", "origin", "main")
	return before, w.git("rev-parse", "HEAD")
}

// event lists an event, age ago, in feeds.
func (w *world) event(kind string, age time.Duration, payload map[string]any, feeds ...string) {
	w.next++
	e := map[string]any{"id": strconv.Itoa(w.next), "type": kind, "public": true, "created_at": w.now.Add(-age).Format(time.RFC3339),
		"actor": map[string]any{"login": "mona"}, "repo": map[string]any{"name": "mona/dots"}, "payload": payload}
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	if len(feeds) == 0 {
		feeds = []string{"users/mona/events/public"}
	}
	for _, f := range feeds {
		w.api.events[f] = append([]map[string]any{e}, w.api.events[f]...)
	}
}

func (w *world) pushEvent(age time.Duration, before, after string, feeds ...string) {
	w.event("PushEvent", age, map[string]any{"ref": "refs/heads/main", "before": before, "head": after, "push_id": 1}, feeds...)
}

var engine = func() *scanner.Engine {
	e, err := scanner.New(scanner.Options{})
	if err != nil {
		panic(err)
	}
	return e
}()

func (w *world) options() Options {
	client, err := githubapp.TokenClient(githubapp.TokenOptions{APIURL: w.url})
	must(w.t, err)
	return Options{
		Client: client, WebURL: w.web, Users: []string{"mona"}, Since: 24 * time.Hour, Once: true, Engine: engine, State: &w.state,
		Seen: func(s Seen) { w.seen = append(w.seen, s) }, Note: func(s string) { w.notes = append(w.notes, s) },
		Now: func() time.Time { return w.now },
		Save: func(s State) error { // as a file would
			data, err := json.Marshal(s)
			if err != nil {
				return err
			}
			w.state = State{}
			return json.Unmarshal(data, &w.state)
		},
	}
}

// run asks once, a while later, as a new process.
func (w *world) run(o Options, later time.Duration) Result {
	w.t.Helper()
	w.now = w.now.Add(later)
	w.seen, w.notes = nil, nil
	w.api.mu.Lock()
	w.api.asked, w.api.status, w.api.askedGists = nil, nil, nil
	w.api.mu.Unlock()
	var state State
	data, err := json.Marshal(w.state)
	must(w.t, err)
	must(w.t, json.Unmarshal(data, &state))
	o.State = &state
	o.Save = func(s State) error { w.state = s; return nil }
	res, err := Run(context.Background(), o)
	must(w.t, err)
	return res
}

// found lists "path rule" of what was seen.
func (w *world) found() []string {
	var out []string
	for _, s := range w.seen {
		for _, f := range s.Findings {
			out = append(out, f.Place.Path+" "+f.Rule)
		}
	}
	return out
}

func (w *world) want(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: got %v, want %v (notes %q)", what, got, want, w.notes)
	}
}

func TestPushesAreSeenOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.push("old.env", "t="+tokenA)
	w.pushEvent(48*time.Hour, a, b)
	a, b = w.push("new.env", "t="+tokenB)
	w.pushEvent(10*time.Minute, a, b)
	res := w.run(w.options(), 0)
	w.want("findings", w.found(), []string{"new.env github-oauth"}) // the other one is older than --since
	w.want("result", res, Result{Events: 1, Findings: 1})
	if len(w.seen) == 1 {
		w.want("late", w.seen[0].Late(), 10*time.Minute)
		w.want("place", w.seen[0].Findings[0].Place.Repository+" "+w.seen[0].Findings[0].Place.Commit, "mona/dots "+b)
	}

	w.run(w.options(), 30*time.Second)
	w.want("asked before GitHub's interval is over", len(w.api.asked), 0)

	res = w.run(w.options(), time.Minute)
	w.want("nothing new", w.api.status, []int{304})
	w.want("nothing new", res, Result{})

	a, b = w.push("new.env", "t="+tokenB+"\nother=1")
	w.pushEvent(time.Minute, a, b)
	a, b = w.push("third.env", "t="+tokenA)
	w.pushEvent(0, a, b)
	res = w.run(w.options(), time.Hour)
	w.want("findings", w.found(), []string{"third.env github-pat"})
	w.want("result", res, Result{Events: 2, Findings: 1})
}

func TestMembersAndTheOrganisationShareEvents(t *testing.T) {
	w := newWorld(t)
	w.api.members = []string{"mona", "gone"}
	a, b := w.push("new.env", "t="+tokenB)
	w.pushEvent(time.Minute, a, b, "users/mona/events/public", "orgs/acme/events")
	o := w.options()
	o.Org, o.Users = "acme", []string{"Mona"}
	res := w.run(o, 0)
	w.want("findings", w.found(), []string{"new.env github-oauth"})
	w.want("asked", w.api.asked, []string{"orgs/acme/public_members 0", "orgs/acme/events 1", "users/Mona/events/public 1", "users/gone/events/public 1"})
	_ = res
}

func TestHistoryOfWhatBecomesPublicAndNewBranches(t *testing.T) {
	w := newWorld(t)
	w.push("gone.env", "t="+tokenA)
	_, main := w.push("gone.env", "clean")
	w.event("PublicEvent", time.Minute, map[string]any{})
	w.event("WatchEvent", time.Minute, map[string]any{"action": "started"})
	w.git("checkout", "-q", "-b", "side")
	w.git("push", "-q", "origin", "side")
	must(t, os.WriteFile(filepath.Join(w.dir, "side.env"), []byte("t="+tokenB+"\n"), 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "side")
	w.git("push", "-q", "origin", "side")
	side := w.git("rev-parse", "HEAD")
	w.api.refs["mona/dots refs/heads/side"] = side
	w.event("CreateEvent", 30*time.Second, map[string]any{"ref": "side", "ref_type": "branch"})
	w.event("CreateEvent", 30*time.Second, map[string]any{"ref": "deleted", "ref_type": "branch"})
	w.event("PushEvent", 10*time.Second, map[string]any{"ref": "refs/heads/side", "before": main, "head": side})
	res := w.run(w.options(), 0)
	// the history of the repository, once, and nothing twice
	w.want("findings", w.found(), []string{"gone.env github-pat", "side.env github-oauth"})
	w.want("result", res, Result{Events: 4, Findings: 2})
}

func TestGapsAndMissingPages(t *testing.T) {
	w := newWorld(t)
	a, b := w.push("a.env", "t="+tokenA)
	w.pushEvent(time.Minute, a, b)
	w.run(w.options(), 0)

	// More events than GitHub lists: the known one is not among them.
	w.api.events["users/mona/events/public"] = nil
	for range mostListed {
		w.event("WatchEvent", 0, nil)
	}
	res := w.run(w.options(), time.Hour)
	w.want("partial", res.Partial, true)
	if !slices.ContainsFunc(w.notes, func(s string) bool { return strings.Contains(s, "a gap") }) {
		t.Errorf("no gap among %q", w.notes)
	}
	w.want("asked", len(w.api.asked), 3)

	// A page that is missing is read the next time, though the first did not change.
	for range perPage {
		w.event("WatchEvent", 0, nil)
	}
	a, b = w.push("b.env", "t="+tokenB)
	w.pushEvent(0, a, b)
	list := w.api.events["users/mona/events/public"]
	list[0], list[150] = list[150], list[0] // late, as GitHub may be
	w.api.broken["users/mona/events/public 2"] = 502
	res = w.run(w.options(), time.Minute)
	w.want("partial", res, Result{Partial: true})
	delete(w.api.broken, "users/mona/events/public 2")
	w.run(w.options(), 2*time.Minute)
	w.want("findings", w.found(), []string{"b.env github-oauth"})
}

func TestRateLimits(t *testing.T) {
	w := newWorld(t)
	w.api.left = 0
	res := w.run(w.options(), 0)
	w.want("partial", res, Result{Partial: true})
	w.api.left = -1
	w.run(w.options(), 20*time.Minute)
	w.want("asked before the limit ends", len(w.api.asked), 0)
	w.run(w.options(), 20*time.Minute)
	w.want("asked after it", w.api.status, []int{200})

	// What is left is spread: 2 requests for 30 minutes, and events are asked for
	// every time, gists every fifth time.
	w.api.left = 4
	o := w.options()
	o.Once = false
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var pause time.Duration
	o.Now = time.Now
	w.state = State{}
	o.State = &w.state
	o.Sleep = func(ctx context.Context, d time.Duration) error {
		pause = d
		cancel()
		return ctx.Err()
	}
	_, err := Run(ctx, o)
	must(t, err)
	if pause < 17*time.Minute || pause > 18*time.Minute {
		t.Errorf("pause %s, want 18 minutes", pause)
	}
}

func TestWhatCannotBeFetchedIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	a, b := w.push("a.env", "t="+tokenA)
	w.pushEvent(time.Minute, a, b)
	o := w.options()
	o.WebURL = "http://127.0.0.1:1"
	w.run(o, 0)
	w.want("waiting", len(w.state.Waiting), 1)
	w.run(w.options(), time.Minute)
	w.want("not due", len(w.seen), 0)
	w.run(w.options(), 10*time.Minute)
	w.want("findings", w.found(), []string{"a.env github-pat"})
	w.want("waiting", len(w.state.Waiting), 0)

	// What is gone is told, and not tried again.
	w.pushEvent(0, b, strings.Repeat("1", 40))
	w.event("PushEvent", 0, map[string]any{"ref": "refs/heads/main", "before": "x", "head": "--upload-pack=x"})
	w.run(w.options(), time.Hour)
	w.want("waiting", len(w.state.Waiting), 0)
	if !slices.ContainsFunc(w.notes, func(s string) bool { return strings.Contains(s, "gone") }) {
		t.Errorf("notes %q", w.notes)
	}
}

func TestWhatCannotBeFollowedIsAnError(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Options){
		"no organisation": func(o *Options) { o.Org = "nobody"; w.api.broken["orgs/nobody/public_members 0"] = 404 },
		"no login":        func(o *Options) { o.Users = []string{"../x"} },
		"refused token": func(o *Options) {
			w.api.broken["users/mona/events/public 1"] = 401
			client, err := githubapp.TokenClient(githubapp.TokenOptions{APIURL: w.url, Token: secret.New("t")})
			must(t, err)
			o.Client = client
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.options()
			change(&o)
			_, err := Run(context.Background(), o)
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

// FuzzEvent holds that nothing of an event reaches a URL or git unless it has
// the form of a name, ref or id.
func FuzzEvent(f *testing.F) {
	id := strings.Repeat("a", 40)
	f.Add([]byte(`{"id":"1","type":"PushEvent","actor":{"login":"a"},"repo":{"name":"a/b"},"payload":{"ref":"refs/heads/x","before":"` + id + `","head":"` + id + `"}}`))
	f.Add([]byte(`{"id":"1","type":"CreateEvent","actor":{"login":"a"},"repo":{"name":"a/b"},"payload":{"ref":"x","ref_type":"branch"}}`))
	f.Add([]byte(`{"type":"PublicEvent","actor":{"login":"a"},"repo":{"name":"../.."},"payload":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var raw github.Event
		err := json.Unmarshal(data, &raw)
		if err != nil {
			return
		}
		e, ok := parseEvent(&raw, time.Unix(0, 0))
		if !ok {
			return
		}
		owner, name, _ := strings.Cut(e.Repository, "/")
		if strings.ContainsAny(owner+name, "/?#%@: ") || owner == ".." || name == ".." || name == "." || strings.HasPrefix(owner, "-") {
			t.Errorf("repository %q", e.Repository)
		}
		for _, id := range append([]string{e.Before, e.After}, e.Commits...) {
			if strings.Trim(id, "0123456789abcdef") != "" {
				t.Errorf("id %q", id)
			}
		}
		if e.Ref != "" && (!strings.HasPrefix(e.Ref, "refs/") || strings.Contains(e.Ref, "..")) {
			t.Errorf("ref %q", e.Ref)
		}
	})
}

// TestForcedPush: what a forced push removed is looked at while GitHub gives it.
func TestForcedPush(t *testing.T) {
	w := newWorld(t)
	_, first := w.push("a.txt", "one")
	_, leaked := w.push("leak.env", "t="+tokenA)
	w.git("reset", "-q", "--hard", first)
	must(t, os.WriteFile(filepath.Join(w.dir, "b.txt"), []byte("two\n"), 0o644))
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "clean")
	w.git("push", "-q", "--force", "origin", "main")
	w.pushEvent(time.Minute, leaked, w.git("rev-parse", "HEAD")) // the event of the leak is not listed
	res := w.run(w.options(), 0)
	w.want("findings", w.found(), []string{"leak.env github-pat"})
	if len(w.seen) == 1 && len(w.seen[0].Findings) == 1 {
		place := w.seen[0].Findings[0].Place
		w.want("removed", fmt.Sprint(place.Removed, place.Commit), fmt.Sprint(true, leaked))
	}
	w.want("result", res, Result{Events: 1, Findings: 1})
}

// TestForks: a fork that a followed feed tells of is followed, one of a stranger's
// fork is not, and not for ever.
func TestForks(t *testing.T) {
	w := newWorld(t)
	fork := func(name string) map[string]any { return map[string]any{"forkee": map[string]any{"full_name": name}} }
	w.event("ForkEvent", 10*24*time.Hour, fork("mona/dots"))
	w.event("ForkEvent", time.Hour, fork("../x"))
	w.event("ForkEvent", 100*24*time.Hour, fork("mona/older"))
	res := w.run(w.options(), 0)
	w.want("an event without content", res, Result{})
	a, b := w.push("x.env", "t="+tokenA)
	w.pushEvent(0, a, b, "repos/mona/dots/events")
	w.event("ForkEvent", time.Hour, fork("stranger/again"), "repos/mona/dots/events")
	w.run(w.options(), time.Minute)
	w.want("a push to the fork", w.found(), []string{"x.env github-pat"})
	w.want("followed", fmt.Sprint(w.state.Forks), fmt.Sprint([]Fork{{"mona/dots", w.now.Add(-10*24*time.Hour - time.Minute)}}))
	w.run(w.options(), 2*time.Minute)
	w.want("asked for the fork again soon", slices.Contains(w.api.asked, "repos/mona/dots/events 1"), false)
	w.run(w.options(), 90*24*time.Hour)
	w.want("followed after 90 days", len(w.state.Forks)+len(w.state.Feeds), 2)
	w.want("asked", slices.Contains(w.api.asked, "repos/mona/dots/events 1"), false)
}

// TestGists: gists have no events; they are listed since the newest that is known.
func TestGists(t *testing.T) {
	w := newWorld(t)
	w.push("x.env", "t="+tokenA)
	gist := func(id string, age time.Duration, address string) map[string]any {
		return map[string]any{"id": id, "git_pull_url": address, "updated_at": w.now.Add(-age).Format(time.RFC3339)}
	}
	clone := w.web + "/mona/dots.git"
	w.api.gists = map[string][]map[string]any{"mona": {
		gist("aa11", time.Hour, clone), gist("bb22", 100*time.Hour, clone), gist("cc33", time.Minute, "https://elsewhere.example/x.git"), gist("../dd", time.Minute, clone),
	}}
	res := w.run(w.options(), 0)
	w.want("findings", w.found(), []string{"x.env github-pat"})
	w.want("result", res, Result{Events: 1, Findings: 1})
	if len(w.seen) == 1 {
		w.want("event", fmt.Sprint(w.seen[0].Type, w.seen[0].Repository, w.seen[0].Late()), fmt.Sprint("Gist", "gist/aa11", time.Hour))
	}
	w.run(w.options(), time.Minute)
	w.want("asked soon", len(w.api.askedGists), 0)
	res = w.run(w.options(), 5*time.Minute)
	w.want("asked", fmt.Sprint(w.api.askedGists), "[mona 200 mona 200 mona 200]") // since the newest one
	w.want("known", res, Result{})
	w.run(w.options(), 5*time.Minute)
	w.want("asked conditionally", fmt.Sprint(w.api.askedGists), "[mona 304]")
	w.api.gists["mona"] = append(w.api.gists["mona"], gist("aa11", 0, clone))
	res = w.run(w.options(), 5*time.Minute)
	w.want("changed", res.Events, 1)
}
