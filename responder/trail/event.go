// Package trail reads what a credential did from the provider's own logs.
//
// # What this package promises
//
// Every source is read to its last page or says where it stopped. What a source
// cannot see (retention, delay, kinds of event that were off) is part of its
// result. Secrets that providers write into their logs (STS session tokens) are
// dropped before anything is kept.
//
// # What it never does
//
// It decides nothing and writes nothing at the provider.
package trail

import (
	"context"
	"time"

	"stanch/responder/act"
	"stanch/responder/incident"
)

// Event is one line of a trail, shaped after OCSF API Activity (6003).
type Event struct {
	ID         string            `json:"id"` // the source's own unique id
	Source     string            `json:"source"`
	Time       time.Time         `json:"time"`
	Service    string            `json:"service"`   // "iam.amazonaws.com"
	Operation  string            `json:"operation"` // "CreateUser"
	Region     string            `json:"region,omitempty"`
	Actor      string            `json:"actor,omitempty"`      // principal as logged
	Credential string            `json:"credential,omitempty"` // public id of the credential used
	Address    string            `json:"address,omitempty"`    // source IP or service name
	UserAgent  string            `json:"user_agent,omitempty"`
	Denied     bool              `json:"denied"`
	Error      string            `json:"error,omitempty"`
	ReadOnly   bool              `json:"read_only"`
	RequestID  string            `json:"request_id,omitempty"`
	Resources  []string          `json:"resources,omitempty"` // touched
	Created    []string          `json:"created,omitempty"`   // made by this call (ARNs or ids)
	Minted     string            `json:"minted,omitempty"`    // public id of a credential that this call made
	Technique  []string          `json:"technique,omitempty"` // ATT&CK ids
	Tactic     []string          `json:"tactic,omitempty"`
	Severity   string            `json:"severity"` // L, M, H, C as in the data file
	Origin     string            `json:"origin"`   // ours, provider, owner-like, attacker, unclear
	OriginWhy  string            `json:"origin_why,omitempty"`
	Detail     map[string]string `json:"detail,omitempty"` // few allow-listed request parameters
}

// The origins of an event.
const (
	OriginOurs     = "ours"
	OriginProvider = "provider"
	OriginOwner    = "owner-like"
	OriginAttacker = "attacker"
	OriginUnclear  = "unclear"
)

// Coverage says what a source was asked, what it answered and what it cannot see.
type Coverage struct {
	Source   string             `json:"source"`
	Scope    string             `json:"scope"` // a Region, an organisation
	From     time.Time          `json:"from"`
	To       time.Time          `json:"to"`
	Pages    int                `json:"pages"`
	Events   int                `json:"events"`
	Complete bool               `json:"complete"` // read to the last page
	Error    string             `json:"error,omitempty"`
	Gaps     []string           `json:"gaps,omitempty"`
	AskedAt  time.Time          `json:"asked_at"`
	Requests []incident.Request `json:"requests,omitempty"`
}

// Cursor is where a source stopped, opaque to everyone else; it resumes after a crash.
type Cursor map[string]string

// Source is one log. Collect calls keep for every page with the events and the
// cursor after that page; keep stores both in one transaction, so that a crash
// neither loses nor doubles. It returns one Coverage per scope.
type Source interface {
	Collect(ctx context.Context, s act.Subject, cursor Cursor, keep func(context.Context, []Event, Cursor) error) ([]Coverage, error)
}
