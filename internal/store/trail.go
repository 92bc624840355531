package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stanch/responder/trail"
)

// AddTrail keeps events that are not yet known and moves the source's cursor, in
// the caller's transaction; it reports how many were new.
func (t *Tx) AddTrail(ctx context.Context, id, source string, events []trail.Event, cursor trail.Cursor) (int, error) {
	added := 0
	for _, e := range events {
		data, err := json.Marshal(e)
		if err != nil {
			return added, err
		}
		n, err := t.Exec(ctx, `INSERT INTO trail_events (incident_id, source, event_id, at, data) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			id, source, e.ID, Micros(e.Time), string(data))
		if err != nil {
			return added, fmt.Errorf("keep event: %w", err)
		}
		added += int(n)
	}
	c, err := json.Marshal(cursor)
	if err != nil {
		return added, err
	}
	_, err = t.Exec(ctx, `INSERT INTO trail_cursors (incident_id, source, cursor_data) VALUES ($1, $2, $3)
 ON CONFLICT (incident_id, source) DO UPDATE SET cursor_data = excluded.cursor_data`, id, source, string(c))
	return added, err
}

// TrailCursor reads where a source stopped; nil when it never began.
func (t *Tx) TrailCursor(ctx context.Context, id, source string) (trail.Cursor, error) {
	var data string
	err := t.QueryRow(ctx, "SELECT cursor_data FROM trail_cursors WHERE incident_id = $1 AND source = $2", id, source).Scan(&data)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c trail.Cursor
	err = json.Unmarshal([]byte(data), &c)
	return c, err
}

// TrailEvents reads the trail of an incident, oldest first.
func (t *Tx) TrailEvents(ctx context.Context, id string) ([]trail.Event, error) {
	rows, err := t.Query(ctx, "SELECT data FROM trail_events WHERE incident_id = $1 ORDER BY at, event_id", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []trail.Event
	for rows.Next() {
		var data string
		err := rows.Scan(&data)
		if err != nil {
			return nil, err
		}
		var e trail.Event
		err = json.Unmarshal([]byte(data), &e)
		if err != nil {
			return nil, fmt.Errorf("event of incident %s: %w", id, err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// PutCoverage replaces what a source said of one scope.
func (t *Tx) PutCoverage(ctx context.Context, id string, c trail.Coverage) error {
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `INSERT INTO trail_coverage (incident_id, source, scope, data) VALUES ($1, $2, $3, $4)
 ON CONFLICT (incident_id, source, scope) DO UPDATE SET data = excluded.data`, id, c.Source, c.Scope, string(data))
	return err
}

// Coverage reads what the sources of an incident said.
func (t *Tx) Coverage(ctx context.Context, id string) ([]trail.Coverage, error) {
	rows, err := t.Query(ctx, "SELECT data FROM trail_coverage WHERE incident_id = $1 ORDER BY source, scope", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []trail.Coverage
	for rows.Next() {
		var data string
		err := rows.Scan(&data)
		if err != nil {
			return nil, err
		}
		var c trail.Coverage
		err = json.Unmarshal([]byte(data), &c)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// ReportRow is one kept version of a report.
type ReportRow struct {
	Version   int
	CreatedAt time.Time
	Final     bool
	SHA256    string
	Evidence  string // hash of what it was made from; equal evidence needs no new version
	Data      []byte // canonical JSON
}

// AddReport keeps a version.
func (t *Tx) AddReport(ctx context.Context, id string, r ReportRow) error {
	_, err := t.Exec(ctx, `INSERT INTO reports (incident_id, version, created_at, final, sha256, evidence, data) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, r.Version, Micros(r.CreatedAt), bit(r.Final), r.SHA256, r.Evidence, string(r.Data))
	if err != nil {
		return fmt.Errorf("keep report: %w", err)
	}
	return nil
}

// Report reads a version of an incident's report; 0 means the newest.
func (t *Tx) Report(ctx context.Context, id string, version int) (ReportRow, error) {
	var r ReportRow
	var created, final int64
	var data string
	err := t.QueryRow(ctx, `SELECT version, created_at, final, sha256, evidence, data FROM reports
 WHERE incident_id = $1 AND ($2 = 0 OR version = $2) ORDER BY version DESC LIMIT 1`, id, version).Scan(&r.Version, &created, &final, &r.SHA256, &r.Evidence, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return ReportRow{}, fmt.Errorf("report: %w", ErrNotFound)
	}
	r.CreatedAt, r.Final, r.Data = Time(created), final != 0, []byte(data)
	return r, err
}
