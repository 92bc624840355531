package secret

import (
	"math"
	"slices"
	"strings"
)

// maxScrub bounds what is examined of one text, in bytes; what follows is cut off.
const maxScrub = 64 << 10

// longest is more than any credential that [Scrub] knows but private keys, which
// are found by their head.
const longest = 4 << 10

// shape is how a kind of credential that names itself begins. The scanner knows
// far more of them; these are those that we hold ourselves or meet most. Scrub is
// a second line of defence: the first is that secrets live in [Value].
type shape struct {
	prefix string
	atomic string // characters beside letters and digits
	min    int    // characters after the prefix
}

var shapes = []shape{
	{"ghp_", "_.-", 16}, {"gho_", "_.-", 16}, {"ghu_", "_.-", 16}, {"ghs_", "_.-", 16}, {"ghr_", "_.-", 16},
	{"github_pat_", "_", 16}, {"v1.", "", 40},
	{"xoxa-", "-", 8}, {"xoxb-", "-", 8}, {"xoxc-", "-", 8}, {"xoxd-", "-%", 8}, {"xoxe-", "-", 8}, {"xoxe.", ".-", 8},
	{"xoxo-", "-", 8}, {"xoxp-", "-", 8}, {"xoxr-", "-", 8}, {"xoxs-", "-", 8}, {"xapp-", "-", 8},
	{"sk_live_", "_-", 8}, {"sk_test_", "_-", 8}, {"rk_live_", "_-", 8}, {"rk_test_", "_-", 8},
	{"sk-", "_-", 20}, {"whsec_", "+/=_-", 8}, {"AIza", "_-", 30}, {"ya29.", "_-.", 16},
	{"glpat-", "_-.", 16}, {"gldt-", "_-", 16}, {"glrt-", "_-.", 16}, {"glptt-", "_-", 16},
	{"npm_", "", 16}, {"hf_", "", 16}, {"dop_v1_", "", 16}, {"doo_v1_", "", 16}, {"dor_v1_", "", 16},
	{"shpat_", "", 16}, {"shpss_", "", 16}, {"lin_api_", "", 16}, {"pul-", "", 16}, {"dckr_pat_", "_-", 16},
	{"pypi-", "_-", 16}, {"SG.", "_-.", 32}, {"hvs.", "_-", 16}, {"eyJ", "_-.=", 20}, {"PRIVATE+KEY+", "+/=._-", 8},
}

// Scrub replaces what looks like a credential in s by [Redacted]: tokens that
// name themselves, private keys, values behind names such as password= or
// Authorization:, user names and passwords in URLs, and AWS secret access keys.
// It takes time linear in the text and examines no more than 64 KiB of it; the
// rest is cut off.
func Scrub(s string) string { return scrub(s, maxScrub) }

func scrub(s string, limit int) string {
	cut := len(s) > limit
	if cut {
		s = s[:limit]
	}
	var spans []span
	spans = tokenSpans(spans, s)
	spans = labelledSpans(spans, s)
	spans = awsSpans(spans, s)
	if cut {
		// A credential that the cut went through has lost its shape.
		spans = append(spans, span{max(0, len(s)-longest), len(s)})
	}
	if len(spans) == 0 {
		return s
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	done := 0
	for _, sp := range spans {
		if sp.from >= done {
			out.WriteString(s[done:sp.from])
			out.WriteString(Redacted)
		}
		done = max(done, sp.to)
	}
	out.WriteString(s[done:])
	return out.String()
}

// span is a part of a text that is not to be shown.
type span struct{ from, to int }

// tokenSpans finds credentials by how they begin.
func tokenSpans(spans []span, s string) []span {
	for i := 0; i < len(s); i++ {
		if i > 0 && isWord(s[i-1]) {
			continue
		}
		end := tokenAt(s, i)
		if end > i {
			spans = append(spans, span{i, end})
			i = end - 1
		}
	}
	return spans
}

// tokenAt gives the end of the credential that begins at i, or i.
func tokenAt(s string, i int) int {
	switch s[i] {
	case '-':
		return privateKeyAt(s, i)
	case 'b', 'B':
		for _, scheme := range []string{"bearer ", "basic "} {
			if hasPrefixFold(s[i:], scheme) {
				from := i + len(scheme)
				end := runEnd(s, from, "._~+/=-")
				if end-from >= 12 {
					return end
				}
			}
		}
		return i
	}
	for _, sh := range shapes {
		if sh.prefix[0] != s[i] || !strings.HasPrefix(s[i:], sh.prefix) {
			continue
		}
		from := i + len(sh.prefix)
		end := runEnd(s, from, sh.atomic)
		if end-from >= sh.min {
			return end
		}
	}
	return i
}

// privateKeyAt covers a private key in PEM form, to its end or that of the text.
func privateKeyAt(s string, i int) int {
	const begin, end, dashes = "-----BEGIN ", "-----END ", "-----"
	if !strings.HasPrefix(s[i:], begin) {
		return i
	}
	head := s[i+len(begin) : min(len(s), i+len(begin)+48)]
	if !strings.Contains(head, "PRIVATE KEY") {
		return i
	}
	tail := strings.Index(s[i:], end)
	if tail < 0 {
		return len(s)
	}
	after := i + tail + len(end)
	closing := strings.Index(s[after:min(len(s), after+64)], dashes)
	if closing < 0 {
		return len(s)
	}
	return after + closing + len(dashes)
}

// runEnd is where the run of letters, digits and atomic characters at from ends.
func runEnd(s string, from int, atomic string) int {
	for from < len(s) && (isAlnum(s[from]) || strings.IndexByte(atomic, s[from]) >= 0) {
		from++
	}
	return from
}

// labels are ends of names whose value is not to be shown.
var labels = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "api_key", "api-key", "accesskey", "access_key",
	"access-key", "privatekey", "private_key", "private-key", "secretkey", "secret_key", "credential", "session", "signature",
	"authorization", "cookie",
}

// labelledSpans finds values by the name in front of them, and URLs' user parts.
func labelledSpans(spans []span, s string) []span {
	for i := 0; i < len(s); i++ {
		if s[i] != '=' && s[i] != ':' {
			continue
		}
		if s[i] == ':' && strings.HasPrefix(s[i:], "://") {
			from := i + 3
			end := from
			for end < len(s) && !strings.ContainsRune("/?# \t\r\n\"'<>\\", rune(s[end])) {
				end++
			}
			at := strings.LastIndexByte(s[from:end], '@')
			if at > 0 {
				spans = append(spans, span{from, from + at})
			}
			continue
		}
		label := labelBefore(s, i)
		if label == "" {
			continue
		}
		from, end := valueAfter(s, i, label == "authorization" || label == "cookie")
		if end-from >= 4 {
			spans = append(spans, span{from, end})
			i = end - 1
		}
	}
	return spans
}

// labelBefore gives the label that ends before the separator at i, or "".
func labelBefore(s string, i int) string {
	end := i
	for end > 0 && i-end < 4 && strings.IndexByte(" \\\"'", s[end-1]) >= 0 {
		end--
	}
	from := end
	for from > 0 && end-from < 16 && (isAlnum(s[from-1]) || s[from-1] == '_' || s[from-1] == '-') {
		from--
	}
	name := strings.ToLower(s[from:end])
	for _, l := range labels {
		if strings.HasSuffix(name, l) {
			return l
		}
	}
	return ""
}

// valueAfter gives the value behind the separator at i. Behind a colon only a
// quoted value counts ("token: refused" is prose), but a header's value counts
// to the end of its line.
func valueAfter(s string, i int, header bool) (from, end int) {
	from = i + 1
	quoted := false
	for from < len(s) && from-i < 12 && strings.IndexByte(" \\\"'[", s[from]) >= 0 {
		quoted = quoted || s[from] == '"' || s[from] == '\''
		from++
	}
	stop := " \t\r\n\"'\\,;&)"
	switch {
	case header:
		stop = "\r\n\"'\\"
	case quoted:
		stop = "\r\n\"'\\"
	case s[i] == ':':
		return from, from
	}
	end = from
	for end < len(s) && strings.IndexByte(stop, s[end]) < 0 {
		end++
	}
	return from, end
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isWord(c byte) bool { return isAlnum(c) || c == '_' }

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// awsSecretLen is the length of an AWS secret access key.
const awsSecretLen = 40

// awsSpans finds runs of exactly 40 base64 characters that are as random as an
// AWS secret access key; hexadecimal object ids are left alone.
func awsSpans(spans []span, s string) []span {
	for start := 0; start < len(s); {
		end := start
		for end < len(s) && (isAlnum(s[end]) || s[end] == '/' || s[end] == '+') {
			end++
		}
		if end-start == awsSecretLen && looksRandom(s[start:end]) {
			spans = append(spans, span{start, end})
		}
		start = end + 1
	}
	return spans
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
