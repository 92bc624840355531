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

// lazy says whether an expression matches anywhere in a text, which for most
// windows it does not. It is a deterministic automaton that is made while it
// runs, one state for each set of places in the expression that were met, so
// that a byte costs one look into a table. regexp, which tracks the set itself,
// takes some thirty times as long.
//
// States are shared by all goroutines: what is read is atomic, what is written
// is written under the mutex.
type lazy struct {
	prog  *syntax.Prog
	ascii [utf8.RuneSelf]uint8
	from  []rune // where classes begin, in order
	reps  []rune // one rune of each class
	end   int    // the class of the end of the text

	begin atomic.Pointer[lazyState]
	off   atomic.Bool  // too many states to be of use
	read  atomic.Int64 // bytes of all texts

	mu     sync.Mutex
	states map[string]*lazyState
	made   int64 // transitions
	work   struct {
		next, stack []uint32
		in          []bool
	}
}

type lazyState struct {
	next  []atomic.Pointer[lazyState] // for each class
	pcs   []uint32
	prev  rune // the rune before, or one like it; -1 at the begin
	match bool
}

const (
	mostClasses    = 120
	mostLazyStates = 3000 // of one expression; then it starts over
	mostProg       = 20_000
)

// newLazy makes the automaton of an expression; nil when it is not worth it.
func newLazy(expr string) *lazy {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > mostProg {
		return nil
	}
	l := &lazy{prog: prog, states: map[string]*lazyState{}}
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
		return nil
	}
	for r := range bounds {
		l.from = append(l.from, r)
	}
	slices.Sort(l.from)
	l.reps = l.from
	l.end = len(l.from)
	for c := range l.ascii {
		l.ascii[c] = uint8(l.class(rune(c)))
	}
	l.work.in = make([]bool, len(prog.Inst))
	return l
}

func (l *lazy) class(r rune) int {
	n, found := slices.BinarySearch(l.from, r)
	if found {
		return n
	}
	return n - 1
}

// matches reports whether there may be a match in text. A no is certain; a yes
// is, unless the automaton was given up.
func (l *lazy) matches(text []byte) bool {
	if l.off.Load() {
		return true
	}
	l.read.Add(int64(len(text)))
	s := l.begin.Load()
	if s == nil {
		s = l.start()
	}
	for i := 0; i < len(text); {
		c := text[i]
		class := 0
		if c < utf8.RuneSelf {
			class = int(l.ascii[c])
			i++
		} else {
			r, size := utf8.DecodeRune(text[i:])
			class = l.class(r)
			i += size
		}
		n := s.next[class].Load()
		if n == nil {
			n = l.step(s, class)
			if n == nil {
				return true
			}
		}
		if n.match {
			return true
		}
		s = n
	}
	n := s.next[l.end].Load()
	if n == nil {
		n = l.step(s, l.end)
	}
	return n == nil || n.match
}

func (l *lazy) start() *lazyState {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.begin.Load()
	if s == nil {
		s = l.state(nil, -1, false)
		l.begin.Store(s)
	}
	return s
}

// step makes the state to which class leads from s; nil when it is time to give
// up.
func (l *lazy) step(s *lazyState, class int) *lazyState {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := s.next[class].Load()
	if n != nil {
		return n
	}
	l.made++
	if l.made > mostLazyStates && l.made*16 > l.read.Load() {
		l.off.Store(true)
		l.states = nil
		return nil
	}
	w := &l.work
	w.next = w.next[:0]
	clear(w.in)
	w.stack = append(w.stack[:0], uint32(l.prog.Start))
	w.stack = append(w.stack, s.pcs...)
	rune1 := rune(-1)
	if class != l.end {
		rune1 = l.reps[class]
	}
	allowed := syntax.EmptyOpContext(s.prev, rune1)
	match := false
	for len(w.stack) > 0 {
		pc := w.stack[len(w.stack)-1]
		w.stack = w.stack[:len(w.stack)-1]
		if w.in[pc] {
			continue
		}
		w.in[pc] = true
		in := &l.prog.Inst[pc]
		switch in.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			w.stack = append(w.stack, in.Out, in.Arg)
		case syntax.InstNop, syntax.InstCapture:
			w.stack = append(w.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^allowed == 0 {
				w.stack = append(w.stack, in.Out)
			}
		case syntax.InstMatch:
			match = true
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			if class != l.end && in.MatchRune(rune1) {
				w.next = append(w.next, in.Out)
			}
		case syntax.InstFail:
		}
	}
	if match {
		w.next = w.next[:0]
	}
	n = l.state(w.next, rune1, match)
	s.next[class].Store(n)
	return n
}

// state gives the state of a set of places in the expression.
func (l *lazy) state(pcs []uint32, prev rune, match bool) *lazyState {
	slices.Sort(pcs)
	pcs = slices.Compact(pcs)
	switch { // one rune of each kind that assertions tell apart
	case prev < 0 || prev == '\n':
	case isWord(byte(prev)) && prev < utf8.RuneSelf:
		prev = 'a'
	default:
		prev = ' '
	}
	key := binary.AppendVarint(nil, int64(prev))
	for _, pc := range pcs {
		key = binary.AppendUvarint(key, uint64(pc))
	}
	if match {
		key = []byte("match")
	}
	s := l.states[string(key)]
	if s != nil {
		return s
	}
	if len(l.states) >= mostLazyStates {
		// The old ones live on as long as somebody walks them.
		l.states = map[string]*lazyState{}
		l.begin.Store(nil)
	}
	s = &lazyState{next: make([]atomic.Pointer[lazyState], l.end+1), pcs: slices.Clone(pcs), prev: prev, match: match}
	l.states[string(key)] = s
	return s
}
