package gitpack

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
)

// BenchmarkWalk rebuilds all blobs of the repository that the environment names
// in STANCH_BENCH_REPO.
func BenchmarkWalk(b *testing.B) {
	dir := os.Getenv("STANCH_BENCH_REPO")
	if dir == "" {
		b.Skip("STANCH_BENCH_REPO names no repository")
	}
	for b.Loop() {
		r, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		var n, size atomic.Int64
		err = r.Walk(context.Background(), Walk{Kind: Blob, Visit: func(_ int, o *Object) any {
			n.Add(1)
			size.Add(int64(len(o.Data)))
			return nil
		}, Failed: func(_ int, n Number, err error) { b.Errorf("%s: %v", r.ID(n), err) }})
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
		b.SetBytes(size.Load())
		b.ReportMetric(float64(n.Load()), "blobs/op")
	}
}
