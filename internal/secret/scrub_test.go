package secret

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	r := Redacted
	pem := "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"
	aws := "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz3fq8Qm1T"
	for _, c := range []struct{ name, in, want string }{
		{"prose", "token: refused by the provider, secret scanning found it", "token: refused by the provider, secret scanning found it"},
		{"commit id", "commit 3f786850e387550fdab836ed7e6dc881de23001b", "commit 3f786850e387550fdab836ed7e6dc881de23001b"},
		{"AWS id stays", "AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"},
		{"AWS pair", "AKIAIOSFODNN7EXAMPLE " + aws + "\n", "AKIAIOSFODNN7EXAMPLE " + r + "\n"},
		{"AWS secret alone", aws, r},
		{"classic token", "x ghp_0123456789abcdefABCDEF0123456789abcd.", "x " + r},
		{"stateless installation token", "(ghs_12345_eyJhbGciOi.J9-x_y.abcdefgh)", "(" + r + ")"},
		{"short is no token", "ghp_short", "ghp_short"},
		{"fine-grained token", "github_pat_11ABCDEFG0abcdefghijkl_x", r},
		{"JWT", "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-_x y", "jwt " + r + " y"},
		{"bearer", "sent Bearer abcdefghijklmnop.q ok", "sent " + r + " ok"},
		{"header", "Authorization: Basic dXNlcjpwYXNz\nHost: x", "Authorization: " + r + "\nHost: x"},
		{"header in JSON", `{"Authorization":["token abcd"],"a":1}`, `{"Authorization":["` + r + `"],"a":1}`},
		{"cookie", "Set-Cookie: sid=abc; Path=/", "Set-Cookie: " + r},
		{"query", "/cb?code=1&access_token=abcdef&x=1", "/cb?code=1&access_token=" + r + "&x=1"},
		{"JSON", `{"password": "hunter two","n":1}`, `{"password": "` + r + `","n":1}`},
		{"escaped JSON", `{\"client_secret\":\"hunter2\"}`, `{\"client_secret\":\"` + r + `\"}`},
		{"camel case", `clientSecret="abcd"`, `clientSecret="` + r + `"`},
		{"URL", "clone https://x-access-token:abc@github.com/o/r failed", "clone https://" + r + "@github.com/o/r failed"},
		{"URL without user", "https://github.com/o/r@v1?x=a@b", "https://github.com/o/r@v1?x=a@b"},
		{"PEM", "key " + pem + " end", "key " + r + " end"},
		{"PEM without end", "key " + pem[:40], "key " + r},
		{"certificate stays", "-----BEGIN CERTIFICATE-----\nMIIE", "-----BEGIN CERTIFICATE-----\nMIIE"},
		{"ledger key", "PRIVATE+KEY+stanch/x+12345678+abcdefgh=", r},
		{"overlap", "token=ghp_0123456789abcdefABCDEF0123456789abcd", "token=" + r},
		{"empty", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := Scrub(c.in)
			if got != c.want {
				t.Errorf("Scrub(%q)\n got %q\nwant %q", c.in, got, c.want)
			}
		})
	}
}

func TestInert_CutNeverShowsHalfACredential(t *testing.T) {
	t.Parallel()
	token := "ghp_" + strings.Repeat("a1B2c3", 6)
	for _, at := range []int{0, 50, 80, 99, 100, 8000, 8191, 8200, 8290, 8300, 12000} {
		for shift := range 45 {
			in := strings.Repeat("x", at) + " " + strings.Repeat("y", shift) + " " + token + strings.Repeat(" z", 40_000)
			got := Inert(in, 100)
			if strings.Contains(got, token[:8]) || len(got) > 100+len("...[cut]") {
				t.Fatalf("at %d+%d: %q", at, shift, got)
			}
		}
	}
}

func TestInert_Cap(t *testing.T) {
	t.Parallel()
	got := Inert(strings.Repeat("é", 100), 11)
	if got != strings.Repeat("é", 5)+"...[cut]" {
		t.Errorf("got %q", got)
	}
	got = Inert("a\r\n\x1b[31m\u202e\u2028\U000e0041\xff", 100)
	if got != `a\r\n\u001b[31m\u202e\u2028\U000e0041\xff` {
		t.Errorf("got %q", got)
	}
	got = Inert("grüße, 世界 🙂", 100)
	if got != "grüße, 世界 🙂" {
		t.Errorf("plain text was changed: %q", got)
	}
}

// A foreigner chooses the text, so the time must be linear.
func TestScrub_HostileTextIsFast(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"-----BEGIN ", "-----BEGIN PRIVATE KEY", "ghp_", "://", "a=", "secret=", "eyJ.", "bearer ", `"\`, "://a@", "A1b/"} {
		text := strings.Repeat(unit, maxScrub/len(unit))
		start := time.Now()
		Scrub(text)
		if d := time.Since(start); d > 2*time.Second {
			t.Errorf("%q: %v for %d bytes", unit, d, len(text))
		}
	}
}

func FuzzInert(f *testing.F) {
	for _, s := range []string{"", "a\nb", "\xff\xfe", "ghp_0123456789abcdefABCDEF", "password=abcd", "https://a:b@c", "-----BEGIN PRIVATE KEY-----", "\u202e"} {
		f.Add(s, 64)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 0 || limit > 1<<16 {
			return
		}
		got := Inert(s, limit)
		if len(got) > limit+len("...[cut]") {
			t.Errorf("%d bytes, limit %d", len(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Errorf("invalid UTF-8: %q", got)
		}
		for _, r := range got {
			if steers(r) {
				t.Errorf("%U in %q", r, got)
			}
		}
		const token = "ghp_0123456789abcdefABCDEF"
		if got = Inert(s+" "+token, limit); strings.Contains(got, token) {
			t.Errorf("token in %q", got)
		}
	})
}

func BenchmarkInert(b *testing.B) {
	s := "GET https://api.github.com/repos/o/r/git/refs: 404 request_id=A1B2:3C4D commit 3f786850e387550fdab836ed7e6dc881de23001b"
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		Inert(s, 2048)
	}
}
