package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"stanch/internal/filelock"
	"stanch/internal/githubapp"
	"stanch/internal/secret"
	"stanch/internal/version"
	"stanch/internal/watch"
	"stanch/scanner"
	"stanch/scanner/format"
)

type watchCmd struct {
	Org         string        `help:"Follow this organisation: its public events, and those of its members."`
	Users       []string      `placeholder:"LOGIN,..." help:"Follow these users."`
	BaseURL     string        `name:"base-url" default:"https://api.github.com" placeholder:"URL" help:"REST root: https://api.github.com, or https://HOST/api/v3 of an Enterprise Server."`
	WebURL      string        `name:"web-url" placeholder:"URL" help:"Where repositories are cloned from. Default: https://github.com, or the host of --base-url."`
	TokenEnv    string        `name:"token-env" default:"GITHUB_TOKEN" placeholder:"NAME" help:"Environment variable that holds a token. Without one GitHub answers 60 requests an hour."`
	TokenFile   string        `name:"token-file" placeholder:"FILE" help:"File that holds a token."`
	State       string        `placeholder:"FILE" help:"What was seen already. Default: stanch/watch.json in $XDG_STATE_HOME or ~/.local/state."`
	Once        bool          `help:"Ask once and end, for cron. Feeds that GitHub does not want to be asked yet are left out."`
	Since       time.Duration `default:"24h" help:"How far to look back where there is no state yet; GitHub lists 300 events of 30 days at most."`
	Config      string        `placeholder:"FILE" help:"Add the rules and allowlists of a gitleaks TOML file, or of all *.toml in a directory, with *.json that say what their secrets are."`
	Format      string        `enum:"table,jsonl" default:"table" help:"Output: table (for people) or jsonl (one object a finding)."`
	All         bool          `help:"Show findings that are hidden by default with the reason."`
	ShowSecrets bool          `help:"Show secrets instead of [redacted]."`
	Quiet       bool          `short:"q" help:"Show no notes."`
}

// Help is kong's longer description.
func (c *watchCmd) Help() string {
	return "Most leaks of a company's keys happen in repositories of private people. watch asks GitHub for their public events and gists, and scans what they push (and what a forced push removed, while GitHub still gives it), also to forks that these events tell of; " +
		"GitHub shows an event 30 seconds to 6 hours after it happened, and each finding says how late it was. It finds and tells; it revokes nothing: acting is for 'stanch serve' and 'stanch respond'.\n\n" +
		"Exit codes: 0 nothing found; 1 findings; 2 usage or configuration; 3 some of it could not be looked at, or more happened than GitHub lists; 4 GitHub or the network failed."
}

func (c *watchCmd) Run(rt *runtime) error {
	if c.Org == "" && len(c.Users) == 0 {
		return fail(exitUsage, errors.New("nobody to follow"), "name an organisation with --org or people with --users")
	}
	if c.Since < 0 {
		return fail(exitUsage, errors.New("--since is negative"), "give a time such as 24h")
	}
	token, err := c.token()
	if err != nil {
		return err
	}
	client, err := githubapp.TokenClient(githubapp.TokenOptions{APIURL: c.BaseURL, Token: token})
	if err != nil {
		return fail(exitUsage, err, "give --base-url as https://api.github.com or https://HOST/api/v3")
	}
	web, public := c.web()
	cloneToken := token
	if public {
		cloneToken = secret.Value{} // what is public needs none
	}
	extra, err := operatorRules("--config", c.Config)
	if err != nil {
		return err
	}
	engine, err := scanner.New(scanner.Options{ExtraRules: extra})
	if err != nil {
		return fail(exitUsage, err, "check the file given with --config: it must be a gitleaks configuration")
	}
	file, err := c.file()
	if err != nil {
		return err
	}
	err = os.MkdirAll(filepath.Dir(file), 0o700)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("make directory of the state: %w", plain(err)), "name another file with --state")
	}
	lock, err := filelock.Take(file + ".lock")
	if errors.Is(err, filelock.ErrHeld) {
		return fail(exitUsage, errors.New("another watch works with this state"), "let it work, or name another file with --state")
	}
	if err != nil {
		return fail(exitUsage, plain(err), "name another file with --state")
	}
	defer lock.Close() //nolint:errcheck // gives the lock back
	state, err := load(file)
	if err != nil {
		return err
	}
	if !c.Quiet {
		fmt.Fprintln(rt.stderr, "note: this is no live feed: GitHub shows an event 30 seconds to 6 hours after it happened")
	}
	var broken error
	res, err := watch.Run(rt.ctx, watch.Options{
		Client: client, WebURL: web, Token: cloneToken, Org: c.Org, Concealed: !token.IsZero(), Users: c.Users,
		Since: c.Since, Once: c.Once, Engine: engine, State: state,
		Seen: func(s watch.Seen) {
			if broken == nil {
				broken = c.show(rt, engine, s)
			}
		},
		Note: func(text string) {
			if !c.Quiet {
				fmt.Fprintf(rt.stderr, "note: %s\n", format.Inert(text))
			}
		},
		Save: func(s watch.State) error {
			if broken != nil {
				return fmt.Errorf("write findings: %w", plain(broken)) // what was not told is not seen
			}
			return save(file, s)
		},
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return watchFailure(err)
	}
	if !c.Quiet {
		fmt.Fprintf(rt.stderr, "%s in %s\n", count(res.Findings, "finding"), count(res.Events, "event"))
	}
	switch {
	case res.Partial:
		return fail(exitPartial, nil)
	case res.Findings > 0:
		return fail(exitFindings, nil)
	}
	return nil
}

func watchFailure(err error) error {
	var api *githubapp.APIError
	switch {
	case errors.Is(err, watch.ErrLogin):
		return fail(exitUsage, err, "give logins, separated by commas, as they stand in github.com/LOGIN")
	case !errors.As(err, &api):
		return fail(exitProvider, err)
	case api.Status == 401:
		return fail(exitUsage, err, "the token is refused: check the variable of --token-env or the file of --token-file")
	case api.Status == 404:
		return fail(exitUsage, err, "check the name given with --org")
	}
	return fail(exitProvider, err, "run it again later: what was seen is kept")
}

func (c *watchCmd) token() (secret.Value, error) {
	text := os.Getenv(c.TokenEnv)
	if c.TokenFile != "" {
		data, err := os.ReadFile(c.TokenFile)
		if err != nil {
			return secret.Value{}, fail(exitUsage, fmt.Errorf("read --token-file: %w", plain(err)), "name a file that holds a token alone")
		}
		text = string(data)
	}
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return secret.Value{}, fail(exitUsage, errors.New("the token has characters that no token has"), "give the token alone, on one line")
	}
	return secret.New(text), nil
}

// web is where repositories are cloned from, and whether that is github.com.
func (c *watchCmd) web() (string, bool) {
	base := strings.TrimRight(c.BaseURL, "/")
	switch {
	case c.WebURL != "":
		return c.WebURL, c.WebURL == "https://github.com"
	case base == "https://api.github.com":
		return "https://github.com", true
	}
	return strings.TrimSuffix(base, "/api/v3"), false
}

// file is where the state is kept.
func (c *watchCmd) file() (string, error) {
	if c.State != "" {
		return c.State, nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fail(exitUsage, errors.New("there is no home directory for the state"), "name a file with --state")
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "stanch", "watch.json"), nil
}

// load reads the state; a file that is not there is an empty one.
func load(file string) (*watch.State, error) {
	state := &watch.State{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return state, nil
	}
	if err == nil {
		err = json.Unmarshal(data, state)
	}
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read state %s: %w", format.Inert(file), plain(err)), "name another file with --state, or remove this one: what it remembers is looked at again then")
	}
	return state, nil
}

// save replaces the state in one step.
func save(file string, s watch.State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".watch-")
	if err != nil {
		return fmt.Errorf("save state: %w", plain(err))
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("save state: %w", plain(err))
	}
	return nil
}

// show prints the findings of one event, each with who, where and how late.
func (c *watchCmd) show(rt *runtime, engine *scanner.Engine, s watch.Seen) error {
	found := s.Findings
	credentials := engine.Join(found)
	scrub := scanner.NewScrubber(found)
	if !c.ShowSecrets {
		found = engine.Scrub(found)
		s.Ref = scrub.Clean(s.Ref)
	}
	var shown []scanner.Finding
	for _, f := range found {
		if f.Suppressed == "" || c.All {
			shown = append(shown, f)
		}
	}
	if len(s.Partial) > 0 && !c.Quiet {
		fmt.Fprintf(rt.stderr, "warning: partial: event %s of %s: %s\n", s.ID, s.Repository, format.Inert(strings.Join(s.Partial, "; ")))
	}
	if len(shown) == 0 {
		return nil
	}
	report := format.Report{Findings: shown, Credentials: credentials, ShowSecrets: c.ShowSecrets, Version: version.Version(), Reasons: s.Partial}
	late := s.Late().Round(time.Second)
	if c.Format == "table" {
		_, err := fmt.Fprintf(rt.stdout, "%s by %s in %s %s at %s, shown by GitHub %s later:\n", s.Type, format.Inert(s.Actor), format.Inert(s.Repository), format.Inert(s.Ref),
			s.CreatedAt.Format(time.RFC3339), late)
		if err != nil {
			return err
		}
		return format.Write(rt.stdout, "table", report)
	}
	var lines bytes.Buffer
	err := format.Write(&lines, "jsonl", report)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(rt.stdout)
	enc.SetEscapeHTML(false)
	for line := range bytes.Lines(lines.Bytes()) {
		err := enc.Encode(struct {
			Event   watch.Seen      `json:"event"`
			Late    float64         `json:"late_seconds"`
			Finding json.RawMessage `json:"finding"`
		}{s, late.Seconds(), json.RawMessage(bytes.TrimSpace(line))})
		if err != nil {
			return err
		}
	}
	return nil
}
