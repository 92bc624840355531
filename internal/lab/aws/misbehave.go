package labaws

import (
	"net/http"
	"time"
)

// Faults are the chances, 0 to 1, with which a request goes wrong.
type Faults struct {
	Throttle float64 // refused as throttled, nothing done
	Fail     float64 // refused with a 5xx, nothing done
	Lost     float64 // done, but the connection is cut instead of an answer
	Conflict float64 // an IAM write is refused with 409, nothing done
	// StaleSecret repeats what others measured on AWS: within 5 s after a wrong
	// secret for an id, the first GetCallerIdentity with the right one is refused
	// with SignatureDoesNotMatch too; sent again, it works.
	StaleSecret bool
}

// DefaultFaults are 5 % throttled, 5 % 5xx, 2 % lost, 1 % conflicts and stale secrets.
func DefaultFaults() Faults {
	return Faults{Throttle: 0.05, Fail: 0.05, Lost: 0.02, Conflict: 0.01, StaleSecret: true}
}

const staleFor = 5 * time.Second

func (s *Server) staleSecret(keyID string, now time.Time) *apiError {
	at, ok := s.wrong[keyID]
	delete(s.wrong, keyID)
	if ok && s.opts.Misbehave && s.opts.Faults.StaleSecret && now.Sub(at) < staleFor {
		return wrongSignature()
	}
	return nil
}

type fault int

const (
	faultNone fault = iota
	faultThrottle
	faultFail
	faultUnavailable
	faultLost
	faultConflict
)

func (s *Server) chooseFault() fault {
	if !s.opts.Misbehave {
		return faultNone
	}
	x := s.rng.Float64()
	f := s.opts.Faults
	for _, c := range []struct {
		rate float64
		is   fault
	}{{f.Throttle, faultThrottle}, {f.Fail / 2, faultFail}, {f.Fail / 2, faultUnavailable}, {f.Lost, faultLost}, {f.Conflict, faultConflict}} {
		if x < c.rate {
			return c.is
		}
		x -= c.rate
	}
	return faultNone
}

func (c *call) inject(f fault) *apiError {
	switch f {
	case faultThrottle:
		status := http.StatusBadRequest
		switch c.service {
		case "account":
			status = http.StatusTooManyRequests
		case "s3", "ec2":
			status = http.StatusServiceUnavailable
		}
		return fail(status, "Throttling", "Rate exceeded")
	case faultFail:
		return fail(http.StatusInternalServerError, "ServiceFailure", "The request processing has failed because of an unknown error, exception or failure.")
	case faultUnavailable:
		return fail(http.StatusServiceUnavailable, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
	}
	return nil
}

func conflict(s *Server) *apiError {
	if s.rng.IntN(2) == 0 {
		return fail(http.StatusConflict, "ConcurrentModification", "The request was rejected because multiple requests to change this object were submitted simultaneously.")
	}
	return fail(http.StatusConflict, "EntityTemporarilyUnmodifiable", "The entity is temporarily unmodifiable. Try again later.")
}
