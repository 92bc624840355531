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
	Bytes        int64     `json:"bytes"`
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

	mu     sync.Mutex
	shared map[string]bool // tips whose history was looked at, in whatever repository
	sum    Summary
	done   int
	of     int
}

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
	now := o.Now()
	current, err := st.current(now)
	if err != nil {
		return Summary{}, err
	}
	known, err := st.all()
	if err != nil {
		return Summary{}, err
	}
	s := &sweep{o: o, states: st, id: current.ID, began: current.Began, shared: map[string]bool{}, of: len(repos)}
	s.sum = Summary{Sweep: current.ID, Began: current.Began, Resumed: current.Began.Before(now.UTC()), Repositories: len(repos), Partial: []Problem{}, Failed: []Problem{}}
	for _, r := range known {
		if !r.Partial {
			for _, id := range r.Tips {
				s.shared[id] = true
			}
		}
	}
	// Forks come last: what they share with their source is known by then.
	for _, forks := range []bool{false, true} {
		work, inner := errgroup.WithContext(ctx)
		work.SetLimit(o.Workers)
		for _, r := range repos {
			if r.Fork != forks || inner.Err() != nil {
				continue
			}
			work.Go(func() error { return s.repository(inner, r) })
		}
		err := work.Wait()
		if err != nil {
			return s.sum, err
		}
	}
	err = ctx.Err()
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

// repository looks at one repository, unless this sweep did or nothing changed.
func (s *sweep) repository(ctx context.Context, r Repository) error {
	start := time.Now()
	st, err := s.states.read(r.Name)
	if err != nil {
		return err
	}
	p := Progress{Repository: r, Of: s.of}
	switch {
	case st.Sweep == s.id: // before an interruption
		p.Partial = st.Partial
	case st.Sweep != "" && !st.Partial && !r.Changed.IsZero() && r.Changed.Equal(st.Changed):
		p.Unchanged = true
		st.Sweep, st.Gone = s.id, nil
		err = s.states.write(st)
	default:
		err = s.scan(ctx, r, &st, &p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			p.Err, err = err, nil
		} else {
			err = s.states.write(st)
		}
	}
	if err != nil {
		return err
	}
	p.Took = time.Since(start)
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
	if s.o.Progress != nil {
		s.o.Progress(p)
	}
	return nil
}

// scan fetches a repository and looks at what is new in it.
func (s *sweep) scan(ctx context.Context, r Repository, st *repoState, p *Progress) error {
	m, err := open(ctx, r.URL, s.token(r), s.o.Limits)
	if err != nil && r.Kind == KindWiki && errors.Is(err, gitwire.ErrNotFound) {
		st.Sweep, st.Tips, st.Findings = s.id, nil, nil
		return nil // a wiki without pages is no repository
	}
	if err != nil {
		return err
	}
	defer m.Close()
	heads, err := tips(m.Repo)
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	whole := st.Sweep == "" || st.Partial
	var seen []string
	s.mu.Lock()
	for id := range s.shared {
		seen = append(seen, id)
	}
	s.mu.Unlock()
	if whole {
		// What other repositories share was looked at there; this one's own
		// tips were not.
		seen = slices.DeleteFunc(seen, func(id string) bool { return slices.Contains(st.Tips, id) })
	}
	since := present(m.Repo, seen)
	var found []Finding
	res, err := history.ScanRepo(ctx, m.Repo, history.Options{Engine: s.o.Engine, Repository: r.Name, Since: since}, func(f scanner.Finding) {
		if f.Suppressed != "" || len(found) >= mostFindings {
			return
		}
		kept := s.states.finding(r.Name, s.id, &f)
		if !slices.ContainsFunc(st.Findings, func(k Finding) bool { return k.ID == kept.ID }) {
			p.New++
			if s.o.Emit != nil {
				s.mu.Lock()
				s.o.Emit(r, f)
				s.mu.Unlock()
			}
		}
		found = append(found, kept)
	})
	if err != nil {
		return fmt.Errorf("scan history: %w", err)
	}
	if len(m.Reasons) > 0 {
		res.Partial, res.Reasons = true, append(res.Reasons, m.Reasons...)
	}
	if len(found) >= mostFindings {
		res.Partial = true
		res.Reasons = append(res.Reasons, fmt.Sprintf("findings beyond the first %d were left out", mostFindings))
	}
	commits := make([]string, 0, len(st.Findings))
	for _, f := range st.Findings {
		commits = append(commits, f.Commit)
	}
	there := present(m.Repo, commits)
	merge(st, found, whole && len(since) == 0 && !res.Partial, func(id string) bool { return id == "" || slices.Contains(there, id) })
	st.Changed, st.Tips, st.Sweep, st.Partial = r.Changed, heads, s.id, res.Partial
	p.Partial = res.Partial
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Commits += res.Commits
	s.sum.Bytes += res.Bytes
	if res.Partial {
		s.sum.Partial = append(s.sum.Partial, Problem{r.Name, strings.Join(res.Reasons, "; ")})
		return nil
	}
	for _, id := range heads {
		s.shared[id] = true
	}
	return nil
}

// mostFindings bounds what is kept of one repository.
const mostFindings = 100_000

func (s *sweep) token(r Repository) secret.Value {
	if s.o.Token == nil {
		return secret.Value{}
	}
	return s.o.Token(r)
}

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
	there := map[string]bool{}
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
		}
		if st.Sweep == s.id || !there[st.Name] {
			for i := range st.Gone {
				count(&st.Gone[i], func(t *Trend) { t.Gone++ })
				s.sum.GoneFindings = append(s.sum.GoneFindings, st.Gone[i])
			}
		}
	}
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
