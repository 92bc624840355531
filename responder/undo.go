package responder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
)

// ErrNothingToUndo means that no act of the incident can be taken back.
var ErrNothingToUndo = errors.New("nothing can be undone")

type undoArgs struct {
	Incident string `json:"incident"`
	Action   string `json:"action"` // "" for all
	By       string `json:"by"`
}

func (undoArgs) Kind() string { return "incident_undo" }

// Undo asks for the reversible acts of an incident to be taken back, last first;
// action picks one, "" takes all. It returns when the request is durable.
func (e *Engine) Undo(ctx context.Context, id, action, by string) error {
	return e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		inc, err := tx.Incident(ctx, id)
		if err != nil {
			return err
		}
		acts, err := tx.Actions(ctx, id)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(acts, func(a incident.Action) bool { return undoable(a, action) }) {
			return fmt.Errorf("incident %s: %w", inc.ID, ErrNothingToUndo)
		}
		err = e.recordBy(ctx, tx, inc, "undo.requested", by, "success", map[string]string{"action": action})
		if err != nil {
			return err
		}
		return e.jobs.Enqueue(ctx, tx, undoArgs{id, action, by}, work.Options{})
	})
}

func undoable(a incident.Action, name string) bool {
	if a.Undo == nil || !a.UndoneAt.IsZero() || a.State != "done" && a.State != "already" {
		return false
	}
	return a.Name == name || name == "" && a.Undo[act.UndoByNameOnly] == ""
}

// runUndo takes acts back, newest first, each in a transaction of its own.
func (e *Engine) runUndo(ctx context.Context, j work.Job[undoArgs]) error {
	var inc incident.Incident
	var acts []incident.Action
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.Incident(ctx, j.Args.Incident)
		if err != nil {
			return err
		}
		acts, err = tx.Actions(ctx, inc.ID)
		return err
	})
	if err != nil {
		return err
	}
	book, ok := e.Playbooks.ByKind(inc.Provider, inc.Kind)
	if !ok {
		return fmt.Errorf("undo: no playbook for %s/%s", inc.Provider, inc.Kind)
	}
	slices.Reverse(acts)
	for _, a := range acts {
		if !undoable(a, j.Args.Action) {
			continue
		}
		err := e.undoOne(ctx, inc, book, a, j.Args.By)
		if err != nil {
			d, again := e.again(err, j.Attempt)
			if again {
				return work.Later(d)
			}
			return e.undoFailed(ctx, j, inc, a, err)
		}
	}
	err = e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		inc, err = tx.Incident(ctx, inc.ID)
		if err != nil {
			return err
		}
		left, err := tx.Actions(ctx, inc.ID)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(left, func(a incident.Action) bool { return undoable(a, "") }) && inc.State != incident.StateUndone {
			err := e.setState(ctx, tx, &inc, incident.StateUndone, "taken back by "+j.Args.By)
			if err != nil {
				return err
			}
			inc.UpdatedAt = e.Now()
			err = tx.UpdateIncident(ctx, inc)
			if err != nil {
				return err
			}
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
	e.Observer.Changed(inc, "undo")
	return nil
}

func (e *Engine) undoOne(ctx context.Context, inc incident.Incident, book playbooks.Credential, a incident.Action, by string) error {
	verb, err := undoVerb(book, a)
	if err != nil {
		return err
	}
	drv, err := e.driver(verb.Uses)
	if err != nil {
		return err
	}
	s, err := e.subject(ctx, inc)
	if err != nil {
		return err
	}
	defer destroy(s)
	eff, err := drv.Undo(ctx, verb, s, a.Undo)
	e.Observer.Requests(inc.Provider, eff.Requests)
	if err != nil {
		return fmt.Errorf("undo %s: %w", a.Name, err)
	}
	a.State, a.UndoneAt, a.UndoneBy = "undone", e.Now(), by
	a.Requests = append(a.Requests, eff.Requests...)
	return e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := tx.PutAction(ctx, a, inc.Provider+"/"+inc.Account)
		if err != nil {
			return err
		}
		return e.recordBy(ctx, tx, inc, "undo.done", by, "success", map[string]string{"action": a.Name, "requests": requestIDs(eff.Requests)})
	})
}

// undoVerb finds the playbook's act that an action was made by. What a hold did
// beyond the plan belongs to the driver of the last act, and carries its own verb.
func undoVerb(book playbooks.Credential, a incident.Action) (playbooks.Action, error) {
	for _, b := range book.Contain {
		if b.Name == a.Name {
			return b, nil
		}
	}
	if strings.HasPrefix(a.Name, stepHold+"/") && len(book.Contain) > 0 {
		return book.Contain[len(book.Contain)-1], nil
	}
	return playbooks.Action{}, fmt.Errorf("undo %s: the playbook no longer has this act", a.Name)
}

func (e *Engine) undoFailed(ctx context.Context, j work.Job[undoArgs], inc incident.Incident, a incident.Action, cause error) error {
	return e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := e.recordBy(ctx, tx, inc, "undo.failed", j.Args.By, "failure", map[string]string{"action": a.Name, "reason": cause.Error()})
		if err != nil {
			return err
		}
		err = tx.AddState(ctx, inc.ID, incident.StateChange{State: inc.State, At: e.Now(), Reason: "undo of " + a.Name + " failed: " + cause.Error()})
		if err != nil {
			return err
		}
		err = e.enqueueReport(ctx, tx, inc)
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	})
}
