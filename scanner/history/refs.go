package history

import (
	"context"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// pin is a blob that a ref reaches without a commit: it, or a tag, names the
// blob or a tree.
type pin struct {
	blob   gitpack.Number
	path   int32
	ref    string
	commit string
}

// Bounds of what refs lead to: tags of tags, names that are scanned at once,
// and blobs that are pinned.
const (
	mostTags   = 16
	nameBatch  = 1024
	mostPinned = 1 << 20
)

// refs scans ref names and tags, and marks the commits that refs reach. Memory
// does not grow with the number of refs that name commits.
func (s *scan) refs(ctx context.Context) error {
	reader := s.repo.NewReader(1<<20, s.limit)
	seen := map[gitpack.Number]bool{} // tags, and what is no commit
	var names []string
	flush := func() {
		if !s.o.Engine.ScanBlob(ctx, nameText(names)).Empty() {
			s.names(ctx, scanner.Place{Repository: s.o.Repository}, "ref-name", names, s.out)
		}
		names = names[:0]
	}
	err := s.repo.Refs(func(name string, id gitpack.ID) error {
		if name != "HEAD" {
			names = append(names, name)
		}
		if len(names) == nameBatch {
			flush()
		}
		s.ref(ctx, reader, s.repo.Find(id), name, seen, 0)
		return ctx.Err()
	})
	flush()
	return err
}

// ref follows what a ref or tag names.
func (s *scan) ref(ctx context.Context, reader *gitpack.Reader, n gitpack.Number, name string, seen map[gitpack.Number]bool, depth int) {
	if n == gitpack.None {
		s.lose(why(gitpack.ErrMissing), 1)
		s.broken.Store(true)
		return
	}
	if s.repo.Type(n) == gitpack.Commit {
		s.reach(n)
		return
	}
	if seen[n] {
		return
	}
	seen[n] = true
	switch s.repo.Type(n) {
	case gitpack.Tag:
		_, data, err := reader.Read(n)
		if err != nil {
			s.lose(why(err), 1)
			s.broken.Store(true)
			return
		}
		c := gitpack.ParseStatement(data)
		s.res.Tags++
		place := scanner.Place{Repository: s.o.Repository, Ref: name, Author: c.Author, AuthoredAt: utc(c.Authored)}
		id, ok := gitpack.ParseID(c.Object)
		if ok && c.ObjectType == gitpack.Commit {
			place.Commit = c.Object
		}
		s.context(ctx, place, c, "tag-message", s.out)
		if ok && depth < mostTags {
			s.ref(ctx, reader, s.repo.Find(id), name, seen, depth+1)
		}
	case gitpack.Blob:
		s.pinned = append(s.pinned, pin{blob: n, path: noPath, ref: name})
	case gitpack.Tree:
		d := s.differ(4 << 20)
		d.lost = func(err error) {
			s.lose(why(err), 1)
			s.broken.Store(true)
		}
		d.put = func(c change) {
			if len(s.pinned) < mostPinned {
				s.pinned = append(s.pinned, pin{blob: c.new, path: c.path, ref: name})
			} else {
				s.lose(errTooMany.Error(), -1)
				s.broken.Store(true)
			}
		}
		d.fresh(n, nil, noPath, 0)
	default:
		s.lose(why(gitpack.ErrCorrupt), 1)
		s.broken.Store(true)
	}
}

// reach marks a commit and what comes before it.
func (s *scan) reach(n gitpack.Number) {
	i := s.graph.find(n)
	if i < 0 {
		s.lose(why(s.graph.lost[n]), 1)
		s.broken.Store(true)
		return
	}
	s.graph.reach(i, func(i int32) bool {
		fresh := !s.graph.nodes[i].reached
		s.graph.nodes[i].reached = true
		return fresh
	})
}
