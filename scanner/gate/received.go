package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"stanch/scanner"
)

// Received looks at what a push would add to the repository: every object that
// the new tips reach and no ref does yet. It is called from a pre-receive hook,
// in whose environment (see [Options]) git reads the objects from quarantine.
// An error means that nothing is known of the push; limits that were reached
// give a partial result.
func Received(ctx context.Context, updates []Update, o Options) (Result, error) {
	l := newLook(o)
	ctx, cancel := context.WithTimeoutCause(ctx, l.Limits.Timeout, errTimeout)
	defer cancel()
	err := l.received(ctx, updates)
	return l.end(ctx, err)
}

func (l *look) received(ctx context.Context, updates []Update) error {
	var tips []string
	branches := true
	for _, u := range updates {
		if u.Delete() {
			continue // brings nothing
		}
		place := scanner.Place{Ref: u.Ref, Object: "ref-name"}
		l.result.Findings = append(l.result.Findings, l.Engine.Scan(ctx, scanner.Unit{Data: []byte(u.Ref), Place: place})...)
		tips = append(tips, u.New)
		branches = branches && strings.HasPrefix(u.Ref, "refs/heads/")
		l.ref = u.Ref
	}
	if len(tips) != 1 {
		l.ref = "" // which of them holds a commit is not asked
	}
	if len(tips) == 0 {
		return nil
	}
	commits, others, err := l.reach(ctx, tips)
	if err != nil {
		return err
	}
	slices.Reverse(commits) // oldest first
	l.result.Commits = len(commits)
	err = l.differences(ctx, commits)
	if err != nil {
		return err
	}
	l.objects = commits
	if !branches {
		err = l.tagged(ctx, others)
		if err != nil {
			return err
		}
	}
	l.count()
	return l.run(ctx)
}

// count fills in how many blobs are looked at.
func (l *look) count() {
	blobs := map[string]bool{}
	for _, c := range l.changes {
		blobs[c.id] = true
	}
	l.result.Blobs = len(blobs)
}

// named is an object that is no commit, with a path at which a tip reaches it.
type named struct{ id, path string }

// reach lists the objects that the tips reach and no ref does: commits, newest
// first, and all others.
func (l *look) reach(ctx context.Context, tips []string) (commits []string, others []named, err error) {
	err = l.stream(ctx, "list new objects", strings.NewReader(strings.Join(tips, "\n")+"\n"), func(r *bufio.Reader) error {
		for {
			line, err := readLine(r)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			id, path, other := strings.Cut(line, " ")
			if !isID(id) {
				return errAnswer
			}
			if len(commits)+len(others) == l.Limits.Objects {
				l.partial(fmt.Sprintf("the limit of %d objects was reached", l.Limits.Objects))
				return errEnough
			}
			if other {
				others = append(others, named{id, path})
			} else {
				commits = append(commits, id)
			}
		}
	}, "rev-list", "--objects", "--topo-order", "--stdin", "--not", "--all")
	return commits, others, err
}

// differences lists what each commit changed against all of its parents. A blob
// of a new commit that is at the same path in a parent is known or is listed
// for that parent.
func (l *look) differences(ctx context.Context, commits []string) error {
	if len(commits) == 0 {
		return nil
	}
	seen := map[[2]string]bool{}
	return l.stream(ctx, "list changes", strings.NewReader(strings.Join(commits, "\n")+"\n"), func(r *bufio.Reader) error {
		return readRaw(r, func(c change) error {
			k := [2]string{c.id, c.path}
			if seen[k] {
				return nil
			}
			seen[k] = true
			if len(l.changes) == l.Limits.Objects {
				l.partial(fmt.Sprintf("the limit of %d objects was reached", l.Limits.Objects))
				return errEnough
			}
			l.changes = append(l.changes, c)
			return nil
		})
	}, "diff-tree", "--stdin", "--root", "-r", "-c", "-M", "--raw", "-z", "--no-abbrev")
}

// tagged adds the tag objects, and the blobs that a tag reaches without a commit.
func (l *look) tagged(ctx context.Context, others []named) error {
	known := map[string]bool{}
	for _, c := range l.changes {
		known[c.id] = true
	}
	var ask []named
	var ids strings.Builder
	for _, o := range others {
		if !known[o.id] {
			ask = append(ask, o)
			ids.WriteString(o.id + "\n")
		}
	}
	if len(ask) == 0 {
		return nil
	}
	return l.stream(ctx, "list tags", strings.NewReader(ids.String()), func(r *bufio.Reader) error {
		for _, o := range ask {
			kind, err := readLine(r)
			if err != nil {
				return err
			}
			switch kind {
			case "tag":
				l.objects = append(l.objects, o.id)
			case "blob":
				l.changes = append(l.changes, change{path: o.path, id: o.id})
			}
		}
		return nil
	}, "cat-file", "--batch-check=%(objecttype)", "--buffer")
}
