package match

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
)

// Texts made to be slow: the work for a text twice as long must be about twice
// as much. Time is the processor's, so that other work does not fail the test.
func TestTimeIsLinear(t *testing.T) {
	g := must(t)
	for _, c := range []struct{ name, piece string }{
		{"hits on one line", "key = \"aB3dE6gH9jK2mN5pQ8\", "},
		{"keys without values", "key_key-key.key key"},
		{"assignments in each other", "password=secret=token=key=auth="},
		{"curl on one line", "curl x "},
		{"curl on many lines", "curl x\n"},
		{"a private key that never ends", "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"},
		{"percents on one line", "%zz %41 "},
		{"escapes", "\\u0041\\u004"},
		{"code points", "U+0041 U+004"},
		{"base64", "QUFBQUFBQUFBQUFBQUFBQUFBQUFB "},
		{"odd runes", "\u212aey = \u017fecret \u0130"},
		{"a JWT's beginning", "eyJhbGciOiJIUzI1NiJ9aaaaaaa.ey"},
		{"kind: secret", "kind: secret\ndata: \n"},
		{"stars", "secret_key'=> 'sk_"},
		{"lines with a finding", "t=ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG3iL6\n"},
		{"one line of findings", "t=ghp_aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fG3iL6 "},
		{"bytes that are no text", "\xff\xfe\x00key=\x80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			once := func(n int) float64 {
				text := []byte(strings.Repeat(c.piece, n/len(c.piece)))
				start := cpuTime()
				g.Match(context.Background(), Input{Data: text})
				return (cpuTime() - start).Seconds()
			}
			once(64 << 10)
			a, b := once(128<<10), once(512<<10)
			if b > 16*a+0.5 {
				t.Errorf("%.3f s for 128 KB, %.3f s for 512 KB", a, b)
			}
		})
	}
}

// One matcher, many texts at once, the same answers.
func TestConcurrentMatches(t *testing.T) {
	g := must(t)
	texts := make([][]byte, 6)
	want := make([][]Match, len(texts))
	for i := range texts {
		texts[i] = corpus(uint64(i), 150)
		want[i] = g.Match(context.Background(), Input{Data: texts[i]})
	}
	var wg sync.WaitGroup
	for range 4 {
		for i, text := range texts {
			wg.Go(func() {
				before := bytes.Clone(text)
				got := g.Match(context.Background(), Input{Data: text})
				if len(got) != len(want[i]) {
					t.Errorf("text %d: %d matches, want %d", i, len(got), len(want[i]))
				}
				for j := range min(len(got), len(want[i])) {
					if got[j].Rule != want[i][j].Rule || got[j].At != want[i][j].At || got[j].Secret != want[i][j].Secret {
						t.Errorf("text %d, match %d differs", i, j)
					}
				}
				if !bytes.Equal(before, text) {
					t.Error("the text was changed")
				}
			})
		}
	}
	wg.Wait()
}
