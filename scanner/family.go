package scanner

import (
	"bytes"
	"context"

	"stanch/scanner/archive"
	"stanch/scanner/match"
	"stanch/scanner/quoted"
	"stanch/scanner/structured"
)

// Copy says that bytes of a new blob came from an old one:
// new[New:New+Len] == old[Old:Old+Len].
type Copy = match.Copy

// Scanned is what is known of a blob that was looked at without its path. One
// blob can stand at many paths, so whatever depends on the path (path rules,
// path allowlists, the class of a finding) is decided in [Scanned.At]. It does
// not change and may be used concurrently. A blob in which nothing was seen
// costs no memory.
type Scanned struct {
	engine *Engine
	found  *match.Candidates
	near   near
	notes  *notes
	seen   *structured.Seen // for what is made of pieces of this one
	layer  *layer           // what its literals say
	whole  bool             // says nothing about a blob that is made of pieces of this one
	inner  []inner          // of an archive, what is in it
	left   []string         // why not all was looked at
	data   []byte           // of a blob that has to be looked at again, with its path
}

// ScanBlob looks at a whole blob whose path is not known, and at what is in it
// when it is an archive. Of data the result
// keeps what was found alone; but all of it where text had to be made of binary
// data and something was found there.
func (e *Engine) ScanBlob(ctx context.Context, data []byte) *Scanned {
	if !e.plain && archive.Is(data) {
		return e.packed(ctx, data)
	}
	return e.scanned(ctx, data, nil, nil, nil)
}

// ScanDelta gives just what [Engine.ScanBlob] gives for data, for less: data is
// made of pieces of old, of which base is known, and of new bytes, and only the
// new bytes and what surrounds them are looked at. The copies are sorted by New
// and do not overlap there; what they say of the bytes must be true. A nil base
// is allowed, and then the whole of data is looked at.
func (e *Engine) ScanDelta(ctx context.Context, data []byte, base *Scanned, old []byte, copies []Copy) *Scanned {
	if !e.plain && archive.Is(data) {
		return e.packed(ctx, data)
	}
	return e.scanned(ctx, data, base, old, copies)
}

func (e *Engine) scanned(ctx context.Context, data []byte, base *Scanned, old []byte, copies []Copy) *Scanned {
	if e.rules == nil {
		return &Scanned{engine: e, whole: true, data: bytes.Clone(data)}
	}
	t := readable(data)
	isText := len(t.text) == 0 && len(data) == 0 || len(t.text) > 0 && len(data) > 0 && &t.text[0] == &data[0]
	var found *match.Candidates
	var noted *notes
	var seen *structured.Seen
	delta := isText && base != nil && !base.whole
	if delta {
		found = e.rules.Delta(ctx, data, base.found, len(old), copies)
	} else {
		found = e.rules.Candidates(ctx, t.text)
	}
	var literals *layer
	switch {
	case e.plain:
	case delta:
		noted, seen = notesOfDelta(data, base.seen, copies)
		ranges := quoted.Everything(data)
		if base.layer == nil {
			ranges = changed(copies, len(data))
		}
		literals = e.layerOf(ctx, data, ranges, 0)
	default:
		noted, seen = notesAnywhere(t.text)
		if !t.binary {
			literals = e.layerOf(ctx, t.text, quoted.Everything(t.text), 0)
		}
	}
	whole := seen.Whole() && literals.whole()
	switch {
	case !isText && (!found.Empty() || noted != nil || literals != nil):
		return &Scanned{engine: e, found: found, whole: true, data: bytes.Clone(data), left: withReason(nil, whole)}
	case !isText && !whole:
		return &Scanned{engine: e, whole: true, left: []string{leftOut}}
	case !isText:
		return e.binary
	case found == nil && noted == nil && seen == nil && literals == nil:
		return e.nothing
	}
	return e.noted(data, found, noted, seen, literals)
}

// Extents are the ranges of bytes in which the rules' matches stand, whatever
// the path. ok is false where the blob has to be looked at again to tell.
func (s *Scanned) Extents() (ranges [][2]int, ok bool) {
	switch {
	case s == nil:
		return nil, true
	case s.data != nil || s.inner != nil:
		return nil, false
	}
	for _, m := range s.found.All() {
		ranges = append(ranges, [2]int{m.At.Start, m.At.End})
	}
	return ranges, !s.found.Unsettled()
}

// Reasons say why not all of the blob was looked at; none means that all was.
// They are no longer known of a result that was Settled.
func (s *Scanned) Reasons() []string {
	if s == nil {
		return nil
	}
	return s.left
}

// Empty reports whether the blob holds nothing that is a finding at some path.
// The exception are rules that look at nothing but the path (a key store by its
// name): see [Engine.NamesSecret].
func (s *Scanned) Empty() bool {
	return s == nil || s.data == nil && s.inner == nil && s.found.Empty() && s.notes == nil && (s.layer == nil || len(s.layer.runs) == 0)
}

// Settled is s without what only [Engine.ScanDelta] needs, for who keeps many.
func (s *Scanned) Settled() *Scanned {
	switch {
	case s == nil || s == s.engine.nothing, s == s.engine.binary:
		return s
	case s.Empty():
		return s.engine.nothing
	}
	c := *s
	c.found, c.seen, c.whole = s.found.Settled(), nil, true
	return &c
}

// At gives the findings of the blob at a place: what [Engine.ScanAll] gives
// for a unit with these bytes and this place.
func (s *Scanned) At(place Place) []Finding {
	out := s.Unjudged(place)
	for i := range out {
		assess(&out[i])
	}
	return out
}

// Judged is f with class, confidence, their reasons and suppression, if it lacked
// them: see [Scanned.Unjudged].
func (f Finding) Judged() Finding {
	assess(&f)
	return f
}

// Unjudged is At for who looks at many findings and keeps few: class, confidence,
// their reasons and suppression are left to [Finding.Judged].
func (s *Scanned) Unjudged(place Place) []Finding {
	if s == nil {
		return nil
	}
	if s.data != nil {
		return s.engine.Scan(context.Background(), Unit{Data: s.data, Place: place})
	}
	if s.inner != nil {
		return s.unpacked(place)
	}
	if s.engine.rules == nil {
		return nil
	}
	found := s.engine.rules.At(s.found, pathOf(place))
	if len(found) == 0 && s.notes == nil && s.layer == nil {
		return nil
	}
	out := s.notes.findings(place, s.near.findings(place, found, false))
	for i := range out {
		assess(&out[i])
	}
	return over(out, s.layer.at(place))
}

// NamesSecret reports whether some rule finds a secret in a path alone, whatever
// stands in the file, so that [Scanned.At] is worth a call for any blob there.
func (e *Engine) NamesSecret(path string) bool {
	if e.rules != nil {
		return len(e.rules.At(nil, path)) > 0
	}
	return len(e.Scan(context.Background(), Unit{Place: Place{Path: path}})) > 0
}
