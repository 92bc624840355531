package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"stanch/scanner/format"
)

// scanState is what --state remembers: the commits that each repository's refs
// pointed to when its whole history was scanned.
type scanState struct {
	Version int                 `json:"version"`
	Tips    map[string][]string `json:"tips"` // by the Git directory's absolute path
}

// maxState bounds a state file: 10 million refs of one repository are 500 MB.
const maxState = 1 << 30

func readState(path string) (*scanState, error) {
	s := &scanState{Version: 1, Tips: map[string][]string{}}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read --state: %w", plain(err))
	}
	defer func() { _ = f.Close() }()
	err = json.NewDecoder(io.LimitReader(f, maxState)).Decode(s)
	if err != nil || s.Version != 1 {
		return nil, errors.New("read --state: the file is not one that a scan wrote")
	}
	if s.Tips == nil {
		s.Tips = map[string][]string{}
	}
	return s, nil
}

func (s *scanState) remember(gitDir string, tips []string) {
	if s != nil {
		s.Tips[stateKey(gitDir)] = tips
	}
}

func stateKey(gitDir string) string {
	abs, err := filepath.Abs(gitDir)
	if err != nil {
		return gitDir
	}
	return abs
}

// write replaces the file in one step.
func (s *scanState) write(path string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".stanch-state-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// gitEnv is the environment of a git that reads a repository: in a partial clone it
// must not fetch what is missing, from where the repository says. Git heeds
// GIT_NO_LAZY_FETCH since 2.45, and as a cure in later releases of older versions.
func gitEnv() []string {
	return append(os.Environ(), "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_REPLACE_OBJECTS=1")
}

// since gives the commits whose history is left out, and those that the refs
// point to now when a state is kept.
func (r *scanRun) since(gitDir string) (since, tips []string, err error) {
	list := func(args ...string) ([]string, error) {
		cmd := exec.CommandContext(r.rt.ctx, "git", append([]string{"--git-dir=" + gitDir, "-c", "core.fsmonitor=false"}, args...)...)
		cmd.Env = gitEnv()
		out, err := cmd.Output()
		return strings.Fields(string(out)), err
	}
	if r.state != nil {
		tips, err = list("rev-list", "--no-walk=unsorted", "--all", "HEAD")
		if err != nil {
			tips, err = list("rev-list", "--no-walk=unsorted", "--all") // HEAD is unborn
		}
		if err != nil {
			return nil, nil, nil // the scan itself says what is wrong
		}
		for _, id := range r.state.Tips[stateKey(gitDir)] {
			_, err := list("cat-file", "-e", id+"^{commit}")
			if err == nil {
				since = append(since, id)
			}
		}
	}
	what := r.cmd.Since
	if what == "" {
		return since, tips, nil
	}
	if strings.HasPrefix(what, "-") {
		return nil, nil, fail(exitUsage, fmt.Errorf("--since %s is neither a commit nor a date", format.Inert(what)))
	}
	id, err := list("rev-parse", "--verify", "-q", "--end-of-options", what+"^{commit}")
	if err == nil && len(id) == 1 {
		return append(since, id...), tips, nil
	}
	if strings.Trim(what, "0123456789abcdef") == "" && len(what) >= 7 {
		return nil, nil, fail(exitUsage, fmt.Errorf("--since %s: the repository has no such commit", format.Inert(what)))
	}
	if !strings.ContainsAny(what, "0123456789") && what != "yesterday" {
		return nil, nil, fail(exitUsage, fmt.Errorf("--since %s is neither a commit nor a date", format.Inert(what)), "a commit, a branch, 2026-01-31 or '2 weeks ago'")
	}
	young, err := list("rev-list", "--all", "--boundary", "--since="+what)
	if err != nil {
		return nil, nil, nil
	}
	if len(young) == 0 { // nothing is that young
		all, _ := list("rev-list", "--no-walk=unsorted", "--all")
		return append(since, all...), tips, nil
	}
	for _, id := range young {
		old, ok := strings.CutPrefix(id, "-")
		if ok {
			since = append(since, old)
		}
	}
	return since, tips, nil
}

// lineOf cuts the line with a number, from 1, out of a text.
func lineOf(data []byte, n int) []byte {
	for ; n > 1; n-- {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return nil
		}
		data = data[i+1:]
	}
	i := bytes.IndexByte(data, '\n')
	if i >= 0 {
		data = data[:i]
	}
	return data
}
