package gate

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/scanner"
)

// made up, and split so that no scanner takes it for a leak of ours
var (
	tokenA = "gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
	tokenB = "gh" + "o_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"
)

type repo struct {
	t   *testing.T
	dir string
}

func newRepo(t *testing.T, args ...string) *repo {
	t.Helper()
	_, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	r := &repo{t, t.TempDir()}
	r.git(append([]string{"init", "-q", "-b", "main"}, args...)...)
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=Carl", "GIT_COMMITTER_EMAIL=carl@example.com", "GIT_COMMITTER_DATE=1700000000 +0000"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes a file, commits all and gives the id.
func (r *repo) commit(name, content string) string {
	r.t.Helper()
	err := os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644)
	if err != nil {
		r.t.Fatal(err)
	}
	r.git("add", "-A")
	r.git("commit", "-q", "-m", "write "+name)
	return r.git("rev-parse", "HEAD")
}

// unref takes the branch away, so that its commits are new to the repository.
func (r *repo) unref(to string) { r.git("update-ref", "refs/heads/main", to) }

var engine = func() *scanner.Engine {
	e, err := scanner.New(scanner.Options{MaxBlobBytes: 1 << 20})
	if err != nil {
		panic(err)
	}
	return e
}()

func (r *repo) options(l Limits) Options {
	return Options{Engine: engine, Dir: r.dir, Env: []string{"PATH=" + os.Getenv("PATH"), "GIT_PAGER=false", "GIT_EXTERNAL_DIFF=/bin/false"}, Limits: l}
}

func places(res Result) []string {
	var out []string
	for _, f := range res.Findings {
		out = append(out, f.Place.Object+" "+f.Place.Path+" "+f.Place.Author.Name+" "+f.Rule)
	}
	return out
}

func TestReceivedTellsWhatIsNewAlone(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			r := newRepo(t, "--object-format="+format)
			first := r.commit("a.env", "t="+tokenA+"\n")
			r.commit("a.env", "t="+tokenA+"\nx=1\n")
			second := r.commit("b.env", "t="+tokenB+"\n")
			r.unref(first)
			zero := strings.Repeat("0", len(first))
			res, err := Received(context.Background(), []Update{{first, second, "refs/heads/main"}, {first, zero, "refs/heads/gone"}}, r.options(Limits{}))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := places(res), []string{"blob b.env Ann github-oauth"}; !slices.Equal(got, want) {
				t.Errorf("findings %q, want %q", got, want)
			}
			if res.Partial || res.Commits != 2 || res.Blobs != 2 {
				t.Errorf("%+v", res)
			}
			if len(res.Findings) == 1 && (res.Findings[0].Place.Commit != second || res.Findings[0].Place.AuthoredAt.Unix() != 1700000000) {
				t.Errorf("place %+v", res.Findings[0].Place)
			}
		})
	}
}

func TestReceivedIgnoresReplacementsAndGrafts(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a", "a")
	second := r.commit("b.env", "t="+tokenA+"\n")
	r.git("replace", second, first)
	r.unref(first)
	res, err := Received(context.Background(), []Update{{first, second, "refs/heads/main"}}, r.options(Limits{}))
	if err != nil || len(res.Findings) != 1 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestLimitsArePartial(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a", "a")
	r.commit("b.env", "t="+tokenA+"\n")
	last := r.commit("c", strings.Repeat("words ", 1<<18)+"\n"+tokenB)
	r.unref(first)
	up := []Update{{first, last, "refs/heads/main"}}
	for name, test := range map[string]struct {
		limits   Limits
		reason   string
		findings int
	}{
		"object size": {Limits{}, "an object is over the size limit of 1 MiB: only its start was looked at", 1},
		"objects":     {Limits{Objects: 1}, "the limit of 1 objects was reached", 0},
		"bytes":       {Limits{Bytes: 100}, "the limit of 0 MiB was reached", 0},
		"time":        {Limits{Timeout: time.Nanosecond}, "the time limit of 1ns was reached", 0},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := Received(context.Background(), up, r.options(test.limits))
			if err != nil || !res.Partial || !slices.Contains(res.Reasons, test.reason) || len(res.Findings) != test.findings {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Received(ctx, up, r.options(Limits{}))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's end as an error", err)
	}
}

func TestUnknownTipIsAnError(t *testing.T) {
	r := newRepo(t)
	first := r.commit("a", "a")
	_, err := Received(context.Background(), []Update{{first, strings.Repeat("1", 40), "refs/heads/main"}}, r.options(Limits{}))
	if err == nil {
		t.Error("no error for an object that is not there")
	}
}

func TestStaged(t *testing.T) {
	r := newRepo(t)
	res, err := Staged(context.Background(), r.options(Limits{}))
	if err != nil || res.Blobs != 0 {
		t.Errorf("empty repository: %+v, %v", res, err)
	}
	r.commit("a.env", "t="+tokenA+"\n")
	err = os.WriteFile(filepath.Join(r.dir, "a.env"), []byte("t="+tokenA+"\nu="+tokenB+"\n"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	r.git("add", "-A")
	res, err = Staged(context.Background(), r.options(Limits{}))
	if got, want := places(res), []string{"blob a.env  github-oauth"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q (%v)", got, want, err)
	}
}

func TestParseUpdates(t *testing.T) {
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	for in, want := range map[string]int{
		"": 0,
		zero + " " + one + " refs/heads/a\n" + one + " " + zero + " refs/heads/b c\n": 2,
		zero + " " + one + " refs/heads/a":                                            -1, // cut off
		zero + " " + one + " main\n":                                                  -1,
		zero + " " + one + "\n":                                                       -1,
		"x " + one + " refs/heads/a\n":                                                -1,
		zero + " " + strings.Repeat("1", 64) + " refs/heads/a\n":                      -1,
		"\n":                              -1,
		zero + " " + one + " refs/\x1b\n": -1,
		strings.Repeat("a", 2<<20) + "\n": -1,
	} {
		got, err := ParseUpdates(strings.NewReader(in))
		if (err != nil) != (want < 0) || err == nil && len(got) != want {
			t.Errorf("%.60q: %v, %v", in, got, err)
		}
	}
}

func TestReadRaw(t *testing.T) {
	a, b, c := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("c", 40)
	zero := strings.Repeat("0", 40)
	in := c + "\x00" +
		":000000 100644 " + zero + " " + a + " A\x00new\x00" +
		":100644 000000 " + a + " " + zero + " D\x00gone\x00" +
		":100644 100644 " + a + " " + b + " R090\x00from\x00to\x00" +
		":000000 160000 " + zero + " " + a + " A\x00module\x00" +
		"::100644 100644 100644 " + a + " " + a + " " + b + " MM\x00merged\x00"
	var got []string
	err := readRaw(bufio.NewReader(strings.NewReader(in)), func(ch change) error {
		got = append(got, ch.path+" "+ch.id[:1]+" "+strings.Join(ch.olds, ",")+" "+ch.commit[:1])
		return nil
	})
	want := []string{"new a  c", "to b " + a + " c", "merged b " + a + " c"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func FuzzParse(f *testing.F) {
	a := strings.Repeat("a", 40)
	f.Add([]byte(a + " " + a + " refs/heads/x\n"))
	f.Add([]byte(a + "\x00:100644 100644 " + a + " " + a + " R100\x00x\x00y\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		up, err := ParseUpdates(strings.NewReader(string(data)))
		if err == nil {
			for _, u := range up {
				if !isID(u.Old) || !isID(u.New) || !isRef(u.Ref) {
					t.Errorf("%+v", u)
				}
			}
		}
		_ = readRaw(bufio.NewReader(strings.NewReader(string(data))), func(c change) error {
			if !isID(c.id) || c.path == "" {
				t.Errorf("%+v", c)
			}
			return nil
		})
	})
}

// zipped is a document of the form of an office program's, as a string.
func zipped(t *testing.T, inner string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create("word/document.xml")
	if err == nil {
		_, err = f.Write([]byte(inner))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestArchivesAreOpened(t *testing.T) {
	r := newRepo(t)
	const name = "plan.docx"
	first := r.commit(name, zipped(t, "<t>token="+tokenA+"</t>"))
	second := r.commit(name, zipped(t, "<t>token="+tokenA+"</t><t>token="+tokenB+"</t>"))
	r.unref(first)
	push := func(to string) Result {
		t.Helper()
		res, err := Received(context.Background(), []Update{{first, to, "refs/heads/main"}}, r.options(Limits{}))
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := push(second)
	if got, want := places(res), []string{"blob plan.docx!word/document.xml Ann github-oauth"}; !slices.Equal(got, want) || res.Partial {
		t.Errorf("findings %q, want %q; %q", got, want, res.Reasons)
	}
	cut := zipped(t, "<t/>")
	r.git("update-ref", "refs/heads/main", second)
	third := r.commit("cut.zip", cut[:len(cut)-30])
	r.unref(second)
	res = push(third)
	if !res.Partial || len(res.Findings) > 0 {
		t.Errorf("a damaged archive: %+v", res)
	}
}
