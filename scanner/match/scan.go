package match

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/zricethezav/gitleaks/v8/report"
)

// scan is the work on one text. Scans are used again, for their memory.
type scan struct {
	p            *program
	path, commit string
	anyPath      bool   // the path is not known: what depends on it is left open
	raw          []byte // the text as it was given
	lines        lineIndex
	lined        bool

	cur     []byte // the text of this pass
	layer   *layer // what the passes so far decoded
	lowered string // cur in lower case, when it was needed
	odd     *folded
	runs    runCache
	hits    [4][]hit
	seen    sightings // what this pass saw
	before  sightings // and the one before
	rules   []sighting
	touched []int
	words   map[string]bool // keywords that were looked for in cur
	verdict map[lineKey]bool
	paths   map[*allowlist]bool

	base     *sightings // of the text of which this pass's is made, and how; nil for none
	from     []Copy
	kept     *sightings // where to keep what is seen of raw; nil for nowhere
	findings []finding
	escalate bool // a rule that requires others has a finding
	allowed  int8 // whether the path or commit is in a global allowlist: 0 not known, 1 no, 2 yes
	copies   []Copy
	percent  bool // decode saw a %XX
	decoded  [2][]byte
	piece    []byte
}

// sightings are what the automaton saw in a text: all that is needed of a text
// to know what it would see in one that is made of pieces of it.
type sightings struct {
	size   int
	places []place // in order
	rules  []int32 // rules whose keywords were seen here, or in a text that this one is made of
	tried  []tried // windows in which a rule was tried, by rule, in order
	pieces []piece // what was found in them
	opaque bool    // they say nothing about another text
	// decodes: some part of the text decodes to something. It may be true
	// when none does.
	decodes bool
	percent bool // there may be a %XX
}

// place is where a word of a rule stands, and the shape around it.
type place struct {
	at  int32
	use uint32 // number of the use; isWeak is added when nothing can come of it alone
}

const isWeak = 1 << 31

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.use&^isWeak, b.use&^isWeak))
}

// tried is a window in which a rule was tried, and which pieces it gave.
type tried struct {
	rule, lo, hi int32
	from, to     int32
}

func (t tried) compare(o tried) int {
	return cmp.Or(cmp.Compare(t.rule, o.rule), cmp.Compare(t.lo, o.lo), cmp.Compare(t.hi, o.hi))
}

// Copy says that bytes of a new text came from an old one:
// new[New:New+Len] == old[Old:Old+Len].
type Copy struct{ Old, New, Len int }

// sighting is what this pass knows of a rule.
type sighting struct {
	windows []window
	strong  bool
	whole   bool
	named   bool // a keyword of the rule was seen
	touched bool
}

// window is a range of the text. In a weak one the rule can match, but all that
// can come of it is dropped: it only matters where it meets a strong one, for a
// match takes its text from the matches behind it.
type window struct {
	lo, hi int
	strong bool
}

// finding is a match that the rules let stand.
type finding struct {
	rule     *rule
	match    string // without newlines at its ends
	secret   string
	at       extent // of the match, its newlines included, in the text as it was given
	start    int    // of match in that text, when nothing was decoded for it
	from, to int    // of the secret in match
	layer    *layer // what was decoded for it
	kinds    kind
	open     []*allowlist // let it go at the paths that they name
}

// margin is how far a window goes beyond the reach of its rule, so that what is
// around a match is seen as in the text: \b looks one rune to each side.
const margin = 4

var scans = sync.Pool{New: func() any { return new(scan) }}

// keepBytes bounds the memory that an idle scan keeps.
const keepBytes = 4 << 20

func (p *program) newScan(raw []byte, path, commit string) *scan {
	s := scans.Get().(*scan)
	s.p, s.raw, s.cur, s.path, s.commit = p, raw, raw, path, commit
	if len(s.rules) < len(p.rules) {
		s.rules = make([]sighting, len(p.rules))
	}
	return s
}

func (s *scan) release() {
	keep := scan{hits: s.hits, rules: s.rules, touched: s.touched[:0], runs: s.runs, decoded: s.decoded, copies: s.copies[:0]}
	keep.lines.newline = s.lines.newline[:0]
	keep.seen.reset(&s.seen)
	keep.before.reset(&s.before)
	size := 8 * (cap(keep.lines.newline) + cap(keep.seen.places) + cap(keep.before.places) + 3*(cap(keep.copies)+cap(keep.seen.tried)+cap(keep.before.tried)))
	for i := range keep.hits {
		size += 8 * cap(keep.hits[i])
	}
	for i := range keep.decoded {
		clear(keep.decoded[i]) // decoded secrets do not stay
		size += cap(keep.decoded[i])
	}
	clear(s.piece[:cap(s.piece)])
	keep.decoded[0], keep.decoded[1] = keep.decoded[0][:0], keep.decoded[1][:0]
	if size > keepBytes {
		return
	}
	*s = keep
	scans.Put(s)
}

// reset makes s empty, with the memory of o.
func (s *sightings) reset(o *sightings) {
	*s = sightings{places: o.places[:0], rules: o.rules[:0], tried: o.tried[:0], pieces: o.pieces[:0]}
}

// all finds everything there is to find. base, which may be nil, is what was
// seen of a text of which this one is made as copies says.
func (s *scan) all(ctx context.Context, base *sightings, copies []Copy) {
	s.look(ctx, base, copies)
	s.base, s.from = base, copies
	s.pass(ctx)
	s.base, s.from = nil, nil
	known := base != nil && !base.decodes && !s.seen.opaque
	switch {
	case s.p.depth == 0:
	case known && !s.decodesNew(base.size, base.percent, copies):
	default:
		s.seen.decodes, s.seen.percent = true, true
		for depth := 1; depth <= s.p.depth && ctx.Err() == nil && !s.escalate && !s.isAllowed(); depth++ {
			more := s.decode()
			if depth == 1 {
				s.seen.decodes = more
				s.seen.percent = s.percent
				s.keep()
			}
			if !more {
				return
			}
			s.seen, s.before = s.before, s.seen
			s.look(ctx, &s.before, s.copies)
			s.pass(ctx)
		}
	}
	s.keep()
}

// keep remembers what was seen of the text as it was given, where that is asked
// for.
func (s *scan) keep() {
	if s.kept == nil || s.kept.size >= 0 {
		return
	}
	*s.kept = s.seen
	s.kept.places = slices.Clone(s.seen.places)
	s.kept.rules = slices.Clone(s.seen.rules)
	s.kept.tried = slices.Clone(s.seen.tried)
	s.kept.pieces = slices.Clone(s.seen.pieces)
}

// detect gives the findings of gitleaks' Detect on a fragment with this text,
// path and commit. It reports escalate when gitleaks itself has to be asked.
func (p *program) detect(ctx context.Context, raw []byte, path, commit string) (out []report.Finding, escalate bool) {
	if path != "" && path == p.file {
		return nil, false
	}
	s := p.newScan(raw, path, commit)
	defer s.release()
	s.pathRules(&out)
	s.all(ctx, nil, nil)
	if s.escalate {
		return nil, true
	}
	if len(out)+len(s.findings) > 0 && s.isAllowed() {
		return nil, false
	}
	for i := range s.findings {
		out = append(out, s.report(&s.findings[i]))
	}
	return yield(out), false
}

// isAllowed reports whether a global allowlist leaves the path or commit out.
// That costs more than a scan of a small text, so it is asked late.
func (s *scan) isAllowed() bool {
	if s.anyPath {
		return false
	}
	if s.allowed == 0 {
		s.allowed = 1
		if s.leftOut(s.p.allowlists) {
			s.allowed = 2
		}
	}
	return s.allowed == 2
}

func (s *scan) pathRules(out *[]report.Finding) {
	for _, r := range s.p.pathOnly {
		if s.path == "" || !r.path.match(s.path) || r.places && s.leftOut(r.allowlists) {
			continue
		}
		if len(r.Keywords) > 0 && !s.hasKeyword(r) {
			continue
		}
		*out = append(*out, report.Finding{
			Commit: s.commit, RuleID: r.RuleID, Description: r.Description, File: s.path,
			Match: "file detected: " + s.path, Tags: r.Tags,
		})
	}
}

// explained marks what generic rules found where another rule explains it: on
// the same line, by a secret that holds theirs.
func explained(n int, generic func(int) bool, line func(int) int, secret func(int) string) []bool {
	lines := map[int][]int{}
	any := false
	for i := range n {
		if generic(i) {
			any = true
			continue
		}
		lines[line(i)] = append(lines[line(i)], i)
	}
	if !any || len(lines) == 0 {
		return nil
	}
	out := make([]bool, n)
	for i := range n {
		out[i] = generic(i) && slices.ContainsFunc(lines[line(i)], func(j int) bool {
			return strings.Contains(secret(j), secret(i))
		})
	}
	return out
}

// yield drops the findings that are explained.
func yield(fs []report.Finding) []report.Finding {
	drop := explained(len(fs),
		func(i int) bool { return isGeneric(fs[i].RuleID) },
		func(i int) int { return fs[i].StartLine },
		func(i int) string { return fs[i].Secret })
	if drop == nil {
		return fs
	}
	keep := make([]report.Finding, 0, len(fs))
	for i := range fs {
		if !drop[i] {
			keep = append(keep, fs[i])
		}
	}
	return keep
}

func isGeneric(rule string) bool { return strings.Contains(strings.ToLower(rule), "generic") }
