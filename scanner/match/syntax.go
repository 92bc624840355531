package match

import (
	"regexp/syntax"
	"unicode"
)

// A rule's regexp is looked at as a language of bytes: what can stand before,
// in and after a piece of every match. node is the form for that. It keeps
// alternatives and repetitions and drops what does not matter: names, greed.

type nodeOp uint8

const (
	opEmpty nodeOp = iota // matches the empty text, always
	opNever               // matches nothing
	opAssert
	opClass
	opSeq
	opAlt
	opRep
	opGroup // a capturing group
)

// unbounded is the max of a repetition without end. Sums of lengths stop there.
const unbounded = 1 << 30

type node struct {
	op       nodeOp
	assert   syntax.Op // of opAssert
	set      byteSet   // of opClass: the ASCII bytes
	wide     bool      // of opClass: also runes of several bytes, or bytes that are no UTF-8
	odd      string    // of opClass: the letters to which U+212A and U+017F fold, where it takes them
	sub      []*node
	min, max int      // of opRep
	group    int      // of opGroup
	begins   []prefix // how a match begins, when that was asked
	isFixed  bool     // first and exact are known: see fixed
	first    []byteSet
	exact    bool
}

// byteSet is a set of byte values.
type byteSet [4]uint64

func (s *byteSet) add(c byte)          { s[c>>6] |= 1 << (c & 63) }
func (s *byteSet) has(c byte) bool     { return s[c>>6]>>(c&63)&1 != 0 }
func (s *byteSet) or(o byteSet)        { s[0], s[1], s[2], s[3] = s[0]|o[0], s[1]|o[1], s[2]|o[2], s[3]|o[3] }
func (s byteSet) meets(o byteSet) bool { return s[0]&o[0]|s[1]&o[1]|s[2]&o[2]|s[3]&o[3] != 0 }
func (s byteSet) empty() bool          { return s == byteSet{} }

// highBytes are the bytes that are not ASCII.
var highBytes = byteSet{0, 0, ^uint64(0), ^uint64(0)}

// Runes that simple case folding, or strings.ToLower, takes to ASCII letters.
const (
	kelvin  = '\u212a' // folds to k, lower-cases to k
	longS   = '\u017f' // folds to s
	dottedI = '\u0130' // lower-cases to i
)

// parseNode reads a regexp as Go's regexp package does.
func parseNode(expr string) (*node, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return newNode(re), nil
}

func newNode(re *syntax.Regexp) *node {
	switch re.Op {
	case syntax.OpNoMatch:
		return &node{op: opNever}
	case syntax.OpLiteral:
		n := &node{op: opSeq}
		for _, r := range re.Rune {
			n.sub = append(n.sub, runeNode(r, re.Flags&syntax.FoldCase != 0))
		}
		return n
	case syntax.OpCharClass:
		n := &node{op: opClass}
		for i := 0; i+1 < len(re.Rune); i += 2 {
			n.addRange(re.Rune[i], re.Rune[i+1])
		}
		if n.set.empty() && !n.wide && n.odd == "" {
			return &node{op: opNever}
		}
		return n
	case syntax.OpAnyChar:
		return &node{op: opClass, set: byteSet{^uint64(0), ^uint64(0)}, wide: true, odd: "ks"}
	case syntax.OpAnyCharNotNL:
		return &node{op: opClass, set: byteSet{^uint64(0) &^ (1 << '\n'), ^uint64(0)}, wide: true, odd: "ks"}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return &node{op: opAssert, assert: re.Op}
	case syntax.OpCapture:
		return &node{op: opGroup, group: re.Cap, sub: []*node{newNode(re.Sub[0])}}
	case syntax.OpStar:
		return repeat(re.Sub[0], 0, unbounded)
	case syntax.OpPlus:
		return repeat(re.Sub[0], 1, unbounded)
	case syntax.OpQuest:
		return repeat(re.Sub[0], 0, 1)
	case syntax.OpRepeat:
		hi := re.Max
		if hi < 0 {
			hi = unbounded
		}
		return repeat(re.Sub[0], re.Min, hi)
	case syntax.OpConcat, syntax.OpAlternate:
		n := &node{op: opSeq}
		if re.Op == syntax.OpAlternate {
			n.op = opAlt
		}
		for _, s := range re.Sub {
			n.sub = append(n.sub, newNode(s))
		}
		return n
	}
	return &node{op: opEmpty} // OpEmptyMatch; the parser gives no other
}

func repeat(sub *syntax.Regexp, lo, hi int) *node {
	return &node{op: opRep, min: lo, max: hi, sub: []*node{newNode(sub)}}
}

func runeNode(r rune, fold bool) *node {
	n := &node{op: opClass}
	n.addRange(r, r)
	if fold {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			n.addRange(f, f)
		}
	}
	return n
}

func (n *node) addRange(lo, hi rune) {
	for c := lo; c <= min(hi, 0x7f); c++ {
		n.set.add(byte(c))
	}
	if hi <= 0x7f {
		return
	}
	if lo <= kelvin && kelvin <= hi {
		n.odd += "k"
	}
	if lo <= longS && longS <= hi {
		n.odd += "s"
	}
	if lo != hi || lo != kelvin && lo != longS {
		n.wide = true
	}
}

// bytes is every byte that a match of n can hold, in a text without the odd
// runes.
func (n *node) bytes() byteSet {
	s := n.set
	if n.wide {
		s.or(highBytes)
	}
	for _, c := range n.sub {
		s.or(c.bytes())
	}
	return s
}

// length gives bounds of the number of bytes of a match of n, in a text without
// the odd runes; with them a match is at most three times as long.
func (n *node) length() (lo, hi int) {
	switch n.op {
	case opClass:
		if n.wide {
			return 1, 4
		}
		return 1, 1
	case opSeq, opGroup:
		for _, c := range n.sub {
			a, b := c.length()
			lo, hi = sum(lo, a), sum(hi, b)
		}
		return lo, hi
	case opAlt:
		for i, c := range n.sub {
			a, b := c.length()
			if i == 0 || a < lo {
				lo = a
			}
			hi = max(hi, b)
		}
		return lo, hi
	case opRep:
		a, b := n.sub[0].length()
		return times(a, n.min), times(b, n.max)
	}
	return 0, 0
}

// looksBack reports whether what is before a match of n may have a say in it.
func (n *node) looksBack() bool {
	switch n.op {
	case opAssert:
		return true
	case opGroup, opRep:
		return n.sub[0].looksBack()
	case opAlt:
		for _, c := range n.sub {
			if c.looksBack() {
				return true
			}
		}
	case opSeq:
		for _, c := range n.sub {
			if c.looksBack() {
				return true
			}
			least, _ := c.length()
			if least > 0 {
				return false
			}
		}
	}
	return false
}

// runes is the most runes that a match of n can hold, in a text without the odd
// runes.
func (n *node) runes() (most int) {
	switch n.op {
	case opClass:
		return 1
	case opSeq, opGroup:
		for _, c := range n.sub {
			most = sum(most, c.runes())
		}
	case opAlt:
		for _, c := range n.sub {
			most = max(most, c.runes())
		}
	case opRep:
		return times(n.sub[0].runes(), n.max)
	}
	return most
}

func sum(a, b int) int { return min(a+b, unbounded) }

func times(a, b int) int {
	if a == 0 || b == 0 {
		return 0
	}
	if a >= unbounded || b >= unbounded || a > unbounded/b {
		return unbounded
	}
	return a * b
}
