package gitwire

import (
	"context"
	"fmt"
)

// Refs hands the name and the object id of each ref of a repository to fn, in the
// server's order and without HEAD, so that a caller can tell whether anything
// changed without fetching it. Names that [Clone] does not take are left out.
// Errors are those of [Fetch], and fn's.
func Refs(ctx context.Context, r Remote, l Limits, fn func(name, id string) error) error {
	err := checkURL(r.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.withDefaults().Timeout, ErrTimeout)
	defer cancel()
	from := newRemote(r.URL, r.Token, 20)
	err = from.format(ctx)
	if err == nil {
		err = from.refs(ctx, func(x ref) error {
			if !plainRef(x.Name) {
				return nil
			}
			return fn(x.Name, x.ID)
		})
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	return nil
}
