package match

import "strings"

// pathSet asks an expression about a path, which is done for every file of
// every commit. It looks for the words of the expression first: few paths hold
// one, and for the others the expression is not run; nor is it again for a path
// that it knows.
type pathSet struct {
	words   *automaton // nil when the expression has to be run on every path
	matches func(path string) bool
	known   pathMemo
}

// newPathSet takes expressions of which one is enough, and matches, which says
// whether one does. gitleaks joins expressions with "|", and a flag such as
// (?i) in one then holds for those behind it; so they are joined here, too.
func newPathSet(exprs []string, matches func(path string) bool) *pathSet {
	p := &pathSet{matches: matches}
	n, err := parseNode("(?:" + strings.Join(exprs, "|") + ")")
	if err != nil {
		return p
	}
	f := &finder{sets: newSets(), runs: newSets()}
	anchors, _ := f.anchors(n)
	if len(anchors) == 0 {
		return p
	}
	words := make([]string, len(anchors))
	for i := range anchors {
		words[i] = anchors[i].word
	}
	p.words = newAutomaton(words)
	return p
}

// match reports whether the path matches.
func (p *pathSet) match(path string) bool {
	if path == "" {
		return false
	}
	if p.words == nil || !ascii(path) { // some runes fold to letters
		return p.known.get(path, p.matches)
	}
	a, state := p.words, uint32(0)
	for i := range len(path) {
		state = a.next[state+uint32(a.class[path[i]])]
		if state >= a.first {
			return p.known.get(path, p.matches)
		}
	}
	return false
}
