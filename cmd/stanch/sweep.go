package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"stanch/internal/orgscan"
	"stanch/internal/secret"
	"stanch/internal/service"
	"stanch/scanner"
	"stanch/scanner/gitwire"
)

type sweepCmd struct {
	configFlag
	Org        string        `xor:"target" help:"Organisation, or account on which the App is installed." placeholder:"NAME"`
	User       string        `xor:"target" help:"A user's repositories." placeholder:"NAME"`
	Enterprise string        `xor:"target" help:"All organisations of an enterprise." placeholder:"SLUG"`
	Repos      []string      `xor:"target" help:"Clone addresses or paths, of any Git host; @FILE is a file of them, one a line." placeholder:"URL,...|@FILE"`
	Repo       []string      `help:"Only these repositories (name or owner/name); repeatable." placeholder:"NAME"`
	Report     bool          `help:"Only report, though a GitHub App is configured: open no incidents."`
	Forks      bool          `help:"Forks as well."`
	Archived   bool          `default:"true" negatable:"" help:"Archived repositories as well."`
	Wikis      bool          `default:"true" negatable:"" help:"Wikis as well."`
	Gists      bool          `help:"Gists of the user, or of the organisation's members, as well."`
	BaseURL    string        `help:"API of a GitHub Enterprise Server: https://HOST/api/v3." default:"https://api.github.com" placeholder:"URL"`
	TokenEnv   string        `help:"Environment variable with a token for the API and for cloning." default:"GITHUB_TOKEN" placeholder:"NAME"`
	State      string        `help:"Directory in which sweeps remember what they saw; of this target alone. By default one in the data directory." placeholder:"DIR"`
	Workers    int           `help:"Repositories at the same time." default:"4"`
	Rules      string        `help:"Add the rules and allowlists of a gitleaks TOML file, or of all *.toml in a directory, with *.json that say what their secrets are." placeholder:"FILE"`
	Timeout    time.Duration `help:"Of one repository's fetch." default:"30m"`
	Format     string        `enum:"table,json" default:"table" help:"Output: table or json."`
	Output     string        `short:"o" help:"Write the summary to FILE, readable by its owner alone." placeholder:"FILE"`
	Wait       time.Duration `help:"How long to wait for incidents after the last repository." default:"2m"`
}

func (c *sweepCmd) Help() string {
	return "Scans the whole history of every repository. With --org and a configured GitHub App it opens incidents, which are handled as the policy says; else it reports what is new, gone and still there since the last sweep. " +
		"An interrupted sweep goes on where it stopped. Exit code 1 when credentials were found, 3 when some repositories could not be read."
}

func (c *sweepCmd) Run(rt *runtime) error {
	if c.Org == "" && c.User == "" && c.Enterprise == "" && len(c.Repos) == 0 {
		return fail(exitUsage, errors.New("nothing to sweep"), "give one of --org, --user, --enterprise and --repos")
	}
	if c.Workers < 1 || c.Workers > 64 {
		return fail(exitUsage, fmt.Errorf("--workers %d is not between 1 and 64", c.Workers), "each needs the memory of one scan; 4 is a good choice")
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if c.Org != "" && !c.Report && cfg.GitHub.AppID != 0 {
		return c.respond(rt)
	}
	return c.report(rt, cfg.DataDir)
}

// respond sweeps an installation of the App and opens incidents.
func (c *sweepCmd) respond(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // everything is stored
	if svc.App == nil {
		return fail(exitUsage, errors.New("no GitHub App is configured"), "set github.app_id and github.private_key in the configuration file")
	}
	found, failed := 0, 0
	err = svc.SweepAndRespond(rt.ctx, c.Org, c.Repo, c.Wait, func(p service.SweepProgress) {
		note := count(p.Scan.Findings, "finding")
		if p.Scan.Partial {
			note += ", partial"
		}
		if p.Err != nil {
			failed++
			note = "not read: " + p.Err.Error()
		}
		found += p.Scan.Findings
		fmt.Fprintf(rt.stderr, "[%d/%d] %s: %s (%.1fs)\n", p.Done, p.Of, service.Inert(p.Repository), service.Inert(note), p.Took.Seconds())
	})
	if err != nil {
		return err
	}
	switch {
	case failed > 0:
		return fail(exitPartial, fmt.Errorf("%s could not be read", repositories(failed)), "run the sweep again; what was found is kept")
	case found > 0:
		return fail(exitFindings, nil)
	}
	return nil
}

func repositories(n int) string {
	if n == 1 {
		return "1 repository"
	}
	return fmt.Sprintf("%d repositories", n)
}

// report sweeps with a token, or without one, and opens nothing.
func (c *sweepCmd) report(rt *runtime, dataDir string) error {
	engine, err := c.engine()
	if err != nil {
		return err
	}
	token := secret.New(os.Getenv(c.TokenEnv))
	repos, err := c.list(rt, orgscan.Host{API: c.BaseURL, Token: token})
	if err != nil {
		return err
	}
	state := c.State
	if state == "" {
		state = filepath.Join(dataDir, "sweeps", c.target())
	}
	api, _ := url.Parse(c.BaseURL)
	sum, err := orgscan.Sweep(rt.ctx, orgscan.Options{
		Engine: engine, StateDir: state, Workers: c.Workers, Limits: gitwire.Limits{Timeout: c.Timeout},
		Token: func(r orgscan.Repository) secret.Value {
			if !ourHost(r.URL, api) {
				return secret.Value{}
			}
			return token
		},
		Progress: func(p orgscan.Progress) { c.tell(rt, p) },
	}, repos)
	if err != nil && rt.ctx.Err() != nil {
		return fail(exitProvider, errors.New("interrupted"), "run the same command again: it goes on where it stopped")
	}
	if errors.Is(err, orgscan.ErrHeld) {
		return fail(exitUsage, err, "wait for it, or name another directory with --state")
	}
	if err != nil {
		return fail(exitUsage, err, "check the directory given with --state")
	}
	err = c.write(rt, sum)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("write the summary: %w", plain(err)))
	}
	for _, p := range append(slices.Clone(sum.Failed), sum.Partial...) {
		fmt.Fprintf(rt.stderr, "warning: partial: %s: %s\n", service.Inert(p.Repository), service.Inert(p.Why))
	}
	switch {
	case len(sum.Failed) > 0:
		return fail(exitPartial, fmt.Errorf("%s could not be read", repositories(len(sum.Failed))), "run the sweep again; what was found is kept")
	case len(sum.Partial) > 0:
		return fail(exitPartial, nil)
	case sum.New+sum.Still > 0:
		return fail(exitFindings, nil)
	}
	return nil
}

func (c *sweepCmd) engine() (*scanner.Engine, error) {
	rules, err := operatorRules("--rules", c.Rules)
	if err != nil {
		return nil, err
	}
	engine, err := scanner.New(scanner.Options{ExtraRules: rules})
	if err != nil {
		return nil, fail(exitUsage, err, "check the file given with --rules")
	}
	return engine, nil
}

// target names the directory of a target's state.
func (c *sweepCmd) target() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{c.BaseURL, c.Org, c.User, c.Enterprise}, c.Repos...), "\x00")))
	name := c.Org + c.User + c.Enterprise
	if name == "" {
		name = "list"
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, name) + "-" + hex.EncodeToString(sum[:4])
}

// ourHost reports whether an address is on the GitHub that the token is for: no
// other host is shown it.
func ourHost(address string, api *url.URL) bool {
	u, err := url.Parse(address)
	if err != nil || api == nil || u.Scheme != api.Scheme {
		return false
	}
	return u.Host == api.Host || u.Host == strings.TrimPrefix(api.Host, "api.") || api.Host == "api.github.com" && u.Host == "gist.github.com"
}

func (c *sweepCmd) list(rt *runtime, host orgscan.Host) ([]orgscan.Repository, error) {
	if len(c.Repos) > 0 {
		return c.addresses()
	}
	repos, err := host.List(rt.ctx, orgscan.Target{
		Org: c.Org, User: c.User, Enterprise: c.Enterprise, Forks: c.Forks, Archived: c.Archived, Wikis: c.Wikis, Gists: c.Gists,
	})
	if err != nil {
		return nil, fail(exitProvider, err, "check the name (--org for an organisation, --user for a user), --base-url, and the token in "+c.TokenEnv+" (it needs to read repositories)")
	}
	if len(c.Repo) > 0 {
		repos = slices.DeleteFunc(repos, func(r orgscan.Repository) bool {
			_, short, _ := strings.Cut(r.Name, "/")
			return !slices.Contains(c.Repo, r.Name) && !slices.Contains(c.Repo, short)
		})
	}
	if len(repos) == 0 && len(c.Repo) > 0 {
		return nil, fail(exitUsage, errors.New("no repository has that name"), "give --repo a name as GitHub shows it; forks need --forks")
	}
	return repos, nil
}

// addresses are those given with --repos.
func (c *sweepCmd) addresses() ([]orgscan.Repository, error) {
	var all []string
	for _, a := range c.Repos {
		file, ok := strings.CutPrefix(a, "@")
		if !ok {
			all = append(all, a)
			continue
		}
		f, err := os.Open(file)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("read --repos: %w", plain(err)), "name a file of addresses that exists")
		}
		in := bufio.NewScanner(f)
		for in.Scan() {
			line := strings.TrimSpace(in.Text())
			if line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
		err = errors.Join(in.Err(), f.Close())
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("read --repos: %w", err))
		}
	}
	var out []orgscan.Repository
	seen := map[string]bool{}
	for _, a := range all {
		u, err := url.Parse(a)
		if err == nil && u.User != nil {
			return nil, fail(exitUsage, errors.New("an address of --repos holds a user or a token"), "put the token into an environment variable and name it with --token-env")
		}
		if !seen[a] {
			seen[a] = true
			out = append(out, orgscan.Repository{Name: a, Kind: orgscan.KindCode, URL: a})
		}
	}
	return out, nil
}

func (c *sweepCmd) tell(rt *runtime, p orgscan.Progress) {
	note := fmt.Sprintf("%d new", p.New)
	switch {
	case p.Err != nil:
		note = "not read: " + p.Err.Error()
	case p.Unchanged:
		note = "unchanged"
	case p.Partial:
		note += ", partial"
	}
	fmt.Fprintf(rt.stderr, "[%d/%d] %s: %s (%.1fs)\n", p.Done, p.Of, service.Inert(p.Repository.Name), service.Inert(note), p.Took.Seconds())
}

// mostFresh is how many findings the table shows.
const mostFresh = 200

func (c *sweepCmd) write(rt *runtime, sum orgscan.Summary) error {
	out := c.Output
	if out == "" {
		out = "-"
	}
	w, err := openReport(rt.stdout, out)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return errors.Join(e.Encode(sum), w.Close())
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s: %d scanned, %d unchanged, %d not read, %d partial\n", repositories(sum.Repositories), sum.Scanned, sum.Unchanged, len(sum.Failed), len(sum.Partial))
	table := func(name string, rows []orgscan.Row) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(t, "\n%s\tNEW\tSTILL THERE\tGONE\n", name)
		for _, r := range rows {
			fmt.Fprintf(t, "%s\t%d\t%d\t%d\n", service.Inert(r.Name), r.New, r.Still, r.Gone)
		}
	}
	table("PROVIDER", sum.ByProvider)
	table("REPOSITORY", sum.ByRepository)
	fmt.Fprintf(t, "\nALL\tNEW\tSTILL THERE\tGONE\n%s\t%d\t%d\t%d\n", count(sum.Secrets, "secret"), sum.New, sum.Still, sum.Gone)
	c.fresh(t, sum)
	return errors.Join(t.Flush(), w.Close())
}

// fresh tells of the new findings: once of what repositories share.
func (c *sweepCmd) fresh(w io.Writer, sum orgscan.Summary) {
	type place struct {
		secret, commit, path string
		line                 int
	}
	also := map[place]int{}
	var shown []orgscan.Finding
	for _, f := range sum.Findings {
		if f.Since != sum.Sweep {
			continue
		}
		at := place{f.Secret, f.Commit, f.Path, f.Line}
		if also[at] == 0 {
			shown = append(shown, f)
		}
		also[at]++
	}
	for i, f := range shown {
		if i == 0 {
			fmt.Fprint(w, "\nNEW FINDING\tREPOSITORY\tWHERE\tCOMMIT\tCLASS\n")
		}
		if i == mostFresh {
			fmt.Fprintf(w, "and %d more: see --format json\n", len(shown)-mostFresh)
			return
		}
		what := strings.TrimSpace(f.Provider + " " + f.Kind)
		if what == "" {
			what = f.Rule
		}
		where := f.Path
		if where == "" {
			where = f.Object
		}
		repository := f.Repository
		if n := also[place{f.Secret, f.Commit, f.Path, f.Line}] - 1; n > 0 {
			repository += fmt.Sprintf(" and %d more", n)
		}
		fmt.Fprintf(w, "%s\t%s\t%s:%d\t%s\t%s\n", service.Inert(what), service.Inert(repository), service.Inert(where), f.Line, f.Commit[:min(10, len(f.Commit))], f.Class)
	}
}
