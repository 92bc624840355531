package match

import (
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
)

// What the words rule out the expressions must rule out.
func TestIgnoresPathIsGitleaks(t *testing.T) {
	p := newPair(t, Options{})
	if p.fast.program.allowlists[0].paths.words == nil {
		t.Error("every path is given to the expressions")
	}
	s := newSampler(1, "paths")
	list := p.cfg.Allowlists[0]
	hits := 0
	for range 4000 {
		path := s.of("", "a/", "SRC/") + s.path(config.Rule{Path: list.Paths[s.r.IntN(len(list.Paths))]})
		path = path[s.r.IntN(min(9, len(path))):]
		switch s.r.IntN(4) {
		case 0:
			path = s.mutate(path)
		case 1:
			path = s.of("x.js", "cmd/main.go", "lib/a.rb", "vendor/x/y.go", "docs/\u212aey.md", "go.mod")
		}
		want := list.PathAllowed(path)
		if want {
			hits++
		}
		if got := p.fast.IgnoresPath(path); got != want {
			t.Errorf("%q: %v, want %v", path, got, want)
		}
	}
	if hits < 400 {
		t.Errorf("%d of the paths match only", hits)
	}
}

func BenchmarkIgnoresPath(b *testing.B) {
	g := newBench(b)
	for b.Loop() {
		g.IgnoresPath("internal/store/migrations/00012_findings_and_credentials.sql")
	}
}
