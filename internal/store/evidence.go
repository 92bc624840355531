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

// AddSighting records a place unless it is known; it reports whether it was new.
func (t *Tx) AddSighting(ctx context.Context, s incident.Sighting) (bool, error) {
	n, err := t.Exec(ctx, `INSERT INTO sightings (incident_id, seq, repository, visibility, ref, commit_id, path, object, line, col, rule, part,
 author, author_email, committer, pusher, authored_at, committed_at, exposed_at, exposed_from, delivery, removed, seen_at)
 SELECT $1, coalesce(max(seq), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22
 FROM sightings WHERE incident_id = $1
 ON CONFLICT (incident_id, repository, commit_id, path, object, line, col, part) DO NOTHING`,
		s.IncidentID, s.Repository, string(s.Visibility), s.Ref, s.Commit, s.Path, s.Object, s.Line, s.Column, s.Rule, s.Part,
		s.Author, s.AuthorEmail, s.Committer, s.Pusher, Micros(s.AuthoredAt), Micros(s.CommittedAt), Micros(s.ExposedAt), s.ExposedFrom,
		s.Delivery, bit(s.Removed), Micros(s.SeenAt))
	if err != nil {
		return false, fmt.Errorf("add sighting: %w", err)
	}
	return n == 1, nil
}

// PublishSightings marks every sighting in a repository that became public; it
// gives the incidents that they belong to.
func (t *Tx) PublishSightings(ctx context.Context, repository string, at time.Time, from string) ([]string, error) {
	rows, err := t.Query(ctx, `SELECT DISTINCT incident_id FROM sightings WHERE repository = $1 AND visibility <> 'public'`, repository)
	if err != nil {
		return nil, err
	}
	var ids []string
	for rows.Next() {
		var id string
		err := rows.Scan(&id)
		if err != nil {
			rows.Close()
			return nil, err
		}
		ids = append(ids, id)
	}
	rows.Close()
	err = rows.Err()
	if err != nil {
		return nil, err
	}
	_, err = t.Exec(ctx, `UPDATE sightings SET visibility = 'public', exposed_at = $2, exposed_from = $3 WHERE repository = $1 AND visibility <> 'public'`,
		repository, Micros(at), from)
	return ids, err
}

// Sightings reads the places of an incident, in the order of their discovery.
func (t *Tx) Sightings(ctx context.Context, id string) ([]incident.Sighting, error) {
	rows, err := t.Query(ctx, `SELECT seq, incident_id, repository, visibility, ref, commit_id, path, object, line, col, rule, part,
 author, author_email, committer, pusher, authored_at, committed_at, exposed_at, exposed_from, delivery, removed, seen_at
 FROM sightings WHERE incident_id = $1 ORDER BY seq`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []incident.Sighting
	for rows.Next() {
		var s incident.Sighting
		var visibility string
		var authored, committed, exposed, seen, removed int64
		err := rows.Scan(&s.ID, &s.IncidentID, &s.Repository, &visibility, &s.Ref, &s.Commit, &s.Path, &s.Object, &s.Line, &s.Column, &s.Rule, &s.Part,
			&s.Author, &s.AuthorEmail, &s.Committer, &s.Pusher, &authored, &committed, &exposed, &s.ExposedFrom, &s.Delivery, &removed, &seen)
		if err != nil {
			return nil, err
		}
		s.Visibility, s.Removed = incident.Visibility(visibility), removed != 0
		s.AuthoredAt, s.CommittedAt, s.ExposedAt, s.SeenAt = Time(authored), Time(committed), Time(exposed), Time(seen)
		out = append(out, s)
	}
	return out, rows.Err()
}

// BeginStep records that a step starts an attempt and gives the row. A step that
// is already done is returned unchanged.
func (t *Tx) BeginStep(ctx context.Context, id string, round int, name string, at time.Time) (incident.Step, error) {
	_, err := t.Exec(ctx, `INSERT INTO steps (incident_id, round, name, state, attempts, started_at) VALUES ($1, $2, $3, 'running', 1, $4)
 ON CONFLICT (incident_id, round, name) DO UPDATE SET attempts = steps.attempts + 1, state = 'running' WHERE steps.state IN ('running', 'waiting', 'failed')`,
		id, round, name, Micros(at))
	if err != nil {
		return incident.Step{}, fmt.Errorf("begin step: %w", err)
	}
	return t.Step(ctx, id, round, name)
}

// NoteStep keeps why a running step must be tried again, for whoever asks what an
// incident waits for. errText holds no secret.
func (t *Tx) NoteStep(ctx context.Context, id string, round int, name, errText string) error {
	_, err := t.Exec(ctx, `UPDATE steps SET error = $4 WHERE incident_id = $1 AND round = $2 AND name = $3 AND state = 'running'`, id, round, name, errText)
	if err != nil {
		return fmt.Errorf("note step: %w", err)
	}
	return nil
}

// FinishStep closes a step with its result.
func (t *Tx) FinishStep(ctx context.Context, id string, round int, name, state string, result any, errText string, at time.Time) error {
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `UPDATE steps SET state = $4, result = $5, error = $6, done_at = $7 WHERE incident_id = $1 AND round = $2 AND name = $3`,
		id, round, name, state, string(data), errText, Micros(at))
	if err != nil {
		return fmt.Errorf("finish step: %w", err)
	}
	return nil
}

const stepColumns = "incident_id, round, name, state, attempts, started_at, done_at, result, error"

// Step reads one step; [ErrNotFound] when it never began.
func (t *Tx) Step(ctx context.Context, id string, round int, name string) (incident.Step, error) {
	s, err := scanStep(t.QueryRow(ctx, "SELECT "+stepColumns+" FROM steps WHERE incident_id = $1 AND round = $2 AND name = $3", id, round, name))
	if errors.Is(err, sql.ErrNoRows) {
		return incident.Step{}, fmt.Errorf("step %s: %w", name, ErrNotFound)
	}
	return s, err
}

// Steps reads every step of an incident in the order in which they began.
func (t *Tx) Steps(ctx context.Context, id string) ([]incident.Step, error) {
	rows, err := t.Query(ctx, "SELECT "+stepColumns+" FROM steps WHERE incident_id = $1 ORDER BY round, started_at, name", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []incident.Step
	for rows.Next() {
		s, err := scanStep(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

func scanStep(row interface{ Scan(...any) error }) (incident.Step, error) {
	var s incident.Step
	var started, done int64
	var result string
	err := row.Scan(&s.IncidentID, &s.Round, &s.Name, &s.State, &s.Attempts, &started, &done, &result, &s.Error)
	s.StartedAt, s.DoneAt = Time(started), Time(done)
	if result != "" {
		s.Result = json.RawMessage(result)
	}
	return s, err
}

// PutAction writes an action as it stands.
func (t *Tx) PutAction(ctx context.Context, a incident.Action, account string) error {
	requests, err := json.Marshal(a.Requests)
	if err != nil {
		return err
	}
	undo, err := json.Marshal(a.Undo)
	if err != nil {
		return err
	}
	_, err = t.Exec(ctx, `INSERT INTO actions (incident_id, round, name, state, actor, done_with, binding, reversible, collateral, account, at, detail, requests, undo, undone_at, undone_by)
 VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16)
 ON CONFLICT (incident_id, round, name) DO UPDATE SET state = excluded.state, actor = excluded.actor, at = excluded.at, detail = excluded.detail,
 requests = excluded.requests, undo = excluded.undo, undone_at = excluded.undone_at, undone_by = excluded.undone_by`,
		a.IncidentID, a.Round, a.Name, a.State, a.Actor, a.With, a.Binding, bit(a.Reversible), a.Collateral, account, Micros(a.At), a.Detail,
		string(requests), string(undo), Micros(a.UndoneAt), a.UndoneBy)
	if err != nil {
		return fmt.Errorf("record action: %w", err)
	}
	return nil
}

// Actions reads what was done in an incident, oldest first.
func (t *Tx) Actions(ctx context.Context, id string) ([]incident.Action, error) {
	rows, err := t.Query(ctx, `SELECT incident_id, round, name, state, actor, done_with, binding, reversible, collateral, at, detail, requests, undo, undone_at, undone_by
 FROM actions WHERE incident_id = $1 ORDER BY round, at, name`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []incident.Action
	for rows.Next() {
		var a incident.Action
		var reversible, at, undoneAt int64
		var requests, undo string
		err := rows.Scan(&a.IncidentID, &a.Round, &a.Name, &a.State, &a.Actor, &a.With, &a.Binding, &reversible, &a.Collateral, &at, &a.Detail, &requests, &undo, &undoneAt, &a.UndoneBy)
		if err != nil {
			return nil, err
		}
		err = errors.Join(json.Unmarshal([]byte(requests), &a.Requests), json.Unmarshal([]byte(undo), &a.Undo))
		if err != nil {
			return nil, fmt.Errorf("action %s: %w", a.Name, err)
		}
		a.Reversible, a.At, a.UndoneAt = reversible != 0, Time(at), Time(undoneAt)
		out = append(out, a)
	}
	return out, rows.Err()
}

// ActsSince counts acts that reached a provider account after since, for the breaker.
func (t *Tx) ActsSince(ctx context.Context, account string, since time.Time) (int, error) {
	var n int
	err := t.QueryRow(ctx, "SELECT count(*) FROM actions WHERE account = $1 AND at >= $2 AND state IN ('done', 'already', 'running')", account, Micros(since)).Scan(&n)
	return n, err
}

// VerdictsSince counts identify steps of a provider that began after since, for
// credentials that were seen in a repository and pushed by a person; "" means any.
func (t *Tx) VerdictsSince(ctx context.Context, provider, repository, pusher string, since time.Time) (int, error) {
	var n int
	err := t.QueryRow(ctx, `SELECT count(*) FROM steps JOIN incidents ON incidents.id = steps.incident_id
 WHERE steps.name = 'identify' AND steps.started_at >= $1 AND incidents.provider = $2
 AND ($3 = '' OR EXISTS (SELECT 1 FROM sightings s WHERE s.incident_id = incidents.id AND s.repository = $3))
 AND ($4 = '' OR EXISTS (SELECT 1 FROM sightings s WHERE s.incident_id = incidents.id AND s.pusher = $4))`,
		Micros(since), provider, repository, pusher).Scan(&n)
	return n, err
}

// AskApproval opens a question; it reports false when one is already open.
func (t *Tx) AskApproval(ctx context.Context, a incident.Approval, round int) (bool, error) {
	plan, err := json.Marshal(a.Plan)
	if err != nil {
		return false, err
	}
	n, err := t.Exec(ctx, `INSERT INTO approvals (id, incident_id, round, plan, asked_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		a.ID, a.IncidentID, round, string(plan), Micros(a.AskedAt), Micros(a.ExpiresAt))
	return n == 1, err
}

// DecideApproval closes the open question of an incident; exactly one of several
// racing callers gets true.
func (t *Tx) DecideApproval(ctx context.Context, incidentID, decision, by, reason string, at time.Time) (bool, error) {
	n, err := t.Exec(ctx, `UPDATE approvals SET decision = $2, decided_by = $3, reason = $4, decided_at = $5 WHERE incident_id = $1 AND decision = ''`,
		incidentID, decision, by, reason, Micros(at))
	return n == 1, err
}

// Approvals reads the questions of an incident, oldest first; of all incidents when id is "".
func (t *Tx) Approvals(ctx context.Context, id string) ([]incident.Approval, error) {
	rows, err := t.Query(ctx, `SELECT id, incident_id, plan, asked_at, expires_at, decision, decided_by, decided_at, reason FROM approvals
 WHERE ($1 = '' OR incident_id = $1) ORDER BY asked_at`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []incident.Approval
	for rows.Next() {
		var a incident.Approval
		var plan string
		var asked, expires, decided int64
		err := rows.Scan(&a.ID, &a.IncidentID, &plan, &asked, &expires, &a.Decision, &a.By, &decided, &a.Reason)
		if err != nil {
			return nil, err
		}
		err = json.Unmarshal([]byte(plan), &a.Plan)
		if err != nil {
			return nil, err
		}
		a.AskedAt, a.ExpiresAt, a.DecidedAt = Time(asked), Time(expires), Time(decided)
		out = append(out, a)
	}
	return out, rows.Err()
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
