package responder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"stanch/internal/store"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/verdict"
)

func actionRow(inc incident.Incident, a playbooks.Action, state, actor string) incident.Action {
	return incident.Action{
		IncidentID: inc.ID, Round: inc.Round, Name: a.Name, State: state, Actor: actor, With: a.With, Binding: a.Binding,
		Reversible: a.Reversible, Collateral: a.Collateral,
	}
}

// startContaining enqueues the first act of the plan.
func (e *Engine) startContaining(ctx context.Context, tx *store.Tx, i *incident.Incident, plan []string, why string) error {
	if len(plan) == 0 {
		return e.setState(ctx, tx, i, incident.StatePerson, "the playbook has no act for this credential")
	}
	err := e.setState(ctx, tx, i, incident.StateContaining, why)
	if err != nil {
		return err
	}
	return e.enqueueStep(ctx, tx, *i, stepContain+plan[0])
}

// plan is the list of acts that the guards, or the people, released.
func (e *Engine) plan(ctx context.Context, inc incident.Incident) ([]string, string, error) {
	var plan []string
	actor := "stanch"
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		if inc.Mode == incident.ModeApprove {
			as, err := tx.Approvals(ctx, inc.ID)
			if err != nil {
				return err
			}
			for _, a := range as {
				if a.Decision == "approved" {
					plan, actor = a.Plan, a.By
				}
			}
			return nil
		}
		s, err := tx.Step(ctx, inc.ID, inc.Round, stepDecide)
		if err != nil {
			return err
		}
		var d decided
		err = unmarshal(s.Result, &d)
		plan = d.Plan
		return err
	})
	return plan, actor, err
}

// contain performs one act. The guards are asked again: what was allowed when
// the plan was made may not be any more.
func (e *Engine) contain(ctx context.Context, inc incident.Incident, book playbooks.Credential, step incident.Step) (outcome, error) {
	plan, actor, err := e.plan(ctx, inc)
	if err != nil {
		return outcome{}, err
	}
	name := step.Name[len(stepContain):]
	at := slices.IndexFunc(book.Contain, func(a playbooks.Action) bool { return a.Name == name })
	if at < 0 || !slices.Contains(plan, name) {
		return e.needsPerson("act " + name + " is not in the released plan"), nil
	}
	a := book.Contain[at]
	in, _, err := e.guardInput(ctx, inc, book)
	if err != nil {
		return outcome{}, err
	}
	d := e.Guard.Decide(in)
	if !d.Allow || !slices.Contains(d.Actions, name) {
		return e.needsPerson("act " + name + " was stopped: " + d.Why()), nil
	}
	drv, err := e.driver(a.Uses)
	if err != nil {
		return outcome{}, err
	}
	s, err := e.subject(ctx, inc)
	if err != nil {
		return outcome{}, err
	}
	defer destroy(s)
	eff, err := drv.Act(ctx, a, s, step.Attempts > 1)
	e.Observer.Requests(inc.Provider, eff.Requests)
	state := "done"
	switch {
	case errors.Is(err, act.ErrGone):
		state, eff.Already, eff.Detail = "already", true, "the provider no longer has the credential"
	case err != nil:
		return outcome{}, fmt.Errorf("%s: %w", name, err)
	case eff.Already:
		state = "already"
	}
	if eff.At.IsZero() {
		eff.At = e.Now()
	}
	row := actionRow(inc, a, state, actor)
	row.At, row.Detail, row.Requests, row.Undo = eff.At, eff.Detail, eff.Requests, eff.Undo
	return outcome{result: map[string]any{"state": state, "detail": eff.Detail, "at": eff.At}, apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		if i.Facts == nil {
			i.Facts = map[string]string{}
		}
		maps.Copy(i.Facts, eff.Facts)
		err := tx.PutAction(ctx, row, i.Provider+"/"+i.Account)
		if err != nil {
			return err
		}
		err = e.recordBy(ctx, tx, *i, "act.done", actor, state, map[string]string{
			"action": name, "binding": a.Binding, "with": a.With, "detail": eff.Detail, "requests": requestIDs(eff.Requests),
		})
		if err != nil {
			return err
		}
		next := slices.Index(plan, name) + 1
		if next < len(plan) {
			return e.enqueueStep(ctx, tx, *i, stepContain+plan[next])
		}
		return e.contained(ctx, tx, i, book, eff.At)
	}}, nil
}

// contained starts what follows the last act: hold, proof, trail and the first report.
func (e *Engine) contained(ctx context.Context, tx *store.Tx, i *incident.Incident, book playbooks.Credential, at time.Time) error {
	i.ContainedAt = at
	err := e.setState(ctx, tx, i, incident.StateContained, "the provider accepted every act; death is not yet proved")
	if err != nil {
		return err
	}
	if book.Hold > 0 {
		err := e.enqueueStep(ctx, tx, *i, stepHold)
		if err != nil {
			return err
		}
	}
	if book.Prove != nil {
		err := e.enqueueStep(ctx, tx, *i, stepProve)
		if err != nil {
			return err
		}
	}
	for n := range e.Polls {
		err := e.enqueueTrail(ctx, tx, *i, n)
		if err != nil {
			return err
		}
	}
	return e.enqueueReport(ctx, tx, *i)
}

// hold keeps the containment in force against someone who undoes it.
func (e *Engine) hold(ctx context.Context, inc incident.Incident, book playbooks.Credential) (outcome, error) {
	uses := ""
	for _, a := range book.Contain {
		uses = a.Uses
	}
	drv, err := e.driver(uses)
	if err != nil {
		return outcome{}, err
	}
	h, ok := drv.(act.Holder)
	if !ok {
		return outcome{result: act.Held{}}, nil
	}
	s, err := e.subject(ctx, inc)
	if err != nil {
		return outcome{}, err
	}
	defer destroy(s)
	held, err := h.Hold(ctx, s, time.Duration(book.Hold))
	e.Observer.Requests(inc.Provider, held.Requests)
	if err != nil {
		return outcome{}, fmt.Errorf("hold containment: %w", err)
	}
	return outcome{result: held, apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		err := e.keepHeld(ctx, tx, i, book, held)
		if err != nil {
			return err
		}
		for _, r := range held.Reactions {
			err := e.record(ctx, tx, *i, "hold.reaction", "done", map[string]string{"what": r.What, "answer": r.Answer, "at": r.At.UTC().Format(time.RFC3339Nano)})
			if err != nil {
				return err
			}
		}
		if len(held.Reactions) > 0 && book.Prove != nil {
			// Somebody fought the containment: death is proved once more after the hold.
			err := e.enqueueStep(ctx, tx, *i, stepProve+"/after-hold")
			if err != nil {
				return err
			}
			return e.enqueueReport(ctx, tx, *i)
		}
		err = e.shredWhenDone(ctx, tx, i, book, stepHold)
		if err != nil {
			return err
		}
		return e.enqueueReport(ctx, tx, *i)
	}}, nil
}

// keepHeld records what a hold did beyond the plan, each act with its undo.
func (e *Engine) keepHeld(ctx context.Context, tx *store.Tx, i *incident.Incident, book playbooks.Credential, held act.Held) error {
	for n, eff := range held.Effects {
		maps.Copy(i.Facts, eff.Facts)
		row := actionRow(*i, playbooks.Action{
			Name: fmt.Sprintf("%s/%d", stepHold, n+1), With: book.Contain[len(book.Contain)-1].With, Binding: book.Contain[len(book.Contain)-1].Binding,
			Reversible: eff.Undo != nil, Collateral: "as told by the act",
		}, "done", "stanch")
		row.At, row.Detail, row.Requests, row.Undo = eff.At, eff.Detail, eff.Requests, eff.Undo
		err := tx.PutAction(ctx, row, i.Provider+"/"+i.Account)
		if err != nil {
			return err
		}
		err = e.record(ctx, tx, *i, "act.done", "done", map[string]string{"action": row.Name, "detail": eff.Detail})
		if err != nil {
			return err
		}
	}
	return nil
}

// proof is the result of the prove step.
type proof struct {
	Refusals int                `json:"refusals"` // in a row
	Accepted int                `json:"accepted"` // answers that it lives, before the row
	Settled  time.Duration      `json:"settled"`  // from acceptance to the first refusal of the row
	Requests []incident.Request `json:"requests"`
}

// prove repeats identify until the provider refuses the credential often enough
// in a row: a 2xx of an act is not death.
func (e *Engine) prove(ctx context.Context, inc incident.Incident, book playbooks.Credential, step incident.Step) (outcome, error) {
	if book.Prove == nil || book.Identify == nil {
		return e.needsPerson("the playbook cannot prove death"), nil
	}
	drv, err := e.driver(book.Identify.Uses)
	if err != nil {
		return outcome{}, err
	}
	s, err := e.subject(ctx, inc)
	if err != nil {
		return outcome{}, err
	}
	defer destroy(s)
	deadline := inc.ContainedAt.Add(time.Duration(book.Prove.Deadline))
	round := time.NewTimer(25 * time.Second)
	defer round.Stop()
	winding := e.windingDown()
	var p proof
	var first time.Time
	for {
		v := drv.Identify(ctx, book, s)
		e.Observer.Requests(inc.Provider, v.Requests)
		p.Requests = append(p.Requests, v.Requests...)
		switch v.Outcome {
		case verdict.Dead:
			if p.Refusals == 0 {
				first = v.At
			}
			p.Refusals++
		case verdict.Live:
			p.Accepted++
			p.Refusals = 0
		case verdict.Error: // says nothing either way
		default:
			p.Refusals = 0
		}
		if p.Refusals >= book.Prove.Consecutive {
			break
		}
		if e.Now().After(deadline) {
			return e.notProved(v, p), nil
		}
		wait := time.NewTimer(max(time.Duration(book.Prove.Interval), v.RetryAfter))
		select {
		case <-ctx.Done():
			wait.Stop()
			return outcome{}, &act.Retry{Err: ctx.Err()}
		case <-round.C:
			wait.Stop()
			return outcome{}, &act.Retry{After: time.Second, Err: fmt.Errorf("prove death: %d of %d refusals so far", p.Refusals, book.Prove.Consecutive)}
		case <-winding:
			wait.Stop()
			return outcome{}, &act.Retry{After: time.Second, Err: fmt.Errorf("prove death: paused at %d of %d refusals", p.Refusals, book.Prove.Consecutive)}
		case <-wait.C:
		}
	}
	p.Settled = max(0, first.Sub(inc.ContainedAt))
	return outcome{result: p, apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		if i.ProvedAt.IsZero() || p.Accepted > 0 {
			i.ProvedAt = e.Now() // a proof after the hold confirms the first one, unless the credential lived again
		}
		err := e.setState(ctx, tx, i, incident.StateProved, fmt.Sprintf("the provider refused the credential %d times in a row", p.Refusals))
		if err != nil {
			return err
		}
		err = e.record(ctx, tx, *i, "verdict.death_proved", "success", map[string]string{"refusals": fmt.Sprint(p.Refusals), "requests": requestIDs(p.Requests)})
		if err != nil {
			return err
		}
		err = e.shredWhenDone(ctx, tx, i, book, step.Name)
		if err != nil {
			return err
		}
		return e.enqueueReport(ctx, tx, *i)
	}}, nil
}

func (e *Engine) notProved(v verdict.Verdict, p proof) outcome {
	out := e.needsPerson("death is not proved within the deadline: the provider still says " + v.Outcome.String() + " (" + v.Reason + ")")
	out.result = p
	return out
}

// shredWhenDone destroys the sealed credential when neither the hold nor a proof
// still needs it. done is the step that is ending now.
func (e *Engine) shredWhenDone(ctx context.Context, tx *store.Tx, i *incident.Incident, book playbooks.Credential, done string) error {
	needed := []string{stepProve}
	if book.Hold > 0 {
		needed = append(needed, stepHold)
	}
	for _, name := range needed {
		if name == done || done == stepProve+"/after-hold" {
			continue
		}
		s, err := tx.Step(ctx, i.ID, i.Round, name)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if s.State != "done" {
			return nil
		}
	}
	return e.destroySecret(ctx, tx, i)
}
