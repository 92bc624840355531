package history

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// A blob that says that it has 5 GB is left out, with the reason, and nothing else
// is.
func TestHugeBlobIsLeftOut(t *testing.T) {
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	first := r.commit("first")
	huge := strings.Repeat("ab", 20)
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, err := z.Write(append([]byte("blob 5368709120\x00"), make([]byte, 1<<20)...))
	must(t, err)
	must(t, z.Close())
	must(t, os.MkdirAll(filepath.Join(r.dir, ".git/objects/ab"), 0o755))
	must(t, os.WriteFile(filepath.Join(r.dir, ".git/objects/ab", huge[2:]), b.Bytes(), 0o644))
	r.git("update-index", "--add", "--cacheinfo", "100644,"+huge+",disk.img")
	tree := r.git("write-tree", "--missing-ok")
	r.git("update-ref", "refs/heads/main", r.git("commit-tree", tree, "-p", first, "-m", "second "+tok(2)))
	fs, res := r.scan(Options{})
	if len(places(fs, tok(1))) != 1 || len(places(fs, tok(2))) != 1 {
		t.Errorf("%d findings", len(fs))
	}
	if got := strings.Join(res.Reasons, "|"); !res.Partial || got != "1 blobs were over the size limit" {
		t.Errorf("reasons %q", got)
	}
}

// Ten million refs are all read, in memory that does not depend on their number.
func TestTenMillionRefs(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 10 million refs")
	}
	const refs = 10_000_000
	r := newRepo(t)
	r.write("a.env", "A="+tok(1)+"\n")
	first := r.commit("first")
	r.write("b.env", "B="+tok(2)+"\n")
	second := r.commit("second")
	r.git("reset", "-q", "--hard", first)
	f, err := os.Create(filepath.Join(r.dir, ".git/packed-refs"))
	must(t, err)
	w := bufio.NewWriterSize(f, 1<<20)
	_, _ = w.WriteString("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range refs {
		switch i {
		case refs / 2:
			fmt.Fprintf(w, "%s refs/tags/v%08d-%s\n", first, i, tok(3))
		case refs - 1:
			fmt.Fprintf(w, "%s refs/tags/v%08d\n", second, i)
		default:
			fmt.Fprintf(w, "%s refs/tags/v%08d\n", first, i)
		}
	}
	must(t, w.Flush())
	must(t, f.Close())
	engine() // is not what the scan takes
	var m goruntime.MemStats
	goruntime.GC()
	goruntime.ReadMemStats(&m)
	before := m.HeapAlloc
	var most atomic.Uint64
	fs, res := r.scan(Options{Progress: func(Progress) {
		var m goruntime.MemStats
		goruntime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.HeapAlloc))
	}})
	for n := 1; n <= 3; n++ {
		if len(places(fs, tok(n))) != 1 {
			t.Errorf("secret %d is found in %v", n, places(fs, tok(n)))
		}
	}
	if res.Partial || res.Commits != 2 {
		t.Errorf("%+v", res)
	}
	grown := most.Load() - min(most.Load(), before)
	t.Logf("heap +%d MiB, garbage included", grown>>20)
	if most.Load() == 0 || grown > 64<<20+before {
		t.Errorf("the heap grew from %d to %d MiB", before>>20, most.Load()>>20)
	}
}
