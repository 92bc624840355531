package match

import (
	"encoding/binary"
	"math"
)

// planner writes a plan or reads one: each method does the one or the other with
// what it is given, so that both always agree.
type planner struct {
	writing bool
	out     []byte
	in      string
	bad     bool // what is read is no plan
	shared  *shared
}

// shared is what many rules have in common, which a plan holds once.
type shared struct {
	from    *program // when writing
	sets    table[byteSet]
	runs    table[byteSet]
	reaches table[reach]
	shapes  table[shape]
}

func newShared() *shared {
	s := &shared{}
	s.sets.each, s.runs.each = (*planner).set, (*planner).set
	s.reaches.each, s.shapes.each = (*planner).reach, (*planner).shape
	s.sets.add(&planner{writing: true}, &byteSet{}) // number 0 is none
	s.runs.add(&planner{writing: true}, &byteSet{})
	return s
}

// tables are in the order in which they can be read.
func (s *shared) tables() []interface {
	count() int
	written() []byte
	read(*planner)
} {
	return []interface {
		count() int
		written() []byte
		read(*planner)
	}{&s.sets, &s.runs, &s.reaches, &s.shapes}
}

// table numbers things in the order in which they are first used.
type table[T any] struct {
	each  func(*planner, *T)
	all   []T            // when reading
	index map[string]int // when writing, by what is written
	out   []byte
}

func (t *table[T]) count() int      { return len(t.index) }
func (t *table[T]) written() []byte { return t.out }

func (t *table[T]) read(c *planner) { listOf(c, &t.all, t.each) }

// add gives the number of v.
func (t *table[T]) add(c *planner, v *T) int {
	one := &planner{writing: true, shared: c.shared}
	t.each(one, v)
	n, known := t.index[string(one.out)]
	if !known {
		if t.index == nil {
			t.index = map[string]int{}
		}
		n = len(t.index)
		t.index[string(one.out)] = n
		t.out = append(t.out, one.out...)
	}
	return n
}

// number writes or reads the number of v in t.
func number[T any](c *planner, t *table[T], v *T) {
	n := 0
	if c.writing {
		n = t.add(c, v)
	}
	c.int(&n)
	if c.writing {
		return
	}
	if n < 0 || n >= len(t.all) {
		c.bad = true
		return
	}
	*v = t.all[n]
}

func (c *planner) int(v *int) {
	if c.writing {
		c.out = binary.AppendUvarint(c.out, uint64(*v))
		return
	}
	n, shift := uint64(0), 0
	for i := 0; i < len(c.in) && shift < 64; i++ {
		n |= uint64(c.in[i]&0x7f) << shift
		shift += 7
		if c.in[i] < 0x80 {
			c.in = c.in[i+1:]
			*v = int(n)
			return
		}
	}
	c.bad, c.in = true, ""
}

func (c *planner) bits(v *uint64) {
	if c.writing {
		c.out = binary.LittleEndian.AppendUint64(c.out, *v)
		return
	}
	if len(c.in) < 8 {
		c.bad, c.in = true, ""
		return
	}
	*v = binary.LittleEndian.Uint64([]byte(c.in[:8]))
	c.in = c.in[8:]
}

func (c *planner) float(v *float64) {
	n := math.Float64bits(*v)
	c.bits(&n)
	*v = math.Float64frombits(n)
}

func (c *planner) flag(v *bool) {
	n := 0
	if *v {
		n = 1
	}
	c.int(&n)
	*v = n == 1
}

func (c *planner) text(v *string) {
	n := len(*v)
	c.int(&n)
	switch {
	case c.writing:
		c.out = append(c.out, *v...)
	case n < 0 || n > len(c.in):
		c.bad, c.in = true, ""
	default:
		*v, c.in = c.in[:n], c.in[n:]
	}
}

// listOf keeps nil and the empty list apart; each of the things takes a byte or more.
func listOf[T any](c *planner, v *[]T, each func(*planner, *T)) {
	n := 0
	if *v != nil {
		n = len(*v) + 1
	}
	c.int(&n)
	if !c.writing && n > 0 {
		if n-1 > len(c.in) {
			c.bad, c.in = true, ""
			return
		}
		*v = make([]T, n-1)
	}
	for i := range *v {
		each(c, &(*v)[i])
	}
}

// maybe is a pointer that may be nil.
func maybe[T any](c *planner, v **T, each func(*planner, *T)) {
	there := *v != nil
	c.flag(&there)
	if !there {
		return
	}
	if !c.writing {
		*v = new(T)
	}
	each(c, *v)
}

func always[T any](c *planner, v **T, each func(*planner, *T)) {
	if !c.writing {
		*v = new(T)
	}
	each(c, *v)
}

func (c *planner) set(v *byteSet) {
	for i := range v {
		c.bits(&v[i])
	}
}

// setNumber is the number of a set, of those in use.
func (c *planner) setNumber(t *table[byteSet], all func(*program) *sets, n *int) {
	if c.writing {
		m := 0
		if *n != 0 {
			m = t.add(c, &all(c.shared.from).all[*n])
		}
		c.int(&m)
		return
	}
	c.int(n)
	if *n < 0 || *n >= len(t.all) {
		c.bad, *n = true, 0
	}
}

func (c *planner) reach(v *reach) {
	listOf(c, (*[]step)(v), func(c *planner, s *step) {
		c.int(&s.add)
		c.setNumber(&c.shared.runs, func(p *program) *sets { return p.runs }, &s.run)
	})
}

func (c *planner) shape(v *shape) {
	ofShapes := func(p *program) *sets { return p.sets }
	listOf(c, &v.ops, func(c *planner, o *shapeOp) {
		kind := int(o.kind)
		c.int(&kind)
		o.kind = shapeKind(kind)
		c.setNumber(&c.shared.sets, ofShapes, &o.set)
		c.int(&o.n)
	})
	c.int(&v.token)
	c.setNumber(&c.shared.sets, ofShapes, &v.tokenSet)
}

func (c *planner) anchor(v *anchor) {
	c.text(&v.word)
	c.flag(&v.bound)
	number(c, &c.shared.reaches, &v.before)
	number(c, &c.shared.reaches, &v.after)
	number(c, &c.shared.shapes, &v.shape)
}

func (c *planner) expression(v *expression) { c.text(&v.text) }

func (c *planner) pathSet(v *pathSet) {
	c.expression(&v.expr)
	listOf(c, &v.words, (*planner).text)
}

func (c *planner) allowlist(v *allowlist) {
	c.flag(&v.and)
	c.text(&v.RegexTarget)
	for _, l := range []*[]string{&v.Commits, &v.Paths, &v.Regexes, &v.StopWords} {
		listOf(c, l, (*planner).text)
	}
	maybe(c, &v.paths, (*planner).pathSet)
	c.set(&v.only)
	if !c.writing {
		v.prepare()
	}
}

func (c *planner) allowlists(v *[]*allowlist) {
	listOf(c, v, func(c *planner, a **allowlist) { always(c, a, (*planner).allowlist) })
}

func (c *planner) rule(v *rule) {
	c.text(&v.RuleID)
	c.text(&v.Description)
	c.float(&v.Entropy)
	c.int(&v.SecretGroup)
	maybe(c, &v.Regex, (*planner).expression)
	maybe(c, &v.Path, (*planner).expression)
	listOf(c, &v.Tags, (*planner).text)
	listOf(c, &v.Keywords, (*planner).text)
	c.flag(&v.requires)
	c.allowlists(&v.allowlists)
	maybe(c, &v.path, (*planner).pathSet)
	c.int(&v.groups)
	c.flag(&v.windowed)
	listOf(c, &v.anchors, (*planner).anchor)
	listOf(c, &v.late, (*planner).anchor)
	c.flag(&v.implied)
	c.flag(&v.starts)
}

func (c *planner) program(p *program) {
	c.text(&p.file)
	c.allowlists(&p.allowlists)
	for _, list := range []*[]*rule{&p.rules, &p.pathOnly} {
		listOf(c, list, func(c *planner, r **rule) { always(c, r, (*planner).rule) })
	}
}
