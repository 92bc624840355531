package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/orgscan"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/responder"
	"stanch/responder/incident"
	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// handleHistory looks at the whole history of a repository and opens incidents.
func (s *Service) handleHistory(ctx context.Context, j work.Job[historyArgs]) error {
	_, err := s.scanHistory(ctx, j.Args, j.Complete)
	if err == nil {
		return nil
	}
	wait, ok := s.patience(err, j.Created, j.Attempt)
	if ok {
		s.Log.WarnContext(ctx, "history will be looked at again", "repository", j.Args.name(), "reference", j.Args.Reference, "after", wait, "error", err)
		return work.Later(wait)
	}
	if j.Args.Reason == reasonSweep && (j.Last || errors.Is(err, gitwire.ErrNotFound) || errors.Is(err, gitwire.ErrMoved)) {
		return s.unswept(ctx, j.Args, err, j.Complete)
	}
	return err
}

// scanHistory looks at a repository, unless a sweep finds it unchanged, and opens
// incidents in one transaction with done.
func (s *Service) scanHistory(ctx context.Context, a historyArgs, done func(context.Context, *store.Tx) error) (store.Scan, error) {
	start := s.Now()
	name := a.name()
	scan := store.Scan{ID: a.Reference + "/" + name, Delivery: a.Reference, Kind: a.Reason, Repository: name, StartedAt: start}
	var was orgscan.Known
	if a.Reason == reasonSweep {
		reference := ""
		err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			var err error
			reference, err = tx.Swept(ctx, a.Repository, &was)
			return err
		})
		if err != nil {
			return scan, err
		}
		if reference == a.Reference { // before a crash, or listed twice
			return scan, s.DB.Tx(ctx, done)
		}
	}
	var found []scanner.Finding
	look, err := s.look(ctx, a, was, func(f scanner.Finding) { found = append(found, f) })
	if err != nil {
		return scan, err
	}
	scan.Partial, scan.Reasons, scan.Commits, scan.Blobs, scan.Bytes = look.Partial, look.Reasons, look.Commits, look.Blobs, look.Bytes
	ended := func(ctx context.Context, tx *store.Tx) error {
		if a.Reason == reasonSweep {
			err := tx.PutSwept(ctx, a.Repository, a.Installation, a.Reference, look.Known, s.Now())
			if err != nil {
				return err
			}
		}
		return done(ctx, tx)
	}
	if look.Unchanged {
		return scan, s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			scan.DoneAt = s.Now()
			err := tx.AddScan(ctx, scan)
			if err != nil {
				return err
			}
			return ended(ctx, tx)
		})
	}
	scan.Findings = len(found)
	x, err := s.historyExposure(ctx, a, start)
	if err != nil {
		return scan, err
	}
	return scan, s.open(ctx, x, found, scan, ended)
}

// look is the engine of sweeps on one repository of an installation.
func (s *Service) look(ctx context.Context, a historyArgs, was orgscan.Known, emit func(scanner.Finding)) (orgscan.Look, error) {
	url, err := s.App.CloneURL(a.Owner, a.Name)
	if err != nil {
		return orgscan.Look{}, err
	}
	engine := s.Scanner() // one, whatever is read meanwhile
	shared, free, err := s.objects.take(engine.Fingerprint())
	if err != nil {
		return orgscan.Look{}, err
	}
	defer free()
	var token secret.Value
	defer func() { token.Destroy() }()
	l := orgscan.Looker{
		Engine: engine, Limits: s.limits(), Shared: shared,
		Token: func(ctx context.Context, _ orgscan.Repository) (secret.Value, error) {
			var err error
			token, err = s.App.CloneToken(ctx, a.Installation, a.Owner, a.Name)
			return token, err
		},
		// The job waits, not its worker.
		Wait: func(_ context.Context, until time.Time) error {
			return &gitwire.BusyError{After: time.Until(until)}
		},
	}
	r := orgscan.Repository{Name: a.name(), Kind: orgscan.KindCode, URL: url, Changed: a.Changed}
	out, err := l.Look(ctx, r, was, nil, emit)
	if err != nil {
		return out, fmt.Errorf("look at the history: %w", err)
	}
	return out, nil
}

// historyExposure says since when what is found in a history is exposed.
func (s *Service) historyExposure(ctx context.Context, a historyArgs, at time.Time) (responder.Exposure, error) {
	x := responder.Exposure{
		Reference: a.Reference, Repository: a.name(), Visibility: incident.VisibilityPublic, At: at, From: "found by a sweep; exposed since it was pushed",
	}
	if a.Reason != "public" {
		var err error
		x.Visibility, err = s.visibility(ctx, a.name())
		return x, err
	}
	x.From = "public event"
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		d, err := tx.Delivery(ctx, a.Reference)
		x.At, x.Received = d.ReceivedAt, d.ReceivedAt
		return err
	})
	return x, err
}

// visibility is what is known of a repository; unknown repositories count as public.
func (s *Service) visibility(ctx context.Context, name string) (incident.Visibility, error) {
	v := incident.VisibilityPublic
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.RepositoryByName(ctx, name)
		if err == nil {
			v = r.Visibility
		}
		return ignoreNotFound(err)
	})
	return v, err
}

// alert joins a secret that GitHub's own scanning found to our incident.
func (s *Service) alert(ctx context.Context, d store.Delivery, e *githubapp.SecretScanningAlert, done func(context.Context, *store.Tx) error) error {
	if e.Action != "created" && e.Action != "reopened" && e.Action != "publicly_leaked" {
		return s.DB.Tx(ctx, done)
	}
	a, err := s.App.Alert(ctx, e.InstallationID, e.Repository.Owner, e.Repository.Name, e.Number)
	if err != nil {
		return fmt.Errorf("read alert: %w", err)
	}
	defer a.Secret.Destroy()
	visibility := incident.Visibility(e.Repository.Visibility)
	at := e.CreatedAt
	if at.IsZero() {
		at = d.ReceivedAt
	}
	x := responder.Exposure{Reference: d.GUID, Repository: e.Repository.FullName, Visibility: visibility, At: at, From: "GitHub secret scanning alert", Received: d.ReceivedAt}
	return s.open(ctx, x, s.alertFindings(ctx, e, a), store.Scan{
		ID: d.GUID, Delivery: d.GUID, Kind: "alert", Repository: e.Repository.FullName, StartedAt: d.ReceivedAt,
	}, done)
}

// alertFindings gives one finding for each place that GitHub names. The kind
// comes from our own rules where they match the value, else from the playbook
// that takes GitHub's secret type.
func (s *Service) alertFindings(ctx context.Context, e *githubapp.SecretScanningAlert, a githubapp.Alert) []scanner.Finding {
	base := scanner.Finding{
		Rule: "github:" + e.SecretType, Description: "found by GitHub secret scanning", Part: scanner.PartToken, Secret: a.Secret, Match: a.Secret,
		Class: scanner.ClassProduction, ClassReason: "reported by GitHub", Confidence: scanner.ConfidenceHigh,
	}
	matched := s.Scanner().Scan(ctx, scanner.Unit{Data: []byte(a.Secret.Reveal())})
	if len(matched) > 0 && matched[0].Provider != "" {
		base.Rule, base.Provider, base.Kind, base.Part, base.Secret = matched[0].Rule, matched[0].Provider, matched[0].Kind, matched[0].Part, matched[0].Secret
	} else if c, ok := s.Playbooks.ByGitHubSecretType(e.SecretType, a.Secret); ok {
		base.Provider, base.Kind = c.Provider, c.Kind
	}
	if len(a.Locations) == 0 {
		return []scanner.Finding{base}
	}
	var out []scanner.Finding
	for _, l := range a.Locations {
		f := base
		f.Secret = secret.New(base.Secret.Reveal())
		f.Place = scanner.Place{Repository: e.Repository.FullName, Commit: l.Commit, Path: l.Path, Line: l.Line, Column: l.Column}
		out = append(out, f)
	}
	return out
}
