package match

import (
	"math"
	"regexp/syntax"
)

const wordBoundary = syntax.OpWordBoundary

// A shape is what must stand from a word on so that a match of the rule can be
// there: a short list of bytes to skip and bytes to need. It is a necessary
// condition, decided in one walk without going back, and it keeps the regexp
// away from nearly every place where a word of its rule stands by chance.
//
// The walk is right because skip is only made when what is needed next is in
// none of the skipped bytes: then every match skips exactly as much as the walk.
// Where they overlap (a "=" can end an assignment or begin a token) the shape
// ends with a loose need, which asks for a run of needed bytes that begins there
// or in what was skipped.
type shape struct {
	ops []shapeOp

	// When token is not 0 the walk also finds the secret: it starts at the op
	// with this number less one, and is the run of bytes of tokenSet from there.
	token    int
	tokenSet int
}

type shapeKind uint8

const (
	skip  shapeKind = iota // at most n runes of the set
	need                   // n bytes of the set
	loose                  // a run of n bytes of the set, which may begin in what was skipped
	ended                  // as need of one byte, or the end of the text
)

type shapeOp struct {
	kind shapeKind
	set  int
	n    int
}

const (
	longestShape = 28 // ops
	longestNeed  = lookAhead
)

// shaper collects the ops.
type shaper struct {
	f       *finder
	ops     []shapeOp
	pending byteSet // what may be skipped here
	most    int     // and how much of it
	done    bool
	lost    bool    // after a loose need the place is not known any more
	between byteSet // then: what may stand from where the loose need may begin on
	far     int     // and how much of it

	capStart int // op at which the secret begins, plus one
	capSet   byteSet
	closed   bool // the secret is over; what stands next must not be in it
	token    int
}

func (f *finder) shapeOf(seq []*node) shape {
	s := &shaper{f: f}
	s.seq(seq)
	for len(s.ops) > 0 && s.ops[len(s.ops)-1].kind == skip {
		s.ops = s.ops[:len(s.ops)-1]
	}
	out := shape{ops: s.ops}
	if s.token != 0 && s.token <= len(s.ops) {
		out.token, out.tokenSet = s.token, f.sets.number(s.capSet)
	}
	return out
}

func (s *shaper) seq(nodes []*node) {
	for _, n := range nodes {
		if s.done {
			return
		}
		s.node(n)
	}
}

func (s *shaper) node(n *node) {
	switch n.op {
	case opNever:
		s.done = true
	case opAssert:
		if n.assert == syntax.OpEndText {
			s.done = true
		}
	case opClass:
		s.need(n.bytes(), 1)
		if n.wide {
			s.optional(highBytes, 1)
		}
	case opSeq:
		s.seq(n.sub)
	case opGroup:
		if n.group == s.f.secret && s.capStart == 0 {
			s.capStart = -1 // at the next need
			s.capSet = n.bytes()
			s.seq(n.sub)
			s.closed = s.capStart > 0
			if s.capStart < 0 {
				s.capStart = unbounded // the walk ended before it
			}
			return
		}
		s.seq(n.sub)
	case opRep:
		s.rep(n)
	case opAlt:
		s.alt(n)
	}
}

func (s *shaper) rep(n *node) {
	one := n.sub[0]
	lo, _ := one.length()
	most := n.runes()
	if most == 0 {
		return
	}
	if n.min == 0 {
		s.optional(n.bytes(), most)
		return
	}
	c := one
	for c.op == opGroup && c.group != s.f.secret {
		c = c.sub[0]
	}
	if c.op == opClass {
		s.need(c.bytes(), n.min)
		if !c.wide {
			most -= n.min
		}
		s.optional(c.bytes(), most)
		return
	}
	if n.min == 1 && n.max == 1 {
		s.node(one)
		return
	}
	least := times(lo, n.min)
	if least > 0 {
		s.need(n.bytes(), least)
	}
	s.optional(n.bytes(), most)
}

func (s *shaper) alt(n *node) {
	end := false
	var branches []*node
	for _, b := range n.sub {
		if b.op == opAssert && b.assert == syntax.OpEndText {
			end = true
			continue
		}
		branches = append(branches, b)
	}
	sets, exact := fixedAlt(branches)
	if end {
		// Nothing but the end, or this: one byte of it is enough to ask for.
		if len(sets) > 0 {
			s.emit(ended, sets[0], 1)
		}
		s.done = true
		return
	}
	if len(sets) == 0 {
		s.optional(n.bytes(), n.runes())
		return
	}
	// One set for a run of alike places makes a shorter walk.
	for i := 0; i < len(sets); {
		j := i
		u := sets[i]
		for j < len(sets) && (sets[j] == sets[i] || s.pendingMeets(u)) {
			u.or(sets[j])
			j++
		}
		s.need(u, j-i)
		if s.done {
			return
		}
		i = j
	}
	if !exact {
		s.optional(n.bytes(), n.runes())
	}
}

func (s *shaper) pendingMeets(u byteSet) bool { return s.most > 0 && s.pending.meets(u) }

func (s *shaper) optional(set byteSet, most int) {
	if s.done || most <= 0 {
		return
	}
	if s.capStart == -1 {
		s.capStart = unbounded // the secret may begin before what is needed of it
	}
	if s.closed {
		s.closed = false // what stands behind the secret may be nothing
		s.capStart = unbounded
	}
	s.pending.or(set)
	s.most = sum(s.most, most)
}

func (s *shaper) need(set byteSet, n int) {
	s.emit(need, set, min(n, longestNeed))
	if n > longestNeed {
		s.done = true
	}
}

func (s *shaper) emit(kind shapeKind, set byteSet, n int) {
	if s.done || n <= 0 {
		return
	}
	if len(s.ops) >= longestShape {
		s.done = true
		return
	}
	if s.closed {
		s.closed = false
		if !set.meets(s.capSet) {
			s.token = s.capStart
		} else {
			s.capStart = unbounded
		}
	}
	if s.lost {
		if kind != need {
			s.done = true
			return
		}
		s.insist(set, n)
		return
	}
	if s.most > 0 {
		s.ops = append(s.ops, shapeOp{skip, s.f.sets.number(s.pending), s.most})
		if s.pending.meets(set) {
			if kind == need {
				kind = loose
			} else {
				s.done = true // the end, or what is skipped: nothing to hold on to
				return
			}
		}
	}
	s.pending, s.most = byteSet{}, 0
	if s.capStart == -1 {
		s.capStart = len(s.ops) + 1
	}
	s.ops = append(s.ops, shapeOp{kind, s.f.sets.number(set), n})
	s.lost = kind == loose
	if s.lost {
		s.between, s.far = set, n+s.ops[len(s.ops)-2].n
		s.between.or(s.f.sets.at(s.ops[len(s.ops)-2].set))
	}
}

// insist asks, where the shape ends with a loose need, for this one instead when
// it is the rarer: everything up to it is skipped.
func (s *shaper) insist(set byteSet, n int) {
	s.between.or(s.pending)
	s.far = sum(s.far, s.most)
	s.pending, s.most = byteSet{}, 0
	if s.far+n > lookAhead {
		s.done = true
		return
	}
	skipped, last := &s.ops[len(s.ops)-2], &s.ops[len(s.ops)-1]
	if rarity(set, n) > rarity(s.f.sets.at(last.set), last.n) {
		skipped.set, skipped.n = s.f.sets.number(s.between), s.far
		last.set, last.n = s.f.sets.number(set), n
		s.token, s.capStart = 0, unbounded
	}
	s.between.or(set)
	s.far += n
}

// rarity is how rare n bytes of a set are. Words are short: what holds no space
// is rare when it is long.
func rarity(set byteSet, n int) float64 {
	p := min(set.chance(), 0.99)
	if !set.has(' ') {
		p = min(p, 0.85)
	}
	return -float64(n) * math.Log(p+1e-9)
}

// fixedAlt gives, for as many places as all alternatives have, what can stand
// in each; exact when all alternatives are just that long.
func fixedAlt(branches []*node) ([]byteSet, bool) {
	var out []byteSet
	exact := true
	for i, b := range branches {
		sets, e := b.fixed()
		exact = exact && e
		if i == 0 {
			out = sets
			continue
		}
		exact = exact && len(sets) == len(out)
		n := min(len(out), len(sets))
		joined := append([]byteSet(nil), out[:n]...)
		for j := range joined {
			joined[j].or(sets[j])
		}
		out = joined
	}
	return out, exact
}

// fixed gives what can stand in the first places of n; exact when n is just
// that long.
func (n *node) fixed() ([]byteSet, bool) {
	if !n.isFixed {
		n.first, n.exact = n.findFixed()
		n.isFixed = true
	}
	return n.first, n.exact
}

func (n *node) findFixed() ([]byteSet, bool) {
	switch n.op {
	case opClass:
		return []byteSet{n.bytes()}, !n.wide
	case opSeq:
		var out []byteSet
		for _, c := range n.sub {
			sets, exact := c.fixed()
			out = append(out, sets...)
			if !exact || len(out) > longestNeed {
				return out, false
			}
		}
		return out, true
	case opGroup:
		return n.sub[0].fixed()
	case opAlt:
		return fixedAlt(n.sub)
	case opRep:
		var out []byteSet
		one, exact := n.sub[0].fixed()
		if !exact && n.min > 0 {
			return one, false
		}
		for range n.min {
			out = append(out, one...)
			if len(out) > longestNeed {
				return out, false
			}
		}
		return out, n.min == n.max
	case opEmpty:
		return nil, true
	case opAssert:
		return nil, n.assert != syntax.OpEndText
	}
	return nil, false
}

// chance is about how likely a place of a word passes.
func (s *shape) chance(t *sets) float64 {
	p := 1.0
	for _, op := range s.ops {
		if op.kind == skip {
			continue
		}
		c := t.at(op.set).chance()
		for range min(op.n, 40) {
			p *= c
		}
	}
	return max(p, 1e-5)
}

// lookAhead is how many bytes from its word on a shape looks at. What would have
// to be seen beyond is taken to be there.
const lookAhead = 160

// holds reports whether the text from at on has the shape. When the shape knows
// the secret, that is text[from:to]; from is negative when it is not known.
func (s *shape) holds(t *sets, text []byte, at int) (ok bool, from, to int) {
	from = -1
	cut := len(text)-at > lookAhead
	if cut {
		text = text[:at+lookAhead]
	}
	begin := at
	for k := range s.ops {
		op := &s.ops[k]
		set := &t.all[op.set]
		switch op.kind {
		case skip:
			begin = at
			for left := op.n; at < len(text) && set.has(text[at]); at++ {
				if text[at]&0xc0 != 0x80 { // a rune begins
					left--
					if left < 0 {
						break
					}
				}
			}
			if cut && at == len(text) {
				return true, -1, 0
			}
			continue
		case need:
			if s.token == k+1 {
				from = at
			}
			end := at + op.n
			for at < min(end, len(text)) {
				if !set.has(text[at]) {
					return false, -1, 0
				}
				at++
			}
			if at < end {
				return cut, -1, 0
			}
		case loose:
			// The first run that is long enough and begins at or before at.
			run, last := 0, min(at+op.n, len(text))
			i := begin
			for ; i < last && run < op.n; i++ {
				run++
				if !set.has(text[i]) {
					run = 0
				}
			}
			if run < op.n {
				return cut && last == len(text), -1, 0
			}
			if s.token == k+1 && i-run == at {
				from = at
			}
		case ended:
			if cut && at >= len(text) {
				return true, -1, 0
			}
			if at < len(text) && !set.has(text[at]) {
				return false, -1, 0
			}
			at++
		}
		begin = at
	}
	if from < 0 {
		return true, -1, 0
	}
	set := &t.all[s.tokenSet]
	for to = from; to < len(text) && set.has(text[to]); to++ {
	}
	if cut && to == len(text) {
		return true, -1, 0
	}
	return true, from, to
}
