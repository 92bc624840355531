package patch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fatih/semgroup"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"

	"stanch/scanner/match"
)

func defaultConfig(t testing.TB) config.Config {
	t.Helper()
	cfg, err := match.LoadAlone(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func newScanner(cfg *config.Config) *Scanner {
	return &Scanner{Config: cfg, Matcher: match.New(*cfg, match.Options{HonourAllow: true})}
}

func newDetector(cfg config.Config) *detect.Detector {
	d := detect.NewDetector(cfg)
	d.MaxDecodeDepth = 5
	return d
}

// token is a made-up GitHub token.
func token(n int) string {
	return "gh" + "p_" + fmt.Sprintf("zQWBu%03dSOoRi4A9spHcVY5ncnsDkxkJ0mLq", n%1000)
}

func run(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir, "GIT_AUTHOR_NAME=Änn <x>", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Carl", "GIT_COMMITTER_EMAIL=c@example.com", "GIT_AUTHOR_DATE=1700000000 +0530", "GIT_COMMITTER_DATE=1700000000 +0000")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// lines gives a text of a few lines, some of which hold something.
func lines(r *rand.Rand, old string) string {
	all := strings.SplitAfter(old, "\n")
	piece := func() string {
		switch r.IntN(14) {
		case 0:
			return "token = '" + token(r.IntN(50)) + "'\n"
		case 1:
			return "-----BEGIN RSA PRI" + "VATE KEY-----\n" + strings.Repeat("MIIEowIBAAKCAQEAr2d7b+k"+fmt.Sprint(r.IntN(99))+"\n", 8) + "-----END RSA PRI" + "VATE KEY-----\n"
		case 2:
			return "password: \"aF3x" + fmt.Sprint(r.IntN(1e6)) + "Qz8LmW2\" # gitleaks:allow\n"
		case 3:
			return "api_key = \"aF3x" + fmt.Sprint(r.IntN(1e6)) + "Qz8LmW2nB\"\r\n"
		case 4:
			return "commit message\n@@ -1 +1 @@\ndiff --git a/x b/x\n--- a/x\n+++ b/x\n"
		case 5:
			return "b64: " + "Z2hwX3pRV0J1MDA3U09vUmk0QTlzcEhjVlk1bmNuc0RreGtKMG1McQ==" + "\n"
		case 6:
			return "\n"
		}
		return fmt.Sprintf("line %d\n", r.IntN(20))
	}
	for range 1 + r.IntN(5) {
		at := r.IntN(len(all) + 1)
		switch r.IntN(3) {
		case 0:
			all = slices.Insert(all, at, piece())
		case 1:
			if at < len(all) {
				all = slices.Delete(all, at, min(len(all), at+1+r.IntN(3)))
			}
		case 2:
			if at < len(all) {
				all[at] = piece()
			}
		}
	}
	s := strings.Join(all, "")
	if r.IntN(6) == 0 {
		s = strings.TrimSuffix(s, "\n")
	}
	return s
}

// fixture is a repository with merges, renames, odd names, binary files,
// deletions and changes of mode.
func fixture(t testing.TB, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(seed, 1))
	run(t, dir, "init", "-q", "-b", "main")
	run(t, dir, "remote", "add", "origin", "git@github.com:acme/wi dget.git")
	names := []string{"a.txt", "dir/b.go", "dir/with space.md", "quote\"d.txt", "ünïcode.yml", "tab\tname", "back\\slash", "key.p12", "c.ipynb", "package-lock.json", " lead", "a/b/c/d e"}
	content := map[string]string{}
	put := func(name string) {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(content[name]), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 18 {
		for range 1 + r.IntN(3) {
			name := names[r.IntN(len(names))]
			content[name] = lines(r, content[name])
			put(name)
		}
		keys := slices.Sorted(maps.Keys(content))
		name := keys[r.IntN(len(keys))]
		switch r.IntN(9) {
		case 0:
			err := os.Remove(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			delete(content, name)
		case 1:
			to := fmt.Sprintf("moved %d/%s", n, filepath.Base(name))
			content[to] = content[name] + "token = '" + token(n) + "'\n"
			err := os.Remove(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			delete(content, name)
			put(to)
		case 2:
			content["bin"] = "\x00\x01" + token(n)
			put("bin")
		case 3:
			err := os.Chmod(filepath.Join(dir, name), 0o755)
			if err != nil {
				t.Fatal(err)
			}
		case 4:
			_ = os.Remove(filepath.Join(dir, "link"))
			err := os.Symlink("to/"+token(n), filepath.Join(dir, "link"))
			if err != nil {
				t.Fatal(err)
			}
		}
		run(t, dir, "add", "-A")
		run(t, dir, "commit", "-q", "--allow-empty", "-m", fmt.Sprintf("Title %d\nmore of it\n\nbody\twith tab\n\n\n  indented\ncommit deadbeef\ndiff --git a/x b/x", n))
		if r.IntN(8) == 0 {
			run(t, dir, "checkout", "-q", "-b", fmt.Sprintf("side%d", n), "HEAD~1")
			err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("side%d", n)), []byte("x = '"+token(n+100)+"'\n"), 0o644)
			if err != nil {
				t.Fatal(err)
			}
			run(t, dir, "add", "-A")
			run(t, dir, "commit", "-q", "-m", "side")
			run(t, dir, "checkout", "-q", "main")
			run(t, dir, "merge", "-q", "-m", "Merge side", fmt.Sprintf("side%d", n))
		}
	}
	return dir
}

// rows are findings as gitleaks writes them, sorted.
func rows(t testing.TB, fs []report.Finding) []string {
	t.Helper()
	out := make([]string, 0, len(fs))
	for _, f := range fs {
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	slices.Sort(out)
	return out
}

func same(t testing.TB, what string, got, want []report.Finding) {
	t.Helper()
	g, w := rows(t, got), rows(t, want)
	if len(w) < 3 {
		t.Fatalf("%s: gitleaks finds %d only; the fixture is too poor", what, len(w))
	}
	if slices.Equal(g, w) {
		return
	}
	t.Errorf("%s: %d findings, gitleaks has %d", what, len(g), len(w))
	for _, x := range w {
		if !slices.Contains(g, x) {
			t.Errorf("missing %s", x)
		}
	}
	for _, x := range g {
		if !slices.Contains(w, x) {
			t.Errorf("too much: %s", x)
		}
	}
}

func TestGitFindsWhatGitleaksFinds(t *testing.T) {
	for seed := range uint64(2) {
		dir := fixture(t, seed)
		t.Setenv("HOME", dir)
		cfg := defaultConfig(t)
		remote, err := Remote(t.Context(), dir, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, opts := range []string{"", "-n 7", "--all -U3"} {
			cmd, err := sources.NewGitLogCmdContext(t.Context(), dir, opts)
			if err != nil {
				t.Fatal(err)
			}
			d := newDetector(cfg)
			want, err := d.DetectSource(t.Context(), &sources.Git{
				Cmd: cmd, Config: &cfg, Remote: sources.NewRemoteInfoContext(t.Context(), 0, dir), Sema: semgroup.NewGroup(t.Context(), 4),
			})
			if err != nil {
				t.Fatal(err)
			}
			h := History{Path: dir, Remote: remote}
			if opts != "" {
				h.Options = strings.Split(opts, " ")
			}
			s := newScanner(&cfg)
			commits, err := s.Git(t.Context(), h)
			if err != nil || commits == 0 || len(s.Reasons()) > 0 {
				t.Fatalf("%d commits, %v, %v", commits, err, s.Reasons())
			}
			same(t, fmt.Sprintf("seed %d, options %q", seed, opts), s.Findings(), want)
		}
	}
}

func TestWhatIsNotCommittedYet(t *testing.T) {
	dir := fixture(t, 9)
	t.Setenv("HOME", dir)
	write := func(text string) {
		err := os.WriteFile(filepath.Join(dir, "new.txt"), []byte(text), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	write("a = '" + token(1) + "'\n")
	run(t, dir, "add", "new.txt")
	write("a = '" + token(1) + "'\nb = '" + token(2) + "'\nc = '" + token(3) + "'\n")
	cfg := defaultConfig(t)
	for _, h := range []History{{Path: dir, Staged: true}, {Path: dir, Changes: true}} {
		s := newScanner(&cfg)
		_, err := s.Git(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range s.Findings() {
			got = append(got, f.Secret+" "+f.Fingerprint)
		}
		want := []string{token(1) + " new.txt:github-pat:1"}
		if h.Changes {
			want = []string{token(2) + " new.txt:github-pat:2", token(3) + " new.txt:github-pat:3"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("staged %v: %q, want %q", h.Staged, got, want)
		}
	}
}

func TestFilesFindsWhatGitleaksFinds(t *testing.T) {
	dir := fixture(t, 4)
	r := rand.New(rand.NewPCG(4, 4))
	var big bytes.Buffer
	for big.Len() < 350_000 {
		fmt.Fprintf(&big, "%s%s", lines(r, "one\ntwo\nthree\n"), strings.Repeat("filler ", r.IntN(300)))
	}
	files := map[string][]byte{
		"big.txt": big.Bytes(), "oneline.js": append(bytes.Repeat([]byte("x=1;"), 60_000), []byte("token='"+token(7)+"'")...),
		"elf": append([]byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), []byte("token='"+token(8)+"'")...), "empty": nil,
		"old.zip": []byte("token='" + token(9) + "'\n"), "page.gz.txt": []byte("token='" + token(10) + "'\n"),
	}
	for name, data := range files {
		err := os.WriteFile(filepath.Join(dir, name), data, 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	err := os.Symlink("big.txt", filepath.Join(dir, "alias"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig(t)
	for _, follow := range []bool{false, true} {
		d := newDetector(cfg)
		want, err := d.DetectSource(t.Context(), &sources.Files{Config: &cfg, Path: dir, FollowSymlinks: follow, Sema: semgroup.NewGroup(t.Context(), 4)})
		if err != nil {
			t.Fatal(err)
		}
		s := newScanner(&cfg)
		s.FollowSymlinks = follow
		err = s.Files(t.Context(), dir)
		if err != nil || len(s.Reasons()) > 0 {
			t.Fatal(err, s.Reasons())
		}
		same(t, fmt.Sprintf("follow %v", follow), s.Findings(), want)
	}
}

func TestReaderFindsWhatGitleaksFinds(t *testing.T) {
	text := lines(rand.New(rand.NewPCG(2, 2)), "a\nb\n") + "x='" + token(1) + "'\ny='" + token(2) + "'\nz='" + token(3) + "'\n"
	cfg := defaultConfig(t)
	d := newDetector(cfg)
	want, err := d.DetectSource(t.Context(), &sources.File{Content: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(&cfg)
	err = s.Reader(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "reader", s.Findings(), want)
}

func TestRedactedAndKnownFindings(t *testing.T) {
	cfg := defaultConfig(t)
	text := "x='" + token(1) + "'\ny='" + token(2) + "'\nz='" + token(3) + "'\n"
	all := newScanner(&cfg)
	err := all.Reader(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(all.Findings()[:1])
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(&cfg)
	s.Baseline, err = ReadBaseline(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var odd []string
	s.Ignore, odd, err = ReadIgnore(strings.NewReader("# known\n\n:github-pat:2\nodd line\n"))
	if err != nil || len(odd) != 1 {
		t.Fatal(err, odd)
	}
	s.Redact = 100
	err = s.Reader(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got := s.Findings()
	if len(got) != 1 || got[0].StartLine != 3 || got[0].Secret != "REDACTED" || strings.Contains(got[0].Match, token(3)) {
		t.Errorf("%+v", got)
	}
}

func TestOddPatchesAreTold(t *testing.T) {
	head := "commit " + strings.Repeat("a", 40) + "\nAuthor: A <a@b>\nDate:   Mon Jan 2 15:04:05 2006 +0000\n\n    t\n\n"
	good := "diff --git a/b b/b\nnew file mode 100644\n--- /dev/null\n+++ b/b\n@@ -0,0 +1 @@\n+x='" + token(1) + "'\n"
	cfg := defaultConfig(t)
	for name, text := range map[string]string{
		"cut off":      good + "diff --git a/c b/c\n--- a/c\n+++ b/c\n@@ -1 +1,5 @@\n+x",
		"bad hunk":     "diff --git a/c b/c\n--- a/c\n+++ b/c\n@@ -1 +1,x @@\n+x\n" + good,
		"bad line":     "diff --git a/c b/c\n--- a/c\n+++ b/c\n@@ -1 +1,2 @@\n+x\n*y\n" + good,
		"bad quotes":   "diff --git a/c b/c\n--- a/c\n+++ \"b/\\q\"\n@@ -1 +1,1 @@\n+x\n" + good,
		"no such name": "diff --git a/c b/d\n@@ -1 +1,1 @@\n+x\n" + good,
	} {
		s := newScanner(&cfg)
		_, err := s.Stream(context.Background(), strings.NewReader(head+text), Source{})
		if err != nil {
			t.Fatal(name, err)
		}
		if got := s.Findings(); len(got) != 1 || got[0].File != "b" || got[0].Author != "A" {
			t.Errorf("%s: %+v", name, got)
		}
		if len(s.Reasons()) != 1 {
			t.Errorf("%s: not told", name)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("commit aaaa\nAuthor: A <a@b>\n\n    t\n\ndiff --git a/b b/b\n--- a/b\n+++ b/b\n@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+x\n+y\n\\ No newline at end of file\n"))
	f.Add([]byte("diff --git \"a/\\303\\274\" \"b/\\303\\274\"\nrename from a\nrename to b\nBinary files a/x and b/x differ\n"))
	cfg := defaultConfig(f)
	matcher := newScanner(&cfg).Matcher
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Scanner{Config: &cfg, Matcher: matcher}
		_, err := s.Stream(context.Background(), bytes.NewReader(data), Source{})
		if err != nil {
			t.Fatal(err)
		}
		if s.Bytes() > int64(len(data)) {
			t.Fatalf("%d bytes looked at, of %d", s.Bytes(), len(data))
		}
	})
}
