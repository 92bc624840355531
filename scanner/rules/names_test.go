package rules_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

func TestNamed(t *testing.T) {
	for _, c := range []struct{ before, provider string }{
		{`ZOHO_API_KEY = "`, "zoho"},
		{"export MY_APP_AIRBRAKE_TOKEN=", "airbrake"},
		{`myKlaviyoKey: '`, "klaviyo"},
		{`"newrelic": {"license_key": "`, "newrelic"},
		{"brevo-api-key: ", "sendinblue"},           // a name of the same
		{"linear_api_key=", "linear"},               // an ordinary word, with what follows it
		{"linearGradient secret = ", ""},            // and without
		{"checkbox_token=", ""},                     // no word of its own
		{"twilioesque_token=", ""},                  //
		{"stripe_key then mailgun_key=", "mailgun"}, // the last one
		{"Zoho" + strings.Repeat(" ", 300) + "key=", ""},
		{"ZOHO_KEY\u212a=", ""}, // a letter that changes its length
		{"", ""},
		{"api", ""},
	} {
		got, ok := rules.Named(c.before)
		if got != c.provider || ok != (c.provider != "") {
			t.Errorf("%q: %q %v, want %q", c.before, got, ok, c.provider)
		}
	}
}

func TestOfMatch(t *testing.T) {
	secret := strings.Repeat("aB3dE6gH9j", 3)
	for _, c := range []struct{ rule, text, provider, kind string }{
		{rules.Generic, "zoho_token=" + secret, "zoho", rules.NamedSecret},
		{rules.Generic, "my_token=" + secret, "", "generic"},
		{rules.Generic, "my_token=", "", "generic"}, // the secret is in no text: it was encoded
		{"named-secret-1", "airbrake key: " + secret, "airbrake", rules.NamedSecret},
		{"slack-bot-token", "zoho_token=" + secret, "slack", "bot_token"},
		{"private-key", "zoho_token=" + secret, "", "private_key"},
	} {
		k, typed := rules.OfMatch(c.rule, c.text, secret)
		if k.Provider != c.provider || k.Kind != c.kind || typed != (c.rule == "slack-bot-token") {
			t.Errorf("%s in %q: %+v %v", c.rule, c.text, k, typed)
		}
	}
}

// What goes on behind a named secret belongs to it, and makes it none: a word
// of a sentence, a part of a URL, a value in other letters.
func TestNamedSecretIsWhole(t *testing.T) {
	g := match.New(load(t), match.Options{DecodeDepth: -1})
	key := write("<b32>", 5)
	for text, whole := range map[string]bool{
		"zoho_key = \"" + key + "\"":              true,
		"zoho_key = '" + key + "';":               true,
		"{\\\"zoho_key\\\": \\\"" + key + "\\\"}": true,
		"zoho_key=" + key:                         true,
		"zoho_key: " + key + " # of the app":      true,
		"<zohoKey>" + key + "</zohoKey>":          true,
		"zoho_key = \"" + key + "?":               false,
		"zoho_key = \"" + key + "%20\"":           false,
		"zoho_key = \"" + key + ", and so":        false,
		"zoho_key = \"=" + key + "\"":             false,
		"zoho_key=" + key + "#fragment":           false,
		"zoho_key=" + key + "(x)":                 false,
	} {
		found := slices.ContainsFunc(g.Match(context.Background(), match.Input{Data: []byte(text)}), func(m match.Match) bool {
			return strings.HasPrefix(m.Rule, "named-secret-") && m.Secret == key
		})
		if found != whole {
			t.Errorf("%s: found is %v", text, found)
		}
	}
}

// Every name can be found: it stands in the expression and among the keywords of
// one of the rules of toml/named.toml.
func TestEveryNameIsLookedFor(t *testing.T) {
	words := map[string]bool{}
	for id, r := range load(t).Rules {
		if !strings.HasPrefix(id, "named-secret-") {
			continue
		}
		for _, k := range r.Keywords {
			words[k] = true
			if !strings.Contains(r.Regex.String(), k) {
				t.Errorf("%s: %s is a keyword only", id, k)
			}
			provider, ok := rules.Named(k + "_key")
			if !ok || provider == "" {
				t.Errorf("%s: %s is no name", id, k)
			}
		}
	}
	if len(words) < 1000 {
		t.Errorf("%d names", len(words))
	}
}
