package gitpack

import (
	"fmt"
	"runtime/debug"
)

// DefaultMaxBytes is the size above which [Repo.Object] refuses an object.
const DefaultMaxBytes = 256 << 20

// mostDepth is how many deltas may stand on each other. Git writes at most 4,095.
const mostDepth = 10_000

// Object reads any object. It suits single objects; see [Repo.NewReader] and
// [Repo.Walk] for many.
func (r *Repo) Object(id ID) (Type, []byte, error) {
	return r.NewReader(0, DefaultMaxBytes).Object(id)
}

// Reader reads single objects and remembers the last ones, which others are
// often built on. It is used by one goroutine at a time.
type Reader struct {
	r     *Repo
	z     inflater
	delta []byte
	max   int64
	pages pages

	room       int // bytes that may be remembered
	held       int
	cache      map[Number]*cached
	head, tail *cached // most and least recently used
}

type cached struct {
	n          Number
	data       []byte
	prev, next *cached
}

// NewReader makes a reader that keeps up to cacheBytes of objects and refuses
// those of more than maxBytes.
func (r *Repo) NewReader(cacheBytes int, maxBytes int64) *Reader {
	r.layout()
	return &Reader{r: r, max: maxBytes, room: cacheBytes, cache: map[Number]*cached{}}
}

// Object reads the object with an id. The bytes must not be changed.
func (d *Reader) Object(id ID) (Type, []byte, error) {
	n := d.r.Find(id)
	if n == None {
		return 0, nil, ErrMissing
	}
	return d.Read(n)
}

// Read reads the object with a number. The bytes must not be changed; they stay
// valid.
func (d *Reader) Read(n Number) (t Type, data []byte, err error) {
	defer faults(&err)()
	return d.read(n, 0)
}

// faults makes an error of what the system does to a program that reads a
// mapped file beyond the end that somebody else just gave it.
func faults(err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		e := recover()
		if e == nil {
			return
		}
		fault, ok := e.(interface {
			error
			Addr() uintptr
		})
		if !ok {
			panic(e)
		}
		*err = fmt.Errorf("pack changed while it was read: %w", fault)
	}
}

func (d *Reader) read(n Number, depth int) (Type, []byte, error) {
	p, s, pos := d.r.locate(n)
	if s != nil {
		t, _, data, err := s.read(pos, d.max)
		return t, data, err
	}
	if p == nil {
		return 0, nil, ErrMissing
	}
	data, err := d.rebuild(p, pos, depth)
	return p.kind[pos], data, err
}

// rebuild goes down the deltas to one that is remembered, or the last, and
// comes back up.
func (d *Reader) rebuild(p *pack, pos, depth int) ([]byte, error) {
	var chain []int
	var data []byte
	for data == nil {
		if p.base[pos] == baseBad || depth+len(chain) > mostDepth {
			return nil, ErrCorrupt
		}
		data = d.recall(p.first + Number(pos))
		if data != nil {
			break
		}
		chain = append(chain, pos)
		b := p.base[pos]
		if b == baseNone {
			break
		}
		if b == baseElsewhere {
			e, ok := p.entry(p.offset(pos))
			if !ok {
				return nil, ErrCorrupt
			}
			n := d.r.FindRaw(e.ref)
			if n == None {
				return nil, fmt.Errorf("base of a delta: %w", ErrMissing)
			}
			var err error
			_, data, err = d.read(n, depth+len(chain)+64)
			if err != nil {
				return nil, err
			}
			break
		}
		pos = int(b)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		pos := chain[i]
		e, ok := p.entry(p.offset(pos))
		if !ok {
			return nil, ErrCorrupt
		}
		if e.size > uint64(d.max) {
			return nil, ErrTooLarge
		}
		d.pages.touch(d.r, p, pos)
		var err error
		if p.base[pos] == baseNone {
			data, _, err = p.read(&d.z, e, make([]byte, 0, min(e.size, 1<<20)+dstSlack))
		} else {
			data, err = d.apply(p, e, data)
		}
		if err != nil {
			return nil, err
		}
		d.remember(p.first+Number(pos), data)
	}
	return data, nil
}

func (d *Reader) apply(p *pack, e entry, base []byte) ([]byte, error) {
	var err error
	delta, _, err := p.read(&d.z, e, d.delta)
	if err != nil {
		return nil, err
	}
	d.delta = delta
	from, size, rest, ok := deltaSizes(delta)
	if !ok || from != uint64(len(base)) {
		return nil, ErrCorrupt
	}
	if size > uint64(d.max) {
		return nil, ErrTooLarge
	}
	if size > 1<<26*uint64(len(rest)) { // no instruction gives as much
		return nil, ErrCorrupt
	}
	data := make([]byte, size)
	_, ok = applyDelta(data, base, rest, nil)
	if !ok {
		return nil, ErrCorrupt
	}
	return data, nil
}

func (d *Reader) recall(n Number) []byte {
	c := d.cache[n]
	if c == nil {
		return nil
	}
	d.unlink(c)
	d.push(c)
	return c.data
}

func (d *Reader) remember(n Number, data []byte) {
	if len(data) == 0 || len(data) > d.room/4 {
		return
	}
	for d.held+len(data) > d.room {
		last := d.tail
		d.unlink(last)
		delete(d.cache, last.n)
		d.held -= len(last.data)
	}
	c := &cached{n: n, data: data}
	d.cache[n] = c
	d.held += len(data)
	d.push(c)
}

func (d *Reader) push(c *cached) {
	c.prev, c.next = nil, d.head
	if d.head != nil {
		d.head.prev = c
	} else {
		d.tail = c
	}
	d.head = c
}

func (d *Reader) unlink(c *cached) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		d.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		d.tail = c.prev
	}
	c.prev, c.next = nil, nil
}
