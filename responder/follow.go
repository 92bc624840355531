package responder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/report"
	"stanch/responder/trail"
)

// trailArgs names one planned reading of an incident's trail.
type trailArgs struct {
	Incident string `json:"incident"`
	Round    int    `json:"round"`
	Poll     int    `json:"poll"` // index into Options.Polls
}

func (trailArgs) Kind() string { return "incident_trail" }

// enqueueTrail plans reading n; an incident whose playbook has no source gets none.
func (e *Engine) enqueueTrail(ctx context.Context, tx *store.Tx, i incident.Incident, n int) error {
	book, ok := e.Playbooks.ByKind(i.Provider, i.Kind)
	if !ok || len(book.Trail) == 0 || n >= len(e.Polls) {
		return nil
	}
	return e.jobs.Enqueue(ctx, tx, trailArgs{i.ID, i.Round, n}, work.Options{At: e.Now().Add(e.Polls[n])})
}

// runTrail reads every source of the playbook from its cursor to its last page.
func (e *Engine) runTrail(ctx context.Context, j work.Job[trailArgs]) error {
	var inc incident.Incident
	var step incident.Step
	name := fmt.Sprintf("trail/%d", j.Args.Poll+1)
	start := e.Now()
	err := e.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.Incident(ctx, j.Args.Incident)
		if err != nil || inc.Round != j.Args.Round {
			return err
		}
		step, err = tx.BeginStep(ctx, inc.ID, inc.Round, name, start)
		return err
	})
	if err != nil {
		return err
	}
	book, ok := e.Playbooks.ByKind(inc.Provider, inc.Kind)
	if !ok || step.State != "running" {
		return e.DB.Tx(ctx, j.Complete)
	}
	read := 0
	var cover []trail.Coverage
	var problems error
	for _, t := range book.Trail {
		n, c, err := e.readSource(ctx, inc, t)
		read += n
		cover = append(cover, c...)
		problems = errors.Join(problems, err)
	}
	if problems != nil && step.Attempts < giveUpAfter {
		d, _ := e.again(problems, step.Attempts)
		e.Log.WarnContext(ctx, "trail will be read again", "incident", inc.ID, "attempt", step.Attempts, "after", d, "error", problems)
		e.Observer.Step(inc, name, "retry", e.Now().Sub(start))
		return work.Later(max(d, time.Second))
	}
	failed := ""
	if problems != nil {
		failed = problems.Error()
	}
	err = e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for _, c := range cover {
			err := tx.PutCoverage(ctx, inc.ID, c)
			if err != nil {
				return err
			}
		}
		state := "done"
		if failed != "" {
			state = "failed"
		}
		err := tx.FinishStep(ctx, inc.ID, inc.Round, name, state, map[string]int{"events": read, "scopes": len(cover)}, failed, e.Now())
		if err != nil {
			return err
		}
		err = e.record(ctx, tx, inc, "step.trail_read", state, map[string]string{"reading": fmt.Sprint(j.Args.Poll + 1), "new_events": fmt.Sprint(read), "scopes": fmt.Sprint(len(cover))})
		if err != nil {
			return err
		}
		err = e.enqueueReport(ctx, tx, inc)
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	})
	if err != nil {
		return err
	}
	e.Observer.Step(inc, name, "done", e.Now().Sub(start))
	e.Observer.Changed(inc, name)
	return nil
}

// readSource reads one source; every page and its cursor are kept together.
func (e *Engine) readSource(ctx context.Context, inc incident.Incident, t playbooks.Trail) (int, []trail.Coverage, error) {
	src, ok := e.Sources[t.Uses]
	if !ok {
		return 0, []trail.Coverage{{Source: t.Uses, Scope: "all", AskedAt: e.Now(), Error: "this source is not configured", Gaps: t.Gaps}}, nil
	}
	var cursor trail.Cursor
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		cursor, err = tx.TrailCursor(ctx, inc.ID, t.Uses)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	s := act.Subject{IncidentID: inc.ID, Provider: inc.Provider, Kind: inc.Kind, PublicID: inc.PublicID, Account: inc.Account, Facts: inc.Facts, ExposedAt: inc.ExposedAt}
	read := 0
	cover, err := src.Collect(ctx, s, cursor, func(ctx context.Context, events []trail.Event, c trail.Cursor) error {
		return e.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			n, err := tx.AddTrail(ctx, inc.ID, t.Uses, events, c)
			read += n
			return err
		})
	})
	if errors.Is(err, act.ErrPerson) {
		// Asking again changes nothing: the report says that nobody was asked, and why.
		cover = append(cover, trail.Coverage{Source: t.Uses, Scope: "all", AskedAt: e.Now(), Error: strings.TrimSuffix(err.Error(), ": "+act.ErrPerson.Error())})
		err = nil
	}
	for n := range cover {
		e.Observer.Requests(inc.Provider, cover[n].Requests)
		if len(cover[n].Gaps) == 0 {
			cover[n].Gaps = t.Gaps
		}
	}
	return read, cover, err
}

// reportArgs asks for a new version of an incident's report.
type reportArgs struct {
	Incident string `json:"incident"`
}

func (reportArgs) Kind() string { return "incident_report" }

func (e *Engine) enqueueReport(ctx context.Context, tx *store.Tx, i incident.Incident) error {
	return e.jobs.Enqueue(ctx, tx, reportArgs{i.ID}, work.Options{})
}

// runReport writes a version when the evidence changed since the last one.
func (e *Engine) runReport(ctx context.Context, j work.Job[reportArgs]) error {
	in, evidence, err := e.gather(ctx, j.Args.Incident)
	if err != nil {
		return err
	}
	var last store.ReportRow
	err = e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		last, err = tx.Report(ctx, j.Args.Incident, 0)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if last.Evidence == evidence {
		return e.DB.Tx(ctx, j.Complete)
	}
	in.Previous = last.Version
	r, err := report.Build(in)
	if err != nil {
		return err
	}
	data, err := report.JSON(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	row := store.ReportRow{Version: last.Version + 1, CreatedAt: in.Now, Final: in.TrailFinal, SHA256: hex.EncodeToString(sum[:]), Evidence: evidence, Data: data}
	err = e.Publisher.Publish(ctx, r)
	if err != nil {
		return fmt.Errorf("publish report: %w", err)
	}
	err = e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.AddReport(ctx, in.Incident.ID, row)
		if err != nil {
			return err
		}
		err = e.record(ctx, tx, in.Incident, "report.written", "success", map[string]string{"version": fmt.Sprint(row.Version), "sha256": row.SHA256})
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	})
	if err != nil {
		return err
	}
	e.Observer.Changed(in.Incident, "report")
	return nil
}

// Report builds the report of an incident as things stand now, without keeping it.
func (e *Engine) Report(ctx context.Context, id string) (report.Report, error) {
	in, _, err := e.gather(ctx, id)
	if err != nil {
		return report.Report{}, err
	}
	return report.Build(in)
}

// gather reads everything that a report is made from, and the hash of it.
func (e *Engine) gather(ctx context.Context, id string) (report.Input, string, error) {
	in := report.Input{Now: e.Now(), ToolVersion: e.Version}
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		in.Incident, err = tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		in.Sightings, err = tx.Sightings(ctx, id)
		if err != nil {
			return err
		}
		in.States, err = tx.States(ctx, id)
		if err != nil {
			return err
		}
		in.Steps, err = tx.Steps(ctx, id)
		if err != nil {
			return err
		}
		in.Actions, err = tx.Actions(ctx, id)
		if err != nil {
			return err
		}
		in.Approvals, err = tx.Approvals(ctx, id)
		if err != nil {
			return err
		}
		in.Events, err = tx.TrailEvents(ctx, id)
		if err != nil {
			return err
		}
		in.Coverage, err = tx.Coverage(ctx, id)
		return err
	})
	if err != nil {
		return report.Input{}, "", err
	}
	in.Playbook, _ = e.Playbooks.ByKind(in.Incident.Provider, in.Incident.Kind)
	in.TrailFinal = e.fill(&in)
	if e.Owner != nil {
		in.Owner = e.Owner(in.Incident.Provider, in.Incident.Account)
	}
	if e.LedgerProof != nil {
		in.Ledger, err = e.LedgerProof(ctx, id)
		if err != nil {
			return report.Input{}, "", err
		}
	}
	evidence, err := hashEvidence(in)
	return in, evidence, err
}

// fill takes requests, holds and deliveries out of the steps and reports whether
// the last planned reading of the trail is done. Our own calls are told apart in
// the trail by their request ids, exactly.
func (e *Engine) fill(in *report.Input) bool {
	final := len(in.Playbook.Trail) == 0 && in.Incident.State.Final()
	last := fmt.Sprintf("trail/%d", len(e.Polls))
	for _, s := range in.Steps {
		switch {
		case s.Name == stepIdentify:
			var v identified
			_ = unmarshal(s.Result, &v)
			in.Requests = append(in.Requests, v.Requests...)
		case s.Name == stepHold && s.State == "done":
			var h act.Held
			_ = unmarshal(s.Result, &h)
			in.Held = append(in.Held, h)
		case len(s.Name) >= len(stepProve) && s.Name[:len(stepProve)] == stepProve:
			var p proof
			_ = unmarshal(s.Result, &p)
			in.Requests = append(in.Requests, p.Requests...)
		case s.Round == in.Incident.Round && s.State != "running" && (s.Name == last || s.Name == "trail/1" && !readOn(in.Incident.State)):
			final = true
		}
	}
	seen := map[string]bool{}
	for _, s := range in.Sightings {
		if s.Delivery != "" && s.Delivery != ReferenceRespond && !strings.HasPrefix(s.Delivery, "sweep") && !seen[s.Delivery] {
			seen[s.Delivery] = true
			in.Deliveries = append(in.Deliveries, report.Delivery{GUID: s.Delivery, ReceivedAt: s.SeenAt})
		}
	}
	ours := map[string]bool{}
	for _, r := range in.Requests {
		ours[r.RequestID] = true
	}
	for _, h := range in.Held {
		for _, r := range h.Requests {
			ours[r.RequestID] = true
		}
	}
	for _, a := range in.Actions {
		for _, r := range a.Requests {
			ours[r.RequestID] = true
		}
	}
	delete(ours, "")
	trail.Classify(in.Events, trail.Context{
		Credential: in.Incident.PublicID, ExposedAt: in.Incident.ExposedAt, ContainedAt: in.Incident.ContainedAt,
		OurRequests: ours, OurPrincipals: e.OurPrincipals,
	})
	return final
}

// readOn reports whether the trail of an incident in state s is read to the last poll.
func readOn(s incident.State) bool {
	return slices.Contains([]incident.State{incident.StateContaining, incident.StateContained, incident.StateProved, incident.StateUndone, incident.StateWaiting}, s)
}

// hashEvidence is the same for equal evidence; the time of the report is no evidence.
func hashEvidence(in report.Input) (string, error) {
	in.Now, in.Previous, in.Ledger = time.Time{}, 0, report.LedgerRef{}
	in.Incident.UpdatedAt = time.Time{}
	in.Playbook = playbooks.Credential{}
	slices.SortFunc(in.Coverage, func(a, b trail.Coverage) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Scope, b.Scope))
	})
	data, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// unmarshal reads a step's result; an empty one is no error.
func unmarshal(data json.RawMessage, v any) error {
	if len(data) == 0 {
		return nil
	}
	return json.Unmarshal(data, v)
}

// Trail reads the events of an incident with their origins.
func (e *Engine) Trail(ctx context.Context, id string) ([]trail.Event, error) {
	in, _, err := e.gather(ctx, id)
	return in.Events, err
}
