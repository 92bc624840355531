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

// branch is a node of the tree of the words; 0, the root, is nobody's child.
type branch struct {
	child, next int32 // the first child, and the next of the same parent
	fall        int32 // where the longest end of this one's text begins a word, too
	word        int32 // that ends here, plus one
	class       uint8
	number      uint32 // of the state
	ends        []int32
}

// newAutomaton builds the automaton of some words, which are lower case, not
// empty and different: of equal ones the first is seen.
func newAutomaton(words []string) *automaton {
	a := &automaton{}
	classes, letters := 1, 1
	for _, w := range words {
		a.longest = max(a.longest, len(w))
		letters += len(w)
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
	tree := a.tree(words, letters)
	order := breadthFirst(tree)

	n := uint32(0)
	for _, last := range []bool{false, true} {
		if last {
			a.first = n << a.shift
		}
		for _, at := range order {
			if (len(tree[at].ends) > 0) != last {
				continue
			}
			tree[at].number = n
			n++
			if last {
				a.ends = append(a.ends, tree[at].ends)
			}
		}
	}
	// A state's missing transitions are those of its fallback, which comes first.
	a.next = make([]uint32, int(n)<<a.shift)
	for _, at := range order {
		row := a.next[tree[at].number<<a.shift:][:1<<a.shift]
		if at != 0 {
			copy(row, a.next[tree[tree[at].fall].number<<a.shift:][:1<<a.shift])
		}
		for c := tree[at].child; c != 0; c = tree[c].next {
			row[tree[c].class] = tree[c].number << a.shift
		}
	}
	return a
}

// tree puts the words, which have so many letters at most, into a tree.
func (a *automaton) tree(words []string, letters int) []branch {
	tree := make([]branch, 1, letters)
	for i, w := range words {
		at := int32(0)
		for _, c := range []byte(w) {
			child := find(tree, at, a.class[c])
			if child == 0 {
				child = int32(len(tree))
				tree = append(tree, branch{class: a.class[c], next: tree[at].child})
				tree[at].child = child
			}
			at = child
		}
		if tree[at].word == 0 {
			tree[at].word = int32(i) + 1
		}
	}
	return tree
}

// find is the child of a node by its letter; 0 for none.
func find(tree []branch, at int32, class uint8) int32 {
	c := tree[at].child
	for c != 0 && tree[c].class != class {
		c = tree[c].next
	}
	return c
}

// breadthFirst sets what each node falls back to and the words that end there,
// longest first, and gives the nodes in that order.
func breadthFirst(tree []branch) []int32 {
	order := make([]int32, 1, len(tree))
	for i := 0; i < len(order); i++ {
		at := order[i]
		for c := tree[at].child; c != 0; c = tree[c].next {
			if at != 0 {
				f, to := tree[at].fall, int32(0)
				for {
					to = find(tree, f, tree[c].class)
					if to != 0 || f == 0 {
						break
					}
					f = tree[f].fall
				}
				tree[c].fall = to
			}
			n := &tree[c]
			n.ends = tree[n.fall].ends
			if n.word != 0 {
				n.ends = append([]int32{n.word - 1}, n.ends...)
			}
			order = append(order, c)
		}
	}
	return order
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
