package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"stanch/internal/lazyregexp"
)

// maxShown bounds one piece of foreign text in Markdown and HTML, in bytes; the
// JSON has more.
const maxShown = 400

// visible shows text as it is and what cannot be seen as an escape: controls,
// bidi and zero-width characters and unusual spaces become \u{202e}. Schemes are
// defanged, so that no mail client or chat makes a link of them.
func visible(s string) string { return visibleUpTo(s, maxShown) }

func visibleUpTo(s string, most int) string {
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = fmt.Sprintf("%s… (%d bytes)", s[:cut], len(s))
	}
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == utf8.RuneError, invisible(c):
			fmt.Fprintf(&b, `\u{%x}`, c)
		case unicode.Is(unicode.Mn, c) || unicode.Is(unicode.Me, c):
			fmt.Fprintf(&b, `\u{%x}`, c) // no towers of combining marks
		default:
			b.WriteRune(c)
		}
	}
	return defang(b.String())
}

// defang breaks what programs turn into links: schemes and "www.".
func defang(s string) string {
	s = strings.ReplaceAll(s, "://", "[:]//")
	for _, scheme := range []string{"javascript:", "mailto:", "data:", "vbscript:", "xmpp:"} {
		s = replaceFold(s, scheme, func(m string) string { return strings.TrimSuffix(m, ":") + "[:]" })
	}
	return replaceFold(s, "www.", func(m string) string { return strings.TrimSuffix(m, ".") + "[.]" })
}

// replaceFold replaces each occurrence of an ASCII word, whatever its case.
func replaceFold(s, word string, with func(string) string) string {
	var b strings.Builder
	for {
		n := indexFold(s, word)
		if n < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:n])
		b.WriteString(with(s[n : n+len(word)]))
		s = s[n+len(word):]
	}
}

func indexFold(s, word string) int {
	for n := 0; n+len(word) <= len(s); n++ {
		if strings.EqualFold(s[n:n+len(word)], word) && len(s[n:n+len(word)]) == len(word) {
			return n
		}
	}
	return -1
}

// word is a piece of a sentence. Code is set where it is not plain prose, Whole
// where it must stay on one line.
type word struct {
	Text  string
	Code  bool
	Whole bool
}

// words cuts a sentence into prose and what only may stand as code: names,
// addresses, commands, anything with a character that a renderer could take for
// markup, a link or a mention. So a sentence stays inert whoever wrote its parts.
func words(s string) []word {
	var out []word
	prose := func(t string) {
		if n := len(out); n > 0 && !out[n-1].Code {
			out[n-1].Text += t
			return
		}
		out = append(out, word{Text: t})
	}
	s = visibleUpTo(strings.ToValidUTF8(s, "\uFFFD"), maxText)
	plain := func(part string) {
		for k, f := range strings.Fields(part) {
			if k > 0 {
				prose(" ")
			}
			lead := len(f) - len(strings.TrimLeft(f, "("))
			core := strings.TrimRight(f[lead:], ".,;:)")
			tail := f[lead+len(core):]
			if core == "" || proseWord(core) && (len(out) > 0 || !bulletLike(f)) {
				prose(f)
				continue
			}
			if lead > 0 {
				prose(f[:lead])
			}
			out = append(out, word{Text: core, Code: true})
			if tail != "" {
				prose(tail)
			}
		}
	}
	// What stands between backticks, and by itself, is code as it is: a command.
	for {
		m := quoted().FindStringSubmatchIndex(s)
		if m == nil {
			plain(s)
			return out
		}
		plain(s[:m[2]])
		if len(out) > 0 {
			prose(" ")
		}
		out = append(out, word{Text: strings.TrimSpace(s[m[4]:m[5]]), Code: true})
		s = s[m[1]-(m[7]-m[6]):]
		if tail := strings.TrimLeft(s, ".,;:)"); len(tail) < len(s) {
			prose(s[:len(s)-len(tail)])
			s = tail
		}
		if strings.TrimSpace(s) != "" {
			prose(" ")
		}
	}
}

// quoted finds a quoted command: before it the start or a space, after it the
// end, a space or the end of a clause.
var quoted = lazyregexp.New("(^| )`([^` ][^`]*)`($|[ .,;:)])")

// proseWord says whether a word can only be read as plain text.
func proseWord(w string) bool {
	digits := true
	for _, c := range w {
		digits = digits && (c >= '0' && c <= '9' || c == '.' || c == ':' || c == '-')
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-' || c == '’' || c == '\'' || c == ',' || c == '…':
		case c == '.' || c == ':': // times and numbers only, never a host or a scheme
			if !digits {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// bulletLike says whether a first word could start a list or a rule.
func bulletLike(w string) bool {
	rest := strings.Trim(w, "0123456789")
	return rest == "." || rest == ")" || strings.Trim(w, "-") == ""
}
