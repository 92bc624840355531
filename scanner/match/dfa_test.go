package match

import (
	"regexp"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
)

// The automata find what regexp finds, as long as they are not given up.
func TestAutomataAreTheExpression(t *testing.T) {
	exprs := []string{
		`^a`, `a$`, `(?m)^pin: (\d+)$`, `\bkey\b`, `\Bcode\B\d`, `(?i)kiss`, `(?s)a.b`, `a.b`, `[^a-z]x`, `ü+`, `(?i)ü`, `x{3,5}y`, `(a|b)*c\z`, `\A\s*z`, `[\x{100}-\x{200}]q`, ``, `a^b`,
		`a|ab|abc`, `(?:a|ab)(?:c|bcd)?`, `x+?y?`, `x{2,4}?`, `(?:ab?|b)+?c?`, `(?U)a+b*`, `\bx+?\b`, `(?m)^.+?$`, `(?:xx|x)(?:xx|y|$)`, `.y`, `[^ ]{2,6}y`, `key|ey\b|y pin`,
	}
	for id, r := range must(t, extraRules(t), strangeRules).config().Rules {
		if r.Regex != nil && (len(id)%3 == 0 || !testing.Short()) {
			exprs = append(exprs, r.Regex.String())
		}
	}
	yes, no, given, up := 0, 0, 0, 0
	for n, expr := range exprs {
		re := regexp.MustCompile(expr)
		d := newDFA(expr)
		if d == nil {
			given++
			continue
		}
		for round := range 30 {
			s := newSampler(uint64(round), expr)
			text := s.noise(s.r.IntN(200))
			for range s.r.IntN(3) {
				sample := s.rule(config.Rule{Regex: re})
				if s.r.IntN(2) == 0 {
					sample = s.mutate(sample)
				}
				text += sample + s.of("", " ", "\n", "y")
			}
			if round%5 == 0 {
				text += s.of("a", "b", "\n", "pin: 4\n", "Ü", "\u0101q", "xxxy", "key", "xcode7", "KI\u017fs", "ab", "abcd", "\xe2\x82x", "\xffxxy")
			}
			want := re.FindAllStringIndex(text, -1)
			any, ok := d.matches([]byte(text))
			if ok && any != (want != nil) {
				t.Fatalf("expression %d %q: matches, or not, in %q", n, expr, text)
			}
			at := 0
			for i := 0; ; i++ {
				m, ok := d.find([]byte(text), at)
				if !ok {
					if !d.empty {
						up++
					}
					break
				}
				if i == len(want) && m.end < 0 {
					break
				}
				if i == len(want) || m.start != want[i][0] || m.end != want[i][1] {
					t.Fatalf("expression %d %q: match %d is %v, want those of %v, in %q", n, expr, i, m, want, text)
				}
				at = m.end
			}
			if want != nil {
				yes++
			} else {
				no++
			}
		}
	}
	t.Logf("%d expressions, %d without automata; %d matches, %d times none, %d times given up", len(exprs), given, yes, no, up)
	if yes < len(exprs) || no < len(exprs) || given > len(exprs)/10 || up > len(exprs) {
		t.Error("the samples are bad")
	}
}
