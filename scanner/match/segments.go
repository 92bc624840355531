package match

import (
	"math/bits"
	"sort"
	"strconv"
)

// This file keeps track of what stood where before it was decoded, in just the
// way of gitleaks' detect/codec, quirks included: ranges that touch overlap, and
// a match that reaches out of a decoded piece is mapped by its overhang.

// kind is a set of encodings.
type kind uint8

// In the order of their precedence where two claim the same text.
const (
	percent kind = 1 << iota
	unicodes
	hexadecimal
	base64s
)

var kindNames = [...]string{"percent", "unicode", "hex", "base64"}

// extent is a range of a text.
type extent struct{ start, end int }

func (s extent) overlaps(o extent) bool { return o.start <= s.end && o.end >= s.start }
func (s extent) contains(o extent) bool { return s.start <= o.start && o.end <= s.end }
func (s extent) merge(o extent) extent  { return extent{min(s.start, o.start), max(s.end, o.end)} }

// segment is a piece of text that one pass decoded.
type segment struct {
	original extent // in the text as it was given
	encoded  extent // in the text before this pass
	decoded  extent // in the text after this pass
	kinds    kind   // of this and of the passes before
}

// layer is what one pass decoded, in order; below is the pass before, if any.
type layer struct {
	segments []segment
	below    *layer
	depth    int
}

// overlapping gives the segments whose decoded text e overlaps or touches.
func overlapping(segments []segment, e extent) []segment {
	from := sort.Search(len(segments), func(i int) bool { return segments[i].decoded.end >= e.start })
	to := from
	for to < len(segments) && segments[to].decoded.start <= e.end {
		to++
	}
	return segments[from:to]
}

// toOriginal takes a range of the text that l decoded to the text as it was
// given.
func toOriginal(segments []segment, below *layer, e extent) extent {
	for {
		if len(segments) == 0 {
			return e
		}
		var encoded extent
		for _, p := range overlapping(segments, e) {
			if p.decoded.contains(e) {
				return p.original
			}
			m := p.decoded.merge(e)
			over := extent{p.encoded.start + m.start - p.decoded.start, p.encoded.end + m.end - p.decoded.end}
			if encoded.end == 0 {
				encoded = over
			} else {
				encoded = encoded.merge(over)
			}
		}
		if encoded.end == 0 {
			return e
		}
		if below == nil {
			return encoded
		}
		segments, below, e = below.segments, below.below, encoded
	}
}

// tags says how something was encoded.
func tags(k kind, depth int) []string {
	out := make([]string, 0, bits.OnesCount8(uint8(k))+1)
	for i, name := range kindNames {
		if k>>i&1 != 0 {
			out = append(out, "decoded:"+name)
		}
	}
	return append(out, "decode-depth:"+strconv.Itoa(depth))
}
