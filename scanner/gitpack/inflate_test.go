package gitpack

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"io"
	"math/rand/v2"
	"testing"
)

// inflateStd is what the standard library says.
func inflateStd(stream []byte, limit int) ([]byte, int, error) {
	r := bytes.NewReader(stream)
	data, err := io.ReadAll(io.LimitReader(flate.NewReader(r), int64(limit)))
	return data, len(stream) - r.Len(), err
}

func deflated(t testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

func samples() [][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	out := [][]byte{{}, {0}, []byte("a"), []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")}
	for _, n := range []int{10, 100, 1000, 70000, 300000} {
		random, text, period, skewed := make([]byte, n), make([]byte, n), make([]byte, n), make([]byte, n)
		for i := range n {
			random[i] = byte(rng.Uint32())
			text[i] = "etaoin shrdlu\n"[rng.IntN(14)]
			period[i] = byte(i % (1 + n/100))
			skewed[i] = byte(rng.ExpFloat64() * 6) // long codes
		}
		out = append(out, random, text, period, skewed)
	}
	return out
}

func TestInflate(t *testing.T) {
	var z inflater
	for i, data := range samples() {
		for _, level := range []int{zlib.NoCompression, zlib.HuffmanOnly, zlib.BestSpeed, zlib.DefaultCompression, zlib.BestCompression} {
			stream := deflated(t, data, level)
			padded := append(bytes.Clone(stream), make([]byte, srcSlack)...)
			dst := make([]byte, len(data), len(data)+dstSlack)
			n, err := z.zlib(dst, padded)
			if err != nil || n != len(stream) || !bytes.Equal(dst, data) {
				t.Fatalf("sample %d, level %d: %d of %d bytes, %v", i, level, n, len(stream), err)
			}
			if len(data) == 0 {
				continue
			}
			for _, wrong := range []int{len(data) - 1, len(data) + 1} {
				_, err = z.zlib(make([]byte, wrong, wrong+dstSlack), padded)
				if err == nil {
					t.Errorf("sample %d, level %d: %d bytes were taken for %d", i, level, len(data), wrong)
				}
			}
			_, err = z.zlib(dst, stream[:len(stream)/2])
			if err == nil {
				t.Errorf("sample %d, level %d: half a stream gives no error", i, level)
			}
		}
	}
}

// FuzzInflate compares with compress/flate: same bytes, same length of stream,
// and an error where that has one.
func FuzzInflate(f *testing.F) {
	for _, data := range samples()[:12] {
		f.Add(deflated(f, data, 6)[2:], len(data))
		f.Add(deflated(f, data, zlib.HuffmanOnly)[2:], len(data))
	}
	f.Add([]byte{3, 0}, 0)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		const limit = 1 << 20
		want, used, err := inflateStd(stream, limit+1)
		if size < 0 || size > limit {
			size = min(len(want), limit)
		}
		var z inflater
		dst := make([]byte, size, size+dstSlack)
		n, got := z.deflate(dst, append(bytes.Clone(stream), make([]byte, srcSlack)...))
		if got == nil && n > len(stream) {
			return // it ended in the padding
		}
		if (got == nil) != (err == nil && len(want) == size) {
			t.Fatalf("ours: %v; theirs: %v, %d bytes for %d", got, err, len(want), size)
		}
		if got == nil && (n != used || !bytes.Equal(dst, want)) {
			t.Fatalf("used %d, theirs %d; same bytes: %v", n, used, bytes.Equal(dst, want))
		}
	})
}
