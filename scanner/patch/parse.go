package patch

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// parser takes a patch stream apart: commits, files, hunks. What it does not
// understand it leaves out up to the next file and tells; it never fails.
type parser struct {
	data []byte
	pos  int
	odd  bool // something was left out
}

// file is the head of a file's patch.
type file struct {
	name    string // on the new side; "" when the patch deletes the file
	binary  bool
	deleted bool
}

// hunk is one hunk: its added lines, joined, and the number of the first.
type hunk struct {
	added []byte
	line  int
}

var (
	commitMark = []byte("commit ")
	diffMark   = []byte("diff --git ")
	hunkMark   = []byte("@@ -")
)

// line is the current line with its newline, or nil at the end.
func (p *parser) line() []byte {
	rest := p.data[p.pos:]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		return rest
	}
	return rest[:n+1]
}

// nextFile goes to the next file and gives its head. pre is what stands before
// it, from the commit's first line; empty for a further file of a commit.
func (p *parser) nextFile() (pre []byte, f file, ok bool) {
	start := p.pos
	for p.pos < len(p.data) {
		l := p.line()
		switch {
		case bytes.HasPrefix(l, commitMark):
			start = p.pos
		case bytes.HasPrefix(l, diffMark):
			pre = p.data[start:p.pos]
			f, good := p.head()
			if good {
				return pre, f, true
			}
			p.odd = true
			continue
		}
		p.pos += len(l)
	}
	return nil, file{}, false
}

// head reads a file's head, from "diff --git" to before its first hunk.
func (p *parser) head() (f file, ok bool) {
	l := p.line()
	f.name = sameName(string(bytes.TrimSuffix(l[len(diffMark):], []byte("\n"))))
	for p.pos += len(l); p.pos < len(p.data); p.pos += len(l) {
		l = p.line()
		text := string(bytes.TrimSuffix(l, []byte("\n")))
		var err error
		switch {
		case strings.HasPrefix(text, "@@ -"):
			return f, f.deleted || f.name != ""
		case strings.HasPrefix(text, "+++ "):
			var name string
			name, err = nameOf(text[4:], true)
			if name != "/dev/null" {
				f.name = name
			}
		case strings.HasPrefix(text, "rename to "), strings.HasPrefix(text, "copy to "):
			_, rest, _ := strings.Cut(text, " to ")
			f.name, err = nameOf(rest, false)
		case strings.HasPrefix(text, "deleted file mode "):
			f.deleted = true
		case strings.HasPrefix(text, "Binary files "):
			f.binary = true
		case text == "", strings.HasPrefix(text, "diff --git "), strings.HasPrefix(text, "commit "):
			return f, true // nothing but a mode or a name has changed
		}
		if err != nil {
			p.pos += len(l)
			return f, false
		}
	}
	return f, true
}

var errName = errors.New("odd name")

// nameOf reads a path as git writes it, quoted when it holds odd bytes.
// prefixed paths lose their first element (a/, b/) and what follows a tab.
func nameOf(s string, prefixed bool) (string, error) {
	if strings.HasPrefix(s, `"`) {
		end := len(s)
		for i := 1; i < len(s); i++ {
			if s[i] == '\\' {
				i++
			} else if s[i] == '"' {
				end = i + 1
				break
			}
		}
		name, err := strconv.Unquote(s[:end])
		if err != nil {
			return "", errName
		}
		s = name
	} else if prefixed {
		s, _, _ = strings.Cut(s, "\t")
	}
	if s == "" {
		return "", errName
	}
	if !prefixed || s == "/dev/null" {
		return s, nil
	}
	_, name, ok := strings.Cut(s, "/")
	if !ok {
		return s, nil
	}
	return name, nil
}

// sameName is the path in "a/PATH b/PATH", or "" when the two differ.
func sameName(s string) string {
	half := len(s) / 2
	if len(s)%2 == 0 || s[half] != ' ' {
		return ""
	}
	a, errA := nameOf(s[:half], true)
	b, errB := nameOf(s[half+1:], true)
	if errA != nil || errB != nil || a != b {
		return ""
	}
	return a
}

// nextHunk reads the next hunk of the file. added is laid into buf.
func (p *parser) nextHunk(buf []byte) (h hunk, ok bool) {
	head := p.line()
	if !bytes.HasPrefix(head, hunkMark) {
		return hunk{}, false
	}
	p.pos += len(head)
	gone, line, came, good := ranges(head[len(hunkMark):])
	if !good {
		p.odd = true
		return hunk{}, false
	}
	h = hunk{line: line, added: buf[:0]}
	last := byte(0)
	for gone > 0 || came > 0 {
		if p.pos == len(p.data) {
			p.odd = true
			return h, true
		}
		l := p.line()
		switch last = l[0]; last {
		case '+':
			came--
			h.added = append(h.added, l[1:]...)
		case '-':
			gone--
		case ' ', '\n':
			gone--
			came--
		case '\\': // "no newline at end of file" of the old side
		default:
			p.odd = true
			return h, true
		}
		p.pos += len(l)
	}
	if p.pos < len(p.data) && p.data[p.pos] == '\\' {
		p.pos += len(p.line())
		if last == '+' {
			h.added = bytes.TrimSuffix(h.added, []byte("\n"))
		}
	}
	return h, true
}

// ranges reads "1,2 +3,4 @@": how many lines are gone, where the new ones begin
// and how many came.
func ranges(s []byte) (gone, line, came int, ok bool) {
	text, _, found := strings.Cut(string(s[:min(len(s), 64)]), " @@")
	old, now, two := strings.Cut(text, " +")
	_, gone, ok1 := lineRange(old)
	line, came, ok2 := lineRange(now)
	return gone, line, came, found && two && ok1 && ok2
}

func lineRange(s string) (start, count int, ok bool) {
	a, b, two := strings.Cut(s, ",")
	start, err := strconv.Atoi(a)
	if err != nil {
		return 0, 0, false
	}
	if !two {
		return start, 1, true
	}
	count, err = strconv.Atoi(b)
	return start, count, err == nil && count >= 0
}
