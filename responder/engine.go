// Package responder turns a leaked credential into an incident and runs its
// playbook: identify, decide, contain, hold, prove, trail, report.
//
// # What this package promises
//
// One credential has one incident, however often it is seen. Every step is a
// durable job: what it found, the ledger entry, the next job and its own
// completion are one transaction, so that a crash at any point repeats at most
// the step under way, and that step looks before it acts again. No act happens
// without a verdict, a binding and every guard (package guard). The leaked
// credential is opened only inside a step that needs it and is destroyed once
// its death is proved.
//
// # What it never does
//
// It does not know where a finding came from, parses no repository content and
// speaks to no provider itself: drivers (package act) and sources (package
// trail) do.
package responder

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"stanch/internal/ledger"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard"
	"stanch/responder/incident"
	"stanch/responder/report"
	"stanch/responder/trail"
)

// Ledger is where decisions and acts are recorded, in the caller's transaction.
type Ledger interface {
	Append(ctx context.Context, tx ledger.Tx, e ledger.Entry) (int64, error)
	// Lock takes the ledger's place in the order of locks: before any row.
	Lock(ctx context.Context, tx ledger.Tx) error
}

// Publisher keeps a new version of a report where people find it.
type Publisher interface {
	Publish(ctx context.Context, r report.Report) error
}

// Observer is told of what happens, for metrics and the live timeline. It must
// not block. Its methods are called after the transaction that they tell of.
type Observer interface {
	Changed(i incident.Incident, reason string)
	Step(i incident.Incident, step, result string, took time.Duration)
	Requests(provider string, rs []incident.Request)
}

// Options of an [Engine]; every field is needed unless it says otherwise.
type Options struct {
	DB          *store.DB
	Playbooks   *playbooks.Set
	Drivers     map[string]act.Driver // by provider of a verb ("aws"); "http" for requests as data
	Simulated   func(act.Driver) act.Driver
	Sources     map[string]trail.Source // by verb ("aws.cloudtrail_lookup")
	Guard       *guard.Guard
	Vault       *secret.Vault
	Fingerprint *secret.Fingerprinter
	Ledger      Ledger
	LedgerProof func(ctx context.Context, incidentID string) (report.LedgerRef, error) // may be nil
	Publisher   Publisher
	Observer    Observer
	Log         *slog.Logger
	Now         func() time.Time
	// Polls are the times after containment at which the trail is read; the last
	// one makes the report final.
	Polls []time.Duration
	// ApprovalTimeout and ApprovalDefault ("approve" or "deny") bound a question.
	ApprovalTimeout time.Duration
	ApprovalDefault string
	// Owner names who answers for a provider account, for the report. May be nil.
	Owner func(provider, account string) string
	// OurPrincipals are the ARNs of our own roles, so that a trail tells us apart.
	OurPrincipals []string
	Version       string
}

// Engine runs incidents. It is safe for concurrent use.
type Engine struct {
	Options
	jobs *work.Engine

	mu      sync.Mutex
	winding chan struct{} // closed when long steps should pause
}

// New makes an engine. [Engine.Register] its handlers, then [Engine.Bind] the
// jobs engine that was made with them.
func New(o Options) *Engine { return &Engine{Options: o, winding: make(chan struct{})} }

// Resume lets steps that mostly wait run on. It is called before the jobs start.
func (e *Engine) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.winding = make(chan struct{})
}

// WindDown asks steps that mostly wait to pause, to be taken up by whoever works
// next. It is called once, when the jobs are about to stop.
func (e *Engine) WindDown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.winding)
}

func (e *Engine) windingDown() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.winding
}

// Register adds the engine's job handlers.
func (e *Engine) Register(r *work.Registry) {
	work.Handle(r, work.Spec{Queue: work.QueueRespond, Timeout: time.Minute}, e.runStep)
	work.Handle(r, work.Spec{Queue: work.QueueTrail, Timeout: 14 * time.Minute}, e.runTrail)
	work.Handle(r, work.Spec{Queue: work.QueueKeep, Timeout: time.Minute}, e.runReport)
	work.Handle(r, work.Spec{Queue: work.QueueKeep, Timeout: time.Minute}, e.runExpiry)
	work.Handle(r, work.Spec{Queue: work.QueueRespond, Timeout: time.Minute}, e.runUndo)
}

// Bind gives the engine the jobs that it enqueues into.
func (e *Engine) Bind(jobs *work.Engine) { e.jobs = jobs }

// stepArgs names a step of an incident's playbook.
type stepArgs struct {
	Incident string `json:"incident"`
	Round    int    `json:"round"`
	Step     string `json:"step"`
}

func (stepArgs) Kind() string { return "incident_step" }

// The names of steps; containing acts are "contain/NAME".
const (
	stepIdentify = "identify"
	stepDecide   = "decide"
	stepContain  = "contain/"
	stepHold     = "hold"
	stepProve    = "prove"
)

// outcome is what a step's outside work produced: apply is called in the
// transaction that ends the step.
type outcome struct {
	result any
	failed string // reason, when the step ends without success
	apply  func(ctx context.Context, tx *store.Tx, i *incident.Incident) error
}

// giveUpAfter is the number of attempts after which a step is handed to a person.
const giveUpAfter = 25

// runStep performs one step: begin (a row, before anything outside), the outside
// work, then result, ledger entry, next job and completion in one transaction.
func (e *Engine) runStep(ctx context.Context, j work.Job[stepArgs]) error {
	start := e.Now()
	var inc incident.Incident
	var step incident.Step
	err := e.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.Incident(ctx, j.Args.Incident)
		if err != nil {
			return err
		}
		if inc.Round != j.Args.Round {
			step.State = "done" // a later round has replaced this one
			return nil
		}
		step, err = tx.BeginStep(ctx, inc.ID, inc.Round, j.Args.Step, start)
		return err
	})
	if err != nil {
		return err
	}
	if step.State == "done" || step.State == "skipped" {
		return e.DB.Tx(ctx, j.Complete)
	}
	book, known := e.Playbooks.ByKind(inc.Provider, inc.Kind)
	out, err := outcome{}, error(nil)
	if !known {
		out = e.needsPerson("no playbook for " + inc.Provider + "/" + inc.Kind)
	} else {
		out, err = e.perform(ctx, inc, book, step)
	}
	if err != nil {
		d, again := e.again(err, step.Attempts)
		if again {
			e.Observer.Step(inc, step.Name, "retry", e.Now().Sub(start))
			e.Log.WarnContext(ctx, "step will be tried again", "incident", inc.ID, "step", step.Name, "attempt", step.Attempts, "after", d, "error", err)
			note := e.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
				return tx.NoteStep(ctx, inc.ID, inc.Round, step.Name, strings.TrimPrefix(err.Error(), "passing failure: "))
			})
			if note != nil {
				e.Log.WarnContext(ctx, "reason for another try is not kept", "incident", inc.ID, "step", step.Name, "error", note)
			}
			return work.Later(d)
		}
		out = e.needsPerson(personReason(step.Name, err))
	}
	result := "done"
	err = e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		inc, err = tx.Incident(ctx, inc.ID)
		if err != nil {
			return err
		}
		now, err := tx.Step(ctx, inc.ID, step.Round, step.Name)
		if err != nil {
			return err
		}
		if inc.Round != step.Round || now.State == "done" {
			// A later round has replaced this one, or another node that took the step
			// over while we were cut off has ended it.
			return j.Complete(ctx, tx)
		}
		if out.failed != "" {
			result = "failed"
		}
		err = tx.FinishStep(ctx, inc.ID, inc.Round, step.Name, result, out.result, out.failed, e.Now())
		if err != nil {
			return err
		}
		if out.apply != nil {
			err = out.apply(ctx, tx, &inc)
			if err != nil {
				return err
			}
		}
		inc.UpdatedAt = e.Now()
		err = tx.UpdateIncident(ctx, inc)
		if err != nil {
			return err
		}
		return j.Complete(ctx, tx)
	})
	if err != nil {
		return err
	}
	e.Observer.Step(inc, step.Name, result, e.Now().Sub(start))
	e.Observer.Changed(inc, step.Name)
	return nil
}

func (e *Engine) perform(ctx context.Context, inc incident.Incident, book playbooks.Credential, step incident.Step) (outcome, error) {
	switch {
	case step.Name == stepIdentify:
		return e.identify(ctx, inc, book)
	case step.Name == stepDecide:
		return e.decide(ctx, inc, book)
	case strings.HasPrefix(step.Name, stepContain):
		return e.contain(ctx, inc, book, step)
	case step.Name == stepHold:
		return e.hold(ctx, inc, book)
	case step.Name == stepProve, strings.HasPrefix(step.Name, stepProve+"/"):
		return e.prove(ctx, inc, book, step)
	}
	return outcome{}, fmt.Errorf("run step: unknown step %q", step.Name)
}

// again says whether, and after how long, a step is tried again.
func (e *Engine) again(err error, attempts int) (time.Duration, bool) {
	var retry *act.Retry
	switch {
	case errors.Is(err, act.ErrPerson):
		return 0, false
	case attempts >= giveUpAfter:
		return 0, false
	case errors.As(err, &retry) && retry.After > 0:
		return min(retry.After, 10*time.Minute), true
	}
	return jitter(min(100*time.Millisecond<<min(attempts-1, 9), 30*time.Second)), true
}

// jitter spreads d over [d/2, d).
func jitter(d time.Duration) time.Duration {
	var b [1]byte
	_, _ = rand.Read(b[:])
	return d/2 + d/2*time.Duration(b[0])/256
}

func personReason(step string, err error) string {
	return step + ": " + strings.TrimSuffix(err.Error(), ": "+act.ErrPerson.Error())
}

// needsPerson ends the automatic way with a reason.
func (e *Engine) needsPerson(reason string) outcome {
	return outcome{failed: reason, result: map[string]string{"reason": reason}, apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
		err := e.setState(ctx, tx, i, incident.StatePerson, reason)
		if err != nil {
			return err
		}
		err = e.enqueueTrail(ctx, tx, *i, 0)
		if err != nil {
			return err
		}
		return e.enqueueReport(ctx, tx, *i)
	}}
}

// setState moves the incident, records why, and puts it into the ledger.
func (e *Engine) setState(ctx context.Context, tx *store.Tx, i *incident.Incident, s incident.State, reason string) error {
	i.State = s
	err := tx.AddState(ctx, i.ID, incident.StateChange{State: s, At: e.Now(), Reason: reason})
	if err != nil {
		return err
	}
	return e.record(ctx, tx, *i, "incident.state", string(s), map[string]string{"reason": reason})
}

// write runs a transaction that appends to the ledger. Its lock comes first in
// every such transaction, so that two of them never wait for each other.
func (e *Engine) write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return e.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := e.Ledger.Lock(ctx, tx)
		if err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// record appends to the ledger.
func (e *Engine) record(ctx context.Context, tx *store.Tx, i incident.Incident, kind, result string, detail map[string]string) error {
	return e.recordBy(ctx, tx, i, kind, "stanch", result, detail)
}

func (e *Engine) recordBy(ctx context.Context, tx *store.Tx, i incident.Incident, kind, actor, result string, detail map[string]string) error {
	subject := i.Provider + "/" + i.Kind
	if i.PublicID != "" {
		subject += "/" + i.PublicID
	}
	index, err := e.Ledger.Append(ctx, tx, ledger.Entry{
		Time: e.Now(), Kind: kind, Incident: i.ID, Actor: actor, Subject: subject, Outcome: result, Detail: detail,
	})
	if err != nil {
		return fmt.Errorf("record in ledger: %w", err)
	}
	return tx.AddLedgerRef(ctx, i.ID, index)
}

func (e *Engine) enqueueStep(ctx context.Context, tx *store.Tx, i incident.Incident, name string) error {
	o := work.Options{}
	if name == stepHold || strings.HasPrefix(name, stepProve) {
		o.Queue = work.QueueWatch // it waits for seconds, and must keep no verdict waiting
	}
	return e.jobs.Enqueue(ctx, tx, stepArgs{Incident: i.ID, Round: i.Round, Step: name}, o)
}

// driver finds who performs a verb, or a request as data when uses is "".
func (e *Engine) driver(uses string) (act.Driver, error) {
	name := "http"
	if uses != "" {
		name, _, _ = strings.Cut(uses, ".")
	}
	d, ok := e.Drivers[name]
	if !ok {
		return nil, fmt.Errorf("provider %q is not configured: %w", name, act.ErrPerson)
	}
	return d, nil
}

// subject opens the leaked credential for one step. The caller destroys its parts.
func (e *Engine) subject(ctx context.Context, i incident.Incident) (act.Subject, error) {
	s := act.Subject{
		IncidentID: i.ID, Provider: i.Provider, Kind: i.Kind, PublicID: i.PublicID, Account: i.Account,
		Facts: i.Facts, ExposedAt: i.ExposedAt, Parts: map[string]secret.Value{},
	}
	var wrapped, sealed []byte
	err := e.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		wrapped, sealed, err = tx.Secret(ctx, i.ID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return s, nil
	}
	if err != nil {
		return act.Subject{}, err
	}
	s.Parts, err = e.Vault.Open(ctx, i.ID, wrapped, sealed)
	if err != nil {
		return act.Subject{}, fmt.Errorf("open sealed credential: %w", err)
	}
	return s, nil
}

func destroy(s act.Subject) {
	for _, v := range s.Parts {
		v.Destroy()
	}
}

// newID gives a UUIDv7, so that ids sort by time.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		var b [16]byte
		_, _ = rand.Read(b[:])
		return hex.EncodeToString(b[:])
	}
	return id.String()
}
