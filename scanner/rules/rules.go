// Package rules holds what gitleaks' rules lack: rules of our own in gitleaks'
// TOML, which provider and credential kind each rule speaks of, and checks of a
// token's own structure.
//
// The rules are data. They lie in toml/, a file for a subject, and each of the
// files can be given to gitleaks itself. An operator adds to them, or changes
// them, with a directory of the same form: see [Dir].
//
// # What this package promises
//
// Every id in [Of] is a rule of gitleaks v8.30.1, of [Extra] or of a directory
// that was read. A check moves confidence and says why.
//
// # What it never does
//
// It calls nobody, and no check drops a finding: most published examples carry
// a doctored checksum, and so does many a real key in a screenshot or a diff.
package rules

import (
	"bytes"
	"crypto/sha256"
	"embed"
	_ "embed" // of rules.json
	"encoding/json"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zricethezav/gitleaks/v8/config"
)

//go:embed toml/*.toml
var files embed.FS

// Extra is our rules in gitleaks' TOML: the files of toml/ in one. It must not be
// changed.
var Extra = sync.OnceValue(func() []byte { return join(files) })

//go:embed rules.json
var kindsJSON []byte

func join(from fs.FS) []byte {
	names, err := fs.Glob(from, "toml/*.toml")
	if err != nil {
		panic("toml: " + err.Error()) // embedded
	}
	b := bytes.NewBuffer(make([]byte, 0, 512<<10))
	for _, n := range names {
		text, err := fs.ReadFile(from, n)
		if err != nil {
			panic("toml: " + err.Error())
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Kind is what a rule's secret is.
type Kind struct {
	Provider string `json:"provider"` // "aws", "github" ...; "" when the rule names none
	Kind     string `json:"kind"`
	Part     string `json:"part"`             // which part of the credential the secret is; "token" for a single value
	Public   bool   `json:"public,omitempty"` // an identifier or publishable key, which is no secret

	// Form: the rule knows how a secret stands there (in a header, in a URL), and
	// nothing of the secret. Any rule that knows more explains it better.
	Form bool `json:"form,omitempty"`

	// By gives the kinds that one rule tells apart by how the secret begins.
	By map[string]string `json:"by,omitempty"`
}

// The ids of rules that the scanner treats by name.
const (
	AWSAccessKeyID     = "aws-access-token"
	AWSDocumentation   = "aws-documentation-key"
	AWSSecretAccessKey = "aws-secret-access-key"
	AWSSessionToken    = "aws-session-token"
	GitHubApp          = "github-app-token"
	Generic            = "generic-api-key"
)

var embedded = sync.OnceValue(func() map[string]Kind {
	m, err := parseKinds(kindsJSON)
	if err != nil {
		panic("rules.json: " + err.Error()) // embedded; a test reads it
	}
	return m
})

// operators are the kinds of the operator's own rules, which come first.
var operators atomic.Pointer[map[string]Kind]

func parseKinds(data []byte) (map[string]Kind, error) {
	m := map[string]Kind{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	return m, err
}

// Sum is a SHA-256 sum of all that [Of] and [Named] know and of the rules
// themselves: gitleaks' own, [Extra] and an operator's kinds. It differs when any
// of them does.
func Sum() [sha256.Size]byte {
	h := sha256.New()
	for _, text := range [][]byte{[]byte(config.DefaultConfig), Extra(), kindsJSON, []byte(namesText)} {
		sum := sha256.Sum256(text)
		h.Write(sum[:])
	}
	own := operators.Load()
	if own != nil {
		_ = json.NewEncoder(h).Encode(*own) // with its keys in order; a hash takes all that it is given
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func lookup(rule string) (Kind, bool) {
	own := operators.Load()
	if own != nil {
		k, ok := (*own)[rule]
		if ok {
			return k, true
		}
	}
	k, ok := embedded()[rule]
	return k, ok
}

// Of says what a rule's secret is; secret tells apart the kinds that one rule
// finds (AKIA and ASIA, ghu_ and ghs_) and names the issuer of a JWT. The second
// result is false for a rule that names no provider.
func Of(rule, secret string) (Kind, bool) {
	k, ok := lookup(rule)
	if !ok {
		return Kind{Kind: rule, Part: "token"}, false
	}
	longest := 0
	for begin, kind := range k.By {
		if len(begin) > longest && strings.HasPrefix(secret, begin) {
			longest, k.Kind = len(begin), kind
		}
	}
	if k.Kind == "jwt" || k.Kind == "service_role_key" {
		j, ok := jwtKind(secret)
		if ok {
			return j, true
		}
	}
	return k, k.Provider != ""
}

// OfMatch is [Of] for a match as a whole. Where the rule itself names no provider
// but looks for secrets by what is written beside them, the name before the
// secret in the text tells: the kind is then "named_secret", which no playbook
// acts on, and the second result stays false.
func OfMatch(rule, text, secret string) (Kind, bool) {
	k, ok := Of(rule, secret)
	if ok || rule != Generic && k.Kind != NamedSecret {
		return k, ok
	}
	before, _, found := strings.Cut(text, secret)
	if !found {
		return k, false
	}
	provider, named := Named(before)
	if named {
		k.Provider, k.Kind = provider, NamedSecret
	}
	return k, false
}

// NamedSecret is the kind of a secret of which no more is known than whose it is
// by the name of its variable.
const NamedSecret = "named_secret"

// IDs are the rules that [Of] knows without an operator's.
func IDs() []string {
	out := make([]string, 0, len(embedded()))
	for id := range embedded() {
		out = append(out, id)
	}
	return out
}
