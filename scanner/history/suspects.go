package history

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"sync"

	"stanch/scanner/gitpack"
)

// Suspects gives the commits that add or change lines in which the engine's
// rules match, and how many commits there are; both without merges. A commit
// that is not among them adds no line with a match, whatever git makes of its
// difference to its parent: lines that two versions of a file begin with, or end
// with, are not counted among those that changed. ok is false where the
// repository cannot tell: it lacks objects, or git reads it otherwise (replaced
// objects, grafts).
func Suspects(ctx context.Context, gitDir string, o Options) (ids []string, commits int, ok bool, err error) {
	repo, err := gitpack.OpenContext(ctx, gitDir)
	if err != nil {
		return nil, 0, false, err
	}
	defer repo.Close()
	s := newScan(repo, o)
	err = s.open(ctx)
	if err != nil {
		return nil, 0, false, err
	}
	ok = !exists(filepath.Join(gitDir, "info", "grafts"))
	err = repo.Refs(func(name string, _ gitpack.ID) error {
		ok = ok && !strings.HasPrefix(name, "refs/replace/")
		return nil
	})
	if err != nil || !ok {
		return nil, 0, false, err
	}
	order := s.choose()
	diffs := s.diffs(ctx, order)
	s.judgePaths(ctx, diffs)
	s.scanBlobs(ctx)
	var mu sync.Mutex
	const batch = 64
	parallel(ctx, (len(order)+batch-1)/batch, func(b int) {
		reader := repo.NewReader(8<<20, s.limit)
		for at := b * batch; at < min((b+1)*batch, len(order)); at++ {
			n := &s.graph.nodes[order[at]]
			if len(n.parents) > 1 {
				continue
			}
			suspect := false
			for _, c := range diffs[at] {
				suspect = s.touches(reader, c)
				if suspect {
					break
				}
			}
			mu.Lock()
			commits++
			if suspect {
				ids = append(ids, repo.ID(n.object).String())
			}
			mu.Unlock()
		}
	})
	return ids, commits, ok && !s.broken.Load() && len(s.lost) == 0, ctx.Err()
}

// touches reports whether a change of a file concerns a line with a match.
func (s *scan) touches(reader *gitpack.Reader, c change) bool {
	found := s.found[c.new]
	switch {
	case s.pathFact(c.path)&pathNames != 0:
		return true
	case s.pathFact(c.path)&pathIgnored != 0 || found == nil:
		return false
	}
	ranges, all := found.Extents()
	if !all || c.old == gitpack.None {
		return true
	}
	_, old, err := reader.Read(c.old)
	if err != nil {
		return true
	}
	old = bytes.Clone(old) // the reader's until it reads on
	_, data, err := reader.Read(c.new)
	if err != nil {
		return true
	}
	from, to := changed(old, data)
	for _, r := range ranges {
		if r[0] < to && r[1] > from {
			return true
		}
	}
	return false
}

// changed is the range of now, in whole lines, outside of which it is the same
// as before, with a line more on both sides.
func changed(before, now []byte) (from, to int) {
	most := min(len(before), len(now))
	from = commonPrefix(before[:most], now[:most])
	from = bytes.LastIndexByte(now[:from], '\n') + 1
	tail := 0
	for tail < most-from && before[len(before)-1-tail] == now[len(now)-1-tail] {
		tail++
	}
	to = len(now) - tail
	next := bytes.IndexByte(now[to:], '\n')
	if next < 0 {
		to = len(now)
	} else {
		to += next + 1
	}
	if from > 0 {
		from = bytes.LastIndexByte(now[:from-1], '\n') + 1
	}
	if next := bytes.IndexByte(now[to:], '\n'); next >= 0 {
		return from, to + next + 1
	}
	return from, len(now)
}

// commonPrefix is how many bytes a and b, of one length, begin with alike.
func commonPrefix(a, b []byte) int {
	n := 0
	for n+64 <= len(a) && bytes.Equal(a[n:n+64], b[n:n+64]) {
		n += 64
	}
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}
