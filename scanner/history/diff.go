package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	goruntime "runtime"
	"sync"
	"sync/atomic"

	"stanch/scanner/gitpack"
)

// Bounds of the comparison of trees: changes that are kept (12 bytes each),
// bytes of trees that are remembered, directories in each other, and the size
// of one tree.
const (
	mostChanges  = 16 << 20
	treeCache    = 24 << 20
	mostDirs     = 1000
	maxTreeBytes = 64 << 20
)

// change is a file that a commit has in a version that none of its parents has
// at that path. old is one of theirs, or gitpack.None; a merge can give several.
type change struct {
	path     int32
	new, old gitpack.Number
}

var errTooMany = errors.New("history holds more paths or changes than are told apart")

// treeEntry is one entry of a tree.
type treeEntry struct {
	mode uint32
	name []byte
	id   []byte
	raw  []byte
}

const modeTree = 0o040000

// isBlob tells a file or symbolic link from a tree or submodule.
func (e *treeEntry) isBlob() bool {
	return e.mode&0o170000 == 0o100000 || e.mode&0o170000 == 0o120000
}

func (e *treeEntry) isTree() bool { return e.mode == modeTree }

// nextEntry reads the first entry of a tree.
func nextEntry(b []byte, idSize int) (e treeEntry, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && i < 8 && b[i] != ' '; i++ {
		if b[i] < '0' || b[i] > '7' {
			return e, nil, false
		}
		e.mode = e.mode<<3 | uint32(b[i]-'0')
	}
	if i == len(b) || b[i] != ' ' {
		return e, nil, false
	}
	n := bytes.IndexByte(b[i+1:], 0)
	if n <= 0 || len(b)-(i+2+n) < idSize {
		return e, nil, false
	}
	end := i + 2 + n + idSize
	e.name, e.id, e.raw = b[i+1:i+1+n], b[end-idSize:end], b[:end]
	return e, b[end:], true
}

// compareNames orders entries as trees do: a directory as if its name ended in
// a slash.
func compareNames(a, b *treeEntry) int {
	n := min(len(a.name), len(b.name))
	c := bytes.Compare(a.name[:n], b.name[:n])
	if c != 0 {
		return c
	}
	end := func(e *treeEntry) int {
		switch {
		case len(e.name) > n:
			return int(e.name[n])
		case e.isTree():
			return '/'
		}
		return 0
	}
	return end(a) - end(b)
}

// skipEqual gives the length of the entries that a and b both begin with.
func skipEqual(a, b []byte, idSize int) int {
	n := min(len(a), len(b))
	same := 0
	for same+8 <= n && binary.LittleEndian.Uint64(a[same:]) == binary.LittleEndian.Uint64(b[same:]) {
		same += 8
	}
	for same < n && a[same] == b[same] {
		same++
	}
	at := 0
	for {
		name := bytes.IndexByte(a[at:same], 0)
		if name < 0 || at+name+1+idSize > same {
			return at
		}
		at += name + 1 + idSize
	}
}

// cursor goes through a tree beside another one.
type cursor struct {
	rest []byte
	cur  treeEntry
	have bool
}

// at moves to the entry that has the place of e, and reports whether there is one.
func (c *cursor) at(e *treeEntry, idSize int) bool {
	for {
		if !c.have {
			var ok bool
			c.cur, c.rest, ok = nextEntry(c.rest, idSize)
			if !ok {
				c.rest = nil
				return false
			}
			c.have = true
		}
		switch n := compareNames(&c.cur, e); {
		case n < 0:
			c.have = false
		case n == 0:
			return true
		default:
			return false
		}
	}
}

// differ compares trees. It is used by one goroutine at a time.
type differ struct {
	repo   *gitpack.Repo
	reader *gitpack.Reader
	paths  *paths
	idSize int
	left   *atomic.Int64 // changes that may still be noted
	put    func(change)
	lost   func(error) // of trees that cannot be read
}

// fresh puts the blobs of tree that are in none of the trees old at the same
// path.
func (d *differ) fresh(tree gitpack.Number, old []gitpack.Number, dir int32, depth int) {
	data, ok := d.tree(tree, depth)
	if !ok {
		return
	}
	var few [2]cursor
	cursors := few[:0]
	for _, o := range old {
		was, ok := d.tree(o, depth)
		if ok {
			cursors = append(cursors, cursor{rest: was})
		}
	}
next:
	for len(data) > 0 {
		if len(cursors) == 1 && !cursors[0].have {
			n := skipEqual(data, cursors[0].rest, d.idSize)
			data, cursors[0].rest = data[n:], cursors[0].rest[n:]
			if len(data) == 0 {
				return
			}
		}
		e, rest, ok := nextEntry(data, d.idSize)
		if !ok {
			d.lost(gitpack.ErrCorrupt)
			return
		}
		data = rest
		for i := range cursors {
			c := &cursors[i]
			if !c.have && bytes.HasPrefix(c.rest, e.raw) {
				c.rest = c.rest[len(e.raw):]
				continue next
			}
			if c.at(&e, d.idSize) && bytes.Equal(c.cur.id, e.id) && c.cur.isTree() == e.isTree() {
				c.have = false
				continue next
			}
		}
		switch {
		case e.isTree():
			var fewSubs [2]gitpack.Number
			subs := fewSubs[:0]
			for i := range cursors {
				c := &cursors[i]
				if c.at(&e, d.idSize) && c.cur.isTree() {
					subs = append(subs, d.repo.FindRaw(c.cur.id))
				}
			}
			if d.paths.full() || d.left.Load() <= 0 {
				d.lost(errTooMany)
				return
			}
			d.fresh(d.repo.FindRaw(e.id), subs, d.paths.number(dir, e.name), depth+1)
		case e.isBlob():
			if d.left.Add(-1) < 0 {
				d.lost(errTooMany)
				return
			}
			ch := change{path: d.paths.number(dir, e.name), new: d.repo.FindRaw(e.id), old: gitpack.None}
			if ch.new == gitpack.None {
				d.lost(gitpack.ErrMissing)
				continue
			}
			several := false
			for i := range cursors {
				c := &cursors[i]
				if !c.at(&e, d.idSize) || !c.cur.isBlob() {
					continue
				}
				o := d.repo.FindRaw(c.cur.id)
				if o == gitpack.None || several && o == ch.old {
					continue
				}
				ch.old = o
				several = true
				d.put(ch)
			}
			if !several {
				d.put(ch)
			}
		}
		for i := range cursors {
			c := &cursors[i]
			c.have = c.have && compareNames(&c.cur, &e) != 0
		}
	}
}

// gone puts the blobs of old for whose path tree has no blob.
func (d *differ) gone(tree, old gitpack.Number, dir int32, depth int) {
	was, ok := d.tree(old, depth)
	if !ok {
		return
	}
	var now cursor
	if tree != gitpack.None {
		now.rest, _ = d.tree(tree, depth)
	}
	for len(was) > 0 {
		if !now.have {
			n := skipEqual(was, now.rest, d.idSize)
			was, now.rest = was[n:], now.rest[n:]
			if len(was) == 0 {
				return
			}
		}
		e, rest, ok := nextEntry(was, d.idSize)
		if !ok {
			return
		}
		was = rest
		there := now.at(&e, d.idSize)
		now.have = now.have && !there
		switch {
		case e.isTree():
			sub := gitpack.None
			if there && now.cur.isTree() {
				if bytes.Equal(now.cur.id, e.id) {
					continue
				}
				sub = d.repo.FindRaw(now.cur.id)
			}
			d.gone(sub, d.repo.FindRaw(e.id), d.paths.number(dir, e.name), depth+1)
		case e.isBlob() && !(there && now.cur.isBlob()):
			if d.left.Add(-1) < 0 {
				return
			}
			n := d.repo.FindRaw(e.id)
			if n != gitpack.None {
				d.put(change{path: d.paths.number(dir, e.name), new: gitpack.None, old: n})
			}
		}
	}
}

// tree reads a tree.
func (d *differ) tree(n gitpack.Number, depth int) ([]byte, bool) {
	if n == gitpack.None {
		d.lost(gitpack.ErrMissing)
		return nil, false
	}
	if depth > mostDirs {
		d.lost(gitpack.ErrCorrupt)
		return nil, false
	}
	t, data, err := d.reader.Read(n)
	if err == nil && t != gitpack.Tree {
		err = gitpack.ErrCorrupt
	}
	if err != nil {
		d.lost(err)
		return nil, false
	}
	return data, true
}

// diffs compares each commit of order with its parents; order has children
// before parents, which is how packs are best read. The result is in the same
// order.
func (s *scan) diffs(ctx context.Context, order []int32) [][]change {
	out := make([][]change, len(order))
	workers := goruntime.GOMAXPROCS(0)
	pieces := workers * 4
	if len(order) < 256 {
		pieces = 1
	}
	var next atomic.Int64
	var running sync.WaitGroup
	var mu sync.Mutex
	for range min(workers, pieces) {
		running.Go(func() {
			lost := map[string]int{}
			d := s.differ(treeCache / workers)
			d.lost = func(err error) {
				s.broken.Store(true)
				if errors.Is(err, errTooMany) {
					lost[errTooMany.Error()] = -1
					return
				}
				lost[why(err)]++
			}
			var arena []change
			d.put = func(c change) { arena = append(arena, c) }
			for {
				piece := int(next.Add(1) - 1)
				if piece >= pieces {
					break
				}
				for i := piece * len(order) / pieces; i < (piece+1)*len(order)/pieces && ctx.Err() == nil; i++ {
					if cap(arena)-len(arena) < 64 {
						arena = make([]change, 0, 8192)
					}
					from := len(arena)
					s.diffCommit(d, order[i])
					out[i] = arena[from:len(arena):len(arena)]
					s.count.commits.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for why, n := range lost {
				s.lose(why, n)
			}
		})
	}
	running.Wait()
	return out
}

func (s *scan) differ(cache int) *differ {
	return &differ{
		repo: s.repo, reader: s.repo.NewReader(cache, maxTreeBytes), paths: s.paths, idSize: s.repo.IDSize(),
		left: &s.changesLeft, lost: func(error) {}, put: func(change) {},
	}
}

// diffCommit puts what a commit has and none of its parents.
func (s *scan) diffCommit(d *differ, i int32) {
	n := &s.graph.nodes[i]
	var old []gitpack.Number
	for _, p := range n.parents {
		if p == missingParent {
			d.lost(gitpack.ErrMissing)
			continue
		}
		t := s.graph.nodes[p].tree
		if t == n.tree && t != gitpack.None {
			return
		}
		old = append(old, t)
	}
	d.fresh(n.tree, old, noPath, 0)
}
