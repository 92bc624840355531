package gitwire

import (
	"context"
	"testing"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccccccccccccccccccc"
)

func BenchmarkFetch(b *testing.B) {
	f := newFixture(b)
	_, last := f.importCommits(2000, "refs/heads/main")
	parent := f.gitIn(f.repo.Dir, "", "rev-parse", last+"^")
	p := Push{URL: f.repo.CloneURL, Repository: "mona/shop", Ref: "refs/heads/main", Before: parent, After: last, Commits: []string{last}}
	dir := b.TempDir()
	for b.Loop() {
		res, err := Fetch(context.Background(), p, Limits{TempDir: dir}, func(Object) error { return nil })
		if err != nil || res.Blobs != 1 {
			b.Fatalf("%+v, %v", res, err)
		}
	}
}
