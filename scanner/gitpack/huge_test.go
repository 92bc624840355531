package gitpack

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const fiveGB = 5 << 30

// zeros is a zlib stream of prefix and n zeros; n is a multiple of 1 MiB and more
// than one. Each MiB is a run of blocks that refers to nothing but zeros before
// it, so that one can follow on another any number of times.
func zeros(t testing.TB, prefix []byte, n int64) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	must(t, err)
	piece := make([]byte, 1<<20)
	put := func(p []byte) []byte {
		from := b.Len()
		_, err := w.Write(p)
		must(t, err)
		must(t, w.Flush())
		return bytes.Clone(b.Bytes()[from:])
	}
	put(prefix)
	put(piece)
	again := put(piece)
	out := append([]byte{0x78, 0xda}, b.Bytes()...)
	out = append(out, bytes.Repeat(again, int(n>>20)-2)...)
	out = append(out, 1, 0, 0, 0xff, 0xff) // an empty block, the last one
	sum := adler32.Checksum(prefix)
	low := uint64(sum & 0xffff)
	high := (uint64(sum>>16) + low*uint64(n)) % 65521
	return binary.BigEndian.AppendUint32(out, uint32(high<<16|low))
}

func TestZeros(t *testing.T) {
	prefix := []byte("blob 3145728\x00")
	stream := zeros(t, prefix, 3<<20)
	want := append(prefix, make([]byte, 3<<20)...)
	got := make([]byte, len(want), len(want)+dstSlack)
	var z inflater
	n, err := z.zlib(got, append(stream, make([]byte, srcSlack)...))
	if err != nil || n != len(stream) || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes, %v", n, len(stream), err)
	}
}

// allocates fails when do allocates more than most bytes, garbage included.
func allocates(t *testing.T, most uint64, do func()) {
	t.Helper()
	var before, after goruntime.MemStats
	goruntime.ReadMemStats(&before)
	do()
	goruntime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > most {
		t.Errorf("%d bytes were allocated, want at most %d", n, most)
	}
}

// leavesOut fails unless a walk visits one object, and of another one says that it
// is too large.
func leavesOut(t *testing.T, r *Repo, small string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	var failed []error
	must(t, r.Walk(context.Background(), Walk{Kind: Blob, Visit: func(_ int, o *Object) any {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, string(o.Data))
		return nil
	}, Failed: func(_ int, _ Number, err error) {
		mu.Lock()
		defer mu.Unlock()
		failed = append(failed, err)
	}}))
	if strings.Join(seen, "|") != small || len(failed) != 1 || !errors.Is(failed[0], ErrTooLarge) {
		t.Errorf("seen %q, failed %v", seen, failed)
	}
}

// A blob of 5 GB, of which the index has a wrong checksum: an entry that is too
// large is not even read.
func TestHugeBlobInPack(t *testing.T) {
	var f forgery
	f.addStream(Blob, fiveGB, nil, zeros(t, nil, fiveGB))
	f.add(t, Blob, 5, nil, []byte("small"))
	r := f.open(t, true)
	r.packs[0].x.crcs = make([]byte, 8)
	r.packs[0].x.crcs = binary.BigEndian.AppendUint32(r.packs[0].x.crcs[:4], crc32.ChecksumIEEE(r.packs[0].data[f.offsets[1]:r.packs[0].end]))
	allocates(t, 4<<20, func() { leavesOut(t, r, "small") })
	_, _, err := r.Object(r.ID(0))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("read: %v", err)
	}
	// Nor is there room for it where more is let in.
	_, _, err = r.NewReader(0, 8<<30).Object(r.ID(0))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("read with a limit of 8 GB: %v", err)
	}
}

func TestHugeLooseBlob(t *testing.T) {
	dir := t.TempDir()
	put := func(id string, stream []byte) {
		must(t, os.MkdirAll(filepath.Join(dir, "objects", id[:2]), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "objects", id[:2], id[2:]), stream, 0o644))
	}
	put(strings.Repeat("a", 40), zeros(t, []byte("blob 5368709120\x00"), fiveGB))
	put(strings.Repeat("b", 40), deflated(t, []byte("blob 5\x00small"), 6))
	r, err := Open(dir)
	must(t, err)
	defer r.Close()
	allocates(t, 4<<20, func() { leavesOut(t, r, "small") })
}

// stopsAt is a context that is done when it was asked a number of times.
type stopsAt struct {
	context.Context
	left int
}

func (c *stopsAt) Err() error {
	c.left--
	if c.left < 0 {
		return context.Canceled
	}
	return nil
}

// Without an index all must be inflated, to learn where the next entry begins.
func TestHugeBlobWithoutIndex(t *testing.T) {
	if testing.Short() {
		t.Skip("inflates 5 GB")
	}
	var f forgery
	f.addStream(Blob, fiveGB, nil, zeros(t, nil, fiveGB))
	f.add(t, Blob, 5, nil, []byte("small"))
	allocates(t, 16<<20, func() {
		r := f.open(t, false)
		if len(r.Problems()) > 0 {
			t.Errorf("problems: %v", r.Problems())
		}
		leavesOut(t, r, "small")
	})
	_, err := OpenPackBytes(&stopsAt{context.Background(), 10}, append(f.pack.Bytes(), make([]byte, 20)...), 20)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("stopped amid the blob: %v", err)
	}
}

// A pack of more than 4 GB, most of it a hole: its index has offsets of 64 bits.
func TestPackBeyond4GB(t *testing.T) {
	if !canGrow || strconv.IntSize < 64 {
		t.Skip("files are not mapped here, or cannot be")
	}
	const far = 4<<30 + 4097
	first, second, third := []byte("the first object"), []byte("the second object"), []byte("the first object, and more")
	delta := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(first))), uint64(len(third)))
	delta = append(append(delta, 0x90, byte(len(first)), 10), ", and more"...)
	var f forgery
	f.add(t, Blob, uint64(len(first)), nil, first)
	near := f.pack.Len()
	f.add(t, Blob, uint64(len(second)), nil, second)
	at := f.pack.Len() - near
	f.add(t, offsetDelta, uint64(len(delta)), offsetBytes(far+uint64(at)-packHeader), delta)
	offsets := []uint64{packHeader, far, far + uint64(at)}

	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "objects/pack"), 0o755))
	pack, err := os.Create(filepath.Join(dir, "objects/pack/pack-x.pack"))
	must(t, err)
	b := f.pack.Bytes()
	binary.BigEndian.PutUint32(b[8:], 3)
	_, err = pack.Write(b[:near])
	must(t, err)
	_, err = pack.WriteAt(b[near:], far)
	must(t, err)
	must(t, pack.Truncate(far+int64(len(b)-near)+20))
	must(t, pack.Close())
	want := map[string][]byte{}
	var ids []byte
	for _, data := range [][]byte{first, second, third} {
		id := blobID("sha1", data)
		want[id] = data
		x, _ := ParseID(id)
		ids = append(ids, x.Bytes()...)
	}
	x := madeIndex(ids, offsets)
	if len(x.offset8) != 16 {
		t.Fatalf("%d bytes of 64-bit offsets", len(x.offset8))
	}
	crcs := make([]byte, 4*3)
	for i := range 3 {
		switch x.offset(i) {
		case far:
			binary.BigEndian.PutUint32(crcs[4*i:], crc32.ChecksumIEEE(b[near:near+at]))
		case far + uint64(at):
			binary.BigEndian.PutUint32(crcs[4*i:], crc32.ChecksumIEEE(b[near+at:]))
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "objects/pack/pack-x.idx"), indexFile(x, crcs), 0o644))
	allocates(t, 8<<20, func() {
		if deltas := check(t, dir, want); deltas != 1 {
			t.Errorf("%d deltas", deltas)
		}
	})
	// An offset of 64 bits that the index does not hold leads nowhere.
	short := indexFile(x, crcs)
	must(t, os.WriteFile(filepath.Join(dir, "objects/pack/pack-x.idx"), short[:len(short)-40-16], 0o644))
	r, err := Open(dir)
	must(t, err)
	defer r.Close()
	id, _ := ParseID(blobID("sha1", second))
	_, _, err = r.Object(id)
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("an offset that is not there: %v", err)
	}
}
