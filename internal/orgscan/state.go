package orgscan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stanch/internal/filelock"
	"stanch/internal/secret"
	"stanch/scanner"
)

// Finding is what is kept of a finding between sweeps. It holds nothing of the
// secret but a keyed fingerprint.
type Finding struct {
	ID         string    `json:"id"`     // the same as long as rule, secret and path are
	Secret     string    `json:"secret"` // a keyed fingerprint: the same for the same secret, wherever it stands
	Repository string    `json:"repository"`
	Rule       string    `json:"rule"`
	Provider   string    `json:"provider,omitempty"`
	Kind       string    `json:"kind,omitempty"`
	Commit     string    `json:"commit"`
	Path       string    `json:"path,omitempty"`
	Object     string    `json:"object,omitempty"`
	Line       int       `json:"line"`
	Class      string    `json:"class,omitempty"`
	Confidence string    `json:"confidence,omitempty"`
	Author     string    `json:"author,omitempty"`
	Since      string    `json:"since"` // the sweep that saw it first
	At         time.Time `json:"committed_at,omitzero"`
}

// repoState is what is known of one repository.
type repoState struct {
	Name string `json:"name"`
	Known
	Sweep    string    `json:"sweep"`         // that looked at it last
	Why      string    `json:"why,omitempty"` // it is partial
	Findings []Finding `json:"findings"`      // those that are there
	Gone     []Finding `json:"gone,omitempty"`
}

// sweepState names the sweep under way, so that it can be gone on with.
type sweepState struct {
	ID       string    `json:"id"`
	Began    time.Time `json:"began"`
	Finished time.Time `json:"finished,omitzero"`
}

// states is a directory of states, of which one process at a time has the lock.
type states struct {
	dir         string
	fingerprint *secret.Fingerprinter
	lock        *os.File
}

// ErrHeld means that another sweep works with the same state.
var ErrHeld = errors.New("another sweep works with this state")

func openStates(dir string) (*states, error) {
	err := os.MkdirAll(filepath.Join(dir, "repositories"), 0o700)
	if err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	key, err := secret.LoadOrCreateKey(filepath.Join(dir, "fingerprint.key"))
	if err != nil {
		return nil, err
	}
	fp, err := secret.NewFingerprinter(key)
	if err != nil {
		return nil, err
	}
	lock, err := filelock.Take(filepath.Join(dir, "lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, ErrHeld
	}
	if err != nil {
		return nil, err
	}
	return &states{dir, fp, lock}, nil
}

func (s *states) close() { _ = s.lock.Close() }

// objects is the file of what is known of objects ([history.Shared]).
func (s *states) objects() string { return filepath.Join(s.dir, "objects") }

func (s *states) file(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.dir, "repositories", hex.EncodeToString(sum[:16])+".json")
}

// read gives the state of a repository, a new one where there is none.
func (s *states) read(name string) (repoState, error) {
	st := repoState{Name: name}
	err := readJSON(s.file(name), &st)
	if err == nil && st.Name != name {
		return repoState{Name: name}, nil
	}
	return st, err
}

func (s *states) write(st repoState) error { return writeJSON(s.file(st.Name), st) }

// all gives the states of all repositories ever swept.
func (s *states) all() ([]repoState, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "repositories"))
	if err != nil {
		return nil, err
	}
	var out []repoState
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		var st repoState
		err := readJSON(filepath.Join(s.dir, "repositories", e.Name()), &st)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// finding keeps what may be kept.
func (s *states) finding(repository, sweep string, f *scanner.Finding) Finding {
	return Finding{
		Secret:     s.fingerprint.Fingerprint(f.Provider, f.Rule, "", f.Secret)[:32],
		ID:         s.fingerprint.Fingerprint(f.Provider, f.Rule, "", f.Secret, secret.New(repository), secret.New(f.Place.Path))[:32],
		Repository: repository, Rule: f.Rule, Provider: f.Provider, Kind: f.Kind, Commit: f.Place.Commit, Path: f.Place.Path, Object: f.Place.Object,
		Line: f.Place.Line, Class: string(f.Class), Confidence: string(f.Confidence), Author: f.Place.Author.Name, Since: sweep, At: f.Place.CommitAt,
	}
}

// current is the sweep under way, or a new one.
func (s *states) current(now time.Time) (sweepState, error) {
	var st sweepState
	err := readJSON(filepath.Join(s.dir, "sweep.json"), &st)
	if err != nil {
		return st, err
	}
	if st.ID != "" && st.Finished.IsZero() {
		return st, nil
	}
	st = sweepState{ID: now.UTC().Format("20060102T150405.000Z"), Began: now.UTC()}
	return st, writeJSON(filepath.Join(s.dir, "sweep.json"), st)
}

func (s *states) finish(st sweepState, now time.Time) error {
	st.Finished = now.UTC()
	return writeJSON(filepath.Join(s.dir, "sweep.json"), st)
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	err = json.Unmarshal(data, into)
	if err != nil {
		return fmt.Errorf("read state %s: %w", filepath.Base(path), err)
	}
	return nil
}

// writeJSON replaces a file in one step.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// merge puts the findings of a look in the place of those that were known. Of a
// partial look it keeps those too that it did not find again, unless their commit
// is gone.
func (st *repoState) merge(found []Finding, partial bool, gone []string) {
	since := map[string]string{}
	for _, f := range st.Findings {
		since[f.ID] = f.Since
	}
	there := map[string]bool{}
	keep := make([]Finding, 0, len(found))
	for _, f := range found {
		if there[f.ID] {
			continue
		}
		there[f.ID] = true
		if old, ok := since[f.ID]; ok {
			f.Since = old
		}
		keep = append(keep, f)
	}
	st.Gone = nil
	for _, f := range st.Findings {
		switch {
		case there[f.ID]:
		case partial && !slices.Contains(gone, f.Commit):
			keep = append(keep, f)
		default:
			st.Gone = append(st.Gone, f)
		}
	}
	slices.SortStableFunc(keep, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	st.Findings = keep
}
