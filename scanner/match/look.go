package match

import (
	"bytes"
	"context"
	"slices"
	"sort"
)

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
