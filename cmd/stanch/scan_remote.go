package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"stanch/internal/secret"
	"stanch/scanner/format"
	"stanch/scanner/gitwire"
	"stanch/scanner/history"
)

// isRemote tells the address of a repository from a path.
func isRemote(p string) bool {
	return strings.HasPrefix(p, "https://") || strings.HasPrefix(p, "http://")
}

// remoteURL checks an address before anything is read or sent.
func (c *scanCmd) remoteURL(p string) error {
	u, err := url.Parse(p)
	switch {
	case err != nil || u.Host == "":
		return fail(exitUsage, fmt.Errorf("%s is no address of a repository", format.Inert(p)), "give the address that git clone takes, for example https://github.com/OWNER/NAME.git")
	case u.User != nil:
		return fail(exitUsage, errors.New("the address holds a user or a token"), "put the token into an environment variable and name it with --token-env")
	case c.Staged || c.NoHistory || c.Since != "" || c.State != "":
		return fail(exitUsage, errors.New("--staged, --no-history, --since and --state are for repositories on this machine"), "clone the repository to use them")
	case c.TokenEnv != "" && os.Getenv(c.TokenEnv) == "":
		return fail(exitUsage, fmt.Errorf("the environment variable %s is empty", format.Inert(c.TokenEnv)), "put a token that can read the repository into it")
	}
	return nil
}

// remote scans a repository on a server. Nothing of it stays on this machine.
func (r *scanRun) remote(p string) error {
	from := gitwire.Remote{URL: p}
	if r.cmd.TokenEnv != "" {
		from.Token = secret.New(os.Getenv(r.cmd.TokenEnv))
	}
	o := history.Options{Engine: r.engine, Messages: r.cmd.Format == "gitleaks", Progress: r.progress(), Repository: repositoryName(p), Shared: r.shared}
	res, err := history.ScanRemote(r.rt.ctx, from, gitwire.Limits{BlobBytes: r.cmd.MaxSize << 20}, o, nil, r.emit)
	hint := ""
	switch {
	case err == nil || r.rt.ctx.Err() != nil:
		r.add(p, res, err)
		return nil
	case errors.Is(err, gitwire.ErrNotFound), errors.Is(err, gitwire.ErrRefused):
		hint = "check the address; a private repository needs a token: put it into an environment variable and name it with --token-env"
	case errors.Is(err, gitwire.ErrMoved):
		hint = "give the repository's new address"
	case errors.Is(err, gitwire.ErrTooLarge):
		hint = "clone it and scan the clone: there is no limit for repositories on this machine"
	default:
		hint = "check the network and the address, then try again"
	}
	return fail(exitProvider, fmt.Errorf("fetch %s: %w", format.Inert(p), err), hint)
}

// repositoryName is owner/name, or what stands in its place.
func repositoryName(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")
}
