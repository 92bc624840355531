package responder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"stanch/internal/store"
	"stanch/playbooks"
	"stanch/responder/act"
	githubact "stanch/responder/act/github"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// identified is the result of the identify step, kept for the report.
type identified struct {
	Outcome  string             `json:"outcome"`
	Reason   string             `json:"reason"`
	Identity string             `json:"identity,omitempty"`
	Account  string             `json:"account,omitempty"`
	Requests []incident.Request `json:"requests"`
}

// identify asks the provider whether the credential is alive, unless a guard
// says that asking itself would do harm (a honeytoken).
func (e *Engine) identify(ctx context.Context, inc incident.Incident, book playbooks.Credential) (outcome, error) {
	in, sightings, err := e.guardInput(ctx, inc, book)
	if err != nil {
		return outcome{}, err
	}
	may := e.Guard.MayIdentify(in)
	if may.Later {
		return outcome{}, &act.Retry{After: 5 * time.Minute, Err: errors.New(may.Why())}
	}
	if !may.Allow {
		return e.needsPerson("not asked: " + may.Why()), nil
	}
	if book.Identify == nil {
		return e.needsPerson("the provider offers no way to verify this credential"), nil
	}
	d, err := e.driver(book.Identify.Uses)
	if err != nil {
		return outcome{}, err
	}
	s, err := e.subject(ctx, inc)
	if err != nil {
		return outcome{}, err
	}
	defer destroy(s)
	v := d.Identify(ctx, book, s)
	e.Observer.Requests(inc.Provider, v.Requests)
	if v.Outcome == verdict.Error {
		return outcome{}, &act.Retry{After: v.RetryAfter, Err: fmt.Errorf("verify credential: %s", v.Reason)}
	}
	facts := map[string]string{}
	maps.Copy(facts, v.Facts)
	if t, ok := s.Parts[scanner.PartToken]; ok && inc.Provider == "github" {
		facts[playbooks.FactHashedToken] = githubact.HashedToken(t)
	}
	visibility := mostExposed(sightings)
	return outcome{
		result: identified{v.Outcome.String(), v.Reason, v.Identity, v.Account, v.Requests},
		apply: func(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
			i.Verdict, i.VerdictWhy, i.VerdictAt = v.Outcome.String(), v.Reason, e.Now()
			if i.Facts == nil {
				i.Facts = map[string]string{}
			}
			maps.Copy(i.Facts, facts)
			if v.Identity != "" {
				i.Facts["identity"] = v.Identity
			}
			if v.Account != "" {
				i.Account = v.Account
			}
			i.Severity, i.SeverityWhy = severity(visibility, i.Verdict, true)
			err := e.record(ctx, tx, *i, "verdict.reached", i.Verdict, map[string]string{"reason": v.Reason, "identity": v.Identity, "requests": requestIDs(v.Requests)})
			if err != nil {
				return err
			}
			switch v.Outcome {
			case verdict.Live:
				return e.enqueueStep(ctx, tx, *i, stepDecide)
			case verdict.Dead:
				err := e.setState(ctx, tx, i, incident.StateNotLive, "the provider refused it before we acted: "+v.Reason)
				if err != nil {
					return err
				}
				err = e.destroySecret(ctx, tx, i)
				if err != nil {
					return err
				}
			default:
				err := e.setState(ctx, tx, i, incident.StatePerson, "the answer proves neither life nor death: "+v.Reason)
				if err != nil {
					return err
				}
			}
			err = e.enqueueTrail(ctx, tx, *i, 0)
			if err != nil {
				return err
			}
			return e.enqueueReport(ctx, tx, *i)
		},
	}, nil
}

// mostExposed is the widest visibility among the sightings.
func mostExposed(s []incident.Sighting) incident.Visibility {
	order := []incident.Visibility{incident.VisibilityPublic, incident.VisibilityInternal, incident.VisibilityPrivate}
	for _, v := range order {
		for _, x := range s {
			if x.Visibility == v {
				return v
			}
		}
	}
	return incident.VisibilityUnknown
}

// destroySecret shreds the sealed credential and records it.
func (e *Engine) destroySecret(ctx context.Context, tx *store.Tx, i *incident.Incident) error {
	was, err := tx.DestroySecret(ctx, i.ID)
	if err != nil || !was {
		return err
	}
	return e.record(ctx, tx, *i, "state.secret_destroyed", "success", nil)
}

// KeepSealed is how long a credential stays sealed for a person who must go on.
const KeepSealed = 7 * 24 * time.Hour

// DestroyStale shreds the credentials of incidents that nothing more happens to by
// itself, once they were kept for [KeepSealed]. It may be called at any time.
func (e *Engine) DestroyStale(ctx context.Context) error {
	return e.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		ids, err := tx.StaleSecrets(ctx, e.Now().Add(-KeepSealed))
		if err != nil {
			return err
		}
		for _, id := range ids {
			inc, err := tx.Incident(ctx, id)
			if err != nil {
				return err
			}
			if !inc.State.Final() {
				continue
			}
			err = e.destroySecret(ctx, tx, &inc)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func requestIDs(rs []incident.Request) string {
	var ids []string
	for _, r := range rs {
		if r.RequestID != "" {
			ids = append(ids, r.RequestID)
		}
	}
	return strings.Join(ids, " ")
}
