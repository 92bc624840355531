package gitwire

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

const (
	modeSubmodule = "160000"
	maxRecord     = 1 << 20 // of one NUL-terminated field: a path or the ids of an octopus merge
)

var errRaw = errors.New("read differences: unexpected answer of git diff-tree")

// change is one path that a commit changed against all of its parents.
type change struct {
	Commit string // or tree, for a comparison of two trees
	Path   string // raw bytes, as the tree has them
	New    string // blob id; "" when the path was deleted or is no blob
	Olds   []string
	Added  bool // no parent had the path
}

// readRaw reads the output of git diff-tree --stdin -r -c --raw -z and calls fn
// for each path: ":MODE MODE ID ID STATUS\0PATH\0" with one parent,
// "::MODE MODE MODE ID ID ID STATUS\0PATH\0" with two, and so on, after a
// header with the commit's id (or the ids of the two trees).
func readRaw(r *bufio.Reader, fn func(change) error) error {
	commit := ""
	for {
		field, err := readField(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(field, ":") {
			// git ends the header of two trees with a line feed, -z or not
			head, rest, _ := strings.Cut(field, "\n")
			commit = head[strings.LastIndexByte(head, ' ')+1:]
			if !isID(commit) {
				return errRaw
			}
			if rest == "" {
				continue
			}
			field = rest
		}
		path, err := readField(r)
		if err != nil || commit == "" || path == "" {
			return errRaw
		}
		c, err := parseRaw(field)
		if err != nil {
			return err
		}
		c.Commit, c.Path = commit, path
		err = fn(c)
		if err != nil {
			return err
		}
	}
}

func parseRaw(record string) (change, error) {
	rest := strings.TrimLeft(record, ":")
	parents := len(record) - len(rest)
	f := strings.Split(rest, " ")
	if len(f) != 2*(parents+1)+1 || f[len(f)-1] == "" {
		return change{}, errRaw
	}
	modes, ids := f[:parents+1], f[parents+1:2*(parents+1)]
	for _, id := range ids {
		if !isID(id) {
			return change{}, errRaw
		}
	}
	c := change{Added: true}
	for i, id := range ids[:parents] {
		if isZero(id) || modes[i] == modeSubmodule {
			continue
		}
		c.Added = false
		if !contains(c.Olds, id) {
			c.Olds = append(c.Olds, id)
		}
	}
	if last := ids[parents]; !isZero(last) && modes[parents] != modeSubmodule {
		c.New = last
	}
	return c, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func readField(r *bufio.Reader) (string, error) {
	var out []byte
	for {
		part, err := r.ReadSlice(0)
		out = append(out, part...)
		if len(out) > maxRecord {
			return "", errRaw
		}
		switch {
		case err == nil:
			return string(out[:len(out)-1]), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(out) == 0:
			return "", io.EOF
		case errors.Is(err, io.EOF):
			return "", errRaw
		default:
			return "", err
		}
	}
}
