// Package rules holds what gitleaks' rules lack: rules of our own in gitleaks'
// TOML, which provider and credential kind each rule speaks of, and checks of a
// token's own structure.
//
// # What this package promises
//
// Every id in [Of] is a rule of gitleaks v8.30.1 or of [Extra]. A check moves
// confidence and says why.
//
// # What it never does
//
// It calls nobody, and no check drops a finding: most published examples carry
// a doctored checksum, and so does many a real key in a screenshot or a diff.
package rules

import (
	_ "embed"
	"encoding/json"
	"sync"
)

// Extra is our rules in gitleaks' TOML.
//
//go:embed extra.toml
var Extra []byte

//go:embed rules.json
var kindsJSON []byte

// Kind is what a rule's secret is.
type Kind struct {
	Provider string `json:"provider"` // "aws", "github" ...; "" when the rule names none
	Kind     string `json:"kind"`
	Part     string `json:"part"`             // which part of the credential the secret is; "token" for a single value
	Public   bool   `json:"public,omitempty"` // an identifier or publishable key, which is no secret
}

// The ids of rules that the scanner treats by name.
const (
	AWSAccessKeyID     = "aws-access-token"
	AWSDocumentation   = "aws-documentation-key"
	AWSSecretAccessKey = "aws-secret-access-key"
	AWSSessionToken    = "aws-session-token"
	GitHubApp          = "github-app-token"
)

var kinds = sync.OnceValue(func() map[string]Kind {
	m := map[string]Kind{}
	err := json.Unmarshal(kindsJSON, &m)
	if err != nil {
		panic("rules.json: " + err.Error()) // embedded; a test reads it
	}
	return m
})

// Of says what a rule's secret is; secret tells apart the kinds that one rule
// finds (AKIA and ASIA, ghu_ and ghs_). The second result is false for a rule
// that names no provider.
func Of(rule, secret string) (Kind, bool) {
	k, ok := kinds()[rule]
	if !ok {
		return Kind{Kind: rule, Part: "token"}, false
	}
	switch rule {
	case AWSAccessKeyID, AWSDocumentation:
		k.Kind = awsIDKind(secret)
	case GitHubApp:
		if len(secret) > 4 && secret[:4] == "ghu_" {
			k.Kind = "app_user_token"
		}
	}
	return k, k.Provider != ""
}

// IDs are the rules that [Of] knows.
func IDs() []string {
	out := make([]string, 0, len(kinds()))
	for id := range kinds() {
		out = append(out, id)
	}
	return out
}

func awsIDKind(id string) string {
	if len(id) < 4 {
		return "access_key"
	}
	switch id[:4] {
	case "ASIA":
		return "session"
	case "ABIA":
		return "bearer_token_id"
	case "ACCA":
		return "context_credential_id"
	}
	return "access_key"
}
