package scanner

import (
	"context"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"
)

// Made-up credentials, put together so that no scanner takes this file for a leak.
var (
	idA     = "AK" + "IA" + "QYLPMN5HHHFPZAM2"
	idB     = "AK" + "IA" + "XYZDQCEN4B6JSJQI"
	idS     = "AS" + "IA" + "QNZGKIQY56JQ7WML"
	secretA = "kR7vQ2mZx9LpT4wB" + "n6YcD1sFh8JgU3eAo5iNbVMq"
	secretB = "Zp8sW3nYd0KqU5xC" + "m7XbE2rGi9HfV4tBj6oMaLQw"
	secretC = "Hj4tN7cVk1RzQ9yD" + "s5LxM3bPg8WfA6uEe2iTqXZo"
	token   = "IQoJb3Jp" + "Z2luX2Vj" + strings.Repeat("EIz9aB7+k/Q2mWx5TuYv", 12)
	patA    = sealed("gh"+"p_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkK")
	oauth   = sealed("gh"+"o_", "uQWBuTSOoRi4A9spHcVY5ncnsDkxkL")
)

func sealed(prefix, body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n, s := crc32.ChecksumIEEE([]byte(body)), ""
	for range 6 {
		s = string(digits[n%62]) + s
		n /= 62
	}
	return prefix + body + s
}

var engine = sync.OnceValue(func() *Engine {
	e, err := New(Options{})
	if err != nil {
		panic(err)
	}
	return e
})

func scan(path, data string) []Finding {
	return engine().Scan(context.Background(), Unit{Data: []byte(data), Place: Place{Path: path}})
}

func TestScanNamesProviderKindAndPlace(t *testing.T) {
	jwt := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"77","exp":1790000000,"sub":"x"}`)) + "." + strings.Repeat("Zq3_x9-K", 12)
	long := "gh" + "r_" + strings.Repeat("aB3dE6gH9j2k", 6) + "xYz4"
	for _, c := range []struct{ text, secret, provider, kind, part string }{
		{"id = " + idA, idA, "aws", "access_key", PartAccessKeyID},
		{"id = " + idS, idS, "aws", "session", PartAccessKeyID},
		{"aws_secret_access_key=" + secretA, secretA, "aws", "secret_access_key", PartSecretAccessKey},
		{"aws_session_token=" + token, token, "aws", "session_token", PartSessionToken},
		{"token=" + patA, patA, "github", "personal_access_token", PartToken},
		{"token=" + oauth, oauth, "github", "oauth_token", PartToken},
		{"token: gh" + "s_77_" + jwt, "gh" + "s_77_" + jwt, "github", "app_installation_token", PartToken},
		{"refresh_token=" + long, long, "github", "app_refresh_token", PartToken},
		{"curl -H 'Authorization: token " + patA + "' https://api.github.com", patA, "github", "personal_access_token", PartToken},
		{"password = 'x9Kq7Zw3Lm5Rt8Yb2'", "x9Kq7Zw3Lm5Rt8Yb2", "", "password", "password"},
	} {
		got := scan("src/app.conf", "first\n"+c.text+"\n")
		if len(got) != 1 {
			t.Errorf("%s: %d findings, want 1: %v", c.text, len(got), rulesOf(got))
			continue
		}
		f := got[0]
		if f.Secret.Reveal() != c.secret || f.Provider != c.provider || f.Kind != c.kind || f.Part != c.part {
			t.Errorf("%s: %s %s %s %q", c.text, f.Provider, f.Kind, f.Part, f.Secret.Reveal())
		}
		if f.Place.Line != 2 || f.Place.Column != strings.Index(c.text, c.secret)+1 {
			t.Errorf("%s: at %d:%d", c.text, f.Place.Line, f.Place.Column)
		}
	}
}

func TestSpecificBeatsGenericAndNothingElse(t *testing.T) {
	pem := "-----BEGIN RSA " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEAx7Vt\n", 8) + "id " + idA + "\n-----END RSA " + "PRIVATE KEY-----\n"
	for _, c := range []struct {
		text string
		want []string
	}{
		{"github_token = '" + patA + "'\n", []string{"github-pat@1:17"}},
		{"aws_secret_key = \"" + secretA + "\"\n", []string{"aws-secret-access-key@1:19"}},
		{pem, []string{"private-key@1:1", "aws-access-token@10:4"}},
		{"aws_session_token = " + token[:40] + strings.Repeat("/", 10) + token[40:] + "\n", []string{"aws-session-token@1:21"}},
	} {
		got := scan("src/a.txt", c.text)
		if !slices.Equal(rulesOf(got), c.want) {
			t.Errorf("got %v, want %v", rulesOf(got), c.want)
		}
		for _, f := range got {
			if f.Suppressed != "" {
				t.Errorf("%s is suppressed: %s", f.Rule, f.Suppressed)
			}
		}
	}
}

func rulesOf(fs []Finding) (out []string) {
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%s@%d:%d", f.Rule, f.Place.Line, f.Place.Column))
	}
	return out
}

func TestConfidenceSaysWhy(t *testing.T) {
	broken := patA[:len(patA)-1] + string(patA[len(patA)-1]^1)
	for _, c := range []struct {
		path, text string
		want       Confidence
		reason     string
	}{
		{"a.env", "T=" + patA, ConfidenceHigh, "checksum in the token holds"},
		{"a.env", "T=" + broken, ConfidenceLow, "does not hold"},
		{"test/a.env", "T=" + patA, ConfidenceMedium, "directory of tests"},
		{"a.env", "T=" + idA, ConfidenceHigh, "belongs to account"},
		{"a.env", "T=" + idB, ConfidenceHigh, "canary"},
		{"a.env", "T=AK" + "IAJ5Q7ZLMNPXYABCDE", ConfidenceMedium, "made before 2019"},
	} {
		got := scan(c.path, c.text+"\n")
		if len(got) != 1 || got[0].Confidence != c.want || !strings.Contains(strings.Join(got[0].Reasons, "; "), c.reason) {
			t.Errorf("%s: %d findings, %+v", c.text, len(got), got)
		}
		if len(got) == 1 && got[0].Suppressed != "" {
			t.Errorf("%s is suppressed: %s", c.text, got[0].Suppressed)
		}
	}
}

func TestPlaceholdersAreKeptWithTheReason(t *testing.T) {
	for _, text := range []string{
		"id=AK" + "IAIOSFODNN7EXAMPLE",
		"aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY",
		"github_token=gh" + "p_xxxxxxxxxxaB3dE6gH9j2kLm5Nq8Rt1Uv4Wz",
	} {
		got := scan("src/a.conf", text+"\n")
		if len(got) != 1 || got[0].Suppressed == "" || got[0].Class != ClassPlaceholder {
			t.Errorf("%s: %v %+v", text, rulesOf(got), got)
		}
		if c := engine().Join(got); len(c) != 0 {
			t.Errorf("%s became a credential", text)
		}
	}
}

func TestClassOfPath(t *testing.T) {
	for path, want := range map[string]Class{
		"src/main.go": ClassProduction, "config/prod.env": ClassProduction, "contest/latest.go": ClassProduction,
		"test/x.json": ClassFixture, "pkg/testdata/k.pem": ClassFixture, "a/b_test.go": ClassFixture, "web/x.spec.ts": ClassFixture,
		"src/FooTest.java": ClassFixture, "tests/fixtures/a": ClassFixture,
		"docs/a.txt": ClassDocs, "README.md": ClassDocs, "guide.rst": ClassDocs,
		"examples/a.py": ClassExample, ".env.example": ClassExample, "config.sample.yml": ClassExample,
	} {
		got, why := classOfPath(Place{Path: path})
		if got != want || why == "" {
			t.Errorf("%s: %s (%s), want %s", path, got, why, want)
		}
	}
}

func TestSecretNearAnIDNeedsNoKeyword(t *testing.T) {
	for name, text := range map[string]string{
		"console CSV":  "Access key ID,Secret access key\n" + idA + "," + secretA + "\n",
		"list":         idA + "\n" + secretA + "\n",
		"before":       secretA + "\nx\n" + idA + "\n",
		"eight lines":  idA + strings.Repeat("\n#"+strings.Repeat("-", 300), 7) + "\n" + secretA + "\n",
		"one long row": `{"a":"` + idA + `",` + strings.Repeat(`"x":1,`, 100) + `"b":"` + secretA + `"}`,
	} {
		cs := engine().Join(scan("keys.txt", text))
		if len(cs) != 1 || cs[0].Parts[PartSecretAccessKey].Reveal() != secretA || cs[0].PublicID != idA {
			t.Errorf("%s: %+v", name, cs)
		}
	}
	for name, text := range map[string]string{
		"too far":     idA + strings.Repeat("\n"+strings.Repeat("-", 300), 12) + "\n" + secretA + "\n",
		"hash":        idA + "\nda39a3ee5e6b4b0d3255bfef95601890afd80709\n",
		"part of it":  idA + "\n" + secretA + "AAAAAAAA\n",
		"base64":      idA + "\n" + secretA + "==\n",
		"no id at it": secretA + "\n",
	} {
		for _, f := range scan("keys.txt", text) {
			if f.Part == PartSecretAccessKey {
				t.Errorf("%s: took %s", name, f.Secret.Reveal())
			}
		}
	}
}

func TestUTF16AndBinary(t *testing.T) {
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune("a\r\nTOKEN=" + patA + "\r\n")) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	got := scan("a.txt", string(wide))
	if len(got) != 1 || got[0].Place.Line != 2 || got[0].Place.Column != 7 {
		t.Errorf("UTF-16: %v", rulesOf(got))
	}
	raw := "\x00\x01\xff\n\x00\x02junk" + strings.Repeat("\x00", 9) + "key " + patA + "\x00\x00tail"
	got = scan("a.pyc", raw)
	if len(got) != 1 || got[0].Place.Line != 2 || raw[got[0].Offset:got[0].Offset+len(patA)] != patA {
		t.Errorf("binary: %v", rulesOf(got))
	}
}

func TestJoin(t *testing.T) {
	pair := func(id, secret string) string {
		return "aws_access_key_id=" + id + "\naws_secret_access_key=" + secret + "\n"
	}
	far := strings.Repeat(strings.Repeat("x ", 80)+"\n", 30)
	type file struct{ path, text string }
	for _, c := range []struct {
		name  string
		files []file
		want  []string // "kind id secret token candidates"
	}{
		{"pair", []file{{"a", pair(idA, secretA)}}, []string{"access_key A a - 0"}},
		{"secret first", []file{{"a", "aws_secret_access_key=" + secretA + "\naws_access_key_id=" + idA + "\n"}}, []string{"access_key A a - 0"}},
		{"id alone", []file{{"a", "id=" + idA}}, []string{"access_key A - - 0"}},
		{"secret alone", []file{{"a", "aws_secret_access_key=" + secretA + "\n"}}, []string{"secret_access_key - a - 0"}},
		{"two pairs, id first", []file{{"a", pair(idA, secretA) + pair(idB, secretB)}}, []string{"access_key A a - 1", "access_key B b - 1"}},
		{"two pairs, secret first", []file{{"a", "aws_secret_access_key=" + secretA + "\nid=" + idA + "\naws_secret_access_key=" + secretB + "\nid=" + idB + "\n"}},
			[]string{"access_key A a - 1", "access_key B b - 1"}},
		{"same file, far apart", []file{{"a", "id=" + idA + "\n" + far + "aws_secret_access_key=" + secretA + "\n"}}, []string{"access_key A a - 0"}},
		{"two files", []file{{"a", "id=" + idA + "\n"}, {"b", "aws_secret_access_key=" + secretA + "\n"}}, []string{"access_key A a - 0"}},
		{"nearest wins over another file", []file{{"b", "aws_secret_access_key=" + secretB + "\n"}, {"a", pair(idA, secretA)}},
			[]string{"secret_access_key - b - 0", "access_key A a - 1"}},
		{"session", []file{{"a", pair(idS, secretA) + "aws_session_token=" + token + "\n"}}, []string{"session S a t 0"}},
		{"two candidates", []file{{"a", "id=" + idA + "\naws_secret_access_key=" + secretA + "\n# old: aws_secret_access_key=" + secretC + "\n"}}, []string{"access_key A a - 1"}},
		{"the same pair in two files is one credential", []file{{"a", pair(idA, secretA)}, {"b", pair(idA, secretA)}}, []string{"access_key A a - 0"}},
		{"the same token twice", []file{{"a", patA + "\n" + patA + "\n"}}, []string{"personal_access_token - - - 0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fs []Finding
			for _, f := range c.files {
				fs = append(fs, scan(f.path, f.text)...)
			}
			names := map[string]string{idA: "A", idB: "B", idS: "S", secretA: "a", secretB: "b", secretC: "c", token: "t", "": "-"}
			var got []string
			for _, c := range engine().Join(fs) {
				got = append(got, fmt.Sprintf("%s %s %s %s %d", c.Kind, names[c.PublicID], names[c.Parts[PartSecretAccessKey].Reveal()],
					names[c.Parts[PartSessionToken].Reveal()], len(c.Candidates[PartSecretAccessKey])))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	both := engine().Join(append(scan("a", pair(idA, secretA)), scan("b", pair(idA, secretA))...))
	if n := len(both[0].Findings); n != 4 {
		t.Errorf("%d sightings, want 4", n)
	}
	if a := both[0].Account; len(a) != 12 {
		t.Errorf("account %q", a)
	}
	dup := scan("a", pair(idA, secretA))
	if n := len(engine().Join(append(dup, dup...))[0].Findings); n != 2 {
		t.Errorf("%d sightings of the same places, want 2", n)
	}
}

func TestScrub(t *testing.T) {
	enc := base64.StdEncoding.EncodeToString([]byte("user:" + patA))
	fs := scan("conf/"+patA+".env", "T="+patA+"\n")
	other := scan("b", "T="+oauth+"\n")
	other[0].Place.Author = Person{Name: "x " + patA, Email: enc + "@example.com"}
	other[0].Place.Ref = "refs/heads/" + oauth
	other[0].CommitMessage = fmt.Sprintf("%x %s", patA, strings.ReplaceAll(secretA, "/", "%2F"))
	got := engine().Scrub(append(fs, other...))
	text := fmt.Sprintf("%+v", []Place{got[0].Place, got[1].Place}) + got[1].CommitMessage
	for _, form := range forms(patA) {
		if strings.Contains(text, form) {
			t.Errorf("%s is still there: %s", form, text)
		}
	}
	if strings.Contains(text, oauth) || !strings.Contains(text, "[redacted]") {
		t.Error(text)
	}
	if fs[0].Place.Path != "conf/"+patA+".env" {
		t.Error("the findings handed in were changed")
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("id=" + idA + "\n" + secretA))
	f.Add([]byte("\xff\xfea\x00\n\x00"))
	f.Add([]byte("\x00\x01" + patA + "\x00"))
	f.Add([]byte("-----BEGIN " + "PRIVATE KEY-----\n" + strings.Repeat("A", 70) + "\nKEY-----"))
	f.Add([]byte(base64.StdEncoding.EncodeToString([]byte("token = " + patA))))
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := engine().Scan(context.Background(), Unit{Data: data, Place: Place{Path: "a.yaml"}})
		for _, x := range fs {
			if x.Place.Line < 1 || x.Place.Column < 1 || x.Place.EndLine < x.Place.Line || x.Place.EndColumn < 1 || x.MatchAt.Line < 1 || x.MatchAt.Column < 1 {
				t.Errorf("%s at %+v", x.Rule, x.Place)
			}
			if x.Place.EndLine > strings.Count(string(data), "\n")+1 && !strings.Contains(string(data), "\x00") {
				t.Errorf("%s ends in line %d", x.Rule, x.Place.EndLine)
			}
			if x.Offset < 0 || x.Offset > len(data) {
				t.Errorf("%s at offset %d of %d", x.Rule, x.Offset, len(data))
			}
		}
		for _, c := range engine().Join(fs) {
			if len(c.Findings) == 0 || len(c.Parts) == 0 {
				t.Error("an empty credential")
			}
		}
	})
}

// TestGitleaksOnly leaves out rules of ours and known forms of files, in both
// ways of scanning.
func TestGitleaksOnly(t *testing.T) {
	plain, err := New(Options{GitleaksOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	full, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	token := "gh" + "p_" + "zQWBu007SOoRi4A9spHcVY5ncnsDkxkJ0mLq"
	text := []byte("url = postgres://app:q7Rt2zLw9KdVb3@db.internal.net/orders\ntoken = " + token + "\n")
	place := Place{Path: "config/database.yml"}
	for name, e := range map[string]*Engine{"plain": plain, "full": full} {
		for way, found := range map[string][]Finding{
			"whole": e.Scan(t.Context(), Unit{Data: text, Place: place}), "late": e.ScanBlob(t.Context(), text).At(place),
		} {
			var rules []string
			for _, f := range found {
				rules = append(rules, f.Rule)
			}
			url := slices.ContainsFunc(found, func(f Finding) bool { return f.Secret.Reveal() != token })
			if !slices.Contains(rules, "github-pat") || url != (name == "full") {
				t.Errorf("%s, %s: %v", name, way, rules)
			}
		}
	}
	ranges, ok := plain.ScanBlob(t.Context(), text).Extents()
	if !ok || !slices.ContainsFunc(ranges, func(r [2]int) bool { return string(text[r[0]:r[1]]) == token }) {
		t.Errorf("extents %v, %v", ranges, ok)
	}
}

func TestFingerprintTellsEnginesApart(t *testing.T) {
	own := []byte("[[rules]]\nid = \"corp\"\nregex = '''corp_[a-z]{20}'''\n")
	seen := map[string]Options{}
	for _, o := range []Options{{}, {GitleaksOnly: true}, {GitleaksOnly: true, ExtraRules: own}, {GitleaksOnly: true, HonourAllow: true}, {GitleaksOnly: true, DecodeDepth: -1}} {
		e, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		print := e.Fingerprint()
		other, known := seen[print]
		if print == "" || known {
			t.Errorf("%+v: %q, as %+v", o, print, other)
		}
		seen[print] = o
		again, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint() != print {
			t.Errorf("%+v: not the same again", o)
		}
	}
	e, err := New(Options{Matcher: engine().matcher})
	if err != nil || e.Fingerprint() != "" {
		t.Errorf("of a matcher of which nothing is known: %v", err)
	}
}
