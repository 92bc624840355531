package gitpack

import (
	"context"
	"sync"
	"sync/atomic"
)

type root struct {
	plan *plan
	pos  int32
}

// gift is the rest of what is built on an object, given to an idle worker.
type gift struct {
	plan  *plan
	child int32
	until int32
	depth int
	data  []byte
	state any
}

// queue hands out families.
type queue struct {
	ctx    context.Context
	mu     sync.Mutex
	wake   sync.Cond
	roots  []root
	at     int
	gifts  []gift
	active int
	err    error
	idle   atomic.Int32
	stop   atomic.Bool
}

func newQueue(ctx context.Context) *queue {
	q := &queue{ctx: ctx}
	q.wake.L = &q.mu
	return q
}

func (q *queue) take() (root, gift, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.err != nil || q.ctx.Err() != nil {
			q.stop.Store(true)
			q.wake.Broadcast()
			return root{}, gift{}, false
		}
		if n := len(q.gifts); n > 0 {
			g := q.gifts[n-1]
			q.gifts = q.gifts[:n-1]
			q.active++
			return root{}, g, true
		}
		if q.at < len(q.roots) {
			q.at++
			q.active++
			return q.roots[q.at-1], gift{}, true
		}
		if q.active == 0 {
			q.wake.Broadcast()
			return root{}, gift{}, false
		}
		q.idle.Add(1)
		q.wake.Wait()
		q.idle.Add(-1)
	}
}

func (q *queue) done() {
	q.mu.Lock()
	q.active--
	if q.active == 0 {
		q.wake.Broadcast()
	}
	q.mu.Unlock()
}

func (q *queue) give(g gift) {
	q.mu.Lock()
	q.gifts = append(q.gifts, g)
	q.mu.Unlock()
	q.wake.Signal()
}

func (q *queue) fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.stop.Store(true)
	q.mu.Unlock()
	q.wake.Broadcast()
}
