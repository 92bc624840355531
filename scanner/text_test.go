package scanner

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
)

// wide gives text in UTF-16.
func wide(text string, order binary.AppendByteOrder) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, u)
	}
	return b
}

func TestTokenIsFoundInEveryKindOfText(t *testing.T) {
	plain := "# settings of the service\nname = x\n  token=" + patA + "\nlast = 1\n"
	umlaut := strings.ReplaceAll(plain, "  token", "é token") // é is two bytes in UTF-8, one unit in UTF-16
	long := strings.Repeat("lorem ipsum dolor ", 200_000)
	for _, c := range []struct {
		name         string
		data         []byte
		line, column int
	}{
		{"ASCII", []byte(plain), 3, 9},
		{"UTF-8", []byte(umlaut), 3, 10},
		{"UTF-8 with a byte order mark", []byte("\ufeff" + plain), 3, 9},
		{"Latin-1", []byte(strings.ReplaceAll(plain, "  token", "\xe9 token")), 3, 9},
		{"CRLF", []byte(strings.ReplaceAll(plain, "\n", "\r\n")), 3, 9},
		{"UTF-16 LE with a mark", wide("\ufeff"+plain, binary.LittleEndian), 3, 9},
		{"UTF-16 BE with a mark", wide("\ufeff"+plain, binary.BigEndian), 3, 9},
		{"UTF-16 LE", wide(plain, binary.LittleEndian), 3, 9},
		{"UTF-16 BE", wide(plain, binary.BigEndian), 3, 9},
		{"UTF-16 with CRLF", wide("\ufeff"+strings.ReplaceAll(plain, "\n", "\r\n"), binary.LittleEndian), 3, 9},
		{"UTF-16, counted in UTF-8", wide("\ufeff"+umlaut, binary.LittleEndian), 3, 10},
		{"UTF-16 cut in a unit", append(wide("\ufeff"+plain, binary.LittleEndian), 'x'), 3, 9},
		{"NUL at the end", []byte(plain + "\x00"), 3, 9},
		{"NUL on the line", []byte("a\nb\x00\x00token=" + patA + "\x00\n"), 2, 10},
		{"one long line", []byte(long + " token=" + patA + " " + long), 1, len(long) + 8},
		{"a long line before", []byte(long + "\ntoken=" + patA), 2, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			found := engine().Scan(context.Background(), Unit{Data: c.data, Place: Place{Path: "a.conf"}})
			if len(found) != 1 || found[0].Secret.Reveal() != patA {
				t.Fatalf("found %v", rulesOf(found))
			}
			p := found[0].Place
			if p.Line != c.line || p.Column != c.column || p.EndLine != c.line || p.EndColumn != c.column+len(patA)-1 {
				t.Errorf("at %d:%d to %d:%d, want %d:%d", p.Line, p.Column, p.EndLine, p.EndColumn, c.line, c.column)
			}
		})
	}
}

func FuzzReadable(f *testing.F) {
	f.Add([]byte("a\x00token=" + patA))
	f.Add(wide("\ufefftoken", binary.BigEndian))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := readable(data)
		if len(r.text) > 2*len(data)+1 {
			t.Errorf("%d bytes of %d", len(r.text), len(data))
		}
		for _, p := range r.pieces {
			if r.text[p.out] != data[p.in] {
				t.Errorf("piece %+v", p)
			}
		}
	})
}
