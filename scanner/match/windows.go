package match

import (
	"bytes"
	"context"
	"slices"
	"sort"
	"strings"
)

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
