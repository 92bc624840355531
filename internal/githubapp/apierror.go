package githubapp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_primary_ratelimit"
	"github.com/google/go-github/v60/github"

	"stanch/internal/lazyregexp"
)

// APIError is a failed call to GitHub, reduced to what may be logged, stored and
// shown: no URL, no login, no token.
type APIError struct {
	Op         string        // what we wanted, in our words
	Status     int           // HTTP status; 0 when no answer came
	Message    string        // GitHub's message, scrubbed
	RequestID  string        // X-GitHub-Request-Id, for GitHub's support
	RetryAfter time.Duration // how long a rate limit lasts; 0 when it is not one
}

// Error implements error.
func (e *APIError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	if e.Status > 0 {
		fmt.Fprintf(&b, "github answered %d", e.Status)
		if e.Message != "" {
			b.WriteString(" " + e.Message)
		}
	} else {
		b.WriteString(e.Message)
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %s", e.RetryAfter.Round(time.Second))
	}
	if e.RequestID != "" {
		fmt.Fprintf(&b, " (request %s)", e.RequestID)
	}
	return b.String()
}

// Temporary reports whether the same call may work later.
func (e *APIError) Temporary() bool {
	return e.RetryAfter > 0 || e.Status == 0 || e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// Reduce turns an error of a [App.Client] into an [*APIError], or into an error
// that wraps the context's.
func Reduce(op string, err error) error {
	if err == nil {
		return nil
	}
	var done *APIError
	if errors.As(err, &done) {
		return err
	}
	for _, c := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, c) {
			return fmt.Errorf("%s: %w", op, c)
		}
	}
	out := &APIError{Op: op}
	var (
		answer    *github.ErrorResponse
		rate      *github.RateLimitError
		abuse     *github.AbuseRateLimitError
		primary   *github_primary_ratelimit.RateLimitReachedError
		tokenErr  *ghinstallation.HTTPError
		accepted  *github.AcceptedError
		twoFactor *github.TwoFactorAuthError
	)
	switch {
	case errors.As(err, &answer):
		out.from(answer.Response, answer.Message)
	case errors.As(err, &rate):
		out.from(rate.Response, rate.Message)
		out.RetryAfter = max(time.Until(rate.Rate.Reset.Time), time.Second)
	case errors.As(err, &abuse):
		out.from(abuse.Response, abuse.Message)
		out.RetryAfter = max(abuse.GetRetryAfter(), time.Second)
	case errors.As(err, &primary):
		out.from(primary.Response, "rate limit reached")
		if out.Status == 0 {
			out.Status = http.StatusTooManyRequests
		}
		out.RetryAfter = time.Minute
		if primary.ResetTime != nil {
			out.RetryAfter = max(time.Until(*primary.ResetTime), time.Second)
		}
	case errors.As(err, &tokenErr):
		out.from(tokenErr.Response, "no installation token was given")
		if out.Status == 0 {
			out.Message = transportMessage(tokenErr.RootCause)
		}
	case errors.As(err, &accepted):
		out.Status, out.Message = http.StatusAccepted, "not ready yet"
	case errors.As(err, &twoFactor):
		out.from(twoFactor.Response, "two-factor authentication is asked for")
	default:
		out.Message = transportMessage(err)
	}
	return out
}

func (e *APIError) from(resp *http.Response, message string) {
	e.Message = scrub(message)
	if resp == nil {
		return
	}
	e.Status = resp.StatusCode
	e.RequestID = keep(resp.Header.Get("X-GitHub-Request-Id"), requestIDForm())
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 && n < 86_400 {
		e.RetryAfter = time.Duration(n) * time.Second
	}
}

// transportMessage leaves out the URL, whose path names organisations and
// repositories.
func transportMessage(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case err == nil:
		return "no answer"
	case errors.Is(err, errOtherHost):
		return errOtherHost.Error()
	case errors.Is(err, errLongAnswer):
		return errLongAnswer.Error()
	case errors.As(err, &dns):
		return "the host's name cannot be resolved"
	case errors.As(err, &op):
		return "the connection failed: " + scrub(op.Err.Error())
	}
	return "no usable answer"
}

var (
	requestIDForm = lazyregexp.New(`^[A-Za-z0-9:._-]{1,100}$`)
	quotedText    = lazyregexp.New("'[^']*'|\"[^\"]*\"|`[^`]*`")
	tokenText     = lazyregexp.New(`\b(gh[a-z]_|github_pat_|eyJ)[A-Za-z0-9._-]*|[A-Za-z0-9+/_=-]{32,}`)
)

// scrub removes from a message of GitHub what it quotes, for that is what we sent
// or who it is about, and anything that looks like a token.
func scrub(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = quotedText().ReplaceAllString(s, "***")
	s = tokenText().ReplaceAllString(s, "***")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + "..."
	}
	return strings.TrimSpace(s)
}
