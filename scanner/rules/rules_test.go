package rules_test

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

func TestEveryRuleIsMappedAndExists(t *testing.T) {
	cfg, err := match.Load(rules.Extra())
	if err != nil {
		t.Fatal(err)
	}
	ids := rules.IDs()
	for _, id := range ids {
		if _, ok := cfg.Rules[id]; !ok {
			t.Errorf("%s is mapped and no rule", id)
		}
	}
	for id := range cfg.Rules {
		if !slices.Contains(ids, id) {
			t.Errorf("rule %s is not mapped", id)
		}
	}
}

func jwt(header, payload string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(payload)) + "." + strings.Repeat("Zq3_x9-K", 12)
}

var (
	installation = "gh" + "s_1234567_" + jwt(`{"alg":"RS256","typ":"JWT"}`, `{"iss":"1234567","exp":1790000000}`)
	secret40     = "kR7vQ2mZ" + "x9LpT4wB" + "n6YcD1sF" + "h8JgU3eA" + "o5iNbVMq"
	keyID        = "AK" + "IA" + "QYLPMN5HHHFPZAM2"
	sessionToken = "IQoJb3Jp" + "Z2luX2Vj" + strings.Repeat("EIz9aB7+k/Q2mWx5TuYv", 12) + "=="
)

// The rules of toml/core.toml, whose secrets hold more than a form.
func TestCoreRules(t *testing.T) {
	cfg, err := match.Load(rules.Extra())
	if err != nil {
		t.Fatal(err)
	}
	g := match.New(cfg, match.Options{})
	for _, c := range []struct {
		rule, text, secret string // secret "" means: not found
	}{
		{"github-app-installation-token", "T=" + installation, installation},
		{"github-app-installation-token", "T=gh" + "s_1234567_eyJhb.short.x", ""},
		{"github-app-user-token", "T=gh" + "u_" + strings.Repeat("aB3dE6gH9j", 7), "gh" + "u_" + strings.Repeat("aB3dE6gH9j", 7)},
		{"github-app-user-token", "T=gh" + "u_" + strings.Repeat("aB3dE6gH9", 4), ""},
		{"github-app-refresh-token", "T=gh" + "r_" + strings.Repeat("aB3dE6gH9j2k", 6) + "xYz4", "gh" + "r_" + strings.Repeat("aB3dE6gH9j2k", 6) + "xYz4"},
		{"github-app-refresh-token", "T=gh" + "r_" + strings.Repeat("aB3dE6gH9", 4), ""},
		{"aws-documentation-key", "id AK" + "IAIOSFODNN7EXAMPLE", "AK" + "IAIOSFODNN7EXAMPLE"},
		{"aws-documentation-key", "id " + keyID, ""},
		{"aws-secret-access-key", "aws_secret_access_key = " + secret40, secret40},
		{"aws-secret-access-key", `{"SecretAccessKey": "` + secret40 + `"}`, secret40},
		{"aws-secret-access-key", `AWS_SECRET_ACCESS_KEY='` + secret40 + `'`, secret40},
		{"aws-secret-access-key", `<secretAccessKey>` + secret40 + `</secretAccessKey>`, secret40},
		{"aws-secret-access-key", "commit = " + secret40, ""},                                                                        // bare 40 characters
		{"aws-secret-access-key", "aws_image = da39a3ee5e6b4b0d3255bfef95601890afd80709", ""},                                        // hex
		{"aws-secret-access-key", "aws_key=" + secret40 + "AAAA", ""},                                                                // longer
		{"aws-secret-access-key", "aws_key=" + secret40 + "==", ""},                                                                  // other base64
		{"aws-session-token", "aws_session_token=" + sessionToken, sessionToken},                                                     //
		{"aws-session-token", "x " + sessionToken, sessionToken},                                                                     // by its start
		{"aws-session-token", "aws_session_token=" + strings.Repeat("Zq3x9K7+mWx5TuYv", 10), strings.Repeat("Zq3x9K7+mWx5TuYv", 10)}, // by its name
		{"aws-session-token", "session=" + strings.Repeat("Zq3x9K7+mWx5TuYv", 10), ""},
	} {
		got := ""
		for _, m := range g.Match(context.Background(), match.Input{Data: []byte("a\n" + c.text + "\n")}) {
			if m.Rule == c.rule {
				got = m.Secret
			}
		}
		if got != c.secret {
			t.Errorf("%s: %q gives %q, want %q", c.rule, c.text, got, c.secret)
		}
	}
}

func TestKinds(t *testing.T) {
	for _, c := range []struct{ rule, secret, provider, kind, part string }{
		{"aws-access-token", "AK" + "IAX", "aws", "access_key", "access_key_id"},
		{"aws-access-token", "AS" + "IAX", "aws", "session", "access_key_id"},
		{"github-pat", "ghp_", "github", "personal_access_token", "token"},
		{"github-fine-grained-pat", "", "github", "fine_grained_token", "token"},
		{"github-oauth", "", "github", "oauth_token", "token"},
		{"github-app-token", "gh" + "u_x", "github", "app_user_token", "token"},
		{"github-app-token", "gh" + "s_x", "github", "app_installation_token", "token"},
		{"github-refresh-token", "", "github", "app_refresh_token", "token"},
		{"generic-api-key", "", "", "generic", "token"},
		{"someone's-own", "", "", "someone's-own", "token"},
	} {
		k, typed := rules.Of(c.rule, c.secret)
		if k.Provider != c.provider || k.Kind != c.kind || k.Part != c.part || typed != (c.provider != "") {
			t.Errorf("%s: %+v %v", c.rule, k, typed)
		}
	}
}
