package history

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stanch/scanner"
)

// TestSuspects names the commits that change a line with a match, however the
// rest of the file changes.
func TestSuspects(t *testing.T) {
	plain, err := scanner.New(scanner.Options{GitleaksOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	commit := func(what string) string {
		r.git("add", "-A")
		r.git("commit", "-q", "-m", what)
		return r.git("rev-parse", "HEAD")
	}
	words := strings.Repeat("just some words\n", 20)
	secret := "token = '" + tok(1) + "'\n"
	var want []string
	r.write("a.txt", words+words)
	commit("words alone")
	r.write("a.txt", words+secret+words)
	want = append(want, commit("the secret comes"))
	r.write("a.txt", "a new first line\n"+words+secret+words)
	commit("far above it")
	r.write("a.txt", "a new first line\n"+words+secret+words+"a new last line\n")
	commit("far below it")
	r.write("a.txt", "another first line\n"+words+secret+words+"another last line\n")
	want = append(want, commit("on both sides, which nothing but git's own comparison tells apart"))
	r.write("a.txt", "another first line\n"+words+words+"another last line\n")
	commit("it goes")
	r.write("b/c.txt", secret)
	want = append(want, commit("in another file"))
	r.git("checkout", "-q", "-b", "side", "HEAD~1")
	r.write("d.txt", "words\n")
	commit("on another branch")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "--no-ff", "-m", "merge", "side")

	ids, commits, ok, err := Suspects(context.Background(), filepath.Join(r.dir, ".git"), Options{Engine: plain})
	if err != nil || !ok || commits != 8 {
		t.Fatalf("%d commits, told %v, %v", commits, ok, err)
	}
	slices.Sort(ids)
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("suspects %v, want %v", ids, want)
	}

	r.git("replace", want[0], want[1])
	_, _, ok, err = Suspects(context.Background(), filepath.Join(r.dir, ".git"), Options{Engine: plain})
	if ok || err != nil {
		t.Errorf("a repository with replaced objects: told %v, %v", ok, err)
	}
}

func TestChanged(t *testing.T) {
	for _, c := range []struct{ before, now, want string }{
		{"", "", ""},
		{"a\nb\n", "a\nb\n", "b\n"}, // nothing changed; a line of context stays
		{"a\nb\nc\nd\ne\n", "a\nb\nX\nd\ne\n", "b\nX\nd\n"},
		{"a\nb\n", "a\nb", "a\nb"},
		{"x\na\nb\nc", "a\nb\nc", "a\n"},
		{"one line", "one new line", "one new line"},
	} {
		from, to := changed([]byte(c.before), []byte(c.now))
		if !strings.Contains(c.now[from:to], strings.TrimSpace(c.want)) {
			t.Errorf("%q to %q: %q changed, want %q in it", c.before, c.now, c.now[from:to], c.want)
		}
	}
}
