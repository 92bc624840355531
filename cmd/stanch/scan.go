package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"stanch/internal/version"
	"stanch/scanner"
	"stanch/scanner/format"
	"stanch/scanner/history"
)

type scanCmd struct {
	Paths         []string `arg:"" optional:"" name:"path" help:"Files, directories, Git repositories or their https:// addresses; '-' is standard input. A repository is scanned with its whole history and its uncommitted files. Default: the working directory."`
	Format        string   `enum:"table,json,jsonl,sarif,gitleaks" default:"table" help:"Output: table (for people), json, jsonl (one object a finding), sarif, gitleaks (gitleaks' JSON report)."`
	Output        string   `short:"o" placeholder:"FILE" help:"Write the findings to FILE, readable by its owner alone."`
	History       bool     `xor:"history" help:"Scan the history of the Git repository that holds PATH."`
	NoHistory     bool     `name:"no-history" xor:"history" help:"Scan a Git repository as a plain directory."`
	Staged        bool     `xor:"history" help:"Scan what 'git commit' would add: the staged changes of the repository that holds PATH."`
	Since         string   `placeholder:"COMMIT|DATE" help:"Leave out the history of this commit, or what is older than this date (2026-01-31, '2 weeks ago')."`
	State         string   `placeholder:"FILE" help:"Remember in FILE what was scanned, and scan only what is new since then. A scan that is interrupted leaves FILE.resume, and the next one goes on."`
	Baseline      string   `placeholder:"FILE" help:"Hide what an earlier report (json, jsonl or gitleaks) holds already."`
	Verify        bool     `help:"Ask the providers whether the credentials are live, as the playbooks say. Exit code 4 when a provider does not answer."`
	ServiceConfig string   `env:"STANCH_CONFIG" placeholder:"FILE" help:"The service's configuration, for --verify: addresses of providers, enrolled accounts, guards."`
	Config        string   `placeholder:"FILE" help:"Add the rules and allowlists of a gitleaks TOML file, or of all *.toml in a directory, with *.json that say what their secrets are. Files inside what is scanned are never read for configuration."`
	Rules         string   `enum:"all,gitleaks" default:"all" help:"Which rules: all, or gitleaks (its default rules and those of --config alone, without ours and without the parsing of known file forms)."`
	TokenEnv      string   `help:"Environment variable with a token for the repositories given by address; it is sent to their hosts." placeholder:"NAME"`
	ShowSecrets   bool     `help:"Show secrets instead of [redacted]."`
	All           bool     `help:"Show findings that are hidden by default (placeholders, keys from documentation) with the reason."`
	ExitZero      bool     `help:"Exit with 0 although there are findings."`
	HonourAllow   bool     `name:"honour-allow" help:"Honour gitleaks:allow comments in what is scanned."`
	MaxSize       int64    `default:"64" placeholder:"MIB" help:"Leave out files and blobs over this size; the result is then partial."`
	NoProgress    bool     `help:"Show no progress."`
	Quiet         bool     `short:"q" help:"Show neither progress nor summary."`
}

// Help is kong's longer description.
func (c *scanCmd) Help() string {
	return "Exit codes: 0 nothing found; 1 findings; 2 usage or configuration; 3 some of it could not be looked at (whether or not there are findings); 4 a provider did not answer (--verify)."
}

// mostFindings bounds memory on input that is made to match everywhere.
const mostFindings = 200_000

// scanRun is one run of the command.
type scanRun struct {
	cmd     *scanCmd
	rt      *runtime
	engine  *scanner.Engine
	found   []scanner.Finding
	dropped int
	reasons []string
	commits int
	blobs   int
	bytes   int64
	start   time.Time
	shown   bool // a progress line stands on the terminal

	baseline map[string]bool // fingerprints
	state    *scanState      // nil without --state
	verdicts []format.Verdict
	unasked  int // credentials of which no provider gave a usable answer
	sources  *columns
	shared   *history.Shared // what repositories have in common; nil for one alone without --state
}

func (c *scanCmd) Run(rt *runtime) error {
	defer boundMemory()()
	paths := c.Paths
	if len(paths) == 0 {
		paths = []string{"."}
	}
	if c.MaxSize < 1 || c.MaxSize > 4096 {
		return fail(exitUsage, fmt.Errorf("--max-size %d is out of range", c.MaxSize), "give a size from 1 to 4096 MiB")
	}
	extra, err := operatorRules("--config", c.Config)
	if err != nil {
		return err
	}
	for _, p := range paths {
		if p == "-" {
			continue
		}
		if p == "" {
			return fail(exitUsage, errors.New("a PATH is empty"), "name a file, a directory, a Git repository or - for standard input; check the variable that it came from")
		}
		if isRemote(p) {
			err := c.remoteURL(p)
			if err != nil {
				return err
			}
			continue
		}
		_, err := os.Stat(p)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("scan %s: %w", format.Inert(p), plain(err)), "name a file, a directory, a Git repository or - for standard input")
		}
	}
	engine, err := scanner.New(scanner.Options{ExtraRules: extra, MaxBlobBytes: c.MaxSize << 20, HonourAllow: c.HonourAllow, GitleaksOnly: c.Rules == "gitleaks"})
	if err != nil {
		return fail(exitUsage, err, "check the file given with --config: it must be a gitleaks configuration")
	}
	r := &scanRun{cmd: c, rt: rt, engine: engine, start: time.Now(), sources: newColumns(rt.ctx)}
	defer r.sources.close()
	err = r.before()
	if err != nil {
		return err
	}
	r.share(len(paths))
	if c.Staged {
		return r.staged(paths)
	}
	paths = distinct(paths)
	for _, p := range paths {
		err := r.path(p)
		if err != nil {
			r.clear()
			return err
		}
	}
	r.clear()
	return r.finish()
}

// distinct leaves out what names a file or directory for the second time.
func distinct(paths []string) []string {
	var out []string
	seen := map[string]bool{}
	for _, p := range paths {
		name := p
		real, err := filepath.EvalSymlinks(p)
		if err == nil && p != "-" {
			name, err = filepath.Abs(real)
			if err != nil {
				name = p
			}
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, p)
		}
	}
	return out
}

// before reads what the flags name.
func (r *scanRun) before() error {
	c := r.cmd
	if c.Baseline != "" {
		f, err := os.Open(c.Baseline)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("read --baseline: %w", plain(err)), "name an earlier report that exists")
		}
		defer func() { _ = f.Close() }()
		r.baseline, err = format.ReadBaseline(f)
		if err != nil {
			return fail(exitUsage, err, "name a report that was written with --format json, jsonl or gitleaks")
		}
	}
	if c.State != "" {
		var err error
		r.state, err = readState(c.State)
		if err != nil {
			return fail(exitUsage, err, "name a file that an earlier scan wrote, or one that does not exist yet")
		}
	}
	return nil
}

// path scans one argument. Only an error of usage comes back; what could not
// be read is in reasons.
func (r *scanRun) path(p string) error {
	if p == "-" {
		res, err := history.Stream(r.rt.ctx, interruptible{r.rt.ctx, r.rt.stdin}, "", r.tree(nil), r.emit)
		r.add("standard input", res, err)
		return nil
	}
	if isRemote(p) {
		return r.remote(p)
	}
	info, err := os.Stat(p)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("scan %s: %w", format.Inert(p), plain(err)))
	}
	if !r.cmd.NoHistory {
		root, gitDir, ok := repository(p, info.IsDir(), r.cmd.History)
		if ok {
			return r.repository(p, root, gitDir)
		}
		if r.cmd.History {
			return fail(exitUsage, fmt.Errorf("scan %s: no Git repository holds it", format.Inert(p)), "leave out --history to scan plain files")
		}
	}
	if !info.IsDir() {
		name := filepath.ToSlash(filepath.Clean(p))
		o := r.tree(nil)
		// What directory a file lies in by accident says nothing about it.
		inside := name
		if filepath.IsAbs(p) || strings.HasPrefix(name, "../") {
			inside = filepath.Base(p)
		}
		res, err := scanOne(r.rt.ctx, p, inside, o, func(f scanner.Finding) {
			f.Place.Path = name
			r.emit(f)
		})
		r.add(p, res, err)
		return nil
	}
	o := r.tree(func(rel string) string { return filepath.ToSlash(filepath.Join(p, rel)) })
	res, err := history.Tree(r.rt.ctx, p, o, r.emit)
	r.add(p, res, err)
	return nil
}

func scanOne(ctx context.Context, path, inside string, o history.TreeOptions, emit func(scanner.Finding)) (history.Result, error) {
	f, err := openFile(ctx, path)
	if err != nil {
		return history.Result{}, err
	}
	defer func() { _ = f.Close() }()
	return history.Stream(ctx, f, inside, o, emit)
}

// repository finds the Git directory of p, and of a directory above it when
// upwards; root is its work tree, or "" for a bare one.
func repository(p string, isDir, upwards bool) (root, gitDir string, ok bool) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", "", false
	}
	if !isDir {
		if !upwards {
			return "", "", false
		}
		abs = filepath.Dir(abs)
	}
	for {
		gitDir, ok := history.GitDir(abs)
		if ok && gitDir == abs {
			return "", gitDir, true
		}
		if ok {
			return abs, gitDir, true
		}
		up := filepath.Dir(abs)
		if !upwards || up == abs {
			return "", "", false
		}
		abs = up
	}
}

// repository scans the whole history, and the files of the work tree that
// history does not hold.
func (r *scanRun) repository(p, root, gitDir string) error {
	known := map[[3]string]bool{}
	since, tips, err := r.since(gitDir)
	if err != nil {
		return err
	}
	r.sources.repository(gitDir)
	res, err := history.Scan(r.rt.ctx, gitDir, history.Options{
		Engine: r.engine, Messages: r.cmd.Format == "gitleaks", Progress: r.progress(), Since: since, Shared: r.shared,
	}, func(f scanner.Finding) {
		known[[3]string{f.Place.Path, f.Rule, f.Secret.Reveal()}] = true
		r.emit(f)
	})
	if errors.Is(err, exec.ErrNotFound) {
		return fail(exitUsage, errors.New("scan history: git is not installed"), "install git, or scan plain files with --no-history")
	}
	r.add(p, res, err)
	if err == nil && !res.Partial {
		r.state.remember(gitDir, tips)
	}
	if root == "" || r.rt.ctx.Err() != nil {
		return nil
	}
	o := r.tree(nil)
	o.Known = res.Scanned
	tree, err := history.WorkTree(r.rt.ctx, root, gitDir, o, func(f scanner.Finding) {
		if !known[[3]string{f.Place.Path, f.Rule, f.Secret.Reveal()}] {
			r.emit(f)
		}
	})
	r.add(p, tree, err)
	return nil
}

func (r *scanRun) tree(show func(string) string) history.TreeOptions {
	return history.TreeOptions{Engine: r.engine, Show: show}
}

func (r *scanRun) emit(f scanner.Finding) {
	if len(r.found) >= mostFindings {
		r.dropped++
		return
	}
	r.found = append(r.found, f)
}

// add sums up the result of one argument.
func (r *scanRun) add(what string, res history.Result, err error) {
	r.commits += res.Commits
	r.blobs += res.Blobs
	r.bytes += res.Bytes
	for _, why := range res.Reasons {
		r.reasons = append(r.reasons, format.Inert(what+": "+why))
	}
	if err != nil && len(res.Reasons) == 0 {
		r.reasons = append(r.reasons, format.Inert(what+": "+plain(err).Error()))
	}
}

// finish scrubs, joins, writes, and decides the exit code.
func (r *scanRun) finish() error {
	if r.dropped > 0 {
		r.reasons = append(r.reasons, fmt.Sprintf("%d findings beyond the first %d were left out", r.dropped, mostFindings))
	}
	found := r.found
	for i := range found {
		if found[i].Suppressed == "" && r.baseline[found[i].Fingerprint()] {
			found[i].Suppressed = "known from the baseline"
		}
	}
	credentials := r.engine.Join(found)
	if r.cmd.Verify {
		err := r.verify(credentials)
		if err != nil {
			return err
		}
	}
	if !r.cmd.ShowSecrets {
		found = r.engine.Scrub(found)
	}
	shown := make([]scanner.Finding, 0, len(found))
	open, hidden := 0, 0
	for _, f := range found {
		switch {
		case f.Suppressed == "":
			open++
		case !r.cmd.All:
			hidden++
			continue
		}
		shown = append(shown, f)
	}
	report := format.Report{
		Findings: shown, Credentials: credentials, ShowSecrets: r.cmd.ShowSecrets,
		Version: version.Version(), Reasons: r.reasons, Verdicts: r.verdicts,
		Colour: r.rt.stdoutTTY && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
	}
	if r.cmd.Format == "sarif" {
		report.UTF16 = r.sources.utf16
	}
	err := r.write(report)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("write findings: %w", plain(err)), "check the file given with -o, that its disk is not full, and that the reader of the output still runs")
	}
	if r.state != nil {
		err := r.keepState()
		if err != nil {
			return fail(exitUsage, fmt.Errorf("write --state: %w", plain(err)), "name a file in a directory that can be written to")
		}
	}
	if !r.cmd.Quiet {
		r.summary(open, hidden, len(credentials))
	}
	for _, why := range r.reasons {
		fmt.Fprintf(r.rt.stderr, "warning: partial: %s\n", why)
	}
	switch {
	case len(r.reasons) > 0:
		return fail(exitPartial, nil)
	case r.unasked > 0:
		return fail(exitProvider, fmt.Errorf("no usable answer about %s", count(r.unasked, "credential")), "the output has the reasons; run it again with --verify")
	case open > 0 && !r.cmd.ExitZero:
		return fail(exitFindings, nil)
	}
	return nil
}

func (r *scanRun) write(report format.Report) error {
	if r.cmd.Output == "" || r.cmd.Output == "-" {
		return format.Write(r.rt.stdout, r.cmd.Format, report)
	}
	f, err := openReport(r.rt.stdout, r.cmd.Output)
	if err != nil {
		return err
	}
	err = format.Write(f, r.cmd.Format, report)
	return errors.Join(err, f.Close())
}

func (r *scanRun) summary(open, hidden, credentials int) {
	w := r.rt.stderr
	if open == 0 {
		fmt.Fprint(w, "no findings")
	} else {
		fmt.Fprintf(w, "%s of %s", count(open, "finding"), count(credentials, "credential"))
	}
	fmt.Fprint(w, " in ")
	if r.commits > 0 {
		fmt.Fprintf(w, "%s, ", count(r.commits, "commit"))
	}
	fmt.Fprintf(w, "%s, %s, %s", count(r.blobs, "file"), size(r.bytes), time.Since(r.start).Round(10*time.Millisecond))
	if hidden > 0 {
		what := "placeholder"
		if r.baseline != nil {
			what = "finding"
		}
		fmt.Fprintf(w, "; %s hidden (--all shows them with the reason)", count(hidden, what))
	}
	fmt.Fprintln(w)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d KB", n/1000)
	}
	return fmt.Sprintf("%d MB", n/1_000_000)
}

// progress writes one line that overwrites itself, on a terminal only.
func (r *scanRun) progress() func(history.Progress) {
	if r.cmd.NoProgress || r.cmd.Quiet || !r.rt.stderrTTY {
		return nil
	}
	return func(p history.Progress) {
		r.shown = true
		rate := float64(p.Bytes) / 1e6 / max(p.Elapsed.Seconds(), 0.001)
		fmt.Fprintf(r.rt.stderr, "\r\x1b[K%s %d of %d commits, %d blobs, %.1f MB/s%s", bar(p.Commits, p.Total), p.Commits, p.Total, p.Blobs, rate, left(p))
	}
}

// bar shows n of total in 20 characters.
func bar(n, total int) string {
	full := 0
	if total > 0 {
		full = min(20, 20*n/total)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", 20-full) + "]"
}

// left is how long a scan goes on, once that can be told.
func left(p history.Progress) string {
	if p.Commits < p.Total/50 || p.Commits == 0 || p.Elapsed < 2*time.Second || p.Commits >= p.Total {
		return ""
	}
	rest := time.Duration(float64(p.Elapsed) * float64(p.Total-p.Commits) / float64(p.Commits))
	return fmt.Sprintf(", %s left", rest.Round(time.Second))
}

func (r *scanRun) clear() {
	if r.shown {
		fmt.Fprint(r.rt.stderr, "\r\x1b[K")
		r.shown = false
	}
}

// plain leaves the path out of a file error: it may hold a secret, and is told
// in its escaped form already.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
