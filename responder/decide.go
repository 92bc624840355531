package responder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder/guard"
	"stanch/responder/incident"
)

// decided is the result of the decide step.
type decided struct {
	Mode    incident.Mode  `json:"mode"`
	Plan    []string       `json:"plan"`
	Reasons []guard.Reason `json:"reasons"`
}

// decide asks the guards and then, by mode, simulates, asks people or acts.
func (e *Engine) decide(ctx context.Context, inc incident.Incident, book playbooks.Credential) (outcome, error) {
	in, _, err := e.guardInput(ctx, inc, book)
	if err != nil {
		return outcome{}, err
	}
	in.Approval = incident.Approval{} // an answer to an earlier question does not count for this one
	if !in.Complete && e.Guard.Mode(in) == incident.ModeAct {
		// An identifier alone is no secret: whoever can push could have any key
		// killed by writing down its id. A person decides.
		in.Mode = incident.ModeApprove
	}
	d := e.Guard.Decide(in)
	res := decided{d.Mode, d.Actions, d.Reasons}
	var out outcome
	switch {
	case d.Mode == incident.ModeObserve:
		out, err = e.observe(ctx, inc, book, d.Simulate, d.Why())
		if err != nil {
			return outcome{}, err
		}
		res.Plan = d.Simulate
	case len(d.Ask) > 0:
		res.Plan = d.Ask
		out.apply = func(ctx context.Context, tx *store.Tx, i *incident.Incident) error { return e.ask(ctx, tx, i, d.Ask) }
	case d.Allow:
		out.apply = func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
			return e.startContaining(ctx, tx, i, d.Actions, "policy allows it")
		}
	case len(book.Contain) == 0:
		out = e.needsPerson("no act by API exists for this credential; the report lists the steps for a person")
	default:
		why := d.Why()
		if why == "" {
			why = "no act of the playbook applies to it"
		}
		out = e.needsPerson("not acted on: " + why)
	}
	out.result = res
	then := out.apply
	out.apply = func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		i.Mode = d.Mode
		err := e.record(ctx, tx, *i, "incident.decided", string(d.Mode), map[string]string{"plan": strings.Join(res.Plan, " "), "stopped_by": d.Why()})
		if err != nil {
			return err
		}
		return then(ctx, tx, i)
	}
	return out, nil
}

// observe shows what would have been done; nothing is called. stopped says which
// guards would have held it back in another mode.
func (e *Engine) observe(ctx context.Context, inc incident.Incident, book playbooks.Credential, plan []string, stopped string) (outcome, error) {
	var shown []incident.Action
	for _, a := range book.Contain {
		if !slices.Contains(plan, a.Name) {
			continue
		}
		d, err := e.driver(a.Uses)
		if err != nil {
			return outcome{}, err
		}
		s, err := e.subject(ctx, inc)
		if err != nil {
			return outcome{}, err
		}
		eff, err := e.Simulated(d).Act(ctx, a, s, false)
		destroy(s)
		if err != nil {
			return outcome{}, fmt.Errorf("simulate %s: %w", a.Name, err)
		}
		row := actionRow(inc, a, "simulated", "stanch")
		row.Detail, row.At = eff.Detail, e.Now()
		shown = append(shown, row)
	}
	reason := fmt.Sprintf("observe mode: %d acts were simulated, none done", len(shown))
	if len(shown) == 0 {
		reason = "observe mode: no act would have been done (" + stopped + ")"
	}
	return outcome{apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		for _, row := range shown {
			err := tx.PutAction(ctx, row, i.Provider+"/"+i.Account)
			if err != nil {
				return err
			}
			err = e.record(ctx, tx, *i, "act.simulated", "simulated", map[string]string{"action": row.Name, "would": row.Detail})
			if err != nil {
				return err
			}
		}
		err := e.setState(ctx, tx, i, incident.StateObserved, reason)
		if err != nil {
			return err
		}
		err = e.enqueueTrail(ctx, tx, *i, 0)
		if err != nil {
			return err
		}
		return e.enqueueReport(ctx, tx, *i)
	}}, nil
}

// ask opens an approval and schedules its end.
func (e *Engine) ask(ctx context.Context, tx *store.Tx, i *incident.Incident, plan []string) error {
	now := e.Now()
	a := incident.Approval{ID: newID(), IncidentID: i.ID, Plan: plan, AskedAt: now, ExpiresAt: now.Add(e.ApprovalTimeout)}
	asked, err := tx.AskApproval(ctx, a, i.Round)
	if err != nil || !asked {
		return err
	}
	err = e.setState(ctx, tx, i, incident.StateWaiting, "a person must approve: "+strings.Join(plan, ", "))
	if err != nil {
		return err
	}
	err = e.jobs.Enqueue(ctx, tx, expiryArgs{Incident: i.ID, Approval: a.ID}, work.Options{At: a.ExpiresAt})
	if err != nil {
		return err
	}
	err = e.enqueueTrail(ctx, tx, *i, 0)
	if err != nil {
		return err
	}
	return e.enqueueReport(ctx, tx, *i)
}

// ErrNoApproval means that the incident waits for no decision.
var ErrNoApproval = errors.New("no approval is open")

// Approve releases the acts that an incident waits with. by is who decided.
func (e *Engine) Approve(ctx context.Context, id, by, reason string) error {
	return e.settle(ctx, id, "approved", by, reason)
}

// Deny closes the question without an act.
func (e *Engine) Deny(ctx context.Context, id, by, reason string) error {
	return e.settle(ctx, id, "denied", by, reason)
}

func (e *Engine) settle(ctx context.Context, id, decision, by, reason string) error {
	var inc incident.Incident
	err := e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		return e.settleTx(ctx, tx, &inc, decision, by, reason)
	})
	if err != nil {
		return err
	}
	e.Observer.Changed(inc, decision)
	return nil
}

func (e *Engine) settleTx(ctx context.Context, tx *store.Tx, inc *incident.Incident, decision, by, reason string) error {
	open, err := tx.Approvals(ctx, inc.ID)
	if err != nil {
		return err
	}
	won, err := tx.DecideApproval(ctx, inc.ID, decision, by, reason, e.Now())
	if err != nil {
		return err
	}
	if !won || len(open) == 0 || inc.State != incident.StateWaiting {
		return fmt.Errorf("incident %s: %w", inc.ID, ErrNoApproval)
	}
	plan := open[len(open)-1].Plan
	said := decision + " by " + by
	if reason != "" {
		said += ": " + reason
	}
	err = e.recordBy(ctx, tx, *inc, "approval."+decision, by, decision, map[string]string{"plan": strings.Join(plan, " "), "reason": reason})
	if err != nil {
		return err
	}
	if inc.AwareAt.IsZero() && by != byTimeout {
		inc.AwareAt = e.Now()
	}
	if decision == "approved" {
		err = e.startContaining(ctx, tx, inc, plan, "approved by "+by)
	} else {
		err = e.setState(ctx, tx, inc, incident.StateDenied, said)
	}
	if err != nil {
		return err
	}
	inc.UpdatedAt = e.Now()
	err = tx.UpdateIncident(ctx, *inc)
	if err != nil {
		return err
	}
	return e.enqueueReport(ctx, tx, *inc)
}

// byTimeout is the actor of an approval that nobody decided.
const byTimeout = "timeout"

type expiryArgs struct {
	Incident string `json:"incident"`
	Approval string `json:"approval"`
}

func (expiryArgs) Kind() string { return "approval_expiry" }

// runExpiry decides a question that nobody decided, by policy.
func (e *Engine) runExpiry(ctx context.Context, j work.Job[expiryArgs]) error {
	return e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		inc, err := tx.Incident(ctx, j.Args.Incident)
		if err != nil {
			return err
		}
		as, err := tx.Approvals(ctx, inc.ID)
		if err != nil {
			return err
		}
		for _, a := range as {
			if a.ID != j.Args.Approval || a.Decision != "" || e.Now().Before(a.ExpiresAt.Add(-time.Second)) {
				continue
			}
			decision := "expired"
			if e.ApprovalDefault == "approve" {
				decision = "approved"
			}
			err := e.settleTx(ctx, tx, &inc, decision, byTimeout, "nobody decided in time")
			if err != nil {
				return err
			}
		}
		return j.Complete(ctx, tx)
	})
}
