package match

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/zricethezav/gitleaks/v8/report"
)

// locate fills in where a match is, as gitleaks writes it, and gives the range
// of its lines. gitleaks counts the newline before a line as its column 1, gives
// a match on a last line without a newline everything before it as its line, and
// leaves the end unset for one that only ends there; all that is kept here,
// since allowlists look at these lines, and put right by convert.
func (s *scan) locate(f *report.Finding, m extent) extent {
	if !s.lined {
		s.lined = true
		s.lines.fill(s.raw)
	}
	nl := s.lines.newline
	var none [1]int
	if len(nl) == 0 {
		none[0] = len(s.raw)
		nl = none[:]
	}
	i := sort.SearchInts(nl, m.start+1) // the first newline behind the start
	j := sort.SearchInts(nl, m.end)     // the first one not before the end
	from := func(k int) int {
		if k == 0 {
			return 0
		}
		return nl[k-1]
	}
	line := extent{}
	if i == len(nl) {
		last := nl[i-1]
		f.StartLine, f.EndLine = i, i
		f.StartColumn, f.EndColumn = m.start-last+1, m.end-last
		line.end = min(max(m.end, 0), len(s.raw))
		n := bytes.IndexAny(s.raw[line.end:], "\r\n")
		if n < 0 {
			n = len(s.raw) - line.end
		}
		line.end += n
		return line
	}
	f.StartLine, f.EndLine = i, i
	f.StartColumn = m.start - from(i) + 1
	line = extent{from(i), nl[i]}
	if j < len(nl) && from(j) < m.end {
		f.EndColumn = m.end - from(j)
		if j >= i {
			f.EndLine, line.end = j, nl[j]
		}
	}
	line.end = min(max(line.end, m.end), len(s.raw))
	return line
}

// lineIndex holds the offset of every newline.
type lineIndex struct {
	newline []int
}

func newLineIndex(data []byte) lineIndex {
	var l lineIndex
	l.fill(data)
	return l
}

func (l *lineIndex) fill(data []byte) {
	l.newline = l.newline[:0]
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return
		}
		l.newline = append(l.newline, i+n)
		i += n + 1
	}
}

// offset reads a position as gitleaks writes it: line 0-based; column 1-based
// on the first line, and counted from the newline before it on later ones.
func (l lineIndex) offset(line, column int) int {
	if line <= 0 {
		return column - 1
	}
	return l.newline[min(line, len(l.newline))-1] + column - 1
}

// lineCounter gives the lines and columns of offsets. It is quick for offsets
// near each other.
type lineCounter struct {
	text []byte
	pos  int
	line int // newlines before pos
	bol  int // where the line of pos begins
}

// place fills in lines and columns from the offsets.
func (c *lineCounter) place(s *Span) {
	s.Line, s.Column = c.at(s.Start)
	s.EndLine, s.EndColumn = c.at(max(s.Start, s.End-1))
}

func (c *lineCounter) at(offset int) (line, column int) {
	if offset >= c.pos {
		between := c.text[c.pos:offset]
		n := bytes.Count(between, newline)
		if n > 0 {
			c.line += n
			c.bol = c.pos + bytes.LastIndexByte(between, '\n') + 1
		}
	} else {
		n := bytes.Count(c.text[offset:c.pos], newline)
		if n > 0 {
			c.line -= n
			c.bol = bytes.LastIndexByte(c.text[:offset], '\n') + 1
		}
	}
	c.pos = offset
	return c.line + 1, offset - c.bol + 1
}

var newline = []byte{'\n'}

func shannonRunes(s string, inverse float64) (entropy float64) {
	count := map[rune]int{}
	for _, r := range s {
		count[r]++
	}
	for _, r := range slices.Sorted(maps.Keys(count)) {
		freq := float64(count[r]) * inverse
		entropy -= freq * math.Log2(freq)
	}
	return entropy
}
