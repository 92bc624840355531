package patch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/zricethezav/gitleaks/v8/cmd/scm"
	"github.com/zricethezav/gitleaks/v8/sources"

	"stanch/internal/lazyregexp"
	"stanch/scanner"
	"stanch/scanner/history"
)

// What is given to git before and after its verb, so that nothing in a
// configuration file runs a command or changes the form of the output.
var (
	gitBefore = []string{"-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "-c", "log.decorate=no", "-c", "log.date=default", "-c", "format.pretty=medium", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "diff.submodule=short"}
	gitAfter  = []string{"--no-ext-diff", "--no-textconv", "--no-color"}
)

// History is what of a repository is looked at.
type History struct {
	Path    string   // of the repository or its work tree
	Options []string // instead of gitleaks' own options for "git log"; nil means those
	Staged  bool     // what is in the index and not in the last commit
	Changes bool     // what is in the work tree and not in the index
	Remote  *sources.RemoteInfo
}

// allHistory are gitleaks' own options for "git log".
var allHistory = []string{"--full-history", "--all", "--diff-filter=tuxdb"}

// Git looks at the history of a repository, or at what is not committed yet. It
// gives how many commits had something to look at. What git says on standard
// error is a reason for a partial result, and the error where git fails.
func (s *Scanner) Git(ctx context.Context, h History) (commits int, err error) {
	args := append([]string{"-C", h.Path}, gitBefore...)
	var input io.Reader
	walked := 0
	switch {
	case h.Staged || h.Changes:
		args = append(append(args, "diff", "-U0"), gitAfter...)
		if h.Staged {
			args = append(args, "--staged")
		}
		args = append(args, ".")
	case h.Options != nil:
		args = append(append(append(args, "log", "-p", "-U0"), gitAfter...), h.Options...)
	default:
		args = append(append(append(args, "log", "-p", "-U0"), gitAfter...), allHistory...)
		ids, n, ok := s.suspects(ctx, h.Path)
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err()
		case ok && len(ids) == 0:
			return n, nil
		case ok:
			args[slices.Index(args, "--all")] = "--stdin"
			args = append(args, "--no-walk=unsorted")
			input, walked = strings.NewReader(strings.Join(ids, "\n")+"\n"), n
		}
	}
	src := Source{Remote: h.Remote, Blob: func(ctx context.Context, commit, path string) (io.ReadCloser, error) {
		return openBlob(ctx, h.Path, commit, path)
	}}
	cmd := command(ctx, args...)
	cmd.Stdin = input
	var said complaints
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("start git: %w", err)
	}
	err = cmd.Start()
	if err != nil {
		return 0, fmt.Errorf("start git: %w", err)
	}
	commits, err = s.Stream(ctx, out, src)
	if err != nil {
		_ = cmd.Process.Kill()
	}
	waitErr := cmd.Wait()
	commits = max(commits, walked)
	switch {
	case err != nil:
		return commits, err
	case waitErr != nil && said.first() != "":
		return commits, fmt.Errorf("git: %s", said.first())
	case waitErr != nil:
		return commits, fmt.Errorf("git: %w", waitErr)
	}
	if said.first() != "" {
		s.missed("git said: " + said.first())
	}
	return commits, nil
}

// suspects are the commits of a whole history that can have something to find,
// so that git need not write out the patches of all others; commits is how many
// there are without merges. ok is false where that cannot be told.
func (s *Scanner) suspects(ctx context.Context, path string) (ids []string, commits int, ok bool) {
	if s.ArchiveDepth > 0 || s.MaxMegabytes > 0 {
		return nil, 0, false // what is in an archive, or too large, is told by the patch alone
	}
	engine, err := scanner.New(scanner.Options{Matcher: s.Matcher, GitleaksOnly: true, MaxBlobBytes: largestBlob})
	if err != nil {
		return nil, 0, false
	}
	dir, ok := history.GitDir(path)
	if !ok {
		return nil, 0, false
	}
	ids, commits, ok, err = history.Suspects(ctx, dir, history.Options{Engine: engine})
	return ids, commits, ok && err == nil
}

// largestBlob is the size of a blob above which git alone looks at a history.
const largestBlob = 512 << 20

func command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", "GIT_OPTIONAL_LOCKS=0", "GIT_PAGER=cat")
	return cmd
}

// complaints keeps the beginning of what git says.
type complaints struct{ b bytes.Buffer }

func (c *complaints) Write(p []byte) (int, error) {
	c.b.Write(p[:min(len(p), max(0, 64<<10-c.b.Len()))])
	return len(p), nil
}

// harmless are pieces of what git says when it nevertheless does its work.
var harmless = []string{"rename detection was skipped", "diff.renameLimit", "git help gc", "Auto packing the repository"}

// first is the first line that tells of a failure.
func (c *complaints) first() string {
lines:
	for line := range strings.Lines(c.b.String()) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		for _, h := range harmless {
			if strings.Contains(line, h) {
				continue lines
			}
		}
		return line
	}
	return ""
}

// blob is the output of "git cat-file".
type blob struct {
	io.ReadCloser
	cmd *exec.Cmd
}

func (b blob) Close() error {
	_ = b.ReadCloser.Close()
	err := b.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil // it was not read to its end
	}
	return err
}

func openBlob(ctx context.Context, repo, commit, path string) (io.ReadCloser, error) {
	cmd := command(ctx, "-C", repo, "cat-file", "blob", commit+":"+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	err = cmd.Start()
	if err != nil {
		return nil, err
	}
	return blob{out, cmd}, nil
}

var sshURL = lazyregexp.New(`^git@([a-zA-Z0-9.-]+):(?:\d{1,5}/)?([\w/.-]+?)(?:\.git)?$`)

// Remote finds out where a repository's files can be seen, from its first
// remote, so that findings have links. platform is github, gitlab, gitea,
// azuredevops, bitbucket, none, or "" to tell it by the host. A repository
// without a remote has no links.
func Remote(ctx context.Context, repo, platform string) (*sources.RemoteInfo, error) {
	p, err := scm.PlatformFromString(platform)
	if err != nil {
		return nil, err
	}
	none := &sources.RemoteInfo{Platform: scm.NoPlatform}
	if p == scm.NoPlatform {
		return none, nil
	}
	out, err := command(ctx, "-C", repo, "ls-remote", "--quiet", "--get-url").Output()
	if err != nil {
		return none, nil
	}
	remote := string(bytes.TrimSpace(out))
	m := sshURL().FindStringSubmatch(remote)
	if m != nil {
		remote = "https://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(strings.TrimSuffix(remote, ".git"))
	if err != nil {
		return none, nil
	}
	u.User = nil
	if p == scm.UnknownPlatform {
		p = hosts[strings.ToLower(u.Hostname())]
	}
	return &sources.RemoteInfo{Platform: p, Url: u.String()}, nil
}

var hosts = map[string]scm.Platform{
	"github.com": scm.GitHubPlatform, "gitlab.com": scm.GitLabPlatform, "bitbucket.org": scm.BitbucketPlatform,
	"dev.azure.com": scm.AzureDevOpsPlatform, "visualstudio.com": scm.AzureDevOpsPlatform,
	"gitea.com": scm.GiteaPlatform, "code.forgejo.org": scm.GiteaPlatform, "codeberg.org": scm.GiteaPlatform,
}
