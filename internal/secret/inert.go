package secret

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Inert makes foreign text safe to write on one line of a log, a terminal or a
// ledger: it is scrubbed, characters that steer a display (controls, ANSI
// escapes, line separators, bidirectional and invisible format characters,
// invalid UTF-8) become visible escapes, and it is capped at limit bytes, with
// "...[cut]" behind it when something is missing.
func Inert(s string, limit int) string {
	window := min(limit+2*longest, maxScrub)
	cut := len(s) > window
	s = escape(scrub(s, window))
	if len(s) <= limit && !cut {
		return s
	}
	keep := min(limit, len(s))
	for keep > 0 && keep < len(s) && !utf8.RuneStart(s[keep]) {
		keep--
	}
	return s[:keep] + "...[cut]"
}

func escape(s string) string {
	if plain(s) {
		return s
	}
	const hex = "0123456789abcdef"
	var out strings.Builder
	out.Grow(len(s) + 16)
	for i, r := range s {
		switch {
		case r == utf8.RuneError && s[i] != 0xEF:
			out.WriteString(`\x`)
			out.WriteByte(hex[s[i]>>4])
			out.WriteByte(hex[s[i]&15])
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case steers(r):
			if r > 0xFFFF {
				out.WriteString(`\U`)
				for shift := 28; shift >= 16; shift -= 4 {
					out.WriteByte(hex[r>>shift&15])
				}
			} else {
				out.WriteString(`\u`)
			}
			for shift := 12; shift >= 0; shift -= 4 {
				out.WriteByte(hex[r>>shift&15])
			}
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

// plain reports whether s is printable ASCII throughout.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

// steers reports whether r changes how its surroundings are shown.
func steers(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) ||
		unicode.Is(unicode.Variation_Selector, r)
}
