package responder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/scanner"
)

// ReferenceRespond marks what a person handed in. It asks again even after a denial.
const ReferenceRespond = "respond"

// Exposure says where credentials came from and since when they are exposed.
type Exposure struct {
	Reference  string // delivery id, "sweep", "respond": what brought them
	Repository string
	Visibility incident.Visibility
	Ref        string
	Pusher     string
	At         time.Time     // when the bytes reached the host, or became public
	From       string        // the source of At
	Received   time.Time     // when we were told; zero means now
	Mode       incident.Mode // asked for by a person; "" lets policy decide
}

// Prepared is a credential that is sealed and ready to become an incident or a
// sighting of one.
type Prepared struct {
	exposure    Exposure
	credential  scanner.Credential
	book        playbooks.Credential
	known       bool
	id          string
	fingerprint string
	wrapped     []byte
	sealed      []byte
	hasSecret   bool
	parts       string // names of the parts that were found
}

// Prepare seals credentials; it calls the key keeper and must run outside a
// transaction.
func (e *Engine) Prepare(ctx context.Context, x Exposure, cs []scanner.Credential) ([]Prepared, error) {
	var out []Prepared
	for _, c := range cs {
		p := Prepared{exposure: x, credential: c, id: newID()}
		p.book, p.known = e.Playbooks.ByKind(c.Provider, c.Kind)
		p.fingerprint = e.fingerprint(c)
		err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			known, err := tx.IncidentByFingerprint(ctx, p.fingerprint)
			if err == nil {
				p.id = known.ID // a ciphertext is bound to its incident
			}
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		parts := map[string]secret.Value{}
		var names []string
		for name, v := range c.Parts {
			if !v.IsZero() {
				parts[name] = v
				names = append(names, name)
				p.hasSecret = p.hasSecret || v.Reveal() != c.PublicID
			}
		}
		for name, vs := range c.Candidates {
			for n, v := range vs {
				if n < maxCandidates {
					parts[act.CandidatePart(name, n+2)] = v
				}
			}
		}
		slices.Sort(names)
		p.parts = strings.Join(names, " ")
		if p.known && len(parts) > 0 {
			var err error
			p.wrapped, p.sealed, err = e.Vault.Seal(ctx, p.id, parts)
			if err != nil {
				return nil, fmt.Errorf("seal credential: %w", err)
			}
		}
		out = append(out, p)
	}
	return out, nil
}

// maxCandidates bounds how many values are tried for one part of a credential.
const maxCandidates = 5

// fingerprint names a credential: by its public id where it has one, so that an
// id with and without its secret is one incident, else by its value.
func (e *Engine) fingerprint(c scanner.Credential) string {
	if c.PublicID != "" {
		return e.Fingerprint.Fingerprint(c.Provider, c.Kind, c.PublicID)
	}
	if v, ok := c.Parts[scanner.PartToken]; ok {
		return e.Fingerprint.Fingerprint(c.Provider, c.Kind, "", v)
	}
	var values []secret.Value
	for _, name := range []string{scanner.PartAccessKeyID, scanner.PartSecretAccessKey, scanner.PartSessionToken} {
		if v, ok := c.Parts[name]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 && len(c.Findings) > 0 {
		values = append(values, c.Findings[0].Secret)
	}
	return e.Fingerprint.Fingerprint(c.Provider, c.Kind, "", values...)
}

// Accept makes incidents of prepared credentials in the caller's transaction: a
// new one, or a sighting of the one that the credential has. It returns the ids
// in the order of ps.
func (e *Engine) Accept(ctx context.Context, tx *store.Tx, ps []Prepared) ([]string, error) {
	var ids []string
	for _, p := range ps {
		id, err := e.accept(ctx, tx, p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (e *Engine) accept(ctx context.Context, tx *store.Tx, p Prepared) (string, error) {
	inc := e.newIncident(p)
	fresh, err := tx.InsertIncident(ctx, inc)
	if err != nil {
		return "", err
	}
	if fresh {
		return inc.ID, e.open(ctx, tx, inc, p)
	}
	inc, err = tx.IncidentByFingerprint(ctx, p.fingerprint)
	if err != nil {
		return "", err
	}
	return inc.ID, e.seenAgain(ctx, tx, inc, p)
}

func (e *Engine) newIncident(p Prepared) incident.Incident {
	c, x, now := p.credential, p.exposure, e.Now()
	inc := incident.Incident{
		ID: p.id, Fingerprint: p.fingerprint, Provider: c.Provider, Kind: c.Kind, PublicID: c.PublicID, Account: c.Account,
		State: incident.StateOpen, Mode: x.Mode, Round: 1, Class: string(c.Class), Confidence: string(c.Confidence),
		Facts: map[string]string{factParts: p.parts}, Reference: x.Reference, ExposedAt: x.At, ExposedFrom: x.From, ReceivedAt: x.Received, OpenedAt: now, UpdatedAt: now,
	}
	if inc.ReceivedAt.IsZero() {
		inc.ReceivedAt = now
	}
	inc.Title = "Leaked credential of an unknown provider"
	if p.known {
		inc.Title = p.book.Title
	} else if c.Provider != "" {
		inc.Title = "Leaked " + c.Provider + " " + strings.ReplaceAll(c.Kind, "_", " ")
	}
	inc.Severity, inc.SeverityWhy = severity(x.Visibility, "", c.Provider != "")
	return inc
}

// severity rates an incident by what is known; the reason says by what.
func severity(v incident.Visibility, verdict string, typed bool) (string, string) {
	where := "in a " + string(v) + " repository"
	if v == incident.VisibilityUnknown || v == "" {
		where = "at a place that was not told"
	}
	switch {
	case !typed:
		return "low", "matches a pattern that names no provider, " + where
	case verdict == "dead":
		return "low", "the provider refuses it, " + where
	case verdict == "live" && v == incident.VisibilityPublic:
		return "critical", "proved live, " + where
	case verdict == "live":
		return "high", "proved live, " + where
	case v == incident.VisibilityPublic:
		return "high", "not yet verified, " + where
	}
	return "medium", "not yet verified, " + where
}

// open starts the response to a credential that was not known.
func (e *Engine) open(ctx context.Context, tx *store.Tx, inc incident.Incident, p Prepared) error {
	_, err := e.addSightings(ctx, tx, inc.ID, p)
	if err != nil {
		return err
	}
	err = tx.AddState(ctx, inc.ID, incident.StateChange{State: inc.State, At: inc.OpenedAt, Reason: "found: " + p.exposure.From})
	if err != nil {
		return err
	}
	err = e.record(ctx, tx, inc, "incident.opened", "success", map[string]string{
		"repository": p.exposure.Repository, "visibility": string(p.exposure.Visibility), "reference": p.exposure.Reference, "mode": string(inc.Mode),
	})
	if err != nil {
		return err
	}
	if !p.known {
		reason := "no playbook knows this kind of credential"
		if inc.Provider == "" {
			reason = "the finding names no provider"
		}
		err := e.setState(ctx, tx, &inc, incident.StatePerson, reason)
		if err != nil {
			return err
		}
		err = tx.UpdateIncident(ctx, inc)
		if err != nil {
			return err
		}
		return e.enqueueReport(ctx, tx, inc)
	}
	if p.sealed != nil {
		err := tx.PutSecret(ctx, inc.ID, p.wrapped, p.sealed, inc.OpenedAt)
		if err != nil {
			return err
		}
	}
	return e.enqueueStep(ctx, tx, inc, stepIdentify)
}

// seenAgain records another sighting. A finished incident whose credential turns
// up at a new place is looked at again: it may have been revived.
func (e *Engine) seenAgain(ctx context.Context, tx *store.Tx, inc incident.Incident, p Prepared) error {
	added, err := e.addSightings(ctx, tx, inc.ID, p)
	if err != nil || added == 0 {
		return err
	}
	x := p.exposure
	err = e.record(ctx, tx, inc, "incident.sighting", "success", map[string]string{
		"repository": x.Repository, "visibility": string(x.Visibility), "reference": x.Reference, "new_places": fmt.Sprint(added),
	})
	if err != nil {
		return err
	}
	if !x.At.IsZero() && x.At.Before(inc.ExposedAt) {
		inc.ExposedAt, inc.ExposedFrom = x.At, x.From
	}
	inc.UpdatedAt = e.Now()
	if p.known && (again(inc.State) || inc.State == incident.StateDenied && x.Reference == ReferenceRespond) {
		err := e.nextRound(ctx, tx, &inc, p)
		if err != nil {
			return err
		}
	} else if p.sealed != nil && p.hasSecret && inc.State == incident.StateOpen {
		// The first sighting may have lacked a part that this one brings.
		err := e.completeSecret(ctx, tx, &inc, p)
		if err != nil {
			return err
		}
	}
	err = tx.UpdateIncident(ctx, inc)
	if err != nil {
		return err
	}
	return e.enqueueReport(ctx, tx, inc)
}

// again says whether a new sighting re-opens an incident in this state.
func again(s incident.State) bool {
	return s.Final() && s != incident.StateDenied
}

// nextRound starts the playbook anew for a credential that was leaked again.
func (e *Engine) nextRound(ctx context.Context, tx *store.Tx, inc *incident.Incident, p Prepared) error {
	inc.Round++
	inc.Mode = p.exposure.Mode
	inc.Verdict, inc.VerdictWhy = "", ""
	inc.VerdictAt, inc.ContainedAt, inc.ProvedAt, inc.ClosedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	err := e.setState(ctx, tx, inc, incident.StateOpen, "seen again at a new place")
	if err != nil {
		return err
	}
	if p.sealed != nil {
		err := e.reseal(ctx, tx, inc, p)
		if err != nil {
			return err
		}
	}
	return e.enqueueStep(ctx, tx, *inc, stepIdentify)
}

// completeSecret replaces the sealed parts when the new sighting brings a secret.
func (e *Engine) completeSecret(ctx context.Context, tx *store.Tx, inc *incident.Incident, p Prepared) error {
	_, _, err := tx.Secret(ctx, inc.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return e.reseal(ctx, tx, inc, p)
}

// reseal keeps the new parts. When the incident was opened by someone else after
// [Engine.Prepare] looked, they are sealed again under its id.
func (e *Engine) reseal(ctx context.Context, tx *store.Tx, inc *incident.Incident, p Prepared) error {
	if inc.Facts == nil {
		inc.Facts = map[string]string{}
	}
	inc.Facts[factParts] = p.parts
	if p.id == inc.ID {
		return tx.PutSecret(ctx, inc.ID, p.wrapped, p.sealed, e.Now())
	}
	parts, err := e.Vault.Open(ctx, p.id, p.wrapped, p.sealed)
	if err != nil {
		return fmt.Errorf("seal credential: %w", err)
	}
	wrapped, sealed, err := e.Vault.Seal(ctx, inc.ID, parts)
	for _, v := range parts {
		v.Destroy()
	}
	if err != nil {
		return fmt.Errorf("seal credential: %w", err)
	}
	return tx.PutSecret(ctx, inc.ID, wrapped, sealed, e.Now())
}

func (e *Engine) addSightings(ctx context.Context, tx *store.Tx, id string, p Prepared) (int, error) {
	x, now, added := p.exposure, e.Now(), 0
	for _, f := range p.credential.Findings {
		ref := f.Place.Ref
		if ref == "" {
			ref = x.Ref
		}
		isNew, err := tx.AddSighting(ctx, incident.Sighting{
			IncidentID: id, Repository: x.Repository, Visibility: x.Visibility, Ref: ref, Commit: f.Place.Commit, Path: f.Place.Path,
			Object: f.Place.Object, Line: f.Place.Line, Column: f.Place.Column, Rule: f.Rule, Part: f.Part,
			Author: f.Place.Author.Name, AuthorEmail: f.Place.Author.Email, Committer: f.Place.Committer.Name, Pusher: x.Pusher,
			AuthoredAt: f.Place.AuthoredAt, CommittedAt: f.Place.CommitAt, ExposedAt: x.At, ExposedFrom: x.From,
			Delivery: x.Reference, Removed: f.Place.Removed, SeenAt: now,
		})
		if err != nil {
			return added, err
		}
		if isNew {
			added++
		}
	}
	return added, nil
}
