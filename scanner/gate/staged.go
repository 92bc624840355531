package gate

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// Staged looks at the blobs of the index that differ from HEAD, which is what a
// commit would add. Where HEAD has no commit yet, all of the index is looked at.
func Staged(ctx context.Context, o Options) (Result, error) {
	l := newLook(o)
	ctx, cancel := context.WithTimeoutCause(ctx, l.Limits.Timeout, errTimeout)
	defer cancel()
	err := l.staged(ctx)
	return l.end(ctx, err)
}

func (l *look) staged(ctx context.Context) error {
	err := l.index(ctx, "HEAD")
	if err != nil && ctx.Err() == nil && l.unborn(ctx) {
		var empty []byte
		empty, err = l.git(ctx, "hash-object", "-t", "tree", "--stdin").Output()
		if err != nil {
			return fmt.Errorf("name the empty tree: %w", err)
		}
		err = l.index(ctx, strings.TrimSpace(string(empty)))
	}
	if err != nil {
		return err
	}
	l.count()
	return l.run(ctx)
}

// unborn reports whether HEAD names a branch without a commit.
func (l *look) unborn(ctx context.Context) bool {
	err := l.git(ctx, "symbolic-ref", "--quiet", "HEAD").Run()
	if err != nil {
		return false
	}
	err = l.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD").Run()
	return err != nil
}

func (l *look) index(ctx context.Context, tree string) error {
	l.changes = nil
	return l.stream(ctx, "list staged changes", nil, func(r *bufio.Reader) error {
		return readRaw(r, func(c change) error {
			if len(l.changes) == l.Limits.Objects {
				l.partial(fmt.Sprintf("the limit of %d objects was reached", l.Limits.Objects))
				return errEnough
			}
			l.changes = append(l.changes, c)
			return nil
		})
	}, "diff-index", "--cached", "-M", "--raw", "-z", "--no-abbrev", tree, "--")
}
