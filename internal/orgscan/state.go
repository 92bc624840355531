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

	"stanch/internal/secret"
	"stanch/scanner"
)

// Finding is what is kept of a finding between sweeps. It holds nothing of the
// secret but a keyed fingerprint.
type Finding struct {
	ID         string    `json:"id"` // the same as long as rule, secret and path are
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
	Name     string    `json:"name"`
	Changed  time.Time `json:"changed,omitzero"`
	Tips     []string  `json:"tips"`     // where the refs pointed to
	Sweep    string    `json:"sweep"`    // that looked at it last
	Partial  bool      `json:"partial"`  // then the next sweep looks at all of it
	Findings []Finding `json:"findings"` // those that are there
	Gone     []Finding `json:"gone,omitempty"`
}

// sweepState names the sweep under way, so that it can be gone on with.
type sweepState struct {
	ID       string    `json:"id"`
	Began    time.Time `json:"began"`
	Finished time.Time `json:"finished,omitzero"`
}

// states is a directory of states.
type states struct {
	dir         string
	fingerprint *secret.Fingerprinter
}

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
	return &states{dir, fp}, nil
}

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

// merge lays the findings of a scan of what is new over those that were known.
// here says whether a commit is still in the repository.
func merge(st *repoState, found []Finding, whole bool, here func(commit string) bool) {
	known := map[string]int{}
	st.Gone = nil
	var keep []Finding
	seen := map[string]bool{}
	for _, f := range found {
		seen[f.ID] = true
	}
	for _, f := range st.Findings {
		if whole && !seen[f.ID] || !whole && !here(f.Commit) && !seen[f.ID] {
			st.Gone = append(st.Gone, f)
			continue
		}
		known[f.ID] = len(keep)
		keep = append(keep, f)
	}
	for _, f := range found {
		_, ok := known[f.ID]
		if !ok {
			known[f.ID] = len(keep)
			keep = append(keep, f)
		}
	}
	slices.SortStableFunc(keep, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	st.Findings = keep
}
