package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/report"

	"stanch/scanner/format"
	"stanch/scanner/match"
	"stanch/scanner/patch"
)

// The verbs and flags of gitleaks, for those who know it: the same findings and
// reports. What differs is said in docs/commands.md: nothing that stands in what
// is scanned is honoured unless --compat asks for it.

type gitCmd struct {
	Path      string `arg:"" optional:"" default:"." help:"Git repository."`
	LogOpts   string `help:"Options for git log, instead of --full-history --all --diff-filter=tuxdb." placeholder:"OPTIONS"`
	Staged    bool   `help:"Scan what is staged."`
	PreCommit bool   `help:"Scan what is changed and not staged."`
	Platform  string `help:"Form of the links in findings: github, gitlab, gitea, bitbucket, azuredevops, none; by default told by the host." placeholder:"NAME"`
	likeGitleaks
}

type dirCmd struct {
	Path           string `arg:"" optional:"" default:"." help:"File or directory."`
	FollowSymlinks bool   `help:"Scan files that symbolic links point to."`
	likeGitleaks
}

type stdinCmd struct {
	likeGitleaks
}

// detectCmd and protectCmd are gitleaks' older verbs.
type detectCmd struct {
	Source         string `short:"s" default:"." help:"Repository or directory." placeholder:"PATH"`
	NoGit          bool   `help:"Scan files instead of history."`
	Pipe           bool   `help:"Scan standard input."`
	LogOpts        string `help:"Options for git log." placeholder:"OPTIONS"`
	FollowSymlinks bool   `help:"Scan files that symbolic links point to."`
	Platform       string `help:"Form of the links in findings." placeholder:"NAME"`
	likeGitleaks
}

type protectCmd struct {
	Source  string `short:"s" default:"." help:"Repository." placeholder:"PATH"`
	Staged  bool   `help:"Scan what is staged."`
	LogOpts string `hidden:""`
	likeGitleaks
}

// likeGitleaks are the flags of all verbs.
type likeGitleaks struct {
	Compat              bool       `help:"Honour what stands in the scanned tree, as gitleaks does by default: gitleaks:allow comments, .gitleaksignore and .gitleaks.toml."`
	Config              string     `short:"c" help:"gitleaks TOML file; else the environment's GITLEAKS_CONFIG (a file) or GITLEAKS_CONFIG_TOML (its content), else gitleaks' default rules." placeholder:"FILE"`
	ReportPath          string     `short:"r" help:"Where the report goes; - is standard output." placeholder:"FILE"`
	ReportFormat        string     `short:"f" help:"Form of the report: json, csv, junit, sarif, template; by default told by the file's name." placeholder:"FORM"`
	ReportTemplate      string     `help:"Go template for --report-format=template." placeholder:"FILE"`
	BaselinePath        string     `short:"b" help:"JSON report of what is known already and left out." placeholder:"FILE"`
	GitleaksIgnorePath  string     `short:"i" help:"File of fingerprints that are left out, or a directory with a .gitleaksignore." placeholder:"PATH"`
	Redact              redactFlag `help:"Blank out secrets, or the given percentage of each." placeholder:"PERCENT"`
	ExitCode            int        `default:"1" help:"Exit code when there are findings." placeholder:"N"`
	EnableRule          []string   `help:"Only these rules." placeholder:"ID,..."`
	MaxTargetMegabytes  int        `help:"Leave out files and texts over this size." placeholder:"N"`
	MaxDecodeDepth      int        `default:"5" help:"Passes of decoding." placeholder:"N"`
	MaxArchiveDepth     int        `help:"How many archives within each other are opened." placeholder:"N"`
	IgnoreGitleaksAllow bool       `help:"Do not honour gitleaks:allow comments; that is so unless --compat is given."`
	Timeout             int        `help:"Stop after so many seconds." placeholder:"SECONDS"`
	LogLevel            string     `short:"l" default:"info" help:"trace, debug, info, warn, error or fatal." placeholder:"LEVEL"`
	Verbose             bool       `short:"v" help:"Show findings on standard output."`
	NoColor             bool       `help:"No colours; there are none."`
	NoBanner            bool       `help:"No banner; there is none."`
}

// redactFlag is --redact or --redact=N.
type redactFlag uint

// Decode implements kong's MapperValue.
func (r *redactFlag) Decode(ctx *kong.DecodeContext) error {
	*r = 100
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	t := ctx.Scan.Pop()
	n, err := strconv.ParseUint(fmt.Sprint(t.Value), 10, 32)
	if err != nil || n > 100 {
		return fmt.Errorf("%v is no percentage from 0 to 100", reflect.ValueOf(t.Value))
	}
	*r = redactFlag(n)
	return nil
}

// IsBool makes the value optional.
func (r *redactFlag) IsBool() bool { return true }

// compatRun is one run of a gitleaks verb.
type compatRun struct {
	*likeGitleaks
	rt      *runtime
	ctx     context.Context
	stop    context.CancelFunc // nil without a time limit
	cfg     config.Config
	scanner *patch.Scanner
	write   report.Reporter // nil without a report
	start   time.Time
}

func (c *gitCmd) Run(rt *runtime) error {
	defer boundMemory()()
	r, err := c.begin(rt, c.Path)
	if err != nil {
		return err
	}
	return r.git(c.Path, c.LogOpts, c.Platform, c.Staged, c.PreCommit)
}

func (c *dirCmd) Run(rt *runtime) error {
	defer boundMemory()()
	r, err := c.begin(rt, c.Path)
	if err != nil {
		return err
	}
	return r.files(c.Path, c.FollowSymlinks)
}

func (c *stdinCmd) Run(rt *runtime) error {
	r, err := c.begin(rt, "")
	if err != nil {
		return err
	}
	return r.finish("input", 0, r.scanner.Reader(r.ctx, interruptible{r.ctx, rt.stdin}))
}

func (c *detectCmd) Run(rt *runtime) error {
	switch {
	case c.Pipe:
		return (&stdinCmd{c.likeGitleaks}).Run(rt)
	case c.NoGit:
		return (&dirCmd{Path: c.Source, FollowSymlinks: c.FollowSymlinks, likeGitleaks: c.likeGitleaks}).Run(rt)
	}
	return (&gitCmd{Path: c.Source, LogOpts: c.LogOpts, Platform: c.Platform, likeGitleaks: c.likeGitleaks}).Run(rt)
}

func (c *protectCmd) Run(rt *runtime) error {
	return (&gitCmd{Path: c.Source, Staged: c.Staged, PreCommit: !c.Staged, likeGitleaks: c.likeGitleaks}).Run(rt)
}

func (r *compatRun) git(path, logOpts, platform string, staged, changes bool) error {
	h := patch.History{Path: path, Staged: staged, Changes: changes && !staged}
	if logOpts != "" {
		h.Options = strings.Split(logOpts, " ")
	}
	var err error
	if staged || changes {
		platform = "none"
	}
	h.Remote, err = patch.Remote(r.ctx, path, platform)
	if err != nil {
		return fail(exitUsage, err, "github, gitlab, gitea, bitbucket, azuredevops or none")
	}
	commits, err := r.scanner.Git(r.ctx, h)
	return r.finish("history", commits, err)
}

func (r *compatRun) files(path string, follow bool) error {
	r.scanner.FollowSymlinks = follow
	return r.finish("directory", 0, r.scanner.Files(r.ctx, path))
}

// begin reads what the flags name. source is what is scanned, "" for standard
// input.
func (c *likeGitleaks) begin(rt *runtime, source string) (*compatRun, error) {
	r := &compatRun{likeGitleaks: c, rt: rt, ctx: rt.ctx, start: time.Now()}
	if source != "" {
		_, err := os.Stat(source)
		if err != nil {
			return nil, fail(exitUsage, fmt.Errorf("scan %s: %w", format.Inert(source), plain(err)), "name a repository or directory that exists")
		}
	}
	if !slices.Contains([]string{"trace", "debug", "info", "warn", "err", "error", "fatal"}, strings.ToLower(c.LogLevel)) {
		return nil, fail(exitUsage, fmt.Errorf("--log-level %s is not known", format.Inert(c.LogLevel)), "trace, debug, info, warn, error or fatal")
	}
	err := r.rules(source)
	if err != nil {
		return nil, err
	}
	err = r.reporter()
	if err != nil {
		return nil, err
	}
	if c.Timeout > 0 {
		r.ctx, r.stop = context.WithTimeout(rt.ctx, time.Duration(c.Timeout)*time.Second)
	}
	depth := c.MaxDecodeDepth
	if depth == 0 {
		depth = -1
	}
	r.scanner = &patch.Scanner{
		Matcher: match.New(r.cfg, match.Options{DecodeDepth: depth, HonourAllow: c.Compat && !c.IgnoreGitleaksAllow}),
		Config:  &r.cfg, MaxMegabytes: c.MaxTargetMegabytes, ArchiveDepth: c.MaxArchiveDepth, Redact: uint(c.Redact),
	}
	return r, r.known(source)
}

// rules loads the configuration, in gitleaks' order of precedence.
func (r *compatRun) rules(source string) error {
	path, where := r.Config, "--config"
	if path == "" {
		path, where = os.Getenv("GITLEAKS_CONFIG"), "GITLEAKS_CONFIG"
	}
	var data []byte
	var err error
	switch {
	case path != "":
		data, err = os.ReadFile(path)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("read %s: %w", where, plain(err)), "name a gitleaks TOML file that exists")
		}
	case os.Getenv("GITLEAKS_CONFIG_TOML") != "":
		data, where = []byte(os.Getenv("GITLEAKS_CONFIG_TOML")), "GITLEAKS_CONFIG_TOML"
	case r.Compat && source != "":
		where = ".gitleaks.toml"
		data, err = os.ReadFile(filepath.Join(source, where))
		if err != nil && !errors.Is(err, os.ErrNotExist) && !isFile(source) {
			return fail(exitUsage, fmt.Errorf("read %s: %w", where, plain(err)))
		}
	}
	r.cfg, err = match.LoadAlone(data, os.ReadFile)
	if err != nil {
		return fail(exitUsage, err, "check what "+where+" gives: it must be a gitleaks configuration")
	}
	if len(r.EnableRule) == 0 {
		return nil
	}
	only := map[string]config.Rule{}
	for _, id := range r.EnableRule {
		rule, ok := r.cfg.Rules[id]
		if !ok {
			return fail(exitUsage, fmt.Errorf("--enable-rule %s: there is no such rule", format.Inert(id)))
		}
		only[id] = rule
	}
	r.cfg.Rules = only
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// known reads what is left out: fingerprints and a baseline.
func (r *compatRun) known(source string) error {
	s := r.scanner
	s.Ignore = map[string]bool{}
	var files []string
	if p := r.GitleaksIgnorePath; p != "" {
		files = []string{p}
		if !isFile(p) {
			files[0] = filepath.Join(p, ".gitleaksignore")
		}
		_, err := os.Stat(files[0])
		if err != nil && (p != "." || !errors.Is(err, os.ErrNotExist)) {
			return fail(exitUsage, fmt.Errorf("read --gitleaks-ignore-path: %w", plain(err)), "name a file of fingerprints that exists")
		}
	}
	if r.Compat {
		for _, dir := range []string{".", source} {
			files = append(files, filepath.Join(dir, ".gitleaksignore"))
		}
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		prints, odd, err := patch.ReadIgnore(f)
		_ = f.Close()
		if err != nil {
			return fail(exitUsage, fmt.Errorf("%s: %w", format.Inert(name), err))
		}
		for p := range prints {
			s.Ignore[p] = true
		}
		for _, line := range odd {
			r.say("warn", "%s: %s is no fingerprint", format.Inert(name), format.Inert(line))
		}
	}
	s.Skip = []string{r.Config}
	if r.Config == "" && r.Compat {
		s.Skip[0] = filepath.Join(source, ".gitleaks.toml")
	}
	if r.BaselinePath == "" {
		return nil
	}
	f, err := os.Open(r.BaselinePath)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("read --baseline-path: %w", plain(err)), "name a JSON report that exists")
	}
	defer func() { _ = f.Close() }()
	s.Baseline, err = patch.ReadBaseline(f)
	if err != nil {
		return fail(exitUsage, err, "name a report in gitleaks' JSON form")
	}
	abs, err1 := filepath.Abs(source)
	base, err2 := filepath.Abs(r.BaselinePath)
	rel, err3 := filepath.Rel(abs, base)
	if err1 == nil && err2 == nil && err3 == nil {
		s.Skip = append(s.Skip, rel)
	}
	return nil
}

// reporter chooses the form of the report.
func (r *compatRun) reporter() error {
	if r.ReportTemplate != "" && r.ReportFormat == "" {
		r.ReportFormat = "template"
	}
	form := strings.ToLower(strings.TrimSpace(r.ReportFormat))
	if form == "" && r.ReportPath != "" {
		form = strings.TrimPrefix(strings.ToLower(filepath.Ext(r.ReportPath)), ".")
	}
	if form == "" {
		return nil
	}
	if r.ReportPath == "" {
		r.ReportPath = report.StdoutReportPath
	}
	switch form {
	case "json":
		r.write = &report.JsonReporter{}
	case "csv":
		r.write = &report.CsvReporter{}
	case "junit":
		r.write = &report.JunitReporter{}
	case "sarif":
		r.write = &report.SarifReporter{OrderedRules: r.cfg.GetOrderedRules()}
	case "template":
		var err error
		r.write, err = report.NewTemplateReporter(r.ReportTemplate)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("--report-template: %w", err), "name a Go template file")
		}
	default:
		return fail(exitUsage, fmt.Errorf("--report-format %s is not known", format.Inert(form)), "json, csv, junit, sarif or template")
	}
	return nil
}

// finish writes the report and decides the exit code.
func (r *compatRun) finish(what string, commits int, err error) error {
	if r.stop != nil {
		defer r.stop()
	}
	found := r.scanner.Findings()
	if r.Verbose {
		for i := range found {
			r.show(&found[i])
		}
	}
	if r.write != nil {
		w, openErr := openReport(r.rt.stdout, r.ReportPath)
		if openErr == nil {
			openErr = errors.Join(r.write.Write(w, found), w.Close())
		}
		if openErr != nil {
			return fail(exitUsage, fmt.Errorf("write the report: %w", plain(openErr)), "check the file given with -r, and that its disk is not full")
		}
	}
	if commits > 0 {
		r.say("info", "%s scanned", count(commits, "commit"))
	}
	r.say("info", "scanned %s of %s in %s", size(r.scanner.Bytes()), what, time.Since(r.start).Round(time.Millisecond))
	if len(found) > 0 {
		r.say("warn", "leaks found: %d", len(found))
	} else {
		r.say("info", "no leaks found")
	}
	reasons := r.scanner.Reasons()
	if err != nil {
		if errors.Is(err, context.Canceled) && r.rt.ctx.Err() != nil {
			return err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("stopped after %d s (--timeout)", r.Timeout)
		}
		reasons = append(reasons, plain(err).Error())
	}
	for _, why := range reasons {
		fmt.Fprintf(r.rt.stderr, "warning: partial: %s\n", format.Inert(why))
	}
	switch {
	case len(reasons) > 0:
		return fail(exitPartial, nil)
	case len(found) > 0 && r.ExitCode != 0:
		return fail(r.ExitCode, nil)
	}
	return nil
}

// say writes a line for people, if the level asks for it.
func (r *compatRun) say(level, text string, args ...any) {
	rank := map[string]int{"trace": 0, "debug": 0, "info": 1, "warn": 2, "err": 3, "error": 3, "fatal": 4}
	if rank[level] >= rank[strings.ToLower(r.LogLevel)] {
		fmt.Fprintf(r.rt.stderr, text+"\n", args...)
	}
}

// show writes one finding for people, in gitleaks' form.
func (r *compatRun) show(f *report.Finding) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(r.rt.stdout, "%-12s %s\n", name+":", format.Inert(value))
		}
	}
	row("Finding", strings.TrimSpace(f.Match))
	row("Secret", strings.TrimSpace(f.Secret))
	row("RuleID", f.RuleID)
	row("Entropy", fmt.Sprintf("%f", f.Entropy))
	row("Tags", strings.Join(f.Tags, " "))
	if f.File != "" {
		row("File", f.File)
		row("Line", strconv.Itoa(f.StartLine))
	}
	if f.Commit != "" {
		row("Commit", f.Commit)
		row("Author", f.Author)
		row("Email", f.Email)
		row("Date", f.Date)
	}
	row("Fingerprint", f.Fingerprint)
	row("Link", f.Link)
	fmt.Fprintln(r.rt.stdout)
}

// openReport opens a file for a report, which only its owner may read since it
// can hold secrets. What is no plain file (a device, a pipe) is written to and
// neither emptied nor replaced.
func openReport(stdout io.Writer, path string) (io.WriteCloser, error) {
	if path == report.StdoutReportPath {
		return keepOpen{stdout}, nil
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		flags = os.O_WRONLY
	}
	return os.OpenFile(path, flags, 0o600)
}

type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }
