package orgscan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"stanch/internal/secret"
	"stanch/scanner"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// Options of [Sweep]. Engine and StateDir must be set.
type Options struct {
	Engine   *scanner.Engine
	StateDir string // of this target alone; kept between sweeps
	Limits   gitwire.Limits
	Workers  int // repositories at the same time; 0 means 4
	// Token is the one for a repository's address; nil means none.
	Token    func(Repository) secret.Value
	Now      func() time.Time // nil means time.Now
	Progress func(Progress)   // called as each repository ends, from one goroutine at a time
	// Wait waits for a server that wants to be asked later; nil sleeps.
	Wait func(ctx context.Context, until time.Time) error
	// Emit is handed each finding that is new in this sweep, with its secret.
	// It is called from one goroutine at a time; nil is allowed.
	Emit func(Repository, scanner.Finding)
}

// Progress tells of one repository that ended.
type Progress struct {
	Done, Of   int
	Repository Repository
	New        int
	Unchanged  bool // nothing was pushed since the last sweep
	Partial    bool
	Err        error
	Took       time.Duration
}

// Summary is the result of a sweep.
type Summary struct {
	Sweep        string    `json:"sweep"`
	Began        time.Time `json:"began"`
	Finished     time.Time `json:"finished"`
	Resumed      bool      `json:"resumed,omitempty"` // goes on with one that was interrupted
	Repositories int       `json:"repositories"`
	Scanned      int       `json:"scanned"`
	Unchanged    int       `json:"unchanged"`
	Commits      int       `json:"commits"` // looked at in this run
	Blobs        int       `json:"blobs"`   // likewise, each once
	Bytes        int64     `json:"bytes"`   // in those blobs
	Secrets      int       `json:"secrets"` // different ones, of those that are there
	Partial      []Problem `json:"partial"`
	Failed       []Problem `json:"failed"`
	Trend
	ByProvider   []Row     `json:"by_provider"`
	ByRepository []Row     `json:"by_repository"`
	Findings     []Finding `json:"findings"` // those that are there
	GoneFindings []Finding `json:"gone_findings"`
}

// Trend compares with the sweep before.
type Trend struct {
	New   int `json:"new"`
	Still int `json:"still"`
	Gone  int `json:"gone"`
}

// Row is the trend of a provider or a repository.
type Row struct {
	Name string `json:"name"`
	Trend
}

// Problem is a repository that was not looked at as a whole.
type Problem struct {
	Repository string `json:"repository"`
	Why        string `json:"why"`
}

// sweep is the state of one Sweep.
type sweep struct {
	o      Options
	states *states
	id     string
	began  time.Time

	looker *Looker

	mu    sync.Mutex
	sum   Summary
	done  int
	of    int
	saved time.Time // what is known of objects
}

// saveEvery is how often what is known of objects is saved, so that little of it
// is lost when the process is killed.
const saveEvery = time.Minute

// Sweep scans the repositories. The error is ctx's, or that of the state; what
// goes wrong with one repository is in the summary.
func Sweep(ctx context.Context, o Options, repos []Repository) (Summary, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Workers <= 0 {
		o.Workers = 4
	}
	st, err := openStates(o.StateDir)
	if err != nil {
		return Summary{}, err
	}
	defer st.close()
	now := o.Now()
	current, err := st.current(now)
	if err != nil {
		return Summary{}, err
	}
	shared, err := history.LoadShared(st.objects(), o.Engine.Fingerprint())
	if err != nil {
		shared = history.NewShared(o.Engine.Fingerprint()) // it saves time, nothing else
	}
	s := &sweep{o: o, states: st, id: current.ID, began: current.Began, of: len(repos), saved: time.Now()}
	s.looker = &Looker{Engine: o.Engine, Limits: o.Limits, Shared: shared, Wait: o.Wait}
	if o.Token != nil {
		s.looker.Token = func(_ context.Context, r Repository) (secret.Value, error) { return o.Token(r), nil }
	}
	s.sum = Summary{Sweep: current.ID, Began: current.Began, Resumed: current.Began.Before(now.UTC()), Repositories: len(repos), Partial: []Problem{}, Failed: []Problem{}}
	err = s.all(ctx, repos)
	err = errors.Join(err, shared.Save(st.objects()))
	if err != nil {
		return s.sum, err
	}
	err = s.total(repos)
	if err != nil {
		return s.sum, err
	}
	s.sum.Finished = o.Now().UTC()
	return s.sum, st.finish(current, o.Now())
}

// all looks at the repositories. Forks come last: what they share with their source
// is known by then.
func (s *sweep) all(ctx context.Context, repos []Repository) error {
	for _, forks := range []bool{false, true} {
		work, inner := errgroup.WithContext(ctx)
		work.SetLimit(s.o.Workers)
		for _, r := range repos {
			if r.Fork != forks || inner.Err() != nil {
				continue
			}
			work.Go(func() error { return s.repository(inner, r) })
		}
		err := work.Wait()
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// repository looks at one repository, unless this sweep did before it was
// interrupted.
func (s *sweep) repository(ctx context.Context, r Repository) error {
	start := time.Now()
	st, err := s.states.read(r.Name)
	if err != nil {
		return err
	}
	p := Progress{Repository: r, Of: s.of}
	if st.Sweep != s.id {
		p.Err = s.look(ctx, r, &st, &p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.Err == nil {
			err = s.states.write(st)
		}
	}
	if err != nil {
		return err
	}
	p.Took, p.Partial = time.Since(start), p.Err == nil && st.Partial
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done++
	p.Done = s.done
	switch {
	case p.Err != nil:
		s.sum.Failed = append(s.sum.Failed, Problem{r.Name, p.Err.Error()})
	case p.Unchanged:
		s.sum.Unchanged++
	default:
		s.sum.Scanned++
	}
	if p.Partial {
		s.sum.Partial = append(s.sum.Partial, Problem{r.Name, st.Why})
	}
	if s.o.Progress != nil {
		s.o.Progress(p)
	}
	if time.Since(s.saved) < saveEvery {
		return nil
	}
	err = s.looker.Shared.Save(s.states.objects())
	s.saved = time.Now()
	return err
}

// look looks at a repository and lays what it finds over what was known of it.
func (s *sweep) look(ctx context.Context, r Repository, st *repoState, p *Progress) error {
	known := map[string]bool{}
	commits := make([]string, 0, len(st.Findings))
	for _, f := range st.Findings {
		known[f.ID] = true
		commits = append(commits, f.Commit)
	}
	var found []Finding
	res, err := s.looker.Look(ctx, r, st.Known, commits, func(f scanner.Finding) {
		if f.Suppressed != "" || len(found) >= mostFindings {
			return
		}
		kept := s.states.finding(r.Name, s.id, &f)
		found = append(found, kept)
		if known[kept.ID] {
			return
		}
		known[kept.ID] = true
		p.New++
		if s.o.Emit != nil {
			s.mu.Lock()
			s.o.Emit(r, f)
			s.mu.Unlock()
		}
	})
	if err != nil {
		return err
	}
	st.Known, st.Sweep = res.Known, s.id
	if res.Unchanged {
		st.Gone, p.Unchanged = nil, true
		return nil
	}
	if len(found) >= mostFindings {
		res.Partial = true
		res.Reasons = append(res.Reasons, fmt.Sprintf("findings beyond the first %d were left out", mostFindings))
	}
	st.merge(found, res.Partial, res.Gone)
	st.Partial, st.Why = res.Partial, strings.Join(res.Reasons, "; ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Commits += res.Commits
	s.sum.Blobs += res.Blobs
	s.sum.Bytes += res.Bytes
	return nil
}

// mostFindings bounds what is kept of one repository.
const mostFindings = 100_000

// total sums up the states of the repositories, and of those that are gone.
func (s *sweep) total(repos []Repository) error {
	providers, repositories := map[string]*Row{}, map[string]*Row{}
	count := func(f *Finding, add func(*Trend)) {
		add(&s.sum.Trend)
		name := f.Provider
		if name == "" {
			name = "(rule " + f.Rule + ")"
		}
		for _, row := range []struct {
			rows map[string]*Row
			name string
		}{{providers, name}, {repositories, f.Repository}} {
			if row.rows[row.name] == nil {
				row.rows[row.name] = &Row{Name: row.name}
			}
			add(&row.rows[row.name].Trend)
		}
	}
	s.sum.Findings, s.sum.GoneFindings = []Finding{}, []Finding{}
	secrets, there := map[string]bool{}, map[string]bool{}
	for _, r := range repos {
		there[r.Name] = true
	}
	all, err := s.states.all()
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b repoState) int { return strings.Compare(a.Name, b.Name) })
	for _, st := range all {
		if !there[st.Name] {
			if len(st.Findings) == 0 {
				continue
			}
			// The repository is gone, or was left out by choice: told once.
			st.Gone, st.Findings, st.Sweep = st.Findings, nil, ""
			err := s.states.write(st)
			if err != nil {
				return err
			}
		}
		for i := range st.Findings {
			f := &st.Findings[i]
			count(f, func(t *Trend) {
				if f.Since == s.id {
					t.New++
				} else {
					t.Still++
				}
			})
			s.sum.Findings = append(s.sum.Findings, *f)
			secrets[f.Secret] = true
		}
		if st.Sweep == s.id || !there[st.Name] {
			for i := range st.Gone {
				count(&st.Gone[i], func(t *Trend) { t.Gone++ })
				s.sum.GoneFindings = append(s.sum.GoneFindings, st.Gone[i])
			}
		}
	}
	s.sum.Secrets = len(secrets)
	s.sum.ByProvider, s.sum.ByRepository = rows(providers), rows(repositories)
	return nil
}

func rows(m map[string]*Row) []Row {
	out := make([]Row, 0, len(m))
	for _, r := range m {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Row) int {
		d := b.New + b.Still - a.New - a.Still
		if d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}
