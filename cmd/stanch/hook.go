package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"stanch/scanner/format"
)

type hookCmd struct {
	Install   hookInstallCmd   `cmd:"" help:"Write a Git hook that calls this binary."`
	Uninstall hookUninstallCmd `cmd:"" help:"Remove the hook, and put back what stood there before."`
	Status    hookStatusCmd    `cmd:"" help:"Show which hooks of a repository call stanch."`
}

// hookFlags choose a repository and its hooks.
type hookFlags struct {
	Path       string `arg:"" optional:"" default:"." help:"The repository: its work tree, a directory in it, or a bare repository."`
	PreCommit  bool   `name:"pre-commit" help:"The hook of a developer's clone: scans what is staged. The default where there is a work tree."`
	PreReceive bool   `name:"pre-receive" help:"The hook of a server's repository: scans what is pushed. The default for a bare repository."`
}

type hookInstallCmd struct {
	hookFlags
	Chain  bool `help:"Keep a hook that stands there already: it runs first, ours when it agrees."`
	Shared bool `help:"Write even where core.hooksPath names a directory outside of the repository, which other repositories use too."`
}

type hookUninstallCmd struct{ hookFlags }

type hookStatusCmd struct {
	Path string `arg:"" optional:"" default:"." help:"The repository."`
}

// Help is kong's longer description.
func (c *hookInstallCmd) Help() string {
	return "The hook calls this binary by its path, and 'stanch' on the PATH where that is gone. A hook of somebody else is never overwritten: install refuses, or with --chain runs it first. " +
		"core.hooksPath is honoured. Installing again brings the hook up to date."
}

// hookMark is the second line of every hook that we write, so that ours can be
// told from others.
const hookMark = "# Written by 'stanch hook install'; 'stanch hook uninstall' removes it."

// besideOurs is the end of the name that a chained hook gets.
const besideOurs = ".before-stanch"

// hooks are the ones that can be installed, with the command that each runs.
var hooks = []struct{ name, command string }{
	{"pre-commit", "scan --staged"},
	{"pre-receive", "receive-hook"},
}

func hookScript(name, binary string, chained bool) string {
	command := commandOf(name)
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n%s\nstanch=%s\n", hookMark, shellQuote(binary))
	b.WriteString("[ -x \"$stanch\" ] || stanch=$(command -v stanch) || {\n" +
		"\techo \"" + name + ": stanch is gone from where 'stanch hook install' found it, and is not on the PATH\" >&2\n\texit 1\n}\n")
	switch {
	case chained && name == "pre-receive": // both read the standard input
		b.WriteString("input=$(cat)\n" +
			"printf '%s\\n' \"$input\" | \"$(dirname \"$0\")/" + name + besideOurs + "\" \"$@\" || exit $?\n" +
			"printf '%s\\n' \"$input\" | \"$stanch\" " + command + "\n")
		return b.String()
	case chained:
		b.WriteString("\"$(dirname \"$0\")/" + name + besideOurs + "\" \"$@\" || exit $?\n")
	}
	b.WriteString("exec \"$stanch\" " + command + "\n")
	return b.String()
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// hookPlace is where the hooks of a repository lie.
type hookPlace struct {
	dir    string
	bare   bool
	shared bool // outside of the repository
}

// hooksOf asks git, in the caller's own environment and configuration: it is
// the user's git that will run the hook.
func hooksOf(path string) (hookPlace, error) {
	ask := func(dir string, args ...string) (string, error) {
		cmd := exec.Command("git", append([]string{"-C", dir, "rev-parse"}, args...)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if errors.Is(err, exec.ErrNotFound) {
			return "", fail(exitUsage, errors.New("git is not installed"), "install git")
		}
		if err != nil {
			line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
			return "", fail(exitUsage, fmt.Errorf("%s is no Git repository: %s", format.Inert(path), format.Inert(line)), "name the work tree of a repository or a bare repository")
		}
		return strings.TrimSuffix(string(out), "\n"), nil
	}
	bare, err := ask(path, "--is-bare-repository")
	if err != nil {
		return hookPlace{}, err
	}
	p := hookPlace{bare: bare == "true"}
	common, err := ask(path, "--git-common-dir")
	if err != nil {
		return p, err
	}
	root := path
	inside := []string{absolute(path, common)}
	if !p.bare {
		root, err = ask(path, "--show-toplevel")
		if err != nil {
			return p, err
		}
		inside = append(inside, root)
	}
	// A relative core.hooksPath counts from where git runs hooks: the root of the
	// work tree, or the bare repository.
	dir, err := ask(root, "--git-path", "hooks")
	if err != nil {
		return p, err
	}
	p.dir = absolute(root, dir)
	p.shared = true
	for _, r := range inside {
		rel, err := filepath.Rel(resolved(r), resolved(p.dir))
		if err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			p.shared = false
		}
	}
	return p, nil
}

func absolute(base, path string) string {
	if !filepath.IsAbs(path) {
		path = filepath.Join(base, path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

// resolved follows symbolic links as far as the path exists.
func resolved(path string) string {
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		return real
	}
	up := filepath.Dir(path)
	if up == path {
		return path
	}
	return filepath.Join(resolved(up), filepath.Base(path))
}

// names are the hooks that the flags choose.
func (f hookFlags) names(p hookPlace) []string {
	var out []string
	if f.PreCommit || !f.PreReceive && !p.bare {
		out = append(out, "pre-commit")
	}
	if f.PreReceive || !f.PreCommit && p.bare {
		out = append(out, "pre-receive")
	}
	return out
}

// hookState says what stands at a hook's place.
func hookState(file string) (state string, err error) {
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none", nil
	case err != nil:
		return "", fail(exitUsage, fmt.Errorf("read hook %s: %w", format.Inert(file), plain(err)), "make it readable, or remove it")
	case strings.Contains(string(data[:min(len(data), 4096)]), hookMark):
		return "stanch", nil
	}
	return "foreign", nil
}

func (c *hookInstallCmd) Run(rt *runtime) error {
	p, err := hooksOf(c.Path)
	if err != nil {
		return err
	}
	if p.shared && !c.Shared {
		return fail(exitUsage, fmt.Errorf("core.hooksPath puts the hooks in %s, outside of the repository", format.Inert(p.dir)),
			"install it there, for all repositories that use it, with --shared; or unset core.hooksPath")
	}
	if c.PreCommit && p.bare {
		return fail(exitUsage, errors.New("a bare repository has no commits to check"), "use --pre-receive")
	}
	binary, err := os.Executable()
	if err != nil {
		return fail(exitUsage, fmt.Errorf("find this binary: %w", err), "call it by its path")
	}
	for _, name := range c.names(p) {
		err := c.install(rt, p.dir, name, binary)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *hookInstallCmd) install(rt *runtime, dir, name, binary string) error {
	file := filepath.Join(dir, name)
	state, err := hookState(file)
	if err != nil {
		return err
	}
	if state == "foreign" {
		if !c.Chain {
			return fail(exitUsage, fmt.Errorf("another %s hook stands in %s", name, format.Inert(dir)),
				"keep it and run it first with --chain, or call 'stanch "+commandOf(name)+"' from it")
		}
		_, err := os.Lstat(file + besideOurs)
		if err == nil {
			return fail(exitUsage, fmt.Errorf("%s exists already", format.Inert(file+besideOurs)), "remove it, or put it back in place of the hook")
		}
		err = os.Rename(file, file+besideOurs)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("keep the hook that stands there: %w", plain(err)), "check that the directory of hooks can be written")
		}
	}
	_, err = os.Lstat(file + besideOurs)
	want := hookScript(name, binary, err == nil)
	have, err := os.ReadFile(file)
	if err == nil && string(have) == want {
		fmt.Fprintf(rt.stdout, "%s: installed already in %s\n", name, format.Inert(dir))
		return nil
	}
	err = writeHook(file, want)
	if err != nil {
		if state == "foreign" {
			err = errors.Join(err, os.Rename(file+besideOurs, file))
		}
		return fail(exitUsage, fmt.Errorf("write hook: %w", plain(err)), "check that the directory of hooks can be written")
	}
	fmt.Fprintf(rt.stdout, "%s: installed in %s\n", name, format.Inert(dir))
	return nil
}

func commandOf(name string) string {
	for _, h := range hooks {
		if h.name == name {
			return h.command
		}
	}
	return ""
}

// writeHook puts an executable file in place in one step.
func writeHook(file, content string) error {
	err := os.MkdirAll(filepath.Dir(file), 0o755)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".stanch-hook-")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(content)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

func (c *hookUninstallCmd) Run(rt *runtime) error {
	p, err := hooksOf(c.Path)
	if err != nil {
		return err
	}
	names := c.names(p)
	if !c.PreCommit && !c.PreReceive {
		names = []string{"pre-commit", "pre-receive"}
	}
	for _, name := range names {
		file := filepath.Join(p.dir, name)
		state, err := hookState(file)
		if err != nil {
			return err
		}
		if state != "stanch" {
			fmt.Fprintf(rt.stdout, "%s: not installed in %s\n", name, format.Inert(p.dir))
			continue
		}
		// The rename replaces ours in one step.
		err = os.Rename(file+besideOurs, file)
		back := err == nil
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Remove(file)
		}
		if err != nil {
			return fail(exitUsage, fmt.Errorf("remove hook: %w", plain(err)), "check that the directory of hooks can be written")
		}
		fmt.Fprintf(rt.stdout, "%s: removed from %s\n", name, format.Inert(p.dir))
		if back {
			fmt.Fprintf(rt.stdout, "%s: the hook that stood there before is back\n", name)
		}
	}
	return nil
}

// Help is kong's longer description.
func (c *hookStatusCmd) Help() string {
	return "Exit codes: 0 a hook of stanch is installed; 1 none is; 2 usage or configuration."
}

func (c *hookStatusCmd) Run(rt *runtime) error {
	p, err := hooksOf(c.Path)
	if err != nil {
		return err
	}
	ours := false
	for _, h := range hooks {
		state, err := hookState(filepath.Join(p.dir, h.name))
		if err != nil {
			return err
		}
		note := map[string]string{"none": "none", "foreign": "another hook, which may call stanch itself", "stanch": "calls stanch " + h.command}[state]
		ours = ours || state == "stanch"
		info, err := os.Stat(filepath.Join(p.dir, h.name))
		if err == nil && info.Mode()&0o111 == 0 {
			note += "; not executable, so git leaves it out"
		}
		fmt.Fprintf(rt.stdout, "%s: %s\n", h.name, note)
	}
	fmt.Fprintf(rt.stdout, "hooks lie in %s\n", format.Inert(p.dir))
	if !ours {
		return fail(exitFindings, nil)
	}
	return nil
}
