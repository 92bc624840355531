package rules_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/viper"
	"github.com/zricethezav/gitleaks/v8/config"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

// Every file of toml/ is one that gitleaks' own loader takes by itself.
func TestGitleaksLoadsEachFile(t *testing.T) {
	files := os.DirFS("toml")
	names, err := fs.Glob(files, "*.toml")
	if err != nil || len(names) < 10 {
		t.Fatalf("files of rules: %v %v", names, err)
	}
	total := 0
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		v := viper.New()
		v.SetConfigType("toml")
		err = v.ReadConfig(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var vc config.ViperConfig
		err = v.Unmarshal(&vc)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		cfg, err := vc.Translate()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(cfg.Rules) != strings.Count(string(text), "[[rules]]") {
			t.Errorf("%s: gitleaks reads %d rules", name, len(cfg.Rules))
		}
		total += len(cfg.Rules)
	}
	if total != len(ours(t)) {
		t.Errorf("gitleaks reads %d rules of %d", total, len(ours(t)))
	}
}

// typed gives the rules that name a provider for something in a text.
func typed(g match.Matcher, text string) []string {
	var out []string
	for _, m := range g.Match(context.Background(), match.Input{Data: []byte(text)}) {
		k, ok := rules.OfMatch(m.Rule, m.Text, m.Secret)
		if ok || k.Provider != "" {
			out = append(out, m.Rule+": "+m.Secret)
		}
	}
	return out
}

// What looks like a secret and is none.
func TestLookalikes(t *testing.T) {
	g, own := match.New(load(t), match.Options{}), ours(t)
	hex := func(n int, seed uint64) string { return write(fmt.Sprintf("<h%d>", n), seed) }
	report := base64.StdEncoding.EncodeToString([]byte(`{"k":"` + write("<U>", 1) + `","t":"` + write("<U>", 2) + `","c":9}`))
	for _, text := range []string{
		"https://app.powerbi.com/view?r=" + report,
		"url=https://example.com/hooks/" + write("<a26>", 3),
		"AC" + hex(32, 4) + " is the account, " + hex(32, 5) + " the file's sum",
		"\"EXPORT_WITH_DES40_CBC_SHA, TLS_DHE_DSS_WITH_DES_CBC_SHA_AND_THE_RESTX\"",
		"x_EXPORT_WITH_DES40_CBC_SHA,\n\t\thttp2cipher_TLS_DHE_DSS_WITH_DES_CBC_SHA,",
		"expo: tls_ecdhe_ecdsa_with_aes_cbc_sha_and_other",
		"apollo = useApolloClientContextXY",
		"hvs." + write("<w40>", 6),
	} {
		for _, found := range typed(g, text+"\n") {
			rule, _, _ := strings.Cut(found, ":")
			if slices.Contains(own, rule) && rule != "twilio-account-sid" { // the id is one
				t.Errorf("%s: %q", text, found)
			}
		}
	}
}

// Lists of hashes and minified scripts name no provider, whatever words stand in them.
func TestHashesAndMinifiedScripts(t *testing.T) {
	g := match.New(load(t), match.Options{})
	r := rand.New(rand.NewPCG(7, 11))
	words := strings.Fields("box segment spaces cursor fal together split harvest apollo monday wise ghost token secret key auth render value drone spark")
	var sums, script strings.Builder
	for i := range uint64(400) {
		n := []int{32, 40, 64}[i%3]
		fmt.Fprintf(&sums, "%s  ./pkg/%s/%s.tar.gz\n", write(fmt.Sprintf("<h%d>", n), i), words[r.IntN(len(words))], words[r.IntN(len(words))])
	}
	script.WriteString("!function(e,t){")
	for range 3000 {
		a, b := words[r.IntN(len(words))], words[r.IntN(len(words))]
		switch r.IntN(4) {
		case 0:
			fmt.Fprintf(&script, "e.%s=t.%s,", a, b)
		case 1:
			fmt.Fprintf(&script, "%s:function(n){return n.%s(%d)},", a, b, r.IntN(1e6))
		case 2:
			fmt.Fprintf(&script, "var %c=%q+%s.length;", 'a'+rune(r.IntN(26)), a+"-"+b, b)
		default:
			fmt.Fprintf(&script, "if(%s&&!%s){throw Error(%d)}", a, b, r.IntN(500))
		}
	}
	script.WriteString("}(window);")
	for name, text := range map[string]string{"hashes": sums.String(), "script": script.String()} {
		if found := slices.Compact(typed(g, text)); len(found) > 0 {
			t.Errorf("%s: %q", name, found[:min(len(found), 5)])
		}
	}
	// The same texts hold a key where there is one.
	key := write("<h32>", 99)
	if found := typed(g, sums.String()+"clarifai_key = \""+key+"\"\n"); len(found) != 1 || !strings.HasSuffix(found[0], key) {
		t.Errorf("a key behind hashes: %q", found)
	}
}

func FuzzJWT(f *testing.F) {
	f.Add(jwt(`{"alg":"RS256"}`, `{"iss":"supabase","role":"anon","exp":1790000000}`))
	f.Add(jwt(`{"alg":"none"}`, `{"iss":["x"],"exp":-1e300}`))
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, ok := rules.JWT(token)
		if !ok && c != (rules.Claims{}) {
			t.Errorf("%q is no JWT and says %+v", token, c)
		}
		if ok && (c.Algorithm == "" || strings.Count(token, ".") != 2) {
			t.Errorf("%q: %+v", token, c)
		}
		if !c.Expires.IsZero() && (c.Expires.Year() < 1970 || c.Expires.Year() > 2250) {
			t.Errorf("%q expires at %s", token, c.Expires)
		}
	})
}

func FuzzNamed(f *testing.F) {
	f.Add("STRIPE_SECRET_KEY=")
	f.Add("myMailgunToken: ")
	f.Add("İopenai_key=")
	f.Fuzz(func(t *testing.T, before string) {
		provider, ok := rules.Named(before)
		if ok != (provider != "") {
			t.Errorf("%q: %q %v", before, provider, ok)
		}
		if len(before) > 256 {
			again, _ := rules.Named(before[len(before)-256:])
			if again != provider {
				t.Errorf("%q: %q, its end %q", before, provider, again)
			}
		}
	})
}
