package match

import (
	"hash/maphash"
	"sync"
)

// memo remembers answers about small texts: the same lines come again in every
// version of a file. It keeps hashes under a random seed, no text, so that
// nothing in it can be a secret; with 128 bits two texts do not share one.
type memo struct {
	seed   [2]maphash.Seed
	shards [16]memoShard
}

type memoShard struct {
	mu      sync.Mutex
	m       map[memoKey]bool
	windows map[memoKey][]piece
}

type memoKey struct {
	hash [2]uint64
	kind uint32
}

// What an answer is about; it is joined with the number of the rule.
const (
	aboutSecret = iota // whether a secret is dropped for itself
	aboutMatch         // whether a match is excused for its text
	aboutWindow        // what the matches in a window are; 1 more at the begin of a text, 2 more at its end
	abouts      = 8
)

// memoEntries bounds each map of a shard, which is emptied when it is full: all
// together hold at most about 20 MB.
const memoEntries = 8 << 10

func newMemo() *memo {
	return &memo{seed: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

func (m *memo) key(about int, r *rule, text []byte) memoKey {
	return memoKey{
		[2]uint64{maphash.Bytes(m.seed[0], text), maphash.Bytes(m.seed[1], text)},
		uint32(r.number*abouts + about),
	}
}

func (m *memo) get(k memoKey) (yes, known bool) {
	s := &m.shards[k.hash[0]%uint64(len(m.shards))]
	s.mu.Lock()
	yes, known = s.m[k]
	s.mu.Unlock()
	return yes, known
}

func (m *memo) put(k memoKey, yes bool) {
	s := &m.shards[k.hash[0]%uint64(len(m.shards))]
	s.mu.Lock()
	if s.m == nil || len(s.m) >= memoEntries {
		s.m = make(map[memoKey]bool)
	}
	s.m[k] = yes
	s.mu.Unlock()
}

func (m *memo) window(k memoKey) (pieces []piece, known bool) {
	s := &m.shards[k.hash[0]%uint64(len(m.shards))]
	s.mu.Lock()
	pieces, known = s.windows[k]
	s.mu.Unlock()
	return pieces, known
}

func (m *memo) putWindow(k memoKey, pieces []piece) {
	if len(pieces) > mostPieces {
		return
	}
	s := &m.shards[k.hash[0]%uint64(len(m.shards))]
	s.mu.Lock()
	if s.windows == nil || len(s.windows) >= memoEntries {
		s.windows = make(map[memoKey][]piece)
	}
	s.windows[k] = pieces
	s.mu.Unlock()
}

// mostPieces is how many matches a window may have to be remembered.
const mostPieces = 64

// pathMemo remembers answers about paths, which come again in every commit.
type pathMemo struct {
	mu sync.RWMutex
	m  map[string]bool
}

const (
	memoPaths    = 8 << 10
	longestKnown = 256 // bytes of a path that is kept
)

func (m *pathMemo) get(path string, ask func(string) bool) bool {
	if len(path) > longestKnown {
		return ask(path)
	}
	m.mu.RLock()
	yes, known := m.m[path]
	m.mu.RUnlock()
	if known {
		return yes
	}
	yes = ask(path)
	m.mu.Lock()
	if m.m == nil || len(m.m) >= memoPaths {
		m.m = make(map[string]bool)
	}
	m.m[path] = yes
	m.mu.Unlock()
	return yes
}
