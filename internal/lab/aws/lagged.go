package labaws

import (
	"maps"
	"slices"
	"time"
)

// cell is one fact that the control plane shows at once and enforcement sees
// later. Writes take effect in the order in which they were made: a write with
// a short lag is not undone when an older one with a longer lag comes due.
type cell[T any] struct {
	writes []write[T]
}

type write[T any] struct {
	effective time.Time
	value     T
}

func newCell[T any](v T) cell[T] { return cell[T]{writes: []write[T]{{value: v}}} }

func (c *cell[T]) set(v T, effective time.Time) {
	c.writes = append(c.writes, write[T]{effective: effective, value: v})
}

// shown is what the control plane reads.
func (c *cell[T]) shown() T {
	if len(c.writes) == 0 {
		var zero T
		return zero
	}
	return c.writes[len(c.writes)-1].value
}

// enforced is what a request made at now is judged by.
func (c *cell[T]) enforced(now time.Time) T {
	for i := len(c.writes) - 1; i >= 0; i-- {
		if !c.writes[i].effective.After(now) {
			c.writes = c.writes[i:]
			return c.writes[0].value
		}
	}
	var zero T
	return zero
}

// cells is a set of named facts; an absent one has no value.
type cells[T any] map[string]*cell[*T]

func (m cells[T]) set(name string, v *T, effective time.Time) {
	c, ok := m[name]
	if !ok {
		c = &cell[*T]{}
		m[name] = c
	}
	c.set(v, effective)
}

func (m cells[T]) shown(name string) *T {
	c, ok := m[name]
	if !ok {
		return nil
	}
	return c.shown()
}

func (m cells[T]) names() []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name].shown() != nil {
			out = append(out, name)
		}
	}
	return out
}

func (m cells[T]) enforced(now time.Time) map[string]T {
	out := make(map[string]T)
	for name, c := range m {
		v := c.enforced(now)
		if v != nil {
			out[name] = *v
		}
	}
	return out
}
