package gitpack

import (
	"fmt"
	"hash/crc32"
	"math"

	"stanch/scanner"
)

// frame is an object of which something that is built on it is still to come.
type frame struct {
	child int32 // the next of these
	until int32 // where their list ends, if the rest was given away
	depth int
	data  []byte
	state any
}

// Bounds of one worker. Some buffers of up to half of freeBytes are kept for the
// next object; heldBytes is what the objects that others are built on may take,
// and the largest object at most.
const (
	freeBytes   = 8 << 20
	freeBuffers = 6
	heldBytes   = 64 << 20
)

type walker struct {
	r      *Repo
	w      Walk
	q      *queue
	id     int
	z      inflater
	delta  []byte
	copies []scanner.Copy
	stack  []frame
	held   int64 // bytes in stack
	free   [][]byte
	pages  pages
	single *Reader
}

func (k *walker) work() (err error) {
	defer faults(&err)()
	for {
		t, g, ok := k.q.take()
		if !ok {
			return nil
		}
		if g.plan != nil {
			k.push(g.child, g.depth, g.data, g.state)
			k.stack[0].until = g.until
			k.family(g.plan)
		} else {
			k.root(t.plan, t.pos)
		}
		k.q.done()
	}
}

func (k *walker) push(child int32, depth int, data []byte, state any) {
	k.stack = append(k.stack, frame{child, nobody, depth, data, state})
	k.held += int64(len(data))
}

func (k *walker) pop() {
	top := &k.stack[len(k.stack)-1]
	k.held -= int64(len(top.data))
	k.release(top.data)
	*top = frame{}
	k.stack = k.stack[:len(k.stack)-1]
}

// root rebuilds an object that is not built on another one of its pack, then
// all that is built on it.
func (k *walker) root(l *plan, pos int32) {
	if l.loose != nil {
		k.looseObject(l.loose, int(pos))
		return
	}
	var data []byte
	var state any
	var err error
	switch l.p.base[pos] {
	case baseNone:
		data, err = k.whole(l.p, pos)
		if err == nil && l.wanted[pos] {
			state = k.visit(l.p, pos, &Object{Data: data})
		}
	case baseElsewhere:
		var base []byte
		base, err = k.elsewhere(l.p, pos)
		if err == nil {
			data, err = k.rebuild(l.p, pos, base, false)
		}
		if err == nil && l.wanted[pos] {
			state = k.visit(l.p, pos, &Object{Data: data})
		}
	default:
		err = ErrCorrupt
	}
	if err != nil {
		k.failed(l, pos, err)
		return
	}
	k.push(l.child[pos], 0, data, state)
	k.family(l)
}

// elsewhere reads a base that the delta's own pack does not hold.
func (k *walker) elsewhere(p *pack, pos int32) ([]byte, error) {
	e, ok := p.entry(p.offset(int(pos)))
	if !ok {
		return nil, ErrCorrupt
	}
	if k.single == nil {
		k.single = k.r.NewReader(16<<20, k.w.MaxBytes)
	}
	_, data, err := k.single.Object(RawID(e.ref))
	if err != nil {
		return nil, fmt.Errorf("base of a delta: %w", err)
	}
	return data, nil
}

func (k *walker) looseObject(s *looseStore, i int) {
	t, size, data, err := s.read(i, k.w.MaxBytes)
	switch {
	case err == nil:
		k.w.Visit(k.id, &Object{Number: s.first + Number(i), Type: t, Data: data, Packed: size})
	case k.w.Failed != nil:
		k.w.Failed(k.id, s.first+Number(i), err)
	}
}

// family goes through all that is built on the objects of the stack.
func (k *walker) family(l *plan) {
	for len(k.stack) > 0 {
		if k.q.stop.Load() || k.q.ctx.Err() != nil {
			for len(k.stack) > 0 {
				k.pop()
			}
			return
		}
		if k.q.idle.Load() > 0 {
			k.share(l)
		}
		top := &k.stack[len(k.stack)-1]
		pos := top.child
		if pos == nobody {
			k.pop()
			continue
		}
		top.child = l.next[pos]
		if top.child == top.until {
			top.child = nobody
		}
		depth := top.depth + 1
		var err error
		var data []byte
		if depth > mostDepth || k.held > heldBytes+2*k.w.MaxBytes {
			err = ErrTooLarge // deltas on deltas beyond measure
		} else {
			data, err = k.rebuild(l.p, pos, top.data, l.wanted[pos] && top.state != nil)
		}
		if err != nil {
			k.failed(l, pos, err)
			continue
		}
		var state any
		if l.wanted[pos] {
			o := Object{Data: data}
			if top.state != nil {
				o.Base, o.Old, o.Copies = top.state, top.data, k.copies
			}
			state = k.visit(l.p, pos, &o)
		}
		if top.child == nobody {
			k.pop()
		}
		if l.child[pos] == nobody {
			k.release(data)
		} else {
			k.push(l.child[pos], depth, data, state)
		}
	}
}

// share gives the rest of what is built on the lowest object of the stack to a
// worker that has nothing to do.
func (k *walker) share(l *plan) {
	for i := range k.stack {
		f := &k.stack[i]
		first := f.child
		if first == nobody {
			continue
		}
		keep := i == len(k.stack)-1 // one, or nothing would be left to do here
		if keep {
			first = l.next[first]
			if first == f.until {
				return
			}
		}
		data := make([]byte, len(f.data), len(f.data)+dstSlack)
		copy(data, f.data)
		k.q.give(gift{l, first, f.until, f.depth, data, f.state})
		if keep {
			f.until = first
		} else {
			f.child = nobody
		}
		return
	}
}

func (k *walker) visit(p *pack, pos int32, o *Object) any {
	o.Number, o.Type, o.Packed = p.first+Number(pos), p.kind[pos], int64(p.length[pos])
	return k.w.Visit(k.id, o)
}

// failed tells of an object that cannot be rebuilt and all that is built on it.
func (k *walker) failed(l *plan, pos int32, err error) {
	if k.w.Failed == nil {
		return
	}
	stack := []int32{pos}
	for len(stack) > 0 {
		pos := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if l.wanted[pos] {
			k.w.Failed(k.id, l.p.first+Number(pos), err)
		}
		for c := l.child[pos]; c != nobody; c = l.next[c] {
			stack = append(stack, c)
		}
	}
}

// load finds an entry and checks its packed bytes against the index. One that is
// too large is not read.
func (k *walker) load(p *pack, pos int32) (entry, error) {
	e, ok := p.entry(p.offset(int(pos)))
	if !ok {
		return e, ErrCorrupt
	}
	if e.size > uint64(k.w.MaxBytes) {
		return e, ErrTooLarge
	}
	k.pages.touch(k.r, p, int(pos))
	if p.x != nil && p.x.crcs != nil {
		from := int(p.offset(int(pos)))
		want := uint32(p.x.crcs[4*pos])<<24 | uint32(p.x.crcs[4*pos+1])<<16 | uint32(p.x.crcs[4*pos+2])<<8 | uint32(p.x.crcs[4*pos+3])
		if p.length[pos] < math.MaxUint32 && crc32.ChecksumIEEE(p.data[from:from+int(p.length[pos])]) != want {
			return e, fmt.Errorf("checksum: %w", ErrCorrupt)
		}
	}
	return e, nil
}

// whole inflates an object that is no delta.
func (k *walker) whole(p *pack, pos int32) ([]byte, error) {
	e, err := k.load(p, pos)
	if err != nil {
		return nil, err
	}
	var room []byte
	if e.size <= freeBytes {
		room = k.buffer(int(e.size))
	}
	data, _, err := p.read(&k.z, e, room)
	return data, err
}

// rebuild applies a delta to its base; copies says whether to note in k.copies
// what it copies.
func (k *walker) rebuild(p *pack, pos int32, base []byte, copies bool) ([]byte, error) {
	e, err := k.load(p, pos)
	if err != nil {
		return nil, err
	}
	delta, _, err := p.read(&k.z, e, k.delta)
	if err != nil {
		return nil, err
	}
	k.delta = delta
	if cap(delta) > freeBytes {
		defer func() { k.delta = nil }()
	}
	from, size, rest, ok := deltaSizes(delta)
	if !ok || from != uint64(len(base)) || size > 1<<24*uint64(len(rest)) {
		return nil, ErrCorrupt
	}
	if size > uint64(k.w.MaxBytes) {
		return nil, ErrTooLarge
	}
	data := k.buffer(int(size))[:size]
	if copies {
		k.copies, ok = applyDelta(data, base, rest, k.copies[:0])
	} else {
		_, ok = applyDelta(data, base, rest, nil)
	}
	if !ok {
		k.release(data)
		return nil, ErrCorrupt
	}
	return data, nil
}

// buffer gives room for n bytes and dstSlack more: the smallest of the free
// buffers that has it.
func (k *walker) buffer(n int) []byte {
	best := -1
	for i, b := range k.free {
		if cap(b) >= n+dstSlack && (best < 0 || cap(b) < cap(k.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return make([]byte, 0, n+n/4+dstSlack)
	}
	b := k.free[best]
	last := len(k.free) - 1
	k.free[best], k.free[last] = k.free[last], nil
	k.free = k.free[:last]
	return b[:0]
}

func (k *walker) release(b []byte) {
	if cap(b) > freeBytes/2 {
		return // rare: leave it to the garbage collector
	}
	if len(k.free) < freeBuffers {
		k.free = append(k.free, b)
		return
	}
	small := 0
	for i := range k.free {
		if cap(k.free[i]) < cap(k.free[small]) {
			small = i
		}
	}
	if cap(k.free[small]) < cap(b) {
		k.free[small] = b
	}
}
