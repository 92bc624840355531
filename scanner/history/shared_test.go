package history

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stanch/scanner"
)

// described is all that a finding says.
func described(fs []scanner.Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%s %s %+v %s %s %v", f.Rule, f.Secret.Reveal(), f.Place, f.Class, f.Suppressed, f.Tags))
	}
	return out
}

// TestShared scans a repository, its fork and a copy that holds its files alone
// with what the scans before learnt, and wants what each scan alone finds.
func TestShared(t *testing.T) {
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	r.write("main.go", "package main\n")
	r.write("node_modules/x/hot.js", "k = '"+tok(2)+"'\n")
	var z bytes.Buffer
	w := zip.NewWriter(&z)
	in, err := w.Create("inner.env")
	if err == nil {
		_, err = in.Write([]byte("A=" + tok(4)))
	}
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	r.write("files.zip", z.String())
	r.commit("first")
	r.write("docs/"+tok(3)+".md", "hello\n")
	r.commit("a path that says it")
	r.write("store.p12", "package main\n")
	r.commit("a path that is enough")
	for n := range 20 {
		r.write(fmt.Sprintf("pkg/f%d.go", n), fmt.Sprintf("package pkg // %d\n", n))
		r.commit(fmt.Sprintf("change %d", n))
	}
	r.commit("message with " + tok(5))
	r.git("checkout", "-q", "-b", "side", "HEAD~10")
	r.write("a.env", "A="+tok(6)+"\nB="+tok(1)+"\n")
	r.write("only.env", "C="+tok(7)+"\n")
	picked := r.commit("side")
	r.git("checkout", "-q", "main")
	r.git("merge", "-q", "-m", "merge", "side")
	r.git("tag", "-a", "v1", "-m", "release "+tok(8))

	fork := &repo{t: t, dir: t.TempDir(), at: 500}
	fork.git("clone", "-q", "--no-tags", "file://"+r.dir, ".")
	fork.git("reset", "-q", "--hard", "HEAD~5")
	fork.git("cherry-pick", picked) // another commit brings what the first repository has from side
	fork.git("mv", "a.env", "b.env")
	fork.git("mv", "node_modules/x/hot.js", "hot.js")
	fork.write("pkg/f3.go", "package pkg // A="+tok(9)+"\n")
	fork.write("key.p12", "package pkg // 1\n")
	fork.commit("own")
	fork.git("rm", "-q", "b.env")
	fork.commit("remove")
	fork.write("c.env", "A="+tok(1)+"\n")
	fork.commit("again")

	vendored := newRepo(t)
	for _, name := range []string{"a.env", "main.go", "files.zip", "pkg/f1.go"} {
		data, err := os.ReadFile(filepath.Join(r.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		vendored.write("vendor/x/"+name, string(data))
		vendored.write("lib/"+name, string(data))
	}
	vendored.commit("vendor")

	file := filepath.Join(t.TempDir(), "shared")
	for _, reload := range []bool{false, true} {
		s := NewShared("k")
		for n, x := range []*repo{r, fork, vendored, r, fork} {
			want, alone := x.scan(Options{})
			got, res := x.scan(Options{Shared: s})
			if !slices.Equal(described(got), described(want)) {
				t.Errorf("scan %d, reloaded %v:\n%s\nalone:\n%s", n, reload, strings.Join(described(got), "\n"), strings.Join(described(want), "\n"))
			}
			if res.Partial != alone.Partial || !slices.Equal(res.Reasons, alone.Reasons) {
				t.Errorf("scan %d: partial %v %v, alone %v", n, res.Partial, res.Reasons, alone.Reasons)
			}
			if n > 0 && (res.Blobs >= alone.Blobs || n != 2 && res.Commits >= alone.Commits) {
				t.Errorf("scan %d looked at %d blobs and %d commits, alone at %d and %d", n, res.Blobs, res.Commits, alone.Blobs, alone.Commits)
			}
			if !reload {
				continue
			}
			err := s.Save(file)
			if err == nil {
				s, err = LoadShared(file, "k")
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(file)
			if err != nil || bytes.Contains(data, []byte(tok(1))) {
				t.Error("the file holds a secret", err)
			}
		}
	}
}

// TestSharedDoubt: what was not looked at as a whole is nothing that others need
// not look at.
func TestSharedDoubt(t *testing.T) {
	r := newRepo(t)
	r.write("a.txt", strings.Repeat("x", 2000)+"\nA="+tok(1)+"\n")
	r.commit("first")
	s := NewShared("k")
	_, res := r.scan(Options{Shared: s, MaxBlobBytes: 100})
	if !res.Partial {
		t.Fatal("a blob over the limit went unnoticed")
	}
	_, res = r.scan(Options{Shared: s, MaxBlobBytes: 100})
	if !res.Partial {
		t.Error("the second scan does not tell of the blob that was left out")
	}
	found, _ := r.scan(Options{Shared: s})
	if len(found) != 1 {
		t.Errorf("%d findings after a scan that left out the file, want 1", len(found))
	}

	// A scan that was stopped knows nothing of commits.
	ctx, stop := context.WithCancel(context.Background())
	stop()
	s = NewShared("k")
	_, err := Scan(ctx, filepath.Join(r.dir, ".git"), Options{Engine: engine(), Shared: s}, func(scanner.Finding) {})
	if err == nil || s.Len() != 0 {
		t.Errorf("stopped scan: %v, %d objects are taken as known", err, s.Len())
	}
}
