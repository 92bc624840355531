package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/store"
	"stanch/responder/act"
	actgithub "stanch/responder/act/github"
	"stanch/responder/trail"
)

// auditSource reads the audit log of every organisation on which the App is
// installed; which these are is looked up for each reading.
type auditSource struct{ s *Service }

// Collect implements [trail.Source].
func (a auditSource) Collect(ctx context.Context, sub act.Subject, cursor trail.Cursor, keep func(context.Context, []trail.Event, trail.Cursor) error) ([]trail.Coverage, error) {
	orgs := map[string]int64{}
	err := a.s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		orgs, err = tx.Installations(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range orgs {
		names = append(names, name)
	}
	src := actgithub.NewSource(auditLog{a.s.App, orgs}, names, a.s.Config.Trail.Lookback.Std(), nil, a.s.Now)
	return src.Collect(ctx, sub, cursor, keep)
}

// auditLog gives the source one page at a time.
type auditLog struct {
	app  *githubapp.App
	orgs map[string]int64
}

// Events implements [actgithub.AuditLog].
func (l auditLog) Events(ctx context.Context, org, hashedToken string, since time.Time, cursor string) ([]actgithub.AuditEvent, string, error) {
	q := githubapp.AuditQuery{Org: org, HashedToken: hashedToken, From: since, Cursor: cursor, Installation: l.orgs[org]}
	for page, err := range l.app.AuditLog(ctx, q) {
		if err != nil {
			return nil, "", auditError(err)
		}
		var out []actgithub.AuditEvent
		for _, e := range page.Entries {
			out = append(out, actgithub.AuditEvent{
				DocumentID: e.ID, Time: e.Time, Action: e.Action, Actor: e.Actor, ActorIP: e.Address, Country: e.Country, UserAgent: e.UserAgent,
				Org: e.Org, Repo: e.Repo, OperationType: e.Operation, Transport: e.Transport, AccessType: e.Access, Scopes: e.Scopes,
			})
		}
		return out, page.Cursor, nil
	}
	return nil, "", nil
}

func auditError(err error) error {
	var api *githubapp.APIError
	switch {
	case errors.Is(err, githubapp.ErrNoAuditLog):
		return fmt.Errorf("%w: %w", actgithub.ErrNoAuditLog, err)
	case errors.As(err, &api) && api.Temporary():
		return &act.Retry{After: api.RetryAfter, Err: err}
	}
	return err
}
