package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"stanch/responder/incident"
)

// ErrNotFound means that there is no such row.
var ErrNotFound = errors.New("not found")

const incidentColumns = `id, fingerprint, provider, kind, public_id, account, title, severity, severity_why, state, mode, round,
 verdict, verdict_why, class, confidence, facts, reference, exposed_at, exposed_from, received_at, opened_at, verdict_at,
 contained_at, proved_at, aware_at, closed_at, updated_at`

// InsertIncident adds an incident unless one for the same fingerprint exists;
// it reports whether it did.
func (t *Tx) InsertIncident(ctx context.Context, i incident.Incident) (bool, error) {
	facts, err := json.Marshal(i.Facts)
	if err != nil {
		return false, err
	}
	n, err := t.Exec(ctx, `INSERT INTO incidents (`+incidentColumns+`)
 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,$21,$22,$23,$24,$25,$26,$27,$28)
 ON CONFLICT DO NOTHING`,
		i.ID, i.Fingerprint, i.Provider, i.Kind, i.PublicID, i.Account, i.Title, i.Severity, i.SeverityWhy, string(i.State), string(i.Mode), i.Round,
		i.Verdict, i.VerdictWhy, i.Class, i.Confidence, string(facts), i.Reference, Micros(i.ExposedAt), i.ExposedFrom, Micros(i.ReceivedAt), Micros(i.OpenedAt), Micros(i.VerdictAt),
		Micros(i.ContainedAt), Micros(i.ProvedAt), Micros(i.AwareAt), Micros(i.ClosedAt), Micros(i.UpdatedAt))
	if err != nil {
		return false, fmt.Errorf("insert incident: %w", err)
	}
	return n == 1, nil
}

// UpdateIncident writes every field that may change.
func (t *Tx) UpdateIncident(ctx context.Context, i incident.Incident) error {
	facts, err := json.Marshal(i.Facts)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `UPDATE incidents SET account=$2, title=$3, severity=$4, severity_why=$5, state=$6, mode=$7, round=$8, verdict=$9,
 verdict_why=$10, class=$11, confidence=$12, facts=$13, exposed_at=$14, exposed_from=$15, verdict_at=$16, contained_at=$17,
 proved_at=$18, aware_at=$19, closed_at=$20, updated_at=$21 WHERE id=$1`,
		i.ID, i.Account, i.Title, i.Severity, i.SeverityWhy, string(i.State), string(i.Mode), i.Round, i.Verdict,
		i.VerdictWhy, i.Class, i.Confidence, string(facts), Micros(i.ExposedAt), i.ExposedFrom, Micros(i.VerdictAt), Micros(i.ContainedAt),
		Micros(i.ProvedAt), Micros(i.AwareAt), Micros(i.ClosedAt), Micros(i.UpdatedAt))
	if err != nil {
		return fmt.Errorf("update incident: %w", err)
	}
	return nil
}

// Incident reads one incident by id; inside a PostgreSQL transaction it locks the row.
func (t *Tx) Incident(ctx context.Context, id string) (incident.Incident, error) {
	return t.incidentWhere(ctx, "id = $1", id)
}

// IncidentByFingerprint reads the incident of a credential.
func (t *Tx) IncidentByFingerprint(ctx context.Context, fingerprint string) (incident.Incident, error) {
	return t.incidentWhere(ctx, "fingerprint = $1", fingerprint)
}

func (t *Tx) incidentWhere(ctx context.Context, where, arg string) (incident.Incident, error) {
	lock := ""
	if t.pg != nil {
		lock = " FOR UPDATE"
	}
	i, err := scanIncident(t.QueryRow(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE "+where+lock, arg))
	if errors.Is(err, sql.ErrNoRows) {
		return incident.Incident{}, fmt.Errorf("incident %s: %w", arg, ErrNotFound)
	}
	if err != nil {
		return incident.Incident{}, fmt.Errorf("read incident: %w", err)
	}
	return i, nil
}

// FindIncident reads the one incident whose id is or begins with prefix.
func (t *Tx) FindIncident(ctx context.Context, prefix string) (incident.Incident, error) {
	if len(prefix) < 4 {
		return incident.Incident{}, fmt.Errorf("incident %q: at least four characters of the id are needed: %w", prefix, ErrNotFound)
	}
	if strings.ContainsAny(prefix, "%_\\") {
		return incident.Incident{}, fmt.Errorf("incident %q: %w", prefix, ErrNotFound)
	}
	rows, err := t.Query(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE id LIKE $1 ORDER BY id LIMIT 2", prefix+"%")
	if err != nil {
		return incident.Incident{}, err
	}
	defer rows.Close()
	found, err := scanIncidents(rows)
	switch {
	case err != nil:
		return incident.Incident{}, err
	case len(found) == 0:
		return incident.Incident{}, fmt.Errorf("incident %q: %w", prefix, ErrNotFound)
	case len(found) > 1:
		return incident.Incident{}, fmt.Errorf("incident %q: more than one begins so", prefix)
	}
	return found[0], nil
}

// IncidentFilter picks incidents; empty fields match all.
type IncidentFilter struct {
	State    string
	Provider string
	Limit    int // 0 means 100
}

// Incidents lists incidents, newest first.
func (t *Tx) Incidents(ctx context.Context, f IncidentFilter) ([]incident.Incident, error) {
	if f.Limit == 0 {
		f.Limit = 100
	}
	rows, err := t.Query(ctx, "SELECT "+incidentColumns+` FROM incidents WHERE ($1 = '' OR state = $1) AND ($2 = '' OR provider = $2)
 ORDER BY opened_at DESC, id DESC LIMIT $3`, f.State, f.Provider, f.Limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return scanIncidents(rows)
}

// IncidentStates counts incidents by state.
func (t *Tx) IncidentStates(ctx context.Context) (map[string]int64, error) {
	rows, err := t.Query(ctx, "SELECT state, count(*) FROM incidents GROUP BY state")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]int64{}
	for rows.Next() {
		var s string
		var n int64
		err := rows.Scan(&s, &n)
		if err != nil {
			return nil, err
		}
		out[s] = n
	}
	return out, rows.Err()
}

func scanIncidents(rows *sql.Rows) ([]incident.Incident, error) {
	var out []incident.Incident
	for rows.Next() {
		i, err := scanIncident(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, rows.Err()
}

func scanIncident(row interface{ Scan(...any) error }) (incident.Incident, error) {
	var i incident.Incident
	var state, mode, facts string
	var exposed, received, opened, verdict, contained, proved, aware, closed, updated int64
	err := row.Scan(&i.ID, &i.Fingerprint, &i.Provider, &i.Kind, &i.PublicID, &i.Account, &i.Title, &i.Severity, &i.SeverityWhy, &state, &mode, &i.Round,
		&i.Verdict, &i.VerdictWhy, &i.Class, &i.Confidence, &facts, &i.Reference, &exposed, &i.ExposedFrom, &received, &opened, &verdict,
		&contained, &proved, &aware, &closed, &updated)
	if err != nil {
		return incident.Incident{}, err
	}
	err = json.Unmarshal([]byte(facts), &i.Facts)
	if err != nil {
		return incident.Incident{}, fmt.Errorf("facts of incident %s: %w", i.ID, err)
	}
	i.State, i.Mode = incident.State(state), incident.Mode(mode)
	i.ReceivedAt = Time(received)
	i.ExposedAt, i.OpenedAt, i.VerdictAt, i.ContainedAt = Time(exposed), Time(opened), Time(verdict), Time(contained)
	i.ProvedAt, i.AwareAt, i.ClosedAt, i.UpdatedAt = Time(proved), Time(aware), Time(closed), Time(updated)
	return i, nil
}

// AddState appends to an incident's history.
func (t *Tx) AddState(ctx context.Context, id string, c incident.StateChange) error {
	_, err := t.Exec(ctx, `INSERT INTO incident_states (incident_id, seq, state, at, reason)
 SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4 FROM incident_states WHERE incident_id = $1`,
		id, string(c.State), Micros(c.At), c.Reason)
	if err != nil {
		return fmt.Errorf("record state: %w", err)
	}
	return nil
}

// States reads an incident's history, oldest first.
func (t *Tx) States(ctx context.Context, id string) ([]incident.StateChange, error) {
	rows, err := t.Query(ctx, "SELECT state, at, reason FROM incident_states WHERE incident_id = $1 ORDER BY seq", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []incident.StateChange
	for rows.Next() {
		var c incident.StateChange
		var state string
		var at int64
		err := rows.Scan(&state, &at, &c.Reason)
		if err != nil {
			return nil, err
		}
		c.State, c.At = incident.State(state), Time(at)
		out = append(out, c)
	}
	return out, rows.Err()
}

// PutSecret keeps the sealed credential of an incident.
func (t *Tx) PutSecret(ctx context.Context, id string, wrappedKey, ciphertext []byte, at time.Time) error {
	_, err := t.Exec(ctx, `INSERT INTO incident_secrets (incident_id, wrapped_key, ciphertext, sealed_at) VALUES ($1, $2, $3, $4)
 ON CONFLICT (incident_id) DO UPDATE SET wrapped_key = excluded.wrapped_key, ciphertext = excluded.ciphertext, sealed_at = excluded.sealed_at`,
		id, wrappedKey, ciphertext, Micros(at))
	if err != nil {
		return fmt.Errorf("keep sealed credential: %w", err)
	}
	return nil
}

// Secret reads the sealed credential; [ErrNotFound] once it is destroyed.
func (t *Tx) Secret(ctx context.Context, id string) (wrappedKey, ciphertext []byte, err error) {
	err = t.QueryRow(ctx, "SELECT wrapped_key, ciphertext FROM incident_secrets WHERE incident_id = $1", id).Scan(&wrappedKey, &ciphertext)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, fmt.Errorf("sealed credential: %w", ErrNotFound)
	}
	return wrappedKey, ciphertext, err
}

// DestroySecret deletes the wrapped key and the ciphertext; it reports whether there was one.
func (t *Tx) DestroySecret(ctx context.Context, id string) (bool, error) {
	n, err := t.Exec(ctx, "DELETE FROM incident_secrets WHERE incident_id = $1", id)
	return n > 0, err
}

// StaleSecrets lists incidents whose credential was sealed before a time and still is.
func (t *Tx) StaleSecrets(ctx context.Context, before time.Time) ([]string, error) {
	rows, err := t.Query(ctx, "SELECT incident_id FROM incident_secrets WHERE sealed_at < $1 ORDER BY sealed_at LIMIT 100", Micros(before))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var id string
		err := rows.Scan(&id)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// AddLedgerRef remembers that a ledger entry speaks of an incident.
func (t *Tx) AddLedgerRef(ctx context.Context, id string, index int64) error {
	_, err := t.Exec(ctx, "INSERT INTO ledger_incidents (incident_id, idx) VALUES ($1, $2) ON CONFLICT DO NOTHING", id, index)
	return err
}

// LedgerRefs lists the ledger entries that speak of an incident, oldest first.
func (t *Tx) LedgerRefs(ctx context.Context, id string) ([]int64, error) {
	rows, err := t.Query(ctx, "SELECT idx FROM ledger_incidents WHERE incident_id = $1 ORDER BY idx", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var n int64
		err := rows.Scan(&n)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}
