package history

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"stanch/scanner/gitpack"
)

// node is a commit of the graph. Commits are numbered in the order of graph.nodes,
// which is that of their object numbers.
type node struct {
	object  gitpack.Number
	tree    gitpack.Number
	time    int64 // of the committer, seconds since 1970
	parents []int32
	reached bool
	past    bool // scanned before: left out, but what it holds is known
}

type graph struct {
	nodes []node
	lost  map[gitpack.Number]error // commits that cannot be read
}

// mostParents is how many parents of a commit are heeded; Git itself balks at
// merges of more than some hundred.
const mostParents = 1024

// readGraph reads the heads of all commits of the repository.
func readGraph(ctx context.Context, repo *gitpack.Repo, limit int64) (*graph, error) {
	shallow := map[gitpack.ID]bool{}
	for _, id := range repo.Shallow() {
		shallow[id] = true
	}
	type raw struct {
		object, tree gitpack.Number
		time         int64
		parents      []gitpack.Number
	}
	var mu sync.Mutex
	var all []raw
	g := &graph{lost: map[gitpack.Number]error{}}
	var batches sync.Map // worker -> *[]raw
	err := repo.Walk(ctx, gitpack.Walk{
		Kind: gitpack.Commit, MaxBytes: limit,
		Visit: func(worker int, o *gitpack.Object) any {
			b, _ := batches.LoadOrStore(worker, new([]raw))
			batch := b.(*[]raw)
			r := raw{object: o.Number, tree: gitpack.None}
			grafted := len(shallow) > 0 && shallow[repo.ID(o.Number)]
			for line := range bytes.Lines(o.Data) {
				key, value, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
				if len(key) == 0 {
					break
				}
				switch string(key) {
				case "tree":
					if r.tree == gitpack.None {
						r.tree = find(repo, value)
					}
				case "parent":
					if !grafted && len(r.parents) < mostParents {
						r.parents = append(r.parents, find(repo, value))
					}
				case "committer":
					r.time = commitTime(value)
				}
				if string(key) == "committer" {
					break
				}
			}
			*batch = append(*batch, r)
			return nil
		},
		Failed: func(_ int, n gitpack.Number, err error) {
			mu.Lock()
			g.lost[n] = err
			mu.Unlock()
		},
	})
	if err != nil {
		return g, err
	}
	batches.Range(func(_, b any) bool {
		all = append(all, *b.(*[]raw)...)
		return true
	})
	slices.SortFunc(all, func(a, b raw) int { return cmp.Compare(a.object, b.object) })
	g.nodes = make([]node, len(all))
	for i, r := range all {
		g.nodes[i] = node{object: r.object, tree: r.tree, time: r.time}
	}
	for i, r := range all {
		for _, p := range r.parents {
			j := g.find(p)
			if j >= 0 {
				g.nodes[i].parents = append(g.nodes[i].parents, j)
			} else {
				g.nodes[i].parents = append(g.nodes[i].parents, missingParent)
			}
		}
	}
	return g, nil
}

// missingParent stands for a parent that cannot be read.
const missingParent = -1

func find(repo *gitpack.Repo, hex []byte) gitpack.Number {
	id, ok := gitpack.ParseID(string(hex))
	if !ok {
		return gitpack.None
	}
	return repo.Find(id)
}

// commitTime reads the seconds of "Name <email> seconds zone".
func commitTime(line []byte) int64 {
	i := bytes.LastIndexByte(line, '>')
	field := bytes.Fields(line[i+1:])
	if len(field) == 0 {
		return 0
	}
	t, err := strconv.ParseInt(string(field[0]), 10, 64)
	if err != nil {
		return 0
	}
	return t
}

// find gives the number of a commit, or -1.
func (g *graph) find(object gitpack.Number) int32 {
	i, ok := slices.BinarySearchFunc(g.nodes, object, func(n node, o gitpack.Number) int { return cmp.Compare(n.object, o) })
	if !ok {
		return -1
	}
	return int32(i)
}

// reach marks a commit and all its ancestors by mark, which reports whether
// that is new.
func (g *graph) reach(from int32, mark func(int32) bool) {
	stack := []int32{from}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if i < 0 || !mark(i) {
			continue
		}
		stack = append(stack, g.nodes[i].parents...)
	}
}

// newestFirst orders the reached commits that are not past: each before its
// parents, and the younger one first where that leaves a choice.
func (g *graph) newestFirst() []int32 {
	children := make([]int32, len(g.nodes))
	wanted := func(i int32) bool { return i >= 0 && g.nodes[i].reached && !g.nodes[i].past }
	total := 0
	for i := range g.nodes {
		if !wanted(int32(i)) {
			continue
		}
		total++
		for _, p := range g.nodes[i].parents {
			if wanted(p) {
				children[p]++
			}
		}
	}
	ready := &byTime{g: g}
	for i := range g.nodes {
		if wanted(int32(i)) && children[i] == 0 {
			ready.list = append(ready.list, int32(i))
		}
	}
	heap.Init(ready)
	order := make([]int32, 0, total)
	for len(ready.list) > 0 {
		i := heap.Pop(ready).(int32)
		order = append(order, i)
		for _, p := range g.nodes[i].parents {
			if !wanted(p) {
				continue
			}
			children[p]--
			if children[p] == 0 {
				heap.Push(ready, p)
			}
		}
	}
	return order
}

// byTime is a heap of commits, the youngest at the top.
type byTime struct {
	g    *graph
	list []int32
}

func (h *byTime) Len() int { return len(h.list) }
func (h *byTime) Less(i, j int) bool {
	a, b := &h.g.nodes[h.list[i]], &h.g.nodes[h.list[j]]
	if a.time != b.time {
		return a.time > b.time
	}
	return a.object < b.object
}
func (h *byTime) Swap(i, j int) { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *byTime) Push(x any)    { h.list = append(h.list, x.(int32)) }
func (h *byTime) Pop() any {
	x := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return x
}

// why gives the reason for which an object does not count, for a report.
func why(err error) string {
	switch {
	case errors.Is(err, gitpack.ErrTooLarge):
		return "blobs were over the size limit"
	case errors.Is(err, gitpack.ErrMissing):
		return "objects are not in the repository"
	}
	return "objects could not be read"
}
