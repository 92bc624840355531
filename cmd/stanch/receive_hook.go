package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"stanch/scanner"
	"stanch/scanner/format"
	"stanch/scanner/gate"
)

type receiveCmd struct {
	Config     string        `placeholder:"FILE" help:"Add the rules and allowlists of a gitleaks TOML file, or of all *.toml in a directory on the server, with *.json that say what their secrets are."`
	Allow      string        `placeholder:"FILE" help:"Exceptions, one fingerprint a line, '#' starts a comment. Default: stanch/allow in the repository's Git directory."`
	Warn       []string      `placeholder:"CLASS" default:"example,placeholder,public-material" help:"Classes that are told and do not refuse: production-like, test-fixture, documentation, example, placeholder, public-material."`
	MaxObjects int           `default:"1000000" help:"Most new objects that are looked at."`
	MaxBytes   int64         `default:"2048" placeholder:"MIB" help:"Most bytes that are looked at."`
	MaxSize    int64         `default:"64" placeholder:"MIB" help:"Of larger files only the start is looked at."`
	Timeout    time.Duration `default:"2m" help:"Longest time for one push."`
	FailOpen   bool          `name:"fail-open" help:"Let a push pass that could not be looked at as a whole (a limit, an error of git). Default: refuse it."`
}

// Help is kong's longer description.
func (c *receiveCmd) Help() string {
	return "A pre-receive hook: reads \"OLD NEW REF\" lines on standard input, scans every object that the push would add and no ref of the repository reaches yet, " +
		"and refuses the push when it brings a credential. 'stanch hook install --pre-receive' writes the hook. Nothing in the push, and no push option, lets it pass: " +
		"exceptions are for administrators, in the file of --allow.\n\n" +
		"Exit codes: 0 accepted; 1 refused for findings; 2 usage, configuration or standard input; 3 refused because it could not be looked at as a whole."
}

// mostShown is how many findings a refused push is told.
const mostShown = 50

func (c *receiveCmd) Run(rt *runtime) error {
	err := c.check()
	if err != nil {
		return err
	}
	updates, err := gate.ParseUpdates(rt.stdin)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("read standard input: %w", err), "call it as a pre-receive hook, or write lines of \"OLD NEW REF\"; stanch hook install --pre-receive sets it up")
	}
	if len(updates) == 0 {
		return fail(exitUsage, errors.New("standard input names no ref"), "call it as a pre-receive hook, or write lines of \"OLD NEW REF\"; stanch hook install --pre-receive sets it up")
	}
	allowed, err := c.allowed()
	if err != nil {
		return err
	}
	extra, err := operatorRules("--config", c.Config)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(updates, func(u gate.Update) bool { return !u.Delete() }) {
		return nil // deletions bring nothing: no need for the rules
	}
	engine, err := scanner.New(scanner.Options{ExtraRules: extra, MaxBlobBytes: c.MaxSize << 20})
	if err != nil {
		return fail(exitUsage, err, "check the file given with --config: it must be a gitleaks configuration")
	}
	res, err := gate.Received(rt.ctx, updates, gate.Options{
		Engine: engine, Env: os.Environ(), Limits: gate.Limits{Objects: c.MaxObjects, Bytes: c.MaxBytes << 20, Timeout: c.Timeout},
	})
	if errors.Is(err, exec.ErrNotFound) {
		err = errors.New("git is not installed on the server")
	}
	return c.decide(rt.stderr, engine, res, err, allowed)
}

func (c *receiveCmd) check() error {
	if c.MaxObjects < 1 || c.MaxBytes < 1 || c.MaxBytes > 1<<20 || c.MaxSize < 1 || c.MaxSize > 4096 || c.Timeout <= 0 {
		return fail(exitUsage, errors.New("a limit is out of range"), "give --max-objects and --timeout above 0, --max-bytes from 1 to 1048576 MiB, --max-size from 1 to 4096 MiB")
	}
	for _, w := range c.Warn {
		if !slices.Contains(classes, scanner.Class(w)) {
			return fail(exitUsage, fmt.Errorf("--warn %s is no class", format.Inert(w)), "the classes are production-like, test-fixture, documentation, example, placeholder and public-material")
		}
	}
	return nil
}

var classes = []scanner.Class{
	scanner.ClassProduction, scanner.ClassFixture, scanner.ClassDocs, scanner.ClassExample, scanner.ClassPlaceholder, scanner.ClassPublic,
}

// allowed reads the administrator's exceptions. The default file may be missing.
func (c *receiveCmd) allowed() (map[string]bool, error) {
	name := c.Allow
	if name == "" {
		dir := os.Getenv("GIT_DIR")
		if dir == "" {
			dir = "."
		}
		name = filepath.Join(dir, "stanch", "allow")
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) && c.Allow == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read exceptions: %w", plain(err)), "name a file that exists with --allow, or make the one in the repository's Git directory readable")
	}
	defer func() { _ = f.Close() }()
	out := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line != "" && !strings.HasPrefix(line, "#") {
			out[line] = true
		}
	}
	err = lines.Err()
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read exceptions: %w", err), "the file has one fingerprint a line")
	}
	return out, nil
}

// decide tells the person who pushes what was found, and gives the exit code.
func (c *receiveCmd) decide(w io.Writer, engine *scanner.Engine, res gate.Result, failed error, allowed map[string]bool) error {
	var refused, warned []scanner.Finding
	for _, f := range engine.Scrub(res.Findings) {
		commitless := f
		commitless.Place.Commit = ""
		switch {
		case f.Suppressed != "", allowed[f.Fingerprint()], allowed[commitless.Fingerprint()]:
		case slices.Contains(c.Warn, string(f.Class)):
			warned = append(warned, f)
		default:
			refused = append(refused, f)
		}
	}
	if len(warned) > 0 {
		fmt.Fprintf(w, "stanch: %s that did not refuse the push:\n", count(len(warned), "finding"))
		tell(w, warned, false)
	}
	if len(refused) > 0 {
		fmt.Fprintf(w, "stanch: push refused: it brings %s\n\n", count(len(refused), "credential finding"))
		tell(w, refused, true)
		fmt.Fprint(w, "\nWhat to do:\n"+
			"  1. If this has been anywhere but on your machine, revoke or rotate it first.\n"+
			"  2. Take it out of the commit that is named, not only out of the newest one:\n"+
			"     git commit --amend for the last commit, git rebase -i for an older one.\n"+
			"  3. Push again.\n"+
			"A false alarm? An administrator of this server can add the line after\n"+
			"\"exception:\" to the file stanch/allow in the repository's Git directory there.\n")
		c.incomplete(w, res, failed)
		return fail(exitFindings, nil)
	}
	if !res.Partial && failed == nil {
		return nil
	}
	c.incomplete(w, res, failed)
	if c.FailOpen {
		fmt.Fprintln(w, "stanch: the push is let through (--fail-open)")
		return nil
	}
	fmt.Fprintln(w, "stanch: push refused: it could not be looked at as a whole. Push it in smaller parts, or ask an administrator of this server to raise the limits of stanch receive-hook.")
	return fail(exitPartial, nil)
}

func (c *receiveCmd) incomplete(w io.Writer, res gate.Result, failed error) {
	for _, why := range res.Reasons {
		fmt.Fprintf(w, "stanch: not all was looked at: %s\n", format.Inert(why))
	}
	if failed != nil {
		fmt.Fprintf(w, "stanch: not all was looked at: %s\n", format.Inert(failed.Error()))
	}
}

// tell lists findings for a person whose terminal shows them behind "remote:".
func tell(w io.Writer, found []scanner.Finding, exceptions bool) {
	for i, f := range found {
		if i == mostShown {
			fmt.Fprintf(w, "  and %d more\n", len(found)-mostShown)
			return
		}
		what := strings.TrimSpace(f.Provider + " " + f.Kind)
		if what == "" {
			what = "credential"
		}
		fmt.Fprintf(w, "  %s (rule %s, confidence %s, %s)\n", format.Inert(what), format.Inert(f.Rule), f.Confidence, f.Class)
		where := f.Place.Path
		switch {
		case f.Place.Object == "ref-name":
			where = "the name of " + f.Place.Ref
		case f.Place.Object != "" && f.Place.Object != "blob":
			where = strings.TrimSpace(f.Place.Object + " " + f.Place.Path)
		}
		where += fmt.Sprintf(" line %d", f.Place.Line)
		if f.Place.Commit != "" {
			where += ", commit " + f.Place.Commit[:min(12, len(f.Place.Commit))]
		}
		if f.Place.Author.Name != "" {
			where += " by " + f.Place.Author.Name
		}
		fmt.Fprintf(w, "    %s\n", format.Inert(where))
		if exceptions {
			fmt.Fprintf(w, "    exception: %s\n", format.Inert(f.Fingerprint()))
		}
	}
}
