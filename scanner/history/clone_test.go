package history

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stanch/scanner"
)

// objectFiles lists the files in which a repository keeps its objects.
func objectFiles(t *testing.T, gitDir string) (out []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(gitDir, "objects"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	}))
	return out
}

// Of a partial clone that is scanned which is there, nothing is fetched though the
// server would give it, and the result says that it is partial.
func TestPartialClones(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	r.git("config", "uploadpack.allowFilter", "true")
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	r.write("old.env", "A="+tok(1)+"\n")
	first := r.commit("first " + tok(2))
	r.write("old.env", "A=\n")
	r.write("sub/new.env", "B="+tok(3)+"\n")
	second := r.commit("second")
	r.write("plain.txt", "nothing\n")
	third := r.commit("third")
	for _, c := range []struct {
		filter string
		flags  []string
		blob   []string // where the secret of the last version is found
	}{
		{"blob:none", []string{"--bare"}, nil},
		{"blob:none", []string{"--no-checkout"}, nil},
		{"blob:none", nil, []string{"blob sub/new.env@" + second + ":1"}},
		{"tree:0", []string{"--bare"}, nil},
		{"tree:0", []string{"--no-checkout"}, nil},
		{"tree:0", nil, []string{"blob sub/new.env@" + third + ":1"}}, // its tree alone is there
	} {
		name := strings.Join(append([]string{c.filter}, c.flags...), " ")
		clone := &repo{t: t, dir: filepath.Join(t.TempDir(), "clone")}
		into := filepath.Dir(clone.dir)
		(&repo{t: t, dir: into}).git(append(append([]string{"clone", "-q", "--filter=" + c.filter}, c.flags...), "file://"+r.dir, "clone")...)
		gitDir, ok := GitDir(clone.dir)
		if !ok {
			t.Fatalf("%s: no repository", name)
		}
		had := objectFiles(t, gitDir)
		var found []scanner.Finding
		res, err := Scan(context.Background(), gitDir, Options{Engine: engine()}, func(f scanner.Finding) { found = append(found, f) })
		must(t, err)
		if !res.Partial || len(res.Reasons) != 1 || !strings.HasSuffix(res.Reasons[0], " objects are not in the repository") {
			t.Errorf("%s: reasons %q", name, res.Reasons)
		}
		if got := places(found, tok(2)); !slices.Equal(got, []string{"commit-message @" + first + ":1"}) {
			t.Errorf("%s: the message is found in %v", name, got)
		}
		if got := places(found, tok(3)); !slices.Equal(got, c.blob) {
			t.Errorf("%s: the blob is found in %v", name, got)
		}
		if got := places(found, tok(1)); len(got) > 0 {
			t.Errorf("%s: what is not there is found in %v", name, got)
		}
		if gitDir != clone.dir {
			_, err = WorkTree(context.Background(), clone.dir, gitDir, TreeOptions{Engine: engine()}, func(scanner.Finding) {})
			must(t, err)
		}
		if now := objectFiles(t, gitDir); !slices.Equal(now, had) {
			t.Errorf("%s: files of objects were %q and are %q", name, had, now)
		}
	}
}
