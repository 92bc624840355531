package gitpack

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// This file inflates zlib streams (RFC 1950, RFC 1951) that lie in memory as a
// whole and whose inflated size is known, which is what packs consist of. On
// entries of packs that is about twice as fast as compress/flate and klauspost's
// flate, which must be ready for a reader that gives them a byte at a time.

// Room that inflate wants behind what it reads and writes, so that it can move
// eight bytes at a time without looking. What lies there has no influence.
const (
	srcSlack = 16
	dstSlack = 288
)

var (
	errDeflate = errors.New("compressed data is corrupt")
	errSize    = errors.New("inflated size differs from the one in the header")
)

// A table entry is the code's length in bits 0-7, the number of extra bits in
// bits 8-12, a flag, and a value in bits 16-30: a literal, the base of a length
// or distance, or where a subtable starts.
const (
	flagLiteral = 1 << 31
	flagOdd     = 1 << 15 // a subtable or the end of the block
	flagSub     = 1 << 14

	litBits  = 10
	distBits = 8
	preBits  = 7
)

var litSymbol, distSymbol, preSymbol = symbols()

func symbols() (lit [288]uint32, dist [32]uint32, pre [19]uint32) {
	for i := range 256 {
		lit[i] = flagLiteral | uint32(i)<<16
	}
	lit[256] = flagOdd
	base := 3
	for i := range 28 { // RFC 1951, 3.2.5
		extra := max(0, i/4-1)
		lit[257+i] = uint32(base)<<16 | uint32(extra)<<8
		base += 1 << extra
	}
	lit[285] = 258 << 16
	base = 1
	for i := range 30 {
		extra := max(0, i/2-1)
		dist[i] = uint32(base)<<16 | uint32(extra)<<8
		base += 1 << extra
	}
	for i := range pre {
		pre[i] = uint32(i) << 16
	}
	return lit, dist, pre
}

// inflater holds the tables of one stream after the other. It is used by one
// goroutine at a time.
type inflater struct {
	lit    [1<<litBits + 1024]uint32 // 1,334 entries are the most that any code of 288 symbols needs
	dist   [1<<distBits + 512]uint32 // of 30 symbols: 402
	pre    [1 << preBits]uint32
	length [320 + 138]uint8
	sorted [288]uint16
	fixed  bool // the tables are those of fixed blocks
}

// table fills t for a canonical code; it reports whether the code is sound.
func (z *inflater) table(t []uint32, lengths []uint8, symbol []uint32, tableBits uint) bool {
	var count, start [17]int
	for _, l := range lengths {
		count[l&15]++
	}
	count[0] = 0
	space, used, longest := 0, 0, uint(0)
	for l := uint(1); l < 16; l++ {
		start[l] = used
		used += count[l]
		space += count[l] << (15 - l)
		if count[l] > 0 {
			longest = l
		}
	}
	if space > 1<<15 {
		return false
	}
	for s, l := range lengths {
		if l != 0 {
			z.sorted[start[l]] = uint16(s)
			start[l]++
		}
	}
	if space < 1<<15 {
		// Incomplete: allowed for a single code of one bit, and for none at all
		// (distances in a block without matches).
		if used > 1 || used == 1 && count[1] != 1 {
			return false
		}
		for i := range t[:1<<tableBits] {
			t[i] = 0 // no length: refused when it is met
		}
		if used == 1 {
			for i := 0; i < 1<<tableBits; i += 2 {
				if int(z.sorted[0]) >= len(symbol) {
					return false
				}
				t[i] = symbol[z.sorted[0]] | 1
			}
		}
		return true
	}
	// Codes are reversed, so that the next one is had by adding from the top:
	// a table of the first n bits is doubled for the codes of n+1 bits.
	code, at := uint(0), 0
	size := 1
	for l := uint(1); l <= min(tableBits, longest); l++ {
		copy(t[size:2*size], t[:size])
		size *= 2
		for range count[l] {
			s := z.sorted[at]
			at++
			t[code] = symbol[s] | uint32(l)
			code = next(code, l)
		}
	}
	for ; size < 1<<tableBits; size *= 2 {
		copy(t[size:2*size], t[:size])
	}
	if longest <= tableBits {
		return true
	}
	end := uint(1) << tableBits
	from, width := uint(0), uint(0)
	prefix := ^uint(0)
	for l := tableBits + 1; l <= longest; l++ {
		for left := count[l]; left > 0; left-- {
			if code&(1<<tableBits-1) != prefix {
				prefix = code & (1<<tableBits - 1)
				from = end
				width = l - tableBits
				for room := left; room < 1<<width && tableBits+width < longest; {
					width++
					room = room<<1 + count[tableBits+width]
				}
				end = from + 1<<width
				if end > uint(len(t)) {
					return false
				}
				t[prefix] = uint32(from)<<16 | flagOdd | flagSub | uint32(width)<<8 | uint32(tableBits)
			}
			s := z.sorted[at]
			at++
			for i := from + code>>tableBits; i < end; i += 1 << (l - tableBits) {
				t[i] = symbol[s] | uint32(l-tableBits)
			}
			code = next(code, l)
		}
	}
	return true
}

// next is the code of l bits after code, both with their bits reversed.
func next(code, l uint) uint {
	ones := code ^ (1<<l - 1)
	if ones == 0 {
		return 0
	}
	top := uint(1) << (bits.Len(ones) - 1)
	return code&(top-1) | top
}

var preOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// zlib inflates the stream at the start of src into dst, whose length is the
// size that must come out and which must have room for dstSlack bytes more. It
// gives how many bytes the stream took, its checksum included. The checksum is
// not looked at.
func (z *inflater) zlib(dst, src []byte) (int, error) {
	if len(src) < 2+srcSlack || src[0]&0x0f != 8 || src[1]&0x20 != 0 || (uint(src[0])<<8|uint(src[1]))%31 != 0 {
		return 0, errDeflate
	}
	n, err := z.deflate(dst, src[2:])
	return n + 6, err
}

func (z *inflater) deflate(dst, src []byte) (int, error) {
	size := len(dst)
	if cap(dst) < size+dstSlack {
		return 0, errSize
	}
	dst = dst[:size+dstSlack]
	var (
		hold uint64 // bits that were read ahead; above have there may be more
		have uint   // how many of them count
		in   int    // where to read on
		out  int
		last = len(src) - 8 // reading eight bytes behind it is not possible
	)
	for {
		if in > last {
			return 0, errDeflate
		}
		hold |= binary.LittleEndian.Uint64(src[in:]) << have
		in += int((63 - have) >> 3)
		have |= 56
		final, kind := hold&1 != 0, hold>>1&3
		hold >>= 3
		have -= 3
		switch kind {
		case 0:
			in -= int(have >> 3)
			hold, have = 0, 0
			if in+4 > len(src) {
				return 0, errDeflate
			}
			n := int(binary.LittleEndian.Uint16(src[in:]))
			if n != int(^binary.LittleEndian.Uint16(src[in+2:])) {
				return 0, errDeflate
			}
			in += 4
			if n > size-out {
				return 0, errSize
			}
			if n > len(src)-in {
				return 0, errDeflate
			}
			out += copy(dst[out:], src[in:in+n])
			in += n
			if final {
				if out != size {
					return 0, errSize
				}
				return in, nil
			}
			continue
		case 1:
			z.fixedTables()
		case 2:
			var ok bool
			hold, have, in, ok = z.dynamic(src, hold, have, in)
			if !ok {
				return 0, errDeflate
			}
		default:
			return 0, errDeflate
		}
		if in > last {
			return 0, errDeflate
		}
		hold |= binary.LittleEndian.Uint64(src[in:]) << have
		in += int((63 - have) >> 3)
		have |= 56
		for {
			// 56 bits are there: three codes of literals take 45.
			e := z.lit[hold&(1<<litBits-1)]
			if e&flagLiteral != 0 {
				hold >>= e & 63
				have -= uint(e & 63)
				if out > size {
					return 0, errSize
				}
				dst[out] = byte(e >> 16)
				out++
				e = z.lit[hold&(1<<litBits-1)]
				if e&flagLiteral != 0 {
					hold >>= e & 63
					have -= uint(e & 63)
					dst[out] = byte(e >> 16)
					out++
					e = z.lit[hold&(1<<litBits-1)]
					if e&flagLiteral != 0 {
						hold >>= e & 63
						have -= uint(e & 63)
						dst[out] = byte(e >> 16)
						out++
						if in > last {
							return 0, errDeflate
						}
						hold |= binary.LittleEndian.Uint64(src[in:]) << have
						in += int((63 - have) >> 3)
						have |= 56
						continue
					}
				}
				if in > last {
					return 0, errDeflate
				}
				hold |= binary.LittleEndian.Uint64(src[in:]) << have
				in += int((63 - have) >> 3)
				have |= 56
			}
			if e&flagOdd != 0 {
				if e&flagSub != 0 {
					hold >>= litBits
					have -= litBits
					e = z.lit[(uint(e>>16)+uint(hold)&(1<<(e>>8&15)-1))%uint(len(z.lit))]
					if e&flagLiteral != 0 {
						hold >>= e & 63
						have -= uint(e & 63)
						if out > size {
							return 0, errSize
						}
						dst[out] = byte(e >> 16)
						out++
						if in > last {
							return 0, errDeflate
						}
						hold |= binary.LittleEndian.Uint64(src[in:]) << have
						in += int((63 - have) >> 3)
						have |= 56
						continue
					}
				}
				if e&flagOdd != 0 {
					hold >>= e & 63
					have -= uint(e & 63)
					break
				}
			}
			n := uint(e & 63)
			if n == 0 || e>>16 == 0 {
				return 0, errDeflate
			}
			hold >>= n
			have -= n
			extra := uint(e >> 8 & 31)
			length := int(e>>16) + int(hold&(1<<extra-1))
			hold >>= extra
			have -= extra
			// Length codes take 15 + 5 bits, so 36 are left for 15 + 13.
			e = z.dist[hold&(1<<distBits-1)]
			if e&flagSub != 0 {
				hold >>= distBits
				have -= distBits
				e = z.dist[(uint(e>>16)+uint(hold)&(1<<(e>>8&15)-1))%uint(len(z.dist))]
			}
			n = uint(e & 63)
			if n == 0 || e>>16 == 0 {
				return 0, errDeflate
			}
			hold >>= n
			have -= n
			extra = uint(e >> 8 & 31)
			distance := int(e>>16) + int(hold&(1<<extra-1))
			hold >>= extra
			have -= extra
			if in > last {
				return 0, errDeflate
			}
			hold |= binary.LittleEndian.Uint64(src[in:]) << have
			in += int((63 - have) >> 3)
			have |= 56
			if distance > out {
				return 0, errDeflate
			}
			if length > size-out {
				return 0, errSize
			}
			from := out - distance
			switch {
			case distance >= 8:
				d, s := dst[out:out+length+8], dst[from:]
				for i := 0; i < length; i += 8 {
					binary.LittleEndian.PutUint64(d[i:], binary.LittleEndian.Uint64(s[i:]))
				}
			case distance == 1:
				b := dst[from]
				d := dst[out : out+length]
				for i := range d {
					d[i] = b
				}
			default:
				for i := range length {
					dst[out+i] = dst[from+i]
				}
			}
			out += length
		}
		if final {
			if out != size {
				return 0, errSize
			}
			return in - int(have>>3), nil
		}
	}
}

func (z *inflater) fixedTables() {
	if z.fixed {
		return
	}
	for i := range 288 {
		switch {
		case i < 144:
			z.length[i] = 8
		case i < 256:
			z.length[i] = 9
		case i < 280:
			z.length[i] = 7
		default:
			z.length[i] = 8
		}
	}
	z.table(z.lit[:], z.length[:288], litSymbol[:], litBits)
	for i := range 32 {
		z.length[i] = 5
	}
	z.table(z.dist[:], z.length[:32], distSymbol[:], distBits)
	z.fixed = true
}

// dynamic reads the codes of a block that brings its own.
func (z *inflater) dynamic(src []byte, hold uint64, have uint, in int) (uint64, uint, int, bool) {
	z.fixed = false
	last := len(src) - 8
	refill := func() bool {
		if in > last {
			return false
		}
		hold |= binary.LittleEndian.Uint64(src[in:]) << have
		in += int((63 - have) >> 3)
		have |= 56
		return true
	}
	lits, dists, pres := int(hold&31)+257, int(hold>>5&31)+1, int(hold>>10&15)+4
	hold >>= 14
	have -= 14
	if lits > 286 || dists > 30 {
		return 0, 0, 0, false
	}
	var pre [19]uint8
	for i := range pres {
		if have < 3 && !refill() {
			return 0, 0, 0, false
		}
		pre[preOrder[i]] = uint8(hold & 7)
		hold >>= 3
		have -= 3
	}
	if !z.table(z.pre[:], pre[:], preSymbol[:], preBits) {
		return 0, 0, 0, false
	}
	all := lits + dists
	for i := 0; i < all; {
		if have < 14 && !refill() {
			return 0, 0, 0, false
		}
		e := z.pre[hold&(1<<preBits-1)]
		n := uint(e & 63)
		if n == 0 {
			return 0, 0, 0, false
		}
		hold >>= n
		have -= n
		symbol := e >> 16
		if symbol < 16 {
			z.length[i] = uint8(symbol)
			i++
			continue
		}
		var value uint8
		repeat := 0
		switch symbol {
		case 16:
			if i == 0 {
				return 0, 0, 0, false
			}
			value = z.length[i-1]
			repeat = 3 + int(hold&3)
			hold >>= 2
			have -= 2
		case 17:
			repeat = 3 + int(hold&7)
			hold >>= 3
			have -= 3
		default:
			repeat = 11 + int(hold&127)
			hold >>= 7
			have -= 7
		}
		if repeat > all-i {
			return 0, 0, 0, false
		}
		for range repeat {
			z.length[i] = value
			i++
		}
	}
	if z.length[256] == 0 {
		return 0, 0, 0, false // a block that cannot end
	}
	ok := z.table(z.dist[:], z.length[lits:all], distSymbol[:], distBits) && z.table(z.lit[:], z.length[:lits], litSymbol[:], litBits)
	return hold, have, in, ok
}
