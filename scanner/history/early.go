package history

import (
	"context"
	goruntime "runtime"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// early looks at objects while their pack still comes. What it learns of one is
// what [scan] would learn of it; which of it counts is decided when everything is
// there. visit may be called on several goroutines, each with a worker of its own.
type early struct {
	ctx     context.Context
	o       Options
	limit   int64
	people  *people
	workers []sightings

	// By number, when all is there: see settle.
	seen  map[gitpack.Number]sighting
	found map[gitpack.Number]*scanner.Scanned
	left  map[gitpack.Number][]string
}

// sighting is an object that was looked at.
type sighting struct {
	object gitpack.Number // first its position in the pack
	size   uint32
	says   bool // a commit whose own text holds a finding
}

// sightings are those of one worker, kept apart from each other's cache lines.
type sightings struct {
	list  []sighting
	found map[gitpack.Number]*scanner.Scanned
	left  map[gitpack.Number][]string
	_     [24]byte
}

func newEarly(ctx context.Context, o Options) *early {
	return &early{ctx: ctx, o: o, limit: o.blobLimit(), people: newPeople(o.Engine), workers: make([]sightings, goruntime.GOMAXPROCS(0))}
}

func (e *early) visit(worker int, o *gitpack.Object, id gitpack.ID) any {
	if int64(len(o.Data)) > e.limit {
		return nil
	}
	w := &e.workers[worker]
	switch o.Type {
	case gitpack.Commit:
		says := e.people.says(e.ctx, gitpack.ParseStatement(o.Data))
		if e.ctx.Err() == nil {
			w.list = append(w.list, sighting{object: o.Number, says: says})
		}
	case gitpack.Blob:
		got := look(e.ctx, e.o.Engine, o)
		if e.ctx.Err() != nil {
			return nil
		}
		w.list = append(w.list, sighting{object: o.Number, size: uint32(len(o.Data))})
		if left := got.Reasons(); len(left) > 0 {
			if w.left == nil {
				w.left = map[gitpack.Number][]string{}
			}
			w.left[o.Number] = left
		}
		if !got.Empty() {
			if w.found == nil {
				w.found = map[gitpack.Number]*scanner.Scanned{}
			}
			w.found[o.Number] = got.Settled()
		}
		return got
	}
	return nil
}

// settle learns the numbers of what was looked at.
func (e *early) settle(repo *gitpack.Repo) {
	total := 0
	for i := range e.workers {
		total += len(e.workers[i].list)
	}
	e.seen = make(map[gitpack.Number]sighting, total)
	e.found, e.left = map[gitpack.Number]*scanner.Scanned{}, map[gitpack.Number][]string{}
	for i := range e.workers {
		w := &e.workers[i]
		for _, s := range w.list {
			s.object = repo.Arrived(s.object)
			e.seen[s.object] = s
		}
		for at, f := range w.found {
			e.found[repo.Arrived(at)] = f
		}
		for at, left := range w.left {
			e.left[repo.Arrived(at)] = left
		}
	}
	e.workers = nil
}

// take gives what is known of a blob that a scan wants, and reports whether
// anything is.
func (e *early) take(s *scan, n gitpack.Number) bool {
	if e == nil {
		return false
	}
	seen, ok := e.seen[n]
	if !ok {
		return false
	}
	s.facts[n] |= scanned
	for _, why := range e.left[n] {
		s.lose(leftOut(why), 1)
	}
	if f := e.found[n]; f != nil {
		s.found[n] = f
	}
	s.count.blobs.Add(1)
	s.count.bytes.Add(int64(seen.size))
	return true
}
