package gitpack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// pack is one pack file. Objects have positions: their places in the index, or
// while there is none yet, in the pack.
type pack struct {
	m     mapping
	data  []byte
	end   int // of the entries: the pack's checksum follows
	hash  int
	x     *index
	offs  []uint64 // by position, while there is no index
	first Number   // of position 0

	// Made by layout.
	order  []int32  // positions in the order of the pack
	base   []int32  // by position: where the base is, or one of the below
	kind   []Type   // by position, of the rebuilt object; 0 when that cannot be known
	length []uint32 // by position, packed; at most math.MaxUint32
}

const (
	baseNone      = -1 // not a delta
	baseElsewhere = -2 // a delta of an object that this pack does not hold
	baseBad       = -3
)

const packHeader = 12

func openPack(path string, hash int) (*pack, error) {
	m, err := openFile(path)
	if err != nil {
		return nil, err
	}
	if len(m.data) < packHeader+hash || !bytes.HasPrefix(m.data, []byte("PACK")) ||
		binary.BigEndian.Uint32(m.data[4:]) < 2 || binary.BigEndian.Uint32(m.data[4:]) > 3 {
		m.close()
		return nil, fmt.Errorf("read %s: no pack of version 2 or 3: %w", path, ErrCorrupt)
	}
	return &pack{m: m, data: m.data, end: len(m.data) - hash, hash: hash}, nil
}

func (p *pack) close() {
	p.m.close()
	if p.x != nil {
		p.x.m.close()
	}
}

func (p *pack) count() int {
	if p.x == nil {
		return len(p.offs)
	}
	return p.x.n
}

func (p *pack) offset(pos int) uint64 {
	if p.x == nil {
		return p.offs[pos]
	}
	return p.x.offset(pos)
}

// entry is the head of an entry.
type entry struct {
	kind Type
	size uint64 // inflated: of the object, or of the delta
	base uint64 // where the base begins, of an offsetDelta
	ref  []byte // its id, of a refDelta
	at   int    // where the compressed data begins
}

// entry reads the head of the entry at an offset.
func (p *pack) entry(offset uint64) (entry, bool) {
	var e entry
	if offset < packHeader || offset >= uint64(p.end) {
		return e, false
	}
	b := p.data[offset:p.end]
	c := b[0]
	e.kind = Type(c >> 4 & 7)
	e.size = uint64(c & 15)
	i := 1
	for shift := 4; c&0x80 != 0; shift += 7 {
		if i == len(b) || shift > 57 {
			return e, false
		}
		c = b[i]
		i++
		e.size |= uint64(c&0x7f) << shift
	}
	switch e.kind {
	case Commit, Tree, Blob, Tag:
	case offsetDelta:
		if i == len(b) {
			return e, false
		}
		c = b[i]
		i++
		back := uint64(c & 0x7f)
		for c&0x80 != 0 {
			if i == len(b) || back > 1<<56 {
				return e, false
			}
			c = b[i]
			i++
			back = (back+1)<<7 | uint64(c&0x7f)
		}
		if back == 0 || back > offset {
			return e, false
		}
		e.base = offset - back
	case refDelta:
		if len(b)-i < p.hash {
			return e, false
		}
		e.ref = b[i : i+p.hash]
		i += p.hash
	default:
		return e, false
	}
	e.at = int(offset) + i
	return e, true
}

// layout finds out what every entry is and on which other one it is built.
func (p *pack) layout() {
	n := p.count()
	p.order, p.base, p.kind, p.length = make([]int32, n), make([]int32, n), make([]Type, n), make([]uint32, n)
	keys := make([]uint64, n) // offset and position, so that both sort at once
	const posBits = 28
	packed := n < 1<<posBits && p.end < 1<<(64-posBits)
	for pos := range n {
		p.order[pos] = int32(pos)
		keys[pos] = min(p.offset(pos), uint64(p.end))
		if packed {
			keys[pos] = keys[pos]<<posBits | uint64(pos)
		}
	}
	if packed {
		slices.Sort(keys)
		for i, k := range keys {
			p.order[i] = int32(k & (1<<posBits - 1))
			keys[i] = k >> posBits
		}
	} else {
		slices.SortFunc(p.order, func(a, b int32) int {
			if keys[a] < keys[b] {
				return -1
			}
			return 1
		})
		slices.Sort(keys)
	}
	trimmed := uint64(0)
	for i, pos := range p.order {
		p.base[pos] = baseBad
		next := uint64(p.end)
		if i+1 < n {
			next = keys[i+1]
		}
		p.length[pos] = uint32(min(next-keys[i], math.MaxUint32))
		e, ok := p.entry(keys[i])
		if !ok {
			continue
		}
		if keys[i]-trimmed > trimBytes {
			trimmed = keys[i]
			p.m.trim()
		}
		switch e.kind {
		case offsetDelta:
			j, found := slices.BinarySearch(keys[:i], e.base)
			if found {
				p.base[pos] = p.order[j]
				p.kind[pos] = p.kind[p.order[j]]
			}
		case refDelta:
			p.base[pos] = baseElsewhere
			if p.x != nil {
				j := p.x.find(e.ref)
				if j >= 0 {
					p.base[pos] = int32(j)
				}
			}
		default:
			p.base[pos] = baseNone
			p.kind[pos] = e.kind
		}
	}
	p.m.trim()
	p.kinds()
}

// kinds gives deltas the type of what they are built on, where a base comes
// after what is built on it. Deltas that lead in a circle have none.
func (p *pack) kinds() {
	var chain []int32
	const visiting = 255
	for _, start := range p.order {
		pos := start
		chain = chain[:0]
		for p.kind[pos] == 0 && p.base[pos] >= 0 {
			p.kind[pos] = visiting
			chain = append(chain, pos)
			pos = p.base[pos]
		}
		k := p.kind[pos]
		if k == visiting {
			k = 0
			for _, c := range chain {
				p.base[c] = baseBad
			}
		}
		for _, c := range chain {
			p.kind[c] = k
		}
	}
}

// read inflates the entry e into buf, of which it gives the filled part. The
// result has room for dstSlack bytes more.
func (p *pack) read(z *inflater, e entry, buf []byte) ([]byte, int, error) {
	// Deflate makes of one byte at most 1,032.
	if e.size > 1040*uint64(p.end-e.at) {
		return nil, 0, ErrCorrupt
	}
	if e.size > math.MaxInt32 {
		return nil, 0, ErrTooLarge
	}
	n := int(e.size)
	if cap(buf) < n+dstSlack {
		buf = make([]byte, n+n/4+dstSlack)
	}
	buf = buf[:n]
	used, err := z.zlib(buf, p.data[e.at:])
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return buf, used, nil
}
