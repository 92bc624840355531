package history

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stanch/scanner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var engine = sync.OnceValue(func() *scanner.Engine {
	e, err := scanner.New(scanner.Options{})
	if err != nil {
		panic(err)
	}
	return e
})

// tok is a made-up token that no other number gives.
func tok(n int) string {
	return "gh" + "p_" + fmt.Sprintf("zQWBu%03dSOoRi4A9spHcVY5ncnsDkxkJ0mLq", n)
}

// repo is a real repository in a temporary directory.
type repo struct {
	t   *testing.T
	dir string
	at  int
}

func newRepo(t *testing.T) *repo {
	t.Helper()
	_, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("these tests need git")
	}
	r := &repo{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	r.at++
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	when := fmt.Sprintf("%d +0000", 1_700_000_000+60*r.at)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann Author", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Carl", "GIT_COMMITTER_EMAIL=carl@example.com",
		"GIT_AUTHOR_DATE=" + when, "GIT_COMMITTER_DATE=" + when}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) write(path, text string) {
	r.t.Helper()
	full := filepath.Join(r.dir, path)
	err := os.MkdirAll(filepath.Dir(full), 0o755)
	if err != nil {
		r.t.Fatal(err)
	}
	err = os.WriteFile(full, []byte(text), 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) commit(msg string) string {
	r.t.Helper()
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", msg)
	return r.git("rev-parse", "HEAD")
}

func (r *repo) scan(o Options) ([]scanner.Finding, Result) {
	r.t.Helper()
	o.Engine = engine()
	var fs []scanner.Finding
	res, err := Scan(context.Background(), filepath.Join(r.dir, ".git"), o, func(f scanner.Finding) { fs = append(fs, f) })
	if err != nil {
		r.t.Fatal(err)
	}
	return fs, res
}

// the places of a secret as "object path@commit:line"
func places(fs []scanner.Finding, secret string) (out []string) {
	for _, f := range fs {
		if f.Secret.Reveal() == secret {
			out = append(out, fmt.Sprintf("%s %s@%s:%d", f.Place.Object, f.Place.Path, f.Place.Commit, f.Place.Line))
		}
	}
	return out
}

func TestAttribution(t *testing.T) {
	r := newRepo(t)
	pem := func(body string) string {
		return "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat(body+"\n", 6) + "-----END RSA " + "PRIVATE KEY-----\n"
	}
	r.write("a.env", "A="+tok(1)+"\n")
	r.write("key.pem", pem("MIIEpAIBAAKCAQEAx7Vt"))
	first := r.commit("first")
	r.write("a.env", "# moved down\n\nA="+tok(1)+"\nB="+tok(2)+"\n")
	second := r.commit("second")
	r.write("key.pem", pem("MIIEpAIBAAKCAQEAq9Zz"))
	rotated := r.commit("rotate the key between the same first and last lines")
	r.git("rm", "-q", "a.env")
	removed := r.commit("remove; see " + tok(3))
	r.write("b.env", "B="+tok(2)+"\n")
	again := r.commit("back again")
	r.git("mv", "b.env", "c.env")
	r.commit("rename")
	r.git("checkout", "-q", "-b", "side")
	r.write("side.env", "C="+tok(4)+"\n")
	side := r.commit("side")
	r.git("checkout", "-q", "main")
	r.write("main.txt", "x\n")
	r.commit("main")
	r.git("merge", "-q", "--no-ff", "--no-commit", "side")
	r.write("evil.env", "D="+tok(5)+"\n")
	merge := r.commit("merge with a secret of its own")
	r.git("commit", "-q", "--allow-empty", "-m", "x", "--author", "Bot "+tok(6)+" <bot@example.com>")
	author := r.git("rev-parse", "HEAD")
	r.git("tag", "-a", "v1", "-m", "release\n\nwith "+tok(7))
	r.git("branch", "use-"+tok(8))
	r.write("x-"+tok(9)+"/empty", "nothing\n")
	named := r.commit("a path")
	blob := exec.Command("git", "hash-object", "-w", "--stdin")
	blob.Dir, blob.Stdin = r.dir, strings.NewReader("E="+tok(10)+"\n")
	out, err := blob.Output()
	if err != nil {
		t.Fatal(err)
	}
	r.git("update-ref", "refs/odd/blob", strings.TrimSpace(string(out)))
	r.git("stash", "list")

	fs, res := r.scan(Options{Messages: true, Repository: "acme/app"})
	if res.Partial {
		t.Errorf("partial: %v", res.Reasons)
	}
	for n, want := range map[int][]string{
		1:  {"blob a.env@" + first + ":1"},
		2:  {"blob a.env@" + second + ":4", "blob b.env@" + again + ":1"},
		3:  {"commit-message @" + removed + ":1"},
		4:  {"blob side.env@" + side + ":1"},
		5:  {"blob evil.env@" + merge + ":1"},
		6:  {"author @" + author + ":1"},
		7:  {"tag-message @" + author + ":3"},
		8:  {"ref-name @:1"},
		9:  {"path x-" + tok(9) + "/empty@" + named + ":1"},
		10: {"blob @:1"},
	} {
		if got := places(fs, tok(n)); !slices.Equal(got, want) {
			t.Errorf("secret %d: got %q, want %q", n, got, want)
		}
	}
	var keys []string
	for _, f := range fs {
		if f.Rule == "private-key" {
			keys = append(keys, f.Place.Commit)
		}
		if f.Place.Repository != "acme/app" {
			t.Errorf("repository %q", f.Place.Repository)
		}
	}
	if !slices.Equal(keys, []string{first, rotated}) {
		t.Errorf("keys in %v, want %v", keys, []string{first, rotated})
	}
	p := fs[slices.IndexFunc(fs, func(f scanner.Finding) bool { return f.Place.Path == "a.env" })]
	if p.Place.Author.Name != "Ann Author" || p.Place.Committer.Email != "carl@example.com" || p.Place.AuthoredAt.Year() != 2023 || p.CommitMessage != "first\n" {
		t.Errorf("%+v %q", p.Place, p.CommitMessage)
	}
	if res.Commits != 11 || res.Tags != 1 {
		t.Errorf("%+v", res)
	}
	// What was scanned already is left out, and its secrets stay known.
	fs, _ = r.scan(Options{Since: []string{merge}})
	for n := range 6 {
		if got := places(fs, tok(n)); len(got) > 0 {
			t.Errorf("since the merge: secret %d in %v", n, got)
		}
	}
	if len(places(fs, tok(6))) != 1 || len(places(fs, tok(9))) != 1 {
		t.Errorf("since the merge: %d findings", len(fs))
	}
}

func TestFirstSeenOnAnIgnoredPath(t *testing.T) {
	r := newRepo(t)
	r.write("node_modules/x/a.env", "A="+tok(1)+"\n")
	r.commit("vendored")
	r.write("src/a.env", "A="+tok(1)+"\n")
	c := r.commit("copied")
	fs, _ := r.scan(Options{})
	if got := places(fs, tok(1)); !slices.Equal(got, []string{"blob src/a.env@" + c + ":1"}) {
		t.Errorf("%v", got)
	}
}

func TestPartialResults(t *testing.T) {
	r := newRepo(t)
	r.write("big.txt", strings.Repeat("x\n", 5000)+tok(1))
	r.write("a.env", "A="+tok(2)+"\n")
	r.write("b.env", "B="+tok(3)+"\n")
	r.commit("first")
	r.write("a.env", "A="+tok(4)+"\n")
	r.commit("second")
	fs, res := r.scan(Options{MaxBlobBytes: 4000})
	if !res.Partial || len(res.Reasons) != 1 || !strings.Contains(res.Reasons[0], "1 blobs were over the size limit") {
		t.Errorf("size: %+v", res.Reasons)
	}
	if len(fs) != 3 {
		t.Errorf("size: %d findings, want 3", len(fs))
	}
	// A missing blob, a corrupt blob, then a corrupt tree.
	loose := func(rev string) string {
		id := r.git("rev-parse", rev)
		return filepath.Join(r.dir, ".git/objects", id[:2], id[2:])
	}
	must(t, os.Remove(loose("HEAD~1:a.env")))
	fs, res = r.scan(Options{})
	if !res.Partial || len(places(fs, tok(4))) != 1 || len(places(fs, tok(2))) != 0 {
		t.Errorf("missing: %v %v", res.Reasons, fs)
	}
	overwrite(t, loose("HEAD:b.env"))
	fs, res = r.scan(Options{})
	if !res.Partial || len(places(fs, tok(4))) != 1 || len(places(fs, tok(1))) != 1 {
		t.Errorf("corrupt blob: %v, %d findings", res.Reasons, len(fs))
	}
	overwrite(t, loose("HEAD^{tree}"))
	fs, res = r.scan(Options{})
	if !res.Partial || len(places(fs, tok(4))) != 1 {
		t.Errorf("corrupt tree: %v, %d findings", res.Reasons, len(fs))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, path string) {
	t.Helper()
	must(t, os.Chmod(path, 0o644))
	must(t, os.WriteFile(path, []byte("this is no object"), 0o644))
}

func TestEmptyAndForeignRepositories(t *testing.T) {
	r := newRepo(t)
	fs, res := r.scan(Options{})
	if len(fs) != 0 || res.Partial {
		t.Errorf("empty: %d %v", len(fs), res.Reasons)
	}
	_, err := Scan(context.Background(), t.TempDir(), Options{Engine: engine()}, func(scanner.Finding) {})
	if err == nil {
		t.Error("a directory that is no repository gives no error")
	}
}

func TestCancel(t *testing.T) {
	r := newRepo(t)
	for n := range 30 {
		r.write("a", tok(n)+"\n")
		r.commit("c")
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	res, err := Scan(ctx, filepath.Join(r.dir, ".git"), Options{Engine: engine()}, func(scanner.Finding) {
		n++
		if n == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || !res.Partial {
		t.Errorf("%v %+v", err, res)
	}
}

func TestProgress(t *testing.T) {
	r := newRepo(t)
	for n := range 5 {
		r.write("a", tok(n)+"\n")
		r.commit("c")
	}
	var last Progress
	r.scan(Options{Progress: func(p Progress) { last = p }})
	if last.Commits != 5 || last.Total != 5 || last.Blobs != 5 || last.Bytes == 0 {
		t.Errorf("%+v", last)
	}
}

// A repository's own configuration must not run anything or hide anything.
func TestHostileConfiguration(t *testing.T) {
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	r.write(".gitattributes", "* diff=evil filter=evil -text\n")
	r.write(".gitleaks.toml", "[[allowlists]]\nregexes=['.*']\n")
	r.write(".gitleaksignore", "a.env:github-pat:1\n")
	first := r.commit("first")
	r.write("b.env", "B="+tok(2)+"\n")
	second := r.commit("second")
	mark := filepath.Join(t.TempDir(), "ran")
	evil := "touch " + mark + "; cat"
	for _, kv := range [][2]string{
		{"core.fsmonitor", evil}, {"core.pager", evil}, {"diff.external", evil}, {"diff.evil.command", evil}, {"diff.evil.textconv", evil},
		{"filter.evil.clean", evil}, {"filter.evil.smudge", evil}, {"core.sshCommand", evil}, {"gpg.program", evil}, {"log.showSignature", "true"},
		{"core.hooksPath", r.dir}, {"core.alternateRefsCommand", evil}, {"uploadpack.packObjectsHook", evil},
		{"remote.origin.url", "ext::sh -c '" + evil + "'"}, {"remote.origin.promisor", "true"}, {"protocol.ext.allow", "always"}, {"core.editor", evil},
		{"extensions.partialClone", "origin"}, {"core.repositoryFormatVersion", "1"},
	} {
		r.git("config", kv[0], kv[1])
	}
	r.git("replace", "-f", second, first)
	must(t, os.WriteFile(filepath.Join(r.dir, ".git/info/grafts"), []byte(second+"\n"), 0o644))
	fs, res := r.scan(Options{})
	if res.Partial || len(places(fs, tok(1))) != 1 || len(places(fs, tok(2))) != 1 {
		t.Errorf("%v: %d findings", res.Reasons, len(fs))
	}
	// And with an object missing, which a promisor would be asked for.
	id := r.git("rev-parse", first+":a.env")
	must(t, os.Remove(filepath.Join(r.dir, ".git/objects", id[:2], id[2:])))
	_, res = r.scan(Options{})
	if !res.Partial {
		t.Error("a missing object does not make the result partial")
	}
	_, err := WorkTree(context.Background(), r.dir, filepath.Join(r.dir, ".git"), TreeOptions{Engine: engine()}, func(scanner.Finding) {})
	if err != nil {
		t.Error(err)
	}
	_, err = os.Stat(mark)
	if err == nil {
		t.Error("the repository's configuration ran a command")
	}
}

func TestWorkTreeLeavesOutWhatGitIgnoresAndHistoryHas(t *testing.T) {
	r := newRepo(t)
	r.write(".gitignore", "*.log\n")
	r.write("a.env", "A="+tok(1)+"\n")
	r.commit("first")
	r.write("new.env", "B="+tok(2)+"\n")
	r.write("debug.log", "C="+tok(3)+"\n")
	r.write("nested/.git/config", "D="+tok(4)+"\n")
	must(t, os.Symlink("/etc/passwd", filepath.Join(r.dir, "link")))
	_, hist := r.scan(Options{})
	var fs []scanner.Finding
	res, err := WorkTree(context.Background(), r.dir, filepath.Join(r.dir, ".git"), TreeOptions{Engine: engine(), Known: hist.Scanned},
		func(f scanner.Finding) { fs = append(fs, f) })
	must(t, err)
	if len(fs) != 1 || fs[0].Secret.Reveal() != tok(2) || fs[0].Place.Path != "new.env" || res.Partial {
		t.Errorf("%+v %+v", fs, res)
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	r := &repo{t: t, dir: dir}
	for n := range 20 {
		r.write(fmt.Sprintf("d%d/f%02d.env", n%3, n), "A="+tok(n)+"\n")
	}
	r.write(".git/config", tok(99))
	r.write("node_modules/x.js", tok(98))
	r.write("big", strings.Repeat("y", 3000)+tok(97))
	must(t, os.Symlink(dir, filepath.Join(dir, "loop")))
	must(t, exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run())
	var last []string
	for range 3 {
		var got []string
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		res, err := Tree(ctx, dir, TreeOptions{Engine: engine(), MaxBytes: 2000}, func(f scanner.Finding) { got = append(got, f.Place.Path) })
		cancel()
		must(t, err)
		if len(got) != 20 || !slices.IsSorted(got) || !res.Partial || res.Blobs != 20 {
			t.Errorf("%v %+v", got, res)
		}
		if last != nil && !slices.Equal(last, got) {
			t.Error("the order differs from run to run")
		}
		last = got
	}
}

// zipped is a document of the form of an office program's, as a string.
func zipped(t *testing.T, inner string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("word/document.xml")
	must(t, err)
	_, err = f.Write([]byte(inner))
	must(t, err)
	must(t, w.Close())
	return b.String()
}

func TestArchivesAreOpened(t *testing.T) {
	r := newRepo(t)
	const name, inner = "doc/plan.docx", "doc/plan.docx!word/document.xml"
	r.write(name, zipped(t, "<a/>\n<t>token="+tok(1)+"</t>\n"))
	first := r.commit("one")
	r.write(name, zipped(t, "<a/>\n<t>token="+tok(1)+"</t>\n<t>token="+tok(2)+"</t>\n"))
	second := r.commit("two")
	r.git("mv", name, "doc/moved.docx")
	r.commit("three")
	fs, res := r.scan(Options{})
	if res.Partial {
		t.Errorf("partial: %v", res.Reasons)
	}
	for n, want := range map[int]string{1: "blob " + inner + "@" + first + ":2", 2: "blob " + inner + "@" + second + ":3"} {
		if got := places(fs, tok(n)); !slices.Equal(got, []string{want}) {
			t.Errorf("secret %d: got %q, want %q", n, got, want)
		}
	}
	cut := zipped(t, "<t/>")
	r.write("cut.zip", cut[:len(cut)-30])
	r.commit("four")
	_, res = r.scan(Options{})
	if !res.Partial || len(res.Reasons) != 1 || !strings.Contains(res.Reasons[0], "damaged") {
		t.Errorf("a damaged archive: %+v", res)
	}
}
