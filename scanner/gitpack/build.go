package gitpack

import (
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
)

func newHash(size int) hash.Hash {
	if size == 32 {
		return sha256.New()
	}
	return sha1.New()
}

// hasher computes ids.
type hasher struct {
	h    hash.Hash
	head []byte
}

func (h *hasher) start(t Type, size uint64) {
	h.head = append(append(h.head[:0], t.String()...), ' ')
	h.head = append(strconv.AppendUint(h.head, size, 10), 0)
	h.h.Reset()
	h.h.Write(h.head)
}

func (h *hasher) sum(t Type, data, into []byte) {
	h.start(t, uint64(len(data)))
	h.h.Write(data)
	h.h.Sum(into[:0])
}

// builder makes the index of a pack that has none, in any number of steps while
// the pack grows. Positions are places in the pack.
type builder struct {
	r     *Repo
	p     *pack
	n     int    // objects that the pack says it holds
	at    uint64 // where the next entry begins
	ids   []byte // by position
	done  []done // by position
	root  []int32
	refs  map[ID][]int32 // deltas that name their base by its id
	first int            // all positions below are done with
	trims uint64
	mu    sync.Mutex

	// visit, which may be nil, gets commits, tags and blobs as they are rebuilt.
	visit func(worker int, o *Object, id ID) any

	z   inflater
	h   hasher
	buf []byte
}

// done tells what was done with an entry.
type done uint8

const (
	known   done = 1 << iota // its id is
	visited                  // visit got it
)

// newBuilder begins the index of a pack of which the head is there.
func newBuilder(r *Repo, p *pack) *builder {
	return &builder{r: r, p: p, n: int(binary.BigEndian.Uint32(p.data[8:])), at: packHeader, refs: map[ID][]int32{}, h: hasher{h: newHash(r.hash)}}
}

// indexPack makes the index of a pack that is there as a whole. Entries behind one
// that cannot be inflated are lost, since nothing tells where they begin; then the
// repository notes a problem.
func (r *Repo) indexPack(ctx context.Context, p *pack) error {
	return newBuilder(r, p).finish(ctx)
}

// finish does what is left, and makes the index.
func (b *builder) finish(ctx context.Context) error {
	if b.n > (b.p.end-packHeader)/9 { // no entry is shorter
		return fmt.Errorf("pack of %d bytes cannot hold %d objects: %w", len(b.p.data), b.n, ErrCorrupt)
	}
	lost := b.entries(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := b.walk(ctx, true)
	if err == nil && len(b.refs) > 0 {
		err = b.named(ctx)
	}
	if err != nil {
		return err
	}
	missing := b.index()
	if lost != nil {
		b.r.bad = append(b.r.bad, fmt.Errorf("pack is cut short or corrupt after %d of %d objects: %w", len(b.done), b.n, lost))
	} else if missing > 0 {
		b.r.bad = append(b.r.bad, fmt.Errorf("%d objects of a pack could not be rebuilt", missing))
	}
	return nil
}

// index makes the index of what has an id; nothing can ask for the rest.
func (b *builder) index() (missing int) {
	p := b.p
	ids, offsets, at := b.ids[:0:0], make([]uint64, 0, len(p.offs)), make([]int32, 0, len(p.offs))
	for pos, offset := range p.offs {
		if b.done[pos]&known == 0 {
			missing++
			continue
		}
		at = append(at, int32(pos))
		ids = append(ids, b.id(pos)...)
		offsets = append(offsets, offset)
	}
	x, order := newIndex(b.r.hash, ids, offsets)
	if b.visit != nil {
		b.r.arrived = slices.Repeat([]Number{None}, len(p.offs))
		for n, i := range order {
			b.r.arrived[at[i]] = Number(n)
		}
	}
	p.x, p.offs = x, nil
	p.base, p.kind, p.length = nil, nil, nil
	return missing
}

func (b *builder) id(pos int) []byte { return b.ids[pos*b.r.hash : (pos+1)*b.r.hash] }

// entries goes on through the pack, to learn where each entry begins, and computes
// the ids of those that are no deltas. The error is of the entry at b.at, which is
// corrupt or not there as a whole.
func (b *builder) entries(ctx context.Context) (err error) {
	defer faults(&err)()
	p := b.p
	for i := len(p.offs); i < b.n; i++ {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := p.entry(b.at)
		if !ok {
			return ErrCorrupt
		}
		var id [32]byte
		var used int
		if e.size <= heldBytes {
			data, n, err := p.read(&b.z, e, b.buf)
			if err != nil {
				return err
			}
			b.buf, used = data, n
			if e.kind <= Tag {
				b.h.sum(e.kind, data, id[:])
			}
		} else {
			n, err := b.large(ctx, e, id[:])
			if err != nil {
				return err
			}
			used = n
		}
		b.add(e, id[:b.r.hash], uint64(e.at+used))
		if b.at-b.trims > trimBytes {
			b.trims = b.at
			p.m.trim()
		}
	}
	return nil
}

// add notes an entry that ends at end.
func (b *builder) add(e entry, id []byte, end uint64) {
	p := b.p
	pos := int32(len(p.offs))
	base, kind, root, state := int32(baseNone), e.kind, pos, known
	switch e.kind {
	case offsetDelta:
		base, kind, state = baseBad, 0, 0
		j, ok := slices.BinarySearch(p.offs, e.base)
		if ok {
			base, kind, root = int32(j), p.kind[j], b.root[j]
		}
	case refDelta:
		base, kind, state = baseElsewhere, 0, 0
		ref := RawID(e.ref)
		b.refs[ref] = append(b.refs[ref], pos)
	}
	p.offs = append(p.offs, b.at)
	p.base = append(p.base, base)
	p.kind = append(p.kind, kind)
	p.length = append(p.length, uint32(min(end-b.at, math.MaxUint32)))
	b.root = append(b.root, root)
	b.done = append(b.done, state)
	b.ids = append(b.ids, id...)
	b.at = end
}

// counter counts what is read through it, a byte at a time where asked so that
// a decompressor takes no more than it needs.
type counter struct {
	b  []byte
	at int
}

func (c *counter) Read(b []byte) (int, error) {
	if c.at == len(c.b) {
		return 0, io.EOF
	}
	n := copy(b, c.b[c.at:])
	c.at += n
	return n, nil
}

func (c *counter) ReadByte() (byte, error) {
	if c.at == len(c.b) {
		return 0, io.EOF
	}
	c.at++
	return c.b[c.at-1], nil
}

// large passes an entry by that is too large for memory.
func (b *builder) large(ctx context.Context, e entry, id []byte) (int, error) {
	c := &counter{b: b.p.data[e.at:b.p.end]}
	z, err := zlib.NewReader(c)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	b.h.start(e.kind, e.size)
	in := io.LimitReader(z, int64(min(e.size, math.MaxInt64-1))+1)
	size := uint64(0)
	for err == nil && ctx.Err() == nil {
		var n int64
		n, err = io.CopyN(b.h.h, in, trimBytes)
		size += uint64(n)
		b.p.m.trim()
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if !errors.Is(err, io.EOF) || size != e.size {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, errors.Join(err, errSize))
	}
	if e.kind <= Tag {
		b.h.h.Sum(id[:0])
	}
	return c.at, nil
}

// pending reports whether something is to be done with an entry, as far as its
// type is known.
func (b *builder) pending(pos int) bool {
	t, d := b.p.kind[pos], b.done[pos]
	return t != 0 && (d&known == 0 || b.visit != nil && t != Tree && d&visited == 0)
}

// Families of deltas are walked through while a pack comes when nothing was added
// to them for quietBytes: Git writes most of them in one piece. Those that are
// scattered over the pack are when the pack has doubled.
const quietBytes = 2 << 20

// ready says which entries walk goes for.
func (b *builder) ready(all bool) []bool {
	p := b.p
	for b.first < len(p.offs) && !b.pending(b.first) {
		b.first++
	}
	want := make([]bool, len(p.offs))
	latest := make([]int32, len(p.offs)) // by root
	for pos := b.first; pos < len(want); pos++ {
		want[pos] = b.pending(pos)
		latest[b.root[pos]] = int32(pos)
	}
	for pos := b.first; pos < len(want) && !all; pos++ {
		want[pos] = want[pos] && b.at-p.offs[latest[b.root[pos]]] > quietBytes
	}
	return want
}

// walk rebuilds what has no id yet, and hands out what visit has not seen.
func (b *builder) walk(ctx context.Context, all bool) error {
	want := b.ready(all)
	hashers := b.hashers()
	w := Walk{MaxBytes: DefaultMaxBytes, Workers: len(hashers), Want: func(n Number) bool { return want[n] }}
	w.Visit = func(worker int, o *Object) any {
		pos := int(o.Number)
		if b.done[pos]&known == 0 {
			hashers[worker].sum(o.Type, o.Data, b.id(pos))
			b.done[pos] |= known
		}
		if b.visit == nil || o.Type == Tree {
			return nil
		}
		b.done[pos] |= visited
		return b.visit(worker, o, RawID(b.id(pos)))
	}
	return b.run(ctx, w, b.r.plan(b.p, w))
}

func (b *builder) hashers() []hasher {
	h := make([]hasher, defaultWorkers())
	for i := range h {
		h[i].h = newHash(b.r.hash)
	}
	return h
}

func (b *builder) run(ctx context.Context, w Walk, l *plan) error {
	q := newQueue(ctx)
	for _, pos := range l.roots {
		if b.p.base[pos] == baseNone {
			q.roots = append(q.roots, root{l, pos})
		}
	}
	return b.r.run(ctx, w, q)
}

// named computes the ids of deltas that name their base by its id, and of what is
// built on them: each is hung on that object when a walk comes by.
func (b *builder) named(ctx context.Context) error {
	hashers := b.hashers()
	w := Walk{MaxBytes: DefaultMaxBytes, Workers: len(hashers), Want: func(Number) bool { return true }}
	var l *plan
	w.Visit = func(worker int, o *Object) any {
		pos := int(o.Number)
		t, ok := o.Base.(Type)
		if !ok {
			t = o.Type
		}
		if b.done[pos]&known == 0 {
			hashers[worker].sum(t, o.Data, b.id(pos))
			b.done[pos] |= known
		}
		b.hang(l, int32(pos))
		return t
	}
	l = b.r.plan(b.p, w)
	return b.run(ctx, w, l)
}

// hang makes the deltas that name the object at pos the first of what is built
// on it.
func (b *builder) hang(l *plan, pos int32) {
	id := RawID(b.id(int(pos)))
	b.mu.Lock()
	waiting := b.refs[id]
	delete(b.refs, id)
	b.mu.Unlock()
	for _, w := range waiting {
		l.next[w] = l.child[pos]
		l.child[pos] = w
	}
}
