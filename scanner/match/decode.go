package match

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// encoded is a piece of text that may be decoded.
type encoded struct {
	extent
	kind kind
}

const (
	isBase64  = 1 << iota // a byte of base64, of either alphabet
	isLikely              // a byte that base64 has and names seldom have
	isHex                 // a hexadecimal digit
	isSpace               // white space of a regexp
	isPrinted             // printable ASCII, or a tab, newline or the like
	isCoded               // can stand in a run that is decoded
)

var bytesAre = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		if isWord(c) || c == '/' || c == '+' || c == '-' {
			t[i] |= isBase64 | isCoded
		}
		if c == '\\' || c == '=' {
			t[i] |= isCoded
		}
		if c >= '0' && c <= '9' || strings.IndexByte("+/-_", c) >= 0 {
			t[i] |= isLikely
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' {
			t[i] |= isHex
		}
		if c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' {
			t[i] |= isSpace
		}
		if 0x08 < c && c < 0x7f {
			t[i] |= isPrinted
		}
	}
	return t
}()

// shortestRun is how many bytes of base64 in a row are looked at.
const (
	shortestRun = 16
	shortestHex = 32
)

// encodings finds what may be decoded, as gitleaks' expression of four
// alternatives does: leftmost first, the earlier alternative on the same place,
// nothing overlapping. Each finder below knows its next place; only the nearest
// is taken, so that a text without any is passed at the speed of a search.
type encodings struct {
	text      []byte
	at        int
	percent   int // next place, len(text) for none; -1 when not known
	backslash int
	plus      int
	run       extent
}

func (e *encodings) next() (encoded, bool) {
	n := len(e.text)
	if e.percent < e.at {
		e.percent = nextPercent(e.text, e.at)
	}
	if e.backslash < e.at {
		e.backslash = nextEscape(e.text, e.at)
	}
	if e.plus < e.at {
		e.plus = nextCodePoint(e.text, e.at)
	}
	if e.run.start < e.at {
		e.run = nextRun(e.text, e.at)
	}
	first := min(e.percent, e.backslash, e.plus, e.run.start)
	if first >= n {
		return encoded{}, false
	}
	var m encoded
	switch first {
	case e.percent:
		m = encoded{extent{first, percentEnd(e.text, first)}, percent}
	case e.plus:
		m = encoded{extent{first, codePointsEnd(e.text, first)}, unicodes}
	case e.backslash:
		m = encoded{extent{first, escapesEnd(e.text, first)}, unicodes}
	default:
		end := first
		for end < e.run.end && bytesAre[e.text[end]]&isHex != 0 {
			end++
		}
		if end-first >= shortestHex {
			m = encoded{extent{first, end}, hexadecimal}
			break
		}
		end = e.run.end
		for end < min(n, e.run.end+2) && e.text[end] == '=' {
			end++
		}
		m = encoded{extent{first, end}, base64s}
	}
	e.at = m.end
	return m, true
}

func hexAt(text []byte, at, n int) bool {
	if at+n > len(text) {
		return false
	}
	for _, c := range text[at : at+n] {
		if bytesAre[c]&isHex == 0 {
			return false
		}
	}
	return true
}

func nextPercent(text []byte, at int) int {
	for at < len(text) {
		i := bytes.IndexByte(text[at:], '%')
		if i < 0 {
			break
		}
		at += i
		if hexAt(text, at+1, 2) {
			return at
		}
		at++
	}
	return len(text)
}

// percentEnd is behind the last escape of the line.
func percentEnd(text []byte, at int) int {
	end := len(text)
	i := bytes.IndexByte(text[at:], '\n')
	if i >= 0 {
		end = at + i
	}
	for end > at {
		i := bytes.LastIndexByte(text[at:end], '%')
		if hexAt(text, at+i+1, 2) {
			return at + i + 3
		}
		end = at + i
	}
	return at + 3
}

func nextEscape(text []byte, at int) int {
	for at < len(text) {
		i := bytes.IndexByte(text[at:], '\\')
		if i < 0 {
			break
		}
		at += i
		if escapeEnd(text, at) > at {
			return at
		}
		at++
	}
	return len(text)
}

// escapeEnd is behind the \uXXXX or \\uXXXX at at, or at when there is none.
func escapeEnd(text []byte, at int) int {
	i := at
	for i < len(text) && i < at+2 && text[i] == '\\' {
		i++
	}
	if i > at && i < len(text) && text[i]|0x20 == 'u' && hexAt(text, i+1, 4) {
		return i + 5
	}
	return at
}

func escapesEnd(text []byte, at int) int {
	for {
		end := escapeEnd(text, at)
		if end == at {
			return at
		}
		at = end
	}
}

func nextCodePoint(text []byte, at int) int {
	for i := at; i < len(text); {
		n := bytes.IndexByte(text[i:], '+')
		if n < 0 {
			break
		}
		i += n
		if i > at && codePointsEnd(text, i-1) > i-1 {
			return i - 1
		}
		i++
	}
	return len(text)
}

// codePointsEnd is behind the U+XXXX at at, each followed by white space or the
// end of the text; at when there is none.
func codePointsEnd(text []byte, at int) int {
	for at+6 <= len(text) && text[at] == 'U' && text[at+1] == '+' && hexAt(text, at+2, 4) {
		if at+6 == len(text) {
			return at + 6
		}
		if bytesAre[text[at+6]]&isSpace == 0 {
			break
		}
		at += 7
	}
	return at
}

// nextRun finds the next run of base64 bytes that is long enough. Of the places
// in such a run one is a multiple of its least length away from at, so that
// only those are looked at; and of the eight places on one of its sides all are
// in the run too, which few words are long enough for.
func nextRun(text []byte, at int) extent {
	const step, half = shortestRun, shortestRun / 2
	n := len(text)
	for k := at + step - 1; k < n; k += step {
		if bytesAre[text[k]]&isBase64 == 0 {
			continue
		}
		if k-half >= at && k+half < n {
			left := bytesAre[text[k-half/2]] & bytesAre[text[k-half+1]]
			right := bytesAre[text[k+half/2]] & bytesAre[text[k+half-1]]
			if (left|right)&isBase64 == 0 {
				continue
			}
		}
		start := k
		for start > at && bytesAre[text[start-1]]&isBase64 != 0 {
			start--
		}
		end := k + 1
		for end < n && bytesAre[text[end]]&isBase64 != 0 {
			end++
		}
		if end-start >= step {
			return extent{start, end}
		}
	}
	return extent{n, n}
}

// decode gives what a piece decodes to, appended to out; nothing when it does
// not, or not to printable ASCII.
func (m encoded) decode(text, out []byte) []byte {
	b := text[m.start:m.end]
	switch m.kind {
	case percent:
		return decodePercent(b, out)
	case unicodes:
		return decodeUnicode(b, out)
	case hexadecimal:
		return decodeHex(b, out)
	}
	return decodeBase64(b, out)
}

func decodePercent(b, out []byte) []byte {
	from := len(out)
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) && hexAt(b, i+1, 2) {
			c := digit(b[i+1])<<4 | digit(b[i+2])
			if bytesAre[c]&isPrinted == 0 {
				return out[:from]
			}
			out = append(out, c)
			i += 2
			continue
		}
		out = append(out, b[i])
	}
	return out
}

func digit(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&0xf + 9
}

// decodeUnicode takes a run of U+XXXX or of \uXXXX; one piece is never both.
func decodeUnicode(b, out []byte) []byte {
	for i := 0; i < len(b); {
		if bytesAre[b[i]]&isHex == 0 || !hexAt(b, i, 4) {
			i++
			continue
		}
		var r rune
		for _, c := range b[i : i+4] {
			r = r<<4 | rune(digit(c))
		}
		out = utf8.AppendRune(out, r)
		i += 4
	}
	return out
}

func decodeHex(b, out []byte) []byte {
	if len(b)%2 != 0 {
		return out
	}
	from, likely := len(out), false
	for i := 0; i < len(b); i += 2 {
		c := digit(b[i])<<4 | digit(b[i+1])
		if bytesAre[c]&isPrinted == 0 {
			return out[:from]
		}
		likely = likely || b[i] <= '9' || b[i+1] <= '9'
		out = append(out, c)
	}
	if !likely {
		return out[:from]
	}
	return out
}

// sixBits are the values of both alphabets of base64; 0xff is none.
var standard, urlSafe = func() (s, u [256]uint8) {
	for i := range s {
		s[i], u[i] = 0xff, 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") {
		s[c], u[c] = uint8(i), uint8(i)
	}
	s['+'], s['/'] = 62, 63
	u['-'], u['_'] = 62, 63
	return s, u
}()

func decodeBase64(b, out []byte) []byte {
	// Most runs are names and paths: their first bytes decode to no text.
	std, url := begins(b, &standard) && len(b)%4 == 0, begins(b, &urlSafe)
	if !std && !url || !anyLikely(b) {
		return out
	}
	from := len(out)
	if std {
		out = tryBase64(base64.StdEncoding, b, out)
	}
	if url && len(out) == from {
		out = tryBase64(base64.RawURLEncoding, b, out)
	}
	return out
}

func begins(b []byte, alphabet *[256]uint8) bool {
	for i := 0; i+4 <= len(b) && i < 12; i += 4 {
		w, x, y, z := alphabet[b[i]], alphabet[b[i+1]], alphabet[b[i+2]], alphabet[b[i+3]]
		if w|x|y|z > 63 || bytesAre[w<<2|x>>4]&bytesAre[x<<4|y>>2]&bytesAre[y<<6|z]&isPrinted == 0 {
			return false
		}
	}
	return true
}

func anyLikely(b []byte) bool {
	for _, c := range b {
		if bytesAre[c]&isLikely != 0 {
			return true
		}
	}
	return false
}

func tryBase64(enc *base64.Encoding, b, out []byte) []byte {
	from := len(out)
	out, err := enc.AppendDecode(out, b)
	if err != nil {
		return out[:from]
	}
	for _, c := range out[from:] {
		if bytesAre[c]&isPrinted == 0 {
			return out[:from]
		}
	}
	return out
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
