// Package verdict says whether a leaked credential is alive, with the proof.
//
// # What this package promises
//
// Live needs the provider's documented positive answer including the identity;
// Dead needs its documented refusal of this credential. Everything else is
// Unknown (an answer that proves neither) or Error (no usable answer: a
// firewall's 403, a captive portal's 200, 429, 5xx, a timeout). Unknown is the
// zero value, so that a forgotten branch can never read as proof.
package verdict

import (
	"time"

	"stanch/responder/incident"
)

// Outcome is the verdict proper.
type Outcome int

// The outcomes. The zero value is Unknown.
const (
	Unknown Outcome = iota
	Live
	Dead
	Error
)

// String gives the outcome's name in reports, the database and JSON.
func (o Outcome) String() string {
	switch o {
	case Live:
		return "live"
	case Dead:
		return "dead"
	case Error:
		return "error"
	default:
		return "unknown"
	}
}

// Verdict is an outcome with what proves it.
type Verdict struct {
	Outcome  Outcome
	Reason   string            // one sentence for people, no secret
	Identity string            // who the provider says this is (an ARN, a login); "" unless Live
	Account  string            // provider account, when the answer or the credential names it
	Facts    map[string]string // allow-listed values captured from the answer
	Requests []incident.Request
	At       time.Time
	// RetryAfter asks for another try after this long; only with Error.
	RetryAfter time.Duration
}
