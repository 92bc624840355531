package archive

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"testing"
	"unicode/utf16"

	"github.com/ulikunitz/xz/lzma"
)

const lzma1 = "\x03\x01\x01"

// sevenNumber writes a number below 2^28 as 7z does.
func sevenNumber(n int) []byte {
	switch {
	case n < 1<<7:
		return []byte{byte(n)}
	case n < 1<<14:
		return []byte{0x80 | byte(n>>8), byte(n)}
	case n < 1<<21:
		return []byte{0xc0 | byte(n>>16), byte(n), byte(n >> 8)}
	}
	return []byte{0xe0 | byte(n>>24), byte(n), byte(n >> 8), byte(n >> 16)}
}

// sevenStream packs data, and gives the properties that say how.
func sevenStream(t testing.TB, method string, data []byte) (packed, props []byte) {
	var b bytes.Buffer
	switch method {
	case lzma1:
		w, err := lzma.NewWriter(&b)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()[lzma.HeaderLen:], b.Bytes()[:5]
	case "\x04\x01\x08":
		w, err := flate.NewWriter(&b, 9)
		if err == nil {
			_, err = w.Write(data)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes(), nil
	}
	return data, nil
}

// sevenStreamsOf describes one folder at pos; sizes are those of its files.
func sevenStreamsOf(method string, props []byte, pos, packed, size int, sizes ...int) []byte {
	b := append([]byte{sevenPack}, sevenNumber(pos)...)
	b = append(b, 1, sevenSize)
	b = append(b, sevenNumber(packed)...)
	b = append(b, sevenEnd, sevenUnpack, sevenFolder, 1, 0, 1, byte(len(method))|0x20)
	b = append(b, method...)
	b = append(b, byte(len(props)))
	b = append(b, props...)
	b = append(b, sevenUnpackSize)
	b = append(b, sevenNumber(size)...)
	b = append(b, sevenEnd)
	if len(sizes) > 0 {
		b = append(b, sevenSub, sevenStreams)
		b = append(b, sevenNumber(len(sizes))...)
		if len(sizes) > 1 {
			b = append(b, sevenSize)
			for _, n := range sizes[:len(sizes)-1] {
				b = append(b, sevenNumber(n)...)
			}
		}
		b = append(b, sevenCRC, 1)
		b = append(b, make([]byte, 4*len(sizes))...)
		b = append(b, sevenEnd)
	}
	return append(b, sevenEnd)
}

// sevenHead puts packed streams and a header into a file.
func sevenHead(streams, header []byte) []byte {
	b := append([]byte("7z\xbc\xaf\x27\x1c\x00\x04"), make([]byte, 4)...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(streams)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(header)))
	b = append(b, make([]byte, 4)...)
	return append(append(b, streams...), header...)
}

// sevenOf makes an archive of one folder, with a directory in front of the files.
func sevenOf(t testing.TB, method string, files ...file) []byte {
	packed, header := sevenParts(t, method, files)
	return sevenHead(packed, header)
}

func sevenParts(t testing.TB, method string, files []file) (packed, header []byte) {
	var all []byte
	var sizes []int
	names := []byte{0}
	name := func(s string) {
		for _, u := range append(utf16.Encode([]rune(s)), 0) {
			names = binary.LittleEndian.AppendUint16(names, u)
		}
	}
	name("dir")
	for _, f := range files {
		all, sizes = append(all, f.text...), append(sizes, len(f.text))
		name(f.name)
	}
	packed, props := sevenStream(t, method, all)
	header = append([]byte{sevenHeader, sevenMain}, sevenStreamsOf(method, props, 0, len(packed), len(all), sizes...)...)
	n := len(files) + 1
	empty := make([]byte, (n+7)/8)
	empty[0] = 0x80
	header = append(append(header, sevenFiles), sevenNumber(n)...)
	header = append(append(append(header, sevenEmptyStream), sevenNumber(len(empty))...), empty...)
	header = append(append(append(header, sevenNames), sevenNumber(len(names))...), names...)
	return packed, append(header, sevenEnd, sevenEnd)
}

// sevenPacked makes an archive whose header is packed too, as archivers do.
func sevenPacked(t testing.TB, files ...file) []byte {
	packed, header := sevenParts(t, lzma1, files)
	inner, props := sevenStream(t, lzma1, header)
	outer := append([]byte{sevenEncoded}, sevenStreamsOf(lzma1, props, len(packed), len(inner), len(header))...)
	return sevenHead(append(packed, inner...), outer)
}
