package match

import (
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/regexp"
)

// allowlist is one of gitleaks' allowlists. What it asks of a text is made ready
// when it is asked for the first time: most are not asked in a scan.
type allowlist struct {
	and         bool   // all conditions must hold, not one
	RegexTarget string // "match", "line", or "" for the secret
	Commits     []string
	Paths       []string // expressions
	Regexes     []string
	StopWords   []string

	paths *pathSet
	// When only is not empty, a secret that holds no other byte is allowed, by
	// an expression like ^[a-z]+$, which most of what looks like a key is not.
	only byteSet

	commits func() map[string]bool // in lower case
	regex   *expression
	stop    func() *automaton
}

func newAllowlists(lists []*config.Allowlist) []*allowlist {
	var out []*allowlist
	for _, l := range lists {
		if l == nil {
			continue
		}
		a := &allowlist{
			and: l.MatchCondition == config.AllowlistMatchAnd, RegexTarget: l.RegexTarget,
			Commits: slices.Sorted(slices.Values(l.Commits)), Paths: sources(l.Paths), Regexes: sources(l.Regexes), StopWords: slices.Sorted(slices.Values(l.StopWords)),
		}
		if len(a.Paths) > 0 {
			a.paths = newPathSet(a.Paths)
		}
		for _, expr := range a.Regexes {
			only := onlySet(expr)
			if !a.and && a.RegexTarget == "" && !only.empty() {
				a.only = only
			}
		}
		a.prepare()
		out = append(out, a)
	}
	return out
}

// prepare sets what follows from the rest.
func (a *allowlist) prepare() {
	if len(a.Regexes) > 0 {
		a.regex = &expression{text: either(a.Regexes)}
	}
	a.commits = sync.OnceValue(func() map[string]bool {
		m := map[string]bool{}
		for _, c := range a.Commits {
			m[strings.TrimSpace(strings.ToLower(c))] = true
		}
		return m
	})
	a.stop = sync.OnceValue(func() *automaton {
		var words []string
		for _, w := range a.StopWords {
			if w != "" {
				words = append(words, strings.ToLower(w))
			}
		}
		return newAutomaton(words)
	})
}

// either joins expressions of which one is enough, as gitleaks does: a flag such
// as (?i) in one then holds for those behind it.
func either(exprs []string) string { return "(?:" + strings.Join(exprs, "|") + ")" }

// stops reports whether a text holds one of the stopwords.
func (a *allowlist) stops(text string) bool {
	words, state := a.stop(), uint32(0)
	text = strings.ToLower(text)
	for i := range len(text) {
		state = words.next[state+uint32(words.class[text[i]])]
		if state >= words.first {
			return true
		}
	}
	return false
}

func (a *allowlist) regexAllowed(text string) bool {
	return text != "" && a.regex != nil && a.regex.matches(text)
}

func (a *allowlist) commitAllowed(commit string) bool {
	return commit != "" && len(a.Commits) > 0 && a.commits()[strings.ToLower(commit)]
}

// sources gives the text of expressions.
func sources(list []*regexp.Regexp) []string {
	out := make([]string, len(list))
	for i, re := range list {
		out[i] = re.String()
	}
	return out
}

// onlySet is the set of an expression ^[set]+$; else it is empty.
func onlySet(expr string) byteSet {
	n, err := parseNode(expr)
	if err != nil || n.op != opSeq || len(n.sub) != 3 || !n.sub[0].isText(false) || !n.sub[2].isText(true) {
		return byteSet{}
	}
	c := n.sub[1]
	if c.op != opRep || c.min != 1 || c.max != unbounded || c.sub[0].op != opClass || c.sub[0].wide {
		return byteSet{}
	}
	return c.sub[0].set
}

// isText reports whether n is the end, or else the begin, of the text.
func (n *node) isText(end bool) bool {
	if end {
		return n.op == opAssert && n.assert == syntax.OpEndText
	}
	return n.op == opAssert && n.assert == syntax.OpBeginText
}
