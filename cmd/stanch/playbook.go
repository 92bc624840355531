package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"stanch/playbooks"
)

// playbookCmd looks at playbooks; no subcommand calls a provider.
type playbookCmd struct {
	List    playbookListCmd    `cmd:"" help:"List every kind of credential and what is done about it."`
	Show    playbookShowCmd    `cmd:"" help:"Print a playbook file."`
	Lint    playbookLintCmd    `cmd:"" help:"Check playbook files; exits 2 when one has a problem."`
	Explain playbookExplainCmd `cmd:"" help:"Say what would be called for a kind of credential, in which order, and what it does to whom."`
}

type playbookListCmd struct {
	Dir    string `help:"Directory with playbooks that replace or join the built-in ones." type:"path" placeholder:"DIR"`
	Format string `help:"table or json." enum:"table,json" default:"table"`
}

// Run prints the list on standard output.
func (c *playbookListCmd) Run(rt *runtime) error {
	set, err := loadPlaybooks(rt, c.Dir)
	if err != nil {
		return err
	}
	rows := set.List()
	if c.Format == "json" {
		enc := json.NewEncoder(rt.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	w := tabwriter.NewWriter(rt.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROVIDER\tKIND\tIDENTIFY\tCONTAIN\tREVERSIBLE\tTRAIL\tROTATE\tBY")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Provider, r.Kind,
			yesNo(r.Identify), yesNo(r.Contain), yesNo(r.Reversible), yesNo(r.Trail), yesNo(r.Rotate), r.By)
	}
	return w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

type playbookShowCmd struct {
	Provider string `arg:"" help:"Provider, such as aws."`
	Dir      string `help:"Directory with playbooks that replace or join the built-in ones." type:"path" placeholder:"DIR"`
}

// Run prints the file as it stands.
func (c *playbookShowCmd) Run(rt *runtime) error {
	set, err := loadPlaybooks(rt, c.Dir)
	if err != nil {
		return err
	}
	source := ""
	var known []string
	for _, pb := range set.All() {
		known = append(known, pb.Provider)
		if pb.Provider == c.Provider {
			source = pb.Source
		}
	}
	files, err := playbooks.Files(c.Dir)
	if err != nil {
		return fail(exitUsage, err)
	}
	for _, f := range files {
		if f.Name == source {
			_, err := rt.stdout.Write(f.Data)
			return err
		}
	}
	return fail(exitUsage, fmt.Errorf("no playbook for provider %q", c.Provider), "known: "+strings.Join(known, ", "))
}

type playbookLintCmd struct {
	Files  []string `arg:"" optional:"" help:"Files or directories to check; without any, the built-in playbooks and those of --dir." type:"path" placeholder:"FILE"`
	Dir    string   `help:"Directory with playbooks that replace or join the built-in ones." type:"path" placeholder:"DIR"`
	Format string   `help:"text or json." enum:"text,json" default:"text"`
}

// Run prints one line a problem, file:line:column first.
func (c *playbookLintCmd) Run(rt *runtime) error {
	problems, n, err := c.problems()
	if err != nil {
		return fail(exitUsage, err, "name playbook files or directories that hold some")
	}
	if c.Format == "json" {
		if problems == nil {
			problems = []playbooks.Problem{}
		}
		enc := json.NewEncoder(rt.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(problems)
		if err != nil {
			return err
		}
	} else {
		for _, p := range problems {
			fmt.Fprintln(rt.stdout, p)
			if p.Hint != "" {
				fmt.Fprintf(rt.stdout, "\t%s\n", p.Hint)
			}
		}
	}
	if len(problems) > 0 {
		return fail(exitUsage, fmt.Errorf("%d problem(s) in playbooks", len(problems)), "each line above begins with file:line:column")
	}
	if c.Format == "text" {
		fmt.Fprintf(rt.stderr, "%d playbook(s), no problems\n", n)
	}
	return nil
}

func (c *playbookLintCmd) problems() ([]playbooks.Problem, int, error) {
	if len(c.Files) == 0 {
		files, err := playbooks.Files(c.Dir)
		if err != nil {
			return nil, 0, err
		}
		_, err = playbooks.Load(c.Dir)
		var bad *playbooks.Error
		if errors.As(err, &bad) {
			return bad.Problems, len(files), nil
		}
		return nil, len(files), err
	}
	var files []playbooks.File
	var names []string
	for _, name := range c.Files {
		info, err := os.Stat(name)
		if err != nil || !info.IsDir() {
			names = append(names, name)
			continue
		}
		in, err := filepath.Glob(filepath.Join(name, "*.yaml"))
		if err != nil {
			return nil, 0, err
		}
		if len(in) == 0 {
			return nil, 0, fmt.Errorf("lint playbooks: no .yaml file in %s", name)
		}
		names = append(names, in...)
	}
	for _, name := range names {
		b, err := playbooks.ReadFile(name)
		if err != nil {
			return nil, 0, err
		}
		files = append(files, playbooks.File{Name: filepath.ToSlash(name), Data: b})
	}
	return playbooks.LintAll(files), len(files), nil
}

type playbookExplainCmd struct {
	Kind string `arg:"" help:"Provider, or provider/kind, such as aws/access_key."`
	Dir  string `help:"Directory with playbooks that replace or join the built-in ones." type:"path" placeholder:"DIR"`
}

// Run prints the explanation on standard output.
func (c *playbookExplainCmd) Run(rt *runtime) error {
	set, err := loadPlaybooks(rt, c.Dir)
	if err != nil {
		return err
	}
	provider, kind, one := strings.Cut(c.Kind, "/")
	found := false
	for _, pb := range set.All() {
		for _, cred := range pb.Credentials {
			if pb.Provider != provider || one && cred.Kind != kind {
				continue
			}
			if found {
				fmt.Fprintln(rt.stdout)
			}
			found = true
			err := playbooks.Explain(rt.stdout, cred)
			if err != nil {
				return err
			}
		}
	}
	if !found {
		return fail(exitUsage, fmt.Errorf("no playbook for %q", c.Kind), "run 'stanch playbook list' for what there is")
	}
	return nil
}

// loadPlaybooks loads the set, and prints every problem when it has any.
func loadPlaybooks(rt *runtime, dir string) (*playbooks.Set, error) {
	set, err := playbooks.Load(dir)
	var bad *playbooks.Error
	if errors.As(err, &bad) {
		for _, p := range bad.Problems {
			fmt.Fprintln(rt.stderr, p)
		}
		return nil, fail(exitUsage, fmt.Errorf("%d problem(s) in playbooks", len(bad.Problems)), "run 'stanch playbook lint' for what to do about each")
	}
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	return set, nil
}
