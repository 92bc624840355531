package rules_test

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/zricethezav/gitleaks/v8/config"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

// tested are the rules that TestCoreRules looks at.
var tested = []string{
	"github-app-installation-token", "github-app-user-token", "github-app-refresh-token",
	"aws-documentation-key", "aws-secret-access-key", "aws-session-token",
}

func examples(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile("testdata/examples.json")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string][]string
	err = json.Unmarshal(data, &m)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func load(t *testing.T) config.Config {
	t.Helper()
	cfg, err := match.Load(rules.Extra())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// ours gives the ids of the rules of toml/, in order.
func ours(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^id = "(.*)"$`).FindAllStringSubmatch(string(rules.Extra()), -1) {
		out = append(out, m[1])
	}
	return out
}

// Every rule of ours is found in texts of its own form, and not in texts that
// only look like it. The texts are made anew from a form (see sample_test.go).
func TestExamples(t *testing.T) {
	cfg := load(t)
	find := func(g match.Matcher, rule, text string) []string {
		var out []string
		for _, m := range g.Match(context.Background(), match.Input{Data: []byte(text)}) {
			if m.Rule == rule {
				out = append(out, m.Secret)
			}
		}
		return out
	}
	all := examples(t)
	for _, id := range ours(t) {
		if slices.Contains(tested, id) {
			continue
		}
		if len(all[id]) == 0 {
			t.Errorf("%s has no example", id)
			continue
		}
		one := cfg
		one.Rules = map[string]config.Rule{id: cfg.Rules[id]}
		g := match.New(one, match.Options{DecodeDepth: -1})
		good, total, refused := 0, 0, 0
		for i, form := range all[id] {
			for seed := range uint64(3) {
				text, secret, at := cut(write(form, seed+uint64(i)*97))
				for _, around := range [][2]string{{"", ""}, {"x: 1\r\n", "\r\nz: 2"}} {
					total++
					if slices.Contains(find(g, id, around[0]+text+around[1]), secret) {
						good++
					}
				}
				// A cut token, one in another alphabet, one that is all one letter.
				end := at + len(secret)
				for _, no := range []string{
					text[:at+len(secret)/2] + text[end:],
					text[:at+len(secret)/3] + "§" + text[at+2*len(secret)/3:],
					text[:at] + strings.Repeat("x", len(secret)) + text[end:],
				} {
					if len(find(g, id, no)) == 0 {
						refused++
					}
				}
			}
		}
		// A token of random letters has too little entropy now and then.
		if good*10 < total*8 || good < 2 {
			t.Errorf("%s: found in %d of %d texts, as in %q", id, good, total, write(all[id][0], 0))
		}
		if refused == 0 {
			t.Errorf("%s is found in whatever stands there", id)
		}
	}
	for id := range all {
		if !slices.Contains(ours(t), id) {
			t.Errorf("examples for %s, which is no rule", id)
		}
	}
}

// What every rule has to have, and what a rule must not be.
func TestEveryRuleIsWhole(t *testing.T) {
	cfg := load(t)
	slug := regexp.MustCompile(`^[a-z0-9]+(?:[-_][a-z0-9]+)*$`)
	seen := map[string]bool{}
	for _, id := range ours(t) {
		r := cfg.Rules[id]
		k, ok := rules.Of(id, "")
		switch {
		case seen[id]:
			t.Errorf("%s stands there twice", id)
		case !slug.MatchString(id):
			t.Errorf("%s is no good id", id)
		case k.Kind == rules.NamedSecret:
			if k.Provider != "" || !strings.HasPrefix(id, "named-secret-") {
				t.Errorf("%s: %+v", id, k)
			}
		case k.Form:
			if k.Provider != "" || !slug.MatchString(k.Kind) {
				t.Errorf("%s: %+v", id, k)
			}
		case !ok || !slug.MatchString(k.Provider) || !slug.MatchString(k.Kind) || k.Part == "":
			t.Errorf("%s: %+v", id, k)
		case len(r.Description) < 20 || !strings.HasSuffix(r.Description, "."):
			t.Errorf("%s explains nothing: %q", id, r.Description)
		case len(r.Keywords) == 0:
			t.Errorf("%s has no keyword, so that its expression would run on every text", id)
		case r.Regex == nil:
			t.Errorf("%s has no expression", id)
		default:
			re, err := syntax.Parse(r.Regex.String(), syntax.Perl)
			if err != nil {
				t.Fatal(err)
			}
			if n := size(re); n > 4000 {
				t.Errorf("%s compiles to about %d steps", id, n)
			}
			if wide(re) {
				t.Errorf("%s runs on over anything: bound it", id)
			}
		}
		seen[id] = true
	}
}

// size is about how many steps an expression compiles to.
func size(re *syntax.Regexp) int {
	n := 1
	for _, s := range re.Sub {
		n += size(s)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Max, re.Min, 1)
	}
	return n
}

// wide reports an unbounded repetition of a class that nearly everything is in.
func wide(re *syntax.Regexp) bool {
	open := re.Op == syntax.OpStar || re.Op == syntax.OpPlus || re.Op == syntax.OpRepeat && re.Max < 0
	if open {
		switch s := re.Sub[0]; s.Op {
		case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
			return true
		case syntax.OpCharClass:
			n := 0
			for i := 0; i+1 < len(s.Rune); i += 2 {
				n += int(min(s.Rune[i+1], 0x7f)) - int(s.Rune[i]) + 1
			}
			if n > 80 {
				return true
			}
		}
	}
	return slices.ContainsFunc(re.Sub, wide)
}
