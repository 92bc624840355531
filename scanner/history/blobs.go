package history

import (
	"context"
	goruntime "runtime"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// pathFact is what the rules say of a path.
type pathFact uint8

const (
	pathIgnored pathFact = 1 << iota
	pathNames            // the path alone is a finding
	pathSays             // rules that look at texts may find something in the path
)

// judgePaths asks the rules about every path, and marks what stands on one that
// they do not leave out.
func (s *scan) judgePaths(ctx context.Context, diffs [][]change) {
	leaf := make([]bool, len(s.paths.all))
	for _, list := range diffs {
		for _, c := range list {
			leaf[c.path] = true
		}
	}
	for _, p := range s.pinned {
		leaf[p.path] = true
	}
	s.pathFacts = make([]pathFact, len(leaf))
	const batch = 256
	parallel(ctx, (len(leaf)+batch-1)/batch, func(i int) {
		for n := i * batch; n < min((i+1)*batch, len(leaf)); n++ {
			if !leaf[n] {
				continue
			}
			path := s.paths.path(int32(n))
			if s.o.Engine.Ignores(path) {
				s.pathFacts[n] |= pathIgnored
			}
			if s.o.Engine.NamesSecret(path) {
				s.pathFacts[n] |= pathNames
			}
		}
	})
	mark := func(n gitpack.Number, path int32) {
		s.facts[n] |= reached
		if s.pathFacts[path]&pathIgnored == 0 {
			s.facts[n] |= wanted
		}
	}
	for _, list := range diffs {
		for _, c := range list {
			mark(c.new, c.path)
		}
	}
	for _, p := range s.pinned {
		mark(p.blob, p.path)
	}
}

// scanBlobs looks at every wanted blob once.
func (s *scan) scanBlobs(ctx context.Context) {
	everything := s.everything()
	total := int64(0)
	want := make([]bool, len(s.facts))
	for n := range s.facts {
		f := s.facts[n]
		lost := everything && f&reached == 0 && s.repo.Type(gitpack.Number(n)) == gitpack.Blob && s.repo.Find(s.repo.ID(gitpack.Number(n))) == gitpack.Number(n)
		if f&wanted == 0 && !lost {
			continue
		}
		if lost {
			s.facts[n] |= adrift
		}
		if s.recall(gitpack.Number(n)) {
			continue
		}
		total++
		want[n] = !s.early.take(s, gitpack.Number(n))
	}
	s.count.totalBlobs.Store(total)
	s.count.blobsFrom.Store(int64(time.Since(s.start)))
	s.walkBlobs(ctx, want, true)
}

// everything reports whether what nothing reaches is looked at too.
func (s *scan) everything() bool { return (s.o.Unreachable || s.broken.Load()) && !s.partly }

// worker is what one worker of a walk has found. They are kept apart from each
// other's cache lines.
type worker struct {
	found map[gitpack.Number]*scanner.Scanned
	lost  map[string]int
	_     [48]byte
}

func (w *worker) lose(why string) {
	if w.lost == nil {
		w.lost = map[string]int{}
	}
	w.lost[why]++
}

// look looks at a blob that a walk comes by.
func look(ctx context.Context, e *scanner.Engine, o *gitpack.Object) *scanner.Scanned {
	base, _ := o.Base.(*scanner.Scanned)
	if base != nil {
		return e.ScanDelta(ctx, o.Data, base, o.Old, o.Copies)
	}
	return e.ScanBlob(ctx, o.Data)
}

func leftOut(why string) string { return "files of which something was left out: " + why }

// walkBlobs scans the blobs of want.
func (s *scan) walkBlobs(ctx context.Context, want []bool, counted bool) {
	e := s.o.Engine
	workers := make([]worker, goruntime.GOMAXPROCS(0))
	err := s.repo.Walk(ctx, gitpack.Walk{
		Kind: gitpack.Blob, MaxBytes: s.limit, Workers: len(workers),
		Want: func(n gitpack.Number) bool { return want[n] },
		Visit: func(w int, o *gitpack.Object) any {
			got := look(ctx, e, o)
			if ctx.Err() != nil {
				return nil
			}
			s.facts[o.Number] |= scanned
			if len(got.Reasons()) > 0 {
				s.facts[o.Number] |= cut
			}
			for _, why := range got.Reasons() {
				workers[w].lose(leftOut(why))
			}
			if !got.Empty() {
				if workers[w].found == nil {
					workers[w].found = map[gitpack.Number]*scanner.Scanned{}
				}
				workers[w].found[o.Number] = got.Settled()
			}
			if counted {
				s.count.blobs.Add(1)
				s.count.bytes.Add(int64(len(o.Data)))
			}
			return got
		},
		Failed: func(w int, n gitpack.Number, err error) {
			workers[w].lose(why(err))
		},
	})
	if err != nil && ctx.Err() == nil {
		s.lose(err.Error(), -1)
	}
	for i := range workers {
		for n, f := range workers[i].found {
			s.found[n] = f
		}
		for why, n := range workers[i].lost {
			s.lose(why, n)
		}
	}
}

// past scans what a commit changed or removed where that is not part of this
// scan, since Options says that it was scanned before: only so can be told what
// is new. It is needed for commits with findings alone.
func (s *scan) past(ctx context.Context, order []int32, diffs [][]change) {
	if !s.partly && s.o.Shared == nil {
		return
	}
	want := make([]bool, len(s.facts))
	any := false
	need := func(n gitpack.Number) {
		if n != gitpack.None && s.facts[n]&(scanned|barren) == 0 && !s.recall(n) {
			want[n] = true
			any = true
		}
	}
	for i, list := range diffs {
		hot := false
		for _, c := range list {
			if s.found[c.new] != nil {
				hot = true
				need(c.old)
			}
		}
		if hot {
			for _, c := range s.removed(order[i]) {
				need(c.old)
			}
		}
	}
	if any {
		s.walkBlobs(ctx, want, false)
	}
}

// removed gives the files that a commit removes, of any of its parents.
func (s *scan) removed(i int32) []change {
	var out []change
	d := s.differ(4 << 20)
	d.put = func(c change) { out = append(out, c) }
	n := &s.graph.nodes[i]
	for _, p := range n.parents {
		if p != missingParent && s.graph.nodes[p].tree != n.tree {
			d.gone(n.tree, s.graph.nodes[p].tree, noPath, 0)
		}
	}
	return out
}
