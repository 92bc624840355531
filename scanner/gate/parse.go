package gate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Update is one ref that a push would change, as git tells a pre-receive hook
// on its standard input. An id of zeros is a ref that does not exist.
type Update struct{ Old, New, Ref string }

// Delete reports whether the update deletes the ref.
func (u Update) Delete() bool { return isZero(u.New) }

// mostUpdates bounds what ParseUpdates reads.
const mostUpdates = 1_000_000

// ParseUpdates reads lines of "OLD NEW REF". It takes nothing that git does not
// write, so that a hook that is called in a wrong way does not let a push pass.
func ParseUpdates(r io.Reader) ([]Update, error) {
	var out []Update
	in := bufio.NewReader(r)
	for {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read line %d: %w", len(out)+1, err)
		}
		old, rest, _ := strings.Cut(line, " ")
		now, ref, ok := strings.Cut(rest, " ")
		if !ok || !isID(old) || !isID(now) || len(old) != len(now) || !isRef(ref) {
			return nil, fmt.Errorf("line %d is not \"OLD NEW REF\" with two object ids and a full ref name", len(out)+1)
		}
		if len(out) == mostUpdates {
			return nil, fmt.Errorf("more than %d lines", mostUpdates)
		}
		out = append(out, Update{old, now, ref})
	}
}

// isID reports whether s is a full SHA-1 or SHA-256 object id.
func isID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(id string) bool { return strings.Trim(id, "0") == "" }

func isRef(s string) bool {
	return strings.HasPrefix(s, "refs/") && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

const modeSubmodule = "160000"

// readRaw reads the output of git diff-tree --stdin -r -c --raw -z, or of git
// diff-index --raw -z: ":MODE MODE ID ID STATUS\0PATH\0" with one parent, a
// second PATH when the status is a rename or copy, "::MODE MODE MODE ID ID ID
// STATUS\0PATH\0" with two parents and so on, after a field with the commit's
// id. Deletions and submodules are left out.
func readRaw(r *bufio.Reader, each func(change) error) error {
	commit := ""
	for {
		field, err := readTo(r, 0)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !strings.HasPrefix(field, ":") {
			commit = field
			if !isID(commit) {
				return errAnswer
			}
			continue
		}
		c, paths, err := parseRaw(field)
		if err != nil {
			return err
		}
		for range paths {
			c.path, err = readTo(r, 0)
			if err != nil || c.path == "" {
				return errAnswer
			}
		}
		c.commit = commit
		if c.id == "" {
			continue
		}
		err = each(c)
		if err != nil {
			return err
		}
	}
}

// parseRaw reads one record, and says how many paths follow.
func parseRaw(record string) (c change, paths int, err error) {
	rest := strings.TrimLeft(record, ":")
	parents := len(record) - len(rest)
	f := strings.Split(rest, " ")
	if len(f) != 2*(parents+1)+1 || f[len(f)-1] == "" {
		return change{}, 0, errAnswer
	}
	modes, ids, status := f[:parents+1], f[parents+1:2*(parents+1)], f[len(f)-1]
	for i, id := range ids {
		if !isID(id) {
			return change{}, 0, errAnswer
		}
		if isZero(id) || modes[i] == modeSubmodule {
			continue
		}
		if i == parents {
			c.id = id
		} else if !slices.Contains(c.olds, id) {
			c.olds = append(c.olds, id)
		}
	}
	if status == "U" {
		c.id = "" // not merged: no commit can be made of it
	}
	if parents == 1 && (status[0] == 'R' || status[0] == 'C') {
		return c, 2, nil
	}
	return c, 1, nil
}
