package structured

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"stanch/scanner/match"
)

// Copy says that bytes of a new text came from an old one.
type Copy = match.Copy

// Seen is what [Delta] needs to know of the text that another is a delta of. It
// does not change; nil is that of a text in which nothing stands.
type Seen struct {
	marks  []mark
	ats    []mark // "@" behind what can be a URL
	opaque bool   // says nothing about texts made of pieces of this one
	cut    bool
}

// Whole reports whether nothing of the text was left out for the bounds of this
// package.
func (s *Seen) Whole() bool { return s == nil || !s.cut }

// Anywhere reads a text whose path is not known: [At] makes of the hits what
// [Find] gives for a path.
func Anywhere(data []byte) ([]Hit, *Seen) {
	f := newFinder(data)
	seen := &Seen{}
	f.run(forSettings(), seen)
	return f.hits, seen.orNil()
}

// orNil keeps nothing where there is nothing.
func (s *Seen) orNil() *Seen {
	if len(s.marks)+len(s.ats) == 0 && !s.opaque && !s.cut {
		return nil
	}
	return s
}

// run reads a text, and keeps in seen where its reader looked.
func (f *finder) run(s *search, seen *Seen) {
	lists := s.all(f.data)
	marks := lists[0]
	for _, l := range lists {
		f.cut = f.cut || len(l) >= mostMarks(len(f.data))
	}
	for _, l := range lists[1:] {
		marks = append(marks, l...)
	}
	slices.SortStableFunc(marks, func(a, b mark) int { return cmp.Compare(a.at, b.at) })
	var ats []mark
	for at := 0; ; at++ {
		n := bytes.IndexByte(f.data[at:], '@')
		if n < 0 {
			break
		}
		at += n
		before := len(f.hits)
		if f.at(at) && seen != nil {
			ats = append(ats, mark{nil, at, len(f.hits) > before})
		}
	}
	f.readAll(marks)
	if seen != nil {
		*seen = Seen{marks, ats, f.spent() || f.cut || len(marks)+len(ats) > most, f.cut}
		if seen.opaque {
			seen.marks, seen.ats = nil, nil
		}
	}
}

func (f *finder) spent() bool { return len(f.hits) >= most || f.budget < 0 }

// readAll reads at each mark, and notes where there was something.
func (f *finder) readAll(marks []mark) {
	for i := range marks {
		if f.spent() {
			f.cut = true
			return
		}
		before := len(f.hits)
		f.read(marks[i].anchor, marks[i].at)
		marks[i].live = len(f.hits) > before
	}
}

const (
	// Shorter copies are read like new text.
	shortestCopy = 64
	longestWord  = 32
)

// Delta gives just what [Anywhere] gives for data, for less: of what was copied
// from the text that base was seen in, only the ends are searched, and only lines
// that changed or hold something are read. The copies are sorted by New and do not
// overlap there.
func Delta(data []byte, base *Seen, copies []Copy) ([]Hit, *Seen) {
	if base == nil {
		base = &Seen{}
	}
	if base.opaque {
		return Anywhere(data)
	}
	f := newFinder(data)
	s := forSettings()
	seen := &Seen{}
	skip := []bool{} // of seen.marks: nothing was there, and nothing is
	var ats []mark
	atSkip := []bool{}
	gap := func(from, to, copyEnd int) {
		low, high := max(0, from-longestWord), min(len(data), to+longestWord)
		start := len(seen.marks)
		for _, m := range s.finish(data[low:high], minAnchor-1, high-low, nil) {
			m.at += low
			if m.at+len(m.word) > from && m.at < to {
				seen.marks = append(seen.marks, m)
				skip = append(skip, false)
			}
		}
		slices.SortStableFunc(seen.marks[start:], func(a, b mark) int { return cmp.Compare(a.at, b.at) })
		for at, end := from, min(to+longestUserinfo+1, copyEnd); at < end; at++ {
			n := bytes.IndexByte(data[at:end], '@')
			if n < 0 {
				break
			}
			at += n
			ats = append(ats, mark{nil, at, false})
			atSkip = append(atSkip, false)
		}
	}
	at := 0
	for i := 0; i <= len(copies); i++ {
		if i == len(copies) {
			gap(at, len(data), len(data))
			break
		}
		c := copies[i]
		if c.Len < shortestCopy {
			continue
		}
		end := c.New + c.Len
		gap(at, c.New, end)
		shift := c.New - c.Old
		for n := sort.Search(len(base.marks), func(n int) bool { return base.marks[n].at >= c.Old }); n < len(base.marks); n++ {
			m := base.marks[n]
			if m.at >= c.Old+c.Len {
				break
			}
			if m.at+len(m.word) > c.Old+c.Len {
				continue
			}
			m.at += shift
			seen.marks = append(seen.marks, m)
			skip = append(skip, !m.live && !m.far() && within(data, m.at, c))
		}
		for n := sort.Search(len(base.ats), func(n int) bool { return base.ats[n].at > c.Old+longestUserinfo }); n < len(base.ats) && base.ats[n].at < c.Old+c.Len; n++ {
			m := base.ats[n]
			m.at += shift
			ats = append(ats, m)
			atSkip = append(atSkip, !m.live && within(data, m.at, c))
		}
		at = end
	}
	for i := range ats {
		if atSkip[i] {
			seen.ats = append(seen.ats, ats[i])
			continue
		}
		before := len(f.hits)
		if f.at(ats[i].at) {
			seen.ats = append(seen.ats, mark{nil, ats[i].at, len(f.hits) > before})
		}
	}
	for i := range seen.marks {
		if skip[i] {
			continue
		}
		if f.spent() {
			break
		}
		before := len(f.hits)
		f.read(seen.marks[i].anchor, seen.marks[i].at)
		seen.marks[i].live = len(f.hits) > before
	}
	if f.spent() || f.cut || len(seen.marks)+len(seen.ats) > most {
		return Anywhere(data)
	}
	return f.hits, seen.orNil()
}

// within reports whether the line around at and the next, as far as they are read, lie
// in a copy.
func within(data []byte, at int, c Copy) bool {
	from, to := c.New, c.New+c.Len
	if at-reach-longestWord < from && c.Old+c.New > 0 && bytes.IndexByte(data[from:at], '\n') < 0 {
		return false
	}
	if at+2*reach+longestWord < to {
		return true
	}
	n := bytes.IndexByte(data[at:to], '\n')
	return n >= 0 && bytes.IndexByte(data[at+n+1:to], '\n') >= 0
}
