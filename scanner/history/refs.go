package history

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"

	"stanch/scanner"
)

// ref is one ref and what it names.
type ref struct{ id, kind, name string }

// readRefs lists all refs. It fails when gitDir is no repository that git reads.
func readRefs(ctx context.Context, gitDir string) ([]ref, error) {
	out, err := output(ctx, gitDir, "for-each-ref", "--format=%(objectname) %(objecttype) %(refname)")
	if err != nil && len(out) == 0 {
		return nil, err
	}
	var refs []ref
	for line := range bytes.Lines(out) {
		field := strings.SplitN(strings.TrimRight(string(line), "\n"), " ", 3)
		if len(field) == 3 && objectID(field[0]) {
			refs = append(refs, ref{field[0], field[1], field[2]})
		}
	}
	return refs, nil
}

// refs scans ref names, tag objects, and refs that name a blob or a tree.
func (s *scan) refs(ctx context.Context, refs []ref) {
	names := make([]string, 0, len(refs))
	for _, r := range refs {
		names = append(names, r.name)
		if r.kind != "commit" {
			s.object(ctx, r.id, r.kind, r.name, 0)
		}
	}
	s.names(ctx, scanner.Place{Repository: s.o.Repository}, "ref-name", names, s.emit)
}

// mostTags is how many tags of tags are followed.
const mostTags = 16

func (s *scan) object(ctx context.Context, id, kind, refName string, depth int) {
	place := scanner.Place{Repository: s.o.Repository, Ref: refName}
	switch kind {
	case "tag":
		o := s.ask(ctx, id, "", false)
		<-o.done
		if o.err != nil {
			s.account(o)
			return
		}
		c := parseCommit(o.data)
		s.res.Tags++
		if c.objectType == "commit" && objectID(c.object) {
			place.Commit = c.object
		}
		place.Author, place.AuthoredAt = c.author, c.authored
		s.context(ctx, place, c, "tag-message", s.emit)
		if c.objectType != "commit" && objectID(c.object) && depth < mostTags {
			s.object(ctx, c.object, c.objectType, refName, depth+1)
		}
	case "blob":
		s.loose(ctx, id, place, "")
	case "tree":
		out, err := output(ctx, s.gitDir, "ls-tree", "-r", "-z", "--full-tree", id)
		if err != nil {
			s.lost["objects could not be read"]++
		}
		for entry := range bytes.SplitSeq(out, []byte{0}) {
			meta, path, ok := bytes.Cut(entry, []byte("\t"))
			field := strings.Fields(string(meta))
			if ok && len(field) == 3 && field[1] == "blob" && !s.o.Engine.IgnoresPath(string(path)) {
				s.loose(ctx, field[2], place, string(path))
			}
		}
	}
}

// loose scans a blob that no commit brings.
func (s *scan) loose(ctx context.Context, id string, place scanner.Place, path string) {
	for _, f := range s.wait(s.blob(ctx, id, path)) {
		k := path + "\x00" + same(f)
		if !s.emitted[k] {
			s.emitted[k] = true
			s.emit(at(f, place, path))
		}
	}
}

// rest scans every object that the walk did not reach since it broke off: of
// these the commit and path are not known. The result stays partial.
func (s *scan) rest(ctx context.Context) {
	cmd := git(ctx, s.gitDir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)")
	var said tail
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return
	}
	err = cmd.Start()
	if err != nil {
		return
	}
	defer func() { _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() }()
	place := scanner.Place{Repository: s.o.Repository}
	var waiting []*object
	flush := func() {
		for _, o := range waiting {
			for _, f := range s.wait(o) {
				s.emit(at(f, place, ""))
			}
		}
		waiting = waiting[:0]
	}
	for lines := bufio.NewScanner(out); lines.Scan() && ctx.Err() == nil; {
		field := strings.Fields(lines.Text())
		if len(field) != 2 || !objectID(field[0]) {
			continue
		}
		switch field[1] {
		case "blob":
			if s.blobs[field[0]] == nil {
				waiting = append(waiting, s.blob(ctx, field[0], ""))
			}
		case "commit":
			o := s.ask(ctx, field[0], "", false)
			<-o.done
			if o.err == nil {
				p := place
				p.Commit = field[0]
				s.context(ctx, p, parseCommit(o.data), "commit-message", s.emit)
			}
		}
		if len(waiting) >= batchSize {
			flush()
		}
	}
	flush()
}
