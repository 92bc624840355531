package history

import (
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// mostPaths is how many different paths are told apart. Beyond, a history is no
// longer one that people made.
const mostPaths = 1_500_000

// noPath is the root of all paths, and the path of a blob that has none.
const noPath = 0

// paths numbers the paths of a history. It may be used concurrently while it
// grows; paths are read when it no longer does.
type paths struct {
	seed   maphash.Seed
	shards [64]struct {
		sync.Mutex
		m map[pathKey]int32
	}
	mu    sync.Mutex
	all   []pathKey
	count atomic.Int32
}

type pathKey struct {
	dir  int32
	name string
}

func newPaths() *paths {
	p := &paths{seed: maphash.MakeSeed(), all: []pathKey{{}}}
	for i := range p.shards {
		p.shards[i].m = map[pathKey]int32{}
	}
	p.count.Store(1)
	return p
}

// number gives the number of name in the directory dir; noPath when there are
// too many.
func (p *paths) number(dir int32, name []byte) int32 {
	shard := &p.shards[(maphash.Bytes(p.seed, name)+uint64(dir))%uint64(len(p.shards))]
	shard.Lock()
	defer shard.Unlock()
	n, ok := shard.m[pathKey{dir, string(name)}]
	if ok {
		return n
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) >= mostPaths {
		return noPath
	}
	key := pathKey{dir, string(name)}
	n = int32(len(p.all))
	p.all = append(p.all, key)
	p.count.Store(n + 1)
	shard.m[key] = n
	return n
}

func (p *paths) full() bool { return p.count.Load() >= mostPaths }

// path gives a path in full.
func (p *paths) path(n int32) string {
	if n == noPath {
		return ""
	}
	var parts [64]string
	rest := parts[:0]
	for ; n != noPath; n = p.all[n].dir {
		rest = append(rest, p.all[n].name)
	}
	if len(rest) == 1 {
		return rest[0]
	}
	size := len(rest) - 1
	for _, r := range rest {
		size += len(r)
	}
	var b strings.Builder
	b.Grow(size)
	for i := len(rest) - 1; i >= 0; i-- {
		b.WriteString(rest[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}
