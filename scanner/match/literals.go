package match

import (
	"slices"
	"strings"
	"sync"
)

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

// canBegin reports whether the word may begin with c, which is its first letter in
// one case or the other.
func (a *anchor) canBegin(t *sets, c byte) bool {
	ops := a.shape.ops
	return len(ops) == 0 || ops[0].kind != need || t.all[ops[0].set].has(c)
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
	sets   *sets // of the shapes
	runs   *sets // of the reaches
	secret int   // the capturing group that holds the secret
	single bool  // words are single bytes
}

// anchors gives the cheapest set of words of which every match of n holds one,
// and about how much it costs a byte of text; nil when there is none.
func (f *finder) anchors(n *node) ([]anchor, float64) {
	return f.find(n, around{}, 0)
}

// around is what stands around a node: the reach on both sides, and all nodes
// behind. For words, after begins with their first byte.
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
		c.after = n.reach(false, f.runs).then(c.after, f.runs)
		return f.words(append([]*node{n}, c.behind...), c)
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
		c.after = rest.reach(false, f.runs).then(c.after, f.runs)
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
	// What is behind each node.
	after := make([]reach, len(seq)+1)
	after[len(seq)] = c.after
	for i := len(seq) - 1; i >= 0; i-- {
		after[i] = seq[i].reach(false, f.runs).then(after[i+1], f.runs)
	}
	before := c.before
	all := append(append([]*node(nil), seq...), c.behind...)
	for i, n := range seq {
		// A word is looked for from its first letter on.
		if i == 0 || !n.isLetter() || !seq[i-1].isLetter() {
			bound := i == 0 && c.bound || i > 0 && seq[i-1].isBoundary()
			a, w := f.words(all[i:], around{before: before, after: after[i], bound: bound})
			if a != nil && (best == nil || w < least) {
				best, least = a, w
			}
			if n.op != opClass {
				a, w = f.find(n, around{before: before, after: after[i+1], bound: bound, behind: all[i+1:]}, depth+1)
				if a != nil && (best == nil || w < least) {
					best, least = a, w
				}
			}
		}
		before = n.reach(true, f.runs).then(before, f.runs)
	}
	return best, least
}

// isLetter reports whether n is one letter, in one case or both.
func (n *node) isLetter() bool {
	if n.op != opClass || n.wide {
		return false
	}
	seen := -1
	for c := range 0x80 {
		if n.set.has(byte(c)) {
			if seen >= 0 && int(lower(byte(c))) != seen {
				return false
			}
			seen = int(lower(byte(c)))
		}
	}
	return seen >= 0
}

func (n *node) isBoundary() bool {
	return n.op == opAssert && n.assert == wordBoundary
}

// words gives the words with which every match of all, which is all that is to
// come, begins.
func (f *finder) words(all []*node, c around) ([]anchor, float64) {
	var list []prefix
	if f.single {
		list = firsts(all)
	} else {
		list = prefixes(all, 2)
	}
	if len(list) == 0 {
		return nil, 0
	}
	a := anchor{
		before: c.before, bound: c.bound, after: c.after,
		shape: f.shapeOf(all),
	}
	pass := a.shape.chance(f.sets)
	if a.bound {
		pass *= 0.5
	}
	window := 200 + a.before.cost(f.runs) + a.after.cost(f.runs)
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
		cost += max(hits, common()[p.text], 1e-7) * (1 + pass*window)
	}
	return out, cost
}

// firsts gives the letters with which every match of seq begins, each as a word;
// none when that is not known.
func firsts(seq []*node) (out []prefix) {
	var set byteSet
	empty, ok := firstLetters(seq, &set)
	if empty || !ok {
		return nil
	}
	for c := range 0x80 {
		if set.has(byte(c)) {
			out = append(out, prefix{string(rune(c)), false})
		}
	}
	return out
}

// firstLetters adds to set, in lower case, with what a match of seq can begin.
// empty is true when one may be of no bytes, ok when the set is all.
func firstLetters(seq []*node, set *byteSet) (empty, ok bool) {
	for _, n := range seq {
		empty, ok = n.firstLetters(set)
		if !ok || !empty {
			return false, ok
		}
	}
	return true, true
}

func (n *node) firstLetters(set *byteSet) (empty, ok bool) {
	switch n.op {
	case opClass:
		for c := range 0x80 {
			if n.set.has(byte(c)) {
				set.add(lower(byte(c)))
			}
		}
		for _, c := range []byte(n.odd) {
			set.add(c)
		}
		return false, !n.wide
	case opSeq, opGroup:
		return firstLetters(n.sub, set)
	case opAlt:
		for _, s := range n.sub {
			e, ok := s.firstLetters(set)
			if !ok {
				return false, false
			}
			empty = empty || e
		}
		return empty, true
	case opRep:
		if n.max == 0 {
			return true, true
		}
		empty, ok = n.sub[0].firstLetters(set)
		return empty || n.min == 0, ok
	case opNever:
		return false, false
	}
	return true, true // what matches the empty text alone
}

// prefix is how a match begins; whole when it can end there.
type prefix struct {
	text  string
	whole bool
}

// prefixes gives texts of which every match of seq begins with one, in lower
// case; the empty text when nothing is known. It gives up, with nil, when one of
// them cannot become as long as least.
func prefixes(seq []*node, least int) []prefix {
	cur := []prefix{{"", true}}
	for _, n := range seq {
		open, shortest := false, longestWord
		for _, p := range cur {
			open = open || p.whole
			shortest = min(shortest, len(p.text))
			if !p.whole && len(p.text) < least {
				return nil
			}
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
	for _, p := range cur {
		if len(p.text) < least {
			return nil
		}
	}
	return cur
}

// cross extends the whole ones of a by each of b; nil when that is too many.
func cross(a, b []prefix) []prefix {
	out := make([]prefix, 0, len(a)*min(len(b), 8))
	for _, p := range a {
		if !p.whole {
			out = append(out, p)
			continue
		}
		for _, q := range b {
			x := prefix{p.text + q.text, p.whole && q.whole}
			if len(x.text) > longestWord {
				x = prefix{x.text[:longestWord], false}
			}
			if slices.Contains(out, x) {
				continue
			}
			if len(out) >= mostWords {
				return nil
			}
			out = append(out, x)
		}
	}
	return out
}

// prefixes gives how a match of n begins.
func (n *node) prefixes() []prefix {
	if n.begins == nil {
		n.begins = n.findPrefixes()
	}
	return n.begins
}

func (n *node) findPrefixes() []prefix {
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
		return prefixes(n.sub, 0)
	case opGroup:
		return prefixes(n.sub, 0)
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
		out := append([]prefix(nil), prefixes(seq, 0)...)
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

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// common is how often the parts of frequent words, of three bytes or more, stand in
// a byte of source text. Like frequency it only decides which words are looked for.
var common = sync.OnceValue(func() map[string]float64 {
	t := map[string]float64{}
	for rate, words := range map[float64]string{
		1000: "name string type error key",
		500:  "return data null description public test",
		250:  ":// http https client secret token value context github status false machine platform image",
		120:  "api aws access account addr attribute auth background code config default device endpoint example field file function group header host import info input interface json list message metadata method object pattern path process project provider request required resource response result server service session source state storage system update usage user validate verify version",
		50:   "action admin amazon application assert authority azure bucket certificate check cloud command connection container content contract control create credentials custom database define delete document domain duration email enabled event expect export format google identifier include index insert instance integration internal label language level license limit linux local login memory modify module monitor network node notify number operation option order org output package param password permission policy postgres private profile property query react record redis register release remote report repository role route schema search security select signature stack standard start station stream struct subscription table target template text thread time tracking transaction transfer under unit valid vector webhook window",
	} {
		for _, w := range strings.Fields(words) {
			part := map[string]bool{}
			for i := range w {
				for j := i + 3; j <= len(w); j++ {
					part[w[i:j]] = true
				}
			}
			for p := range part {
				t[p] += rate / 1e6
			}
		}
	}
	t["=="] = 1000 / 1e6
	return t
})

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
