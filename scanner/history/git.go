// Package history reads whole Git repositories and directories for the scanner.
//
// # What this package promises
//
// Every blob, commit message, person, tag and name that can be reached from any
// ref is looked at once, and a finding names the commit that brought it. What
// could not be looked at (too large, corrupt, not there) makes the result
// partial, with the reason.
//
// # What it never does
//
// A history is read in process. [WorkTree] runs git ls-files alone, with an
// emptied environment: no hook, filter, textconv, external diff, pager, lazy
// fetch or other program that the scanned repository's configuration could name.
// Nothing is changed in the repository.
package history

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GitDir finds the Git directory of path: path/.git, where a .git file points,
// or path itself when it is a bare repository. It does not look upwards.
func GitDir(path string) (string, bool) {
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	if err == nil && info.IsDir() && bare(dot) {
		return dot, true
	}
	if err == nil && info.Mode().IsRegular() && info.Size() < 64<<10 {
		data, err := os.ReadFile(dot)
		if err != nil {
			return "", false
		}
		target, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "gitdir: ")
		if !ok {
			return "", false
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(path, target)
		}
		return target, exists(filepath.Join(target, "HEAD"))
	}
	return path, bare(path)
}

// bare reports whether dir is laid out as a Git directory.
func bare(dir string) bool {
	return exists(filepath.Join(dir, "HEAD")) && exists(filepath.Join(dir, "objects")) &&
		(exists(filepath.Join(dir, "refs")) || exists(filepath.Join(dir, "reftable")))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// safe holds the settings that outrank whatever the repository's own
// configuration says.
var safe = []string{
	"-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false",
	"-c", "core.hooksPath=/dev/null", "-c", "core.attributesFile=/dev/null", "-c", "core.pager=cat",
	"-c", "protocol.allow=never", "-c", "protocol.file.allow=never", "-c", "protocol.ext.allow=never",
	"-c", "diff.renames=false", "-c", "diff.external=", "-c", "log.showSignature=false", "-c", "gc.auto=0",
}

// git is a command over gitDir. Nothing of our environment reaches it but PATH.
func git(ctx context.Context, gitDir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{"--no-pager"}, safe...), args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/dev/null", "LC_ALL=C", "GIT_DIR=" + gitDir,
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1",
		"GIT_NO_REPLACE_OBJECTS=1", "GIT_GRAFT_FILE=/dev/null", "GIT_OPTIONAL_LOCKS=0", "GIT_FLUSH=1",
	}
	cmd.Stdin = nil
	cmd.WaitDelay = 5 * time.Second
	return cmd
}
