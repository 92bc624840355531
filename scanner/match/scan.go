package match

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sort"
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

// look finds the words of all rules in the text of this pass.
func (s *scan) look(ctx context.Context, base *sightings, copies []Copy) {
	s.lowered, s.odd = "", nil
	clear(s.words)
	s.seen.reset(&s.seen)
	for _, n := range s.touched {
		s.rules[n] = sighting{windows: s.rules[n].windows[:0]}
	}
	s.touched = s.touched[:0]
	s.seen.size = len(s.cur)
	if base == nil || base.opaque || !inOrder(copies, base.size, len(s.cur)) {
		hay := s.cur
		if holdsOdd(s.cur) {
			s.odd = fold(s.cur)
			hay = s.odd.text
			s.seen.opaque = true
		}
		s.walk(ctx, hay, 0, len(hay)+1)
		s.lookLate(0)
		return
	}
	for _, n := range base.rules {
		s.announced(n)
	}
	next, at := 0, 0 // of the text; of base.places
	for i := 0; i < len(copies); {
		c := copies[i]
		for i++; i < len(copies) && copies[i].New == c.New+c.Len && copies[i].Old == c.Old+c.Len; i++ {
			c.Len += copies[i].Len
		}
		// In what was copied, what was seen at a place is seen again, unless
		// something beyond had a say: the byte before, or what a shape looks at.
		lo, hi := c.New+1, c.New+c.Len-max(lookAhead, s.p.words.longest)+1
		if c.New == 0 && c.Old == 0 {
			lo = 0
		}
		if c.New+c.Len == len(s.cur) && c.Old+c.Len == base.size {
			hi = len(s.cur) + 1
		}
		if lo >= hi {
			continue
		}
		if !s.walkFresh(ctx, base, next, lo) {
			s.look(ctx, nil, nil)
			return
		}
		shift := c.New - c.Old
		if at > 0 && int(base.places[at-1].at) >= lo-shift || at < len(base.places) && int(base.places[at].at) < lo-shift {
			at = sort.Search(len(base.places), func(k int) bool { return int(base.places[k].at) >= lo-shift })
		}
		for ; at < len(base.places) && int(base.places[at].at) < hi-shift; at++ {
			p := base.places[at]
			p.at += int32(shift)
			s.seen.places = append(s.seen.places, p)
		}
		next = hi
	}
	if next <= len(s.cur) && !s.walkFresh(ctx, base, next, len(s.cur)+1) {
		s.look(ctx, nil, nil)
		return
	}
	s.lookLate(len(base.rules))
}

// lookLate looks in the whole text for the places of the rules that were announced
// last, but for so many.
func (s *scan) lookLate(known int) {
	if s.odd != nil {
		return // they see the whole text
	}
	before := len(s.seen.places)
	for _, n := range s.seen.rules[min(known, len(s.seen.rules)):] {
		s.seeLate(s.p.rules[n], 0, len(s.cur))
	}
	if len(s.seen.places) > before {
		slices.SortFunc(s.seen.places, comparePlaces)
	}
}

// inOrder reports whether copies are what they are said to be, but for the bytes
// themselves.
func inOrder(copies []Copy, from, to int) bool {
	end := 0
	for _, c := range copies {
		if c.Len < 0 || c.New < end || c.Old < 0 || c.Old > from-c.Len || c.New > to-c.Len {
			return false
		}
		end = c.New + c.Len
	}
	return true
}

// walkFresh looks for words that begin in [from, to), where the text is new or
// next to what is. It gives false when the text as a whole has to be looked at.
func (s *scan) walkFresh(ctx context.Context, base *sightings, from, to int) bool {
	if holdsOdd(s.cur[max(0, from-3):min(len(s.cur), to+3)]) {
		return false
	}
	first := len(s.seen.places)
	s.walk(ctx, s.cur, from, to)
	walked := len(s.seen.places)
	for _, n := range base.rules {
		s.seeLate(s.p.rules[n], from, to)
	}
	if len(s.seen.places) > walked {
		slices.SortFunc(s.seen.places[first:], comparePlaces)
	}
	return true
}

// walk looks for words that begin in [from, limit).
func (s *scan) walk(ctx context.Context, hay []byte, from, limit int) {
	first := len(s.seen.places)
	end := min(len(hay), limit-1+s.p.words.longest)
	state := uint32(0)
	for from < end {
		if ctx.Err() != nil {
			s.seen.opaque = true
			return
		}
		to := min(from+blockBytes, end)
		lanes := 1
		if to-from < lanesFrom {
			state, s.hits[0] = s.p.words.walk(hay, from, to, state, s.hits[0][:0])
		} else {
			state = s.p.words.walkLanes(hay, from, to, state, &s.hits)
			lanes = 4
		}
		for i := range lanes {
			for _, h := range s.hits[i] {
				for _, w := range s.p.words.words(h.state) {
					uses := s.p.uses[w]
					for k := range uses {
						s.use(&uses[k], int(h.end), limit)
					}
				}
			}
		}
		from = to
	}
	// Words are seen where they end.
	for i := first + 1; i < len(s.seen.places); i++ {
		p, k := s.seen.places[i], i
		for ; k > first && comparePlaces(s.seen.places[k-1], p) > 0; k-- {
			s.seen.places[k] = s.seen.places[k-1]
		}
		s.seen.places[k] = p
	}
}

// use looks at a place where a word ends.
func (s *scan) use(u *use, end, limit int) {
	at := end - u.length
	switch {
	case at >= limit:
	case u.anchor == nil:
		s.announced(int32(u.rule))
	case s.odd != nil:
		s.seen.places = append(s.seen.places, place{int32(s.odd.original(at)), u.number})
	case u.first != 0 && s.cur[at] != u.first:
	default:
		s.see(u, at)
	}
}

// see notes a place where a word of a rule stands, if what must be around it is.
func (s *scan) see(u *use, at int) {
	a := u.anchor
	if a.bound && at > 0 && isWord(s.cur[at-1]) {
		return
	}
	ok, from, to := a.shape.holds(s.p.sets, s.cur, at)
	if !ok {
		return
	}
	number := u.number
	if from >= 0 && s.p.drops(s.p.rules[u.rule], s.cur[from:to]) {
		number |= isWeak
	}
	s.seen.places = append(s.seen.places, place{int32(at), number})
}

// seeLate looks in [from, to) for the places of a rule whose words are too common
// to be looked for in every text.
func (s *scan) seeLate(r *rule, from, to int) {
	if len(r.lateUses) == 0 {
		return
	}
	if len(r.lateBytes) > fewBytes {
		for at := from; at < min(to, len(s.cur)); at++ {
			if r.lateFirst.has(s.cur[at]) {
				s.seeLateAt(r, at)
			}
		}
		return
	}
	text := s.cur[:min(to, len(s.cur))]
	for _, c := range r.lateBytes {
		for at := from; at < len(text); at++ {
			next := bytes.IndexByte(text[at:], c)
			if next < 0 {
				break
			}
			at += next
			s.seeLateAt(r, at)
		}
	}
}

// fewBytes are faster found one after the other than all at once.
const fewBytes = 4

func (s *scan) seeLateAt(r *rule, at int) {
	for _, u := range r.lateUses {
		if u.anchor.word[0] == lower(s.cur[at]) {
			s.see(u, at)
		}
	}
}

// announced notes that a keyword of a rule stands in the text.
func (s *scan) announced(rule int32) {
	f := s.touch(int(rule))
	if !f.named {
		f.named = true
		s.seen.rules = append(s.seen.rules, rule)
	}
}

// pass runs the rules on what was seen.
func (s *scan) pass(ctx context.Context) {
	if len(s.seen.places) > 0 || len(s.seen.rules) > 0 {
		s.runs.reset(len(s.p.runs.all), s.odd != nil)
	}
	for _, p := range s.seen.places {
		u := s.p.flat[p.use&^isWeak]
		s.widen(u.rule, u.anchor, int(p.at), p.use&isWeak == 0)
	}
	for _, n := range s.seen.rules {
		if len(s.p.rules[n].late) == 0 || s.odd != nil {
			s.touch(int(n)).whole = true
		}
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

// widen makes the window of a match around the anchor at at.
func (s *scan) widen(rule int, a *anchor, at int, strong bool) {
	w := window{
		lo:     max(0, s.runs.backward(a.before, s.p.runs, s.cur, at)-margin),
		hi:     min(len(s.cur), s.runs.forward(a.after, s.p.runs, s.cur, at)+margin),
		strong: strong,
	}
	f := s.touch(rule)
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
	if !s.anyPath && (r.Path != nil && !r.Path.matches(s.path) || r.places && s.leftOut(r.allowlists)) {
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
	if len(s.findings) > from && r.requires {
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
	pieces, known := s.inherited(r, w)
	if !known {
		pieces, known = s.find(r, w)
		if !known {
			return false
		}
	}
	if s.layer == nil && s.kept != nil {
		from := int32(len(s.seen.pieces))
		s.seen.pieces = append(s.seen.pieces, pieces...)
		s.seen.tried = append(s.seen.tried, tried{int32(r.number), int32(w.lo), int32(w.hi), from, int32(len(s.seen.pieces))})
	}
	for _, p := range pieces {
		s.judge(r, extent{w.lo + int(p.start), w.lo + int(p.end)}, extent{w.lo + int(p.from), w.lo + int(p.to)})
	}
	return true
}

// inherited gives what was found in a window of which every byte was copied.
func (s *scan) inherited(r *rule, w window) (pieces []piece, known bool) {
	if s.base == nil || len(s.base.tried) == 0 {
		return nil, false
	}
	n := sort.Search(len(s.from), func(i int) bool { return s.from[i].New > w.lo }) - 1
	if n < 0 || w.hi > s.from[n].New+s.from[n].Len {
		return nil, false
	}
	shift := s.from[n].New - s.from[n].Old
	lo, hi := w.lo-shift, w.hi-shift
	if (w.lo == 0) != (lo == 0) || (w.hi == len(s.cur)) != (hi == s.base.size) {
		return nil, false
	}
	at, known := slices.BinarySearchFunc(s.base.tried, tried{rule: int32(r.number), lo: int32(lo), hi: int32(hi)}, tried.compare)
	if !known {
		return nil, false
	}
	t := s.base.tried[at]
	return s.base.pieces[t.from:t.to], true
}

// find gives what a rule finds in a window; not known where search says false.
func (s *scan) find(r *rule, w window) (pieces []piece, known bool) {
	text := s.cur[w.lo:w.hi]
	about := aboutWindow
	if w.lo == 0 {
		about++
	}
	if w.hi == len(s.cur) {
		about += 2
	}
	key := s.p.memo.key(about, r, text)
	pieces, known = s.p.memo.window(key)
	if known {
		return pieces, true
	}
	touches := false
	s.each(r, w, text, func(from, to int) bool {
		touches = from == 0 && w.lo > 0 || to == len(text) && w.hi < len(s.cur)
		if touches {
			return false
		}
		secret, ok := s.promising(r, text, extent{from, to})
		if ok {
			pieces = append(pieces, piece{int32(from), int32(to), int32(secret.start), int32(secret.end)})
		}
		return true
	})
	if touches {
		return nil, false
	}
	s.p.memo.putWindow(key, pieces)
	return pieces, true
}

// each visits the matches of a rule in a window, as long as visit wants more.
func (s *scan) each(r *rule, w window, text []byte, visit func(from, to int) bool) {
	seen, next := 0, 0
	d := r.Regex.automata()
	ps := s.seen.places
	// Between the words of some rules there is nothing to look for.
	byPlace := r.starts && s.odd == nil && w.hi-w.lo >= 512
	if byPlace {
		ps = ps[sort.Search(len(ps), func(i int) bool { return int(ps[i].at) >= w.lo }):]
	}
	for d != nil {
		for byPlace && len(ps) > 0 && (int(ps[0].at) < w.lo+next || s.p.flat[ps[0].use&^isWeak].rule != r.number) {
			ps = ps[1:]
		}
		if byPlace {
			if len(ps) == 0 || int(ps[0].at) >= w.hi {
				return
			}
			next = int(ps[0].at) - w.lo
		}
		m, ok := d.find(text, next)
		if !ok {
			break
		}
		if m.end < 0 || !visit(m.start, m.end) {
			return
		}
		seen++
		next = m.end
	}
	for i, m := range r.Regex.get().FindAllIndex(text, -1) {
		if i >= seen && !visit(m[0], m[1]) {
			return
		}
	}
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
	s.copies = s.copies[:0]
	before := encoded{extent{-1, -1}, 0}
	m, ok := e.next()
	s.percent = false
	for ok {
		s.percent = s.percent || m.kind == percent
		after, more := e.next()
		yields := before.kind != 0 && m.overlaps(before.extent) && before.kind < m.kind ||
			more && m.overlaps(after.extent) && after.kind < m.kind
		if !yields {
			s.piece = m.decode(s.cur, s.piece[:0])
			if len(s.piece) > 0 {
				s.copies = append(s.copies, Copy{done, len(out), m.start - done})
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
	s.copies = append(s.copies, Copy{done, len(out), len(s.cur) - done})
	out = append(out, s.cur[done:]...)
	s.decoded[buf] = out
	s.cur, s.layer = out, next
	return true
}

// decodesNew reports whether something in or around new text decodes, when
// nothing did in the text of which this one is made. It errs to the safe side.
// What is decoded is a run of some bytes; but a row of U+XXXX, which always
// decodes, and what stands between the first and the last %XX of a line.
func (s *scan) decodesNew(size int, percents bool, copies []Copy) bool {
	s.seen.percent = percents
	from, old, done := 0, 0, 0 // the end of the copy before in both texts; of what was looked at
	for i := 0; i <= len(copies); i++ {
		c := Copy{size, len(s.cur), 0}
		if i < len(copies) {
			c = copies[i]
		}
		if (c.New != from || c.Old != old) && c.New >= done {
			lo, hi := from, c.New
			if percents {
				lo = done
				if from > done {
					lo += bytes.LastIndexByte(s.cur[done:from], '\n') + 1
				}
				n := bytes.IndexByte(s.cur[hi:], '\n')
				if n < 0 {
					n = len(s.cur) - hi - 1
				}
				hi += n + 1
			} else {
				for lo > 0 && bytesAre[s.cur[lo-1]]&isCoded != 0 {
					lo--
				}
				for hi < len(s.cur) && bytesAre[s.cur[hi]]&isCoded != 0 {
					hi++
				}
				lo, hi = max(0, lo-longestEscape), min(len(s.cur), hi+longestEscape)
			}
			if s.anyDecodes(s.cur[lo:hi]) {
				return true
			}
			done = hi
		}
		from, old = c.New+c.Len, c.Old+c.Len
	}
	return false
}

// longestEscape is the length of \\uXXXX, or of U+XXXX and a space.
const longestEscape = 8

func (s *scan) anyDecodes(text []byte) bool {
	e := encodings{text: text, percent: -1, backslash: -1, plus: -1, run: extent{-1, -1}}
	for {
		m, ok := e.next()
		if !ok {
			return false
		}
		s.seen.percent = s.seen.percent || m.kind == percent
		s.piece = m.decode(text, s.piece[:0])
		if len(s.piece) > 0 {
			return true
		}
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
