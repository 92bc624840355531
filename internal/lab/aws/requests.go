package labaws

import (
	"slices"
	"time"
)

// Request is one line of the laboratory's own log, for assertions.
type Request struct {
	At        time.Time
	RequestID string
	Account   string
	Principal string // ARN; empty when nobody could be authenticated
	KeyID     string // as claimed
	Service   string
	Operation string
	Region    string
	Target    string // resource that was asked about
	Status    int    // HTTP
	Code      string // the refusal's code, empty when it was done
	Lost      bool   // done, but the answer was cut off
	SourceIP  string
	UserAgent string
}

// Transition is one change of a key's status as the control plane shows it,
// idempotent repeats included (From equals To).
type Transition struct {
	At        time.Time
	KeyID     string
	From, To  string // Active, Inactive or empty for none
	By        string // ARN
	RequestID string
}

// Requests returns everything that was asked so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Transitions returns the changes of one key's status, in order.
func (s *Server) Transitions(keyID string) []Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Transition
	for _, t := range s.changes {
		if t.KeyID == keyID {
			out = append(out, t)
		}
	}
	return out
}

// CountTransitions counts the changes of keyID from one status to another.
func (s *Server) CountTransitions(keyID, from, to string) int {
	n := 0
	for _, t := range s.Transitions(keyID) {
		if t.From == from && t.To == to {
			n++
		}
	}
	return n
}

func (s *Server) note(c *call, status int, refusal *apiError, f fault) {
	r := Request{
		At: c.now, RequestID: c.requestID, Service: c.service, Operation: c.operation, Region: c.region,
		Target: c.resource, Status: status, Lost: f == faultLost, SourceIP: c.sourceIP, UserAgent: c.userAgent,
	}
	if refusal != nil {
		r.Code = c.wireCode(refusal)
	}
	if c.who != nil {
		r.KeyID = c.who.keyID
		if c.who.account != nil {
			r.Account, r.Principal = c.who.account.id, c.who.arn()
		}
	}
	s.requests = append(s.requests, r)
}

func (c *call) setKeyStatus(k *accessKey, to string) {
	from := k.status.shown()
	k.status.set(to, c.effective)
	t := Transition{At: c.now, KeyID: k.id, From: from, To: to, RequestID: c.requestID}
	if c.who != nil {
		t.By = c.who.arn()
	}
	c.s.changes = append(c.s.changes, t)
}
