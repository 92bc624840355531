package match

import (
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zricethezav/gitleaks/v8/config"
)

// program is a configuration made ready: every rule with the words by which its
// matches are found, and the one automaton that looks for all of them. It does
// not change, and any number of scans may use it at once.
type program struct {
	cfg        config.Config
	rules      []*rule // those with a regexp, by id
	pathOnly   []*rule
	pathWords  bool  // one of those asks for a keyword
	always     []int // numbers of rules that no word announces
	words      *automaton
	uses       [][]use      // for each word
	flat       []*use       // all of them, by their number
	sets       *sets        // of the shapes
	runs       *sets        // of the reaches
	allowlists []*allowlist // the global ones
	memo       *memo
	depth      int  // passes of decoding
	honour     bool // "gitleaks:allow" comments
}

// use says what a word means for one rule: a place where a match can be, or,
// without an anchor, that the rule's keyword is there.
type use struct {
	rule   int
	anchor *anchor
	length int // of the word
	number uint32
}

// rule is one rule of the configuration.
type rule struct {
	config.Rule
	number  int
	generic bool // yields to rules that are not

	// windowed is false for a rule that has to see the whole text. It is run
	// when one of its keywords is there, or always.
	windowed bool
	anchors  []anchor
	// late are the anchors, each a single byte, of a rule that its keywords
	// announce; none when the whole text has to be seen.
	late []anchor
	// implied: no match is without a keyword, so that none has to be looked for.
	implied bool
	// starts: a match begins with a word, and is not empty, and nothing before it
	// has a say.
	starts     bool
	groups     int // of the expression
	allowlists []*allowlist
	places     bool // some allowlist asks for a path or a commit
	byLine     bool // some allowlist, or the comment, asks for the line
	path       *pathSet
	lazy       func() *lazy // the automaton of the expression, nil for none
}

// mayMatch reports whether the rule's expression may match in a text; a no is
// certain.
func (r *rule) mayMatch(text []byte) bool {
	l := r.lazy()
	return l == nil || l.matches(text)
}

// compile makes a program of cfg. It never fails: what cannot be taken apart is
// run as gitleaks runs it.
func compile(cfg config.Config, depth int, honour bool) *program {
	p := &program{cfg: cfg, sets: newSets(), runs: newSets(), memo: newMemo(), depth: depth, honour: honour}
	p.allowlists = newAllowlists(cfg.Allowlists)
	ids := make([]string, 0, len(cfg.Rules))
	for id := range cfg.Rules {
		ids = append(ids, id)
	}
	sort.Strings(ids)
	number := map[string]int{}
	var words []string
	add := func(word string, u use) {
		n, ok := number[word]
		if !ok {
			n = len(words)
			number[word] = n
			words = append(words, word)
			p.uses = append(p.uses, nil)
		}
		u.length = len(word)
		p.uses[n] = append(p.uses[n], u)
	}
	for _, id := range ids {
		r := &rule{Rule: cfg.Rules[id]}
		if r.SkipReport {
			continue // it only serves rules that require it, and gitleaks itself runs those
		}
		r.generic = isGeneric(r.RuleID)
		r.allowlists = newAllowlists(r.Allowlists)
		r.byLine = honour
		for _, a := range r.allowlists {
			r.places = r.places || len(a.Paths) > 0 || len(a.Commits) > 0
			r.byLine = r.byLine || a.RegexTarget == "line"
		}
		for _, a := range p.allowlists {
			r.byLine = r.byLine || a.RegexTarget == "line"
		}
		if r.Path != nil {
			r.path = newPathSet([]string{r.Path.String()}, r.Path.MatchString)
		}
		if r.Regex == nil {
			if r.Path != nil {
				p.pathOnly = append(p.pathOnly, r)
				p.pathWords = p.pathWords || len(r.Keywords) > 0
			}
			continue
		}
		r.number, r.groups = len(p.rules), r.Regex.NumSubexp()
		r.lazy = sync.OnceValue(func() *lazy { return newLazy(r.Regex.String()) })
		p.rules = append(p.rules, r)
	}
	p.findAllAnchors()
	for _, r := range p.rules {
		switch {
		case r.windowed:
			for i := range r.anchors {
				add(r.anchors[i].word, use{rule: r.number, anchor: &r.anchors[i]})
			}
		case announced(r.Keywords):
			for _, k := range r.Keywords {
				k = strings.ToLower(k)
				add(k[:min(len(k), longestWord)], use{rule: r.number})
			}
		default:
			p.always = append(p.always, r.number)
		}
	}
	p.words = newAutomaton(words)
	for _, list := range p.uses {
		for i := range list {
			list[i].number = uint32(len(p.flat))
			p.flat = append(p.flat, &list[i])
		}
	}
	return p
}

// findAllAnchors takes every rule's expression apart, on all cores: that is most
// of the work of compiling.
func (p *program) findAllAnchors() {
	var next atomic.Int64
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(p.rules) {
					return
				}
				p.findAnchors(p.rules[i])
			}
		})
	}
	running.Wait()
}

// announced reports whether the automaton can look for all the keywords.
func announced(keywords []string) bool {
	for _, k := range keywords {
		if k == "" || !ascii(k) {
			return false
		}
	}
	return len(keywords) > 0
}

func ascii[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func (p *program) findAnchors(r *rule) {
	n, err := parseNode(r.Regex.String())
	if err != nil {
		return // a regexp that another engine compiled
	}
	f := &finder{sets: p.sets, runs: p.runs, secret: max(1, r.SecretGroup)}
	anchors, cost := f.anchors(n)
	// A rule without a good word is better announced by its keywords, if those
	// are rare: then its regexp sees a whole text once in a long while.
	if anchors == nil || cost > 3 && announced(r.Keywords) {
		if !announced(r.Keywords) {
			return
		}
		f.single = true
		anchors, cost = f.anchors(n)
		if anchors != nil && cost < 3 {
			r.late = anchors
		}
		return
	}
	r.windowed, r.anchors = true, anchors
	least, _ := n.length()
	r.starts = least > 0 && !n.looksBack()
	for i := range anchors {
		r.starts = r.starts && len(anchors[i].before) == 0
	}
	r.implied = true
	for i := range anchors {
		holds := func(k string) bool { return strings.Contains(anchors[i].word, strings.ToLower(k)) }
		r.implied = r.implied && slices.ContainsFunc(r.Keywords, holds)
	}
	r.implied = r.implied || len(r.Keywords) == 0
}
