package match

import (
	"sync"
	"sync/atomic"
	"weak"
)

// budget bounds what the automata of all expressions of a process hold together.
// Each by itself is small, and there are two thousand of them.
type budget struct {
	used atomic.Int64 // bytes
	mu   sync.Mutex
	all  []weak.Pointer[half] // that hold something
}

var automata budget

const (
	mostAutomataBytes = 48 << 20
	stateBytes        = 200 // of a state beside its lists
)

// spend notes what h, whose mutex the caller holds, has taken. When all of them
// hold too much, all start over.
func (b *budget) spend(h *half, bytes int64) {
	if !h.known {
		h.known = true
		b.mu.Lock()
		b.all = append(b.all, weak.Make(h))
		b.mu.Unlock()
	}
	h.size.Add(bytes)
	if b.used.Add(bytes) > mostAutomataBytes && b.mu.TryLock() {
		b.clear(h)
		b.mu.Unlock()
	}
}

// clear empties all automata but those that others work on just now.
func (b *budget) clear(own *half) {
	left := int64(0)
	live := b.all[:0]
	for _, p := range b.all {
		h := p.Value()
		if h == nil {
			continue // its rules are gone
		}
		live = append(live, p)
		switch {
		case h == own:
			h.forget()
		case h.mu.TryLock():
			h.forget()
			h.mu.Unlock()
		default:
			left += h.size.Load()
		}
	}
	clear(b.all[len(live):])
	b.all = live
	b.used.Store(left)
}
