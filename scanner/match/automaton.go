package match

// The automaton looks for all words of all rules at once, whatever their case.
// It is Aho and Corasick's, with every transition in one table: a column for
// each letter that a word holds (both cases share one), states in numbers
// already multiplied by the width of the table, and the states in which a word
// ends numbered last, so that one comparison tells whether to stop.
//
// One step waits for the step before, which leaves a core idle most of the
// time; so a long text is walked in four places in turn.
type automaton struct {
	class   [256]uint8
	next    []uint32
	first   uint32 // the first state in which a word ends
	shift   uint
	ends    [][]int32 // for those states, the words, longest first
	longest int       // word
}

// hit is the end of a word in a text: the state says which words.
type hit struct {
	end   int32
	state uint32
}

const (
	// blockBytes is walked before its hits are looked at, while they are near.
	blockBytes = 64 << 10
	// lanesFrom is the size from which four lanes pay.
	lanesFrom = 256
)

// newAutomaton builds the automaton of some words, which are lower case and not
// empty.
func newAutomaton(words []string) *automaton {
	a := &automaton{}
	classes := 1
	for _, w := range words {
		a.longest = max(a.longest, len(w))
		for _, c := range []byte(w) {
			if a.class[c] == 0 {
				a.class[c] = uint8(min(classes, 255))
				classes++
			}
		}
	}
	for c := byte('A'); c <= 'Z'; c++ {
		a.class[c] = a.class[lower(c)]
	}
	for 1<<a.shift < classes {
		a.shift++
	}
	width := 1 << a.shift

	// The tree of the words. Child 0 is none: no word ends in the root.
	tree := make([]int32, width)
	ends := [][]int32{nil}
	for i, w := range words {
		at := 0
		for _, c := range []byte(w) {
			k := at<<a.shift + int(a.class[c])
			if tree[k] == 0 {
				tree[k] = int32(len(ends))
				ends = append(ends, nil)
				tree = append(tree, make([]int32, width)...)
			}
			at = int(tree[k])
		}
		ends[at] = append(ends[at], int32(i))
	}

	// Breadth first, a state's missing transitions are those of its fallback.
	fall := make([]int32, len(ends))
	order := make([]int32, 0, len(ends))
	order = append(order, 0)
	for i := 0; i < len(order); i++ {
		at := order[i]
		row := tree[int(at)<<a.shift:][:width]
		back := tree[int(fall[at])<<a.shift:][:width]
		for c, child := range row {
			if child == 0 {
				if at != 0 {
					row[c] = back[c]
				}
				continue
			}
			if at != 0 {
				fall[child] = back[c]
			}
			order = append(order, child)
		}
		if at != 0 {
			ends[at] = append(ends[at], ends[fall[at]]...)
		}
	}
	number := make([]uint32, len(ends))
	n := uint32(0)
	for _, last := range []bool{false, true} {
		if last {
			a.first = n << a.shift
		}
		for _, at := range order {
			if (len(ends[at]) > 0) != last {
				continue
			}
			number[at] = n
			n++
			if last {
				a.ends = append(a.ends, ends[at])
			}
		}
	}
	a.next = make([]uint32, len(tree))
	for at := range ends {
		for c := range width {
			a.next[int(number[at])<<a.shift+c] = number[tree[at<<a.shift+c]] << a.shift
		}
	}
	return a
}

func (a *automaton) words(state uint32) []int32 { return a.ends[(state-a.first)>>a.shift] }

// walk appends the hits in text[from:to], in order, and gives the state in
// which it ends; state is that before from.
func (a *automaton) walk(text []byte, from, to int, state uint32, hits []hit) (uint32, []hit) {
	next, first, class := a.next, a.first, &a.class
	for i := from; i < to; i++ {
		state = next[state+uint32(class[text[i]])]
		if state >= first {
			hits = append(hits, hit{int32(i + 1), state})
		}
	}
	return state, hits
}

// walkLanes is walk for a longer text, in four lanes.
func (a *automaton) walkLanes(text []byte, from, to int, state uint32, hits *[4][]hit) uint32 {
	next, first, class := a.next, a.first, &a.class
	q := (to - from) / 4
	s0 := state
	var s1, s2, s3 uint32
	// A lane begins in the state in which it would arrive: that depends on no
	// more bytes than the longest word has.
	for i := from + q - min(q, a.longest); i < from+q; i++ {
		s1 = next[s1+uint32(class[text[i]])]
		s2 = next[s2+uint32(class[text[i+q]])]
		s3 = next[s3+uint32(class[text[i+2*q]])]
	}
	h0, h1, h2, h3 := hits[0][:0], hits[1][:0], hits[2][:0], hits[3][:0]
	b0, b1, b2, b3 := text[from:from+q], text[from+q:from+2*q], text[from+2*q:from+3*q], text[from+3*q:from+4*q]
	b1, b2, b3 = b1[:len(b0)], b2[:len(b0)], b3[:len(b0)]
	for i := range b0 {
		s0 = next[s0+uint32(class[b0[i]])]
		s1 = next[s1+uint32(class[b1[i]])]
		s2 = next[s2+uint32(class[b2[i]])]
		s3 = next[s3+uint32(class[b3[i]])]
		if s0 >= first {
			h0 = append(h0, hit{int32(from + i + 1), s0})
		}
		if s1 >= first {
			h1 = append(h1, hit{int32(from + i + 1 + q), s1})
		}
		if s2 >= first {
			h2 = append(h2, hit{int32(from + i + 1 + 2*q), s2})
		}
		if s3 >= first {
			h3 = append(h3, hit{int32(from + i + 1 + 3*q), s3})
		}
	}
	s3, h3 = a.walk(text, from+4*q, to, s3, h3)
	hits[0], hits[1], hits[2], hits[3] = h0, h1, h2, h3
	return s3
}
