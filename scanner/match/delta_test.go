package match

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// edit makes a text of pieces of old and of new bytes, as a Git delta does.
func (s *sampler) edit(old []byte, fresh func() string) (data []byte, copies []Copy) {
	copied := func(from, to int) {
		copies = append(copies, Copy{Old: from, New: len(data), Len: to - from})
		data = append(data, old[from:to]...)
	}
	at := 0
	for range 1 + s.r.IntN(5) {
		if len(old) == 0 {
			break
		}
		to := at + s.r.IntN(len(old)-at+1)
		if s.r.IntN(8) == 0 { // a piece from anywhere
			at = s.r.IntN(len(old))
			to = at + s.r.IntN(min(len(old)-at, 400)+1)
		}
		copied(at, to)
		at = to
		switch s.r.IntN(5) {
		case 0: // something is gone
			at += s.r.IntN(min(len(old)-at, 300) + 1)
		case 1: // a byte is another one
			if at < len(old) {
				data = append(data, "aZ09 \n=+/%\"-_"[s.r.IntN(13)])
				at++
			}
		case 2: // two copies without a seam
		default:
			data = append(data, fresh()...)
		}
		if len(data) > 200_000 {
			break
		}
	}
	if s.r.IntN(6) > 0 {
		copied(at, len(old))
	}
	return data, copies
}

// checkDelta compares a look at what is new with a look at the whole.
func checkDelta(t *testing.T, g *Gitleaks, data []byte, base *Candidates, size int, copies []Copy, name string) *Candidates {
	t.Helper()
	ctx := context.Background()
	got, want := g.Delta(ctx, data, base, size, copies), g.Candidates(ctx, data)
	if !slices.EqualFunc(got.All(), want.All(), sameMatch) {
		t.Errorf("%s: %d matches, want %d", name, len(got.All()), len(want.All()))
		for _, m := range want.All() {
			if !slices.ContainsFunc(got.All(), func(o Match) bool { return sameMatch(m, o) }) {
				t.Errorf("lost %s %q at %+v", m.Rule, m.Text[:min(len(m.Text), 200)], m.At)
			}
		}
		for _, m := range got.All() {
			if !slices.ContainsFunc(want.All(), func(o Match) bool { return sameMatch(m, o) }) {
				t.Errorf("too many: %s %q at %+v", m.Rule, m.Text[:min(len(m.Text), 200)], m.At)
			}
		}
	}
	if got != nil && want != nil && !got.seen.opaque && !want.seen.opaque && !slices.Equal(g.placesOf(got), g.placesOf(want)) {
		t.Errorf("%s: sees %d places, want %d", name, len(got.seen.places), len(want.seen.places))
	}
	if want != nil && want.seen.decodes && (got == nil || !got.seen.decodes && !got.seen.opaque) {
		t.Errorf("%s: something decodes, and was not seen", name)
	}
	if want != nil && want.seen.percent && (got == nil || !got.seen.percent && !got.seen.opaque) {
		t.Errorf("%s: there is a %%XX, and it was not seen", name)
	}
	return got
}

// placesOf are the places that were seen, but of rules that are announced: those
// are looked for as well where only an older text had the keyword.
func (g *Gitleaks) placesOf(c *Candidates) []place {
	return slices.DeleteFunc(slices.Clone(c.seen.places), func(p place) bool {
		return !g.program.rules[g.program.flat[p.use&^isWeak].rule].windowed
	})
}

func sameMatch(a, b Match) bool { return reflect.DeepEqual(a, b) }

// Chains of edits of texts full of secrets.
func TestDeltaIsTheWhole(t *testing.T) {
	g := must(t, extraRules(t), strangeRules)
	rounds, edits := 120, 8
	if testing.Short() {
		rounds = 25
	}
	total, looked := 0, 0
	for round := range rounds {
		s := newSampler(uint64(round), "delta")
		fresh := func() string {
			switch s.r.IntN(8) {
			case 0:
				return s.noise(s.r.IntN(300))
			case 1:
				return s.splice(g.config(), 1)
			case 2:
				return s.encode(s.of(pat, "key="+pat, "x "+keyID+" "))
			case 3:
				return s.of(pat, keyID, "key = \"aB3dE6gH9jK2mN5pQ8\"", "facebook", "sgp_", "sourcegraph", "\n", " ", "-----BEGIN RSA "+"PRIVATE KEY-----\n", "\n-----END RSA "+"PRIVATE KEY-----\n",
					"%41", "QUFB", "\\u0041", "U+0041\n", "\u212a", "gitleaks:allow", "curl -u ", "zq", "fine here", strings.Repeat("a", 200))
			case 4:
				return string(corpus(s.r.Uint64(), 4))
			case 5:
				return s.strange()
			}
			return s.of("word ", "line\n", "x = 1\n", "\"", "=")
		}
		// Odd runes, and rules that require others, are for the whole text.
		local := strings.NewReplacer("\u212a", "k", "\u017f", "s", "\u0130", "i", "main-", "mane-")
		if round%8 == 7 {
			local = strings.NewReplacer()
		}
		var old []byte
		switch round % 6 {
		case 0:
			old = corpus(uint64(round), 80)
		case 1:
			old = []byte(s.splice(g.config(), 20))
		case 2: // one long line
			old = []byte(strings.ReplaceAll(s.splice(g.config(), 20)+s.noise(3000), "\n", " "))
		case 3:
			old = []byte(s.strange() + strings.Repeat("nothing here\n", 100) + s.strange())
		case 4:
			old = []byte(strings.Repeat("func main() { return }\n", 200))
		default:
			old = []byte(s.encode(s.splice(g.config(), 3)) + strings.Repeat("\nplain", 200) + "\n" + s.encode(s.encode("t="+pat)))
		}
		old = []byte(local.Replace(string(old)))
		base := g.Candidates(context.Background(), old)
		for n := range edits {
			data, copies := s.edit(old, func() string { return local.Replace(fresh()) })
			if base == nil || !base.seen.opaque {
				looked++
			}
			base = checkDelta(t, g, data, base, len(old), copies, fmt.Sprintf("round %d, edit %d", round, n))
			total += len(base.All())
			old = data
			if len(old) < 50 {
				break
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d matches in %d edits that could be taken for what they are", total, looked)
	if total < rounds || looked < 4*rounds {
		t.Errorf("%d matches, %d edits: the texts are bad", total, looked)
	}
}

// A key changes between lines that stay: the diff holds no BEGIN.
func TestRotatedKeyBetweenUnchangedLines(t *testing.T) {
	g := must(t)
	head, foot := "-----BEGIN RSA "+"PRIVATE KEY-----\n", "-----END RSA "+"PRIVATE KEY-----\n"
	body := func(c string) string { return strings.Repeat("MIIEpAIBAAKCAQEAx7Vt"+strings.Repeat(c, 44)+"\n", 20) }
	old := []byte("a\n" + head + body("q") + foot + "b\n")
	data := []byte("a\n" + head + body("Z") + foot + "b\n")
	n := 2 + len(head)
	m := len(foot) + 2
	copies := []Copy{{0, 0, n}, {len(old) - m, len(data) - m, m}}
	base := g.Candidates(context.Background(), old)
	c := checkDelta(t, g, data, base, len(old), copies, "rotated")
	if len(c.All()) != 1 || !strings.Contains(c.All()[0].Secret, "ZZZZ") {
		t.Errorf("%d matches", len(c.All()))
	}
}

// What is decided when the path is known is what a scan with the path decides.
func TestCandidatesAtAPathAreTheMatchesThere(t *testing.T) {
	g := must(t, extraRules(t), strangeRules)
	for round := range 30 {
		s := newSampler(uint64(round), "paths")
		data := []byte(s.strange() + s.splice(g.config(), 5))
		c := g.Candidates(context.Background(), data)
		for _, path := range []string{"", "a.cfg", "x/id_rsa", "go.sum", "a.lock", "main.py", "keys/a.p12", "vendor/x/y.go", "a.tf", "nuget.config", "deploy.yaml"} {
			got, want := g.At(c, path), g.Match(context.Background(), Input{Data: data, Path: path})
			for i := range want {
				want[i].open = nil
			}
			for i := range got {
				got[i].open = nil
			}
			if !slices.EqualFunc(got, want, sameMatch) {
				t.Errorf("round %d, path %q: %d matches, want %d", round, path, len(got), len(want))
			}
		}
	}
}

func FuzzDelta(f *testing.F) {
	g := must(f, extraRules(f))
	f.Add(uint64(1), []byte("key = "+pat+"\n"), []byte(keyID))
	f.Add(uint64(2), []byte(base64.StdEncoding.EncodeToString([]byte("token "+pat))), []byte("%41%42\n"))
	f.Fuzz(func(t *testing.T, seed uint64, old, more []byte) {
		if len(old)+len(more) > 20_000 {
			return
		}
		s := newSampler(seed, "fuzz")
		base := g.Candidates(context.Background(), old)
		data, copies := s.edit(old, func() string { return string(more[:s.r.IntN(len(more)+1)]) })
		for _, c := range copies {
			if !bytes.Equal(data[c.New:c.New+c.Len], old[c.Old:c.Old+c.Len]) {
				t.Fatal("the copies are wrong")
			}
		}
		checkDelta(t, g, data, base, len(old), copies, "fuzz")
	})
}
