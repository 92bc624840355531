package gitwire

import (
	"errors"
	"fmt"
	"strings"
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
)

// gitFailure turns what git wrote on standard error into an error. The text
// comes from git and from the remote: it is cut, made printable, and stripped
// of our token.
func gitFailure(what, stderr, token string, cause error) error {
	kind := classify(stderr)
	text := firstComplaint(stderr, token)
	switch {
	case kind != nil && text != "":
		return fmt.Errorf("%s: %w: %s", what, kind, text)
	case kind != nil:
		return fmt.Errorf("%s: %w", what, kind)
	case text != "":
		return fmt.Errorf("%s: %s", what, text)
	}
	return fmt.Errorf("%s: %w", what, cause)
}

func classify(stderr string) error {
	has := func(subs ...string) bool {
		for _, s := range subs {
			if strings.Contains(stderr, s) {
				return true
			}
		}
		return false
	}
	switch {
	case has("returned error: 301", "returned error: 302", "returned error: 307", "returned error: 308"):
		return ErrMoved
	case has("returned error: 403", "Authentication failed", "could not read Username", "could not read Password"):
		return ErrRefused
	case has("returned error: 404", "' not found", "not our ref", "Server does not allow request for unadvertised object"):
		return ErrNotFound
	}
	return nil
}

// firstComplaint is the first fatal or error line, at most 200 printable bytes.
func firstComplaint(stderr, token string) string {
	if token != "" {
		stderr = strings.ReplaceAll(stderr, token, "[redacted]")
	}
	for _, prefix := range []string{"fatal: ", "error: ", ""} {
		for line := range strings.Lines(stderr) {
			rest, ok := strings.CutPrefix(strings.TrimSpace(line), prefix)
			if ok && rest != "" {
				return printable(rest, 200)
			}
		}
	}
	return ""
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
