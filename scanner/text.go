package scanner

import (
	"bytes"
	"sort"
	"unicode/utf16"
	"unicode/utf8"
)

// Sniffing looks at as many bytes as git does to tell binary from text.
const sniffBytes = 8000

// shortestRun is the length of printable text in binary data that is looked at.
// Random bytes make a run of 16 once in about ten million bytes.
const shortestRun = 16

// text is the readable form of a unit, and how to get back from it.
type text struct {
	text   []byte
	binary bool
	pieces []piece // of a binary unit, in order
	raw    []byte
}

// piece says that text at out came from raw at in.
type piece struct{ out, in int }

// readable gives data as text: as it is; from UTF-16, which is what Windows
// PowerShell writes; or the printable runs of binary data, each on a line.
func readable(data []byte) text {
	head := data[:min(len(data), sniffBytes)]
	if bytes.IndexByte(head, 0) < 0 {
		return text{text: data}
	}
	order, skip := utf16Order(head)
	if order != 0 {
		return text{text: fromUTF16(data[skip:], order)}
	}
	t := text{binary: true, raw: data}
	for i := 0; i < len(data); {
		j := i
		for j < len(data) && printable(data[j]) {
			j++
		}
		if j-i >= shortestRun {
			t.pieces = append(t.pieces, piece{len(t.text), i})
			t.text = append(t.text, data[i:j]...)
			t.text = append(t.text, '\n')
		}
		i = j + 1
	}
	return t
}

func printable(c byte) bool { return c >= ' ' && c < 0x7f || c == '\n' || c == '\r' || c == '\t' }

// utf16Order is 'l' or 'b' for UTF-16 with a byte order mark, or without one
// when every other byte is zero as in Latin text; else 0.
func utf16Order(head []byte) (order byte, skip int) {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return 'l', 2
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return 'b', 2
	case len(head) < 32:
		return 0, 0
	}
	var zero [2]int
	for i, c := range head {
		if c == 0 {
			zero[i%2]++
		}
	}
	half := len(head) / 2
	switch {
	case zero[0] == 0 && zero[1] >= half*9/10:
		return 'l', 0
	case zero[1] == 0 && zero[0] >= half*9/10:
		return 'b', 0
	}
	return 0, 0
}

func fromUTF16(data []byte, order byte) []byte {
	out := make([]byte, 0, len(data)/2)
	for i := 0; i+1 < len(data); i += 2 {
		r := unit16(data[i:], order)
		if utf16.IsSurrogate(r) {
			pair := utf8.RuneError
			if i+3 < len(data) {
				pair = utf16.DecodeRune(r, unit16(data[i+2:], order))
			}
			if pair != utf8.RuneError {
				i += 2
			}
			r = pair
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func unit16(b []byte, order byte) rune {
	if order == 'l' {
		return rune(b[0]) | rune(b[1])<<8
	}
	return rune(b[1]) | rune(b[0])<<8
}

// restore puts a finding of a binary unit back to where it stands in the raw
// bytes. In UTF-16 the lines are right as they are; columns count in UTF-8.
func (t text) restore(f *Finding, lines *lineCounter) {
	if !t.binary || len(t.pieces) == 0 {
		return
	}
	n := sort.Search(len(t.pieces), func(i int) bool { return t.pieces[i].out > f.Offset }) - 1
	if n < 0 {
		return
	}
	length := f.Secret.Len()
	f.Offset = min(t.pieces[n].in+f.Offset-t.pieces[n].out, len(t.raw))
	line, col := lines.at(f.Offset)
	f.Place.EndLine = line + max(0, f.Place.EndLine-f.Place.Line)
	f.Place.Line, f.Place.Column, f.Place.EndColumn = line, col, col+max(0, length-1)
	f.MatchAt = Span{line, col, f.Place.EndLine, f.Place.EndColumn}
	f.Tags = append(f.Tags, "binary")
}
