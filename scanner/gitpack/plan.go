package gitpack

import "math"

// plan is what of one pack is to be rebuilt: for each position the first of
// those that are built on it, and the next one of those that are built on the
// same. The largest family comes last, so that what it is built on can be let go
// before: then no more objects must be held than the logarithm of their number.
type plan struct {
	p      *pack
	loose  *looseStore
	roots  []int32
	child  []int32
	next   []int32
	wanted []bool
}

const nobody = -1

func (r *Repo) plan(p *pack, w Walk) *plan {
	n := p.count()
	l := &plan{p: p, child: make([]int32, n), next: make([]int32, n), wanted: make([]bool, n)}
	several := len(r.packs) > 1 // then another pack can hold the same object
	weight := make([]uint32, n)
	for pos := range n {
		l.child[pos], l.next[pos] = nobody, nobody
		if w.Kind != 0 && p.kind[pos] != w.Kind {
			continue
		}
		number := p.first + Number(pos)
		if (w.Want == nil || w.Want(number)) && (!several || p.x == nil || r.FindRaw(p.x.id(pos)) == number) {
			l.wanted[pos] = true
			weight[pos] = max(p.length[pos], 1)
		}
	}
	// All families first, to learn their weights from the leaves down.
	queue := make([]int32, 0, n)
	for i := range n {
		pos := int32(i)
		if p.order != nil {
			pos = p.order[i]
		}
		b := p.base[pos]
		switch {
		case w.Kind != 0 && p.kind[pos] != w.Kind:
		case b >= 0:
			l.next[pos] = l.child[b]
			l.child[b] = pos
		default:
			queue = append(queue, pos)
		}
	}
	roots := len(queue)
	for i := 0; i < len(queue); i++ {
		for c := l.child[queue[i]]; c != nobody; c = l.next[c] {
			queue = append(queue, c)
		}
	}
	for i := len(queue) - 1; i >= roots; i-- {
		b := p.base[queue[i]]
		sum := weight[b] + weight[queue[i]]
		if sum < weight[b] {
			sum = math.MaxUint32
		}
		weight[b] = sum
	}
	for _, pos := range queue {
		heaviest, most := int32(nobody), uint32(0)
		for c := l.child[pos]; c != nobody; c = l.next[c] {
			if weight[c] > most {
				heaviest, most = c, weight[c]
			}
		}
		head := heaviest
		for c := l.child[pos]; c != nobody; {
			after := l.next[c]
			if c != heaviest && weight[c] > 0 {
				l.next[c] = head
				head = c
			}
			c = after
		}
		if heaviest != nobody {
			l.next[heaviest] = nobody
		}
		l.child[pos] = head
	}
	for _, pos := range queue[:roots] {
		if weight[pos] > 0 {
			l.roots = append(l.roots, pos)
		}
	}
	return l
}
