// Package incident holds the nouns of a response: incident, sighting, step,
// action, approval, and the states an incident may pass through.
//
// It is data and pure rules. It opens no database and calls nobody.
package incident

import (
	"encoding/json"
	"time"
)

// Mode says how far the responder may go on its own.
type Mode string

// The modes. Observe simulates and shows; Approve waits for a person; Act acts.
const (
	ModeObserve Mode = "observe"
	ModeApprove Mode = "approve"
	ModeAct     Mode = "act"
)

// Visibility of the repository in which a credential was seen.
type Visibility string

// The visibilities that GitHub knows, and Unknown for a credential that was
// handed in by hand.
const (
	VisibilityPublic   Visibility = "public"
	VisibilityInternal Visibility = "internal"
	VisibilityPrivate  Visibility = "private"
	VisibilityUnknown  Visibility = "unknown"
)

// Incident is the response to one leaked credential, however often it was seen.
// Times are UTC; a time that is not known is zero.
type Incident struct {
	ID          string // UUIDv7, the public name of the incident
	Fingerprint string // keyed HMAC-SHA256 of the credential, hex
	Provider    string
	Kind        string
	PublicID    string // identifier that is no secret (an AWS access key id)
	Account     string // provider account, when known
	Title       string
	Severity    string // low, medium, high, critical
	SeverityWhy string
	State       State
	Mode        Mode
	Round       int    // 1, and one more each time a finished incident is leaked again
	Verdict     string // live, dead, unknown, error; "" before identify ran
	VerdictWhy  string
	Class       string // context class of the scanner
	Confidence  string
	Facts       map[string]string // allow-listed values captured by identify
	Reference   string            // delivery id, "respond", "sweep" ...: what opened it
	ExposedAt   time.Time         // when the bytes became public, or reached the host
	ExposedFrom string            // the source of ExposedAt ("push event", "public event", ...)
	ReceivedAt  time.Time         // when we were told (the delivery arrived)
	OpenedAt    time.Time
	VerdictAt   time.Time
	ContainedAt time.Time
	ProvedAt    time.Time
	AwareAt     time.Time // when a person first saw it
	ClosedAt    time.Time
	UpdatedAt   time.Time
}

// Sighting is one place where the credential is exposed.
type Sighting struct {
	ID          int64
	IncidentID  string
	Repository  string
	Visibility  Visibility
	Ref         string
	Commit      string
	Path        string
	Object      string
	Line        int
	Column      int
	Rule        string
	Part        string
	Author      string
	AuthorEmail string
	Committer   string
	Pusher      string
	AuthoredAt  time.Time
	CommittedAt time.Time
	ExposedAt   time.Time
	ExposedFrom string
	Delivery    string
	Removed     bool // a forced push took it off the ref; it may still be fetched
	SeenAt      time.Time
}

// RuleHandedIn is the rule of a sighting that a person handed in.
const RuleHandedIn = "handed-in"

// State is where an incident stands.
type State string

// The states. Each change is recorded with its time and reason.
const (
	StateOpen       State = "open"              // recorded, nothing done yet
	StateVerified   State = "verified"          // live, and ours to decide about
	StateObserved   State = "observed"          // observe mode: acts were simulated and shown
	StateWaiting    State = "awaiting_approval" // a person must decide
	StateDenied     State = "denied"            // a person said no, or the approval ran out
	StateContaining State = "containing"        // an act is under way
	StateContained  State = "contained"         // the provider accepted every act
	StateProved     State = "proved_dead"       // the provider refuses the credential
	StateNotLive    State = "not_live"          // the provider refused it before we acted
	StatePerson     State = "needs_person"      // no safe way on without a person; the reason says why
	StateUndone     State = "undone"            // the acts were taken back
)

// StateChange is one entry of an incident's history.
type StateChange struct {
	State  State     `json:"state"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Step is one durable piece of work of an incident's playbook.
type Step struct {
	IncidentID string
	Round      int
	Name       string // "identify", "decide", "contain/<action>", "hold", "prove", "trail", "report"
	State      string // running, done, failed, waiting, skipped
	Attempts   int
	StartedAt  time.Time
	DoneAt     time.Time
	Result     json.RawMessage // never holds a secret
	Error      string          // redacted
}

// Request is one call that we made to a provider, kept as evidence and
// subtracted from the trail by its id.
type Request struct {
	Operation string    `json:"operation"`  // "iam:UpdateAccessKey", "POST /credentials/revoke"
	Host      string    `json:"host"`       //
	RequestID string    `json:"request_id"` // the provider's own id, when it gave one
	Status    int       `json:"status"`     // HTTP status; 0 when no answer came
	Error     string    `json:"error,omitempty"`
	At        time.Time `json:"at"`
	TookMS    int64     `json:"took_ms"`
	With      string    `json:"with"` // leaked, admin, anyone
}

// Action is an act on a provider as it was done (or simulated).
type Action struct {
	IncidentID string
	Round      int
	Name       string // the action's name in its playbook
	State      string // simulated, running, done, already, failed, person, undone
	Actor      string // "stanch", or the person who approved it
	With       string
	Binding    string
	Reversible bool
	Collateral string
	At         time.Time // when the provider accepted it
	Detail     string    // for people, no secret
	Requests   []Request
	Undo       map[string]string // what undo needs, no secret; nil when it cannot be undone
	UndoneAt   time.Time
	UndoneBy   string
}

// Approval is a question to people. It is bound to an incident and its plan.
type Approval struct {
	ID         string
	IncidentID string
	Plan       []string // names of the actions that it would release
	AskedAt    time.Time
	ExpiresAt  time.Time
	Decision   string // "", approved, denied, expired
	By         string
	DecidedAt  time.Time
	Reason     string
}

// States are all of them, in the order in which an incident can pass them.
var States = []State{StateOpen, StateVerified, StateObserved, StateWaiting, StateDenied, StateContaining, StateContained, StateProved, StateNotLive, StatePerson, StateUndone}

// Final reports whether nothing more happens by itself to an incident in this state.
func (s State) Final() bool {
	switch s {
	case StateOpen, StateVerified, StateWaiting, StateContaining, StateContained:
		return false
	}
	return true
}
