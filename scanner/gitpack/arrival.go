package gitpack

import (
	"context"
	"fmt"
	"sync"
)

// Arrival takes a pack that comes from elsewhere, and indexes it and hands out its
// objects meanwhile, so that little is left to do when the last byte has come. One
// goroutine calls its methods.
//
// visit gets commits, tags and blobs as [Walk] hands them out, with their ids, on
// several goroutines; the number of an object is its position in the pack, of
// which [Repo.Arrived] gives the number in the repository. An object whose base
// was handed out long before has no Base. What cannot be rebuilt, or is a delta
// that names its base by its id, is not handed out.
type Arrival struct {
	hash  int
	spill *Spill
	visit func(worker int, o *Object, id ID) any

	ctx     context.Context // done when the arrival is over, whatever the reason
	cancel  context.CancelFunc
	started bool
	more    chan struct{}
	ended   chan struct{}
	running sync.WaitGroup

	repo    *Repo
	builder *builder
	next    int64 // bytes that have to be there for the next step
	doubled int64 // twice as many that were there when everything was walked through
}

// stepBytes have to come before it is worth a look at them.
const stepBytes = 4 << 20

// NewArrival makes one for a pack with ids of hash bytes, which is kept in spill.
func NewArrival(ctx context.Context, spill *Spill, hash int, visit func(worker int, o *Object, id ID) any) *Arrival {
	a := &Arrival{hash: hash, spill: spill, visit: visit, more: make(chan struct{}, 1), ended: make(chan struct{}), next: stepBytes, doubled: stepBytes, repo: &Repo{hash: hash}}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// Write takes the next bytes of the pack.
func (a *Arrival) Write(p []byte) (int, error) {
	n, err := a.spill.Write(p)
	if err != nil {
		return n, err
	}
	if !a.started && canGrow && a.visit != nil && a.spill.Size() >= stepBytes {
		a.started = true
		a.running.Go(a.follow)
	}
	select {
	case a.more <- struct{}{}:
	default:
	}
	return n, nil
}

// Stop ends it before the pack has come. The spill is not closed.
func (a *Arrival) Stop() {
	a.cancel()
	a.running.Wait()
	if a.builder != nil {
		a.builder.p.close()
	}
}

// Finish opens the pack that has come as a whole; what of it cannot be read is
// told by [Repo.Problems]. refs, which may be nil, lists what the refs name in the
// form of Git's packed-refs; the repository reads, but does not close it.
func (a *Arrival) Finish(ctx context.Context, refs *Spill) (*Repo, error) {
	close(a.ended)
	a.running.Wait()
	defer a.cancel()
	r := a.repo
	r.listed = refs
	if a.spill.Size() == 0 {
		return r, nil
	}
	err := a.reach(a.spill.Size())
	if err == nil {
		a.builder.p.end -= a.hash // of its checksum
		err = a.builder.finish(ctx)
	}
	if err != nil {
		a.Stop()
		return nil, err
	}
	p := a.builder.p
	r.packs, r.len = []*pack{p}, p.x.n
	return r, nil
}

// reach makes the first size bytes readable.
func (a *Arrival) reach(size int64) error {
	m, err := a.spill.view(size)
	if err != nil {
		return fmt.Errorf("read temporary file: %w", err)
	}
	if a.builder == nil {
		p := &pack{m: m, data: m.data, end: len(m.data), hash: a.hash}
		if !isPack(m.data, a.hash) {
			m.close()
			return fmt.Errorf("no pack of version 2 or 3: %w", ErrCorrupt)
		}
		a.builder = newBuilder(a.repo, p)
		a.builder.visit = a.visit
		return nil
	}
	p := a.builder.p
	p.m.close()
	p.m, p.data, p.end = m, m.data, len(m.data)
	return nil
}

// follow looks at what has come, again and again. An error ends it: Finish comes
// upon it too.
func (a *Arrival) follow() {
	for {
		select {
		case <-a.ended:
			return
		case <-a.ctx.Done():
			return
		case <-a.more:
		}
		select {
		case <-a.ended: // Finish does the rest
			return
		default:
		}
		size := a.spill.Size()
		if size < a.next {
			continue
		}
		err := a.reach(size)
		if err != nil {
			return
		}
		b := a.builder
		_ = b.entries(a.ctx) // it ends in the middle of an entry
		all := size >= a.doubled
		if all {
			a.doubled = 2 * size
		}
		err = b.walk(a.ctx, all)
		if err != nil {
			return
		}
		// An entry that is not there as a whole is not tried over and over.
		a.next = size + stepBytes + max(0, size-int64(b.at))
	}
}
