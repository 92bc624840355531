package gitwire

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stanch/internal/secret"
)

// Remote names a repository as a whole.
type Remote struct {
	URL   string // clone URL, http or https, without user information
	Token secret.Value
}

// Mirror fetches every ref of a repository with all its objects into a bare
// store in Limits.TempDir and returns the store's directory. The caller calls
// cleanup, which deletes it, when done; after a crash [Sweep] does. Use the
// directory as a Git directory that is not trusted: it holds the repository's
// bytes, no configuration of it. Errors are those of [Fetch]; there is no
// partial mirror.
func Mirror(ctx context.Context, r Remote, l Limits) (dir string, cleanup func(), err error) {
	err = checkURL(r.URL)
	if err != nil {
		return "", nil, err
	}
	l = l.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, ErrTimeout)
	defer cancel()
	s, err := newSession(r.URL, r.Token, l)
	if err != nil {
		return "", nil, err
	}
	st, err := s.mirror(ctx)
	if err != nil {
		s.close()
		return "", nil, fmt.Errorf("mirror repository: %w", err)
	}
	return st.dir, s.close, nil
}

func (s *session) mirror(ctx context.Context) (*store, error) {
	args := append([]string{"fetch"}, fetchFlags...)
	args = append(args, "origin", "+refs/*:refs/*")
	for _, idLen := range []int{40, 64} {
		st, err := s.newStore("mirror"+strconv.Itoa(idLen), idLen, false)
		if err != nil {
			return nil, err
		}
		_, err = s.remote(ctx, st, "fetch all refs", nil, args...)
		if err == nil || idLen == 64 || !strings.Contains(err.Error(), "mismatched algorithms") {
			return st, err
		}
	}
	return nil, errors.New("fetch all refs: unknown object format")
}
