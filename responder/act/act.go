// Package act holds the verbs that playbooks use: what can be asked of and done
// to a provider. Each provider's own verbs live in a folder of their own.
//
// # What this package promises
//
// A driver acts on the [Subject] that it was handed and on nothing else. An act
// whose earlier attempt may have taken effect is checked before it is repeated.
// Every request to a provider is reported as an [incident.Request].
//
// # What it never does
//
// It decides nothing: verdict, guard and approval happened before. It never puts
// a secret into an error, an effect or a log line.
package act

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/incident"
	"stanch/responder/verdict"
)

// Subject is the credential that a driver is asked about.
type Subject struct {
	IncidentID string
	Provider   string
	Kind       string
	PublicID   string
	Account    string
	Parts      map[string]secret.Value // leaked parts by name; empty once destroyed
	Facts      map[string]string       // captured by identify
	ExposedAt  time.Time
}

// CandidatePart names the n-th value (from 2) of a part whose value is not
// certain, in [Subject.Parts]; the nearest one has the part's plain name.
func CandidatePart(part string, n int) string { return fmt.Sprintf("%s.%d", part, n) }

// Effect is what an act did.
type Effect struct {
	// Already is true when the provider was in the wanted state before this call.
	Already   bool
	Simulated bool
	At        time.Time // when the provider accepted it, by our clock
	Detail    string    // one sentence for people
	Requests  []incident.Request
	Undo      map[string]string // what [Driver.Undo] needs; nil when it cannot be undone
	Facts     map[string]string // facts learned on the way (a user name), added to the incident
}

// Driver performs the verbs of one provider (or of plain HTTP) for playbooks.
// Implementations are safe for concurrent use.
type Driver interface {
	// Identify asks the provider whether the credential is alive. It writes
	// nothing at the provider. It never returns an error beside the verdict:
	// no usable answer is the outcome Error.
	Identify(ctx context.Context, c playbooks.Credential, s Subject) verdict.Verdict
	// Act performs one containing action. With repeat set an earlier attempt may
	// have taken effect, so the driver checks before it acts. Errors: [Retry]
	// to be tried again, [ErrPerson] when only a person can go on; anything else
	// is a failure that is retried a few times and then handed to a person.
	Act(ctx context.Context, a playbooks.Action, s Subject, repeat bool) (Effect, error)
	// Undo takes back what Act did, from Effect.Undo.
	Undo(ctx context.Context, a playbooks.Action, s Subject, undo map[string]string) (Effect, error)
}

// Holder is implemented by drivers whose containment must be held against an
// attacker who undoes it. Hold returns after d with every reaction it saw.
type Holder interface {
	Hold(ctx context.Context, s Subject, d time.Duration) (Held, error)
}

// UndoByNameOnly is a key in [Effect.Undo]: the act is taken back only when a
// person names it, not by an undo of everything.
const UndoByNameOnly = "by_name_only"

// Held is the result of holding a containment.
type Held struct {
	Until     time.Time
	Reactions []Reaction
	Requests  []incident.Request
	// Effects are acts beyond those of the plan that a reaction called for, each
	// with what undo needs.
	Effects []Effect
}

// Reaction is something that undid, or tried to go round, our containment.
type Reaction struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`   // "key re-activated", "new access key", ...
	Answer string    `json:"answer"` // what we did about it
}

// ErrPerson means that no safe automatic way exists; the error text says why.
var ErrPerson = errors.New("needs a person")

// ErrGone means that the provider no longer has the credential; the act is moot.
var ErrGone = errors.New("credential is gone")

// Retry wraps a passing failure; After is how long to wait, zero for the default.
type Retry struct {
	After time.Duration
	Err   error
}

func (r *Retry) Error() string { return fmt.Sprintf("passing failure: %v", r.Err) }

// Unwrap gives the cause.
func (r *Retry) Unwrap() error { return r.Err }
