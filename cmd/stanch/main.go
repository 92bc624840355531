// Command stanch finds leaked credentials, contains them and reports what they did.
//
// What goes where: machine output on standard output; progress, logs and text
// for people on standard error; errors as one "error:" line and "hint:" lines
// whose hint is an action. No prompts without a terminal. Secrets never as
// arguments.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/term"
)

// Exit codes, the same for every command.
const (
	exitFindings = 1 // findings, a bad ledger entry, a containment that was not proved
	exitUsage    = 2 // usage or configuration
	exitPartial  = 3 // some of the work could not be done
	exitProvider = 4 // a provider, the network or the database failed
)

type commands struct {
	Serve      serveCmd      `cmd:"" help:"Answer GitHub's webhooks and respond to leaks."`
	Demo       demoCmd       `cmd:"" help:"Show the whole product on this machine in a minute."`
	Scan       scanCmd       `cmd:"" help:"Scan files, a directory or a Git repository's whole history for credentials."`
	Git        gitCmd        `cmd:"" help:"Scan a Git repository as gitleaks git does: same findings, same report."`
	Dir        dirCmd        `cmd:"" aliases:"file,directory" help:"Scan a directory as gitleaks dir does."`
	Stdin      stdinCmd      `cmd:"" help:"Scan standard input as gitleaks stdin does."`
	Detect     detectCmd     `cmd:"" hidden:"" help:"gitleaks' older name of git, dir and stdin."`
	Protect    protectCmd    `cmd:"" hidden:"" help:"gitleaks' older name of git --pre-commit."`
	Receive    receiveCmd    `cmd:"" name:"receive-hook" help:"Refuse a push that brings credentials: a pre-receive hook."`
	Watch      watchCmd      `cmd:"" help:"Follow the public events of people and scan what they push to GitHub."`
	Hook       hookCmd       `cmd:"" help:"Install, remove and show Git hooks that call stanch."`
	Sweep      sweepCmd      `cmd:"" help:"Scan every repository of an installation and respond."`
	Respond    respondCmd    `cmd:"" help:"Respond to a credential that leaked elsewhere."`
	Incident   incidentCmd   `cmd:"" help:"List, show and report incidents; undo acts."`
	Approve    approveCmd    `cmd:"" help:"Release the acts that an incident waits with."`
	Deny       denyCmd       `cmd:"" help:"Refuse the acts that an incident waits with."`
	Playbook   playbookCmd   `cmd:"" help:"List, show, lint and explain playbooks."`
	Ledger     ledgerCmd     `cmd:"" help:"Verify, export and show the tamper-evident ledger."`
	Doctor     doctorCmd     `cmd:"" help:"Check configuration, permissions, clock, database and providers."`
	Bench      benchCmd      `cmd:"" help:"Measure the service on this machine."`
	Health     healthCmd     `cmd:"" help:"Ask a running service whether it is ready."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
	Completion completionCmd `cmd:"" help:"Print a shell completion script."`
}

// runtime is what a command needs from the world.
type runtime struct {
	ctx       context.Context
	stdin     io.Reader
	stdout    io.Writer
	stderr    io.Writer
	stdoutTTY bool
	stderrTTY bool
	parser    *kong.Kong
}

// failure is an error with an exit code and hints for a person. A nil err exits
// with the code and prints nothing.
type failure struct {
	code  int
	err   error
	hints []string
}

func (f *failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit %d", f.code)
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

func fail(code int, err error, hints ...string) error { return &failure{code, err, hints} }

func main() {
	collectLater()
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(args []string, stdin *os.File, stdout, stderr *os.File) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rt := &runtime{
		ctx: ctx, stdin: stdin, stdout: stdout, stderr: stderr,
		stdoutTTY: term.IsTerminal(int(stdout.Fd())), stderrTTY: term.IsTerminal(int(stderr.Fd())),
	}
	exited := -1
	parser, err := kong.New(grammar(args),
		kong.Name("stanch"),
		kong.Description("Finds leaked credentials, contains them and reports what they did.\n\n"+
			"Exit codes: 0 nothing found or done; 1 findings; 2 usage or configuration; 3 partial; 4 a provider or the network failed."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code; panic(exitNow{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.UsageOnError(),
		kong.WithHyphenPrefixedParameters(true), // --log-opts "--since=..."
	)
	if err != nil {
		return complain(stderr, fail(exitUsage, err))
	}
	rt.parser = parser
	code := func() (code int) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if _, ok := r.(exitNow); !ok {
				panic(r)
			}
			code = exited
		}()
		kctx, err := parser.Parse(args)
		if err != nil {
			return complain(stderr, fail(exitUsage, err, "run 'stanch --help' for the commands, 'stanch COMMAND --help' for one"))
		}
		return complain(stderr, kctx.Run(rt))
	}()
	return code
}

// exitNow unwinds from kong's own exits (--help) to run.
type exitNow struct{}

// complain prints an error for people and gives the exit code.
func complain(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	var f *failure
	if !errors.As(err, &f) {
		f = &failure{code: exitProvider, err: err}
	}
	switch {
	case errors.Is(f.err, context.Canceled):
		f.hints = []string{"what was stored stays; run it again, or let 'stanch serve' go on"}
		fmt.Fprintln(w, "error: interrupted")
	case f.err != nil:
		fmt.Fprintf(w, "error: %v\n", f.err)
	}
	for _, h := range f.hints {
		fmt.Fprintf(w, "hint: %s\n", h)
	}
	return f.code
}
