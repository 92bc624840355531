package githubapp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Limits on the JSON of a delivery. GitHub's payloads are at most ten deep, their
// objects have fewer than 150 keys, their numbers at most 19 digits, and all keys
// are plain ASCII. The limits on the whole body are what 25 MB of the densest real
// payload (an installation's list of repositories) cannot reach; they bound the
// time that a hostile one takes.
const (
	maxJSONDepth   = 64
	maxContainers  = 250_000
	maxKeys        = 1_000_000
	maxOddKeys     = 10_000
	maxObjectKeys  = 1024
	maxKeyBytes    = 256
	maxNumberBytes = 40
	maxExponent    = 3 // digits
)

// errJSON is the cause of every error of checkJSON.
var errJSON = errors.New("is not acceptable JSON")

func badJSON(what string) error { return fmt.Errorf("%w: %s", errJSON, what) }

// checkJSON goes over the bytes once, before any decoder does: one JSON value,
// valid UTF-8, bounded depth, keys and numbers, and no key twice in one object.
// encoding/json would take the last of two keys, and takes "REF" for "ref"; so keys
// that differ only in case count as the same. Errors quote nothing.
func checkJSON(b []byte) error {
	if !utf8.Valid(b) {
		return badJSON("invalid UTF-8")
	}
	c := jsonChecker{b: b}
	c.space()
	err := c.value(0)
	if err != nil {
		return err
	}
	c.space()
	if c.i != len(b) {
		return badJSON("data after the value")
	}
	return nil
}

type jsonChecker struct {
	b    []byte
	i    int
	keys [][]byte // of all open objects; each object owns a tail

	containers, allKeys, oddKeys int
}

func (c *jsonChecker) space() {
	for c.i < len(c.b) {
		switch c.b[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

// next consumes one expected byte.
func (c *jsonChecker) next(want byte) bool {
	if c.i < len(c.b) && c.b[c.i] == want {
		c.i++
		return true
	}
	return false
}

func (c *jsonChecker) value(depth int) error {
	if c.i >= len(c.b) {
		return badJSON("ends early")
	}
	switch b := c.b[c.i]; {
	case b == '"':
		_, err := c.text()
		return err
	case b == '{' || b == '[':
		if depth >= maxJSONDepth {
			return badJSON("nested too deeply")
		}
		c.containers++
		if c.containers > maxContainers {
			return badJSON("too many objects and arrays")
		}
		c.i++
		if b == '{' {
			return c.object(depth + 1)
		}
		return c.array(depth + 1)
	case b == '-' || (b >= '0' && b <= '9'):
		return c.number()
	case b == 't':
		return c.word("true")
	case b == 'f':
		return c.word("false")
	case b == 'n':
		return c.word("null")
	}
	return badJSON("unexpected character")
}

func (c *jsonChecker) word(w string) error {
	if len(c.b)-c.i < len(w) || string(c.b[c.i:c.i+len(w)]) != w {
		return badJSON("unexpected character")
	}
	c.i += len(w)
	return nil
}

func (c *jsonChecker) array(depth int) error {
	c.space()
	if c.next(']') {
		return nil
	}
	for {
		c.space()
		err := c.value(depth)
		if err != nil {
			return err
		}
		c.space()
		if c.next(']') {
			return nil
		}
		if !c.next(',') {
			return badJSON("unexpected character")
		}
	}
}

func (c *jsonChecker) object(depth int) error {
	c.space()
	if c.next('}') {
		return nil
	}
	first := len(c.keys)
	defer func() { c.keys = c.keys[:first] }()
	var seen keySet
	for {
		c.space()
		err := c.key(first, &seen)
		if err != nil {
			return err
		}
		c.space()
		if !c.next(':') {
			return badJSON("unexpected character")
		}
		c.space()
		err = c.value(depth)
		if err != nil {
			return err
		}
		c.space()
		if c.next('}') {
			return nil
		}
		if !c.next(',') {
			return badJSON("unexpected character")
		}
	}
}

// keySet remembers the keys of one object beside jsonChecker.keys.
type keySet struct {
	bits uint64              // one bit for each key's length and ends: mostly answers "new" at once
	all  map[string]struct{} // only for objects with many keys
}

// manyKeys is from where a map is cheaper than comparing one by one.
const manyKeys = 16

func (c *jsonChecker) key(first int, seen *keySet) error {
	raw, err := c.text()
	if err != nil {
		return err
	}
	if len(raw) > maxKeyBytes {
		return badJSON("key too long")
	}
	key := c.foldKey(raw)
	mine := c.keys[first:]
	c.allKeys++
	if len(mine) >= maxObjectKeys || c.allKeys > maxKeys || c.oddKeys > maxOddKeys {
		return badJSON("too many keys")
	}
	if seen.has(mine, key) {
		return badJSON("key twice in one object")
	}
	c.keys = append(c.keys, key)
	return nil
}

// has adds the key and reports whether it was there.
func (s *keySet) has(mine [][]byte, key []byte) bool {
	if s.all != nil {
		if _, twice := s.all[string(key)]; twice {
			return true
		}
		s.all[string(key)] = struct{}{}
		return false
	}
	if len(mine) == manyKeys {
		s.all = make(map[string]struct{}, 4*manyKeys)
		for _, k := range mine {
			s.all[string(k)] = struct{}{}
		}
		return s.has(mine, key)
	}
	h := uint(len(key))
	if len(key) > 0 {
		h = h*7 + uint(key[0]) + 5*uint(key[len(key)-1])
	}
	bit := uint64(1) << (h & 63)
	if s.bits&bit == 0 {
		s.bits |= bit
		return false
	}
	for _, k := range mine {
		if string(k) == string(key) {
			return true
		}
	}
	return false
}

// foldKey gives the form in which keys are compared. Plain lower-case keys, which
// are nearly all that GitHub uses, are not copied.
func (c *jsonChecker) foldKey(raw []byte) []byte {
	upper := false
	for _, b := range raw {
		if b == '\\' || b >= utf8.RuneSelf {
			return c.foldOddKey(raw)
		}
		upper = upper || (b >= 'A' && b <= 'Z')
	}
	if !upper {
		return raw
	}
	return bytes.ToLower(raw)
}

// foldOddKey is foldKey for keys with escapes or beyond ASCII.
func (c *jsonChecker) foldOddKey(raw []byte) []byte {
	c.oddKeys++
	var s string
	quoted := append(append([]byte{'"'}, raw...), '"')
	err := json.Unmarshal(quoted, &s)
	if err != nil {
		return raw // cannot happen: text has accepted it
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = utf8.AppendRune(out, foldRune(r))
	}
	return out
}

// foldRune gives the smallest rune of its case-folding orbit, in lower case where
// that is ASCII: "ſ" and "S" become "s", the Kelvin sign becomes "k".
func foldRune(r rune) rune {
	least := r
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		least = min(least, o)
	}
	if least >= 'A' && least <= 'Z' {
		return least + 'a' - 'A'
	}
	return least
}

// special marks the bytes at which a string is not simply read on.
var special = func() (t [256]bool) {
	for i := range 0x20 {
		t[i] = true
	}
	t['"'], t['\\'] = true, true
	return t
}()

var hexDigit = func() (t [256]bool) {
	for _, h := range "0123456789abcdefABCDEF" {
		t[h] = true
	}
	return t
}()

// text consumes a string and gives what is between its quotes, undecoded.
func (c *jsonChecker) text() ([]byte, error) {
	if !c.next('"') {
		return nil, badJSON("unexpected character")
	}
	start := c.i
	b, i := c.b, c.i
	for {
		for i < len(b) && !special[b[i]] {
			i++
		}
		if i >= len(b) {
			return nil, badJSON("ends early")
		}
		switch b[i] {
		case '"':
			c.i = i + 1
			return b[start:i], nil
		case '\\':
			n := escape(b[i:])
			if n == 0 {
				return nil, badJSON("bad escape in a string")
			}
			i += n
		default:
			return nil, badJSON("control character in a string")
		}
	}
}

// escape gives the length of the escape at the start of b, or 0.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		if hexDigit[b[2]] && hexDigit[b[3]] && hexDigit[b[4]] && hexDigit[b[5]] {
			return 6
		}
	}
	return 0
}

func (c *jsonChecker) digits() int {
	n := 0
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
		n++
	}
	return n
}

func (c *jsonChecker) number() error {
	start := c.i
	c.next('-')
	if c.next('0') {
		if c.digits() > 0 {
			return badJSON("bad number")
		}
	} else if c.digits() == 0 {
		return badJSON("bad number")
	}
	if c.next('.') && c.digits() == 0 {
		return badJSON("bad number")
	}
	if c.next('e') || c.next('E') {
		if !c.next('+') {
			c.next('-')
		}
		switch n := c.digits(); {
		case n == 0:
			return badJSON("bad number")
		case n > maxExponent:
			return badJSON("number out of bounds")
		}
	}
	if c.i-start > maxNumberBytes {
		return badJSON("number out of bounds")
	}
	return nil
}
