package match

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/zricethezav/gitleaks/v8/config"
)

// sampler makes texts with secrets in them, the same for the same seed.
type sampler struct{ r *rand.Rand }

func newSampler(seed uint64, name string) *sampler {
	h := fnv.New64a()
	h.Write([]byte(name))
	return &sampler{rand.New(rand.NewPCG(seed, h.Sum64()))}
}

func (s *sampler) of(list ...string) string { return list[s.r.IntN(len(list))] }

// rule is a text that the rule's expression matches, mostly.
func (s *sampler) rule(r config.Rule) string {
	if r.Regex == nil {
		return "nothing"
	}
	re, err := syntax.Parse(r.Regex.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	s.write(&b, re)
	out := b.String()
	if len(r.Keywords) > 0 && !strings.Contains(strings.ToLower(out), r.Keywords[0]) {
		out = "// " + r.Keywords[s.r.IntN(len(r.Keywords))] + "\n" + out
	}
	return out
}

func (s *sampler) path(r config.Rule) string {
	if r.Path == nil {
		return s.of("", "main.py", "deep/a.yaml")
	}
	re, err := syntax.Parse(r.Path.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	b.WriteString("dir/file")
	s.write(&b, re)
	return b.String()
}

func (s *sampler) write(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 && s.r.IntN(4) == 0 {
				if r < 0x80 || s.r.IntN(40) == 0 {
					r = fold1(r, s.r.IntN(3))
				}
			}
			b.WriteRune(r)
		}
	case syntax.OpCharClass:
		// Mostly a plain one: what is not in it by accident looks random.
		for range 20 {
			i := 2 * s.r.IntN(len(re.Rune)/2)
			c := re.Rune[i] + rune(s.r.IntN(int(min(re.Rune[i+1]-re.Rune[i], 90))+1))
			if c < 0x7f || s.r.IntN(500) == 0 {
				b.WriteRune(c)
				return
			}
		}
		b.WriteRune(re.Rune[0])
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte(" abcXYZ09+/=-_:\"'"[s.r.IntN(17)])
	case syntax.OpCapture, syntax.OpConcat:
		for _, c := range re.Sub {
			s.write(b, c)
		}
	case syntax.OpAlternate:
		s.write(b, re.Sub[s.r.IntN(len(re.Sub))])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		lo, hi := re.Min, re.Max
		switch re.Op {
		case syntax.OpStar:
			lo, hi = 0, 20
		case syntax.OpPlus:
			lo, hi = 1, 30
		case syntax.OpQuest:
			lo, hi = 0, 1
		}
		if hi < 0 {
			hi = lo + 20
		}
		n := lo + s.r.IntN(hi-lo+1)
		if s.r.IntN(2) == 0 {
			n = lo
		}
		for range n {
			s.write(b, re.Sub[0])
		}
	}
}

func fold1(r rune, n int) rune {
	for range n {
		r = []rune(strings.ToUpper(string(r)))[0]
		if n == 2 {
			switch r {
			case 'K':
				return '\u212a'
			case 'S':
				return '\u017f'
			case 'I':
				return '\u0130'
			}
		}
	}
	return r
}

// noise is text that means nothing, but holds words that rules look for.
func (s *sampler) noise(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(s.of(" ", "\n", "\t", "\r\n", "  ", "; ", "= ", ": ", "\"", "'", "=", "->", "\\n", "%20", "\\u0041", "U+0042 ", "ä", "\xff", "\x00", ",", "key", "api", "token", "secret",
			"auth", "password=", "x := y", "func main() {", "client_id", "access", "-----BEGIN", "curl -u ", "curl -H ", "kind: secret", "data:", "AKIA", "sk-", "ghp_", "0123456789abcdef",
			"the", "quick", "brown", "fox", "_", "-", ".", "/usr/lib/", "https://", "\u212a", "\u017f", "\u0130", "gitleaks:allow", "//", "#", "abcdefghijklmnop", "true", "null"))
	}
	return b.String()
}

// surround puts a text into one of some surroundings.
func (s *sampler) surround(text string, round int) string {
	switch round % 12 {
	case 0:
		return text
	case 1:
		return text + "\n"
	case 2:
		return s.noise(200) + "\nvalue = \"" + text + "\"\n" + s.noise(200)
	case 3:
		return s.noise(100) + text + s.noise(100)
	case 4:
		return strings.ReplaceAll(s.noise(300), "\n", " ") + " " + text + " " + strings.ReplaceAll(s.noise(3000), "\n", " ")
	case 5:
		return "a\r\n\r\n" + text + "\r\n" + s.noise(50)
	case 6:
		return s.noise(80) + "\n" + s.encode(text) + "\n" + s.noise(80)
	case 7:
		return s.encode(s.encode(text)) + " " + s.noise(40)
	case 8:
		return text + "\n" + text + "\n\n" + text
	case 9:
		return text + text
	case 10:
		return strings.ReplaceAll(strings.ReplaceAll(s.noise(40)+text, "k", "\u212a"), "s", "\u017f") + "\n" + text + "\n"
	}
	return s.noise(60) + s.mutate(text) + s.noise(60)
}

func (s *sampler) mutate(text string) string {
	b := []byte(text)
	for range 1 + s.r.IntN(3) {
		if len(b) == 0 {
			break
		}
		i := s.r.IntN(len(b))
		switch s.r.IntN(3) {
		case 0:
			b = slices.Delete(b, i, i+1)
		case 1:
			b[i] = " \n\"=aZ09_-\xff"[s.r.IntN(11)]
		default:
			b = slices.Insert(b, i, []byte(s.of("\n", "\r", "K", "=", "\u212a", " "))...)
		}
	}
	return string(b)
}

// encode writes a text in one of the forms that are decoded.
func (s *sampler) encode(text string) string {
	switch s.r.IntN(6) {
	case 0:
		return base64.StdEncoding.EncodeToString([]byte(text))
	case 1:
		return base64.RawURLEncoding.EncodeToString([]byte(text))
	case 2:
		return hex.EncodeToString([]byte(text))
	case 3:
		var b strings.Builder
		for _, c := range []byte(text) {
			if s.r.IntN(2) == 0 {
				fmt.Fprintf(&b, "%%%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
		return b.String()
	case 4:
		var b strings.Builder
		for _, r := range text {
			fmt.Fprintf(&b, "%su%04x", s.of("\\", "\\\\"), r&0xffff)
		}
		return b.String()
	}
	var b strings.Builder
	for _, r := range text {
		fmt.Fprintf(&b, "U+%04X%s", r&0xffff, s.of(" ", " ", "\n"))
	}
	return b.String()
}

func (s *sampler) splice(cfg config.Config, n int) string {
	ids := make([]string, 0, len(cfg.Rules))
	for id := range cfg.Rules {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var b strings.Builder
	for range n {
		text := s.rule(cfg.Rules[ids[s.r.IntN(len(ids))]])
		if s.r.IntN(4) == 0 {
			text = s.mutate(text)
		}
		for s.r.IntN(4) == 0 {
			text = s.encode(text)
		}
		b.WriteString(text)
		b.WriteString(s.of("\n", "\n", "\r\n", " ", "\"", ";", ""))
		b.WriteString(s.noise(s.r.IntN(120)))
		b.WriteString(s.of("\n", ""))
	}
	return b.String()
}

// strange is text for the strange rules.
func (s *sampler) strange() string {
	var b strings.Builder
	for range 10 + s.r.IntN(30) {
		b.WriteString(s.of("zq123456", "ABC12345", "ABCD12345", "pin: 42", "pin: 7x", "begin-abcd", "end-wxyz", "xcode5", "code5", "xcodex5", "xcode77 ", "void-1void-2", "void", "1234-5678-9012",
			"account", "KONTO", "schlüssel=abc", "SCHLÜSSEL=abc", "kiss_abcd", "\u212aiss_abcd", "ki\u017fs_abcde", "k\u0130ss", "pair a:b;", "pair :bcd;", "open", "close", "from", "till", "tilly",
			"ab=x=abc=def", "abab=c==xyz", "local-12", "main-123", "helper-456", "thing=zzabc123", "thing=abcdefgh1", "exact=zzabc123", "excuse-abc12", "excuse-qq1x", "excuse-ppabc1", "excuse-xyzxyz", "fine here",
			"gitleaks:allow", base64.StdEncoding.EncodeToString([]byte("zq654321 excuse-abc98 ")), "%7aq999999", "\\u007aq888888", hex.EncodeToString([]byte("main-321 and thing=zzqqzz11")), "key=aB3dE6gH9jK2mN5p"))
		b.WriteString(s.of("\n", "\n", " ", "", "\r\n", "  ", "x", "é", "-"))
	}
	return b.String()
}
