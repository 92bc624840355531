// Package guard decides whether a credential may be asked about and acted on.
//
// # What this package promises
//
// Nothing irreversible is allowed while any guard fails. What is not enrolled, is
// on the never-touch list, is a documentation key, or is somebody's canary is
// never acted on; a canary, a documentation key and an untouchable are not even
// asked about, since the question alone would alert or alarm someone. Every
// decision lists each guard with its result, in the order in which they stand.
//
// # What it never does
//
// It is pure: it calls nobody, stores nothing and reads no clock. A count that
// cannot be had counts as too many.
package guard

import (
	"fmt"
	"slices"
	"strings"

	"stanch/internal/config"
	"stanch/playbooks"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// The names of the guards, in their order.
const (
	Ownership     = "ownership"
	NeverTouch    = "never_touch"
	Documentation = "documentation"
	Canary        = "canary"
	Verdict       = "verdict"
	Class         = "class"
	Breaker       = "breaker"
	Budget        = "budget"
	Approval      = "approval"
)

// Sighting is one place where the credential is exposed, as far as policy asks.
type Sighting struct {
	Repository string // owner/name; "" when handed in by hand
	Visibility incident.Visibility
	Pusher     string
}

// Counts gives what happened in the last hour. The caller reads them in the
// transaction in which it records the decision.
type Counts interface {
	// Acts is how many acts were begun in an account of a provider.
	Acts(provider, account string) (int, error)
	// Verdicts is how many identify calls a provider was sent for a credential
	// that was seen in a repository or pushed by a person; both "" for all.
	Verdicts(provider, repository, pusher string) (int, error)
}

// Input is everything that a decision rests on.
type Input struct {
	IncidentID  string
	Provider    string
	Kind        string
	PublicID    string // identifier that is no secret
	Account     string // account written in the credential, or named by identify
	Identity    string // ARN or login that identify named; "" before it ran
	Fingerprint string
	Rules       []string // rules of the findings
	Class       scanner.Class
	Complete    bool // every required part was found
	// Verdict is the outcome of identify. The zero value (unknown) never allows
	// anything irreversible.
	Verdict verdict.Outcome
	// KeyActive says that our own role found exactly this id, active, in an
	// enrolled account. It stands in for a live verdict where the act is
	// reversible (AWS: identify then only decides the wording).
	KeyActive bool
	Sightings []Sighting
	Actions   []playbooks.Action // those of the playbook whose condition holds
	Counts    Counts
	Approval  incident.Approval // the last one of this incident; zero when nobody was asked
	Mode      incident.Mode     // replaces policy's when set (respond --mode)
}

// Reason is the result of one guard.
type Reason struct {
	Guard string `json:"guard"`
	OK    bool   `json:"ok"`
	Text  string `json:"text"` // one sentence for people, no secret
}

// Decision says what may be done.
type Decision struct {
	// Allow is true when something may be done now: Actions is not empty.
	Allow   bool          `json:"allow"`
	Mode    incident.Mode `json:"mode"`
	Reasons []Reason      `json:"reasons"`
	// Actions may be performed, by name, in the playbook's order.
	Actions []string `json:"actions,omitempty"`
	// Simulate would be performed in another mode; observe shows them.
	Simulate []string `json:"simulate,omitempty"`
	// Ask holds what an approval would release; not empty only in mode approve
	// while nobody has decided.
	Ask []string `json:"ask,omitempty"`
	// Person is true when something is left that only a person can do or decide.
	Person bool `json:"person"`
	// Later is true when only a budget stands in the way; ask again in an hour.
	Later bool `json:"later,omitempty"`
}

// Why joins the texts of the guards that failed; "" when none did.
func (d Decision) Why() string {
	var out []string
	for _, r := range d.Reasons {
		if !r.OK {
			out = append(out, r.Text)
		}
	}
	return strings.Join(out, "; ")
}

// Failed reports whether the named guard failed.
func (d Decision) Failed(guard string) bool {
	return slices.ContainsFunc(d.Reasons, func(r Reason) bool { return r.Guard == guard && !r.OK })
}

// Guard decides by configuration. It is immutable and safe for concurrent use.
type Guard struct {
	cfg       config.Guard
	policy    config.Policy
	providers map[string]config.Provider
}

// New makes a guard. Limits that are zero take the documented defaults.
func New(cfg config.Guard, policy config.Policy, providers map[string]config.Provider) *Guard {
	if cfg.MaxActsPerHour <= 0 {
		cfg.MaxActsPerHour = 20
	}
	if cfg.MaxVerdictsPerHour <= 0 {
		cfg.MaxVerdictsPerHour = 600
	}
	return &Guard{cfg: cfg, policy: policy, providers: providers}
}

// MayIdentify decides whether the provider may be asked about the credential. It
// comes before the first identify call; repeated calls that prove a containment
// do not ask again.
func (g *Guard) MayIdentify(in Input) Decision {
	d := Decision{Mode: g.Mode(in)}
	d.Reasons = []Reason{g.mayAskOwner(in), g.neverTouch(in), g.documentation(in), g.canary(in), g.budget(in)}
	d.Allow = !slices.ContainsFunc(d.Reasons, failed)
	d.Later = d.Failed(Budget) && len(d.failures()) == 1
	d.Person = !d.Allow && !d.Later && !d.Failed(Documentation)
	return d
}

// Decide says which of the playbook's actions may be performed.
func (g *Guard) Decide(in Input) Decision {
	d := Decision{Mode: g.Mode(in)}
	breaker := g.breaker(in)
	d.Reasons = []Reason{g.ownership(in), g.neverTouch(in), g.documentation(in), g.canary(in), g.verdict(in), g.class(in), breaker}
	hard := slices.ContainsFunc(d.Reasons, func(r Reason) bool { return !r.OK && r.Guard != Breaker })
	var may []playbooks.Action
	left := false
	for _, a := range in.Actions {
		if !hard && g.mayAct(in, a, breaker.OK) {
			may = append(may, a)
		} else {
			left = true
		}
	}
	approval := g.approval(in, d.Mode)
	d.Reasons = append(d.Reasons, approval)
	switch d.Mode {
	case incident.ModeAct:
		d.Actions = names(may)
	case incident.ModeApprove:
		switch {
		case approval.OK:
			for _, a := range may {
				if slices.Contains(in.Approval.Plan, a.Name) {
					d.Actions = append(d.Actions, a.Name)
				}
			}
		case in.Approval.Decision == "" && len(may) > 0:
			d.Ask = names(may)
		}
	default:
		d.Simulate = names(may)
	}
	d.Allow = len(d.Actions) > 0
	d.Person = left && in.Verdict != verdict.Dead && !d.Failed(Documentation) || !breaker.OK || len(d.Ask) > 0
	return d
}

// mayAct decides about one action once every guard but the breaker holds.
func (g *Guard) mayAct(in Input, a playbooks.Action, breakerOK bool) bool {
	if !a.Reversible && (!breakerOK || in.Verdict != verdict.Live) {
		return false
	}
	// A provider's own finder endpoint is open for owners that are not ours when
	// policy says so; our enrolled credential is not.
	return g.owned(in) || a.With == playbooks.WithAnyone || a.With == playbooks.WithLeaked
}

func names(as []playbooks.Action) []string {
	var out []string
	for _, a := range as {
		out = append(out, a.Name)
	}
	return out
}

func failed(r Reason) bool { return !r.OK }

func (d Decision) failures() []Reason {
	var out []Reason
	for _, r := range d.Reasons {
		if !r.OK {
			out = append(out, r)
		}
	}
	return out
}

func ok(guard, format string, args ...any) Reason {
	return Reason{guard, true, fmt.Sprintf(format, args...)}
}

func no(guard, format string, args ...any) Reason {
	return Reason{guard, false, fmt.Sprintf(format, args...)}
}
