package archive

import (
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"

	"github.com/ulikunitz/xz/lzma"
)

// The reader of 7z archives follows the format's description in the LZMA SDK
// (7zFormat.txt). It reads folders of one coder, which is what archivers make of
// text: copied, LZMA, LZMA2, deflate, bzip2.

// errSeven is any damage; errPacked is a way of packing that is not read, errSealed
// one that needs a password.
var (
	errSeven  = errors.New("damaged 7z archive")
	errPacked = errors.New("packed in a way that is not read")
	errSealed = errors.New("encrypted")
)

// The ids of properties.
const (
	sevenEnd         = 0x00
	sevenHeader      = 0x01
	sevenMain        = 0x04
	sevenFiles       = 0x05
	sevenPack        = 0x06
	sevenUnpack      = 0x07
	sevenSub         = 0x08
	sevenSize        = 0x09
	sevenCRC         = 0x0a
	sevenFolder      = 0x0b
	sevenUnpackSize  = 0x0c
	sevenStreams     = 0x0d
	sevenEmptyStream = 0x0e
	sevenNames       = 0x11
	sevenEncoded     = 0x17
)

const sevenHeaderMost = 8 << 20 // bytes of a header, unpacked

// sevenFolderInfo is one packed stream: how it is packed, and the files in it.
type sevenFolderInfo struct {
	method, props string
	packed        []byte
	size          uint64
	files         []uint64 // their sizes, in order
}

// seven opens a 7z archive.
func (o *opener) seven(name string, data []byte, depth int) error {
	folders, names, err := o.sevenIndex(data)
	if err != nil {
		return o.sevenFailed(err)
	}
	next := 0
	for _, f := range folders {
		if len(f.files) == 0 {
			continue
		}
		spent := o.alive()
		if spent != nil {
			return spent
		}
		r, err := f.reader(min(o.Bytes, ratioFrom+o.Ratio*int64(len(f.packed))))
		m := &meter{o: o, r: r, packed: int64(len(f.packed)), budget: &o.Bytes}
		for _, size := range f.files {
			spent := o.entry()
			if spent != nil {
				return spent
			}
			label := "_"
			if next < len(names) {
				label = names[next]
			}
			next++
			if err != nil {
				continue // told below
			}
			var inner []byte
			inner, err = io.ReadAll(io.LimitReader(m, int64(min(size, 1<<40))))
			if err == nil && uint64(len(inner)) < size {
				err = errSeven
			}
			if errors.Is(err, errSpent) {
				return err
			}
			given := o.file(name+"!"+o.label(label), inner, depth)
			if given != nil {
				return given
			}
		}
		stop := o.sevenFailed(err)
		if stop != nil {
			return stop
		}
	}
	return nil
}

func (o *opener) sevenFailed(err error) error {
	switch {
	case errors.Is(err, errSealed):
		o.say("an archive is encrypted")
		return nil
	case errors.Is(err, errPacked):
		o.say("an archive is damaged or packed in a way that is not read")
		return nil
	}
	return o.failed(err)
}

// reader gives what a folder unpacks to. The dictionary is no larger than that.
func (f *sevenFolderInfo) reader(most int64) (io.Reader, error) {
	src := bytes.NewReader(f.packed)
	dict := int(max(min(f.size, uint64(max(most, 0)), window), lzma.MinDictCap))
	switch f.method {
	case "\x00":
		return src, nil
	case "\x03\x01\x01":
		if len(f.props) != 5 {
			return nil, errSeven
		}
		head := []byte{f.props[0]}
		head = binary.LittleEndian.AppendUint32(head, min(binary.LittleEndian.Uint32([]byte(f.props[1:])), uint32(dict)))
		head = binary.LittleEndian.AppendUint64(head, f.size)
		return lzma.ReaderConfig{DictCap: lzma.MinDictCap}.NewReader(io.MultiReader(bytes.NewReader(head), src))
	case "\x21":
		return lzma.Reader2Config{DictCap: dict}.NewReader2(src)
	case "\x04\x01\x08":
		return flate.NewReader(src), nil
	case "\x04\x02\x02":
		return bzip2.NewReader(src), nil
	case "\x06\xf1\x07\x01":
		return nil, errSealed
	}
	return nil, errPacked
}

// sevenIndex reads the header: the folders, and the names of the files with content.
func (o *opener) sevenIndex(data []byte) ([]sevenFolderInfo, []string, error) {
	if len(data) < 32 {
		return nil, nil, errSeven
	}
	at, size := binary.LittleEndian.Uint64(data[12:]), binary.LittleEndian.Uint64(data[20:])
	rest := data[32:]
	if at > uint64(len(rest)) || size > uint64(len(rest))-at {
		return nil, nil, errSeven
	}
	s := sevenReader{b: rest[at : at+size], packed: rest, most: o.Entries}
	for range 4 { // a header can be packed itself
		if len(s.b) == 0 {
			return nil, nil, nil
		}
		switch s.byte() {
		case sevenHeader:
			folders, names := s.header()
			return folders, names, s.err
		case sevenEncoded:
			folders := s.streams()
			if s.err != nil || len(folders) != 1 || folders[0].size > sevenHeaderMost {
				return nil, nil, errors.Join(s.err, errSeven)
			}
			r, err := folders[0].reader(sevenHeaderMost)
			if err != nil {
				return nil, nil, err
			}
			b, err := io.ReadAll(io.LimitReader(&meter{o: o, r: r, packed: int64(len(data)), budget: &o.Bytes}, int64(folders[0].size)))
			if err != nil {
				return nil, nil, err
			}
			s = sevenReader{b: b, packed: rest, most: o.Entries}
		default:
			return nil, nil, errSeven
		}
	}
	return nil, nil, errSeven
}

// sevenReader reads a header. After an error it reads zeros.
type sevenReader struct {
	b      []byte
	packed []byte // what offsets count from
	most   int    // folders, streams and files
	err    error
}

func (s *sevenReader) bytes(n uint64) []byte {
	if s.err != nil || n > uint64(len(s.b)) {
		s.err, s.b = errSeven, nil
		return nil
	}
	out := s.b[:n]
	s.b = s.b[n:]
	return out
}

func (s *sevenReader) byte() byte {
	b := s.bytes(1)
	if b == nil {
		return 0
	}
	return b[0]
}

// number reads a number: the ones in front of the first byte tell how many follow.
func (s *sevenReader) number() (n uint64) {
	first := s.byte()
	mask := byte(0x80)
	for i := 0; i < 8; i++ {
		if first&mask == 0 {
			return n | uint64(first&(mask-1))<<(8*i)
		}
		n |= uint64(s.byte()) << (8 * i)
		mask >>= 1
	}
	return n
}

// count is a number of things that are listed, each of which takes a byte or a bit.
func (s *sevenReader) count() int {
	n := s.number()
	if n > uint64(s.most) || n > 8*uint64(len(s.b))+8 {
		s.err = errSeven
		return 0
	}
	return int(n)
}

func (s *sevenReader) bits(n int) []bool {
	out := make([]bool, n)
	b := s.bytes(uint64(n+7) / 8)
	for i := range out {
		out[i] = b != nil && b[i/8]&(0x80>>(i%8)) != 0
	}
	return out
}

// digests passes over checksums of n things.
func (s *sevenReader) digests(n int) {
	defined := n
	if s.byte() == 0 {
		defined = 0
		for _, yes := range s.bits(n) {
			if yes {
				defined++
			}
		}
	}
	s.bytes(4 * uint64(defined))
}

func (s *sevenReader) header() (folders []sevenFolderInfo, names []string) {
	for s.err == nil {
		switch s.byte() {
		case sevenEnd:
			return folders, names
		case sevenMain:
			folders = s.streams()
		case sevenFiles:
			names = s.names()
		default:
			s.err = errSeven
		}
	}
	return nil, nil
}

// streams reads where packed streams are and how they are packed.
func (s *sevenReader) streams() (folders []sevenFolderInfo) {
	var sizes []uint64
	var pos uint64
	for s.err == nil {
		switch s.byte() {
		case sevenEnd:
			return s.place(folders, pos, sizes)
		case sevenPack:
			pos = s.number()
			n := s.count()
			for id := s.byte(); s.err == nil && id != sevenEnd; id = s.byte() {
				switch id {
				case sevenSize:
					for range n {
						sizes = append(sizes, s.number())
					}
				case sevenCRC:
					s.digests(n)
				default:
					s.err = errSeven
				}
			}
		case sevenUnpack:
			folders = s.folders()
		case sevenSub:
			s.substreams(folders)
		default:
			s.err = errSeven
		}
	}
	return nil
}

// place gives each folder its bytes.
func (s *sevenReader) place(folders []sevenFolderInfo, pos uint64, sizes []uint64) []sevenFolderInfo {
	if len(sizes) < len(folders) {
		s.err = errSeven
		return nil
	}
	for i := range folders {
		if pos > uint64(len(s.packed)) || sizes[i] > uint64(len(s.packed))-pos {
			s.err = errSeven
			return nil
		}
		folders[i].packed = s.packed[pos : pos+sizes[i]]
		pos += sizes[i]
	}
	return folders
}

func (s *sevenReader) folders() (out []sevenFolderInfo) {
	if s.byte() != sevenFolder {
		s.err = errSeven
		return nil
	}
	n := s.count()
	if s.byte() != 0 {
		s.err = errSeven // kept elsewhere
	}
	for range n {
		if s.err != nil {
			return nil
		}
		if s.number() != 1 {
			s.err = errPacked // filters, encryption
			return nil
		}
		flags := s.byte()
		f := sevenFolderInfo{method: string(s.bytes(uint64(flags & 0xf)))}
		if flags&0x10 != 0 {
			ins, outs := s.number(), s.number()
			if ins != 1 || outs != 1 {
				s.err = errPacked
			}
		}
		if flags&0x20 != 0 {
			f.props = string(s.bytes(s.number()))
		}
		out = append(out, f)
	}
	if s.byte() != sevenUnpackSize {
		s.err = errSeven
		return nil
	}
	for i := range out {
		out[i].size = s.number()
		out[i].files = []uint64{out[i].size}
	}
	id := s.byte()
	if id == sevenCRC {
		s.digests(n)
		id = s.byte()
	}
	if id != sevenEnd {
		s.err = errSeven
	}
	return out
}

// substreams reads how the folders are cut into files.
func (s *sevenReader) substreams(folders []sevenFolderInfo) {
	counts := make([]int, len(folders))
	total := 0
	for i := range counts {
		counts[i] = 1
	}
	id := s.byte()
	if id == sevenStreams {
		for i := range counts {
			counts[i] = s.count()
		}
		id = s.byte()
	}
	for i, n := range counts {
		total += n
		if total > s.most {
			s.err = errSeven
			return
		}
		folders[i].files = make([]uint64, n)
		rest := folders[i].size
		for k := range n {
			size := rest
			if k < n-1 && id == sevenSize {
				size = s.number()
			}
			if size > rest {
				s.err = errSeven
				return
			}
			folders[i].files[k] = size
			rest -= size
		}
	}
	if id == sevenSize {
		id = s.byte()
	}
	for ; s.err == nil && id != sevenEnd; id = s.byte() {
		if id != sevenCRC {
			s.err = errSeven
			return
		}
		s.digests(total)
	}
}

// names reads the names of the files with content.
func (s *sevenReader) names() (out []string) {
	n := s.count()
	empty := make([]bool, n)
	var all []string
	for s.err == nil {
		id := s.byte()
		if id == sevenEnd {
			break
		}
		p := sevenReader{b: s.bytes(s.number()), most: s.most}
		switch id {
		case sevenEmptyStream:
			empty = p.bits(n)
		case sevenNames:
			if p.byte() != 0 {
				s.err = errSeven
			}
			var units []uint16
			for len(p.b) >= 2 && len(all) < n {
				u := binary.LittleEndian.Uint16(p.b)
				p.b = p.b[2:]
				if u != 0 {
					units = append(units, u)
					continue
				}
				all = append(all, string(utf16.Decode(units)))
				units = units[:0]
			}
		}
	}
	for i, name := range all {
		if !empty[i] {
			out = append(out, name)
		}
	}
	return out
}
