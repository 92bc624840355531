// Package quoted reads string literals in which escapes cut what they hold: the
// lines of a notebook, the sources in a source map, a manifest in an annotation,
// a key that is put together from quoted lines.
//
// # What this package promises
//
// A literal ends on the line on which it begins, and what it is depends on nothing
// but its line; a run of them depends on its own lines and those next to it. So a
// text that is made of pieces of another need be read only where it differs.
// [Each] takes time and memory linear in the text, whatever it is.
//
// # What it never does
//
// It parses no language: a quote in a comment or in a regular expression can
// hide the rest of its line.
package quoted

import (
	"bytes"
	"slices"
	"sort"
	"unicode/utf16"
	"unicode/utf8"
)

// Text is what a run of literals stands for, with what stands in front of it on
// its line.
type Text struct {
	Data  []byte
	marks []mark
}

// mark says that what follows at out came from in. With a length it is an escape
// of so many bytes there.
type mark struct{ out, in, length int }

const (
	before      = 128 // bytes of the line in front of a run
	widestGap   = 256 // between two literals of a run
	shortest    = 12  // bytes of a run that can hold a secret and what cuts it
	shortestBit = 8   // of what can be one
)

// Range is a part of a text, its end exclusive.
type Range struct{ Start, End int }

// Everything is the range of a whole text.
func Everything(text []byte) []Range { return []Range{{0, len(text)}} }

// Each calls visit with each run of literals in text that has something to do with
// one of the ranges: with their lines, or with the lines next to them. Ranges are
// sorted, and may be empty. Runs that say what they say without their escapes, and
// those that hold nothing like a secret, are left out. visit ends it with false;
// it has the Text during the call only.
func Each(text []byte, ranges []Range, visit func(*Text) bool) {
	var t Text
	pos := 0
	seen := 0                 // what lies before was dealt with
	thisEnd, nextEnd := -1, 0 // of the line of a range's end, and of the line behind
	for _, r := range ranges {
		if r.Start > seen {
			start := lineStart(text, seen, r.Start)
			start = lineStart(text, seen, max(seen, start-1))
			for start > seen && mayContinue(text, seen, start) {
				start = lineStart(text, seen, start-1)
			}
			pos = max(pos, start)
		}
		if r.End > thisEnd {
			thisEnd = lineEnd(text, r.End)
			nextEnd = lineEnd(text, min(thisEnd+1, len(text)))
		}
		for pos < nextEnd {
			n := bytes.IndexByte(text[pos:nextEnd], '\\')
			if n < 0 {
				pos = nextEnd
				break
			}
			run, next, ok := nextRun(text, lineStart(text, pos, pos+n))
			pos = next
			if !ok || !run.matters(text) {
				continue
			}
			run.read(text, &t)
			if !visit(&t) {
				return
			}
		}
		seen = max(seen, nextEnd, pos)
	}
}

// lineStart is where the line of at begins, or low when that lies behind it.
func lineStart(text []byte, low, at int) int {
	return low + bytes.LastIndexByte(text[low:at], '\n') + 1
}

func lineEnd(text []byte, at int) int {
	n := bytes.IndexByte(text[at:], '\n')
	if n < 0 {
		return len(text)
	}
	return at + n
}

// mayContinue reports whether a run can go on at a line that begins at start: the
// line before, which is not before low, ends as one does that goes on.
func mayContinue(text []byte, low, start int) bool {
	i := start - 1
	for n := 0; i > low && n < widestGap; n++ {
		c := text[i-1]
		if c != ' ' && c != '\t' && c != '\r' && !joins(c) {
			break
		}
		i--
	}
	return i-3 >= low && isQuote(text[i-1]) && text[i-2] == 'n' && text[i-3] == '\\'
}

func isQuote(c byte) bool { return c == '"' || c == '\'' }

// joins reports what can stand between two literals of a run: the comma of a
// list, the sign of a sum.
func joins(c byte) bool { return c == ',' || c == '+' || c == '.' || c == '&' }

// literal is a string between quotes, which stand at open and shut.
type literal struct{ open, shut int }

// A run is of literals that go on where the one before ends.
type run []literal

// nextRun finds the first run on the line of pos, where no literal is open. next is
// behind it, or behind the line.
func nextRun(text []byte, pos int) (r run, next int, ok bool) {
	var never [256]bool // quotes that do not end on this line
	i := pos
	for ; i < len(text) && text[i] != '\n'; i++ {
		c := text[i]
		if c == '\\' {
			i++
			if i < len(text) && text[i] == '\n' {
				break
			}
			continue
		}
		if !isQuote(c) || never[c] || c == '\'' && i > 0 && isWord(text[i-1]) {
			continue
		}
		shut, escaped := closing(text, i)
		if shut < 0 {
			never[c] = true
			continue
		}
		l := literal{i, shut}
		i = shut
		if !escaped {
			continue
		}
		for ok = true; ok; l, ok = following(text, l) {
			r = append(r, l)
		}
		return r, r[len(r)-1].shut + 1, true
	}
	return nil, min(i+1, len(text)), false
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// closing finds the quote that ends what begins at open; -1 when its line has none.
func closing(text []byte, open int) (shut int, escaped bool) {
	q := text[open]
	for i := open + 1; i < len(text); i++ {
		switch text[i] {
		case '\n':
			return -1, false
		case '\\':
			escaped = true
			if i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case q:
			return i, escaped
		}
	}
	return -1, false
}

// following gives the literal that goes on where one ends with an escaped newline:
// the next of a list or of a sum, on the same line or the next.
func following(text []byte, l literal) (literal, bool) {
	if l.shut-l.open < 3 || text[l.shut-1] != 'n' || text[l.shut-2] != '\\' {
		return literal{}, false
	}
	lines, signs := 0, 0
	for i := l.shut + 1; i < len(text) && i-l.shut <= widestGap; i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\t' || c == '\r':
		case c == '\n' && lines == 0:
			lines++
		case joins(c) && signs == 0:
			signs++
		case c == text[l.open]:
			shut, _ := closing(text, i)
			return literal{i, shut}, shut >= 0
		default:
			return literal{}, false
		}
	}
	return literal{}, false
}

// matters reports a run whose escapes hide something that can be a secret.
func (r run) matters(text []byte) bool {
	if len(r) == 1 {
		b := text[r[0].open+1 : r[0].shut]
		for len(b) >= 2 && b[len(b)-2] == '\\' && (b[len(b)-1] == 'n' || b[len(b)-1] == 'r') {
			b = b[:len(b)-2]
		}
		if len(b) < shortest || bytes.IndexByte(b, '\\') < 0 {
			return false
		}
	}
	if bytes.Count(text[r[0].open:min(r[0].shut, r[0].open+256)], []byte(`\x`)) > 16 {
		return false // a file in a program, byte for byte
	}
	for _, l := range r {
		if secretLike(text[l.open+1 : l.shut]) {
			return true
		}
	}
	return false
}

// secretLike reports a piece without spaces, quotes and escapes that holds a digit,
// as nearly all of what is made by machines does.
func secretLike(b []byte) bool {
	n, digit := 0, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c <= ' ' || isQuote(c) || c == '\\' && i+1 < len(b) && b[i+1] != '/' && b[i+1] != 'u':
			n, digit = 0, false
			if c == '\\' {
				i++
			}
			continue
		case c >= '0' && c <= '9':
			digit = true
		}
		n++
		if digit && n >= shortestBit {
			return true
		}
	}
	return false
}

// read gives what a run stands for.
func (r run) read(text []byte, t *Text) {
	t.Data, t.marks = t.Data[:0], t.marks[:0]
	open := r[0].open
	t.copy(text, lineStart(text, max(0, open-before), open), open+1)
	for _, l := range r {
		for i := l.open + 1; i < l.shut; {
			n := bytes.IndexByte(text[i:l.shut], '\\')
			if n < 0 {
				t.copy(text, i, l.shut)
				break
			}
			t.copy(text, i, i+n)
			i += n
			i += t.escape(text, i, l.shut)
		}
	}
	last := r[len(r)-1].shut
	t.copy(text, last, last+1)
}

// Map is a copy of t without its data, to keep.
func (t *Text) Map() Text { return Text{marks: slices.Clone(t.marks)} }

func (t *Text) copy(text []byte, from, to int) {
	if from < to {
		t.marks = append(t.marks, mark{len(t.Data), from, 0})
		t.Data = append(t.Data, text[from:to]...)
	}
}

var simple = func() (s [256]byte) {
	for c, to := range map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', '"': '"', '\'': '\'', '/': '/', '\\': '\\', 'b': ' ', 'f': ' '} {
		s[c] = to
	}
	return s
}()

// escape adds what the escape at i stands for, and gives its length. What is none
// stays as it is.
func (t *Text) escape(text []byte, i, end int) int {
	n := 2
	var b [utf8.UTFMax]byte
	out := b[:0]
	switch c := text[i+1]; {
	case c == 'u':
		r, ok := hex(text, i+2, 4, end)
		if !ok {
			break
		}
		n = 6
		if utf16.IsSurrogate(r) && i+7 < end && text[i+6] == '\\' && text[i+7] == 'u' {
			low, ok := hex(text, i+8, 4, end)
			if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
				r, n = pair, 12
			}
		}
		out = utf8.AppendRune(out, r)
	case c == 'x':
		r, ok := hex(text, i+2, 2, end)
		if ok {
			n, out = 4, append(out, byte(r))
		}
	case simple[c] != 0:
		out = append(out, simple[c])
	}
	if len(out) == 0 {
		t.copy(text, i, i+2)
		return 2
	}
	t.marks = append(t.marks, mark{len(t.Data), i, n})
	t.Data = append(t.Data, out...)
	return n
}

func hex(text []byte, at, n, end int) (r rune, ok bool) {
	if at+n > end {
		return 0, false
	}
	for _, c := range text[at : at+n] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c&0xf + 9
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Source gives the bytes of the text that was read for which the one at i of Data
// stands. They are one, or an escape.
func (t *Text) Source(i int) Range {
	n := sort.Search(len(t.marks), func(n int) bool { return t.marks[n].out > i }) - 1
	if n < 0 {
		return Range{}
	}
	m := t.marks[n]
	if m.length > 0 {
		return Range{m.in, m.in + m.length}
	}
	at := m.in + i - m.out
	return Range{at, at + 1}
}
