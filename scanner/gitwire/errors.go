package gitwire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Reasons for which a fetch fails for good, or must be handled apart.
var (
	// ErrNotFound: the server does not know the repository, the object is gone,
	// or the token does not reach it (GitHub answers 404 for both).
	ErrNotFound = errors.New("repository or object not found")
	// ErrRefused: the server refused our token.
	ErrRefused = errors.New("access refused")
	// ErrMoved: the server redirects; the repository has another name now. Ask the
	// API for it by id: following would send the token along.
	ErrMoved = errors.New("repository moved")
	// ErrTooLarge: Limits.PackBytes was reached.
	ErrTooLarge = errors.New("size limit reached")
	// ErrTimeout: Limits.Timeout ran out.
	ErrTimeout = errors.New("time limit reached")
	// ErrProtocol: the server does not speak version 2 of Git's protocol, which
	// came with Git 2.18.
	ErrProtocol = errors.New("the server does not speak version 2 of Git's protocol")
)

// errArgument: the server does not know something that we asked for.
var errArgument = errors.New("the server does not take what was asked")

// BusyError means that the server wants to be asked later.
type BusyError struct {
	Status int
	After  time.Duration // what its Retry-After says, in seconds; 0 when it says none
}

// Error implements error.
func (e *BusyError) Error() string {
	return fmt.Sprintf("the server answered %d: it wants to be asked later", e.Status)
}

// retryAfter reads the header in its form of seconds, which is what Git hosts send.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 || n > 24*3600 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// serverError is what the server said in place of an answer. The text is the
// server's: it is cut and made printable.
func serverError(text string) error {
	var kind error
	switch {
	case strings.Contains(text, "not our ref"), strings.Contains(text, "unadvertised object"):
		kind = ErrNotFound
	case strings.Contains(text, "unexpected line"), strings.Contains(text, "unknown capability"), strings.Contains(text, "filter"):
		kind = errArgument
	}
	text = printable(strings.TrimSpace(text), 200)
	if kind == nil {
		return fmt.Errorf("server says: %s", text)
	}
	return fmt.Errorf("%w: server says: %s", kind, text)
}

// statusError is what an HTTP status other than 200 means.
func statusError(status int, h http.Header) error {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &BusyError{status, retryAfter(h)}
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return fmt.Errorf("%w: the server answered %d", ErrMoved, status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: the server answered %d", ErrRefused, status)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: the server answered %d", ErrNotFound, status)
	}
	return fmt.Errorf("the server answered %d", status)
}

func printable(s string, limit int) string {
	out := make([]byte, 0, min(len(s), limit))
	for i := 0; i < len(s) && len(out) < limit; i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
