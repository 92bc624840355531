package history

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// texts looks at what the commits say about themselves, and flags those that
// say something.
func (s *scan) texts(ctx context.Context, order []int32) {
	s.flagged = make([]bool, len(s.graph.nodes))
	want := make([]bool, len(s.graph.nodes))
	for i := range want {
		want[i] = s.everything()
	}
	for _, i := range order {
		want[i] = true
	}
	if s.early != nil {
		for i := range want {
			seen, ok := s.early.seen[s.graph.nodes[i].object]
			if ok && want[i] {
				want[i], s.flagged[i] = false, seen.says
			}
		}
	}
	p := newPeople(s.o.Engine)
	_ = s.repo.Walk(ctx, gitpack.Walk{
		Kind: gitpack.Commit, MaxBytes: s.limit,
		Want: func(n gitpack.Number) bool {
			i := s.graph.find(n)
			return i >= 0 && want[i]
		},
		Visit: func(_ int, o *gitpack.Object) any {
			if p.says(ctx, gitpack.ParseStatement(o.Data)) {
				s.flagged[s.graph.find(o.Number)] = true
			}
			return nil
		},
	})
}

// attribute emits what was found, commit by commit.
func (s *scan) attribute(ctx context.Context, order []int32, diffs [][]change) {
	// What was found before ctx was done is worth telling.
	stopped := ctx.Err() != nil
	if stopped {
		ctx = context.WithoutCancel(ctx)
	}
	first, hot := s.freshPaths(ctx, order, diffs)
	reader := s.repo.NewReader(1<<20, s.limit)
	for at := len(order) - 1; at >= 0; at-- {
		if ctx.Err() != nil {
			return
		}
		i := order[at]
		s.res.Commits++
		brought := slices.ContainsFunc(diffs[at], func(c change) bool { return s.holds(c.new, c.path) })
		if !brought && !s.flagged[i] && !hot[at] {
			continue
		}
		c, ok := s.readCommit(reader, s.graph.nodes[i].object)
		if !ok {
			continue
		}
		m := &moment{s: s, i: i, changes: diffs[at], place: placeOf(c, s.o.Repository, s.repo.ID(s.graph.nodes[i].object))}
		if s.o.Messages {
			m.message = string(c.Message)
		}
		if s.flagged[i] {
			s.context(ctx, m.place, c, "commit-message", m.put)
		}
		if hot[at] {
			var names []string
			for _, c := range diffs[at] {
				if first[c.path] == int32(at) {
					first[c.path] = -1
					names = append(names, s.paths.path(c.path))
				}
			}
			s.names(ctx, m.place, "path", names, m.put)
		}
		if brought {
			m.blobs()
		}
	}
	s.unattached(ctx, reader, order)
}

func (s *scan) readCommit(reader *gitpack.Reader, n gitpack.Number) (gitpack.Statement, bool) {
	_, data, err := reader.Read(n)
	if err != nil {
		s.lose(why(err), 1)
		return gitpack.Statement{}, false
	}
	return gitpack.ParseStatement(data), true
}

func placeOf(c gitpack.Statement, repository string, id gitpack.ID) scanner.Place {
	return scanner.Place{
		Repository: repository, Commit: id.String(),
		Author: c.Author, Committer: c.Committer, AuthoredAt: utc(c.Authored), CommitAt: utc(c.Committed),
	}
}

// utc leaves a time that nobody wrote down what it is.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// holds reports whether a blob can have findings at a path.
func (s *scan) holds(blob gitpack.Number, path int32) bool {
	f := s.pathFact(path)
	return f&pathIgnored == 0 && (s.found[blob] != nil || f&pathNames != 0 && s.facts[blob]&(scanned|barren) != 0)
}

func (s *scan) pathFact(path int32) pathFact {
	if int(path) >= len(s.pathFacts) {
		return 0
	}
	return s.pathFacts[path]
}

// at gives the findings of a blob at a path, not judged yet.
func (s *scan) at(blob gitpack.Number, path int32) []scanner.Finding {
	if blob == gitpack.None || !s.holds(blob, path) {
		return nil
	}
	place := scanner.Place{Path: s.paths.path(path), Object: "blob"}
	f := s.found[blob]
	if f == nil {
		f = s.o.Engine.ScanBlob(context.Background(), nil) // the path alone says it
	}
	return f.Unjudged(place)
}

// moment is one commit while its findings are told.
type moment struct {
	s       *scan
	i       int32
	place   scanner.Place
	message string
	changes []change
	moved   map[string]bool // rule and secret in files that the commit removes
}

func (m *moment) put(f scanner.Finding) {
	f.CommitMessage = m.message
	m.s.out(f)
}

// blobs emits what the files of the commit hold that its parents did not.
func (m *moment) blobs() {
	s := m.s
	var keys []string
	for i := 0; i < len(m.changes); {
		// A merge gives one change for each version that it replaces.
		path, blob := m.changes[i].path, m.changes[i].new
		j := i + 1
		for j < len(m.changes) && m.changes[j].path == path && m.changes[j].new == blob {
			j++
		}
		replaced := m.changes[i:j]
		i = j
		if !s.holds(blob, path) {
			continue
		}
		var before map[string]bool
		keys = keys[:0]
		for _, f := range s.at(blob, path) {
			k := f.Place.Path + "\x00" + same(f)
			if s.emitted[k] {
				continue
			}
			if before == nil {
				before = map[string]bool{}
				for _, c := range replaced {
					for _, old := range s.at(c.old, path) {
						before[same(old)] = true
					}
				}
			}
			if before[same(f)] || m.wasMoved(f) {
				continue
			}
			keys = append(keys, k)
			m.put(at(f, m.place))
		}
		for _, k := range keys {
			s.emitted[k] = true
		}
	}
}

// wasMoved reports whether a file that the commit removes held the same.
func (m *moment) wasMoved(f scanner.Finding) bool {
	if m.moved == nil {
		m.moved = map[string]bool{}
		for _, c := range m.s.removed(m.i) {
			for _, old := range m.s.at(c.old, c.path) {
				m.moved[same(old)] = true
			}
		}
	}
	return m.moved[same(f)]
}

// same names a rule and a secret, wherever they stand.
func same(f scanner.Finding) string { return f.Rule + "\x00" + f.Secret.Reveal() }

// at moves a blob's finding to a commit.
func at(f scanner.Finding, place scanner.Place) scanner.Finding {
	p := place
	p.Path, p.Object = f.Place.Path, "blob"
	p.Line, p.Column, p.EndLine, p.EndColumn = f.Place.Line, f.Place.Column, f.Place.EndLine, f.Place.EndColumn
	f.Place = p
	return f
}

// freshPaths tells in which commit, as an index of order, each path stood first,
// and which commits bring a path that holds a finding itself.
func (s *scan) freshPaths(ctx context.Context, order []int32, diffs [][]change) (first []int32, hot []bool) {
	first, hot = make([]int32, len(s.paths.all)), make([]bool, len(order))
	for i := range first {
		first[i] = -1
	}
	var fresh []int32
	for at := len(order) - 1; at >= 0; at-- {
		for _, c := range diffs[at] {
			if first[c.path] < 0 {
				first[c.path] = int32(at)
				fresh = append(fresh, c.path)
			}
		}
	}
	const batch = 512
	var mu sync.Mutex
	parallel(ctx, (len(fresh)+batch-1)/batch, func(i int) {
		part := fresh[i*batch : min((i+1)*batch, len(fresh))]
		names := make([]string, len(part))
		for j, p := range part {
			names[j] = s.paths.path(p)
		}
		if s.o.Engine.ScanBlob(ctx, nameText(names)).Empty() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, p := range s.telling(ctx, part) {
			hot[first[p]] = true
			s.pathFacts[p] |= pathSays
		}
	})
	return first, hot
}

// telling gives those of the paths in which something is found, or all where it is
// in no single one.
func (s *scan) telling(ctx context.Context, paths []int32) []int32 {
	var out []int32
	for _, p := range paths {
		if !s.o.Engine.ScanBlob(ctx, nameText([]string{s.paths.path(p)})).Empty() {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		return paths
	}
	return out
}

// nameText puts names on lines of their own.
func nameText(names []string) []byte {
	var b bytes.Buffer
	for i, n := range names {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.ReplaceAll(n, "\n", " "))
	}
	return b.Bytes()
}

// context scans what a commit or tag says about itself.
func (s *scan) context(ctx context.Context, place scanner.Place, c gitpack.Statement, object string, put func(scanner.Finding)) {
	units := []struct {
		object string
		data   []byte
		once   bool
	}{
		{object, c.Message, false},
		{"author", []byte(personText(c.Author)), true},
		{"committer", []byte(personText(c.Committer)), true},
		{"header", c.Extra, false},
	}
	for _, u := range units {
		if len(bytes.TrimSpace(u.data)) == 0 || u.once && s.told[string(u.data)] {
			continue
		}
		if u.once {
			s.told[string(u.data)] = true
		}
		p := place
		p.Object = u.object
		for _, f := range s.o.Engine.Scan(ctx, scanner.Unit{Data: u.data, Place: p}) {
			put(f)
		}
	}
}

// names scans names (paths, refs): typed rules only, since names are full of
// words that generic rules take for keys.
func (s *scan) names(ctx context.Context, place scanner.Place, object string, names []string, put func(scanner.Finding)) {
	if len(names) == 0 {
		return
	}
	place.Object = object
	for _, f := range s.o.Engine.Scan(ctx, scanner.Unit{Data: nameText(names), Place: place}) {
		if f.Provider == "" || f.Place.Line > len(names) {
			continue
		}
		name := names[f.Place.Line-1]
		switch object {
		case "path":
			f.Place.Path = name
		default:
			f.Place.Ref = name
		}
		f.Place.Line, f.Place.EndLine, f.MatchAt.Line, f.MatchAt.EndLine = 1, 1, 1, 1
		put(f)
	}
}

// unattached emits what no commit brought: what refs name themselves, then what
// nothing reaches.
func (s *scan) unattached(ctx context.Context, reader *gitpack.Reader, order []int32) {
	for _, p := range s.pinned {
		for _, f := range s.at(p.blob, p.path) {
			k := f.Place.Path + "\x00" + same(f)
			if !s.emitted[k] {
				s.emitted[k] = true
				s.out(at(f, scanner.Place{Repository: s.o.Repository, Ref: p.ref, Commit: p.commit}))
			}
		}
	}
	if !s.everything() {
		return
	}
	put := func(f scanner.Finding) {
		if !s.broken.Load() {
			f.Tags = append(slices.Clone(f.Tags), tagUnreachable)
		}
		s.out(f)
	}
	for i := range s.graph.nodes {
		n := &s.graph.nodes[i]
		if n.reached || !s.flagged[i] || ctx.Err() != nil {
			continue
		}
		c, ok := s.readCommit(reader, n.object)
		if ok {
			s.context(ctx, placeOf(c, s.o.Repository, s.repo.ID(n.object)), c, "commit-message", put)
		}
	}
	for n, f := range s.facts {
		if f&adrift == 0 || s.found[gitpack.Number(n)] == nil {
			continue
		}
		for _, f := range s.at(gitpack.Number(n), noPath) {
			put(at(f, scanner.Place{Repository: s.o.Repository}))
		}
	}
}
