package service

import (
	"context"
	"fmt"
	"strings"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/responder"
	"stanch/responder/incident"
	"stanch/scanner"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// handleHistory scans every object of a repository and opens incidents.
func (s *Service) handleHistory(ctx context.Context, j work.Job[historyArgs]) error {
	_, err := s.scanHistory(ctx, j.Args, nil, j.Complete)
	return err
}

// scanHistory fetches a repository into a bounded temporary file, scans all of
// its history and opens incidents in one transaction with done.
func (s *Service) scanHistory(ctx context.Context, a historyArgs, progress func(history.Progress), done func(context.Context, *store.Tx) error) (store.Scan, error) {
	start := s.Now()
	name := a.Owner + "/" + a.Name
	url, err := s.App.CloneURL(a.Owner, a.Name)
	if err != nil {
		return store.Scan{}, err
	}
	token, err := s.App.CloneToken(ctx, a.Installation, a.Owner, a.Name)
	if err != nil {
		return store.Scan{}, err
	}
	visibility := incident.VisibilityPublic
	if a.Reason != "public" {
		visibility, err = s.visibility(ctx, name)
		if err != nil {
			return store.Scan{}, err
		}
	}
	defer token.Destroy()
	var found []scanner.Finding
	res, err := history.ScanRemote(ctx, gitwire.Remote{URL: url, Token: token}, s.limits(),
		history.Options{Engine: s.Scanner, Repository: name, Progress: progress}, nil, func(f scanner.Finding) { found = append(found, f) })
	if err != nil {
		return store.Scan{}, fmt.Errorf("scan history: %w", err)
	}
	x := responder.Exposure{Reference: a.Reference, Repository: name, Visibility: visibility, At: start, From: "found by a sweep; exposed since it was pushed"}
	if a.Reason == "public" {
		x.From = "public event"
		err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			d, err := tx.Delivery(ctx, a.Reference)
			x.At, x.Received = d.ReceivedAt, d.ReceivedAt
			return err
		})
		if err != nil {
			return store.Scan{}, err
		}
	}
	scan := store.Scan{
		ID: a.Reference + "/" + name, Delivery: a.Reference, Kind: a.Reason, Repository: name, Partial: res.Partial, Reasons: res.Reasons,
		Commits: res.Commits, Blobs: res.Blobs, Bytes: res.Bytes, Findings: len(found), StartedAt: start,
	}
	err = s.open(ctx, x, found, scan, done)
	return scan, err
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
	matched := s.Scanner.Scan(ctx, scanner.Unit{Data: []byte(a.Secret.Reveal())})
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

// Sweep scans the whole history of every repository of an account's installation.
// progress is told of each repository as it ends.
func (s *Service) Sweep(ctx context.Context, account string, only []string, progress func(SweepProgress)) error {
	installation, err := s.installationOf(ctx, account)
	if err != nil {
		return err
	}
	repos, err := s.App.InstallationRepos(ctx, installation)
	if err != nil {
		return fmt.Errorf("list repositories: %w", err)
	}
	reference := "sweep-" + s.Now().UTC().Format("20060102T150405Z")
	wanted := map[string]bool{}
	for _, n := range only {
		wanted[n] = true
	}
	var selected []githubapp.Repository
	for _, r := range repos {
		if len(wanted) == 0 || wanted[r.FullName] || wanted[r.Name] {
			selected = append(selected, r)
		}
	}
	for n, r := range selected {
		err := s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			return tx.PutRepository(ctx, store.Repository{
				ID: r.ID, FullName: r.FullName, Installation: installation, Visibility: incident.Visibility(r.Visibility), DefaultBranch: r.DefaultBranch,
			}, s.Now())
		})
		if err != nil {
			return err
		}
		began := time.Now()
		scan, err := s.scanHistory(ctx, historyArgs{Installation: installation, Owner: r.Owner, Name: r.Name, Reference: reference, Reason: "sweep"}, nil,
			func(context.Context, *store.Tx) error { return nil })
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress(SweepProgress{Done: n + 1, Of: len(selected), Scan: scan, Repository: r.FullName, Err: err, Took: time.Since(began)})
	}
	return nil
}

// SweepProgress tells of one repository of a sweep that ended.
type SweepProgress struct {
	Done, Of   int
	Repository string
	Scan       store.Scan
	Err        error
	Took       time.Duration
}

// installationOf finds the App's installation on an account.
func (s *Service) installationOf(ctx context.Context, account string) (int64, error) {
	var id int64
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		id, err = tx.InstallationOf(ctx, account)
		return ignoreNotFound(err)
	})
	if err != nil || id != 0 {
		return id, err
	}
	all, err := s.App.Installations(ctx)
	if err != nil {
		return 0, fmt.Errorf("list installations: %w", err)
	}
	for _, i := range all {
		if strings.EqualFold(i.Account.Login, account) {
			return i.ID, nil
		}
	}
	return 0, fmt.Errorf("the App is not installed on %s", account)
}
