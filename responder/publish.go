package responder

import (
	"context"
	"fmt"
	"time"

	"stanch/internal/store"
)

// Published tells the engine that a repository became public at at: every
// incident seen in it is exposed to everyone from then on.
func (e *Engine) Published(ctx context.Context, tx *store.Tx, repository string, at time.Time) error {
	ids, err := tx.PublishSightings(ctx, repository, at, "public event")
	if err != nil {
		return err
	}
	for _, id := range ids {
		inc, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		inc.Severity, inc.SeverityWhy = severity("public", inc.Verdict, inc.Provider != "")
		inc.UpdatedAt = e.Now()
		err = tx.UpdateIncident(ctx, inc)
		if err != nil {
			return err
		}
		err = e.record(ctx, tx, inc, "incident.published", "success", map[string]string{"repository": repository})
		if err != nil {
			return err
		}
		err = e.enqueueReport(ctx, tx, inc)
		if err != nil {
			return fmt.Errorf("publish %s: %w", repository, err)
		}
	}
	return nil
}
