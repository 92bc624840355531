package githubapp

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_secondary_ratelimit"
	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-github/v60/github"

	"stanch/internal/secret"
)

// Options configures an [App].
type Options struct {
	// APIURL is the REST root: https://api.github.com, or https://HOST/api/v3 on
	// Enterprise Server. Defaults to the former.
	APIURL string
	// WebURL is where repositories are cloned from. Defaults to https://github.com.
	WebURL string
	// AppID is the App's id.
	AppID int64
	// PrivateKey is the App's RSA key in PEM form.
	PrivateKey secret.Value
	// Transport carries the requests. Defaults to a copy of http.DefaultTransport.
	Transport http.RoundTripper
	// Clock defaults to time.Now.
	Clock func() time.Time
	// MaxRateWait bounds one wait for a secondary rate limit; beyond it the limit is
	// an error with RetryAfter. A primary limit is always an error. Defaults to 1 min.
	MaxRateWait time.Duration
	// Timeout bounds one request with its waits and its answer. Defaults to 2 min.
	Timeout time.Duration
}

// App calls GitHub as the App and as its installations. It is safe for concurrent
// use. Tokens are opaque text: their length and form are GitHub's to change.
type App struct {
	o      Options
	api    *url.URL // ends in a slash
	web    *url.URL
	base   http.RoundTripper
	signer ghinstallation.Signer
	asApp  *github.Client

	mu      sync.Mutex
	clients map[int64]*github.Client
	tokens  map[tokenKey]*cloneToken
}

// New checks the options; it calls nobody.
func New(o Options) (*App, error) {
	if o.APIURL == "" {
		o.APIURL = "https://api.github.com"
	}
	if o.WebURL == "" {
		o.WebURL = "https://github.com"
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.MaxRateWait <= 0 {
		o.MaxRateWait = time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	if o.AppID <= 0 {
		return nil, errors.New("github app needs an id")
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(o.PrivateKey.Reveal()))
	if err != nil {
		// The cause is left out: a parser may quote what it parsed.
		return nil, errors.New("github app's private key is not an RSA key in PEM form")
	}
	api, err := rootURL(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("github api url: %w", err)
	}
	web, err := rootURL(o.WebURL)
	if err != nil {
		return nil, fmt.Errorf("github web url: %w", err)
	}
	a := &App{
		o: o, api: api, web: web,
		base:    &edge{next: o.Transport, host: api.Host},
		signer:  appSigner{key: key, id: o.AppID, clock: o.Clock},
		clients: map[int64]*github.Client{},
		tokens:  map[tokenKey]*cloneToken{},
	}
	asApp, err := a.appTransport(a.limited())
	if err != nil {
		return nil, err
	}
	a.asApp = a.client(asApp)
	return a, nil
}

func rootURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/") + "/")
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("is not an http(s) URL without user and query")
	}
	return u, nil
}

// appSigner makes the App's JWT by our clock, sixty seconds in the past against
// clocks that differ, as GitHub advises
// (https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
// It replaces the library's claims, which go back thirty seconds only.
type appSigner struct {
	key   *rsa.PrivateKey
	id    int64
	clock func() time.Time
}

const (
	jwtBackdate = time.Minute
	jwtLifetime = 9 * time.Minute // GitHub's limit is ten from now
)

// Sign implements ghinstallation.Signer.
func (s appSigner) Sign(jwt.Claims) (string, error) {
	now := s.clock().Truncate(time.Second)
	claims := jwt.RegisteredClaims{
		IssuedAt:  jwt.NewNumericDate(now.Add(-jwtBackdate)),
		ExpiresAt: jwt.NewNumericDate(now.Add(jwtLifetime - jwtBackdate)),
		Issuer:    strconv.FormatInt(s.id, 10),
	}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(s.key)
}

func (a *App) baseURL() string { return strings.TrimRight(a.api.String(), "/") }

// limited gives a rate limiter of its own: limits are per installation.
func (a *App) limited() http.RoundTripper {
	return github_ratelimit.New(a.base, github_secondary_ratelimit.WithSingleSleepLimit(a.o.MaxRateWait, nil))
}

func (a *App) appTransport(next http.RoundTripper) (*ghinstallation.AppsTransport, error) {
	t, err := ghinstallation.NewAppsTransportWithOptions(next, a.o.AppID, ghinstallation.WithSigner(a.signer))
	if err != nil {
		return nil, errors.New("github app transport cannot be made")
	}
	t.BaseURL = a.baseURL()
	return t, nil
}

func (a *App) client(rt http.RoundTripper) *github.Client {
	c := github.NewClient(&http.Client{Transport: &timeLimit{next: rt, limit: a.o.Timeout}})
	c.BaseURL, c.UploadURL = a.api, a.api
	c.UserAgent = "stanch"
	return c
}

// Client gives the client of an installation. Callers reduce its errors with
// [Reduce] before they keep or show them.
func (a *App) Client(installation int64) (*github.Client, error) {
	if installation <= 0 {
		return nil, errors.New("github client: no installation id")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.clients[installation]; ok {
		return c, nil
	}
	// Each installation has an AppsTransport of its own: the library writes to it
	// while it refreshes a token.
	apps, err := a.appTransport(a.limited())
	if err != nil {
		return nil, err
	}
	t := ghinstallation.NewFromAppsTransport(apps, installation)
	t.InstallationTokenOptions = &github.InstallationTokenOptions{}
	c := a.client(t)
	a.clients[installation] = c
	return c, nil
}

// Forget drops what is cached for an installation that was deleted or suspended.
func (a *App) Forget(installation int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.clients, installation)
	for k, t := range a.tokens {
		if k.installation == installation {
			t.drop()
			delete(a.tokens, k)
		}
	}
}

// maxPages ends a listing whose pages never end.
const maxPages = 10_000

// pages calls list for every page, until there is none.
func pages(op string, list func(github.ListOptions) (*github.Response, error)) error {
	next := github.ListOptions{Page: 1, PerPage: 100}
	for range maxPages {
		resp, err := list(next)
		if err != nil {
			return Reduce(op, err)
		}
		if resp.NextPage == 0 {
			return nil
		}
		if resp.NextPage <= next.Page {
			return fmt.Errorf("%s: page %d is followed by page %d", op, next.Page, resp.NextPage)
		}
		next.Page = resp.NextPage
	}
	return fmt.Errorf("%s: more than %d pages", op, maxPages)
}

// Installed is an installation of the App.
type Installed struct {
	ID                  int64
	Account             Account
	RepositorySelection string // all, selected
	Suspended           bool
}

// Installations lists all installations.
func (a *App) Installations(ctx context.Context) ([]Installed, error) {
	var out []Installed
	err := pages("list installations", func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := a.asApp.Apps.ListInstallations(ctx, &o)
		for _, i := range list {
			out = append(out, Installed{
				ID:                  i.GetID(),
				Account:             Account{ID: i.GetAccount().GetID(), Login: keep(i.GetAccount().GetLogin(), loginForm()), Type: keep(i.GetAccount().GetType(), wordForm())},
				RepositorySelection: keep(i.GetRepositorySelection(), wordForm()),
				Suspended:           i.SuspendedAt != nil,
			})
		}
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// InstallationRepos lists all repositories that an installation can see.
func (a *App) InstallationRepos(ctx context.Context, installation int64) ([]Repository, error) {
	c, err := a.Client(installation)
	if err != nil {
		return nil, err
	}
	var out []Repository
	err = pages("list repositories", func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := c.Apps.ListRepos(ctx, &o)
		if err != nil {
			return resp, err
		}
		for _, r := range list.Repositories {
			repo, err := fromAPI(r)
			if err != nil {
				return resp, err
			}
			out = append(out, repo)
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// RepositoryByID reads a repository by its id, which survives a change of name.
func (a *App) RepositoryByID(ctx context.Context, installation, id int64) (Repository, error) {
	c, err := a.Client(installation)
	if err != nil {
		return Repository{}, err
	}
	r, _, err := c.Repositories.GetByID(ctx, id)
	if err != nil {
		return Repository{}, Reduce("read repository", err)
	}
	return fromAPI(r)
}

// fromAPI uses the same rules for a repository as for one in a delivery.
func fromAPI(r *github.Repository) (Repository, error) {
	w := wire{Repository: &wireRepository{
		ID: r.GetID(), Name: r.GetName(), FullName: r.GetFullName(), Owner: wireAccount{Login: text(r.GetOwner().GetLogin())},
		Private: r.GetPrivate(), Visibility: text(r.GetVisibility()), DefaultBranch: text(r.GetDefaultBranch()),
		PushedAt: stamp{r.GetPushedAt().Time.UTC()}, Fork: r.GetFork(), Archived: r.GetArchived(),
	}}
	return w.repository()
}

// CloneURL gives the HTTPS URL of a repository. Names that are not GitHub names are
// refused, so that the result stays on the host and below the owner.
func (a *App) CloneURL(owner, repo string) (string, error) {
	if !validOwner(owner) || !validRepo(repo) {
		return "", errors.New("clone url: not a GitHub name")
	}
	return a.web.JoinPath(owner, repo+".git").String(), nil
}
