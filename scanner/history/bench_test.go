package history

import (
	"context"
	"os"
	"testing"

	"stanch/scanner"
)

// BenchmarkScan scans the whole history of the repository that the environment
// names in STANCH_BENCH_REPO.
func BenchmarkScan(b *testing.B) {
	dir := os.Getenv("STANCH_BENCH_REPO")
	if dir == "" {
		b.Skip("STANCH_BENCH_REPO names no repository")
	}
	engine()
	for b.Loop() {
		n := 0
		res, err := Scan(context.Background(), dir, Options{Engine: engine()}, func(scanner.Finding) { n++ })
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(res.Bytes)
		b.ReportMetric(float64(n), "findings/op")
		b.ReportMetric(float64(res.Commits), "commits/op")
	}
}
