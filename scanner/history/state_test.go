package history

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

func TestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s, err := loadState(path, "rules 1")
	must(t, err)
	id := func(n int, format string) gitpack.ID {
		x, ok := gitpack.ParseID(fmt.Sprintf(format, n*7919))
		if !ok {
			t.Fatal("no id")
		}
		return x
	}
	for n := range 1000 {
		s.Add(id(n, "%040x"))
		s.Add(id(n, "%064x"))
		s.Add(id(n, "%040x"))
	}
	must(t, s.Save(path))
	info, err := os.Stat(path)
	must(t, err)
	if s.Len() != 2000 || info.Size() > 1000*52+200 || info.Mode().Perm() != 0o600 {
		t.Errorf("%d objects in %d bytes, mode %v", s.Len(), info.Size(), info.Mode())
	}
	s, err = loadState(path, "rules 1")
	must(t, err)
	for n := range 1000 {
		if !s.Has(id(n, "%040x")) || !s.Has(id(n, "%064x")) || s.Has(id(n+2000, "%040x")) {
			t.Fatalf("id %d is not as it was", n)
		}
	}
	s, err = loadState(path, "rules 2")
	if err != nil || s.Len() != 0 {
		t.Errorf("under other rules: %v, %d objects", err, s.Len())
	}
	data, err := os.ReadFile(path)
	must(t, err)
	for _, at := range []int{0, 60, len(data) / 2, len(data) - 1} {
		bad := slices.Clone(data)
		bad[at] ^= 1
		must(t, os.WriteFile(path, bad, 0o600))
		_, err = loadState(path, "rules 1")
		if err == nil {
			t.Errorf("damage at %d is not seen", at)
		}
	}
}

func FuzzState(f *testing.F) {
	s := newState("k")
	x, _ := gitpack.ParseID(strings.Repeat("ab", 20))
	s.Add(x)
	var b strings.Builder
	_ = s.write(&b)
	f.Add([]byte(b.String()))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newState("k")
		err := s.read(strings.NewReader(string(data)))
		if err == nil && s.Len()*20 > len(data) {
			t.Errorf("%d objects out of %d bytes", s.Len(), len(data))
		}
	})
}

// stopped is a context that is cancelled when it was asked a number of times.
type stopped struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func (c *stopped) Err() error {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// A scan that is stopped, wherever that is, loses nothing: the next one finds all
// that the whole one would have, and looks at less.
func TestStoppedScanIsGoneOnWith(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for n := range 24 {
		text := strings.Repeat(fmt.Sprintf("line of file %d\n", n), 40)
		if n%4 == 0 {
			text += "key " + tok(n) + "\n"
		}
		r.write(fmt.Sprintf("dir/file%d", n%12), text)
		if n == 7 {
			r.write("store.p12", "a finding by its name alone")
		}
		message := "plain"
		if n%6 == 0 {
			message += " " + tok(100+n)
		}
		r.commit(message)
	}
	r.git("tag", "-a", "-m", "tag "+tok(200), "v1")
	r.git("repack", "-qadf")
	fs, res := r.scan(Options{})
	want, blobs := described(fs), res.Blobs
	if blobs != 25 || len(places(fs, tok(200))) != 1 || !slices.ContainsFunc(fs, func(f scanner.Finding) bool { return f.Place.Path == "store.p12" }) {
		t.Fatalf("%d blobs, %d findings", blobs, len(fs))
	}
	spared := false
	for after := int64(1); ; after += 1 + after/8 {
		ctx := &stopped{}
		ctx.Context, ctx.cancel = context.WithCancel(context.Background())
		ctx.left.Store(after)
		shared, file := NewShared("k"), filepath.Join(t.TempDir(), "shared")
		_, _ = Scan(ctx, filepath.Join(r.dir, ".git"), Options{Engine: engine(), Shared: shared}, func(scanner.Finding) {})
		whole := ctx.Context.Err() == nil
		ctx.cancel()
		if whole {
			break
		}
		must(t, shared.Save(file))
		shared, err := LoadShared(file, "k")
		must(t, err)
		fs, res := r.scan(Options{Shared: shared})
		if got := described(fs); !slices.Equal(got, want) || res.Partial {
			t.Errorf("stopped after %d: %q, want %q; %v", after, got, want, res.Reasons)
		}
		spared = spared || res.Blobs < blobs
	}
	if !spared {
		t.Error("no scan was spared anything")
	}
}

func TestAfter(t *testing.T) {
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	r.commit("first")
	r.write("a.env", "A="+tok(1)+"\nB="+tok(2)+"\n")
	second := r.commit("second")
	when := r.git("log", "-1", "--format=%ct", second)
	var sec int64
	_, err := fmt.Sscan(when, &sec)
	must(t, err)
	fs, _ := r.scan(Options{After: time.Unix(sec, 0)})
	if len(places(fs, tok(1))) != 0 || len(places(fs, tok(2))) != 1 {
		t.Errorf("%d findings", len(fs))
	}
}

func TestUnreachable(t *testing.T) {
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	r.commit("first")
	r.write("b.env", "B="+tok(2)+"\n")
	lost := r.commit("lost " + tok(3))
	r.git("reset", "-q", "--hard", "HEAD~1")
	fs, res := r.scan(Options{})
	if len(places(fs, tok(2)))+len(places(fs, tok(3))) != 0 || res.Partial {
		t.Errorf("unasked: %d findings, %v", len(fs), res.Reasons)
	}
	fs, _ = r.scan(Options{Unreachable: true})
	if got := places(fs, tok(2)); !slices.Equal(got, []string{"blob @:1"}) {
		t.Errorf("blob in %v", got)
	}
	if got := places(fs, tok(3)); !slices.Equal(got, []string{"commit-message @" + lost + ":1"}) {
		t.Errorf("message in %v", got)
	}
	for _, f := range fs {
		if (f.Secret.Reveal() == tok(1)) == slices.Contains(f.Tags, tagUnreachable) {
			t.Errorf("%s has tags %v", f.Place.Path, f.Tags)
		}
	}
}

// What deltas give must be what whole blobs give, in every kind of store.
func TestPackedAndShallow(t *testing.T) {
	r := newRepo(t)
	text := strings.Repeat("a line of text that is the same everywhere\n", 60)
	for n := range 6 {
		r.write("src/app.conf", text+"key "+tok(n)+"\n"+text)
		r.commit(fmt.Sprintf("version %d", n))
	}
	want, _ := r.scan(Options{})
	if len(want) < 6 {
		t.Fatalf("%d findings", len(want))
	}
	r.git("repack", "-qadf", "--depth=50")
	got, res := r.scan(Options{})
	for n := range 6 {
		if a, b := places(got, tok(n)), places(want, tok(n)); !slices.Equal(a, b) || len(b) != 1 {
			t.Errorf("packed: %v, loose: %v", a, b)
		}
	}
	if res.Partial || res.Commits != 6 {
		t.Errorf("%+v", res)
	}
	c := &repo{t: t, dir: t.TempDir(), at: 100}
	c.git("clone", "-q", "--depth=2", "file://"+r.dir, ".")
	got, res = c.scan(Options{})
	if res.Partial || res.Commits != 2 || len(places(got, tok(5))) != 1 || len(places(got, tok(4))) != 1 || len(places(got, tok(3))) != 0 {
		t.Errorf("shallow: %+v, %d findings", res, len(got))
	}
	// A commit whose history is gone otherwise is not whole.
	must(t, os.Remove(filepath.Join(c.dir, ".git/shallow")))
	_, res = c.scan(Options{})
	if !res.Partial {
		t.Error("a missing parent does not make the result partial")
	}
}
