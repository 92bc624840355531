package match

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// dfa finds where an expression matches, just as regexp does, but what groups
// hold. It is a pair of deterministic automata that are made while they run, one
// state for each list of places in the expression that were met, so that a byte
// costs one look into a table; regexp, which keeps such a list itself, takes some
// thirty times as long.
//
// The first automaton reads forwards and gives the end of the leftmost match that
// the order of alternatives prefers. Its lists are in that order, and what stands
// behind a match in one is dropped. The second reads backwards from there and
// gives the begin: of all matches that end there the leftmost match is the
// longest.
type dfa struct {
	alphabet
	expr  string
	empty bool // it matches the empty text
	forth half
	once  sync.Once
	back  half // made when it is needed
}

// alphabet are the classes of runes that no part of an expression tells apart.
type alphabet struct {
	ascii [utf8.RuneSelf]uint8
	from  []rune  // where runes begin that are of one class, in order
	of    []uint8 // and which class that is
	like  []rune  // one rune of each class
	end   int     // the class of the end of the text
}

// half is one of the automata. States are shared by all goroutines: what is read
// is atomic, what is written is written under the mutex.
type half struct {
	prog      *syntax.Prog
	backwards bool
	classes   *alphabet

	begin [4]atomic.Pointer[dfaState] // by the kind of rune that stands before
	off   atomic.Bool                 // too many states to be of use
	read  atomic.Int64                // bytes of all texts

	size   atomic.Int64 // of the states, in bytes
	mu     sync.Mutex
	known  bool // to the budget
	states map[string]*dfaState
	made   int64 // transitions
	work   struct {
		next, stack []uint32
		in, listed  []bool
	}
}

// dfaState is what is known at a place in a text.
type dfaState struct {
	next []atomic.Pointer[dfaState] // for each class
	pcs  []uint32                   // in the order of preference
	prev rune                       // the rune read last, or one like it; -1 at the end of the text
	// A match ends in front of the rune read last.
	match bool
	// There was a match, so that none is to begin any more.
	found bool
	// stop: a match ends here, or nothing can come any more.
	stop bool
}

const (
	mostClasses   = 120
	mostDFAStates = 3000 // of one automaton; then it starts over
	mostProg      = 20_000
	// A transition takes about as long to make as regexp takes for so many bytes.
	fewestBytes = 4
)

// newDFA makes the automata of an expression; nil when they are not worth it.
func newDFA(expr string) *dfa {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	least, _ := newNode(re).length()
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > mostProg {
		return nil
	}
	d := &dfa{expr: expr, empty: least == 0}
	if !d.learn(prog) {
		return nil
	}
	d.forth = half{prog: prog, classes: &d.alphabet}
	return d
}

// turn makes the automaton that reads backwards.
func (d *dfa) turn() {
	d.back.classes, d.back.backwards = &d.alphabet, true
	re, err := syntax.Parse(d.expr, syntax.Perl)
	if err == nil {
		d.back.prog, err = syntax.Compile(reversed(re).Simplify())
	}
	d.back.off.Store(err != nil)
}

// reversed turns an expression around: what it matches is what re matches, read
// backwards. Assertions stay what they are.
func reversed(re *syntax.Regexp) *syntax.Regexp {
	switch re.Op {
	case syntax.OpLiteral:
		slices.Reverse(re.Rune)
	case syntax.OpConcat:
		slices.Reverse(re.Sub)
	}
	for i := range re.Sub {
		re.Sub[i] = reversed(re.Sub[i])
	}
	return re
}

// learn finds the classes of runes; false when there are too many.
func (a *alphabet) learn(prog *syntax.Prog) bool {
	bounds := map[rune]bool{0: true, '\n': true, '\n' + 1: true, '0': true, '9' + 1: true, 'A': true, 'Z' + 1: true, '_': true, '_' + 1: true, 'a': true, 'z' + 1: true, utf8.RuneSelf: true}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		if in.Op != syntax.InstRune && in.Op != syntax.InstRune1 {
			continue
		}
		if len(in.Rune) == 1 {
			r := in.Rune[0]
			bounds[r], bounds[r+1] = true, true
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				bounds[f], bounds[f+1] = true, true
			}
			continue
		}
		for k := 0; k+1 < len(in.Rune); k += 2 {
			bounds[in.Rune[k]], bounds[in.Rune[k+1]+1] = true, true
		}
	}
	if len(bounds) > mostClasses {
		return false
	}
	for r := range bounds {
		a.from = append(a.from, r)
	}
	slices.Sort(a.from)
	// Runes are alike when every part of the expression takes both or neither, and
	// so does every assertion.
	var key []byte
	seen := map[string]bool{}
	marks := make([][]byte, len(a.from))
	for i, r := range a.from {
		marks[i] = append(marks[i], byte(kindOf(r)))
	}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		if in.Op != syntax.InstRune && in.Op != syntax.InstRune1 {
			continue
		}
		key = binary.LittleEndian.AppendUint32(key[:0], in.Arg) // how case counts
		for _, r := range in.Rune {
			key = binary.LittleEndian.AppendUint32(key, uint32(r))
		}
		if seen[string(key)] {
			continue
		}
		seen[string(key)] = true
		for k, r := range a.from {
			mark := byte(0)
			if in.MatchRune(r) {
				mark = 1
			}
			marks[k] = append(marks[k], mark)
		}
	}
	classes := map[string]uint8{}
	for i, m := range marks {
		c, ok := classes[string(m)]
		if !ok {
			c = uint8(len(a.like))
			classes[string(m)] = c
			a.like = append(a.like, a.from[i])
		}
		a.of = append(a.of, c)
	}
	a.end = len(a.like)
	for c := range a.ascii {
		a.ascii[c] = uint8(a.class(rune(c)))
	}
	return true
}

func (a *alphabet) class(r rune) int {
	n, found := slices.BinarySearch(a.from, r)
	if !found {
		n--
	}
	return int(a.of[n])
}

// matches reports whether there is a match in text. Not ok when regexp has to
// tell.
func (d *dfa) matches(text []byte) (yes, ok bool) {
	end, ok := d.forth.ends(text, 0, true)
	return end >= 0, ok
}

// find gives the leftmost match in text that begins at from or behind it; it is
// negative when there is none. What stands before from counts for assertions. Not
// ok when regexp has to tell.
func (d *dfa) find(text []byte, from int) (m extent, ok bool) {
	m = extent{-1, -1}
	if d.empty {
		return m, false
	}
	m.end, ok = d.forth.ends(text, from, false)
	if !ok || m.end < 0 {
		return m, ok
	}
	d.once.Do(d.turn)
	m.start, ok = d.back.begins(text, from, m.end)
	return m, ok
}

// ends is the end of the leftmost match from from on, or of any when one is
// enough; negative when there is none.
func (h *half) ends(text []byte, from int, any bool) (end int, ok bool) {
	if h.off.Load() {
		return -1, false
	}
	end = -1
	prev := rune(-1)
	if from > 0 {
		prev, _ = utf8.DecodeLastRune(text[:from])
	}
	s := h.start(prev)
	i := from
	for i < len(text) {
		class, size := 0, 1
		if c := text[i]; c < utf8.RuneSelf {
			class = int(h.classes.ascii[c])
		} else {
			var r rune
			r, size = utf8.DecodeRune(text[i:])
			class = h.classes.class(r)
		}
		n := s.next[class].Load()
		if n == nil {
			n = h.step(s, class)
			if n == nil {
				return -1, false
			}
		}
		if n.stop {
			if n.match {
				end = i
			}
			if any && n.match || len(n.pcs) == 0 {
				h.read.Add(int64(i - from))
				return end, true
			}
		}
		s = n
		i += size
	}
	h.read.Add(int64(len(text) - from))
	n := h.last(s, h.classes.end)
	if n == nil {
		return -1, false
	}
	if n.match {
		end = len(text)
	}
	return end, true
}

// begins is where the longest match begins that ends at end, not before from.
func (h *half) begins(text []byte, from, end int) (start int, ok bool) {
	if h.off.Load() {
		return -1, false
	}
	start = -1
	h.read.Add(int64(end - from))
	prev := rune(-1)
	if end < len(text) {
		prev, _ = utf8.DecodeRune(text[end:])
	}
	s := h.start(prev)
	i := end
	for i > from {
		class, size := 0, 1
		if c := text[i-1]; c < utf8.RuneSelf {
			class = int(h.classes.ascii[c])
		} else {
			var r rune
			r, size = utf8.DecodeLastRune(text[from:i])
			class = h.classes.class(r)
		}
		n := h.last(s, class)
		if n == nil {
			return -1, false
		}
		if n.match {
			start = i
		}
		if len(n.pcs) == 0 {
			return start, start >= 0
		}
		s = n
		i -= size
	}
	class := h.classes.end
	if from > 0 {
		r, _ := utf8.DecodeLastRune(text[:from])
		class = h.classes.class(r)
	}
	n := h.last(s, class)
	if n == nil {
		return -1, false
	}
	if n.match {
		start = from
	}
	return start, start >= 0
}

// last is the state to which class leads from s; nil when it is time to give up.
func (h *half) last(s *dfaState, class int) *dfaState {
	n := s.next[class].Load()
	if n == nil {
		n = h.step(s, class)
	}
	return n
}

// kindOf tells runes apart as assertions do, and rune of them is one of each kind.
func kindOf(prev rune) int {
	switch {
	case prev < 0:
		return 0
	case prev == '\n':
		return 1
	case prev < utf8.RuneSelf && isWord(byte(prev)):
		return 2
	}
	return 3
}

var runeOf = [4]rune{-1, '\n', 'a', ' '}

func (h *half) start(prev rune) *dfaState {
	kind := kindOf(prev)
	s := h.begin[kind].Load()
	if s != nil {
		return s
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.begin[kind].Load()
	if s == nil {
		var pcs []uint32
		if h.backwards {
			pcs = []uint32{uint32(h.prog.Start)}
		}
		s = h.state(pcs, kind, false, h.backwards)
		h.begin[kind].Store(s)
	}
	return s
}

// step makes the state to which class leads from s.
func (h *half) step(s *dfaState, class int) *dfaState {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := s.next[class].Load()
	if n != nil {
		return n
	}
	h.made++
	if h.made > mostDFAStates && h.made*fewestBytes > h.read.Load() {
		h.off.Store(true)
		h.states = nil
		return nil
	}
	w := &h.work
	if w.in == nil {
		w.in, w.listed = make([]bool, len(h.prog.Inst)), make([]bool, len(h.prog.Inst))
	}
	w.next = w.next[:0]
	clear(w.in)
	clear(w.listed)
	// The top of the stack is looked at first.
	w.stack = w.stack[:0]
	if !s.found {
		w.stack = append(w.stack, uint32(h.prog.Start))
	}
	for i := len(s.pcs) - 1; i >= 0; i-- {
		w.stack = append(w.stack, s.pcs[i])
	}
	rune1 := rune(-1)
	if class != h.classes.end {
		rune1 = h.classes.like[class]
	}
	allowed := syntax.EmptyOpContext(s.prev, rune1)
	if h.backwards {
		allowed = syntax.EmptyOpContext(rune1, s.prev)
	}
	match := false
	for len(w.stack) > 0 {
		pc := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.in[pc] {
			continue
		}
		w.in[pc] = true
		in := &h.prog.Inst[pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			w.stack = append(w.stack, in.Arg, in.Out)
		case syntax.InstNop, syntax.InstCapture:
			w.stack = append(w.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^allowed == 0 {
				w.stack = append(w.stack, in.Out)
			}
		case syntax.InstMatch:
			match = true
			if !h.backwards {
				w.stack = w.stack[:0]
			}
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if class != h.classes.end && !w.listed[in.Out] && in.MatchRune(rune1) {
				w.listed[in.Out] = true
				w.next = append(w.next, in.Out)
			}
		case syntax.InstFail:
		}
	}
	if h.backwards {
		slices.Sort(w.next) // all are alike
	}
	n = h.state(w.next, kindOf(rune1), match, s.found || match)
	s.next[class].Store(n)
	return n
}

// state gives the state of a list of places in the expression.
func (h *half) state(pcs []uint32, prev int, match, found bool) *dfaState {
	head := byte(prev)
	if match {
		head |= 4
	}
	if found {
		head |= 8
	}
	key := make([]byte, 1, 1+2*len(pcs))
	key[0] = head
	for _, pc := range pcs {
		key = binary.AppendUvarint(key, uint64(pc))
	}
	s := h.states[string(key)]
	if s != nil {
		return s
	}
	if h.states == nil || len(h.states) >= mostDFAStates {
		// The old ones live on as long as somebody walks them.
		h.forget()
		h.states = map[string]*dfaState{}
	}
	s = &dfaState{
		next: make([]atomic.Pointer[dfaState], h.classes.end+1), pcs: slices.Clone(pcs), prev: runeOf[prev],
		match: match, found: found, stop: match || found && len(pcs) == 0,
	}
	h.states[string(key)] = s
	automata.spend(h, int64(8*len(s.next)+4*len(pcs)+len(key)+stateBytes))
	return s
}

// forget lets go of all states. Those that somebody walks live on until then.
func (h *half) forget() {
	h.states = nil
	for i := range h.begin {
		h.begin[i].Store(nil)
	}
	h.size.Store(0)
}
