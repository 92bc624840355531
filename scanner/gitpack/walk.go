package gitpack

import (
	"context"
	goruntime "runtime"
	"sync"

	"stanch/scanner"
)

// Walk says what [Repo.Walk] goes through. Visit must be set.
type Walk struct {
	Kind     Type // 0 means all types
	MaxBytes int64
	// MaxBytes of one object, 0 means DefaultMaxBytes. One that is larger fails,
	// and with it whatever is built on it.

	Want func(Number) bool // nil means every object

	// Visit gets each object, on several goroutines at once; worker tells them
	// apart, from 0 to Workers-1. What it returns is handed to it again as Base of
	// the objects that are built on this one.
	Visit func(worker int, o *Object) any
	// Failed gets each wanted object that could not be rebuilt. It may be nil.
	Failed func(worker int, n Number, err error)

	Workers int // 0 means GOMAXPROCS
}

// Object is what a visitor sees. It may keep none of it but what it copies.
type Object struct {
	Number Number
	Type   Type
	Data   []byte

	// Of an object that is rebuilt from another one of which the visitor had a
	// look: what it returned there, that one's bytes, and which of them are here.
	Base   any
	Old    []byte
	Copies []scanner.Copy

	Packed int64 // bytes that the object takes in its pack or file
}

// Blobs visits every blob once: Walk without a choice.
func (r *Repo) Blobs(ctx context.Context, visit func(worker int, o *Object) any) error {
	return r.Walk(ctx, Walk{Kind: Blob, Visit: visit})
}

// Walk rebuilds the wanted objects, each once and each after what it is built
// on, on all processors. A large family of deltas is shared out among workers
// as they run idle. Memory is bounded by the number of workers times a few
// objects, however long the chains of deltas are.
//
// The error is ctx's, or says that packs were changed meanwhile; objects that
// cannot be rebuilt are told to Failed alone.
func (r *Repo) Walk(ctx context.Context, w Walk) error {
	r.layout()
	if w.MaxBytes <= 0 {
		w.MaxBytes = DefaultMaxBytes
	}
	if w.Workers <= 0 {
		w.Workers = defaultWorkers()
	}
	q := newQueue(ctx)
	for _, p := range r.packs {
		plan := r.plan(p, w)
		for _, pos := range plan.roots {
			q.roots = append(q.roots, root{plan, pos})
		}
	}
	for i := range r.loose {
		plan := &plan{loose: &r.loose[i]}
		for j := range r.loose[i].count() {
			n := r.loose[i].first + Number(j)
			if (w.Kind == 0 || r.loose[i].kind[j] == w.Kind) && (w.Want == nil || w.Want(n)) && r.Find(r.ID(n)) == n {
				q.roots = append(q.roots, root{plan, int32(j)})
			}
		}
	}
	return r.run(ctx, w, q)
}

func defaultWorkers() int { return goruntime.GOMAXPROCS(0) }

func (r *Repo) run(ctx context.Context, w Walk, q *queue) error {
	var running sync.WaitGroup
	for i := range w.Workers {
		running.Go(func() {
			k := &walker{r: r, w: w, q: q, id: i, copies: make([]scanner.Copy, 0, 64)}
			err := k.work()
			if err != nil {
				q.fail(err)
			}
		})
	}
	running.Wait()
	if q.err != nil {
		return q.err
	}
	return ctx.Err()
}
