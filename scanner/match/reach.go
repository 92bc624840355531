package match

import "sync"

// A reach says how far from a place in a text a match can extend, without
// matching: some bytes, then a run of bytes of one set, and so on. It is what
// makes a window around a literal as wide as needed and no wider, on lines of
// any length.

// step is some bytes and then, when run is not 0, the run of bytes that are in
// the set with this number.
type step struct {
	add int
	run int
}

type reach []step

// longestReach bounds the steps; what is more complicated reaches to the end.
const longestReach = 48

// sets numbers byte sets, so that equal ones are one, and 0 is none.
type sets struct {
	mu    sync.Mutex // while rules are compiled; nothing changes afterwards
	all   []byteSet
	index map[byteSet]int
}

func newSets() *sets { return &sets{all: make([]byteSet, 1), index: map[byteSet]int{}} }

// at is the set with a number, while rules are compiled.
func (t *sets) at(i int) byteSet {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[i]
}

func (t *sets) number(s byteSet) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, ok := t.index[s]
	if !ok {
		i = len(t.all)
		t.all = append(t.all, s)
		t.index[s] = i
	}
	return i
}

var everyByte = byteSet{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

// then is r followed by o.
func (r reach) then(o reach, t *sets) reach {
	if len(r)+len(o) > longestReach {
		return reach{{run: t.number(everyByte)}}
	}
	out := append(reach(nil), r...)
	for _, s := range o {
		if n := len(out); n > 0 && out[n-1].run == 0 {
			out[n-1].add = sum(out[n-1].add, s.add)
			out[n-1].run = s.run
			continue
		}
		out = append(out, s)
	}
	return out
}

// reachOf is the reach of a sequence, in its order or against it.
func reachOf(seq []*node, backwards bool, t *sets) reach {
	var r reach
	for i := range seq {
		n := seq[i]
		if backwards {
			n = seq[len(seq)-1-i]
		}
		r = r.then(n.reach(backwards, t), t)
	}
	return r
}

func (n *node) reach(backwards bool, t *sets) reach {
	_, hi := n.length()
	if hi == 0 {
		return nil
	}
	if hi < unbounded {
		return reach{{add: hi}}
	}
	switch n.op {
	case opSeq, opGroup:
		return reachOf(n.sub, backwards, t)
	case opRep:
		one := n.sub[0].reach(backwards, t)
		if n.max >= unbounded || n.max*len(one) > longestReach {
			return reach{{run: t.number(n.bytes())}}
		}
		var r reach
		for range n.max {
			r = r.then(one, t)
		}
		return r
	case opAlt:
		// One after the other reaches at least as far as each of them.
		var r reach
		short := 0
		for _, c := range n.sub {
			_, hi := c.length()
			if hi < unbounded {
				short = max(short, hi)
				continue
			}
			r = r.then(c.reach(backwards, t), t)
		}
		return reach{{add: short}}.then(r, t)
	}
	return reach{{add: hi}}
}

// cost is about how many bytes a window of this reach has.
func (r reach) cost(t *sets) float64 {
	c := 0.0
	for _, s := range r {
		c += float64(min(s.add, 2000))
		if s.run != 0 {
			set := t.at(s.run)
			switch {
			case !set.has('\n'):
				c += 40
			case set.has('a') && set.has(' '):
				c += 20_000
			default:
				c += 10
			}
		}
	}
	return c
}

// runCache remembers the last long run of each set, so that many places in one
// long line do not each walk to its end. It belongs to one text.
type runCache struct {
	fwd, back []interval
	odd       bool // the text holds odd runes: they can stand in any run and take three bytes
}

type interval struct{ lo, hi int }

func (c *runCache) reset(n int, odd bool) {
	c.odd = odd
	if cap(c.fwd) < n {
		c.fwd, c.back = make([]interval, n), make([]interval, n)
	}
	c.fwd, c.back = c.fwd[:n], c.back[:n]
	clear(c.fwd)
	clear(c.back)
}

func (c *runCache) bytes(n int) int {
	if c.odd {
		return 3 * n
	}
	return n
}

// forward is the end of r from at.
func (c *runCache) forward(r reach, t *sets, text []byte, at int) int {
	for i := range r {
		at = min(at+c.bytes(r[i].add), len(text))
		if r[i].run == 0 {
			continue
		}
		known := &c.fwd[r[i].run]
		if known.lo <= at && at < known.hi {
			at = known.hi
			continue
		}
		from, set := at, &t.all[r[i].run]
		for at < len(text) && (set.has(text[at]) || c.odd && text[at] >= 0x80) {
			if at == known.lo && at < known.hi {
				at = known.hi // joins the run that is known
				break
			}
			at++
		}
		if at-from > 32 {
			*known = interval{from, at}
		}
	}
	return at
}

// backward is the start of r that ends at at.
func (c *runCache) backward(r reach, t *sets, text []byte, at int) int {
	for i := range r {
		at = max(at-c.bytes(r[i].add), 0)
		if r[i].run == 0 {
			continue
		}
		known := &c.back[r[i].run]
		if known.lo < at && at <= known.hi {
			at = known.lo
			continue
		}
		from, set := at, &t.all[r[i].run]
		for at > 0 && (set.has(text[at-1]) || c.odd && text[at-1] >= 0x80) {
			if at == known.hi && at > known.lo {
				at = known.lo
				break
			}
			at--
		}
		if from-at > 32 {
			*known = interval{at, from}
		}
	}
	return at
}
