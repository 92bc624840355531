package responder

import (
	"context"
	"slices"
	"strings"
	"time"

	"stanch/internal/store"
	"stanch/playbooks"
	"stanch/responder/guard"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// counts gives the guards what happened in the last hour.
type counts struct {
	ctx context.Context
	e   *Engine
}

// Acts implements [guard.Counts].
func (c counts) Acts(provider, account string) (int, error) {
	return c.read(func(ctx context.Context, tx *store.Tx, since time.Time) (int, error) {
		return tx.ActsSince(ctx, provider+"/"+account, since)
	})
}

// Verdicts implements [guard.Counts].
func (c counts) Verdicts(provider, repository, pusher string) (int, error) {
	return c.read(func(ctx context.Context, tx *store.Tx, since time.Time) (int, error) {
		return tx.VerdictsSince(ctx, provider, repository, pusher, since)
	})
}

func (c counts) read(count func(context.Context, *store.Tx, time.Time) (int, error)) (int, error) {
	n := 0
	err := c.e.DB.Read(c.ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		n, err = count(ctx, tx, c.e.Now().Add(-time.Hour))
		return err
	})
	return n, err
}

// guardInput gathers what the guards look at. The acts are those whose condition
// holds for the incident.
func (e *Engine) guardInput(ctx context.Context, inc incident.Incident, book playbooks.Credential) (guard.Input, []incident.Sighting, error) {
	in := guard.Input{
		IncidentID: inc.ID, Provider: inc.Provider, Kind: inc.Kind, PublicID: inc.PublicID, Account: inc.Account, Identity: inc.Facts["identity"],
		Fingerprint: inc.Fingerprint, Class: scanner.Class(inc.Class), Complete: complete(inc, book), Verdict: outcomeOf(inc.Verdict),
		KeyActive: inc.Facts["key_status"] == "Active", Counts: counts{ctx, e}, Mode: inc.Mode,
	}
	var seen []incident.Sighting
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		seen, err = tx.Sightings(ctx, inc.ID)
		if err != nil {
			return err
		}
		as, err := tx.Approvals(ctx, inc.ID)
		if len(as) > 0 {
			in.Approval = as[len(as)-1]
		}
		return err
	})
	if err != nil {
		return in, nil, err
	}
	for _, s := range seen {
		in.Sightings = append(in.Sightings, guard.Sighting{Repository: s.Repository, Visibility: s.Visibility, Pusher: s.Pusher})
		in.Rules = append(in.Rules, s.Rule)
	}
	for _, a := range book.Contain {
		holds, err := a.Applies(ctx, inc.Facts, inc.PublicID, inc.Kind)
		if err != nil {
			return in, nil, err
		}
		if holds {
			in.Actions = append(in.Actions, a)
		}
	}
	return in, seen, nil
}

// factParts names the parts that were found, so that a later step knows whether
// the credential is whole without opening it.
const factParts = "parts"

// complete reports whether every part that the playbook requires was found.
func complete(inc incident.Incident, book playbooks.Credential) bool {
	found := strings.Split(inc.Facts[factParts], " ")
	for _, p := range book.Parts {
		if p.Required && !slices.Contains(found, p.Name) {
			return false
		}
	}
	return true
}

func outcomeOf(s string) verdict.Outcome {
	for _, o := range []verdict.Outcome{verdict.Live, verdict.Dead, verdict.Error} {
		if o.String() == s {
			return o
		}
	}
	return verdict.Unknown
}
