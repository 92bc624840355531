// Package actgithub reads what a GitHub token did from an organisation's audit
// log.
//
// # What this package promises
//
// The token is known to the log by base64(sha256(token)), which is computed while
// the token is there and kept as a fact; the token itself is not needed again. A
// plan without the log, a missing permission and a page that could not be read
// are told as coverage, never as "no events".
//
// # What it never does
//
// It writes nothing at GitHub and keeps only the fields of [AuditEvent].
package actgithub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/trail"
)

// HashedToken is the name under which GitHub's audit log knows a token:
// base64 of its SHA-256 (GitHub's documentation, "Identifying audit log events
// performed by an access token"). It is no secret against someone who cannot
// guess the token, and is kept as the fact [playbooks.FactHashedToken].
func HashedToken(token secret.Value) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// AuditEvent is one event of the audit log, with GitHub's own field names.
type AuditEvent struct {
	DocumentID    string    // _document_id
	Time          time.Time // @timestamp
	Action        string    // action: "repo.create", "git.clone", "api.request"
	Actor         string    // actor
	ActorIP       string    // actor_ip, where its display is on
	Country       string    // actor_location.country_code or country_name
	UserAgent     string    // user_agent
	Org           string    // org
	Repo          string    // repo or repository
	User          string    // user that was affected
	OperationType string    // operation_type: access, authentication, create, modify, remove, restore, transfer
	Transport     string    // transport_protocol_name
	AccessType    string    // programmatic_access_type
	Scopes        string    // token_scopes
	RequestID     string    // request_id, on api.request events
	Method        string    // request_method, likewise
	Path          string    // url_path, likewise
	StatusCode    int       // status_code, likewise; 0 when there is none
}

// ErrNoAuditLog means that the organisation's plan has no audit log API or that
// our App may not read it; waiting does not help.
var ErrNoAuditLog = errors.New("audit log cannot be read")

// AuditLog pages through GET /orgs/{org}/audit-log with
// phrase=hashed_token:"..." and include=all. An empty cursor starts; an empty
// next ends. Errors: [ErrNoAuditLog] (wrapped) when it can never be read,
// [act.Retry] (wrapped) for a passing failure.
type AuditLog interface {
	Events(ctx context.Context, org, hashedToken string, since time.Time, cursor string) (events []AuditEvent, next string, err error)
}

// SourceName is the verb of playbooks.
const SourceName = "github.org_audit_log"

// retention is what GitHub documents for the organisation's log.
const retention = 180 * 24 * time.Hour

// maxPages bounds one Collect of one organisation; the log answers 1,750
// queries an hour.
const maxPages = 1000

// Source implements [trail.Source] over the audit logs of enrolled
// organisations. It is safe for concurrent use.
type Source struct {
	log      AuditLog
	orgs     []string
	lookback time.Duration
	gaps     []string
	now      func() time.Time
}

var _ trail.Source = (*Source)(nil)

// NewSource reads the logs of orgs, from lookback before the exposure on. gaps
// are those of the playbook.
func NewSource(log AuditLog, orgs []string, lookback time.Duration, gaps []string, now func() time.Time) *Source {
	if now == nil {
		now = time.Now
	}
	return &Source{log: log, orgs: orgs, lookback: lookback, gaps: gaps, now: now}
}

// Collect implements [trail.Source]. The cursor holds, by organisation, the next
// page, or "done". A passing failure is returned as an error beside the coverage
// so far; a log that can never be read is coverage with its error.
func (s *Source) Collect(ctx context.Context, sub act.Subject, cursor trail.Cursor, keep func(context.Context, []trail.Event, trail.Cursor) error) ([]trail.Coverage, error) {
	hashed := sub.Facts[playbooks.FactHashedToken]
	if hashed == "" && !sub.Parts["token"].IsZero() {
		hashed = HashedToken(sub.Parts["token"])
	}
	now := s.now().UTC()
	from := now.Add(-retention)
	if start := sub.ExposedAt.Add(-s.lookback); !sub.ExposedAt.IsZero() && start.After(from) {
		from = start
	}
	if len(s.orgs) == 0 || hashed == "" {
		c := s.coverage("", from, now)
		c.Error = "no organisation is enrolled (providers.github.owners), so no audit log was asked"
		if hashed == "" {
			c.Error = "the token's hash was not kept, so the audit log cannot be searched for it"
		}
		return []trail.Coverage{c}, nil
	}
	next := trail.Cursor{}
	for k, v := range cursor {
		next[k] = v
	}
	var out []trail.Coverage
	var failed error
	for _, org := range s.orgs {
		c, err := s.collectOrg(ctx, org, hashed, from, now, next, keep)
		out = append(out, c)
		if err != nil && failed == nil {
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return out, failed
}

const cursorDone = "done"

func (s *Source) collectOrg(ctx context.Context, org, hashed string, from, to time.Time, cursor trail.Cursor, keep func(context.Context, []trail.Event, trail.Cursor) error) (trail.Coverage, error) {
	c := s.coverage(org, from, to)
	at := cursor[org]
	if at == cursorDone {
		at = "" // read again from the start: events arrive late, and are kept once by id
	}
	for c.Pages < maxPages {
		start := s.now()
		events, next, err := s.log.Events(ctx, org, hashed, from, at)
		rec := incident.Request{Operation: "GET /orgs/" + org + "/audit-log", At: start.UTC(), TookMS: s.now().Sub(start).Milliseconds(), With: playbooks.WithAdmin}
		if err != nil {
			c.Error = short(err.Error())
			rec.Error = c.Error
			c.Requests = append(c.Requests, rec)
			if errors.Is(err, ErrNoAuditLog) {
				return c, nil
			}
			return c, fmt.Errorf("read audit log of %s: %w", org, err)
		}
		c.Requests = append(c.Requests, rec)
		c.Pages++
		c.Events += len(events)
		page := make([]trail.Event, len(events))
		for i, e := range events {
			page[i] = event(e)
		}
		done := next == "" || next == at
		cursor[org] = next
		if done {
			cursor[org] = cursorDone
		}
		err = keep(ctx, page, cursor)
		if err != nil {
			return c, fmt.Errorf("keep audit log page of %s: %w", org, err)
		}
		if done {
			c.Complete = next == ""
			return c, nil
		}
		at = next
	}
	c.Error = fmt.Sprintf("stopped after %d pages", maxPages)
	return c, nil
}

func (s *Source) coverage(org string, from, to time.Time) trail.Coverage {
	return trail.Coverage{Source: SourceName, Scope: org, From: from, To: to, AskedAt: to, Gaps: s.gaps}
}

// short keeps an error's first line.
func short(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}
