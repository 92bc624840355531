package githubapp

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_secondary_ratelimit"
	"github.com/google/go-github/v60/github"

	"stanch/internal/secret"
)

// TokenOptions configures [TokenClient].
type TokenOptions struct {
	APIURL      string            // REST root; defaults to https://api.github.com
	Token       secret.Value      // of a person or an App; empty for what is public, at 60 requests an hour
	Transport   http.RoundTripper // defaults to a copy of http.DefaultTransport
	MaxRateWait time.Duration     // bounds one wait for a secondary rate limit; defaults to 1 min
	Timeout     time.Duration     // bounds one request with its waits; defaults to 2 min
}

// TokenClient gives a client that calls GitHub with a token that somebody gave
// us, or without any. Callers reduce its errors with [Reduce] before they keep
// or show them. A primary rate limit is an error with RetryAfter. The token is
// sent to the API's host alone.
func TokenClient(o TokenOptions) (*github.Client, error) {
	if o.APIURL == "" {
		o.APIURL = "https://api.github.com"
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	if o.MaxRateWait <= 0 {
		o.MaxRateWait = time.Minute
	}
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	api, err := rootURL(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("github api url: %w", err)
	}
	var rt http.RoundTripper = &edge{next: o.Transport, host: api.Host}
	rt = &bearer{next: rt, token: o.Token}
	rt = github_ratelimit.New(rt, github_secondary_ratelimit.WithSingleSleepLimit(o.MaxRateWait, nil))
	c := github.NewClient(&http.Client{Transport: &timeLimit{next: rt, limit: o.Timeout}})
	c.BaseURL, c.UploadURL = api, api
	c.UserAgent = "stanch"
	return c, nil
}

// bearer adds the token to each request. edge stands below it and keeps the
// request on the API's host.
type bearer struct {
	next  http.RoundTripper
	token secret.Value
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if !b.token.IsZero() {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	}
	return b.next.RoundTrip(req)
}
