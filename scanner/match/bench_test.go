package match

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// source is ordinary source text: Go's own standard library, or all of
// STANCH_BENCH.
var source = sync.OnceValue(func() (files []Input) {
	root := os.Getenv("STANCH_BENCH")
	if root == "" {
		out, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			return nil
		}
		root = filepath.Join(strings.TrimSpace(string(out)), "src")
	}
	total := 0
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || total > 32<<20 {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 || slices.Contains(data[:min(len(data), 8000)], 0) {
			return nil
		}
		total += len(data)
		files = append(files, Input{Data: data, Path: strings.TrimPrefix(path, root)})
		return nil
	})
	return files
})

func newBench(b *testing.B) *Gitleaks {
	b.Helper()
	cfg, err := Load(extraRules(b))
	if err != nil {
		b.Fatal(err)
	}
	return New(cfg, Options{})
}

// BenchmarkSource is the matcher over source text, all rules and decoding on,
// on one core. MB/cpu-s is by the processor's time, which other work on the
// machine does not stretch as much. x/gitleaks is how many times faster than gitleaks' Detect it is
// on the same machine and a part of the same text.
func BenchmarkSource(b *testing.B) {
	files := source()
	if len(files) == 0 {
		b.Skip("no source text")
	}
	g := newBench(b)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ctx := context.Background()
	size := int64(0)
	for _, f := range files {
		size += int64(len(f.Data))
	}
	b.SetBytes(size)
	b.ReportAllocs()
	runtime.GC()
	began := cpuTime()
	for b.Loop() {
		for _, f := range files {
			g.Match(ctx, f)
		}
	}
	fast := (cpuTime() - began).Seconds() / float64(b.N) / float64(size)
	b.StopTimer()
	b.ReportMetric(1/fast/1e6, "MB/cpu-s")
	some, part := files[:0:0], int64(0)
	for i := 0; i < len(files) && part < 1<<20; i += len(files)/60 + 1 {
		some = append(some, files[i])
		part += int64(len(files[i].Data))
	}
	reference := New(g.detector().Config, Options{Reference: true})
	began = cpuTime()
	for _, f := range some {
		reference.Match(ctx, f)
	}
	b.ReportMetric((cpuTime()-began).Seconds()/float64(part)/fast, "x/gitleaks")
}

// BenchmarkPush is one changed file of 1 to 10 KB with a warm matcher.
func BenchmarkPush(b *testing.B) {
	var files []Input
	for _, f := range source() {
		if len(f.Data) >= 1<<10 && len(f.Data) <= 10<<10 {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		b.Skip("no source text")
	}
	g := newBench(b)
	ctx := context.Background()
	for _, f := range files {
		g.Match(ctx, f)
	}
	var took []time.Duration
	i := 0
	for b.Loop() {
		start := time.Now()
		g.Match(ctx, files[i%len(files)])
		took = append(took, time.Since(start))
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
}

// BenchmarkLoad is the time from nothing to a matcher, but for gitleaks' own
// reading of its default rules, which is done once in a process.
func BenchmarkLoad(b *testing.B) {
	extra := extraRules(b)
	_, err := defaults()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cfg, err := Load(extra)
		if err != nil {
			b.Fatal(err)
		}
		New(cfg, Options{})
	}
}

// BenchmarkOpen is the same with a plan.
func BenchmarkOpen(b *testing.B) {
	extra := extraRules(b)
	plan, err := Plan(extra)
	if err != nil {
		b.Fatal(err)
	}
	text := string(plan)
	b.ReportMetric(float64(len(text)), "plan-bytes")
	for b.Loop() {
		_, err := Open(text, Options{}, extra)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDelta is a changed line in a file whose older version was looked at,
// as a delta of it and as a whole.
func BenchmarkDelta(b *testing.B) {
	type change struct {
		data   []byte
		size   int
		base   *Candidates
		copies []Copy
	}
	g := newBench(b)
	ctx := context.Background()
	var changes []change
	size := int64(0)
	for _, f := range source() {
		if len(f.Data) < 4<<10 || len(f.Data) > 64<<10 || len(changes) >= 400 {
			continue
		}
		at := len(f.Data) / 2
		data := slices.Concat(f.Data[:at], []byte("\tport := 8080 // changed\n"), f.Data[at:])
		changes = append(changes, change{data, len(f.Data), g.Candidates(ctx, f.Data), []Copy{{0, 0, at}, {at, len(data) - len(f.Data) + at, len(f.Data) - at}}})
		size += int64(len(data))
	}
	if len(changes) == 0 {
		b.Skip("no source text")
	}
	for _, how := range []string{"delta", "whole"} {
		b.Run(how, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			began := cpuTime()
			for b.Loop() {
				for i := range changes {
					c := &changes[i]
					if how == "whole" {
						g.Candidates(ctx, c.data)
					} else {
						g.Delta(ctx, c.data, c.base, c.size, c.copies)
					}
				}
			}
			b.ReportMetric((cpuTime()-began).Seconds()/float64(b.N)/float64(len(changes))*1e6, "cpu-us/file")
		})
	}
}
