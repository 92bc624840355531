package gitwire

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stanch/internal/lab/github"
)

// fixture is a laboratory GitHub with one repository and a developer's clone.
type fixture struct {
	t    testing.TB
	lab  *github.Server
	app  *github.App
	user *github.Account
	repo *github.Repo
	dir  string
	seen int
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	lab, err := github.Start(github.Options{Seed: 1, DataDir: t.TempDir()})
	must(t, err)
	t.Cleanup(lab.Close)
	f := &fixture{t: t, lab: lab, dir: t.TempDir()}
	f.user, err = lab.CreateUser("mona")
	must(t, err)
	f.repo, err = lab.CreateRepo("mona", "shop", false)
	must(t, err)
	f.app, err = lab.CreateApp(github.AppOptions{Name: "stanch", Owner: "mona"})
	must(t, err)
	_, err = lab.Install(f.app.ID, "mona")
	must(t, err)
	f.git("init", "-q", "-b", "main")
	u, err := url.Parse(f.repo.CloneURL)
	must(t, err)
	u.User = url.UserPassword(f.user.Login, f.user.Password)
	f.git("remote", "add", "origin", u.String())
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) git(args ...string) string {
	f.t.Helper()
	return f.gitIn(f.dir, "", args...)
}

func (f *fixture) gitIn(dir, stdin string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Mona", "GIT_AUTHOR_EMAIL=mona@example.com", "GIT_AUTHOR_DATE=2026-11-01T10:00:00+0200",
		"GIT_COMMITTER_NAME=Bot", "GIT_COMMITTER_EMAIL=bot@example.com", "GIT_COMMITTER_DATE=2026-11-01T11:00:00Z"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (f *fixture) write(name, content string) {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	must(f.t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(f.t, os.WriteFile(path, []byte(content), 0o644))
}

// commit writes name and commits it; the message is the content.
func (f *fixture) commit(name, content string) string {
	f.t.Helper()
	f.write(name, content)
	f.git("add", "-A")
	f.git("commit", "-q", "-m", "write "+content[:min(len(content), 20)])
	return f.git("rev-parse", "HEAD")
}

// push pushes and returns the pushes that the webhook announced.
func (f *fixture) push(args ...string) []Push {
	f.t.Helper()
	f.git(append([]string{"push", "-q", "origin"}, args...)...)
	return f.announced()
}

func (f *fixture) push1(args ...string) Push {
	f.t.Helper()
	pushes := f.push(args...)
	if len(pushes) != 1 {
		f.t.Fatalf("%d push events, want 1", len(pushes))
	}
	return pushes[0]
}

func (f *fixture) announced() []Push {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	must(f.t, f.lab.Wait(ctx))
	all := f.lab.Deliveries(f.app.ID)
	var out []Push
	for _, d := range all[f.seen:] {
		if d.Event != "push" {
			continue
		}
		var p struct {
			Ref, Before, After       string
			Created, Deleted, Forced bool
			Commits                  []struct{ ID string }
			Repository               struct {
				FullName string `json:"full_name"`
				CloneURL string `json:"clone_url"`
			}
		}
		must(f.t, json.Unmarshal(d.Payload, &p))
		push := Push{URL: p.Repository.CloneURL, Repository: p.Repository.FullName, Ref: p.Ref, Before: p.Before, After: p.After,
			Created: p.Created, Deleted: p.Deleted, Forced: p.Forced, Tag: strings.HasPrefix(p.Ref, "refs/tags/")}
		for _, c := range p.Commits {
			push.Commits = append(push.Commits, c.ID)
		}
		out = append(out, push)
	}
	f.seen = len(all)
	return out
}

// got is what a fetch handed out.
type got struct {
	objects []Object
	result  Result
}

func (f *fixture) fetch(p Push, l Limits) got {
	f.t.Helper()
	g, err := f.tryFetch(p, l)
	must(f.t, err)
	return g
}

func (f *fixture) tryFetch(p Push, l Limits) (got, error) {
	f.t.Helper()
	if l.TempDir == "" {
		l.TempDir = f.t.TempDir()
	}
	if l.Timeout == 0 {
		l.Timeout = time.Minute
	}
	var g got
	var err error
	g.result, err = Fetch(context.Background(), p, l, func(o Object) error {
		o.Data, o.Old = append([]byte(nil), o.Data...), append([]byte(nil), o.Old...)
		g.objects = append(g.objects, o)
		return nil
	})
	left, readErr := os.ReadDir(l.TempDir)
	must(f.t, readErr)
	if len(left) != 0 {
		f.t.Errorf("store left behind: %v", left)
	}
	return g, err
}

// blobs lists "commit7 path data old" of the new blobs, "-" before it on the removed side.
func (g got) blobs() []string {
	var out []string
	for _, o := range g.objects {
		if o.Kind != KindBlob {
			continue
		}
		side := ""
		if o.Place.Removed {
			side = "-"
		}
		line := side + o.Place.Path + "=" + string(o.Data)
		if o.Old != nil {
			line += " was " + string(o.Old)
		}
		out = append(out, line)
	}
	return out
}

// texts lists the data of the objects at one kind of place.
func (g got) texts(object string) []string {
	var out []string
	for _, o := range g.objects {
		if o.Place.Object == object {
			out = append(out, strings.TrimSpace(string(o.Data)))
		}
	}
	return out
}
