package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/responder"
	"stanch/responder/incident"
	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// register adds the service's job handlers.
func (s *Service) register(r *work.Registry) {
	s.Engine.Register(r)
	timeout := time.Duration(s.Config.Scan.Timeout) + time.Minute
	work.Handle(r, work.Spec{Queue: work.QueueScan, Timeout: timeout, Tries: 4}, s.handleDelivery)
	work.Handle(r, work.Spec{Queue: work.QueueBulk, Timeout: 14 * time.Minute, Tries: 8}, s.handleHistory)
	work.Handle(r, work.Spec{Queue: work.QueueBulk, Timeout: 14 * time.Minute, Tries: 8}, s.handleSweep)
}

// handleDelivery does what one delivery asks for.
func (s *Service) handleDelivery(ctx context.Context, j work.Job[deliveryArgs]) error {
	var d store.Delivery
	err := s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		d, err = tx.Delivery(ctx, j.Args.GUID)
		if err != nil {
			return err
		}
		if d.State == "done" {
			return nil
		}
		return tx.SetDelivery(ctx, d.GUID, "running", "", s.Now())
	})
	if err != nil {
		return err
	}
	if d.State == "done" {
		return s.DB.Tx(ctx, j.Complete)
	}
	e, err := s.restore(d)
	if err != nil {
		return err
	}
	done := func(ctx context.Context, tx *store.Tx) error {
		err := tx.SetDelivery(ctx, d.GUID, "done", "", s.Now())
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	}
	switch e := e.(type) {
	case *githubapp.Push:
		err = s.scanPush(ctx, d, e, done)
	case *githubapp.Public:
		err = s.published(ctx, d, e, done)
	case *githubapp.Installation:
		err = s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(s.installation(ctx, tx, d, e), done(ctx, tx))
		})
	case *githubapp.InstallationRepositories:
		err = s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(s.installationRepositories(ctx, tx, d, e), done(ctx, tx))
		})
	case *githubapp.SecretScanningAlert:
		err = s.alert(ctx, d, e, done)
	default:
		err = s.DB.Tx(ctx, done)
	}
	if err == nil {
		return nil
	}
	if passing(err) && s.Now().Sub(d.ReceivedAt) < maxWaiting {
		wait := min(time.Second<<min(d.Attempts, 9), 5*time.Minute)
		s.Log.WarnContext(ctx, "delivery will be tried again", "delivery", d.GUID, "event", d.Event, "after", wait, "error", err)
		return work.Later(wait)
	}
	if j.Last {
		s.park(ctx, d, err)
	}
	return err
}

// maxWaiting is how long a delivery waits for GitHub to answer: as long as GitHub
// itself would deliver it again.
const maxWaiting = 72 * time.Hour

// passing reports whether the same work may succeed later, so that it does not
// count as a failure: an outage must not park a delivery.
func passing(err error) bool {
	var api *githubapp.APIError
	if errors.As(err, &api) {
		return api.Temporary()
	}
	if errors.Is(err, errFetch) {
		return !errors.Is(err, gitwire.ErrRefused) && !errors.Is(err, gitwire.ErrMoved) && !errors.Is(err, gitwire.ErrTimeout)
	}
	return false
}

// errFetch marks an error of the fetch; see [passing].
var errFetch = errors.New("fetch push")

// park keeps a delivery that could not be handled where people see it.
func (s *Service) park(ctx context.Context, d store.Delivery, cause error) {
	ctx = context.WithoutCancel(ctx)
	err := s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.SetDelivery(ctx, d.GUID, "parked", cause.Error(), s.Now())
		if err != nil {
			return err
		}
		return s.record(ctx, tx, "delivery.parked", d.Repository, "failure", map[string]string{"delivery": d.GUID, "event": d.Event, "reason": cause.Error()})
	})
	s.Log.ErrorContext(ctx, "delivery parked", "delivery", d.GUID, "event", d.Event, "error", cause, "store_error", err)
}

// scanPush fetches exactly what a push brought, scans it and opens incidents.
func (s *Service) scanPush(ctx context.Context, d store.Delivery, p *githubapp.Push, done func(context.Context, *store.Tx) error) error {
	start := s.Now()
	repo := store.Repository{
		ID: p.Repository.ID, FullName: p.Repository.FullName, Installation: p.InstallationID, Visibility: incident.Visibility(p.Repository.Visibility),
		DefaultBranch: s.scrubber(ctx, nil, p.Repository.DefaultBranch).Clean(p.Repository.DefaultBranch), LastPushAt: p.Repository.PushedAt,
	}
	if p.Deleted {
		return s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(tx.PutRepository(ctx, repo, s.Now()), done(ctx, tx))
		})
	}
	var found []scanner.Finding
	left := map[string]bool{} // what of archives could not be looked at
	res, err := s.fetchPush(ctx, p, func(o gitwire.Object) error {
		fs, reasons := s.Scanner().ScanChangeAll(ctx, scanner.Unit{Data: o.Data, Place: o.Place}, o.Old)
		found = append(found, fs...)
		for _, why := range reasons {
			left[why] = true
		}
		return ctx.Err()
	})
	if len(left) > 0 {
		res.Partial = true
		res.Reasons = append(res.Reasons, slices.Sorted(maps.Keys(left))...)
	}
	if errors.Is(err, gitwire.ErrNotFound) || errors.Is(err, gitwire.ErrTooLarge) {
		res.Partial, err = true, nil
		res.Reasons = append(res.Reasons, "the pushed commit could not be fetched: it is gone or too large")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errFetch, err)
	}
	scrub := s.scrubber(ctx, found, p.Ref)
	ref := scrub.Clean(p.Ref)
	repo.DefaultBranch = scrub.Clean(repo.DefaultBranch)
	x := responder.Exposure{
		Reference: d.GUID, Repository: p.Repository.FullName, Visibility: repo.Visibility, Ref: ref, Pusher: p.Pusher,
		At: exposedAt(p, d.ReceivedAt), From: "push event", Received: d.ReceivedAt,
	}
	scan := store.Scan{
		ID: d.GUID, Delivery: d.GUID, Kind: "push", Repository: p.Repository.FullName, Ref: ref, Before: p.Before, After: p.After,
		Partial: res.Partial, Reasons: res.Reasons, Commits: res.Commits, Blobs: res.Blobs, Bytes: res.Bytes, StartedAt: start,
	}
	return s.open(ctx, x, found, scan, func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(tx.PutRepository(ctx, repo, s.Now()), done(ctx, tx))
	})
}

// fetchPush fetches what a push brought. A repository that was renamed since is
// looked up by its id, since git must not follow redirects with our token.
func (s *Service) fetchPush(ctx context.Context, p *githubapp.Push, each func(gitwire.Object) error) (gitwire.Result, error) {
	res, err := s.fetchPushFrom(ctx, p, p.Repository.Owner, p.Repository.Name, each)
	var api *githubapp.APIError
	if !errors.Is(err, gitwire.ErrMoved) && !(errors.As(err, &api) && (api.Status == 404 || api.Status == 422)) {
		return res, err
	}
	now, lookErr := s.App.RepositoryByID(ctx, p.InstallationID, p.Repository.ID)
	if lookErr != nil {
		return res, errors.Join(err, lookErr)
	}
	if now.FullName == p.Repository.FullName {
		return res, err
	}
	return s.fetchPushFrom(ctx, p, now.Owner, now.Name, each)
}

func (s *Service) fetchPushFrom(ctx context.Context, p *githubapp.Push, owner, name string, each func(gitwire.Object) error) (gitwire.Result, error) {
	url, err := s.App.CloneURL(owner, name)
	if err != nil {
		return gitwire.Result{}, err
	}
	token, err := s.App.CloneToken(ctx, p.InstallationID, owner, name)
	if err != nil {
		return gitwire.Result{}, err
	}
	defer token.Destroy()
	push := gitwire.Push{
		URL: url, Repository: p.Repository.FullName, Ref: p.Ref, Before: p.Before, After: p.After, Incomplete: p.Truncated,
		Forced: p.Forced, Created: p.Created, Deleted: p.Deleted, Tag: strings.HasPrefix(p.Ref, "refs/tags/"), Token: token,
	}
	for _, c := range p.Commits {
		push.Commits = append(push.Commits, c.ID)
	}
	return gitwire.Fetch(ctx, push, s.limits(), each)
}

// scrubber replaces the secrets of found, and those that names are themselves: a
// branch is stored with the repository and the scan.
func (s *Service) scrubber(ctx context.Context, found []scanner.Finding, names ...string) *scanner.Scrubber {
	all := slices.Clone(found)
	for _, name := range names {
		all = append(all, s.Scanner().Scan(ctx, scanner.Unit{Data: []byte(name)})...)
	}
	return scanner.NewScrubber(all)
}

// exposedAt is when the pushed bytes reached GitHub: the repository's pushed_at
// where it fits, else the time of the delivery. Author dates are claims.
func exposedAt(p *githubapp.Push, received time.Time) time.Time {
	at := p.Repository.PushedAt
	if at.IsZero() || at.After(received) || received.Sub(at) > 72*time.Hour {
		return received
	}
	return at
}

// open joins findings to credentials and makes incidents of them, with the scan's
// record, in one transaction.
func (s *Service) open(ctx context.Context, x responder.Exposure, found []scanner.Finding, scan store.Scan, done func(context.Context, *store.Tx) error) error {
	creds := s.Scanner().Join(found)
	ready, err := s.Engine.Prepare(ctx, x, creds)
	if err != nil {
		return err
	}
	scan.Findings = len(found)
	for _, f := range found {
		if f.Suppressed != "" {
			scan.Suppressed++
		}
	}
	err = s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := s.Engine.Accept(ctx, tx, ready)
		if err != nil {
			return err
		}
		scan.DoneAt = s.Now()
		err = tx.AddScan(ctx, scan)
		if err != nil {
			return err
		}
		if scan.Partial {
			err := s.record(ctx, tx, "scan.partial", scan.Repository, "partial", map[string]string{"reference": scan.Delivery, "reasons": strings.Join(scan.Reasons, "; ")})
			if err != nil {
				return err
			}
		}
		return done(ctx, tx)
	})
	if err != nil {
		return err
	}
	if scan.Kind == "push" {
		s.Metrics.PushScanned(scan.DoneAt.Sub(scan.StartedAt))
	}
	s.Log.InfoContext(ctx, "scanned", "kind", scan.Kind, "reference", scan.Delivery, "repository", scan.Repository, "commits", scan.Commits,
		"bytes", scan.Bytes, "findings", scan.Findings, "credentials", len(ready), "partial", scan.Partial, "took_ms", scan.DoneAt.Sub(scan.StartedAt).Milliseconds())
	return nil
}

// published handles a private repository that became public: what is known of it
// is now exposed, and its whole history is scanned.
func (s *Service) published(ctx context.Context, d store.Delivery, e *githubapp.Public, done func(context.Context, *store.Tx) error) error {
	branch := s.scrubber(ctx, nil, e.Repository.DefaultBranch).Clean(e.Repository.DefaultBranch)
	return s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.PutRepository(ctx, store.Repository{
			ID: e.Repository.ID, FullName: e.Repository.FullName, Installation: e.InstallationID, Visibility: incident.VisibilityPublic, DefaultBranch: branch,
		}, s.Now())
		if err != nil {
			return err
		}
		err = s.Engine.Published(ctx, tx, e.Repository.FullName, d.ReceivedAt)
		if err != nil {
			return err
		}
		err = s.Jobs.Enqueue(ctx, tx, historyArgs{Installation: e.InstallationID, Owner: e.Repository.Owner, Name: e.Repository.Name, Reference: d.GUID, Reason: "public"}, work.Options{})
		if err != nil {
			return err
		}
		return done(ctx, tx)
	})
}

func (s *Service) installation(ctx context.Context, tx *store.Tx, d store.Delivery, e *githubapp.Installation) error {
	state := "active"
	switch e.Action {
	case "deleted":
		state = "deleted"
	case "suspend":
		state = "suspended"
	}
	if state != "active" && s.App != nil {
		s.App.Forget(e.InstallationID)
	}
	err := tx.PutInstallation(ctx, e.InstallationID, e.Account.Login, state, e.Permissions, s.Now())
	if err != nil {
		return err
	}
	for _, r := range e.Repositories {
		err := s.putRef(ctx, tx, e.InstallationID, r)
		if err != nil {
			return err
		}
	}
	return s.record(ctx, tx, "service.installation", e.Account.Login, state, map[string]string{"action": e.Action, "installation": fmt.Sprint(e.InstallationID), "delivery": d.GUID, "sender": e.Sender.Login})
}

func (s *Service) installationRepositories(ctx context.Context, tx *store.Tx, d store.Delivery, e *githubapp.InstallationRepositories) error {
	for _, r := range e.Added {
		err := s.putRef(ctx, tx, e.InstallationID, r)
		if err != nil {
			return err
		}
	}
	for _, r := range e.Removed {
		err := tx.DropRepository(ctx, r.ID)
		if err != nil {
			return err
		}
	}
	return s.record(ctx, tx, "service.repositories", e.Account.Login, e.Action, map[string]string{
		"added": fmt.Sprint(len(e.Added)), "removed": fmt.Sprint(len(e.Removed)), "delivery": d.GUID, "sender": e.Sender.Login,
	})
}

func (s *Service) putRef(ctx context.Context, tx *store.Tx, installation int64, r githubapp.RepositoryRef) error {
	v := incident.VisibilityPublic
	if r.Private {
		v = incident.VisibilityPrivate
	}
	return tx.PutRepository(ctx, store.Repository{ID: r.ID, FullName: r.FullName, Installation: installation, Visibility: v}, s.Now())
}
