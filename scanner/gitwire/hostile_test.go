package gitwire

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestHostileRepositoryIsInert pushes what has made git run commands in one
// version or another: none of it may touch the canary.
func TestHostileRepositoryIsInert(t *testing.T) {
	f := newFixture(t)
	canary := filepath.Join(t.TempDir(), "canary")
	touch := "touch " + canary
	f.write(".gitattributes", "* filter=evil diff=evil\n*.txt working-tree-encoding=UTF-16\n")
	f.write(".gitconfig", "[core]\n\tfsmonitor = "+touch+"\n[alias]\n\tfetch = !"+touch+"\n")
	f.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c '"+touch+"'\n\tupdate = !"+touch+"\n"+
		"[submodule \"y\"]\n\tpath = \"y\\r\"\n\turl = --upload-pack="+touch+"\n")
	f.write(".gitleaks.toml", "[allowlist]\npaths = ['.*']\n")
	f.write("bare/HEAD", "ref: refs/heads/main\n")
	f.write("bare/config", "[core]\n\tbare = true\n\tfsmonitor = "+touch+"\n\tsshCommand = "+touch+"\n")
	f.write("bare/objects/info/alternates", "/\n")
	f.write("bare/refs/x", "")
	f.write("bare/hooks/post-checkout", "#!/bin/sh\n"+touch+"\n")
	f.write("new\nline", "nl")
	f.write("esc\x1b[31mred", "ansi")
	f.write("rtl\u202egnp.exe", "bidi")
	must(t, os.Symlink("/etc/passwd", filepath.Join(f.dir, "link")))
	f.git("add", "-A")
	// a submodule entry, and a tree with names that no checkout would write
	f.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",x")
	tree := f.git("write-tree")
	blob := f.gitIn(f.dir, "up", "hash-object", "-w", "--stdin")
	sub := f.gitIn(f.dir, "100644 blob "+blob+"\tpasswd\n", "mktree")
	dotgit := f.gitIn(f.dir, "100644 blob "+blob+"\tconfig\n", "mktree")
	entries := f.git("ls-tree", tree) + "\n040000 tree " + sub + "\t..\n040000 tree " + dotgit + "\t.git\n100644 blob " + blob + "\t-option\n"
	tree = f.gitIn(f.dir, entries, "mktree", "--missing")
	id := f.git("commit-tree", "-m", "\x1b]0;title\x07 message", tree)
	f.git("update-ref", "refs/heads/main", id)
	p := f.push1("main")

	home := t.TempDir() // what the machine's own configuration would do
	must(t, os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[core]\n\tfsmonitor = "+touch+"\n\thooksPath = "+home+"\n[credential]\n\thelper = !"+touch+"\n[http]\n\tproxy = http://127.0.0.1:1\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(home, "reference-transaction"), []byte("#!/bin/sh\n"+touch+"\n"), 0o755))
	t.Setenv("HOME", home)
	t.Setenv("GIT_DIR", home)
	t.Setenv("GIT_SSH_COMMAND", touch)
	t.Setenv("GIT_PROXY_COMMAND", touch)
	t.Setenv("GIT_EXTERNAL_DIFF", touch)
	t.Setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/")
	t.Setenv("http_proxy", "http://127.0.0.1:1")

	g := f.fetch(p, Limits{})
	whole(t, g)
	_, err := os.Lstat(canary)
	if err == nil {
		t.Error("the canary was made")
	}
	paths := g.texts(PlacePath)
	for _, want := range []string{"../passwd", ".git/config", "-option", "new\nline", "esc\x1b[31mred", "bare/hooks/post-checkout"} {
		if !slices.Contains(paths, want) {
			t.Errorf("path %q was not handed out", want)
		}
	}
	if slices.Contains(paths, "x") {
		t.Error("the submodule was handed out")
	}
	if !slices.Contains(g.blobs(), "link=/etc/passwd") {
		t.Error("the symbolic link's own text was not handed out")
	}

	temp := t.TempDir()
	m, err := Clone(context.Background(), Remote{URL: p.URL}, Limits{TempDir: temp}, nil)
	must(t, err)
	m.Close()
	_, err = os.Lstat(canary)
	if err == nil {
		t.Error("the mirror made the canary")
	}
}

// importCommits writes n commits straight into the laboratory's repository.
func (f *fixture) importCommits(n int, ref string) (first, last string) {
	f.t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "commit %s\nmark :%d\ncommitter Bulk <bulk@example.com> %d +0000\ndata 4\nbulk\n", ref, i+1, 1_700_000_000+i)
		content := fmt.Sprintf("value %d", i)
		fmt.Fprintf(&b, "M 100644 inline d%d/f%d\ndata %d\n%s\n\n", i%50, i%400, len(content), content)
	}
	f.gitIn(f.repo.Dir, b.String(), "fast-import", "--quiet", "--force")
	out := f.gitIn(f.repo.Dir, "", "rev-list", "--reverse", ref)
	ids := strings.Fields(out)
	return ids[0], ids[len(ids)-1]
}

// childTime is the CPU time of the processes that have ended.
func childTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestHugePush takes 100,000 commits with STANCH_TORTURE set, a tenth without.
func TestHugePush(t *testing.T) {
	n := 10_000
	if os.Getenv("STANCH_TORTURE") != "" {
		n = 100_000
	}
	f := newFixture(t)
	_, last := f.importCommits(n, "refs/heads/main")
	must(t, f.lab.Push(f.repo, f.user, "refs/heads/main", strings.Repeat("0", 40), last))
	p := f.announced()[0]
	if len(p.Commits) != 2048 {
		t.Fatalf("%d commits in the payload", len(p.Commits))
	}
	var peak, before uint64
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before = m.HeapAlloc
	blobs := 0
	start, cpu := time.Now(), childTime(t)
	res, err := Fetch(context.Background(), p, Limits{TempDir: t.TempDir(), Timeout: 5 * time.Minute}, func(o Object) error {
		if o.Kind == KindBlob {
			blobs++
			if blobs%5000 == 0 {
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
		return nil
	})
	must(t, err)
	t.Logf("%d commits in %v (%v of CPU in git, both sides), heap +%d MiB", res.Commits,
		time.Since(start).Round(time.Millisecond), (childTime(t) - cpu).Round(time.Millisecond), (peak-min(peak, before))>>20)
	if res.Partial || res.Commits != n || blobs != n {
		t.Errorf("%d blobs, result %+v", blobs, res)
	}
	if peak > before+200<<20 {
		t.Errorf("heap grew by %d MiB", (peak-before)>>20)
	}

	t.Run("bounded", func(t *testing.T) {
		res, err := Fetch(context.Background(), p, Limits{TempDir: t.TempDir(), Commits: 3000}, func(Object) error { return nil })
		must(t, err)
		if !res.Partial || res.Commits != 3000 || !strings.Contains(strings.Join(res.Reasons, "|"), fmt.Sprintf("%d oldest commits", n-3000)) {
			t.Errorf("result: %+v", res)
		}
	})
	t.Run("size", func(t *testing.T) {
		res, err := Fetch(context.Background(), p, Limits{TempDir: t.TempDir(), PackBytes: 2 << 20}, func(Object) error { return nil })
		if err == nil && !res.Partial || err != nil && !strings.Contains(err.Error(), "size limit") {
			t.Errorf("result: %+v, %v", res, err)
		}
	})
}
