package orgscan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
	"time"

	"stanch/internal/secret"
	"stanch/scanner"
	"stanch/scanner/gitpack"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// Looker looks at repositories one by one. It is what a sweep by command and the
// sweeps of the service have in common. It may be used concurrently.
type Looker struct {
	Engine *scanner.Engine
	Limits gitwire.Limits
	// Shared is what the repositories have in common, so that each blob of theirs
	// is looked at once; nil looks at each by itself.
	Shared *history.Shared
	// Token gives the token for a repository when it is fetched; nil means none.
	Token func(context.Context, Repository) (secret.Value, error)
	// Wait waits for a server that wants to be asked later; nil sleeps.
	Wait func(ctx context.Context, until time.Time) error

	// One history is read at a time, since that takes all processors: with several
	// at once memory would be taken several times, and what they share would be
	// looked at by each. Meanwhile others are fetched.
	reading sync.Mutex
}

// Known is what a look leaves for the next one. It holds nothing of what was found.
type Known struct {
	Engine  string    `json:"engine,omitempty"` // [scanner.Engine.Fingerprint]
	Changed time.Time `json:"changed,omitzero"`
	Refs    string    `json:"refs,omitempty"` // a digest of all refs
	Partial bool      `json:"partial"`        // then the next look does not go by what did not change
}

// Look is the result of looking at a repository.
type Look struct {
	history.Result
	Known     Known
	Unchanged bool     // since the look that left was; nothing was fetched
	Gone      []string // those of the commits asked for that it does not hold
}

// mostTries is how often a server is asked that says that it is busy, and
// longestWait how long it may want us to wait.
const (
	mostTries   = 5
	longestWait = 15 * time.Minute
)

// Look scans the whole history of a repository, unless nothing changed since the
// look that left was. It hands every finding to emit, with its secret. Commits are
// ids that the caller wants to know to be there still. A wiki without pages, which
// is no repository yet, holds nothing.
func (l *Looker) Look(ctx context.Context, r Repository, was Known, commits []string, emit func(scanner.Finding)) (Look, error) {
	now := Known{Engine: l.Engine.Fingerprint(), Changed: r.Changed}
	fresh := was.Engine != now.Engine || was.Partial
	if !fresh && !r.Changed.IsZero() && r.Changed.Equal(was.Changed) {
		return Look{Known: was, Unchanged: true}, nil
	}
	token, err := l.token(ctx, r)
	if err != nil {
		return Look{}, err
	}
	var out Look
	err = l.patient(ctx, func() error {
		if !fresh && was.Refs != "" {
			refs, err := l.refs(ctx, r, token)
			if err != nil {
				return err
			}
			if refs == was.Refs {
				now.Refs = refs
				out = Look{Known: now, Unchanged: true}
				return nil
			}
		}
		return l.scan(ctx, r, token, now, commits, emit, &out)
	})
	if err != nil && r.Kind == KindWiki && errors.Is(err, gitwire.ErrNotFound) {
		return Look{Known: now, Gone: commits}, nil
	}
	return out, err
}

func (l *Looker) scan(ctx context.Context, r Repository, token secret.Value, now Known, commits []string, emit func(scanner.Finding), out *Look) error {
	m, err := open(ctx, r.URL, token, l.Limits)
	if err != nil {
		return err
	}
	defer m.Close()
	now.Refs, err = refsOf(m.Repo, r.URL)
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	l.reading.Lock()
	defer l.reading.Unlock()
	res, err := history.ScanRepo(ctx, m.Repo, history.Options{Engine: l.Engine, Repository: r.Name, Shared: l.Shared}, emit)
	if err != nil {
		return fmt.Errorf("scan history: %w", err)
	}
	if len(m.Reasons) > 0 {
		res.Partial, res.Reasons = true, append(res.Reasons, m.Reasons...)
	}
	now.Partial = res.Partial
	*out = Look{Result: res, Known: now, Gone: missing(m.Repo, commits)}
	return nil
}

func (l *Looker) token(ctx context.Context, r Repository) (secret.Value, error) {
	if l.Token == nil {
		return secret.Value{}, nil
	}
	return l.Token(ctx, r)
}

// patient calls f until its server is not busy.
func (l *Looker) patient(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		var busy *gitwire.BusyError
		if !errors.As(err, &busy) || try == mostTries {
			return err
		}
		wait := l.Wait
		if wait == nil {
			wait = sleepUntil
		}
		err = wait(ctx, time.Now().Add(min(max(busy.After, 10*time.Second<<try), longestWait)))
		if err != nil {
			return err
		}
	}
}

// open fetches a repository, or, for a path, opens it where it is.
func open(ctx context.Context, address string, token secret.Value, l gitwire.Limits) (*gitwire.Mirror, error) {
	if strings.Contains(address, "://") {
		return gitwire.Clone(ctx, gitwire.Remote{URL: address, Token: token}, l, nil)
	}
	dir, ok := history.GitDir(address)
	if !ok {
		return nil, errors.New("no Git repository is there")
	}
	repo, err := gitpack.OpenContext(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &gitwire.Mirror{Repo: repo}, nil
}

// refs asks for the digest of a repository's refs without fetching it.
func (l *Looker) refs(ctx context.Context, r Repository, token secret.Value) (string, error) {
	if !strings.Contains(r.URL, "://") {
		m, err := open(ctx, r.URL, token, l.Limits)
		if err != nil {
			return "", err
		}
		defer m.Close()
		return refsOf(m.Repo, r.URL)
	}
	d := sha256.New()
	err := gitwire.Refs(ctx, gitwire.Remote{URL: r.URL, Token: token}, l.Limits, func(name, id string) error { return addRef(d, name, id) })
	return hex.EncodeToString(d.Sum(nil)), err
}

// refsOf is the digest of the refs that were fetched. In a repository on this
// machine HEAD may stand on a commit that no ref names.
func refsOf(repo *gitpack.Repo, address string) (string, error) {
	d := sha256.New()
	err := repo.Refs(func(name string, id gitpack.ID) error {
		if name == "HEAD" && strings.Contains(address, "://") {
			return nil
		}
		return addRef(d, name, id.String())
	})
	return hex.EncodeToString(d.Sum(nil)), err
}

// addRef goes by the order in which refs are told: another one costs a fetch.
func addRef(d hash.Hash, name, id string) error {
	_, err := fmt.Fprintf(d, "%s %s\n", id, name)
	return err
}

// missing gives those of the ids that are no commits of the repository.
func missing(repo *gitpack.Repo, ids []string) []string {
	var out []string
	for _, s := range ids {
		id, ok := gitpack.ParseID(s)
		if !ok {
			continue
		}
		n := repo.Find(id)
		if n == gitpack.None || repo.Type(n) != gitpack.Commit {
			out = append(out, s)
		}
	}
	return out
}
