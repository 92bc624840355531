package gitpack

import (
	"compress/zlib"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
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

// indexPack makes the index of a pack that has none. Entries behind one that
// cannot be inflated are lost, since nothing tells where they begin; then the
// repository notes a problem.
func (r *Repo) indexPack(ctx context.Context, p *pack) (err error) {
	defer faults(&err)()
	n := int(binary.BigEndian.Uint32(p.data[8:]))
	if n > (p.end-packHeader)/9 { // no entry is shorter
		return fmt.Errorf("pack of %d bytes cannot hold %d objects: %w", len(p.data), n, ErrCorrupt)
	}
	b := &builder{r: r, p: p, ids: make([]byte, 0, n*r.hash)}
	p.offs = make([]uint64, 0, n)
	lost := b.entries(ctx, n)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err = b.deltas(ctx)
	if err != nil {
		return err
	}
	// Objects that could not be rebuilt have no id: nothing can ask for them.
	ids, offsets, missing := b.ids[:0:0], make([]uint64, 0, len(p.offs)), 0
	for pos, offset := range p.offs {
		if !b.known[pos] {
			missing++
			continue
		}
		ids = append(ids, b.id(pos)...)
		offsets = append(offsets, offset)
	}
	p.x, p.offs = newIndex(r.hash, ids, offsets), nil
	p.order, p.base, p.kind, p.length = nil, nil, nil, nil
	if lost != nil {
		r.bad = append(r.bad, fmt.Errorf("pack is cut short or corrupt after %d of %d objects: %w", len(b.known), n, lost))
	} else if missing > 0 {
		r.bad = append(r.bad, fmt.Errorf("%d objects of a pack could not be rebuilt", missing))
	}
	return nil
}

type builder struct {
	r     *Repo
	p     *pack
	ids   []byte // by position
	known []bool // whether the id is
	refs  map[ID][]int32
	mu    sync.Mutex
}

func (b *builder) id(pos int) []byte { return b.ids[pos*b.r.hash : (pos+1)*b.r.hash] }

// entries goes through the pack once, to learn where each of the n entries
// begins, and computes the ids of those that are no deltas.
func (b *builder) entries(ctx context.Context, n int) error {
	p := b.p
	var z inflater
	h := hasher{h: newHash(b.r.hash)}
	var buf []byte
	at := uint64(packHeader)
	trimmed := at
	for i := range n {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e, ok := p.entry(at)
		if !ok {
			return ErrCorrupt
		}
		var used int
		pos := len(p.offs)
		b.ids = append(b.ids, make([]byte, b.r.hash)...)
		if e.size <= heldBytes {
			data, n, err := p.read(&z, e, buf)
			if err != nil {
				return err
			}
			buf, used = data, n
			if e.kind <= Tag {
				h.sum(e.kind, data, b.id(pos))
			}
		} else {
			n, err := b.large(&h, e, pos)
			if err != nil {
				return err
			}
			used = n
		}
		p.offs = append(p.offs, at)
		b.known = append(b.known, e.kind <= Tag)
		at = uint64(e.at + used)
		if at-trimmed > trimBytes {
			trimmed = at
			p.m.trim()
		}
	}
	return nil
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
func (b *builder) large(h *hasher, e entry, pos int) (int, error) {
	c := &counter{b: b.p.data[e.at:b.p.end]}
	z, err := zlib.NewReader(c)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	h.start(e.kind, e.size)
	n, err := io.Copy(h.h, z)
	if err != nil || uint64(n) != e.size {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, errSize)
	}
	if e.kind <= Tag {
		h.h.Sum(b.id(pos)[:0])
	}
	return c.at, nil
}

// deltas computes the ids of deltas. One that names its base by its id is hung
// on that object when the walk comes by.
func (b *builder) deltas(ctx context.Context) error {
	p := b.p
	p.layout()
	b.refs = map[ID][]int32{}
	for pos, base := range p.base {
		if base == baseElsewhere {
			e, _ := p.entry(p.offset(pos))
			b.refs[RawID(e.ref)] = append(b.refs[RawID(e.ref)], int32(pos))
		}
	}
	named := len(b.refs) > 0
	w := Walk{MaxBytes: DefaultMaxBytes, Workers: defaultWorkers()}
	hashers := make([]hasher, w.Workers)
	for i := range hashers {
		hashers[i].h = newHash(b.r.hash)
	}
	w.Want = func(n Number) bool { return named || !b.known[n] }
	var l *plan
	w.Visit = func(worker int, o *Object) any {
		pos := int(o.Number)
		t, ok := o.Base.(Type)
		if !ok {
			t = o.Type
		}
		if !b.known[pos] {
			hashers[worker].sum(t, o.Data, b.id(pos))
			b.known[pos] = true
		}
		if named {
			b.hang(l, int32(pos))
		}
		return t
	}
	l = b.r.plan(p, w)
	q := &queue{ctx: ctx}
	q.wake.L = &q.mu
	for _, pos := range l.roots {
		if p.base[pos] == baseNone {
			q.roots = append(q.roots, root{l, pos})
		}
	}
	return b.r.run(ctx, w, q)
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
