package history

import (
	"context"
	"maps"
	"sync"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// Shared is what scans of several repositories learn from each other
// ([Options.Shared]): forks, mirrors and vendored copies hold the same objects. A
// blob in which nothing was found, and a commit that brings nothing, is looked at
// once in all of them; of a blob in which something was found the result is kept,
// so that each repository gets its findings with its own commits and paths. What
// a scan with a Shared finds is just what it finds without.
//
// The objects that hold nothing are known by their whole ids, 20 bytes each (32
// in SHA-256 repositories) in memory and in the file of [Shared.Save], and 20
// million of them at most. So a scan that was stopped can be gone on with: it has
// added what it looked at, and the next one finds what the whole one would have. The
// results hold secrets: they stay in memory, in keptBytes at most. A Shared may be
// used concurrently.
type Shared struct {
	empty *state
	mu    sync.Mutex
	kept  map[gitpack.ID]*scanner.Scanned
	room  int
}

// keptBytes bounds the results that are kept, by an estimate.
const keptBytes = 64 << 20

// NewShared makes an empty one. The key says what is looked for (the version, the
// rules): a file that was written under another key is of no use, since new rules
// find something in old objects.
func NewShared(key string) *Shared { return newShared(newState(key)) }

// LoadShared reads the file of [Shared.Save]. It is empty when there is no such
// file, or the file was written under another key. A damaged file is an error.
func LoadShared(path, key string) (*Shared, error) {
	s, err := loadState(path, key)
	if err != nil {
		return nil, err
	}
	return newShared(s), nil
}

func newShared(s *state) *Shared {
	return &Shared{empty: s, kept: map[gitpack.ID]*scanner.Scanned{}, room: keptBytes}
}

// Save writes what is known of objects that hold nothing to a file that its owner
// alone may read, in one step: after a crash the file is the old one or the new
// one.
func (s *Shared) Save(path string) error { return s.empty.Save(path) }

// Len is the number of objects that are known to hold nothing.
func (s *Shared) Len() int { return s.empty.Len() }

func (s *Shared) result(id gitpack.ID) *scanner.Scanned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[id]
}

// keep keeps a result while there is room. One that has to be looked at again, or
// is of an archive, can hold any amount of data.
func (s *Shared) keep(id gitpack.ID, got *scanner.Scanned) {
	ranges, ok := got.Extents()
	if !ok {
		return
	}
	size := 512
	for _, r := range ranges {
		size += 512 + 2*(r[1]-r[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[id] == nil && size <= s.room {
		s.room -= size
		s.kept[id] = got
	}
}

// recall reports whether it is known what a blob holds, and takes it from there.
func (s *scan) recall(n gitpack.Number) bool {
	if s.o.Shared == nil {
		return false
	}
	id := s.repo.ID(n)
	if s.o.Shared.empty.Has(id) {
		s.facts[n] |= barren
		return true
	}
	got := s.o.Shared.result(id)
	if got == nil {
		return false
	}
	s.facts[n] |= scanned
	s.found[n] = got
	return true
}

// compare gives the commits that are to be looked at, and what they change: all
// of order but those that are known to bring nothing. Where objects are missing it
// takes all, since what nothing reaches is then looked at too.
func (s *scan) compare(ctx context.Context, order []int32) ([]int32, [][]change) {
	if s.o.Shared == nil || s.everything() {
		return order, s.diffs(ctx, order)
	}
	few := make([]int32, 0, len(order))
	for _, i := range order {
		if !s.o.Shared.empty.Has(s.repo.ID(s.graph.nodes[i].object)) {
			few = append(few, i)
		}
	}
	s.count.total.Store(int64(len(few)))
	lost := maps.Clone(s.lost)
	diffs := s.diffs(ctx, few)
	if !s.everything() || len(few) == len(order) {
		return few, diffs
	}
	s.lost = lost
	s.count.total.Store(int64(len(order)))
	s.count.commits.Store(0)
	s.changesLeft.Store(mostChanges)
	return order, s.diffs(ctx, order)
}

// share hands on what was learnt. Of a scan that was stopped that are the blobs.
func (s *scan) share(ctx context.Context, order []int32, diffs [][]change) {
	if s.o.Shared == nil {
		return
	}
	for n := range s.facts {
		f := &s.facts[n]
		if *f&(scanned|cut) != scanned {
			continue
		}
		id := s.repo.ID(gitpack.Number(n))
		got := s.found[gitpack.Number(n)]
		if got != nil {
			s.o.Shared.keep(id, got)
			continue
		}
		*f |= barren
		s.o.Shared.empty.Add(id)
	}
	if ctx.Err() != nil || s.broken.Load() {
		return
	}
	for at, i := range order {
		if !s.flagged[i] && s.bringsNothing(diffs[at]) {
			s.o.Shared.empty.Add(s.repo.ID(s.graph.nodes[i].object))
		}
	}
}

// bringsNothing reports whether neither the paths nor the contents of what a
// commit changes hold anything, in whatever repository the commit stands.
func (s *scan) bringsNothing(list []change) bool {
	for _, c := range list {
		switch f := s.pathFacts[c.path]; {
		case f&pathSays != 0:
			return false
		case f&pathIgnored != 0:
		case f&pathNames != 0 || s.facts[c.new]&barren == 0:
			return false
		}
	}
	return true
}
