package gitpack

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"stanch/scanner"
)

// Statement is what a commit or tag object says. Nothing in it is authenticated.
type Statement struct {
	Tree    string   // of a commit, a full id or ""
	Parents []string // full ids

	Object     string // of a tag: the id of what it names
	ObjectType Type

	Author, Committer   scanner.Person // a tag's tagger is its author
	Authored, Committed time.Time      // in the zone that was written down; zero when it is no time that JSON can show

	Message []byte
	Extra   []byte // lines of the head that are not said by the above: they can hold anything
}

// ParseStatement reads a commit or tag object. It takes any bytes: what does not
// fit the format lands in Extra, so that nothing escapes a scan. What is left out
// are the lines of armoured signatures. The slices are parts of data or copies.
func ParseStatement(data []byte) Statement {
	var s Statement
	head := data
	if bytes.HasPrefix(data, []byte("\n")) {
		head, s.Message = nil, data[1:]
	} else if i := bytes.Index(data, []byte("\n\n")); i >= 0 {
		head, s.Message = data[:i+1], data[i+2:]
	}
	signature := false
	for line := range bytes.Lines(head) {
		text := bytes.TrimSuffix(line, []byte("\n"))
		key, value, _ := bytes.Cut(text, []byte(" "))
		if len(key) == 0 && signature { // continued
			continue
		}
		signature = bytes.HasPrefix(key, []byte("gpgsig")) && bytes.HasPrefix(value, []byte("-----BEGIN "))
		if !signature && !s.header(string(key), value) {
			s.Extra = append(append(s.Extra, text...), '\n')
		}
	}
	return s
}

// header notes a line, and reports whether nothing of it is lost.
func (s *Statement) header(key string, value []byte) bool {
	switch key {
	case "tree":
		return setID(&s.Tree, value)
	case "parent":
		var id string
		if !setID(&id, value) {
			return false
		}
		s.Parents = append(s.Parents, id)
		return true
	case "object":
		return setID(&s.Object, value)
	case "type":
		if s.ObjectType == 0 {
			s.ObjectType = typeOf(string(value))
			return s.ObjectType != 0
		}
	case "author", "tagger":
		return setPerson(&s.Author, &s.Authored, string(value))
	case "committer":
		return setPerson(&s.Committer, &s.Committed, string(value))
	}
	return false
}

func setID(to *string, value []byte) bool {
	_, ok := ParseID(string(value))
	if !ok || *to != "" {
		return false
	}
	*to = string(value)
	return true
}

// setPerson reads "Name <email> SECONDS ZONE". What has no address is all taken
// as the name. It reports whether nothing is lost.
func setPerson(p *scanner.Person, at *time.Time, s string) bool {
	if *p != (scanner.Person{}) {
		return false
	}
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		p.Name = strings.TrimSpace(s)
		return true
	}
	*p = scanner.Person{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : end]}
	seconds, zone, _ := strings.Cut(strings.TrimSpace(s[end+1:]), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	const year10000 = 253_402_300_800 // JSON has no digits for it
	if err == nil && n >= 0 && n < year10000-24*60*60 {
		*at = time.Unix(n, 0).In(zoneOf(zone))
	}
	return len(strings.Trim(s[end+1:], "+-0123456789 ")) == 0
}

func zoneOf(s string) *time.Location {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return time.UTC
	}
	n, err := strconv.Atoi(s[1:])
	if err != nil || n <= 0 || n > 1500 {
		return time.UTC
	}
	seconds := (n/100*60 + n%100) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds)
}
