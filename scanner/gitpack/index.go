package gitpack

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// index says where in a pack each object lies: the layout of Git's pack-*.idx,
// versions 1 and 2 (gitformat-pack). The files are read where they are mapped.
type index struct {
	m       mapping
	hash    int // bytes of an id
	n       int
	fan     [257]uint32 // fan[b] objects have ids below byte b
	ids     []byte
	stride  int // from one id to the next
	crcs    []byte
	offset4 []byte // version 2
	offset8 []byte
}

const indexMagic = "\xfftOc"

// openIndex maps the index at path.
func openIndex(path string, hash int) (*index, error) {
	m, err := openFile(path)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(m.data, hash)
	if err != nil {
		m.close()
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	x.m = m
	return x, nil
}

func parseIndex(b []byte, hash int) (*index, error) {
	x := &index{hash: hash}
	version := 1
	if bytes.HasPrefix(b, []byte(indexMagic)) {
		if len(b) < 8 || binary.BigEndian.Uint32(b[4:]) != 2 {
			return nil, fmt.Errorf("unknown version of index: %w", ErrCorrupt)
		}
		version = 2
		b = b[8:]
	}
	if len(b) < 1024 {
		return nil, fmt.Errorf("short index: %w", ErrCorrupt)
	}
	for i := range 256 {
		x.fan[i+1] = binary.BigEndian.Uint32(b[4*i:])
		if x.fan[i+1] < x.fan[i] {
			return nil, fmt.Errorf("index out of order: %w", ErrCorrupt)
		}
	}
	b = b[1024:]
	n := int(x.fan[256])
	if n > 1<<31-1 {
		return nil, fmt.Errorf("index of too many objects: %w", ErrCorrupt)
	}
	x.n = n
	if version == 1 {
		x.stride = 4 + hash
		if len(b)/x.stride < n {
			return nil, fmt.Errorf("short index: %w", ErrCorrupt)
		}
		x.ids = b[: n*x.stride : n*x.stride]
		return x, nil
	}
	x.stride = hash
	if len(b)/(hash+8) < n {
		return nil, fmt.Errorf("short index: %w", ErrCorrupt)
	}
	x.ids, b = b[:n*hash:n*hash], b[n*hash:]
	x.crcs, b = b[:4*n:4*n], b[4*n:]
	x.offset4, b = b[:4*n:4*n], b[4*n:]
	x.offset8 = b // and the checksums, which no offset should reach
	return x, nil
}

// id gives the bytes of the id of object i.
func (x *index) id(i int) []byte {
	at := i * x.stride
	if x.offset4 == nil {
		at += 4
	}
	return x.ids[at : at+x.hash : at+x.hash]
}

// offset gives where object i begins; it is not checked.
func (x *index) offset(i int) uint64 {
	if x.offset4 == nil {
		return uint64(binary.BigEndian.Uint32(x.ids[i*x.stride:]))
	}
	o := binary.BigEndian.Uint32(x.offset4[4*i:])
	if o&(1<<31) == 0 {
		return uint64(o)
	}
	at := uint64(o&^(1<<31)) * 8
	if at+8 > uint64(len(x.offset8)) {
		return 1 << 63 // nowhere
	}
	return binary.BigEndian.Uint64(x.offset8[at:])
}

// find gives the position of an id, or -1.
func (x *index) find(id []byte) int {
	if len(id) != x.hash {
		return -1
	}
	lo, hi := int(x.fan[id[0]]), int(x.fan[int(id[0])+1])
	want := binary.BigEndian.Uint64(id)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		have := x.id(mid)
		h := binary.BigEndian.Uint64(have)
		switch {
		case h < want:
			lo = mid + 1
		case h > want:
			hi = mid
		default:
			switch bytes.Compare(have, id) {
			case 0:
				return mid
			case -1:
				lo = mid + 1
			default:
				hi = mid
			}
		}
	}
	return -1
}

// newIndex makes the index of a pack that came without one, and gives the order
// in which it has the objects.
func newIndex(hash int, ids []byte, offsets []uint64) (x *index, order []int32) {
	n := len(offsets)
	id := func(i int32) []byte { return ids[int(i)*hash : (int(i)+1)*hash] }
	type key struct {
		prefix uint64
		i      int32
	}
	keys := make([]key, n)
	for i := range keys {
		keys[i] = key{binary.BigEndian.Uint64(id(int32(i))), int32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return bytes.Compare(id(a.i), id(b.i))
	})
	order = make([]int32, n)
	x = &index{hash: hash, n: n, stride: hash, ids: make([]byte, 0, n*hash), offset4: make([]byte, 0, 4*n)}
	for at, k := range keys {
		i := k.i
		order[at] = i
		x.ids = append(x.ids, id(i)...)
		x.fan[int(id(i)[0])+1]++
		if offsets[i] < 1<<31 {
			x.offset4 = binary.BigEndian.AppendUint32(x.offset4, uint32(offsets[i]))
			continue
		}
		x.offset4 = binary.BigEndian.AppendUint32(x.offset4, 1<<31|uint32(len(x.offset8)/8))
		x.offset8 = binary.BigEndian.AppendUint64(x.offset8, offsets[i])
	}
	for i := range 256 {
		x.fan[i+1] += x.fan[i]
	}
	return x, order
}
