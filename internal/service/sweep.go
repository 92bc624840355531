package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stanch/internal/githubapp"
	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/responder/incident"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// reasonSweep is why a history is looked at in a sweep.
const reasonSweep = "sweep"

// sweepArgs asks for all repositories of an installation to be looked at.
type sweepArgs struct {
	Installation int64  `json:"installation"`
	Reference    string `json:"reference"`
}

func (sweepArgs) Kind() string { return "sweep" }

// sweepTick is how often it is asked whether a sweep is due.
const sweepTick = time.Minute

// schedule begins the sweeps that are due, of each active installation.
func (s *Service) schedule(ctx context.Context) error {
	every := time.Duration(s.Config.Scan.SweepEvery)
	if every <= 0 || s.App == nil {
		return nil
	}
	now := s.Now()
	return s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		all, err := tx.Installations(ctx)
		if err != nil {
			return err
		}
		for account, id := range all {
			reference := sweepReference(now, id)
			begins, err := tx.BeginSweep(ctx, id, reference, now, now.Add(-every), now.Add(-4*every))
			if err != nil {
				return err
			}
			if !begins {
				continue
			}
			s.Log.InfoContext(ctx, "sweep begins", "account", account, "reference", reference)
			err = s.Jobs.Enqueue(ctx, tx, sweepArgs{Installation: id, Reference: reference}, work.Options{Priority: prioritySource})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func sweepReference(at time.Time, installation int64) string {
	return fmt.Sprintf("sweep-%s-%d", at.UTC().Format("20060102T150405Z"), installation)
}

// In the queue of histories a repository that became public is first, and forks
// are last: what they share with their source is known by then.
const (
	prioritySource = 3
	priorityFork   = 4
)

// handleSweep lists the repositories of an installation and asks for each to be
// looked at. After a crash it does so again; what was looked at is not looked at
// twice.
func (s *Service) handleSweep(ctx context.Context, j work.Job[sweepArgs]) error {
	repos, err := s.App.InstallationRepos(ctx, j.Args.Installation)
	if err != nil {
		wait, ok := s.patience(err, j.Created, j.Attempt)
		if ok {
			return work.Later(wait)
		}
		return fmt.Errorf("list repositories: %w", err)
	}
	const batch = 200
	for from := 0; from < len(repos); from += batch {
		err := s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			for _, r := range repos[from:min(from+batch, len(repos))] {
				err := s.putSwept(ctx, tx, j.Args.Installation, r)
				if err != nil {
					return err
				}
				priority := prioritySource
				if r.Fork {
					priority = priorityFork
				}
				err = s.Jobs.Enqueue(ctx, tx, sweepOf(r, j.Args.Installation, j.Args.Reference), work.Options{Priority: priority})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.ListedSweep(ctx, j.Args.Installation, j.Args.Reference, len(repos))
		if err != nil {
			return err
		}
		err = s.record(ctx, tx, "sweep.listed", j.Args.Reference, "success", map[string]string{"installation": fmt.Sprint(j.Args.Installation), "repositories": fmt.Sprint(len(repos))})
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	})
}

func sweepOf(r githubapp.Repository, installation int64, reference string) historyArgs {
	return historyArgs{
		Installation: installation, Owner: r.Owner, Name: r.Name, Reference: reference, Reason: reasonSweep, Repository: r.ID, Changed: r.PushedAt,
	}
}

// putSwept records a repository that a sweep met. When something was pushed last
// is left to pushes.
func (s *Service) putSwept(ctx context.Context, tx *store.Tx, installation int64, r githubapp.Repository) error {
	return tx.PutRepository(ctx, store.Repository{
		ID: r.ID, FullName: r.FullName, Installation: installation, Visibility: incident.Visibility(r.Visibility),
		DefaultBranch: s.scrubber(ctx, nil, r.DefaultBranch).Clean(r.DefaultBranch),
	}, s.Now())
}

// unswept records that a sweep could not look at a repository.
func (s *Service) unswept(ctx context.Context, a historyArgs, cause error, done func(context.Context, *store.Tx) error) error {
	why := "the repository could not be fetched: it is gone, was renamed, or is out of reach"
	var api *githubapp.APIError
	if errors.As(cause, &api) {
		why = "the repository could not be fetched: " + api.Error()
	}
	now := s.Now()
	s.Log.ErrorContext(ctx, "repository not swept", "repository", a.name(), "reference", a.Reference, "error", cause)
	return s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.AddScan(ctx, store.Scan{
			ID: a.Reference + "/" + a.name(), Delivery: a.Reference, Kind: reasonSweep, Repository: a.name(), Partial: true, Reasons: []string{why}, StartedAt: now, DoneAt: now,
		})
		if err == nil {
			err = tx.PutSwept(ctx, a.Repository, a.Installation, a.Reference, struct{}{}, now)
		}
		if err == nil {
			err = s.record(ctx, tx, "scan.partial", a.name(), "partial", map[string]string{"reference": a.Reference, "reasons": why})
		}
		if err != nil {
			return err
		}
		return done(ctx, tx)
	})
}

// patience is how long to wait before work that failed is tried again without
// counting that as a failure, as long as GitHub asks for it.
func (s *Service) patience(err error, since time.Time, attempt int) (time.Duration, bool) {
	var busy *gitwire.BusyError
	var api *githubapp.APIError
	wait := min(time.Second<<min(attempt, 9), 5*time.Minute)
	switch {
	case s.Now().Sub(since) >= maxWaiting:
		return 0, false
	case errors.As(err, &busy):
		return max(wait, busy.After), true
	case errors.As(err, &api) && api.Temporary():
		return max(wait, api.RetryAfter), true
	}
	return 0, false
}

// Sweep looks at every repository of an account's installation, now and in this
// process; only, where it is not empty, names those that are wanted. progress is
// told of each repository as it ends.
func (s *Service) Sweep(ctx context.Context, account string, only []string, progress func(SweepProgress)) error {
	installation, err := s.installationOf(ctx, account)
	if err != nil {
		return err
	}
	repos, err := s.App.InstallationRepos(ctx, installation)
	if err != nil {
		return fmt.Errorf("list repositories: %w", err)
	}
	reference := sweepReference(s.Now(), installation)
	wanted := map[string]bool{}
	for _, n := range only {
		wanted[n] = true
	}
	var selected []githubapp.Repository
	for _, forks := range []bool{false, true} {
		for _, r := range repos {
			if r.Fork == forks && (len(wanted) == 0 || wanted[r.FullName] || wanted[r.Name]) {
				selected = append(selected, r)
			}
		}
	}
	for n, r := range selected {
		err := s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return s.putSwept(ctx, tx, installation, r) })
		if err != nil {
			return err
		}
		began := time.Now()
		a := sweepOf(r, installation, reference)
		scan, err := s.sweepNow(ctx, a)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress(SweepProgress{Done: n + 1, Of: len(selected), Scan: scan, Repository: r.FullName, Err: err, Took: time.Since(began)})
	}
	return nil
}

// sweepNow looks at a repository, and waits as long as GitHub asks for it.
func (s *Service) sweepNow(ctx context.Context, a historyArgs) (store.Scan, error) {
	began := s.Now()
	for attempt := 1; ; attempt++ {
		scan, err := s.scanHistory(ctx, a, func(context.Context, *store.Tx) error { return nil })
		wait, ok := s.patience(err, began, attempt)
		if !ok || attempt == 8 {
			return scan, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return scan, ctx.Err()
		}
	}
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

// objects is what repositories have in common, in memory while histories are
// looked at and in a file of the data directory else.
type objects struct {
	file string

	mu     sync.Mutex
	key    string
	shared *history.Shared // nil while nobody needs it
	users  int
	idle   *time.Timer
}

// objectsFor is how long it stays in memory when no history is looked at: the next
// one of a sweep comes soon.
const objectsFor = 30 * time.Second

// take gives it to a look with an engine that looks for key. free must be called.
func (o *objects) take(key string) (shared *history.Shared, free func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.shared == nil || o.key != key {
		err = os.MkdirAll(filepath.Dir(o.file), 0o700)
		if err != nil {
			return nil, nil, fmt.Errorf("make directory of sweeps: %w", err)
		}
		o.shared, err = history.LoadShared(o.file, key)
		if err != nil {
			o.shared = history.NewShared(key) // the file is damaged; it saves time, nothing else
		}
		o.key = key
	}
	o.users++
	if o.idle != nil {
		o.idle.Stop()
	}
	return o.shared, o.free, nil
}

func (o *objects) free() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.users--
	if o.users == 0 {
		o.idle = time.AfterFunc(objectsFor, func() { _ = o.close() })
	}
}

// close saves it, and lets the memory go when nobody uses it.
func (o *objects) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle != nil {
		o.idle.Stop()
	}
	if o.shared == nil || o.users > 0 {
		return nil
	}
	err := o.shared.Save(o.file)
	o.shared = nil
	return err
}
