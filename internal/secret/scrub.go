package secret

import (
	"math"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxScrub bounds what is examined of one text, in bytes; what follows is cut off.
const maxScrub = 64 << 10

// tokens are the shapes of credentials that name themselves. It is a second
// line of defence: the first is that secrets live in [Value].
var tokens = regexp.MustCompile(strings.Join([]string{
	`-----BEGIN[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END[^-]*-----|\z)`,
	`\bgh[pousr]_[A-Za-z0-9_.\-]{16,}`,
	`\bgithub_pat_[A-Za-z0-9_]{16,}`,
	`\bv1\.[0-9a-f]{40}\b`,
	`\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*)*`,
	`\bxox[a-z]-[A-Za-z0-9\-]{8,}`,
	`\bxapp-[A-Za-z0-9\-]{8,}`,
	`\b(?:sk|rk|pk)[_-](?:live|test|proj|ant)[_-][A-Za-z0-9_\-]{8,}`,
	`\bsk-[A-Za-z0-9_\-]{20,}`,
	`\bwhsec_[A-Za-z0-9+/=_\-]{8,}`,
	`\bAIza[A-Za-z0-9_\-]{30,}`,
	`\bgl[a-z]{2,5}-[A-Za-z0-9_\-]{20,}`,
	`\b(?:npm|hf|dop_v1|doo_v1|dor_v1|shpat|shpss|lin_api|pul|dckr_pat)[_-][A-Za-z0-9_\-]{16,}`,
	`\bpypi-[A-Za-z0-9_\-]{16,}`,
	`\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}`,
	`\bPRIVATE\+KEY\+\S+`,
}, `|`))

// labelled are values that stand behind a name; group 1 is kept.
var labelled = regexp.MustCompile(strings.Join([]string{
	`(?i)(\b(?:proxy-)?authorization["']?\s*[:=]\s*["']?)(?:(?:bearer|basic|token|digest|negotiate)\s+)?[^\s"',;]+`,
	`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=\-]{12,}`,
	`(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|session|cookie|signature)["']?(?:=|\s*:\s*["']|["']\s*:\s*)["']?)[^\s"',;&]{4,}`,
	`([a-zA-Z][a-zA-Z0-9+.\-]*://)[^\s/@:]*:[^\s/@]+(?:@)`,
}, `|`))

// Scrub replaces what looks like a credential in s by [Redacted]: tokens that
// name themselves, values behind names such as password= or Authorization:,
// passwords in URLs and AWS secret access keys. It knows shapes only, so it is
// no reason to hand it a secret. Texts beyond 64 KiB are cut.
func Scrub(s string) string {
	cut := len(s) > maxScrub
	if cut {
		s = s[:maxScrub]
	}
	if len(s) >= 8 {
		s = tokens.ReplaceAllLiteralString(s, Redacted)
		s = labelled.ReplaceAllString(s, "${1}${2}${3}${4}"+Redacted)
		s = scrubAWS(s)
	}
	if cut {
		// A credential that the cut went through has lost its shape.
		s = s[:max(0, len(s)-4<<10)]
	}
	return s
}

// awsSecretLen is the length of an AWS secret access key.
const awsSecretLen = 40

// scrubAWS redacts runs of exactly 40 base64 characters that are as random as
// an AWS secret access key; hexadecimal object ids are left alone.
func scrubAWS(s string) string {
	var out strings.Builder
	last := 0
	for start := 0; start < len(s); {
		if !isBase64(s[start]) {
			start++
			continue
		}
		end := start
		for end < len(s) && isBase64(s[end]) {
			end++
		}
		if end-start == awsSecretLen && looksRandom(s[start:end]) {
			out.WriteString(s[last:start])
			out.WriteString(Redacted)
			last = end
		}
		start = end
	}
	if last == 0 {
		return s
	}
	out.WriteString(s[last:])
	return out.String()
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' || c == '+'
}

// looksRandom wants upper and lower case and at least 4.2 bits a character.
func looksRandom(s string) bool {
	var counts [256]int
	upper, lower := false, false
	for i := range len(s) {
		c := s[i]
		counts[c]++
		upper = upper || c >= 'A' && c <= 'Z'
		lower = lower || c >= 'a' && c <= 'z'
	}
	if !upper || !lower {
		return false
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			bits -= p * math.Log2(p)
		}
	}
	return bits >= 4.2
}

// Inert makes foreign text safe to write on one line of a log, a terminal or a
// ledger: it is scrubbed, characters that steer a display (controls, ANSI
// escapes, line separators, bidirectional and invisible format characters,
// invalid UTF-8) become visible escapes, and it is capped at limit bytes with
// a note of how much is missing.
func Inert(s string, limit int) string {
	full := len(s)
	s = escape(Scrub(s))
	if len(s) <= limit && full <= maxScrub {
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
