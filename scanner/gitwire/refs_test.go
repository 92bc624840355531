package gitwire

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// refServer is a server that lists n refs whose names have so many bytes more than
// they need, and has no objects. seen is called at each hundredth of the list, and when the
// client has told what it wants.
func refServer(t *testing.T, n, more int, seen func()) (url string, wants *atomic.Int64) {
	wants = new(atomic.Int64)
	pad := strings.Repeat("x", more)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, "000eversion 2\n0000")
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		in, command := newPackets(r.Body), ""
		for {
			kind, text, err := in.line()
			if err != nil || kind == packetFlush {
				break
			}
			if strings.HasPrefix(text, "command=") {
				command = text
			}
			if strings.HasPrefix(text, "want ") {
				wants.Add(1)
			}
		}
		if command != "command=ls-refs" {
			seen()
			_, _ = io.WriteString(w, "000dpackfile\n"+band(1, packOf(0, ""))+"0000")
			return
		}
		out := bufio.NewWriterSize(w, 64<<10)
		var line []byte
		for i := range n {
			line = fmt.Appendf(line[:0], "%040x refs/tags/v%d%s\n", i, i, pad)
			_, err := fmt.Fprintf(out, "%04x%s", len(line)+4, line)
			if err != nil {
				return
			}
			if i%(n/100) == 0 {
				seen()
			}
		}
		_, _ = out.WriteString("0000")
		_ = out.Flush()
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/a/b.git", wants
}

// peak is the most of the heap that is in use when it is asked to look.
type peak struct{ before, most atomic.Uint64 }

func newPeak() *peak {
	p := &peak{}
	p.look()
	p.before.Store(p.most.Load())
	return p
}

func (p *peak) look() {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > p.most.Load() {
		p.most.Store(m.HeapAlloc)
	}
}

func (p *peak) grown() uint64 { return p.most.Load() - p.before.Load() }

// Of ten million refs the first million is taken, and memory is bounded by these.
func TestTenMillionRefs(t *testing.T) {
	if testing.Short() {
		t.Skip("lists 10 million refs twice")
	}
	p := newPeak()
	url, wants := refServer(t, 10_000_000, 0, p.look)
	m, err := Clone(context.Background(), Remote{URL: url}, Limits{TempDir: t.TempDir()}, nil)
	must(t, err)
	defer m.Close()
	if got := strings.Join(m.Reasons, "|"); m.Refs != maxRefs || got != "9000000 refs beyond the first 1000000" || wants.Load() != maxRefs {
		t.Errorf("%d refs, %d wanted, reasons %q", m.Refs, wants.Load(), got)
	}
	// Ids as strings (64 bytes) and the request (50), for each of a million.
	t.Logf("heap +%d MiB", p.grown()>>20)
	if p.grown() > 160<<20 {
		t.Errorf("the heap grew by %d MiB", p.grown()>>20)
	}
	p, n := newPeak(), 0
	url, _ = refServer(t, 10_000_000, 0, p.look)
	must(t, Refs(context.Background(), Remote{URL: url}, Limits{}, func(string, string) error { n++; return nil }))
	t.Logf("heap of a list +%d MiB", p.grown()>>20)
	if n != 10_000_000 || p.grown() > 4<<20 {
		t.Errorf("%d refs were listed, the heap grew by %d MiB", n, p.grown()>>20)
	}
}

// Long names are no way around the limit of refs.
func TestLongRefNames(t *testing.T) {
	if testing.Short() {
		t.Skip("lists 400 MB of names")
	}
	p := newPeak()
	url, wants := refServer(t, 8_000, 50_000, p.look)
	m, err := Clone(context.Background(), Remote{URL: url}, Limits{TempDir: t.TempDir()}, nil)
	must(t, err)
	defer m.Close()
	want := fmt.Sprintf("%d refs beyond the first %d", 8_000-m.Refs, m.Refs)
	if got := strings.Join(m.Reasons, "|"); got != want || m.Refs > maxRefBytes/50_000+1 || wants.Load() != int64(m.Refs) {
		t.Errorf("%d refs, %d wanted, reasons %q", m.Refs, wants.Load(), got)
	}
	t.Logf("heap +%d MiB", p.grown()>>20)
	if p.grown() > 32<<20 {
		t.Errorf("the heap grew by %d MiB", p.grown()>>20)
	}
}
