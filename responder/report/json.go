package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON writes the canonical form: indented, UTF-8, every invisible or directing
// character as \uXXXX, so that it is harmless in a terminal and inside HTML.
func JSON(r Report) ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode report: %w", err)
	}
	var out bytes.Buffer
	out.Grow(len(data) + 1)
	for len(data) > 0 {
		c, n := utf8.DecodeRune(data)
		switch {
		case c >= 0x10000 && invisible(c):
			a, b := utf16.EncodeRune(c)
			fmt.Fprintf(&out, `\u%04x\u%04x`, a, b)
		case c != '\n' && invisible(c):
			fmt.Fprintf(&out, `\u%04x`, c)
		default:
			out.Write(data[:n])
		}
		data = data[n:]
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// invisible says whether a character shows nothing or moves others: controls,
// formats (bidi, zero width, tags), separators other than space, private use,
// variation selectors.
func invisible(c rune) bool {
	return c != ' ' && (unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Zs, unicode.Co, unicode.Cs, unicode.Variation_Selector) ||
		c == 0x115F || c == 0x1160 || c == 0x3164 || c == 0xFFA0 || c == 0x034F)
}
