package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/playbooks"
	"stanch/responder"
	"stanch/responder/incident"
	"stanch/scanner"
	"stanch/scanner/rules"
)

// Handed is a credential that a person hands in because it leaked elsewhere.
type Handed struct {
	Provider string
	Kind     string // "" lets the value tell
	Mode     incident.Mode
	Public   bool
	Where    string
	By       string
	Input    []byte // a JSON object of parts, or the bare value
}

// InputError means that what was handed in cannot be used; Hint is an action.
type InputError struct {
	Msg, Hint string
}

func (e *InputError) Error() string { return e.Msg }

// Respond opens an incident for a handed-in credential and waits, for at most
// wait, until its playbook has run. Where no service works on the data directory,
// this process does the work.
func (s *Service) Respond(ctx context.Context, h Handed, wait time.Duration) (Detail, error) {
	c, err := s.credential(ctx, h)
	if err != nil {
		return Detail{}, err
	}
	x := responder.Exposure{
		Reference: responder.ReferenceRespond, Repository: h.Where, Visibility: incident.VisibilityUnknown, Pusher: h.By, At: s.Now(), From: "handed in by " + h.By, Mode: h.Mode,
	}
	if h.Public {
		x.Visibility = incident.VisibilityPublic
	}
	// A place of its own makes each hand-in a new sighting, so that a finished
	// incident is looked at again.
	c.Findings = []scanner.Finding{{Rule: incident.RuleHandedIn, Provider: c.Provider, Kind: c.Kind, Place: scanner.Place{Object: "handed-in " + s.Now().UTC().Format(time.RFC3339Nano)}}}
	ready, err := s.Engine.Prepare(ctx, x, []scanner.Credential{c})
	for _, v := range c.Parts {
		v.Destroy()
	}
	if err != nil {
		return Detail{}, err
	}
	var ids []string
	err = s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		ids, err = s.Engine.Accept(ctx, tx, ready)
		return err
	})
	if err != nil {
		return Detail{}, err
	}
	return s.settle(ctx, ids[0], wait, s.responded)
}

// credential reads what was handed in.
func (s *Service) credential(ctx context.Context, h Handed) (scanner.Credential, error) {
	input := bytes.TrimSpace(h.Input)
	if len(input) == 0 {
		return scanner.Credential{}, &InputError{"no credential on standard input", "pipe it in: printf %s \"$TOKEN\" | stanch respond --provider " + h.Provider}
	}
	c := scanner.Credential{Provider: h.Provider, Kind: h.Kind, Parts: map[string]secret.Value{}, Class: scanner.ClassProduction, Confidence: scanner.ConfidenceHigh}
	if input[0] == '{' {
		var parts map[string]string
		err := json.Unmarshal(input, &parts)
		if err != nil {
			return c, &InputError{"the JSON on standard input is not an object of strings", `for AWS: {"access_key_id":"...","secret_access_key":"..."}`}
		}
		for name, v := range parts {
			if v != "" {
				c.Parts[name] = secret.New(v)
			}
		}
	} else {
		c.Parts[scanner.PartToken] = secret.FromBytes(input)
	}
	id, isAWS := c.Parts[scanner.PartAccessKeyID]
	if isAWS && h.Provider == "aws" {
		c.PublicID = id.Reveal()
		c.Account, _ = rules.AccountID(c.PublicID)
	}
	if c.Kind == "" {
		c.Kind = s.kindOf(ctx, h.Provider, c)
	}
	book, ok := s.Playbooks.ByKind(h.Provider, c.Kind)
	if !ok {
		return c, &InputError{fmt.Sprintf("no playbook of %s fits this value", h.Provider), "name the kind with --kind; the kinds of " + h.Provider + ": " + strings.Join(s.kinds(h.Provider), ", ")}
	}
	for _, p := range book.Parts {
		if p.Required && c.Parts[p.Name].IsZero() {
			return c, &InputError{"part " + p.Name + " is missing", "give a JSON object with: " + strings.Join(partNames(book.Parts), ", ")}
		}
	}
	return c, nil
}

// kindOf tells the kind from the value, as the scanner would.
func (s *Service) kindOf(ctx context.Context, provider string, c scanner.Credential) string {
	probe := c.PublicID
	if t, ok := c.Parts[scanner.PartToken]; ok {
		probe = t.Reveal()
	}
	for _, f := range s.Scanner().Scan(ctx, scanner.Unit{Data: []byte(probe)}) {
		if f.Provider == provider {
			return f.Kind
		}
	}
	if provider == "aws" && strings.HasPrefix(c.PublicID, "AKIA") {
		return "access_key"
	}
	if provider == "aws" && strings.HasPrefix(c.PublicID, "ASIA") {
		return "session"
	}
	kinds := s.kinds(provider)
	if len(kinds) == 1 {
		return kinds[0]
	}
	return ""
}

func partNames(parts []playbooks.Part) []string {
	var out []string
	for _, p := range parts {
		out = append(out, p.Name)
	}
	return out
}

func (s *Service) kinds(provider string) []string {
	var out []string
	for _, p := range s.Playbooks.All() {
		for _, c := range p.Credentials {
			if p.Provider == provider {
				out = append(out, c.Kind)
			}
		}
	}
	return out
}

// responded reports whether nothing more is to be waited for: the playbook ended,
// a held containment is held, and the report says so.
func (s *Service) responded(ctx context.Context, tx *store.Tx, i incident.Incident) (bool, error) {
	if !i.State.Final() && i.State != incident.StateWaiting {
		return false, nil
	}
	book, ok := s.Playbooks.ByKind(i.Provider, i.Kind)
	if ok && i.State == incident.StateProved && book.Hold > 0 {
		st, err := tx.Step(ctx, i.ID, i.Round, "hold")
		if err != nil || st.State == "running" {
			return false, ignoreNotFound(err)
		}
	}
	_, err := tx.Report(ctx, i.ID, 0)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// settle waits until done says so; where no service works on the data directory,
// this process works meanwhile.
func (s *Service) settle(ctx context.Context, id string, wait time.Duration, done func(context.Context, *store.Tx, incident.Incident) (bool, error)) (Detail, error) {
	if wait > 0 {
		err := s.workUntil(ctx, wait, func(ctx context.Context) (bool, error) {
			ok := false
			err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
				i, err := tx.Incident(ctx, id)
				if err != nil {
					return err
				}
				ok, err = done(ctx, tx, i)
				return err
			})
			return ok, err
		})
		if err != nil {
			return Detail{}, err
		}
	}
	return s.Detail(ctx, id)
}

// workUntil works (or lets the running service work) until done, or wait is over.
func (s *Service) workUntil(ctx context.Context, wait time.Duration, done func(context.Context) (bool, error)) error {
	workCtx, stop := context.WithCancel(ctx)
	worked := make(chan error, 1)
	go func() { worked <- s.Work(workCtx, nil) }()
	err := poll(ctx, wait, done)
	stop()
	werr := <-worked
	if werr != nil && !errors.Is(werr, ErrLocked) {
		err = errors.Join(err, werr)
	}
	return err
}

func poll(ctx context.Context, wait time.Duration, done func(context.Context) (bool, error)) error {
	end := time.NewTimer(wait)
	defer end.Stop()
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		ok, err := done(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-t.C:
		}
	}
}

// Decide approves or denies what an incident waits with, and waits for what follows.
func (s *Service) Decide(ctx context.Context, id string, approve bool, by, reason string, wait time.Duration) (Detail, error) {
	d, err := s.Detail(ctx, id)
	if err != nil {
		return d, err
	}
	if approve {
		err = s.Engine.Approve(ctx, d.ID, by, reason)
	} else {
		err = s.Engine.Deny(ctx, d.ID, by, reason)
	}
	if err != nil {
		return d, err
	}
	return s.settle(ctx, d.ID, wait, s.responded)
}

// Undo takes back the acts of an incident and waits for it.
func (s *Service) Undo(ctx context.Context, id, action, by string, wait time.Duration) (Detail, error) {
	d, err := s.Detail(ctx, id)
	if err != nil {
		return d, err
	}
	err = s.Engine.Undo(ctx, d.ID, action, by)
	if err != nil {
		return d, err
	}
	return s.settle(ctx, d.ID, wait, func(ctx context.Context, tx *store.Tx, i incident.Incident) (bool, error) {
		acts, err := tx.Actions(ctx, i.ID)
		for _, a := range acts {
			if (action == "" || a.Name == action) && a.Undo != nil && a.UndoneAt.IsZero() && (a.State == "done" || a.State == "already") {
				return false, err
			}
		}
		return true, err
	})
}

// SweepAndRespond sweeps an account and then waits for the incidents that it opened.
func (s *Service) SweepAndRespond(ctx context.Context, account string, only []string, wait time.Duration, progress func(SweepProgress)) error {
	err := s.Sweep(ctx, account, only, progress)
	if err != nil || wait <= 0 {
		return err
	}
	return s.workUntil(ctx, wait, func(ctx context.Context) (bool, error) {
		open := int64(0)
		err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			states, err := tx.IncidentStates(ctx)
			for name, n := range states {
				if !incident.State(name).Final() && incident.State(name) != incident.StateWaiting {
					open += n
				}
			}
			return err
		})
		return open == 0, err
	})
}
