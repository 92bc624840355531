// Package scanner turns bytes into findings: bytes in, findings out.
//
// # What this package promises
//
// Everything that was handed in is looked at, or the result says that it is
// partial and why. Findings are joined to credentials (an AWS key id with its
// secret). Any occurrence of a found secret in the context of a finding (path,
// author, message, ref) is scrubbed before the finding leaves this package.
//
// # What it never does
//
// It holds no provider credential, opens no database, calls no provider, and
// never reads configuration from the repository that it scans.
package scanner

import (
	"fmt"
	"time"

	"stanch/internal/secret"
)

// Class says what kind of place a finding was made in, since most matches on a
// mature repository are fixtures and examples.
type Class string

// The context classes of a finding.
const (
	ClassProduction  Class = "production-like"
	ClassFixture     Class = "test-fixture"
	ClassDocs        Class = "documentation"
	ClassExample     Class = "example"
	ClassPlaceholder Class = "placeholder"
	ClassPublic      Class = "public-material"
)

// Confidence is how sure the scanner is, before any provider is asked.
type Confidence string

// The levels of confidence.
const (
	ConfidenceHigh   Confidence = "high"
	ConfidenceMedium Confidence = "medium"
	ConfidenceLow    Confidence = "low"
)

// Person is a Git author or committer as the commit claims it; it is not
// authenticated by Git.
type Person struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Part names of credentials. A single-value credential has PartToken alone.
const (
	PartToken           = "token"
	PartAccessKeyID     = "access_key_id"
	PartSecretAccessKey = "secret_access_key"
	PartSessionToken    = "session_token"
)

// Place is where a match stands.
type Place struct {
	Repository string    `json:"repository,omitempty"` // owner/name, or the path that was scanned
	Ref        string    `json:"ref,omitempty"`        // full ref name, where known
	Commit     string    `json:"commit,omitempty"`     // commit that introduced it; empty outside history
	Path       string    `json:"path,omitempty"`       // slash separated; "" for commit and tag objects
	Object     string    `json:"object,omitempty"`     // "blob" (default), "commit-message", "author", "committer", "tag-message", "ref-name", "path"
	Line       int       `json:"line"`                 // 1-based
	EndLine    int       `json:"end_line,omitempty"`
	Column     int       `json:"column"` // 1-based, in bytes
	EndColumn  int       `json:"end_column,omitempty"`
	Author     Person    `json:"author,omitzero"`
	Committer  Person    `json:"committer,omitzero"`
	AuthoredAt time.Time `json:"authored_at,omitzero"`
	CommitAt   time.Time `json:"committed_at,omitzero"`
	Removed    bool      `json:"removed,omitempty"` // on the side that a forced push removed
}

// Finding is one match at one place.
type Finding struct {
	Rule        string       // rule id, gitleaks' or ours
	Description string       // the rule's own words
	Provider    string       // "aws", "github", ...; "" when the rule names none
	Kind        string       // credential kind, for example "access_key"; "" when unknown
	Part        string       // which part of a credential the secret is (PartToken, ...)
	Secret      secret.Value // the secret itself
	Match       secret.Value // the whole match, which contains the secret
	Place       Place
	Entropy     float32
	Class       Class
	ClassReason string
	Confidence  Confidence
	Reasons     []string // why this confidence: checksums, structure, context
	Tags        []string
	Suppressed  string // reason, when it would be hidden by default; nothing is dropped silently

	// Place says where the secret stands; MatchAt where the whole match stands,
	// which can start on an earlier line.
	MatchAt Span
	Offset  int    // of the secret in its unit, in bytes; orders and pairs findings
	end     int    // where it ends there
	hint    string // what a comment beside it says
	judged  bool   // class, confidence and so on are filled in
	// About is what identifies the secret and is none: host, user, database,
	// registry, key id. It may be nil.
	About map[string]string
	// CommitMessage is filled in where a caller asked for it; it is foreign text.
	CommitMessage string
}

// Span is a range of text: lines and columns 1-based, columns in bytes, the end
// inclusive.
type Span struct{ Line, Column, EndLine, EndColumn int }

// Fingerprint names a finding the way gitleaks does: commit:path:rule:line, or
// path:rule:line outside history. It holds nothing of the secret.
func (f Finding) Fingerprint() string {
	line := f.MatchAt.Line
	if line == 0 {
		line = f.Place.Line
	}
	s := fmt.Sprintf("%s:%s:%d", f.Place.Path, f.Rule, line)
	if f.Place.Commit != "" {
		return f.Place.Commit + ":" + s
	}
	return s
}

// Credential is what was leaked: one or more findings joined. PublicID is the
// part that is an identifier and no secret (an AWS access key id), or "".
type Credential struct {
	Provider   string
	Kind       string
	PublicID   string
	Account    string                    // account that is written in the credential itself, offline
	Parts      map[string]secret.Value   // by part name
	Candidates map[string][]secret.Value // other values that could be the part, nearest first
	Findings   []Finding                 // the sightings; the first is the primary
	Class      Class
	Confidence Confidence
}

// Missing lists the named parts that were not found.
func (c Credential) Missing(required ...string) []string {
	var out []string
	for _, p := range required {
		if c.Parts[p].IsZero() {
			out = append(out, p)
		}
	}
	return out
}
