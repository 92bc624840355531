package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"stanch/responder/incident"
)

// Delivery is one accepted webhook in its normalised form.
type Delivery struct {
	GUID         string
	Event        string
	Action       string
	BodySHA256   string
	Installation int64
	Repository   string
	SourceIP     string
	Payload      json.RawMessage // as the service sealed it; "{}" once done
	ReceivedAt   time.Time
	State        string // stored, running, done, parked
	Attempts     int
	DoneAt       time.Time
	Error        string
}

// InsertDelivery keeps a delivery unless its id or its body is known; it reports
// whether it was new.
func (t *Tx) InsertDelivery(ctx context.Context, d Delivery) (bool, error) {
	n, err := t.Exec(ctx, `INSERT INTO deliveries (guid, event, action, body_sha256, installation, repository, source_ip, payload, received_at, state)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'stored') ON CONFLICT DO NOTHING`,
		d.GUID, d.Event, d.Action, d.BodySHA256, d.Installation, d.Repository, d.SourceIP, string(d.Payload), Micros(d.ReceivedAt))
	if err != nil {
		return false, fmt.Errorf("store delivery: %w", err)
	}
	return n == 1, nil
}

// Delivery reads one delivery.
func (t *Tx) Delivery(ctx context.Context, guid string) (Delivery, error) {
	var d Delivery
	var payload string
	var received, done int64
	err := t.QueryRow(ctx, `SELECT guid, event, action, body_sha256, installation, repository, source_ip, payload, received_at, state, attempts, done_at, error
 FROM deliveries WHERE guid = $1`, guid).Scan(&d.GUID, &d.Event, &d.Action, &d.BodySHA256, &d.Installation, &d.Repository, &d.SourceIP, &payload, &received, &d.State, &d.Attempts, &done, &d.Error)
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, fmt.Errorf("delivery %s: %w", guid, ErrNotFound)
	}
	d.Payload, d.ReceivedAt, d.DoneAt = json.RawMessage(payload), Time(received), Time(done)
	return d, err
}

// SetDelivery moves a delivery to a state; running counts an attempt, done drops
// the payload.
func (t *Tx) SetDelivery(ctx context.Context, guid, state, errText string, at time.Time) error {
	var done int64
	var attempt int
	switch state {
	case "running":
		attempt = 1
	case "done", "parked":
		done = Micros(at)
	}
	_, err := t.Exec(ctx, `UPDATE deliveries SET state = $2, error = $3, done_at = $4, attempts = attempts + $5,
 payload = CASE WHEN $2 = 'done' THEN '{}' ELSE payload END WHERE guid = $1`,
		guid, state, errText, done, attempt)
	return err
}

// PutInstallation records an installation of the App.
func (t *Tx) PutInstallation(ctx context.Context, id int64, account, state string, permissions map[string]string, at time.Time) error {
	p, err := json.Marshal(permissions)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `INSERT INTO installations (id, account, state, permissions, updated_at) VALUES ($1, $2, $3, $4, $5)
 ON CONFLICT (id) DO UPDATE SET account = excluded.account, state = excluded.state, permissions = excluded.permissions, updated_at = excluded.updated_at`,
		id, account, state, string(p), Micros(at))
	return err
}

// InstallationOf gives the active installation of an account.
func (t *Tx) InstallationOf(ctx context.Context, account string) (int64, error) {
	var id int64
	err := t.QueryRow(ctx, "SELECT id FROM installations WHERE lower(account) = lower($1) AND state = 'active' ORDER BY id DESC LIMIT 1", account).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("installation of %s: %w", account, ErrNotFound)
	}
	return id, err
}

// Repository is a repository that an installation covers.
type Repository struct {
	ID            int64
	FullName      string
	Installation  int64
	Visibility    incident.Visibility
	DefaultBranch string
	LastPushAt    time.Time
}

// PutRepository records a repository; a zero LastPushAt keeps the known one.
func (t *Tx) PutRepository(ctx context.Context, r Repository, at time.Time) error {
	_, err := t.Exec(ctx, `INSERT INTO repositories (id, full_name, installation, visibility, default_branch, last_push_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
 ON CONFLICT (id) DO UPDATE SET full_name = excluded.full_name, installation = excluded.installation, visibility = excluded.visibility,
 default_branch = CASE WHEN excluded.default_branch = '' THEN repositories.default_branch ELSE excluded.default_branch END,
 last_push_at = CASE WHEN excluded.last_push_at > repositories.last_push_at THEN excluded.last_push_at ELSE repositories.last_push_at END,
 updated_at = excluded.updated_at`,
		r.ID, r.FullName, r.Installation, string(r.Visibility), r.DefaultBranch, Micros(r.LastPushAt), Micros(at))
	return err
}

// DropRepository forgets a repository that left an installation; incidents stay.
func (t *Tx) DropRepository(ctx context.Context, id int64) error {
	_, err := t.Exec(ctx, "DELETE FROM repositories WHERE id = $1", id)
	return err
}

// Scan is one look at a push or a history.
type Scan struct {
	ID         string
	Delivery   string
	Kind       string // push, public, sweep, alert
	Repository string
	Ref        string
	Before     string
	After      string
	Partial    bool
	Reasons    []string
	Commits    int
	Blobs      int
	Bytes      int64
	Findings   int
	Suppressed int
	StartedAt  time.Time
	DoneAt     time.Time
}

// AddScan records a scan; a scan with the same id is replaced.
func (t *Tx) AddScan(ctx context.Context, s Scan) error {
	reasons, err := json.Marshal(s.Reasons)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `INSERT INTO scans (id, delivery, kind, repository, ref, before_id, after_id, partial, reasons, commits, blobs, bytes, findings, suppressed, started_at, done_at)
 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)
 ON CONFLICT (id) DO UPDATE SET partial = excluded.partial, reasons = excluded.reasons, commits = excluded.commits, blobs = excluded.blobs,
 bytes = excluded.bytes, findings = excluded.findings, suppressed = excluded.suppressed, done_at = excluded.done_at`,
		s.ID, s.Delivery, s.Kind, s.Repository, s.Ref, s.Before, s.After, bit(s.Partial), string(reasons), s.Commits, s.Blobs, s.Bytes, s.Findings, s.Suppressed,
		Micros(s.StartedAt), Micros(s.DoneAt))
	if err != nil {
		return fmt.Errorf("record scan: %w", err)
	}
	_, err = t.Exec(ctx, "UPDATE repositories SET last_scan_at = $2 WHERE full_name = $1", s.Repository, Micros(s.DoneAt))
	return err
}

// RepositoryByName reads a repository by owner/name.
func (t *Tx) RepositoryByName(ctx context.Context, name string) (Repository, error) {
	var r Repository
	var visibility string
	var pushed int64
	err := t.QueryRow(ctx, `SELECT id, full_name, installation, visibility, default_branch, last_push_at FROM repositories WHERE full_name = $1
 ORDER BY updated_at DESC LIMIT 1`, name).Scan(&r.ID, &r.FullName, &r.Installation, &visibility, &r.DefaultBranch, &pushed)
	if errors.Is(err, sql.ErrNoRows) {
		return Repository{}, fmt.Errorf("repository %s: %w", name, ErrNotFound)
	}
	r.Visibility, r.LastPushAt = incident.Visibility(visibility), Time(pushed)
	return r, err
}

// Installations gives the active installations by account.
func (t *Tx) Installations(ctx context.Context) (map[string]int64, error) {
	rows, err := t.Query(ctx, "SELECT account, id FROM installations WHERE state = 'active' ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]int64{}
	for rows.Next() {
		var account string
		var id int64
		err := rows.Scan(&account, &id)
		if err != nil {
			return nil, err
		}
		out[account] = id
	}
	return out, rows.Err()
}
