package match

// Every match of most rules holds one of a few words. This file finds them: an
// anchor is such a word, what must stand around it, and how far a match can
// extend on both sides.

// anchor is one word of a rule.
type anchor struct {
	word   string // lower case; ASCII
	before reach  // backwards from the word's first byte
	after  reach  // from the word's first byte
	bound  bool   // a word boundary must be before the word
	shape  shape  // what must stand from the word's first byte on
}

// Bounds of the words of a rule. Longer words than the automaton needs to be
// choosy only cost memory: the shape looks at the rest.
const (
	mostWords   = 96
	longestWord = 12
	enough      = 3  // length of a word that may end where more than one byte can be next
	widestClass = 12 // different letters of one place
	deepest     = 40 // nesting of a regexp that is looked at
)

// finder looks for the anchors of one rule.
type finder struct {
	sets   *sets
	secret int // the capturing group that holds the secret
}

// anchors gives the cheapest set of words of which every match of n holds one,
// and about how much it costs a byte of text; nil when there is none.
func (f *finder) anchors(n *node) ([]anchor, float64) {
	return f.find(n, around{}, 0)
}

// around is what stands around a node: the reach of it, the nodes right
// before and all nodes behind.
type around struct {
	before, after reach
	bound         bool    // a \b is right before
	behind        []*node // in order
}

func (f *finder) find(n *node, c around, depth int) ([]anchor, float64) {
	if depth > deepest {
		return nil, 0
	}
	switch n.op {
	case opClass:
		return f.words([]*node{n}, c)
	case opGroup:
		return f.find(n.sub[0], c, depth+1)
	case opRep:
		if n.min < 1 {
			return nil, 0
		}
		// The first of the repetitions is always there.
		rest := &node{op: opRep, min: n.min - 1, max: n.max, sub: n.sub}
		if n.max < unbounded {
			rest.max--
		}
		c.behind = append([]*node{rest}, c.behind...)
		c.after = rest.reach(false, f.sets).then(c.after, f.sets)
		return f.find(n.sub[0], c, depth+1)
	case opAlt:
		var all []anchor
		cost := 0.0
		for _, s := range n.sub {
			a, w := f.find(s, c, depth+1)
			if a == nil {
				return nil, 0
			}
			all = append(all, a...)
			cost += w
			if len(all) > mostWords {
				return nil, 0
			}
		}
		return all, cost
	case opSeq:
		return f.findInSeq(n.sub, c, depth)
	}
	return nil, 0
}

func (f *finder) findInSeq(seq []*node, c around, depth int) (best []anchor, least float64) {
	before := c.before
	for i, n := range seq {
		here := around{
			before: before,
			after:  reachOf(seq[i+1:], false, f.sets).then(c.after, f.sets),
			bound:  i == 0 && c.bound || i > 0 && seq[i-1].isBoundary(),
			behind: append(append([]*node(nil), seq[i+1:]...), c.behind...),
		}
		a, w := f.words(seq[i:], around{
			before: before, bound: here.bound, behind: c.behind,
			after: c.after,
		})
		if a != nil && (best == nil || w < least) {
			best, least = a, w
		}
		a, w = f.find(n, here, depth+1)
		if a != nil && (best == nil || w < least) {
			best, least = a, w
		}
		before = n.reach(true, f.sets).then(before, f.sets)
	}
	return best, least
}

func (n *node) isBoundary() bool {
	return n.op == opAssert && n.assert == wordBoundary
}

// words gives the words with which every match of seq begins.
func (f *finder) words(seq []*node, c around) ([]anchor, float64) {
	all := append(append([]*node(nil), seq...), c.behind...)
	list := prefixes(all)
	if len(list) == 0 {
		return nil, 0
	}
	for _, p := range list {
		if len(p.text) < 2 {
			return nil, 0
		}
	}
	a := anchor{
		before: c.before, bound: c.bound,
		after: reachOf(seq, false, f.sets).then(c.after, f.sets),
		shape: f.shapeOf(all),
	}
	pass := a.shape.chance(f.sets)
	if a.bound {
		pass *= 0.5
	}
	window := 200 + a.before.cost(f.sets) + a.after.cost(f.sets)
	out := make([]anchor, 0, len(list))
	cost := 0.0
	for _, p := range list {
		one := a
		one.word = p.text
		// A boundary in the regexp asks for one before a word byte only.
		one.bound = a.bound && isWord(p.text[0])
		out = append(out, one)
		hits := 1.0
		for i := range len(p.text) {
			hits *= frequency[p.text[i]]
		}
		// Words are not random letters: no word is as rare as the product of its
		// bytes.
		cost += max(hits, 1e-7) * (1 + pass*window)
	}
	return out, cost
}

// prefix is how a match begins; whole when it can end there.
type prefix struct {
	text  string
	whole bool
}

// prefixes gives texts of which every match of seq begins with one, in lower
// case; the empty text when nothing is known.
func prefixes(seq []*node) []prefix {
	cur := []prefix{{"", true}}
	for _, n := range seq {
		open, shortest := false, longestWord
		for _, p := range cur {
			open = open || p.whole
			shortest = min(shortest, len(p.text))
		}
		if !open {
			break
		}
		next := cross(cur, n.prefixes())
		// Words that are long enough are not worth many longer ones.
		if next == nil || shortest >= enough && len(next) > len(cur) {
			for i := range cur {
				cur[i].whole = false
			}
			break
		}
		cur = next
	}
	return cur
}

// cross extends the whole ones of a by each of b; nil when that is too many.
func cross(a, b []prefix) []prefix {
	seen := map[prefix]bool{}
	var out []prefix
	for _, p := range a {
		more := b
		if !p.whole {
			more = []prefix{{"", false}}
		}
		for _, q := range more {
			x := prefix{p.text + q.text, p.whole && q.whole}
			if len(x.text) > longestWord {
				x = prefix{x.text[:longestWord], false}
			}
			if seen[x] {
				continue
			}
			seen[x] = true
			out = append(out, x)
			if len(out) > mostWords {
				return nil
			}
		}
	}
	return out
}

func (n *node) prefixes() []prefix {
	unknown := []prefix{{"", false}}
	switch n.op {
	case opClass:
		if n.wide {
			return unknown
		}
		var seen byteSet
		var out []prefix
		for c := range 128 {
			l := lower(byte(c))
			if n.set.has(byte(c)) && !seen.has(l) {
				seen.add(l)
				out = append(out, prefix{string(rune(l)), true})
			}
		}
		for _, l := range []byte(n.odd) {
			if !seen.has(l) {
				seen.add(l)
				out = append(out, prefix{string(rune(l)), true})
			}
		}
		if len(out) > widestClass || len(out) == 0 {
			return unknown
		}
		return out
	case opSeq:
		return prefixes(n.sub)
	case opGroup:
		return prefixes(n.sub)
	case opAlt:
		var out []prefix
		for _, s := range n.sub {
			out = append(out, s.prefixes()...)
			if len(out) > mostWords {
				return unknown
			}
		}
		return out
	case opRep:
		if n.max == 0 {
			return []prefix{{"", true}}
		}
		copies := max(1, min(n.min, longestWord))
		seq := make([]*node, copies)
		for i := range seq {
			seq[i] = n.sub[0]
		}
		out := append([]prefix(nil), prefixes(seq)...)
		if n.max > copies {
			for i := range out {
				out[i].whole = false
			}
		}
		if n.min == 0 {
			out = append(out, prefix{"", true})
		}
		return out
	case opNever:
		return unknown
	}
	return []prefix{{"", true}}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// frequency is about how often a byte, folded to lower case, stands in source
// text. It only decides which words are looked for.
var frequency = func() (t [256]float64) {
	for i := range t {
		t[i] = 0.003
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = 0.008
	}
	for s, f := range map[string]float64{
		" ": 0.16, "e": 0.08, "t": 0.06, "aionrs": 0.05, "ldc\n\t": 0.03, "u": 0.025, "p": 0.022,
		"mfh./": 0.02, "g_,()": 0.015, "by=:-": 0.012, "vw": 0.01, "k": 0.006, "x": 0.005, "jqz": 0.002,
	} {
		for _, c := range []byte(s) {
			t[c] = f
		}
	}
	return t
}()

// chance is about how likely a byte of s is.
func (s byteSet) chance() float64 {
	p := 0.0
	for c := range 256 {
		if s.has(byte(c)) {
			f := frequency[lower(byte(c))]
			if lower(byte(c)) != byte(c) {
				f /= 4
			}
			p += f
		}
	}
	return min(p, 1)
}
