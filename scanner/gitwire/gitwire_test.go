package gitwire

import (
	"context"
	"errors"
	"hash/maphash"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/internal/lab/github"
	"stanch/internal/secret"
	"stanch/scanner/gitpack"
)

func wantList(t *testing.T, what string, list []string, want ...string) {
	t.Helper()
	g, w := slices.Clone(list), slices.Clone(want)
	slices.Sort(g)
	slices.Sort(w)
	if !slices.Equal(g, w) {
		t.Errorf("%s:\n got %q\nwant %q", what, g, w)
	}
}

func whole(t *testing.T, g got) {
	t.Helper()
	if g.result.Partial {
		t.Errorf("partial: %q", g.result.Reasons)
	}
}

func TestFirstPush(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	second := f.commit("dir/b", "2")
	p := f.push1("main")
	if !isZero(p.Before) || !p.Created || len(p.Commits) != 2 {
		t.Fatalf("unexpected payload: %+v", p)
	}
	g := f.fetch(p, Limits{})
	whole(t, g)
	wantList(t, "blobs", g.blobs(), "a=1", "dir/b=2")
	wantList(t, "messages", g.texts(PlaceCommitMessage), "write 1", "write 2")
	wantList(t, "authors", g.texts(PlaceAuthor), "Mona <mona@example.com>", "Mona <mona@example.com>")
	wantList(t, "committers", g.texts(PlaceCommitter), "Bot <bot@example.com>", "Bot <bot@example.com>")
	wantList(t, "refs", g.texts(PlaceRefName), "refs/heads/main")
	wantList(t, "paths", g.texts(PlacePath), "a", "dir/b")
	last := g.objects[len(g.objects)-1]
	pl := last.Place
	if pl.Commit != second || pl.Repository != "mona/shop" || pl.Ref != "refs/heads/main" || pl.Author.Email != "mona@example.com" ||
		!pl.AuthoredAt.Equal(time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)) || !pl.CommitAt.Equal(time.Date(2026, 11, 1, 11, 0, 0, 0, time.UTC)) {
		t.Errorf("place: %+v", pl)
	}
	if g.result.Commits != 2 || g.result.Blobs != 2 {
		t.Errorf("result: %+v", g.result)
	}
}

func TestOrdinaryPushBringsOldSide(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.commit("keep", "k")
	f.push("main")
	f.commit("a", "1 and 2")
	f.git("mv", "keep", "kept")
	f.commit("c", "3")
	p := f.push1("main")
	g := f.fetch(p, Limits{})
	whole(t, g)
	wantList(t, "blobs", g.blobs(), "a=1 and 2 was 1", "c=3", "kept=k was k")
}

func TestWithoutCommitIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, n := range []string{"1", "2", "3"} {
		f.commit("old"+n, n)
	}
	f.push("main")
	f.commit("a", "4")
	f.commit("b", "5")
	p := f.push1("main")
	p.Commits = nil
	g := f.fetch(p, Limits{})
	whole(t, g)
	wantList(t, "blobs", g.blobs(), "a=4", "b=5")

	t.Run("cut off list", func(t *testing.T) {
		p.Commits, p.Incomplete = []string{p.After}, true
		g := f.fetch(p, Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "a=4", "b=5")
	})
	t.Run("before is gone", func(t *testing.T) {
		p.Before = strings.Repeat("1", 40)
		p.Ref = "refs/heads/other"
		g := f.fetch(p, Limits{})
		if len(g.result.Reasons) == 0 {
			t.Error("no reason given")
		}
	})
}

func TestCreatedBranch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.push("main")
	f.git("checkout", "-q", "-b", "topic")
	f.commit("b", "2")
	p := f.push1("topic")
	g := f.fetch(p, Limits{})
	whole(t, g)
	wantList(t, "blobs", g.blobs(), "b=2")

	t.Run("list unknown", func(t *testing.T) {
		p.Commits = nil
		g := f.fetch(p, Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "b=2")
	})
	t.Run("nothing new", func(t *testing.T) {
		f.git("checkout", "-q", "-b", "same", "main")
		g := f.fetch(f.push1("same"), Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs())
	})
}

func TestForcedPush(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.push("main")
	f.commit("secret", "leaked")
	f.commit("more", "m")
	f.push("main")
	f.git("reset", "-q", "--hard", "HEAD~2")
	f.commit("clean", "c")
	p := f.push1("--force", "main")
	if !p.Forced {
		t.Fatal("payload is not forced")
	}
	g := f.fetch(p, Limits{})
	whole(t, g)
	if !g.result.RemovedSide {
		t.Errorf("no removed side: %+v", g.result)
	}
	wantList(t, "blobs", g.blobs(), "clean=c", "-secret=leaked", "-more=m")

	t.Run("reset to an ancestor", func(t *testing.T) {
		f.git("reset", "-q", "--hard", "HEAD~1")
		g := f.fetch(f.push1("--force", "main"), Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "-clean=c")
	})
	t.Run("removed side is gone", func(t *testing.T) {
		q := p
		q.Before = strings.Repeat("a", 40)
		g := f.fetch(q, Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "clean=c")
		if g.result.RemovedSide || len(g.result.Reasons) != 1 || !strings.HasPrefix(g.result.Reasons[0], "removed side") {
			t.Errorf("result: %+v", g.result)
		}
	})
}

func TestTags(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.push("main")
	t.Run("lightweight on a known commit", func(t *testing.T) {
		f.git("tag", "light")
		g := f.fetch(f.push1("light"), Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs())
		wantList(t, "refs", g.texts(PlaceRefName), "refs/tags/light")
	})
	t.Run("annotated, of a tag", func(t *testing.T) {
		f.git("tag", "-a", "-m", "the message", "v1")
		f.git("tag", "-a", "-m", "outer", "v2", "v1")
		g := f.fetch(f.push1("v2"), Limits{})
		whole(t, g)
		wantList(t, "messages", g.texts(PlaceTagMessage), "the message", "outer")
		wantList(t, "taggers", g.texts(PlaceTagger), "Bot <bot@example.com>", "Bot <bot@example.com>")
		wantList(t, "blobs", g.blobs())
	})
	t.Run("with commits that no branch has", func(t *testing.T) {
		f.git("checkout", "-q", "--detach")
		f.commit("hidden", "h")
		f.git("tag", "-a", "-m", "m", "v3")
		p := f.push1("v3")
		if len(p.Commits) != 0 {
			t.Fatal("tag payload lists commits")
		}
		g := f.fetch(p, Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "hidden=h")
	})
	t.Run("moved, forced", func(t *testing.T) {
		f.git("tag", "-f", "-a", "-m", "moved", "v3", "main")
		g := f.fetch(f.push1("--force", "v3"), Limits{})
		whole(t, g)
		wantList(t, "messages", g.texts(PlaceTagMessage), "m", "moved")
		wantList(t, "blobs", g.blobs(), "-hidden=h")
	})
	t.Run("of a blob and of a tree", func(t *testing.T) {
		f.git("tag", "-a", "-m", "blob", "vb", "main:a")
		g := f.fetch(f.push1("vb"), Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "=1")
		f.git("tag", "vt", "main^{tree}")
		g = f.fetch(f.push1("vt"), Limits{})
		whole(t, g)
		wantList(t, "blobs", g.blobs(), "a=1")
	})
}

func TestMerge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.git("checkout", "-q", "-b", "topic")
	f.commit("t", "topic")
	f.git("checkout", "-q", "main")
	f.commit("m", "main")
	f.push("main", "topic")
	f.git("merge", "-q", "--no-ff", "--no-commit", "topic")
	f.write("a", "1 evil")
	f.git("add", "-A")
	f.git("commit", "-q", "-m", "merge")
	p := f.push1("main")
	g := f.fetch(p, Limits{})
	whole(t, g)
	wantList(t, "blobs", g.blobs(), "a=1 evil was 1", "t=topic")
	wantList(t, "messages", g.texts(PlaceCommitMessage), "write topic", "merge")

	t.Run("octopus of 30", func(t *testing.T) {
		args := []string{"commit-tree", "-m", "octopus"}
		for i := range 30 {
			args = append(args, "-p", f.git("commit-tree", "-m", strings.Repeat("x", i+1), "main^{tree}"))
		}
		f.write("o", "octopus")
		f.git("add", "-A")
		tree := f.git("write-tree")
		id := f.git(append(args, tree)...)
		f.git("branch", "octopus", id)
		g := f.fetch(f.push1("octopus"), Limits{})
		whole(t, g)
		if !slices.Contains(g.blobs(), "o=octopus") || g.result.Commits != 31 {
			t.Errorf("blobs %q, %d commits", g.blobs(), g.result.Commits)
		}
	})
}

func TestDeletedRefBringsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.push("main", "main:gone")
	p := f.push1(":gone")
	if !p.Deleted {
		t.Fatal("payload does not say deleted")
	}
	g := f.fetch(p, Limits{})
	whole(t, g)
	if len(g.objects) != 0 {
		t.Errorf("objects: %v", g.objects)
	}
}

func TestPrivateRepositoryNeedsTheToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	repo, err := f.lab.CreateRepo("mona", "vault", true)
	must(t, err)
	f.git("remote", "set-url", "origin", strings.Replace(repo.CloneURL, "://", "://mona:"+f.user.Password+"@", 1))
	f.commit("a", "1")
	p := f.push1("main")
	_, err = f.tryFetch(p, Limits{})
	if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNotFound) {
		t.Errorf("without token: %v", err)
	}
	p.Token = secret.New("ghs_wrongwrongwrong")
	_, err = f.tryFetch(p, Limits{})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("wrong token: %v", err)
	}
	good, err := f.lab.CreateToken("mona", github.KindClassic, "repo")
	must(t, err)
	p.Token = secret.New(good)
	g := f.fetch(p, Limits{})
	wantList(t, "blobs", g.blobs(), "a=1")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("small", "s")
	f.commit("big", strings.Repeat("0123456789abcdef", 1<<16))
	p := f.push1("main")
	t.Run("large blob is cut and said", func(t *testing.T) {
		g := f.fetch(p, Limits{BlobBytes: 1000})
		if !g.result.Partial || len(g.result.Reasons) != 1 || !strings.Contains(g.result.Reasons[0], "first 1000 bytes of 1048576") {
			t.Errorf("result: %+v", g.result)
		}
		if b := g.blobs(); len(b) != 2 || len(b[1]) != len("big=")+1000 {
			t.Errorf("blobs: %d", len(b))
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err := Fetch(ctx, p, Limits{TempDir: t.TempDir()}, func(Object) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("callback error", func(t *testing.T) {
		mine := errors.New("mine")
		_, err := Fetch(context.Background(), p, Limits{TempDir: t.TempDir()}, func(o Object) error {
			if o.Kind == KindBlob {
				return mine
			}
			return nil
		})
		if err != mine {
			t.Errorf("error: %v", err)
		}
	})
}

func TestSizeLimitHidesOnlyWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("small", "s")
	f.commit("other", "o")
	noise := make([]byte, 4<<20)
	x := uint64(1)
	for i := range noise {
		x = x*6364136223846793005 + 1442695040888963407
		noise[i] = byte(x >> 56)
	}
	f.commit("noise", string(noise))
	p := f.push1("main")
	g := f.fetch(p, Limits{PackBytes: 1 << 20})
	wantList(t, "blobs", g.blobs(), "small=s", "other=o")
	if !g.result.Partial || !slices.Equal(g.result.Reasons, []string{"size limit reached: 1 blobs were not fetched"}) {
		t.Errorf("result: %+v", g.result)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	id := strings.Repeat("1", 40)
	dir := t.TempDir()
	start := time.Now()
	_, err := Fetch(context.Background(), Push{URL: srv.URL + "/a/b.git", After: id, Commits: []string{id}},
		Limits{Timeout: 200 * time.Millisecond, TempDir: dir}, func(Object) error { return nil })
	if !errors.Is(err, ErrTimeout) || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	left, _ := os.ReadDir(dir)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("redirect was followed with authorisation %v", r.Header["Authorization"] != nil)
	}))
	defer target.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
	}))
	defer srv.Close()
	id := strings.Repeat("1", 40)
	_, err := Fetch(context.Background(), Push{URL: srv.URL + "/a/b.git", After: id, Commits: []string{id}, Token: secret.New("ghs_canarycanary")},
		Limits{TempDir: t.TempDir()}, func(Object) error { return nil })
	if !errors.Is(err, ErrMoved) || strings.Contains(err.Error(), "canary") {
		t.Errorf("error: %v", err)
	}
}

func TestCheckRefusesWhatCouldReachACommandLine(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("a", 40)
	for name, p := range map[string]Push{
		"id with option":  {URL: "https://h/a/b.git", After: "--upload-pack=touch x"},
		"short id":        {URL: "https://h/a/b.git", After: "abc"},
		"upper case id":   {URL: "https://h/a/b.git", After: strings.Repeat("A", 40)},
		"mixed lengths":   {URL: "https://h/a/b.git", After: id, Commits: []string{strings.Repeat("a", 64)}},
		"ext transport":   {URL: "ext::sh -c touch", After: id},
		"file transport":  {URL: "file:///etc", After: id},
		"ssh":             {URL: "ssh://h/a", After: id},
		"user in URL":     {URL: "https://u:p@h/a", After: id},
		"newline in URL":  {URL: "https://h/a\nb", After: id},
		"option as URL":   {URL: "--upload-pack=x", After: id},
		"query in URL":    {URL: "https://h/a?x=y", After: id},
		"fragment in URL": {URL: "https://h/a#y", After: id},
	} {
		_, err := Fetch(context.Background(), p, Limits{TempDir: t.TempDir()}, func(Object) error { return nil })
		if err == nil || !strings.HasPrefix(err.Error(), "check ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/"+storePrefix+"dead/objects", 0o700))
	must(t, os.WriteFile(dir+"/"+storePrefix+"123", nil, 0o600))
	must(t, os.MkdirAll(dir+"/other", 0o700))
	n, err := Sweep(dir)
	left, _ := os.ReadDir(dir)
	if err != nil || n != 2 || len(left) != 1 {
		t.Errorf("swept %d, left %v: %v", n, left, err)
	}
}

func TestClone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.git("tag", "-a", "-m", "m", "v1")
	f.push("main", "main:other", "v1")
	temp := t.TempDir()
	m, err := Clone(context.Background(), Remote{URL: f.repo.CloneURL}, Limits{TempDir: temp}, nil)
	must(t, err)
	if m.Refs != 3 || m.Objects != 4 || len(m.Reasons) != 0 {
		t.Errorf("mirror: %+v", m)
	}
	// Refs alone are the same, without fetching.
	var listed, held []string
	must(t, Refs(context.Background(), Remote{URL: f.repo.CloneURL}, Limits{}, func(name, id string) error {
		listed = append(listed, name+" "+id)
		return nil
	}))
	must(t, m.Repo.Refs(func(name string, id gitpack.ID) error {
		if name != "HEAD" {
			held = append(held, name+" "+id.String())
		}
		return nil
	}))
	if len(listed) != 3 || !slices.Equal(listed, held) {
		t.Errorf("refs %q, fetched %q", listed, held)
	}
	r := m.Repo
	id, _ := gitpack.ParseID(f.git("rev-parse", "main:a"))
	_, data, err := r.Object(id)
	if err != nil || string(data) != "1" || r.Len() != m.Objects || len(r.Problems()) != 0 {
		t.Errorf("blob %q: %v, %d objects, %v", data, err, r.Len(), r.Problems())
	}
	var refs []string
	must(t, r.Refs(func(name string, id gitpack.ID) error {
		refs = append(refs, name+" "+id.String())
		return nil
	}))
	main, tag := f.git("rev-parse", "main"), f.git("rev-parse", "v1")
	wantList(t, "refs", refs, "refs/heads/main "+main, "refs/heads/other "+main, "refs/tags/v1 "+tag)
	m.Close()
	left, _ := os.ReadDir(temp)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	for _, l := range []Limits{{TempDir: temp, PackBytes: 100}} {
		_, err = Clone(context.Background(), Remote{URL: f.repo.CloneURL}, l, nil)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("limit: %v", err)
		}
	}
	left, _ = os.ReadDir(temp)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	empty, err := f.lab.CreateRepo("mona", "empty", false)
	must(t, err)
	m, err = Clone(context.Background(), Remote{URL: empty.CloneURL}, Limits{TempDir: temp}, nil)
	must(t, err)
	if m.Refs != 0 {
		t.Errorf("mirror: %+v", m)
	}
	m.Close()
}

// TestOrdinaryPushTakesTwoRequests counts what a push costs.
func TestOrdinaryPushTakesTwoRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.push("main")
	f.commit("a", "2")
	f.commit("b", "3")
	p := f.push1("main")
	w := &fetcher{push: p, limits: Limits{TempDir: t.TempDir()}.withDefaults(), remote: newRemote(p.URL, p.Token, 20),
		each: func(Object) error { return nil }, seen: map[uint64]struct{}{}, seed: maphash.MakeSeed()}
	must(t, w.run(context.Background()))
	if w.remote.requests != 2 || w.result.Blobs != 2 {
		t.Errorf("%d requests, result %+v", w.remote.requests, w.result)
	}
}

func TestListedCommitThatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.commit("a", "1")
	f.commit("b", "2")
	p := f.push1("main")
	p.Commits = append([]string{strings.Repeat("1", 40)}, p.Commits...)
	g := f.fetch(p, Limits{})
	wantList(t, "blobs", g.blobs(), "a=1", "b=2")
	if !slices.Equal(g.result.Reasons, []string{"1 objects were not on the server"}) {
		t.Errorf("result: %+v", g.result)
	}
}
