package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// BeginSweep notes that a sweep of an installation begins, and reports whether it
// may: the one before began before due, and has looked at every repository that it
// listed, or began before stale. Of several processes one is told so.
func (t *Tx) BeginSweep(ctx context.Context, installation int64, reference string, at, due, stale time.Time) (bool, error) {
	n, err := t.Exec(ctx, `INSERT INTO sweeps (installation, reference, began_at) VALUES ($1, $2, $3)
 ON CONFLICT (installation) DO UPDATE SET reference = excluded.reference, began_at = excluded.began_at, repositories = 0
 WHERE sweeps.began_at <= $4 AND (sweeps.began_at <= $5 OR sweeps.repositories > 0 AND sweeps.repositories <=
 (SELECT count(*) FROM swept WHERE swept.installation = sweeps.installation AND swept.reference = sweeps.reference))`,
		installation, reference, Micros(at), Micros(due), Micros(stale))
	if err != nil {
		return false, fmt.Errorf("begin sweep: %w", err)
	}
	return n > 0, nil
}

// ListedSweep notes how many repositories a sweep has to look at.
func (t *Tx) ListedSweep(ctx context.Context, installation int64, reference string, repositories int) error {
	_, err := t.Exec(ctx, "UPDATE sweeps SET repositories = $3 WHERE installation = $1 AND reference = $2", installation, reference, repositories)
	if err != nil {
		return fmt.Errorf("note sweep: %w", err)
	}
	return nil
}

// Swept reads into known, as JSON, what the last look at a repository left, and
// gives the sweep that looked; "" and an untouched known where none did.
func (t *Tx) Swept(ctx context.Context, repository int64, known any) (reference string, err error) {
	var text string
	err = t.QueryRow(ctx, "SELECT reference, known FROM swept WHERE repository = $1", repository).Scan(&reference, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), known)
	}
	if err != nil {
		return "", fmt.Errorf("read what was swept: %w", err)
	}
	return reference, nil
}

// PutSwept keeps what a look at a repository leaves for the next one.
func (t *Tx) PutSwept(ctx context.Context, repository, installation int64, reference string, known any, at time.Time) error {
	text, err := json.Marshal(known)
	if err == nil {
		_, err = t.Exec(ctx, `INSERT INTO swept (repository, installation, reference, known, at) VALUES ($1, $2, $3, $4, $5)
 ON CONFLICT (repository) DO UPDATE SET installation = excluded.installation, reference = excluded.reference, known = excluded.known, at = excluded.at`,
			repository, installation, reference, string(text), Micros(at))
	}
	if err != nil {
		return fmt.Errorf("keep what was swept: %w", err)
	}
	return nil
}
