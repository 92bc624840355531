package gitwire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"stanch/scanner/gitpack"
)

// brought lists the commits that tip has and the push did not find there,
// parents first.
func (f *fetcher) brought(ctx context.Context, tip string) ([]string, error) {
	p := f.push
	if len(p.Commits) > 0 && len(p.Commits) < payloadCommits && !p.Incomplete {
		return p.Commits, nil
	}
	if !isZero(p.Before) {
		ids, known, err := f.list(ctx, tip, p.Before)
		if known || err != nil {
			return ids, err
		}
		f.note("the tip before the push is gone from the server: the history of the tip after it was taken")
	}
	return f.unlisted(ctx, tip)
}

// unlisted lists the history of a created ref without that of the default
// branch, whose own pushes are scanned. Other branches are not left out: two
// branches that were created at once would each leave out the other.
func (f *fetcher) unlisted(ctx context.Context, tip string) ([]string, error) {
	name, head := "", ""
	err := f.remote.refs(ctx, func(r ref) error {
		if r.Name == "HEAD" {
			name, head = r.Target, r.ID
		}
		return nil
	}, "HEAD")
	if err != nil {
		return nil, fmt.Errorf("ask for the default branch: %w", err)
	}
	if name == f.push.Ref || len(head) != len(tip) {
		head = ""
	}
	ids, _, err := f.list(ctx, tip, head)
	return ids, err
}

// list lists the commits that tip reaches and have does not, parents first, the
// newest Limits.Commits at most; known is whether the server has have. An empty
// have leaves nothing out.
func (f *fetcher) list(ctx context.Context, tip, have string) (ids []string, known bool, err error) {
	q := request{wants: []string{tip}, filter: "tree:0"}
	if have != "" {
		q.haves, q.ask = []string{have}, true
	}
	o, got, err := f.get(ctx, "fetch commits", q)
	if err == nil && o == nil {
		if !got.acked {
			return nil, false, nil
		}
		q.ask = false
		o, _, err = f.get(ctx, "fetch commits", q)
	}
	if errors.Is(err, ErrTooLarge) && context.Cause(ctx) == nil {
		f.partial(fmt.Sprintf("size limit reached: only commits within %d of the tip were looked at", shortList))
		q.ask, q.depth = false, shortList
		o, _, err = f.get(ctx, "fetch commits", q)
	}
	if err != nil || o == nil {
		return nil, true, err
	}
	defer o.close()
	ids, err = f.order(ctx, o, tip)
	return ids, true, err
}

// order sorts the commits of a pack that tip reaches, parents first.
func (f *fetcher) order(ctx context.Context, o *objects, tip string) ([]string, error) {
	parents, err := readParents(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("list commits: %w", err)
	}
	start := o.find(tip, gitpack.Commit)
	if start == gitpack.None {
		return nil, nil
	}
	var order []gitpack.Number
	visited := make([]bool, o.Len())
	visited[start] = true
	stack := []gitpack.Number{start}
	next := make([]uint32, o.Len()) // parent to go to
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		if int(next[n]) == len(parents[n]) {
			order = append(order, n)
			stack = stack[:len(stack)-1]
			continue
		}
		p := parents[n][next[n]]
		next[n]++
		if !visited[p] {
			visited[p] = true
			stack = append(stack, p)
		}
	}
	if dropped := len(order) - f.limits.Commits; dropped > 0 {
		f.partial(fmt.Sprintf("%d oldest commits beyond the limit of %d", dropped, f.limits.Commits))
		order = order[dropped:]
	}
	ids := make([]string, len(order))
	for i, n := range order {
		ids[i] = o.ID(n).String()
	}
	return ids, nil
}

// readParents gives the parents of each commit that are in the pack, by number.
func readParents(ctx context.Context, o *objects) ([][]gitpack.Number, error) {
	parents := make([][]gitpack.Number, o.Len())
	var lost sync.Once
	var failed error
	err := o.Walk(ctx, gitpack.Walk{
		Kind: gitpack.Commit,
		Visit: func(_ int, c *gitpack.Object) any {
			// a commit that the pack holds twice is visited once
			for _, p := range gitpack.ParseStatement(c.Data).Parents {
				n := o.find(p, gitpack.Commit)
				if n != gitpack.None && !slices.Contains(parents[c.Number], n) {
					parents[c.Number] = append(parents[c.Number], n)
				}
			}
			return nil
		},
		Failed: func(_ int, _ gitpack.Number, err error) { lost.Do(func() { failed = err }) },
	})
	return parents, errors.Join(err, failed)
}
