package gitwire

import (
	"bytes"
	"context"
	"slices"

	"stanch/scanner/gitpack"
)

// treeDepth is how deep directories may lie in each other.
const treeDepth = 2048

// change is one path that a commit changed against all of its parents.
type change struct {
	Commit commit
	Path   string // raw bytes, as the tree has them
	New    string // blob id; "" when the path was deleted or is no blob
	Olds   []string
	Added  bool // no parent had the path
}

// entry is one line of a tree. Submodules are none.
type entry struct {
	name string
	tree bool
	id   gitpack.ID
}

// parseTree reads a tree. What is malformed ends it, and whole is false.
func parseTree(data []byte, hash int) (entries []entry, whole bool) {
	for len(data) > 0 {
		space := bytes.IndexByte(data, ' ')
		end := bytes.IndexByte(data, 0)
		if space < 0 || end < space || len(data)-end-1 < hash {
			return entries, false
		}
		mode, ok := uint32(0), space > 0
		for _, c := range data[:space] {
			ok = ok && c >= '0' && c <= '7'
			mode = mode<<3 | uint32(c&7)
		}
		if !ok {
			return entries, false
		}
		e := entry{name: string(data[space+1 : end]), id: gitpack.RawID(data[end+1 : end+1+hash])}
		data = data[end+1+hash:]
		switch mode & 0o170000 {
		case 0o160000:
			continue
		case 0o040000:
			e.tree = true
		}
		if e.name != "" {
			entries = append(entries, e)
		}
	}
	return entries, true
}

// differ compares a tree with others.
type differ struct {
	f      *fetcher
	ctx    context.Context
	side   *side
	commit commit
}

// compare adds to sd what differs in the tree from all of the trees olds.
func (f *fetcher) compare(ctx context.Context, sd *side, c commit, tree string, olds []string) error {
	d := &differ{f, ctx, sd, c}
	now, _ := gitpack.ParseID(tree)
	was := make([]gitpack.ID, len(olds))
	for i, o := range olds {
		was[i], _ = gitpack.ParseID(o)
	}
	if slices.Contains(was, now) {
		return nil
	}
	return d.walk("", now, was, 0)
}

// tree reads a tree; the zero id is the empty one.
func (d *differ) tree(id gitpack.ID) ([]entry, error) {
	if id.IsZero() {
		return nil, nil
	}
	o := d.side.objects
	n := o.Find(id)
	if n == gitpack.None || o.Type(n) != gitpack.Tree {
		d.side.absent++
		return nil, nil
	}
	_, data, err := o.Read(n)
	if err != nil {
		d.f.partial("a tree could not be read: " + err.Error())
		return nil, nil
	}
	entries, whole := parseTree(data, d.f.remote.hash)
	if !whole {
		d.f.partial("tree " + id.String() + " is malformed")
	}
	return entries, nil
}

type name struct {
	name string
	tree bool
}

// walk compares the tree now with was, of which none is the same.
func (d *differ) walk(path string, now gitpack.ID, was []gitpack.ID, depth int) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	if depth > treeDepth || len(path) > 1<<20 {
		d.f.partial("directories lie too deep in each other")
		return nil
	}
	entries, err := d.tree(now)
	if err != nil {
		return err
	}
	olds := make([]map[name]gitpack.ID, len(was))
	for i, id := range was {
		list, err := d.tree(id)
		if err != nil {
			return err
		}
		if len(was) == 1 {
			entries, list = trim(entries, list)
		}
		olds[i] = make(map[name]gitpack.ID, len(list))
		for _, e := range list {
			olds[i][name{e.name, e.tree}] = e.id
		}
	}
	for _, e := range entries {
		ids, same := lookup(olds, e)
		if same {
			continue
		}
		if e.tree {
			err = d.walk(path+e.name+"/", e.id, ids, depth+1)
		} else {
			err = d.add(path+e.name, e.id.String(), ids)
		}
		if err != nil {
			return err
		}
	}
	return d.deleted(path, entries, olds, depth)
}

// trim takes off what two lists have in common at their ends.
func trim(a, b []entry) ([]entry, []entry) {
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// lookup gives what stands in e's place in each of the olds, and whether one is
// the same.
func lookup(olds []map[name]gitpack.ID, e entry) (ids []gitpack.ID, same bool) {
	ids = make([]gitpack.ID, len(olds))
	for i, old := range olds {
		ids[i] = old[name{e.name, e.tree}]
		same = same || ids[i] == e.id
	}
	return ids, same
}

// deleted adds what all of the olds have and the entries have not: it tells a
// file that was moved from a new one.
func (d *differ) deleted(path string, entries []entry, olds []map[name]gitpack.ID, depth int) error {
	if len(olds) == 0 || len(olds[0]) == 0 {
		return nil
	}
	here := make(map[name]bool, len(entries))
	for _, e := range entries {
		here[name{e.name, e.tree}] = true
	}
	for n := range olds[0] {
		if here[n] {
			continue
		}
		ids, _ := lookup(olds, entry{name: n.name, tree: n.tree})
		if slices.Contains(ids, gitpack.ID{}) {
			continue
		}
		var err error
		if n.tree {
			err = d.walk(path+n.name+"/", gitpack.ID{}, ids, depth+1)
		} else {
			err = d.add(path+n.name, "", ids)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) add(path, id string, olds []gitpack.ID) error {
	sd := d.side
	if sd.paths >= maxPaths {
		if !sd.full {
			sd.full = true
			d.f.partial("more changed paths than the limit: the rest was not looked at")
		}
		return nil
	}
	sd.paths++
	c := change{Commit: d.commit, Path: path, New: id, Added: true}
	for _, old := range olds {
		if old.IsZero() {
			continue
		}
		c.Added = false
		if s := old.String(); !slices.Contains(c.Olds, s) {
			c.Olds = append(c.Olds, s)
		}
	}
	sd.changes = append(sd.changes, c)
	if len(sd.changes) < 5*changeBatch {
		return nil
	}
	return d.f.flush(d.ctx, sd)
}
