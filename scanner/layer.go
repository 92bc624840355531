package scanner

import (
	"context"
	"slices"
	"sort"
	"strings"

	"stanch/scanner/match"
	"stanch/scanner/quoted"
	"stanch/scanner/rules"
	"stanch/scanner/structured"
)

// A layer is what the literals of a text say once their escapes are read: the
// lines of a notebook, the files in a source map. It does not change; nil is that
// of a text in which nothing was found so.
type layer struct {
	runs []literalRun
	cut  bool // there was more
}

// literalRun is a run of literals in which something was found.
type literalRun struct {
	*Scanned
	text  quoted.Text // without its data
	lines []int       // where its lines begin, in it
	from  lineStarts  // of the text around it
}

// lineStarts are line numbers of a text and where these lines begin.
type lineStarts []struct{ at, line int }

const (
	mostRuns  = 2000 // with findings, of one text
	mostLayer = 3    // literals in literals in literals
)

// layerOf reads the literals of a text that have to do with one of the ranges.
func (e *Engine) layerOf(ctx context.Context, text []byte, ranges []quoted.Range, depth int) *layer {
	if e.plain || e.rules == nil || depth >= mostLayer {
		return nil
	}
	var l layer
	lines := lineCounter{text: text}
	quoted.Each(text, ranges, func(t *quoted.Text) bool {
		s := e.literal(ctx, t.Data, depth+1)
		if s.Empty() {
			l.cut = l.cut || len(s.Reasons()) > 0
			return ctx.Err() == nil
		}
		if len(l.runs) == mostRuns {
			l.cut = true
			return false
		}
		r := literalRun{Scanned: s.Settled(), text: t.Map(), lines: []int{0}}
		for i, c := range t.Data {
			if c == '\n' {
				r.lines = append(r.lines, i+1)
			}
		}
		for at := t.Source(0).Start; at < t.Source(len(t.Data)-1).End; {
			line, column := lines.at(at)
			r.from = append(r.from, struct{ at, line int }{at - column + 1, line})
			end := at
			for end < len(text) && text[end] != '\n' {
				end++
			}
			at = end + 1
		}
		l.runs = append(l.runs, r)
		l.cut = l.cut || len(s.Reasons()) > 0
		return ctx.Err() == nil
	})
	if len(l.runs) == 0 && !l.cut {
		return nil
	}
	return &l
}

// literal looks at what a run of literals says.
func (e *Engine) literal(ctx context.Context, data []byte, depth int) *Scanned {
	found := e.rules.Candidates(ctx, data)
	noted, seen := notesAnywhere(data)
	inner := e.layerOf(ctx, data, quoted.Everything(data), depth)
	if found.Empty() && noted == nil && inner == nil && seen.Whole() {
		return e.nothing
	}
	return e.noted(data, found, noted, seen, inner)
}

// whole reports whether nothing was left out.
func (l *layer) whole() bool { return l == nil || !l.cut }

// at gives the findings of a layer at a place, where they stand in the text.
func (l *layer) at(place Place) (out []Finding) {
	if l == nil {
		return nil
	}
	for i := range l.runs {
		r := &l.runs[i]
		for _, f := range r.Scanned.At(place) {
			if f.Secret.IsZero() || f.end <= f.Offset {
				continue // the path alone
			}
			r.restore(&f)
			out = append(out, f)
		}
	}
	return out
}

// restore puts a finding of a run to where it stands in the text around it.
func (r *literalRun) restore(f *Finding) {
	first, last := r.text.Source(f.Offset).Start, r.text.Source(f.end-1).End-1
	m := &f.MatchAt
	matchFirst, matchLast := r.text.Source(r.offset(m.Line, m.Column)).Start, r.text.Source(r.offset(m.EndLine, m.EndColumn)).End-1
	f.Offset, f.end = first, last+1
	f.Place.Line, f.Place.Column = r.from.position(first)
	f.Place.EndLine, f.Place.EndColumn = r.from.position(last)
	m.Line, m.Column = r.from.position(matchFirst)
	m.EndLine, m.EndColumn = r.from.position(matchLast)
	if !slices.Contains(f.Tags, tagEscapes) {
		f.Tags = append(slices.Clip(f.Tags), tagEscapes)
	}
}

// tagEscapes marks what escapes of a literal were read to find.
const tagEscapes = "decoded:escapes"

func (r *literalRun) offset(line, column int) int {
	return r.lines[max(0, min(line, len(r.lines))-1)] + max(0, column-1)
}

func (s lineStarts) position(at int) (line, column int) {
	n := max(0, sort.Search(len(s), func(i int) bool { return s[i].at > at })-1)
	return s[n].line, at - s[n].at + 1
}

// over adds the findings of a layer to those of the text itself. Of two that
// overlap the one that knows more stays; else the one whose secret is read as it is
// meant. found is sorted by offset.
func over(found, layered []Finding) []Finding {
	if len(layered) == 0 {
		return found
	}
	drop := make([]bool, len(found))
	kept := layered[:0:0]
	for i := range layered {
		l := &layered[i]
		lost := false
		for k := range found {
			f := &found[k]
			if f.Offset >= l.end {
				break
			}
			if f.end <= l.Offset || f.Secret.IsZero() || drop[k] {
				continue
			}
			same := strings.Contains(f.Secret.Reveal(), l.Secret.Reveal())
			switch a, b := knowledge(f), knowledge(l); {
			case a > b, same && a == b, same && f.Rule == "structured-gcp-service-account":
				lost = true
			default:
				drop[k] = true
			}
		}
		if !lost {
			kept = append(kept, *l)
		}
	}
	out := make([]Finding, 0, len(found)+len(kept))
	for k := range found {
		if !drop[k] {
			out = append(out, found[k])
		}
	}
	out = append(out, kept...)
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Offset - b.Offset })
	return out
}

// knowledge orders findings by what their rule knows of the secret.
func knowledge(f *Finding) int {
	_, typed := rules.Of(f.Rule, f.Secret.Reveal())
	switch {
	case typed, strings.HasPrefix(f.Rule, "structured-") && f.Rule != ruleSetting:
		return 2
	case strings.Contains(f.Rule, "generic"):
		return 0
	}
	return 1
}

// changed are the ranges of a text of the given length that no copy covers; where
// two copies meet there is an empty one.
func changed(copies []Copy, length int) []quoted.Range {
	var out []quoted.Range
	at := 0
	for _, c := range copies {
		if c.New > at || at > 0 || c.Old > 0 {
			out = append(out, quoted.Range{Start: at, End: c.New})
		}
		at = c.New + c.Len
	}
	return append(out, quoted.Range{Start: at, End: length})
}

// noted puts together what is known of a text.
func (e *Engine) noted(data []byte, found *match.Candidates, noted *notes, seen *structured.Seen, literals *layer) *Scanned {
	all := found.All()
	out := &Scanned{engine: e, found: found, seen: seen, layer: literals, left: withReason(nil, seen.Whole() && literals.whole())}
	if !e.plain {
		out.near = nearKeyIDs(data, all)
		out.notes = noted.about(data, all, out.near)
	}
	return out
}
