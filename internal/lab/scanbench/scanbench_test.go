package scanbench

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	got := median([]Usage{{CPU: 3, Wall: 1, MemoryMB: 5, Findings: 1}, {CPU: 1, Wall: 9, MemoryMB: 7, Findings: 2}, {CPU: 2, Wall: 2, MemoryMB: 6, Findings: 2}})
	if got != (Usage{CPU: 2, Wall: 2, MemoryMB: 6, Findings: 2}) {
		t.Errorf("median %+v", got)
	}
	if median([]Usage{{CPU: 1}, {CPU: 2}}).CPU != 1.5 {
		t.Error("of an even number, the middle of the two in the middle")
	}
}

// TestJudge takes the geometric mean over the repositories on which both ran.
func TestJudge(t *testing.T) {
	cell := func(tool string, cpu float64) Cell {
		u := Usage{CPU: cpu, Wall: cpu}
		return Cell{Tool: tool, Usage: u, Runs: []Usage{u}}
	}
	r := Result{
		Repos: []Repo{{Name: "a", PackMB: 10}, {Name: "b", PackMB: 10}},
		Rows: []Row{
			{Mode: History, Repo: "a", Cells: []Cell{cell("stanch", 1), cell("git index-pack", 4), cell("gitleaks", 90), {Tool: "betterleaks", Failed: "took longer"}}},
			{Mode: History, Repo: "b", Cells: []Cell{cell("stanch", 1), cell("git index-pack", 1), cell("gitleaks", 10), {Tool: "betterleaks", Failed: "took longer"}}},
		},
	}
	r.judge()
	bars := map[string]Bar{}
	for _, b := range r.Bars {
		bars[b.Name] = b
	}
	if b := bars["times faster than gitleaks"]; b.Got < 29.99 || b.Got > 30.01 {
		t.Errorf("gitleaks: %+v", b)
	}
	if b := bars["time against git index-pack"]; b.Got != 0.5 || !b.OK {
		t.Errorf("index-pack: %+v", b)
	}
	if _, ok := bars["times faster than betterleaks"]; ok {
		t.Error("a promise was judged without a run")
	}
}

// TestRun measures a small repository against a peer of the test's own.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	repo := filepath.Join(dir, "small")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
	}
	err := os.MkdirAll(repo, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	err = os.WriteFile(filepath.Join(repo, "a.txt"), []byte(strings.Repeat("some text\n", 200)), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	git("add", ".")
	git("commit", "-qm", "first")
	git("repack", "-adq")
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours := script("stanch", `while [ "$1" != -o ]; do shift; done; printf '{}\n{}\n' > "$2"`)
	peer := script("gitleaks", `while [ "$1" != -r ]; do shift; done; echo '[{}]' > "$2"`)
	broken := script("betterleaks", `echo "no such repository" >&2; exit 3`)
	r, err := Run(context.Background(), Options{
		Binary: ours, Repos: []string{repo}, Dir: t.TempDir(), Runs: 2, Timeout: time.Minute, Modes: []Mode{History, Tree, Push, Start},
		Peers: []Peer{{"gitleaks", "gitleaks", peer}, {"betterleaks", "betterleaks", broken}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 3 || r.Repos[0].Commits != 1 || len(r.Pushes) != 1 || r.Pushes[0].Ours.Count != 1 {
		t.Fatalf("result %+v", r)
	}
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			switch c.Tool {
			case "stanch", "stanch, all rules":
				if len(c.Runs) != 2 || c.Findings != 2 {
					t.Errorf("%s: stanch %+v", row.Mode, c)
				}
			case "gitleaks":
				if c.Findings != 1 {
					t.Errorf("%s: gitleaks %+v", row.Mode, c)
				}
			case "betterleaks":
				if !strings.Contains(c.Failed, "no such repository") {
					t.Errorf("%s: a peer that fails is reported as %q", row.Mode, c.Failed)
				}
			}
		}
	}
	var table strings.Builder
	err = r.Markdown(&table)
	if err != nil || !strings.Contains(table.String(), "| small | betterleaks | failed:") {
		t.Errorf("%v:\n%s", err, table.String())
	}
}
