// Package format writes findings for people and for other programs.
//
// # What this package promises
//
// Without ShowSecrets no format holds a secret, plain or encoded, wherever it
// stood (secret, match, path, author, message). Text that came out of a
// repository is inert: the table escapes control, ANSI and direction characters.
//
// # What it never does
//
// It decides nothing: it does not filter, sort or judge findings.
package format

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"stanch/internal/secret"
	"stanch/scanner"
)

// Report is what a scan gave. Findings and Credentials must have been scrubbed
// (see [scanner.Engine.Scrub] and Join), unless secrets are shown.
type Report struct {
	Findings    []scanner.Finding
	Credentials []scanner.Credential
	ShowSecrets bool
	Version     string   // of stanch, for SARIF
	Reasons     []string // why the scan is partial; nil when it is whole
	// Verdicts say of each of the Credentials what its provider answered; nil
	// when nobody was asked.
	Verdicts []Verdict
	Colour   bool // the table goes to a terminal that shows colours
	// UTF16 gives the columns of a place in UTF-16 units, as SARIF's readers
	// count: of the first character, and after the last. Nil means bytes.
	UTF16 func(scanner.Place) (start, end int)
}

// Verdict is what a provider said about a credential.
type Verdict struct {
	Outcome  string `json:"outcome"` // live, dead, unknown or error
	Reason   string `json:"reason,omitempty"`
	Identity string `json:"identity,omitempty"`
	Account  string `json:"account,omitempty"`
}

// verdict is that of a credential, or nil.
func (r Report) verdict(c *scanner.Credential) *Verdict {
	for i := range r.Verdicts {
		if &r.Credentials[i] == c {
			return &r.Verdicts[i]
		}
	}
	return nil
}

// Names are the formats that [Write] knows.
var Names = []string{"table", "json", "jsonl", "sarif", "gitleaks"}

// Write writes the report in one of [Names].
func Write(w io.Writer, name string, r Report) error {
	switch name {
	case "table":
		return writeTable(w, r)
	case "json":
		return writeJSON(w, r)
	case "jsonl":
		enc := encoder(w)
		for _, o := range r.objects() {
			err := enc.Encode(o)
			if err != nil {
				return err
			}
		}
		return nil
	case "sarif":
		return writeSARIF(w, r)
	case "gitleaks":
		return writeGitleaks(w, r)
	}
	return fmt.Errorf("unknown format %q", name)
}

func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// Object is one finding as the json and jsonl formats write it.
type Object struct {
	Rule           string            `json:"rule"`
	Description    string            `json:"description"`
	Provider       string            `json:"provider"`
	Kind           string            `json:"kind"`
	Part           string            `json:"part"`
	Secret         string            `json:"secret"`
	Match          string            `json:"match"`
	Repository     string            `json:"repository,omitempty"`
	Ref            string            `json:"ref,omitempty"`
	Object         string            `json:"object"`
	Path           string            `json:"path"`
	Line           int               `json:"line"`
	Column         int               `json:"column"`
	EndLine        int               `json:"end_line"`
	EndColumn      int               `json:"end_column"`
	Commit         string            `json:"commit"`
	Author         string            `json:"author"`
	AuthorEmail    string            `json:"author_email"`
	Time           string            `json:"time"`
	Committer      string            `json:"committer,omitempty"`
	CommitterEmail string            `json:"committer_email,omitempty"`
	CommittedAt    string            `json:"committed_at,omitempty"`
	Fingerprint    string            `json:"fingerprint"`
	Confidence     string            `json:"confidence"`
	Reasons        []string          `json:"reasons"`
	Class          string            `json:"class"`
	ClassReason    string            `json:"class_reason"`
	Entropy        float32           `json:"entropy"`
	Tags           []string          `json:"tags"`
	PublicID       string            `json:"public_id,omitempty"`
	Account        string            `json:"account,omitempty"`
	Parts          map[string]string `json:"parts,omitempty"`
	Suppressed     string            `json:"suppressed,omitempty"`
	Verdict        *Verdict          `json:"verdict,omitempty"` // what the provider said, when it was asked
}

func (r Report) objects() []Object {
	scrub := scanner.NewScrubber(r.Findings)
	owner := r.owners()
	out := make([]Object, 0, len(r.Findings))
	for _, f := range r.Findings {
		o := Object{
			Rule: f.Rule, Description: f.Description, Provider: f.Provider, Kind: f.Kind, Part: f.Part,
			Secret: r.secret(f.Secret), Match: r.match(f, scrub),
			Repository: f.Place.Repository, Ref: f.Place.Ref, Object: f.Place.Object, Path: f.Place.Path,
			Line: f.Place.Line, Column: f.Place.Column, EndLine: f.Place.EndLine, EndColumn: f.Place.EndColumn,
			Commit: f.Place.Commit, Author: f.Place.Author.Name, AuthorEmail: f.Place.Author.Email, Time: stamp(f.Place.AuthoredAt),
			Committer: f.Place.Committer.Name, CommitterEmail: f.Place.Committer.Email, CommittedAt: stamp(f.Place.CommitAt),
			Fingerprint: f.Fingerprint(), Confidence: string(f.Confidence), Reasons: orEmpty(f.Reasons),
			Class: string(f.Class), ClassReason: f.ClassReason, Entropy: f.Entropy, Tags: orEmpty(f.Tags),
			Suppressed: f.Suppressed,
		}
		if o.Object == "" {
			o.Object = "blob"
		}
		c := owner[keyOf(f)]
		if c != nil {
			o.PublicID, o.Account, o.Verdict = c.PublicID, c.Account, r.verdict(c)
			o.Parts = r.parts(c)
		}
		out = append(out, o)
	}
	return out
}

// key tells findings apart.
type key struct {
	rule, secret, commit, path, object string
	line, column                       int
}

func keyOf(f scanner.Finding) key {
	return key{f.Rule, f.Secret.Reveal(), f.Place.Commit, f.Place.Path, f.Place.Object, f.Place.Line, f.Place.Column}
}

// owners maps each finding to its credential.
func (r Report) owners() map[key]*scanner.Credential {
	m := map[key]*scanner.Credential{}
	for i := range r.Credentials {
		for _, f := range r.Credentials[i].Findings {
			m[keyOf(f)] = &r.Credentials[i]
		}
	}
	return m
}

// parts are those of a credential that was joined from several values, or nil.
func (r Report) parts(c *scanner.Credential) map[string]string {
	if len(c.Parts) < 2 {
		return nil
	}
	out := make(map[string]string, len(c.Parts))
	for name, v := range c.Parts {
		out[name] = r.secret(v)
		if c.PublicID != "" && v.Reveal() == c.PublicID {
			out[name] = c.PublicID
		}
	}
	return out
}

func (r Report) secret(v secret.Value) string {
	if r.ShowSecrets {
		return v.Reveal()
	}
	return secret.Redacted
}

// match is the text around the secret, with every known secret blanked out.
func (r Report) match(f scanner.Finding, scrub *scanner.Scrubber) string {
	text := f.Match.Reveal()
	if r.ShowSecrets || text == "" {
		return text
	}
	own := f.Secret.Reveal()
	if own != "" {
		text = strings.ReplaceAll(text, own, secret.Redacted)
	}
	return scrub.Clean(text)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// writeJSON writes one object: findings, credentials, and whether the scan is
// whole.
func writeJSON(w io.Writer, r Report) error {
	type credential struct {
		Provider   string            `json:"provider"`
		Kind       string            `json:"kind"`
		PublicID   string            `json:"public_id,omitempty"`
		Account    string            `json:"account,omitempty"`
		Parts      map[string]string `json:"parts"`
		Candidates map[string]int    `json:"candidates,omitempty"` // how many other values could be the part
		Class      string            `json:"class"`
		Confidence string            `json:"confidence"`
		Sightings  []string          `json:"sightings"` // fingerprints
		Verdict    *Verdict          `json:"verdict,omitempty"`
	}
	doc := struct {
		Findings    []Object     `json:"findings"`
		Credentials []credential `json:"credentials"`
		Partial     bool         `json:"partial"`
		Reasons     []string     `json:"reasons"`
	}{r.objects(), []credential{}, len(r.Reasons) > 0, orEmpty(r.Reasons)}
	for i := range r.Credentials {
		c := &r.Credentials[i]
		o := credential{Provider: c.Provider, Kind: c.Kind, PublicID: c.PublicID, Account: c.Account, Class: string(c.Class), Confidence: string(c.Confidence), Parts: map[string]string{}, Verdict: r.verdict(c)}
		for name, v := range c.Parts {
			o.Parts[name] = r.secret(v)
			if v.Reveal() == c.PublicID {
				o.Parts[name] = c.PublicID
			}
		}
		for name, v := range c.Candidates {
			if o.Candidates == nil {
				o.Candidates = map[string]int{}
			}
			o.Candidates[name] = len(v)
		}
		for _, f := range c.Findings {
			o.Sightings = append(o.Sightings, f.Fingerprint())
		}
		doc.Credentials = append(doc.Credentials, o)
	}
	enc := encoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
