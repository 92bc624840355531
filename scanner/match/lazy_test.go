package match

import (
	"regexp"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"
)

// The lazy automaton says no only where the expression does not match, and as
// long as it is not given up, yes only where it does.
func TestLazyAutomatonIsTheExpression(t *testing.T) {
	exprs := []string{`^a`, `a$`, `(?m)^pin: (\d+)$`, `\bkey\b`, `\Bcode\B\d`, `(?i)kiss`, `(?s)a.b`, `a.b`, `[^a-z]x`, `ü+`, `(?i)ü`, `x{3,5}y`, `(a|b)*c\z`, `\A\s*z`, `[\x{100}-\x{200}]q`, ``, `a^b`}
	for id, r := range must(t, extraRules(t), strangeRules).config().Rules {
		if r.Regex != nil && (len(id)%3 == 0 || !testing.Short()) {
			exprs = append(exprs, r.Regex.String())
		}
	}
	yes, no, given := 0, 0, 0
	for n, expr := range exprs {
		re := regexp.MustCompile(expr)
		l := newLazy(expr)
		if l == nil {
			given++
			continue
		}
		for round := range 30 {
			s := newSampler(uint64(round), expr)
			text := s.noise(s.r.IntN(200))
			if round%3 == 0 {
				text += s.mutate(s.rule(config.Rule{Regex: re}))
			}
			if round%5 == 0 {
				text += s.of("a", "b", "\n", "pin: 4\n", "Ü", "\u0101q", "xxxy", "key", "xcode7", "KI\u017fs")
			}
			got, want := l.matches([]byte(text)), re.MatchString(text)
			if got != want && !l.off.Load() || want && !got {
				t.Fatalf("expression %d %q: %v, want %v, in %q", n, expr, got, want, text)
			}
			if want {
				yes++
			} else {
				no++
			}
		}
	}
	t.Logf("%d expressions, %d without an automaton; %d matches, %d times none", len(exprs), given, yes, no)
	if yes < len(exprs) || no < len(exprs) || given > len(exprs)/10 {
		t.Error("the samples are bad")
	}
}
