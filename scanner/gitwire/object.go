package gitwire

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"stanch/scanner"
)

// commit is what a commit object says. Nothing in it is authenticated.
type commit struct {
	ID        string
	Tree      string
	Parents   []string
	Author    scanner.Person
	Committer scanner.Person
	Authored  time.Time
	Committed time.Time
	Headers   []byte // header lines beyond those of every commit and signatures
	Message   []byte
}

// tag is what an annotated tag object says.
type tag struct {
	Object, Type string
	Tagger       scanner.Person
	Tagged       time.Time
	Message      []byte
}

// parseCommit reads any bytes; what is malformed stays empty, and text that is
// no known header is kept in Headers, so that nothing escapes the scan.
func parseCommit(data []byte) commit {
	var c commit
	head, message := splitObject(data)
	c.Message = message
	signature := false
	for line := range bytes.Lines(head) {
		text := strings.TrimSuffix(string(line), "\n")
		key, value, _ := strings.Cut(text, " ")
		if key == "" { // continuation
			if !signature {
				c.Headers = append(c.Headers, line...)
			}
			continue
		}
		signature = strings.HasPrefix(key, "gpgsig") && strings.HasPrefix(value, "-----BEGIN ")
		switch {
		case key == "tree" && c.Tree == "" && isID(value):
			c.Tree = value
		case key == "parent" && isID(value):
			c.Parents = append(c.Parents, value)
		case key == "author" && c.Author == (scanner.Person{}):
			c.Author, c.Authored = parsePerson(value)
		case key == "committer" && c.Committer == (scanner.Person{}):
			c.Committer, c.Committed = parsePerson(value)
		case signature:
			// base64 of an armoured signature, which is no one's text
		default:
			c.Headers = append(c.Headers, line...)
		}
	}
	return c
}

// parseTag reads any bytes, as parseCommit does.
func parseTag(data []byte) tag {
	var t tag
	head, message := splitObject(data)
	t.Message = message
	for line := range bytes.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch {
		case key == "object" && t.Object == "" && isID(value):
			t.Object = value
		case key == "type" && t.Type == "":
			t.Type = value
		case key == "tagger" && t.Tagger == (scanner.Person{}):
			t.Tagger, t.Tagged = parsePerson(value)
		}
	}
	return t
}

func splitObject(data []byte) (head, message []byte) {
	if bytes.HasPrefix(data, []byte("\n")) {
		return nil, data[1:]
	}
	i := bytes.Index(data, []byte("\n\n"))
	if i < 0 {
		return data, nil
	}
	return data[:i+1], data[i+2:]
}

// parsePerson reads "Name <email> SECONDS ZONE". What does not fit the form is
// all taken as the name.
func parsePerson(s string) (scanner.Person, time.Time) {
	open, end := strings.IndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || end < open {
		return scanner.Person{Name: strings.TrimSpace(s)}, time.Time{}
	}
	p := scanner.Person{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : end]}
	seconds, zone, _ := strings.Cut(strings.TrimSpace(s[end+1:]), " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 || n > 253402300799 { // year 9999: JSON has no more digits
		return p, time.Time{}
	}
	return p, time.Unix(n, 0).In(parseZone(zone))
}

func parseZone(s string) *time.Location {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' {
		return time.UTC
	}
	n, err := strconv.Atoi(s[1:])
	if err != nil || n < 0 || n > 1500 || n == 0 {
		return time.UTC
	}
	seconds := (n/100*60 + n%100) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone("", seconds)
}

func personText(p scanner.Person) []byte {
	if p.Email == "" {
		return []byte(p.Name)
	}
	return []byte(p.Name + " <" + p.Email + ">")
}
