package match

import (
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zricethezav/gitleaks/v8/config"
)

// program is a configuration made ready: every rule with the words by which its
// matches are found, and the one automaton that looks for all of them. It does
// not change, and any number of scans may use it at once.
type program struct {
	file       string       // the path of the configuration, which is not looked at; mostly ""
	rules      []*rule      // those with a regexp, by id
	pathOnly   []*rule      // the others
	allowlists []*allowlist // the global ones
	sets       *sets        // of the shapes
	runs       *sets        // of the reaches

	// What follows from these.
	pathWords bool  // a rule without a regexp asks for a keyword
	always    []int // numbers of rules that no word announces
	words     *automaton
	uses      [][]use // for each word
	flat      []*use  // all of them, by their number
	memo      *memo
	depth     int  // passes of decoding
	honour    bool // "gitleaks:allow" comments
}

// use says what a word means for one rule: a place where a match can be, or,
// without an anchor, that the rule's keyword is there.
type use struct {
	rule   int
	anchor *anchor
	length int  // of the word
	first  byte // of the word, when it is a letter that stands in one case only; 0 otherwise
	number uint32
}

// rule is one rule of the configuration.
type rule struct {
	RuleID      string
	Description string
	Entropy     float64
	SecretGroup int
	Regex       *expression // nil for none, as Path
	Path        *expression
	Tags        []string
	Keywords    []string
	requires    bool // other rules
	allowlists  []*allowlist
	path        *pathSet // of Path
	groups      int      // of Regex

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
	starts bool

	// What follows from these.
	number  int
	generic bool // yields to rules that are not
	places  bool // some allowlist asks for a path or a commit
	byLine  bool // some allowlist, or the comment, asks for the line
	// of late, and the bytes with which their places begin
	lateUses  []*use
	lateFirst byteSet
	lateBytes []byte
}

// analyse finds out about the rules of cfg what does not depend on options. All
// of it can be written down: see [Plan]. It never fails: what cannot be taken
// apart is run as gitleaks runs it.
func analyse(cfg config.Config) *program {
	p := &program{file: cfg.Path, sets: newSets(), runs: newSets(), allowlists: newAllowlists(cfg.Allowlists)}
	for _, id := range slices.Sorted(maps.Keys(cfg.Rules)) {
		c := cfg.Rules[id]
		if c.SkipReport {
			continue // it only serves rules that require it, and gitleaks itself runs those
		}
		r := &rule{
			RuleID: c.RuleID, Description: c.Description, Entropy: c.Entropy, SecretGroup: c.SecretGroup,
			Regex: newExpression(c.Regex), Path: newExpression(c.Path), Tags: c.Tags, Keywords: c.Keywords,
			requires: len(c.RequiredRules) > 0, allowlists: newAllowlists(c.Allowlists),
		}
		if r.Path != nil {
			r.path = newPathSet([]string{r.Path.text})
		}
		switch {
		case r.Regex != nil:
			r.groups = c.Regex.NumSubexp()
			p.rules = append(p.rules, r)
		case r.Path != nil:
			p.pathOnly = append(p.pathOnly, r)
		}
	}
	p.findAllAnchors()
	return p
}

// assemble makes what follows from the rules, and the one automaton of all words.
func (p *program) assemble(depth int, honour bool) {
	p.memo, p.depth, p.honour = newMemo(), depth, honour
	byLine := honour
	for _, a := range p.allowlists {
		byLine = byLine || a.RegexTarget == "line"
	}
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
	for i, r := range p.rules {
		r.number = i
		r.follow(byLine)
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
	for _, r := range p.pathOnly {
		r.follow(byLine)
		p.pathWords = p.pathWords || len(r.Keywords) > 0
	}
	p.words = newAutomaton(words)
	for _, list := range p.uses {
		for i := range list {
			u := &list[i]
			u.number = uint32(len(p.flat))
			p.flat = append(p.flat, u)
			if u.anchor == nil {
				continue
			}
			c := u.anchor.word[0]
			small, large := u.anchor.canBegin(p.sets, c), u.anchor.canBegin(p.sets, upper(c))
			switch {
			case small && !large:
				u.first = c
			case large && !small:
				u.first = upper(c)
			}
		}
	}
	for _, r := range p.rules {
		for i := range r.late {
			u := &use{rule: r.number, anchor: &r.late[i], length: 1, number: uint32(len(p.flat))}
			p.flat = append(p.flat, u)
			r.lateUses = append(r.lateUses, u)
			for _, b := range []byte{u.anchor.word[0], upper(u.anchor.word[0])} {
				if u.anchor.canBegin(p.sets, b) && !r.lateFirst.has(b) {
					r.lateFirst.add(b)
					r.lateBytes = append(r.lateBytes, b)
				}
			}
		}
	}
}

// follow sets what follows from the rest of a rule.
func (r *rule) follow(byLine bool) {
	r.generic, r.byLine = isGeneric(r.RuleID), byLine
	for _, a := range r.allowlists {
		r.places = r.places || len(a.Paths) > 0 || len(a.Commits) > 0
		r.byLine = r.byLine || a.RegexTarget == "line"
	}
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
	n, err := parseNode(r.Regex.text)
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
