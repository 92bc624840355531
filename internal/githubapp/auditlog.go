package githubapp

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"time"

	"github.com/google/go-github/v60/github"

	"stanch/internal/lazyregexp"
	"stanch/internal/secret"
)

// ErrNoAuditLog means that the organisation's audit log cannot be read through the
// API: its plan has none (it is part of GitHub Enterprise Cloud), or the permission
// organization_administration: read was not granted. GitHub answers both alike.
var ErrNoAuditLog = errors.New("the organisation's audit log is not available to us")

// AuditQuery asks an organisation's audit log for what one token did.
type AuditQuery struct {
	Org string
	// HashedToken is base64(sha256(token)), as the log keeps it.
	HashedToken string
	// From is the first day, UTC; the log keeps 180 days, of Git events 7.
	From time.Time
	// Cursor continues after a page; "" starts at the oldest entry.
	Cursor string
	// Installation whose token is used; or, where it is 0, Token.
	Installation int64
	Token        secret.Value
}

// AuditEntry is one line of the audit log, reduced to allow-listed fields.
type AuditEntry struct {
	ID        string // the log's own id
	Time      time.Time
	Action    string // "git.clone", "repo.create"
	Actor     string // login
	ActorID   int64
	Address   string // where the organisation discloses it
	Country   string
	UserAgent string
	Org       string
	Repo      string // owner/name
	TokenID   int64
	Scopes    string
	Operation string // create, access, modify, remove
	Access    string // the kind of token, as GitHub names it
	Transport string // of Git events
}

// AuditPage is one page, oldest first, with what evidence needs.
type AuditPage struct {
	Entries   []AuditEntry
	Cursor    string // continues after this page; "" on the last
	RequestID string
	Status    int
	At        time.Time
	Took      time.Duration
}

var hashedTokenForm = lazyregexp.New(`^[A-Za-z0-9+/]{43}=$`)

// AuditLog reads the log page by page, to the last. It stops after the first error;
// an error that is [ErrNoAuditLog] means that there is nothing to read.
func (a *App) AuditLog(ctx context.Context, q AuditQuery) iter.Seq2[AuditPage, error] {
	return func(yield func(AuditPage, error) bool) {
		client, err := a.auditClient(q)
		if err != nil {
			yield(AuditPage{}, err)
			return
		}
		cursor := q.Cursor
		for range maxPages {
			page, err := a.auditPage(ctx, client, q, cursor)
			if err != nil {
				yield(AuditPage{}, err)
				return
			}
			if page.Cursor != "" && page.Cursor == cursor {
				yield(AuditPage{}, errors.New("read audit log: the next page is the same page"))
				return
			}
			if !yield(page, nil) || page.Cursor == "" {
				return
			}
			cursor = page.Cursor
		}
		yield(AuditPage{}, fmt.Errorf("read audit log: more than %d pages", maxPages))
	}
}

func (a *App) auditClient(q AuditQuery) (*github.Client, error) {
	const op = "read audit log: "
	switch {
	case !validOwner(q.Org):
		return nil, errors.New(op + "not a GitHub name")
	case !hashedTokenForm().MatchString(q.HashedToken):
		return nil, errors.New(op + "the token's hash is not base64 of a SHA-256")
	case q.Installation > 0:
		return a.Client(q.Installation)
	case q.Token.IsZero():
		return nil, errors.New(op + "neither an installation nor a token to read it with")
	}
	return a.client(a.limited()).WithAuthToken(q.Token.Reveal()), nil
}

func (a *App) auditPage(ctx context.Context, c *github.Client, q AuditQuery, cursor string) (AuditPage, error) {
	phrase := fmt.Sprintf("hashed_token:%q", q.HashedToken)
	if !q.From.IsZero() {
		phrase += " created:>=" + q.From.UTC().Format(time.DateOnly)
	}
	began := a.o.Clock()
	list, resp, err := c.Organizations.GetAuditLog(ctx, q.Org, &github.GetAuditLogOptions{
		Phrase: &phrase, Include: github.String("all"), Order: github.String("asc"),
		ListCursorOptions: github.ListCursorOptions{PerPage: 100, After: cursor},
	})
	if err != nil {
		err = Reduce("read audit log", err)
		var api *APIError
		if errors.As(err, &api) && api.RetryAfter == 0 && (api.Status == http.StatusNotFound || api.Status == http.StatusForbidden) {
			err = fmt.Errorf("%w: %w", ErrNoAuditLog, err)
		}
		return AuditPage{}, err
	}
	now := a.o.Clock()
	page := AuditPage{
		Cursor: resp.After, Status: resp.StatusCode, At: now.UTC(), Took: now.Sub(began),
		RequestID: keep(resp.Header.Get("X-GitHub-Request-Id"), requestIDForm()),
	}
	for _, e := range list {
		page.Entries = append(page.Entries, auditEntry(e))
	}
	return page, nil
}

func auditEntry(e *github.AuditEntry) AuditEntry {
	more := func(name string) string {
		s, _ := e.AdditionalFields[name].(string)
		return keepText(s, 300)
	}
	out := AuditEntry{
		ID: keepText(e.GetDocumentID(), 100), Time: e.GetTimestamp().Time.UTC(), Action: keep(e.GetAction(), wordForm()),
		Actor: keep(e.GetActor(), loginForm()), ActorID: e.GetActorID(), Country: keep(e.GetActorLocation().GetCountryCode(), wordForm()),
		UserAgent: more("user_agent"), Org: keep(e.GetOrg(), ownerForm()), Repo: more("repo"), TokenID: e.GetTokenID(),
		Scopes: keepText(e.GetTokenScopes(), 300), Operation: keep(more("operation_type"), wordForm()),
		Access: more("programmatic_access_type"), Transport: keep(more("transport_protocol_name"), wordForm()),
	}
	if out.Time.IsZero() {
		out.Time = e.GetCreatedAt().Time.UTC()
	}
	if addr, err := netip.ParseAddr(more("actor_ip")); err == nil {
		out.Address = addr.String()
	}
	return out
}
