// Package scanbench compares the scanner's speed and memory with its peers and
// with what Git itself needs, on real repositories, in one run.
//
// # What this package promises
//
// Every figure is that of a whole process as a user would start it, children
// included. What is compared runs alternately, so that a change of the
// machine's load falls on all of it. Peers are what lies on PATH or is named;
// none is asked to verify anything.
//
// # What it never does
//
// It changes no repository that it measures.
package scanbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stanch/internal/lab/bench"
)

// Options of [Run].
type Options struct {
	Binary  string   // stanch
	Repos   []string // Git repositories; each is measured by itself
	Peers   []Peer
	Modes   []Mode
	Runs    int           // of every command; the median counts
	Slow    time.Duration // a command that takes longer runs once only; 0 for none
	Dir     string        // for work trees and reports; the caller deletes it
	Timeout time.Duration // of one command; a command that takes longer is left out of the comparison
	Tell    func(format string, args ...any)
}

// Mode is one way of scanning.
type Mode string

// The modes.
const (
	History Mode = "history" // the whole history, each blob once
	Patches Mode = "patches" // the whole history as gitleaks reads it
	Wire    Mode = "wire"    // a repository behind HTTP, scanned while it arrives
	Tree    Mode = "tree"    // the files of HEAD
	Push    Mode = "push"    // texts of 1 to 10 KB that commits added, one by one, engine warm
	Start   Mode = "start"   // a process that finds one secret in a small file
)

// Modes are all modes in the order in which they run.
var Modes = []Mode{History, Patches, Wire, Tree, Push, Start}

// Usage is what one process took with its children.
type Usage struct {
	CPU      float64 `json:"cpu_s"` // user and system
	Wall     float64 `json:"wall_s"`
	MemoryMB float64 `json:"memory_mb"` // largest resident set of the process itself, without its children; 0 where unknown
	Findings int     `json:"findings"`  // -1 when it reports none
}

// Cell is a tool's result on a repository.
type Cell struct {
	Tool   string  `json:"tool"`
	Usage          // medians
	Runs   []Usage `json:"runs"`
	Failed string  `json:"failed,omitempty"`
}

// Row is one mode on one repository.
type Row struct {
	Mode  Mode   `json:"mode"`
	Repo  string `json:"repository"`
	Cells []Cell `json:"cells"` // stanch first
}

// Bar is a promise: how many times faster than another tool, as the geometric
// mean over the repositories, or a bound.
type Bar struct {
	Mode Mode    `json:"mode"`
	Name string  `json:"name"`
	Want float64 `json:"want"`
	Got  float64 `json:"got"`
	Most bool    `json:"at_most"` // Want is an upper bound
	Unit string  `json:"unit"`
	OK   bool    `json:"ok"`
}

// Result is what was measured.
type Result struct {
	Machine bench.Machine `json:"machine"`
	Runs    int           `json:"runs"`
	Repos   []Repo        `json:"repositories"`
	Rows    []Row         `json:"rows"`
	Pushes  []Pushed      `json:"pushes"`
	Bars    []Bar         `json:"bars"`
	OK      bool          `json:"ok"`
}

// Repo describes a repository.
type Repo struct {
	Name    string  `json:"name"`
	Commits int     `json:"commits"`
	PackMB  float64 `json:"pack_mb"`
}

// Run measures. The error is about the measurement itself.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	if o.Timeout <= 0 {
		o.Timeout = 15 * time.Minute
	}
	o.Runs = max(1, o.Runs)
	if len(o.Repos) == 0 {
		return Result{}, errors.New("no repository to measure")
	}
	r := Result{Machine: bench.ThisMachine(), Runs: o.Runs}
	for i, path := range o.Repos {
		repo, err := open(ctx, path, filepath.Join(o.Dir, fmt.Sprintf("%d", i)))
		if err != nil {
			return r, fmt.Errorf("repository %s: %w", path, err)
		}
		r.Repos = append(r.Repos, repo.Repo)
		for _, mode := range o.Modes {
			if mode == Start && i > 0 {
				continue // needs no repository
			}
			if mode == Push {
				p, err := o.push(ctx, repo)
				if err != nil {
					return r, fmt.Errorf("%s of %s: %w", mode, repo.Name, err)
				}
				r.Pushes = append(r.Pushes, p)
				continue
			}
			row, err := o.measure(ctx, mode, repo)
			if err != nil {
				return r, fmt.Errorf("%s of %s: %w", mode, repo.Name, err)
			}
			if len(row.Cells) > 0 {
				r.Rows = append(r.Rows, row)
			}
		}
	}
	r.judge()
	r.Machine.LoadAfter = bench.ThisMachine().LoadBefore
	return r, nil
}

// measure runs every tool of a mode in turn, as often as was asked for.
func (o Options) measure(ctx context.Context, mode Mode, repo repository) (Row, error) {
	row := Row{Mode: mode, Repo: repo.Name}
	jobs, cleanup, err := o.jobs(ctx, mode, repo)
	if err != nil {
		return row, err
	}
	defer cleanup()
	for _, j := range jobs {
		row.Cells = append(row.Cells, Cell{Tool: j.tool})
	}
	for n := range o.Runs {
		for i, j := range jobs {
			c := &row.Cells[i]
			if c.Failed != "" || n > 0 && o.slow(c.Runs[0]) {
				continue
			}
			u, err := j.run(ctx, o.Timeout)
			if ctx.Err() != nil {
				return row, ctx.Err()
			}
			if err != nil {
				c.Failed = firstLine(err.Error())
				o.Tell("%s failed: %s", j.tool, c.Failed)
				continue
			}
			o.Tell("%s of %s: %s, run %d of %d: %.2f s of CPU, %.2f s, %.0f MB", mode, repo.Name, j.tool, n+1, o.Runs, u.CPU, u.Wall, u.MemoryMB)
			c.Runs = append(c.Runs, u)
		}
	}
	for i := range row.Cells {
		row.Cells[i].Usage = median(row.Cells[i].Runs)
	}
	if row.Cells[0].Failed != "" {
		return row, errors.New("stanch itself failed: " + row.Cells[0].Failed)
	}
	return row, nil
}

func (o Options) slow(u Usage) bool { return o.Slow > 0 && u.Wall > o.Slow.Seconds() }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// repository is a repository with what its modes need.
type repository struct {
	Repo
	git  string // Git directory
	pack string // its largest pack
	tree string // files of HEAD
	work string // a directory of its own
}

func open(ctx context.Context, path, work string) (repository, error) {
	git, err := output(ctx, "git", "-C", path, "rev-parse", "--absolute-git-dir")
	if err != nil {
		return repository{}, err
	}
	r := repository{git: git, work: work, tree: filepath.Join(work, "tree")}
	r.Name = strings.TrimSuffix(filepath.Base(strings.TrimSuffix(git, "/.git")), ".git")
	count, err := output(ctx, "git", "-C", git, "rev-list", "--all", "--count")
	if err != nil {
		return r, err
	}
	_, err = fmt.Sscan(count, &r.Commits)
	if err != nil {
		return r, err
	}
	packs, err := filepath.Glob(filepath.Join(git, "objects", "pack", "*.pack"))
	if err != nil {
		return r, err
	}
	most := int64(0)
	for _, p := range packs {
		info, err := os.Stat(p)
		if err != nil {
			return r, err
		}
		r.PackMB += float64(info.Size()) / 1e6
		if info.Size() > most {
			most, r.pack = info.Size(), p
		}
	}
	return r, os.MkdirAll(r.tree, 0o700)
}
