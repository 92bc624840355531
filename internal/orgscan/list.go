// Package orgscan scans many repositories as one: an organisation, a user, an
// enterprise, or a list of addresses.
//
// # What this package promises
//
// Every repository of the target is scanned with its whole history, or the
// summary says which was not and why. A sweep that was interrupted goes on where
// it stopped. A blob is looked at once, in whatever repository and sweep it stands
// ([history.Shared]), and each repository gets its own findings. What is kept
// between sweeps holds no secret, plain or hashed without a key.
//
// # What it never does
//
// It opens no incident and asks no provider: who calls it decides what a finding
// means. It writes nothing to a repository.
package orgscan

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_primary_ratelimit"
	"github.com/google/go-github/v60/github"

	"stanch/internal/secret"
)

// Kinds of [Repository].
const (
	KindCode = "repository"
	KindWiki = "wiki"
	KindGist = "gist"
)

// Repository is one thing to scan.
type Repository struct {
	Name     string // owner/name, owner/name.wiki, gist ID, or the address
	Kind     string
	URL      string // clone URL without user information
	Fork     bool
	Archived bool
	Private  bool
	// Changed is when anything was pushed to it last, zero where that is not
	// known; then it is fetched to see.
	Changed time.Time
}

// Target says what is swept; one of Org, User and Enterprise is set.
type Target struct {
	Org, User, Enterprise string

	Forks    bool // forks as well
	Archived bool // archived ones as well
	Wikis    bool // wikis as well
	Gists    bool // gists of the user, or of the organisation's members
}

// Host is a GitHub.
type Host struct {
	API       string // https://api.github.com, or https://HOST/api/v3
	Token     secret.Value
	Transport http.RoundTripper // nil means http.DefaultTransport
	// Wait waits for a rate limit that is reached to be lifted; nil sleeps.
	Wait func(ctx context.Context, until time.Time) error
}

// Client is a client that knows GitHub's limits.
func (h Host) Client() (*github.Client, error) {
	base := h.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	c := github.NewClient(&http.Client{Transport: github_ratelimit.New(base), Timeout: 30 * time.Minute})
	if !h.Token.IsZero() {
		c = c.WithAuthToken(h.Token.Reveal())
	}
	u, err := url.Parse(strings.TrimRight(h.API, "/") + "/")
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
		return nil, errors.New("the API's address is no http(s) URL without user")
	}
	c.BaseURL = u
	return c, nil
}

// patient calls f until it does not fail for a rate limit.
func (h Host) patient(ctx context.Context, f func() error) error {
	for {
		err := f()
		var first *github.RateLimitError
		var ours *github_primary_ratelimit.RateLimitReachedError
		until := time.Time{}
		switch {
		case errors.As(err, &first):
			until = first.Rate.Reset.Time
		case errors.As(err, &ours) && ours.ResetTime != nil:
			until = *ours.ResetTime
		default:
			return err
		}
		wait := h.Wait
		if wait == nil {
			wait = sleepUntil
		}
		err = wait(ctx, until.Add(time.Second))
		if err != nil {
			return err
		}
	}
}

func sleepUntil(ctx context.Context, until time.Time) error {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mostRepositories bounds a listing.
const mostRepositories = 1_000_000

// List gives the repositories of a target, by name.
func (h Host) List(ctx context.Context, t Target) ([]Repository, error) {
	c, err := h.Client()
	if err != nil {
		return nil, err
	}
	l := lister{h: h, c: c, t: t}
	switch {
	case t.Org != "":
		err = l.org(ctx, t.Org)
	case t.User != "":
		err = l.user(ctx, t.User)
	case t.Enterprise != "":
		err = l.enterprise(ctx, t.Enterprise)
	default:
		err = errors.New("no target")
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(l.out, func(a, b Repository) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(l.out, func(a, b Repository) bool { return a.Name == b.Name }), nil
}

type lister struct {
	h   Host
	c   *github.Client
	t   Target
	out []Repository
}

// pages calls f for each page of a listing.
func (l *lister) pages(ctx context.Context, what string, f func(github.ListOptions) (*github.Response, error)) error {
	o := github.ListOptions{PerPage: 100}
	for {
		next := 0
		err := l.h.patient(ctx, func() error {
			resp, err := f(o)
			if resp != nil {
				next = resp.NextPage
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("list %s: %w", what, reduce(err))
		}
		if next == 0 || len(l.out) > mostRepositories {
			return nil
		}
		o.Page = next
	}
}

// reduce leaves addresses and bodies out of an error.
func reduce(err error) error {
	var answer *github.ErrorResponse
	if errors.As(err, &answer) && answer.Response != nil {
		return fmt.Errorf("GitHub answered %s", answer.Response.Status)
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (l *lister) org(ctx context.Context, org string) error {
	err := l.pages(ctx, "repositories of "+org, func(o github.ListOptions) (*github.Response, error) {
		rs, resp, err := l.c.Repositories.ListByOrg(ctx, org, &github.RepositoryListByOrgOptions{Type: "all", ListOptions: o})
		l.add(rs)
		return resp, err
	})
	if err != nil || !l.t.Gists {
		return err
	}
	members, err := l.members(ctx, org)
	if err != nil {
		return err
	}
	for _, m := range members {
		err := l.gists(ctx, m)
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) members(ctx context.Context, org string) ([]string, error) {
	var out []string
	err := l.pages(ctx, "members of "+org, func(o github.ListOptions) (*github.Response, error) {
		ms, resp, err := l.c.Organizations.ListMembers(ctx, org, &github.ListMembersOptions{ListOptions: o})
		for _, m := range ms {
			out = append(out, m.GetLogin())
		}
		return resp, err
	})
	return out, err
}

func (l *lister) user(ctx context.Context, user string) error {
	err := l.pages(ctx, "repositories of "+user, func(o github.ListOptions) (*github.Response, error) {
		rs, resp, err := l.c.Repositories.ListByUser(ctx, user, &github.RepositoryListByUserOptions{Type: "owner", ListOptions: o})
		l.add(rs)
		return resp, err
	})
	if err != nil || !l.t.Gists {
		return err
	}
	return l.gists(ctx, user)
}

func (l *lister) gists(ctx context.Context, user string) error {
	return l.pages(ctx, "gists of "+user, func(o github.ListOptions) (*github.Response, error) {
		gs, resp, err := l.c.Gists.List(ctx, user, &github.GistListOptions{ListOptions: o})
		for _, g := range gs {
			l.out = append(l.out, Repository{Name: "gist " + user + "/" + g.GetID(), Kind: KindGist, URL: g.GetGitPullURL(), Private: !g.GetPublic(), Changed: g.GetUpdatedAt().Time})
		}
		return resp, err
	})
}

func (l *lister) add(rs []*github.Repository) {
	for _, r := range rs {
		if r.GetFork() && !l.t.Forks || r.GetArchived() && !l.t.Archived {
			continue
		}
		x := Repository{
			Name: r.GetFullName(), Kind: KindCode, URL: r.GetCloneURL(), Fork: r.GetFork(), Archived: r.GetArchived(),
			Private: r.GetPrivate(), Changed: r.GetPushedAt().Time,
		}
		l.out = append(l.out, x)
		if l.t.Wikis && r.GetHasWiki() {
			x.Name += ".wiki"
			x.Kind = KindWiki
			x.URL = strings.TrimSuffix(x.URL, ".git") + ".wiki.git"
			x.Changed = time.Time{} // GitHub does not say when a wiki changed
			l.out = append(l.out, x)
		}
	}
}

// enterprise lists its organisations over GraphQL, which GitHub and Enterprise
// Server both have.
func (l *lister) enterprise(ctx context.Context, slug string) error {
	after := ""
	for {
		var answer struct {
			Data struct {
				Enterprise *struct {
					Organizations struct {
						Nodes    []struct{ Login string }
						PageInfo struct {
							HasNextPage bool
							EndCursor   string
						}
					}
				}
			}
			Errors []struct{ Type string }
		}
		err := l.h.patient(ctx, func() error {
			vars := map[string]any{"slug": slug, "after": nil}
			if after != "" {
				vars["after"] = after
			}
			req, err := l.c.NewRequest(http.MethodPost, graphQL(l.c.BaseURL), map[string]any{
				"query":     `query($slug:String!,$after:String){enterprise(slug:$slug){organizations(first:100,after:$after){nodes{login} pageInfo{hasNextPage endCursor}}}}`,
				"variables": vars,
			})
			if err != nil {
				return err
			}
			_, err = l.c.Do(ctx, req, &answer)
			return err
		})
		if err != nil {
			return fmt.Errorf("list organisations of the enterprise: %w", reduce(err))
		}
		if answer.Data.Enterprise == nil {
			return fmt.Errorf("list organisations of the enterprise: there is no %s, or the token may not see it", slug)
		}
		page := answer.Data.Enterprise.Organizations
		for _, o := range page.Nodes {
			err := l.org(ctx, o.Login)
			if err != nil {
				return err
			}
		}
		if !page.PageInfo.HasNextPage || page.PageInfo.EndCursor == after {
			return nil
		}
		after = page.PageInfo.EndCursor
	}
}

// graphQL is the address of GraphQL beside that of REST.
func graphQL(api *url.URL) string {
	u := *api
	u.Path = strings.TrimSuffix(u.Path, "v3/") + "graphql"
	return u.String()
}
