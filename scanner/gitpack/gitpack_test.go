package gitpack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"stanch/scanner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gitRepo is a real repository in a temporary directory.
type gitRepo struct {
	t   testing.TB
	dir string
}

func (r gitRepo) gitDir() string { return filepath.Join(r.dir, ".git") }

func (r gitRepo) git(args ...string) string {
	r.t.Helper()
	return strings.TrimSpace(string(r.run("", args...)))
}

func (r gitRepo) run(in string, args ...string) []byte {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(in)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=1700000000 +0000", "GIT_COMMITTER_DATE=1700000000 +0000"}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, said.String())
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newGitRepo makes a repository with some dozen versions of two files, and
// things of an odd size. It gives its blobs by id.
func newGitRepo(t testing.TB, format string) (gitRepo, map[string][]byte) {
	t.Helper()
	_, err := exec.LookPath("git")
	if err != nil {
		t.Fatal("these tests need git")
	}
	r := gitRepo{t, t.TempDir()}
	r.git("init", "-q", "-b", "main", "--object-format="+format)
	want := map[string][]byte{}
	var in bytes.Buffer
	file := func(path string, data []byte) {
		fmt.Fprintf(&in, "M 644 inline %s\ndata %d\n%s\n", path, len(data), data)
		want[blobID(format, data)] = data
	}
	rng := rand.New(rand.NewPCG(7, 7))
	lines := make([]string, 400)
	for i := range lines {
		lines[i] = fmt.Sprintf("line %d of the file: %x", i, rng.Uint64())
	}
	random := make([]byte, 100_000)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	for v := range 40 {
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 2\nm\n\n", 1_700_000_000+v)
		if v == 0 {
			file("empty", nil)
			file("one", []byte("x"))
			file("big.bin", bytes.Repeat([]byte("0123456789abcdef"), 1<<14))
			file("random.bin", random)
		}
		at := rng.IntN(len(lines))
		lines[at] = fmt.Sprintf("version %d: %x", v, rng.Uint64())
		if v%7 == 0 {
			lines = append(lines[at/2:], lines[:at/2]...)
		}
		file("a/b/text", []byte(strings.Join(lines, "\n")))
		if v%3 == 0 {
			file("a/other", []byte(strings.Join(lines[:at], "\n")))
		}
	}
	fmt.Fprintf(&in, "tag v1\nfrom refs/heads/main\ntagger A <a@example.com> 1700000000 +0000\ndata 5\na tag\n")
	r.run(in.String(), "-c", "fastimport.unpackLimit=10000", "fast-import", "--quiet")
	return r, want
}

func blobID(format string, data []byte) string {
	h := hasher{h: newHash(map[string]int{"sha1": 20, "sha256": 32}[format])}
	sum := make([]byte, 32)[:h.h.Size()]
	h.sum(Blob, data, sum)
	return RawID(sum).String()
}

// addFile commits one more file, as loose objects.
func (r gitRepo) addFile(path, text string) {
	r.run(fmt.Sprintf("commit refs/heads/main\ncommitter A <a@example.com> 1700001000 +0000\ndata 2\nm\nfrom refs/heads/main^0\nM 644 inline %s\ndata %d\n%s\n", path, len(text), text),
		"-c", "fastimport.unpackLimit=10000", "fast-import", "--quiet")
}

// objects is what git says that there is of a type: id to content.
func (r gitRepo) objects(kind string) map[string][]byte {
	r.t.Helper()
	out := map[string][]byte{}
	b := r.run("", "cat-file", "--batch-all-objects", "--batch")
	for len(b) > 0 {
		head, rest, _ := bytes.Cut(b, []byte("\n"))
		f := strings.Fields(string(head))
		n, err := strconv.Atoi(f[2])
		must(r.t, err)
		if f[1] == kind {
			out[f[0]] = rest[:n]
		}
		b = rest[n+1:]
	}
	return out
}

// check compares all blobs of a store with what git gives, and that copies tell
// the truth.
func check(t *testing.T, gitDir string, want map[string][]byte) (deltas int) {
	t.Helper()
	r, err := Open(gitDir)
	must(t, err)
	defer r.Close()
	if len(r.Problems()) > 0 {
		t.Errorf("problems: %v", r.Problems())
	}
	var mu sync.Mutex
	got := map[string]int{}
	err = r.Walk(context.Background(), Walk{Kind: Blob, Workers: 3, Visit: func(_ int, o *Object) any {
		id := r.ID(o.Number)
		mu.Lock()
		defer mu.Unlock()
		got[id.String()]++
		if !bytes.Equal(o.Data, want[id.String()]) {
			t.Errorf("%s: wrong bytes", id)
		}
		if o.Base != nil {
			deltas++
			if !bytes.Equal(o.Old, want[o.Base.(ID).String()]) {
				t.Errorf("%s: wrong base", id)
			}
			checkCopies(t, o)
		}
		return id
	}, Failed: func(_ int, n Number, err error) { t.Errorf("%s: %v", r.ID(n), err) }})
	must(t, err)
	for id, data := range want {
		if got[id] != 1 {
			t.Errorf("%s: visited %d times", id, got[id])
		}
		x, _ := ParseID(id)
		kind, b, err := r.Object(x)
		if err != nil || kind != Blob || !bytes.Equal(b, data) {
			t.Errorf("%s: %v, %v, %d bytes", id, err, kind, len(b))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d blobs, want %d", len(got), len(want))
	}
	return deltas
}

func checkCopies(t *testing.T, o *Object) {
	t.Helper()
	at := 0
	for _, c := range o.Copies {
		if c.New < at || c.Len <= 0 || !bytes.Equal(o.Data[c.New:c.New+c.Len], o.Old[c.Old:c.Old+c.Len]) {
			t.Errorf("untrue copy %+v", c)
			return
		}
		at = c.New + c.Len
	}
}

func TestStores(t *testing.T) {
	half := func(r gitRepo) { // two packs and some loose objects
		r.git("repack", "-q", "-ad")
		r.addFile("late", "late")
		r.git("repack", "-q", "-d")
		r.addFile("latest", "latest")
	}
	noIndex := func(r gitRepo) {
		files, err := filepath.Glob(filepath.Join(r.gitDir(), "objects/pack/pack-*.idx"))
		must(t, err)
		for _, f := range files {
			must(t, os.Remove(f))
		}
	}
	for _, c := range []struct {
		name    string
		formats string
		late    bool // prepare adds two files
		prepare func(gitRepo)
	}{
		{"loose", "sha1 sha256", false, func(gitRepo) {}},
		{"packed", "sha1 sha256", false, func(r gitRepo) { r.git("repack", "-qadf", "--depth=50") }},
		{"deltas by id", "sha1", false, func(r gitRepo) { r.git("-c", "repack.useDeltaBaseOffset=false", "repack", "-qadf", "--depth=50") }},
		{"several packs", "sha1", true, half},
		{"the same twice", "sha1", true, func(r gitRepo) { half(r); r.git("repack", "-qa") }},
		{"index of version 1", "sha1", false, func(r gitRepo) { r.git("-c", "pack.indexVersion=1", "repack", "-qadf") }},
		{"no index", "sha1 sha256", true, func(r gitRepo) { half(r); noIndex(r) }},
		{"deltas by id, no index", "sha1", false, func(r gitRepo) {
			r.git("-c", "repack.useDeltaBaseOffset=false", "repack", "-qadf", "--depth=50")
			noIndex(r)
		}},
		{"multi-pack index alone", "sha1", true, func(r gitRepo) { half(r); r.git("multi-pack-index", "write"); noIndex(r) }},
	} {
		for format := range strings.FieldsSeq(c.formats) {
			t.Run(c.name+" "+format, func(t *testing.T) {
				r, want := newGitRepo(t, format)
				c.prepare(r)
				if c.late {
					want[blobID(format, []byte("late"))], want[blobID(format, []byte("latest"))] = []byte("late"), []byte("latest")
				}
				deltas := check(t, r.gitDir(), want)
				if c.name != "loose" && deltas < 20 {
					t.Errorf("%d deltas: this tests little", deltas)
				}
			})
		}
	}
}

func TestOtherObjects(t *testing.T) {
	r, _ := newGitRepo(t, "sha1")
	r.git("repack", "-qadf")
	repo, err := Open(r.gitDir())
	must(t, err)
	defer repo.Close()
	for _, kind := range []Type{Commit, Tree, Blob, Tag} {
		want := r.objects(kind.String())
		n := 0
		must(t, repo.Walk(context.Background(), Walk{Kind: kind, Workers: 1, Visit: func(_ int, o *Object) any {
			id := repo.ID(o.Number)
			n++
			if o.Type != kind || !bytes.Equal(o.Data, want[id.String()]) {
				t.Errorf("%s %s: wrong bytes", kind, id)
			}
			return nil
		}}))
		if n != len(want) || n == 0 {
			t.Errorf("%d of type %s, want %d", n, kind, len(want))
		}
	}
}

// What is built on one object is given to a worker that has nothing to do.
func TestOneFamilyIsShared(t *testing.T) {
	var f forgery
	hello := []byte("hello, hello, hello")
	f.add(t, Blob, uint64(len(hello)), nil, hello)
	for range 20 {
		d := append(binary.AppendUvarint(binary.AppendUvarint(nil, 19), 19), 0x90, 19)
		f.add(t, refDelta, uint64(len(d)), make([]byte, 20), d)
	}
	r := f.open(t, true)
	r.layout()
	q := &queue{ctx: context.Background()}
	q.wake.L = &q.mu
	var mu sync.Mutex
	by := map[int]int{}
	other := make(chan struct{})
	w := Walk{MaxBytes: 1000, Workers: 2, Visit: func(worker int, o *Object) any {
		mu.Lock()
		by[worker]++
		mine, workers := by[worker], len(by)
		mu.Unlock()
		switch {
		case string(o.Data) != string(hello):
			t.Errorf("got %q", o.Data)
		case mine == 1 && workers == 1:
			for q.idle.Load() == 0 {
				goruntime.Gosched()
			}
		case mine == 1:
			close(other)
		default:
			<-other
		}
		return nil
	}}
	q.roots = []root{{r.plan(r.packs[0], w), 0}}
	must(t, r.run(context.Background(), w, q))
	if by[0]+by[1] != 21 || by[0] == 0 || by[1] == 0 {
		t.Errorf("shares %v", by)
	}
}

func TestAlternates(t *testing.T) {
	r, want := newGitRepo(t, "sha1")
	r.git("repack", "-qad")
	c := gitRepo{t, filepath.Join(t.TempDir(), "clone")}
	r.git("clone", "-q", "--shared", r.dir, c.dir)
	c.addFile("more", "more")
	want[blobID("sha1", []byte("more"))] = []byte("more")
	check(t, c.gitDir(), want)
	// In a circle, and to where nothing is.
	must(t, os.WriteFile(filepath.Join(r.gitDir(), "objects/info/alternates"),
		[]byte("# comment\n"+filepath.Join(c.gitDir(), "objects")+"\n/nonexistent\n../objects\n"), 0o644))
	check(t, c.gitDir(), want)
}

func TestRefs(t *testing.T) {
	r, _ := newGitRepo(t, "sha1")
	first := r.git("rev-parse", "HEAD~20")
	last := r.git("rev-parse", "HEAD")
	r.git("branch", "moved", first)
	r.git("branch", "side/branch", first)
	r.git("pack-refs", "--all")
	r.git("branch", "-f", "moved", last)
	r.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/main")
	r.git("checkout", "-q", "--detach", first)
	tree := filepath.Join(t.TempDir(), "tree")
	r.git("worktree", "add", "-q", "--detach", tree, last)
	repo, err := Open(r.gitDir())
	must(t, err)
	defer repo.Close()
	got := map[string]string{}
	must(t, repo.Refs(func(name string, id ID) error { got[name] = id.String(); return nil }))
	for name, id := range map[string]string{
		"HEAD": first, "refs/heads/main": last, "refs/heads/moved": last, "refs/heads/side/branch": first, "refs/tags/v1": r.git("rev-parse", "v1"),
	} {
		if got[name] != id {
			t.Errorf("%s is %s, want %s", name, got[name], id)
		}
	}
	if len(got) != 5 {
		t.Errorf("%v", got)
	}
	// In a linked work tree the objects and refs are elsewhere.
	text, err := os.ReadFile(filepath.Join(tree, ".git"))
	must(t, err)
	linked, err := Open(strings.TrimSpace(strings.TrimPrefix(string(text), "gitdir: ")))
	must(t, err)
	defer linked.Close()
	clear(got)
	must(t, linked.Refs(func(name string, id ID) error { got[name] = id.String(); return nil }))
	if got["HEAD"] != last || got["refs/heads/side/branch"] != first || linked.Len() != repo.Len() {
		t.Errorf("linked: %v", got)
	}
	must(t, os.MkdirAll(filepath.Join(r.gitDir(), "reftable"), 0o755))
	err = repo.Refs(func(string, ID) error { return nil })
	if !errors.Is(err, ErrRefFormat) {
		t.Errorf("reftable: %v", err)
	}
	r.git("config", "extensions.refStorage", "reftable")
	_, err = Open(r.gitDir())
	if !errors.Is(err, ErrRefFormat) {
		t.Errorf("reftable: %v", err)
	}
}

func TestLimits(t *testing.T) {
	r, want := newGitRepo(t, "sha1")
	r.git("repack", "-qadf")
	repo, err := Open(r.gitDir())
	must(t, err)
	defer repo.Close()
	large := map[string]bool{}
	var mu sync.Mutex
	must(t, repo.Walk(context.Background(), Walk{Kind: Blob, MaxBytes: 100_000, Visit: func(_ int, o *Object) any {
		if len(o.Data) > 100_000 {
			t.Errorf("%d bytes", len(o.Data))
		}
		return nil
	}, Failed: func(_ int, n Number, err error) {
		mu.Lock()
		defer mu.Unlock()
		if !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
		large[repo.ID(n).String()] = true
	}}))
	for id, data := range want {
		if (len(data) > 100_000) != large[id] {
			t.Errorf("%s of %d bytes: left out: %v", id, len(data), large[id])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = repo.Walk(ctx, Walk{Kind: Blob, Visit: func(int, *Object) any { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// forge writes a pack with an index that says what it likes.
type forgery struct {
	pack    bytes.Buffer
	offsets []uint64
}

func (f *forgery) add(t testing.TB, kind Type, size uint64, base []byte, data []byte) {
	f.addStream(kind, size, base, deflated(t, data, 6))
}

func (f *forgery) addStream(kind Type, size uint64, base []byte, stream []byte) {
	if f.pack.Len() == 0 {
		f.pack.WriteString("PACK\x00\x00\x00\x02\x00\x00\x00\x00")
	}
	f.offsets = append(f.offsets, uint64(f.pack.Len()))
	c := byte(kind)<<4 | byte(size&15)
	size >>= 4
	for size > 0 {
		f.pack.WriteByte(c | 0x80)
		c = byte(size & 0x7f)
		size >>= 7
	}
	f.pack.WriteByte(c)
	f.pack.Write(base)
	f.pack.Write(stream)
}

// open writes the pack; object i has an id of bytes i.
func (f *forgery) open(t testing.TB, indexed bool) *Repo {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "objects/pack"), 0o755))
	b := f.pack.Bytes()
	binary.BigEndian.PutUint32(b[8:], uint32(len(f.offsets)))
	must(t, os.WriteFile(filepath.Join(dir, "objects/pack/pack-x.pack"), append(b, make([]byte, 20)...), 0o644))
	if indexed {
		var ids []byte
		for i := range f.offsets {
			ids = append(ids, bytes.Repeat([]byte{byte(i)}, 20)...)
		}
		x := madeIndex(ids, f.offsets)
		out := indexFile(x, make([]byte, 4*x.n)) // wrong checksums: see below
		must(t, os.WriteFile(filepath.Join(dir, "objects/pack/pack-x.idx"), out, 0o644))
	}
	r, err := Open(dir)
	must(t, err)
	t.Cleanup(r.Close)
	for _, p := range r.packs {
		p.x.crcs = nil
	}
	return r
}

func TestHostilePacks(t *testing.T) {
	sizes := func(from, to uint64) []byte {
		return binary.AppendUvarint(binary.AppendUvarint(nil, from), to)
	}
	id := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 20) }
	var f forgery
	hello := []byte("hello, hello, hello")
	f.add(t, Blob, uint64(len(hello)), nil, hello)                // 0: fine
	f.add(t, Blob, 1<<42, nil, hello)                             // 1: says terabytes
	f.add(t, Blob, 3, nil, hello)                                 // 2: says less than there is
	f.add(t, refDelta, 2, id(4), append(sizes(5, 5), 5))          // 3 and 4: on each other
	f.add(t, refDelta, 2, id(3), append(sizes(5, 5), 5))          //
	f.add(t, offsetDelta, 2, []byte{0x7f}, sizes(5, 5))           // 5: on no entry
	f.add(t, offsetDelta, 2, []byte{0xff, 0xff, 0x7f}, []byte{1}) // 6: on what is before the pack
	for _, d := range [][]byte{
		append(sizes(uint64(len(hello)), 100), 0x91, 5, 95),                 // 7: copies from beyond its base
		append(sizes(uint64(len(hello)), 1<<40), 0x91, 0, 1),                // 8: makes terabytes
		append(sizes(uint64(len(hello)), 19), 0x90, 18),                     // 9: makes less than it says
		append(sizes(7, 7), 0x90, 7),                                        // 10: for another base
		append(sizes(uint64(len(hello)), 3), 0),                             // 11: instruction 0
		append(sizes(uint64(len(hello)), 3), 0xff),                          // 12: arguments are missing
		append(sizes(uint64(len(hello)), 3), 5, 1),                          // 13: bytes are missing
		append(sizes(uint64(len(hello)), uint64(len(hello))), 0x90, 19),     // 14: fine
		append(sizes(uint64(len(hello)), uint64(2)), 0x90, 1, 1, byte('!')), // 15: fine
	} {
		f.add(t, refDelta, uint64(len(d)), id(0), d)
	}
	f.add(t, refDelta, 3, id(200), sizes(5, 5)) // 16: on nothing
	f.add(t, 5, 3, nil, hello)                  // 17: of no type
	r := f.open(t, true)
	var mu sync.Mutex
	got := map[byte]string{}
	failed := map[byte]bool{}
	must(t, r.Walk(context.Background(), Walk{Visit: func(_ int, o *Object) any {
		mu.Lock()
		defer mu.Unlock()
		x := r.ID(o.Number)
		got[x.Bytes()[0]] = string(o.Data)
		return x
	}, Failed: func(_ int, n Number, _ error) {
		mu.Lock()
		defer mu.Unlock()
		x := r.ID(n)
		failed[x.Bytes()[0]] = true
	}}))
	if len(got) != 3 || got[0] != string(hello) || got[14] != string(hello) || got[15] != "h!" {
		t.Errorf("got %q", got)
	}
	for i := range r.Len() {
		_, data, err := r.Object(RawID(id(i)))
		_, ok := got[byte(i)]
		if ok != (err == nil) || ok && string(data) != got[byte(i)] {
			t.Errorf("object %d: %v", i, err)
		}
	}
	if len(failed) < 10 {
		t.Errorf("told of %d failures: %v", len(failed), failed)
	}
}

// A chain of deltas of any length takes a few objects of memory.
func TestLongChain(t *testing.T) {
	var f forgery
	base := bytes.Repeat([]byte("some text of some length\n"), 4000)
	n := uint64(len(base))
	f.add(t, Blob, n, nil, base)
	d := append(binary.AppendUvarint(binary.AppendUvarint(nil, n), n), 0xb0, byte(n), byte(n>>8))
	d = append(d[:len(d)-3], 0xf0, byte(n), byte(n>>8), byte(n>>16))
	const length = 9000
	for range length {
		last := f.offsets[len(f.offsets)-1]
		back := uint64(f.pack.Len()) - last
		f.add(t, offsetDelta, uint64(len(d)), offsetBytes(back), d)
	}
	r := f.open(t, false)
	visited := 0
	must(t, r.Walk(context.Background(), Walk{Workers: 1, Visit: func(_ int, o *Object) any {
		visited++
		if !bytes.Equal(o.Data, base) {
			t.Fatal("wrong bytes")
		}
		return nil
	}}))
	if visited < 1 {
		t.Errorf("%d visits", visited)
	}
}

// offsetBytes writes how far back a base is.
func offsetBytes(n uint64) []byte {
	out := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		out = append([]byte{byte(n&0x7f) | 0x80}, out...)
	}
	return out
}

func TestDamagedPack(t *testing.T) {
	r, want := newGitRepo(t, "sha1")
	r.git("repack", "-qadf")
	path, err := filepath.Glob(filepath.Join(r.gitDir(), "objects/pack/*.pack"))
	must(t, err)
	whole, err := os.ReadFile(path[0])
	must(t, err)
	must(t, os.Chmod(path[0], 0o644))
	look := func(what string) (visited, failed int) {
		repo, err := Open(r.gitDir())
		must(t, err)
		defer repo.Close()
		var mu sync.Mutex
		must(t, repo.Walk(context.Background(), Walk{Kind: Blob, Visit: func(_ int, o *Object) any {
			mu.Lock()
			defer mu.Unlock()
			visited++
			if !bytes.Equal(o.Data, want[repo.ID(o.Number).String()]) {
				t.Errorf("%s: wrong bytes are handed out as %s", what, repo.ID(o.Number))
			}
			return nil
		}, Failed: func(int, Number, error) { mu.Lock(); failed++; mu.Unlock() }}))
		return visited, failed
	}
	must(t, os.WriteFile(path[0], whole[:len(whole)/2], 0o644))
	v, f := look("cut")
	if v == 0 || f == 0 {
		t.Errorf("cut: %d visited, %d failed", v, f)
	}
	bad := bytes.Clone(whole)
	bad[len(bad)/2] ^= 0x40
	must(t, os.WriteFile(path[0], bad, 0o644))
	v, f = look("damaged")
	if v == 0 || v+f != len(want) {
		t.Errorf("damaged: %d visited, %d failed of %d", v, f, len(want))
	}
	idx := strings.TrimSuffix(path[0], ".pack") + ".idx"
	must(t, os.Remove(idx))
	must(t, os.WriteFile(path[0], whole[:len(whole)/2], 0o644))
	repo, err := Open(r.gitDir())
	must(t, err)
	if len(repo.Problems()) != 1 || repo.Len() == 0 {
		t.Errorf("cut without an index: %v, %d objects", repo.Problems(), repo.Len())
	}
	repo.Close()
}

// FuzzPack walks what claims to be a pack, with no index and with one.
func FuzzPack(f *testing.F) {
	r, _ := newGitRepo(f, "sha1")
	r.git("repack", "-qadf")
	paths, err := filepath.Glob(filepath.Join(r.gitDir(), "objects/pack/*.pack"))
	must(f, err)
	whole, err := os.ReadFile(paths[0])
	must(f, err)
	f.Add(whole[:4000])
	var g forgery
	g.add(f, Blob, 5, nil, []byte("hello"))
	g.add(f, refDelta, 4, bytes.Repeat([]byte{0}, 20), []byte{5, 5, 0x90, 5})
	g.add(f, offsetDelta, 4, []byte{30}, []byte{5, 5, 0x90, 5})
	f.Add(append(g.pack.Bytes(), make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < packHeader+20 {
			return
		}
		p := &pack{data: data, end: len(data) - 20, hash: 20}
		repo := &Repo{hash: 20}
		look := func() {
			repo.packs, repo.len = []*pack{p}, p.x.n
			p.layout()
			_ = repo.Walk(context.Background(), Walk{Workers: 2, MaxBytes: 1 << 20, Visit: func(_ int, o *Object) any {
				checkCopies(t, o)
				return o.Number
			}})
			d := repo.NewReader(1<<16, 1<<20)
			for i := range min(p.x.n, 50) {
				_, _, _ = d.Read(Number(i))
			}
		}
		if binary.BigEndian.Uint32(data[8:]) < 1000 && repo.indexPack(context.Background(), p) == nil {
			look()
		}
		// And an index that points anywhere.
		var ids []byte
		var offsets []uint64
		for i := 0; i < len(data) && i < 200; i += 7 {
			ids = append(ids, bytes.Repeat([]byte{byte(i)}, 20)...)
			offsets = append(offsets, uint64(i))
		}
		repo = &Repo{hash: 20}
		p = &pack{data: data, end: len(data) - 20, hash: 20, x: madeIndex(ids, offsets)}
		look()
	})
}

// FuzzIndex reads what claims to be an index.
func FuzzIndex(f *testing.F) {
	x := madeIndex(bytes.Repeat([]byte{1, 2}, 20), []uint64{12, 1 << 33})
	b := []byte(indexMagic + "\x00\x00\x00\x02")
	for _, n := range x.fan[1:] {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	f.Add(append(append(append(append(b, x.ids...), make([]byte, 8)...), x.offset4...), x.offset8...))
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data, 20)
		if err != nil {
			return
		}
		for i := range min(x.n, 100) {
			_ = x.offset(i)
			_ = x.find(x.id(i))
		}
	})
}

// FuzzDelta applies what claims to be a delta.
func FuzzRefs(f *testing.F) {
	id := strings.Repeat("ab", 20)
	f.Add([]byte("# pack-refs with: peeled\n" + id + " refs/tags/v1\n^" + id + "\n" + id + " refs/heads/taken\n"))
	f.Add([]byte(id + "\n" + id + "00 refs/x\n" + id + id[:24] + " a b\r\n \x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8<<10 {
			return // the check below is not made for more
		}
		n := 0
		err := listedRefs(bytes.NewReader(data), map[string]bool{"refs/heads/taken": true}, func(name string, id ID) error {
			n++
			if !bytes.Contains(data, []byte(id.String()+" "+name)) || name == "refs/heads/taken" || strings.Contains(name, "\n") {
				t.Errorf("ref %q of %s", name, id)
			}
			return nil
		})
		if n > len(data)/41 || err != nil {
			t.Errorf("%d refs in %d bytes, %v", n, len(data), err)
		}
	})
}

func FuzzDelta(f *testing.F) {
	f.Add([]byte("hello, hello"), []byte{12, 14, 0x90, 12, 2, '!', '!'})
	f.Fuzz(func(t *testing.T, base, d []byte) {
		_, size, rest, ok := deltaSizes(d)
		if !ok || size > 1<<20 {
			return
		}
		data := make([]byte, size)
		copies, ok := applyDelta(data, base, rest, []scanner.Copy{})
		if ok {
			checkCopies(t, &Object{Data: data, Old: base, Copies: copies})
		}
	})
}

func madeIndex(ids []byte, offsets []uint64) *index {
	x, _ := newIndex(20, ids, offsets)
	return x
}

// indexFile writes an index down as Git's version 2, but for its own checksums.
func indexFile(x *index, crcs []byte) []byte {
	out := []byte(indexMagic + "\x00\x00\x00\x02")
	for _, n := range x.fan[1:] {
		out = binary.BigEndian.AppendUint32(out, n)
	}
	out = append(append(out, x.ids...), crcs...)
	out = append(append(out, x.offset4...), x.offset8...)
	return append(out, make([]byte, 40)...)
}
