package match

import "sync"

// pathSet asks an expression about a path, which is done for every file of
// every commit. It looks for the words of the expression first: few paths hold
// one, and for the others the expression is not run; nor is it again for a path
// that it knows.
type pathSet struct {
	words []string // none when the expression has to be run on every path
	expr  expression
	once  sync.Once
	find  *automaton // of the words
	known pathMemo
}

// newPathSet takes expressions of which one is enough.
func newPathSet(exprs []string) *pathSet {
	p := &pathSet{expr: expression{text: either(exprs)}}
	n, err := parseNode(p.expr.text)
	if err != nil {
		return p
	}
	f := &finder{sets: newSets(), runs: newSets()}
	anchors, _ := f.anchors(n)
	for i := range anchors {
		p.words = append(p.words, anchors[i].word)
	}
	return p
}

// match reports whether the path matches.
func (p *pathSet) match(path string) bool {
	if path == "" {
		return false
	}
	if len(p.words) == 0 || !ascii(path) { // some runes fold to letters
		return p.known.get(path, p.expr.matches)
	}
	p.once.Do(func() { p.find = newAutomaton(p.words) })
	a, state := p.find, uint32(0)
	for i := range len(path) {
		state = a.next[state+uint32(a.class[path[i]])]
		if state >= a.first {
			return p.known.get(path, p.expr.matches)
		}
	}
	return false
}
