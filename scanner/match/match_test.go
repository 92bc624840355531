package match

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/zricethezav/gitleaks/v8/detect"
)

// Tokens are put together here so that no scanner takes this file for a leak.
var (
	pat   = "gh" + "p_" + "9sYvVm2BqLwXc7RtKd4NfHj8ZaPgE1QuT3ox"
	keyID = "AK" + "IA" + "QYLPMN5HHHFPZAM2"
)

func must(t testing.TB, tomls ...[]byte) *Gitleaks {
	t.Helper()
	cfg, err := Load(tomls...)
	if err != nil {
		t.Fatal(err)
	}
	return New(cfg, Options{})
}

func TestPositions(t *testing.T) {
	g := must(t)
	for _, c := range []struct {
		name, text   string
		line, column int
	}{
		{"first byte", pat, 1, 1},
		{"first line", "x=" + pat + "\n", 1, 3},
		{"second line", "a\nx=" + pat + "\n", 2, 3},
		{"second line without newline", "a\nx=" + pat, 2, 3},
		{"start of a later line", "a\n\n" + pat + "\n", 3, 1},
		{"carriage returns", "a\r\nb\r\n  " + pat + "\r\n", 3, 3},
		{"after many bytes in UTF-8", "ää " + pat, 1, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			ms := g.Match(context.Background(), Input{Data: []byte(c.text)})
			ms = slices.DeleteFunc(ms, func(m Match) bool { return m.Rule != "github-pat" })
			if len(ms) != 1 {
				t.Fatalf("%d matches, want 1", len(ms))
			}
			s := ms[0].SecretAt
			if s.Line != c.line || s.Column != c.column {
				t.Errorf("at %d:%d, want %d:%d", s.Line, s.Column, c.line, c.column)
			}
			if c.text[s.Start:s.End] != pat {
				t.Error("offsets do not frame the secret")
			}
			if s.EndColumn != c.column+len(pat)-1 {
				t.Errorf("ends in column %d, want %d", s.EndColumn, c.column+len(pat)-1)
			}
		})
	}
}

func TestMultiLineMatchEndsOnItsLastLine(t *testing.T) {
	key := "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEAx7Vt\n", 8) + "-----END RSA " + "PRIVATE KEY-----"
	for _, tail := range []string{"", "\n", "\nx"} {
		ms := must(t).Match(context.Background(), Input{Data: []byte("a\nb\n" + key + tail)})
		if len(ms) != 1 || ms[0].At.Line != 3 || ms[0].At.EndLine != 12 || ms[0].At.EndColumn != len("-----END RSA PRIVATE KEY-----") {
			t.Errorf("tail %q: %+v", tail, spans(ms))
		}
	}
}

func spans(ms []Match) (out []Span) {
	for _, m := range ms {
		out = append(out, m.At)
	}
	return out
}

func TestAllowCommentIsNotHonoured(t *testing.T) {
	text := []byte(pat + " // gitleaks" + ":allow\n")
	if n := len(must(t).Match(context.Background(), Input{Data: text})); n != 1 {
		t.Errorf("%d matches, want 1: a leaker must not be able to switch us off", n)
	}
	cfg, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(New(cfg, Options{HonourAllow: true}).Match(context.Background(), Input{Data: text})); n != 0 {
		t.Errorf("%d matches with HonourAllow, want 0", n)
	}
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, toml, err string
		check           func(t *testing.T, g *Gitleaks)
	}{
		{name: "bad regex", toml: "[[rules]]\nid='x'\nregex='''('''", err: "missing closing"},
		{name: "bad toml", toml: "[[rules", err: "read rules"},
		{name: "rule without a regex", toml: "[[rules]]\nid='x'", err: "x"},
		{name: "extend path", toml: "[extend]\npath='/etc/passwd'", err: "not supported"},
		{name: "unknown target", toml: "[[allowlists]]\ntargetRules=['nope']\nregexes=['x']", err: "nope"},
		{name: "disabled", toml: "[extend]\nuseDefault=true\ndisabledRules=['github-pat']", check: func(t *testing.T, g *Gitleaks) {
			if found(g, pat) {
				t.Error("a disabled rule matched")
			}
		}},
		{name: "allowlist for a default rule", toml: "[[allowlists]]\ntargetRules=['github-pat']\nregexes=['''9sYv''']", check: func(t *testing.T, g *Gitleaks) {
			if found(g, pat) {
				t.Error("the targeted allowlist does not count")
			}
			if !found(g, keyID) {
				t.Error("the targeted allowlist reaches other rules")
			}
		}},
		{name: "change one field", toml: "[[rules]]\nid='github-pat'\nentropy=9.0", check: func(t *testing.T, g *Gitleaks) {
			if found(g, pat) {
				t.Error("the rule was not changed")
			}
		}},
		{name: "own rule", toml: "[[rules]]\nid='corp'\nregex='''corp-[0-9]{6}'''\nkeywords=['corp-']", check: func(t *testing.T, g *Gitleaks) {
			if !found(g, "corp-123456") {
				t.Error("the rule was not added")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Load([]byte(c.toml))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.check(t, New(cfg, Options{}))
		})
	}
	if !found(must(t), pat) {
		t.Error("an earlier load changed the default rules")
	}
}

func found(g *Gitleaks, text string) bool {
	return len(g.Match(context.Background(), Input{Data: []byte("x = '" + text + "'\n")})) > 0
}

// gitleaks' own loader gives 1 rule from the third load on.
func TestLoadIsTheSameEveryTimeAndConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cfg, err := Load([]byte("[extend]\nuseDefault=true"))
			if err != nil || len(cfg.Rules) != 222 {
				t.Errorf("%d rules, %v", len(cfg.Rules), err)
			}
		})
	}
	wg.Wait()
}

type plainMatch struct {
	rule, secret string
	line         int
}

// corpus is text with secrets of many forms, seeded.
func corpus(seed uint64, lines int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[r.IntN(len(alphabet))]
		}
		return string(b)
	}
	var b strings.Builder
	for i := range lines {
		switch r.IntN(24) {
		case 0:
			fmt.Fprintf(&b, "token: gh%s_%s\n", "p", random(36))
		case 1:
			fmt.Fprintf(&b, "api_key = \"%s\"\n", random(32))
		case 2:
			fmt.Fprintf(&b, "export SLACK=xox%s-%d-%d-%s\n", "b", 1e11+r.Int64N(1e11), 1e11+r.Int64N(1e11), random(24))
		case 3:
			fmt.Fprintf(&b, "-----BEGIN %s KEY-----\n%s\n%s\n-----END %s KEY-----\n", "PRIVATE", random(64), random(64), "PRIVATE")
		case 4:
			fmt.Fprintf(&b, "STRIPE=sk_%s_%s\n", "live", random(24))
		default:
			fmt.Fprintf(&b, "line %d of %s and some prose, nothing else\n", i, random(r.IntN(20)))
		}
	}
	return []byte(b.String())
}

// What this layer finds is what gitleaks finds, whatever the size of the pieces.
func TestSameAsGitleaks(t *testing.T) {
	cfg, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(4) {
		data := corpus(seed, 600)
		d := detect.NewDetector(cfg)
		d.MaxDecodeDepth = 5
		want := map[plainMatch]bool{}
		//lint:ignore SA1019 Detect of v8.30.1, which is what findings are held to, takes no other type
		for _, f := range d.Detect(detect.Fragment{Raw: string(data)}) {
			want[plainMatch{f.RuleID, f.Secret, f.StartLine + 1}] = true
		}
		if len(want) < 50 {
			t.Fatalf("the corpus holds %d secrets only", len(want))
		}
		for _, chunk := range []int{chunkBytes, 16 << 10, 4 << 10} {
			g := New(cfg, Options{})
			g.chunk, g.overlap = chunk, min(chunk/4, overlapBytes)
			got := map[plainMatch]bool{}
			for _, m := range g.Match(context.Background(), Input{Data: data}) {
				k := plainMatch{m.Rule, m.Secret, m.At.Line}
				if got[k] {
					t.Errorf("seed %d, pieces of %d: %s in line %d comes twice", seed, chunk, k.rule, k.line)
				}
				got[k] = true
			}
			for k := range want {
				if !got[k] {
					t.Errorf("seed %d, pieces of %d: lost %s in line %d", seed, chunk, k.rule, k.line)
				}
			}
			for k := range got {
				if !want[k] {
					t.Errorf("seed %d, pieces of %d: %s in line %d is not gitleaks'", seed, chunk, k.rule, k.line)
				}
			}
		}
	}
}

func TestOrderIsStable(t *testing.T) {
	g := must(t)
	data := corpus(7, 400)
	first := g.Match(context.Background(), Input{Data: data})
	for range 3 {
		again := g.Match(context.Background(), Input{Data: data})
		if slices.CompareFunc(first, again, func(a, b Match) int {
			return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.At.Start, b.At.Start), cmp.Compare(a.Secret, b.Secret))
		}) != 0 {
			t.Fatal("the order differs from run to run")
		}
	}
}

func TestNothingIsLostInAFileWithoutNewlines(t *testing.T) {
	g := must(t)
	text := strings.Repeat("x", 9_000) + " " + pat + " "
	text = strings.Repeat(text, 200) // 1.8 MB on one line
	ms := g.Match(context.Background(), Input{Data: []byte(text)})
	if len(ms) != 200 {
		t.Errorf("%d matches, want 200", len(ms))
	}
}

func TestCancelledMatchReturns(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = must(t).Match(ctx, Input{Data: corpus(1, 20_000)})
}
