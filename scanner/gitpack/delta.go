package gitpack

import "stanch/scanner"

// uvarint reads a size as deltas write it; n is 0 when there is none.
func uvarint(b []byte) (v uint64, n int) {
	for i := 0; i < len(b) && i < 10; i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// deltaSizes reads the head of a delta: the size of its base and of what comes
// out. The instructions start at rest.
func deltaSizes(d []byte) (base, size uint64, rest []byte, ok bool) {
	base, n := uvarint(d)
	if n == 0 {
		return 0, 0, nil, false
	}
	d = d[n:]
	size, n = uvarint(d)
	return base, size, d[min(n, len(d)):], n > 0
}

// applyDelta rebuilds dst from base by the instructions d. It appends what was
// copied to copies, unless that is nil, with neighbours joined. ok is false
// when the instructions reach outside of base or do not make up exactly dst.
func applyDelta(dst, base, d []byte, copies []scanner.Copy) (_ []scanner.Copy, ok bool) {
	out := 0
	for i := 0; i < len(d); {
		c := d[i]
		i++
		if c&0x80 == 0 {
			n := int(c)
			if n == 0 || n > len(d)-i || n > len(dst)-out {
				return copies, false
			}
			copy(dst[out:out+n], d[i:i+n])
			out += n
			i += n
			continue
		}
		var from, n int
		if i+7 <= len(d) {
			// All arguments are there, whichever of them are used.
			if c&0x01 != 0 {
				from = int(d[i])
				i++
			}
			if c&0x02 != 0 {
				from |= int(d[i]) << 8
				i++
			}
			if c&0x04 != 0 {
				from |= int(d[i]) << 16
				i++
			}
			if c&0x08 != 0 {
				from |= int(d[i]) << 24
				i++
			}
			if c&0x10 != 0 {
				n = int(d[i])
				i++
			}
			if c&0x20 != 0 {
				n |= int(d[i]) << 8
				i++
			}
			if c&0x40 != 0 {
				n |= int(d[i]) << 16
				i++
			}
		} else {
			for bit := range 7 {
				if c>>bit&1 == 0 {
					continue
				}
				if i == len(d) {
					return copies, false
				}
				if bit < 4 {
					from |= int(d[i]) << (8 * bit)
				} else {
					n |= int(d[i]) << (8 * (bit - 4))
				}
				i++
			}
		}
		if n == 0 {
			n = 0x10000
		}
		if from < 0 || from > len(base) || n > len(base)-from || n > len(dst)-out {
			return copies, false
		}
		copy(dst[out:out+n], base[from:from+n])
		if copies != nil {
			last := len(copies) - 1
			if last >= 0 && copies[last].Old+copies[last].Len == from && copies[last].New+copies[last].Len == out {
				copies[last].Len += n
			} else {
				copies = append(copies, scanner.Copy{Old: from, New: out, Len: n})
			}
		}
		out += n
	}
	return copies, out == len(dst)
}
