package match

import (
	"bytes"
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
	raw          []byte // the text as it was given
	given        string // raw, when a finding needed it
	lines        lineIndex
	lined        bool

	cur     []byte // the text of this pass
	layer   *layer // what the passes so far decoded
	lowered string // cur in lower case, when it was needed
	odd     *folded
	runs    runCache
	hits    [4][]hit
	rules   []sighting // for each rule, what this pass saw of it
	touched []int
	words   map[string]bool // keywords that were looked for in cur
	verdict map[lineKey]bool
	paths   map[*allowlist]bool

	findings []report.Finding
	escalate bool // a rule that requires others has a finding
	allowed  int8 // whether the path or commit is in a global allowlist: 0 not known, 1 no, 2 yes
	decoded  [2][]byte
	piece    []byte
}

// sighting is what the automaton saw of a rule.
type sighting struct {
	windows []window
	strong  bool
	whole   bool
	late    bool // announced, and its windows are here
	touched bool
}

// window is a range of the text. In a weak one the rule can match, but all that
// can come of it is dropped: it only matters where it meets a strong one, for a
// match takes its text from the matches behind it.
type window struct {
	lo, hi int
	strong bool
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
	keep := scan{hits: s.hits, rules: s.rules, touched: s.touched[:0], runs: s.runs, decoded: s.decoded}
	keep.lines.newline = s.lines.newline[:0]
	size := 8 * cap(keep.lines.newline)
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

// detect gives the findings of gitleaks' Detect on a fragment with this text,
// path and commit. It reports escalate when gitleaks itself has to be asked.
func (p *program) detect(ctx context.Context, raw []byte, path, commit string) (out []report.Finding, escalate bool) {
	if path != "" && path == p.cfg.Path {
		return nil, false
	}
	s := p.newScan(raw, path, commit)
	s.pathRules()
	for depth := 1; ctx.Err() == nil; depth++ {
		s.pass(ctx)
		if s.escalate || depth > p.depth || !s.decode() || s.isAllowed() {
			break
		}
	}
	out, escalate = s.findings, s.escalate
	if len(out) > 0 && s.isAllowed() {
		out = nil
	}
	s.release()
	return yield(out), escalate
}

// isAllowed reports whether a global allowlist leaves the path or commit out.
// That costs more than a scan of a small text, so it is asked late.
func (s *scan) isAllowed() bool {
	if s.allowed == 0 {
		s.allowed = 1
		if s.leftOut(s.p.allowlists) {
			s.allowed = 2
		}
	}
	return s.allowed == 2
}

func (s *scan) pathRules() {
	for _, r := range s.p.pathOnly {
		if s.path == "" || !r.path.match(s.path) || r.places && s.leftOut(r.allowlists) {
			continue
		}
		if len(r.Keywords) > 0 && !s.hasKeyword(r) {
			continue
		}
		s.findings = append(s.findings, report.Finding{
			Commit: s.commit, RuleID: r.RuleID, Description: r.Description, File: s.path,
			Match: "file detected: " + s.path, Tags: r.Tags,
		})
	}
}

// pass looks for all rules in the text of this pass.
func (s *scan) pass(ctx context.Context) {
	s.lowered, s.odd = "", nil
	clear(s.words)
	hay := s.cur
	if holdsOdd(s.cur) {
		s.odd = fold(s.cur)
		hay = s.odd.text
	}
	s.runs.reset(len(s.p.runs.all), s.odd != nil)
	state := uint32(0)
	for from := 0; from < len(hay) && ctx.Err() == nil; {
		to := min(from+blockBytes, len(hay))
		lanes := 1
		if to-from < lanesFrom {
			state, s.hits[0] = s.p.words.walk(hay, from, to, state, s.hits[0][:0])
		} else {
			state = s.p.words.walkLanes(hay, from, to, state, &s.hits)
			lanes = 4
		}
		for i := range lanes {
			for _, h := range s.hits[i] {
				s.hit(h)
			}
		}
		from = to
	}
	for _, n := range s.p.always {
		s.touch(n).whole = true
	}
	slices.Sort(s.touched)
	for _, n := range s.touched {
		f := &s.rules[n]
		if (f.strong || f.whole) && ctx.Err() == nil && !s.isAllowed() {
			s.run(s.p.rules[n], f)
		}
		*f = sighting{windows: f.windows[:0]}
	}
	s.touched = s.touched[:0]
}

func (s *scan) touch(rule int) *sighting {
	f := &s.rules[rule]
	if !f.touched {
		f.touched = true
		s.touched = append(s.touched, rule)
	}
	return f
}

// hit looks at a place where words end.
func (s *scan) hit(h hit) {
	for _, w := range s.p.words.words(h.state) {
		uses := s.p.uses[w]
		for i := range uses {
			s.use(&uses[i], int(h.end))
		}
	}
}

func (s *scan) use(u *use, end int) {
	if u.anchor == nil {
		f := s.touch(u.rule)
		if !f.whole && !f.late {
			s.announce(s.p.rules[u.rule], f)
		}
		return
	}
	at := end - u.length
	strong := true
	if s.odd != nil {
		at = s.odd.original(at)
	} else {
		a := u.anchor
		if a.bound && at > 0 && isWord(s.cur[at-1]) {
			return
		}
		ok, from, to := a.shape.holds(s.p.sets, s.cur, at)
		if !ok {
			return
		}
		if from >= 0 {
			r := s.p.rules[u.rule]
			strong = !s.p.drops(r, s.cur[from:to])
		}
	}
	w := window{
		lo:     max(0, s.runs.backward(u.anchor.before, s.p.runs, s.cur, at)-margin),
		hi:     min(len(s.cur), s.runs.forward(u.anchor.after, s.p.runs, s.cur, at)+margin),
		strong: strong,
	}
	f := s.touch(u.rule)
	f.strong = f.strong || strong
	n := len(f.windows)
	if n > 0 {
		last := &f.windows[n-1]
		if w.lo <= last.hi && w.hi >= last.lo {
			last.lo, last.hi, last.strong = min(last.lo, w.lo), max(last.hi, w.hi), last.strong || w.strong
			return
		}
	}
	f.windows = append(f.windows, w)
}

// announce begins with a rule whose keyword is there. What the words of some
// rules are is too common to be looked for in every text, and is looked for now.
func (s *scan) announce(r *rule, f *sighting) {
	if len(r.late) == 0 || s.odd != nil {
		f.whole = true
		return
	}
	f.late = true
	for i := range r.late {
		a := &r.late[i]
		for c := range 0x80 {
			if lower(byte(c)) != a.word[0] {
				continue
			}
			for at := 0; ; at++ {
				n := bytes.IndexByte(s.cur[at:], byte(c))
				if n < 0 {
					break
				}
				at += n
				s.use(&use{rule: r.number, anchor: a, length: 1}, at+1)
			}
		}
	}
}

// join sorts windows and joins those that meet.
func join(ws []window) []window {
	if len(ws) < 2 {
		return ws
	}
	slices.SortFunc(ws, func(a, b window) int { return a.lo - b.lo })
	out := ws[:1]
	for _, w := range ws[1:] {
		last := &out[len(out)-1]
		if w.lo <= last.hi {
			last.hi, last.strong = max(last.hi, w.hi), last.strong || w.strong
			continue
		}
		out = append(out, w)
	}
	return out
}

// run finds the matches of a rule.
func (s *scan) run(r *rule, f *sighting) {
	if r.Path != nil && !r.Path.MatchString(s.path) || r.places && s.leftOut(r.allowlists) {
		return
	}
	from := len(s.findings)
	if !f.whole {
		f.windows = join(f.windows)
		for _, w := range f.windows {
			if !w.strong || s.layer != nil && len(overlapping(s.layer.segments, extent{w.lo, w.hi})) == 0 {
				continue
			}
			if !s.search(r, w) {
				f.whole = true
				break
			}
		}
	}
	if f.whole {
		s.findings = s.findings[:from]
		s.search(r, window{0, len(s.cur), true})
	}
	if len(s.findings) > from && len(r.RequiredRules) > 0 {
		s.escalate = true
	}
}

// piece is a match in a window and the secret in it, as offsets in the window.
type piece struct {
	start, end int32
	from, to   int32
}

// search runs a rule's regexp on a window. It gives false when a match touches
// an end of the window that is no end of the text: what made it match may be
// that end. That a window has room around every true match makes this rare.
func (s *scan) search(r *rule, w window) bool {
	text := s.cur[w.lo:w.hi]
	about := aboutWindow
	if w.lo == 0 {
		about++
	}
	if w.hi == len(s.cur) {
		about += 2
	}
	key := s.p.memo.key(about, r, text)
	pieces, known := s.p.memo.window(key)
	if !known {
		for _, m := range r.Regex.FindAllIndex(text, -1) {
			if m[0] == 0 && w.lo > 0 || m[1] == len(text) && w.hi < len(s.cur) {
				return false
			}
			secret, ok := s.promising(r, text, extent{m[0], m[1]})
			if ok {
				pieces = append(pieces, piece{int32(m[0]), int32(m[1]), int32(secret.start), int32(secret.end)})
			}
		}
		s.p.memo.putWindow(key, pieces)
	}
	for _, p := range pieces {
		s.judge(r, extent{w.lo + int(p.start), w.lo + int(p.end)}, extent{w.lo + int(p.from), w.lo + int(p.to)})
	}
	return true
}

// hasKeyword reports whether one of the rule's keywords is in the text, which
// gitleaks looks at in lower case.
func (s *scan) hasKeyword(r *rule) bool {
	return slices.ContainsFunc(r.Keywords, func(k string) bool {
		k = strings.ToLower(k)
		yes, known := s.words[k]
		if !known {
			if s.lowered == "" {
				s.lowered = strings.ToLower(string(s.cur))
			}
			yes = strings.Contains(s.lowered, k)
			if s.words == nil {
				s.words = map[string]bool{}
			}
			s.words[k] = yes
		}
		return yes
	})
}

// keywordIn reports whether a short text holds one of the keywords. When a match
// does, so does its text.
func (r *rule) keywordIn(match []byte) bool {
	if len(match) > 512 || !ascii(match) {
		return false
	}
	low := bytes.ToLower(match)
	return slices.ContainsFunc(r.Keywords, func(k string) bool { return bytes.Contains(low, []byte(strings.ToLower(k))) })
}

// decode makes the text of the next pass; it reports whether there is one.
func (s *scan) decode() bool {
	e := encodings{text: s.cur, percent: -1, backslash: -1, plus: -1, run: extent{-1, -1}}
	buf := 0
	if s.layer != nil {
		buf = s.layer.depth % 2
	}
	next := &layer{below: s.layer, depth: 1}
	if s.layer != nil {
		next.depth = s.layer.depth + 1
	}
	clear(s.decoded[buf])
	out := s.decoded[buf][:0]
	done := 0
	before := encoded{extent{-1, -1}, 0}
	m, ok := e.next()
	for ok {
		after, more := e.next()
		yields := before.kind != 0 && m.overlaps(before.extent) && before.kind < m.kind ||
			more && m.overlaps(after.extent) && after.kind < m.kind
		if !yields {
			s.piece = m.decode(s.cur, s.piece[:0])
			if len(s.piece) > 0 {
				out = append(out, s.cur[done:m.start]...)
				seg := segment{original: m.extent, encoded: m.extent, decoded: extent{len(out), len(out) + len(s.piece)}, kinds: m.kind}
				if s.layer != nil {
					seg.original = toOriginal(s.layer.segments, s.layer.below, m.extent)
					for _, p := range overlapping(s.layer.segments, m.extent) {
						seg.kinds |= p.kinds
					}
				}
				next.segments = append(next.segments, seg)
				out = append(out, s.piece...)
				done = m.end
			}
		}
		before, m, ok = m, after, more
	}
	if len(next.segments) == 0 {
		return false
	}
	out = append(out, s.cur[done:]...)
	s.decoded[buf] = out
	s.cur, s.layer = out, next
	return true
}

// yield drops the findings of generic rules that another rule of the same line
// explains.
func yield(fs []report.Finding) []report.Finding {
	generic := func(f *report.Finding) bool { return strings.Contains(strings.ToLower(f.RuleID), "generic") }
	lines := map[int][]int{}
	any := false
	for i := range fs {
		if generic(&fs[i]) {
			any = true
			continue
		}
		lines[fs[i].StartLine] = append(lines[fs[i].StartLine], i)
	}
	if !any || len(lines) == 0 {
		return fs
	}
	keep := make([]report.Finding, 0, len(fs))
	for i := range fs {
		f := &fs[i]
		explained := generic(f) && slices.ContainsFunc(lines[f.StartLine], func(j int) bool {
			return strings.Contains(fs[j].Secret, f.Secret)
		})
		if !explained {
			keep = append(keep, *f)
		}
	}
	return keep
}
