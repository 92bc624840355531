package history

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"stanch/scanner"
)

// commit is what a commit or tag object says, unauthenticated.
type commit struct {
	object              string // of a tag: what it names
	objectType          string
	author, committer   scanner.Person // a tag's tagger is its author
	authored, committed time.Time
	message             []byte
	extra               []byte // headers that Git does not need: they can hold anything
}

// parseCommit reads a commit or tag object. Nothing in it is trusted, and
// whatever does not fit the format lands in extra.
func parseCommit(data []byte) commit {
	var c commit
	head, message, found := bytes.Cut(data, []byte("\n\n"))
	if !found {
		head = bytes.TrimSuffix(data, []byte("\n"))
	}
	c.message = message
	signature := false
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		if signature && bytes.HasPrefix(line, []byte(" ")) {
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(" "))
		signature = false
		switch string(key) {
		case "tree", "parent", "tag", "encoding":
		case "gpgsig", "gpgsig-sha256":
			signature = true
		case "object":
			c.object = string(value)
		case "type":
			c.objectType = string(value)
		case "author", "tagger":
			c.author, c.authored = parsePerson(string(value))
		case "committer":
			c.committer, c.committed = parsePerson(string(value))
		default:
			c.extra = append(append(c.extra, line...), '\n')
		}
	}
	return c
}

// parsePerson reads "Name <email> seconds zone".
func parsePerson(s string) (scanner.Person, time.Time) {
	open, shut := strings.LastIndexByte(s, '<'), strings.LastIndexByte(s, '>')
	if open < 0 || shut < open {
		return scanner.Person{Name: s}, time.Time{}
	}
	p := scanner.Person{Name: strings.TrimSpace(s[:open]), Email: s[open+1 : shut]}
	field := strings.Fields(s[shut+1:])
	if len(field) == 0 {
		return p, time.Time{}
	}
	sec, err := strconv.ParseInt(field[0], 10, 64)
	if err != nil || sec < 0 || sec > 1<<36 {
		return p, time.Time{} // not a time that Git or JSON can show
	}
	return p, time.Unix(sec, 0).UTC()
}
