// Package acthttp performs playbooks whose calls are HTTP requests written as
// data.
//
// # What this package promises
//
// A verdict is live or dead only when the playbook's expression holds on an
// answer that is the provider's own: not a rate limit, not a server error, not a
// page of HTML, not a redirect, not a body that was cut off or cannot be read.
// An act whose earlier attempt may have taken effect is checked before it is
// repeated. References are escaped for the place where they stand, so that no
// value can change where a request goes or what it asks.
//
// # What it never does
//
// It keeps nothing of an answer but the captures that the playbook lists, and
// those without control characters, cut to 256 bytes, and never when they hold
// the secret. It puts no secret, URL or body into an error, a verdict, an effect
// or a log line. It follows no redirect.
package acthttp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard/egress"
	"stanch/responder/verdict"
)

// Options of a driver.
type Options struct {
	// Client sends the requests; it is one of package egress. Its redirect rule
	// and cookie jar are not used.
	Client *http.Client
	// BaseURLs replaces base URLs by provider (providers.NAME.base_url); a
	// replacement holds for every request of that provider.
	BaseURLs map[string]string
	// Admin gives our own enrolled credential of a provider by part name; nil when
	// there is none.
	Admin func(ctx context.Context, provider string) (map[string]secret.Value, error)
	// UserAgent names us to providers, so that our calls can be told apart in
	// their logs. Defaults to "stanch".
	UserAgent string
	// Timeout of one request, its answer included. Defaults to 10 s.
	Timeout time.Duration
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Driver implements [act.Driver] for requests as data. It is safe for
// concurrent use.
type Driver struct {
	o      Options
	client *http.Client
}

var _ act.Driver = (*Driver)(nil)

// New makes a driver.
func New(o Options) *Driver {
	if o.Client == nil {
		panic("acthttp: no client") // a programmer's mistake: the default client has no egress guard
	}
	if o.UserAgent == "" {
		o.UserAgent = "stanch"
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := *o.Client
	c.Jar = nil
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Driver{o: o, client: &c}
}

// Identify implements [act.Driver].
func (d *Driver) Identify(ctx context.Context, c playbooks.Credential, s act.Subject) verdict.Verdict {
	v := verdict.Verdict{At: d.o.Now().UTC()}
	call := c.Identify
	if call == nil || call.Request == nil {
		v.Reason = "the playbook asks nobody whether this credential lives"
		return v
	}
	if call.Judge == nil {
		v.Outcome, v.Reason = verdict.Error, "the playbook is not compiled"
		return v
	}
	for _, p := range c.Parts {
		if p.Required && s.Parts[p.Name].IsZero() {
			v.Reason = fmt.Sprintf("the part %s was not found, so the provider cannot be asked", p.Name)
			return v
		}
	}
	ans, rec, err := d.send(ctx, target{c.Provider, c.BaseURL, c.Hosts}, call.Request, call.With, s, nil)
	if rec != nil {
		v.Requests = append(v.Requests, *rec)
	}
	v.At = d.o.Now().UTC()
	if err != nil {
		var bad *unsendable
		if errors.As(err, &bad) {
			v.Reason = bad.Error()
			return v
		}
		v.Outcome, v.Reason, v.RetryAfter = verdict.Error, "no usable answer: "+err.Error(), retryDefault
		return v
	}
	if why, after := ans.unusable(d.o.Now()); why != "" {
		v.Outcome, v.Reason, v.RetryAfter = verdict.Error, "no usable answer: "+why, after
		return v
	}
	d.judge(ctx, c, ans, s, &v)
	return v
}

// judge applies the playbook's expressions; what neither proves is unknown.
func (d *Driver) judge(ctx context.Context, c playbooks.Credential, ans *answer, s act.Subject, v *verdict.Verdict) {
	call, env, secrets := c.Identify, ans.env(s), secretParts(c.Parts, s.Parts)
	live := call.Judge.Live != nil && holds(ctx, call.Judge.Live, env)
	dead := call.Judge.Dead != nil && holds(ctx, call.Judge.Dead, env)
	switch {
	case live && dead:
		v.Reason = fmt.Sprintf("the answer (status %d) satisfies both the live and the dead condition", ans.status)
		return
	case dead:
		v.Outcome, v.Reason = verdict.Dead, fmt.Sprintf("the provider refuses the credential by its documented answer (status %d)", ans.status)
		return
	case !live:
		v.Reason = fmt.Sprintf("the answer (status %d) proves neither", ans.status)
		return
	}
	facts := map[string]string{}
	for name, prg := range call.Judge.Capture {
		text, err := prg.String(ctx, env)
		if err != nil {
			continue
		}
		text, ok := clean(text, secrets)
		if ok && text != "" {
			facts[name] = text
		}
	}
	if call.Identity != "" && facts[call.Identity] == "" {
		v.Reason = "the answer looks live but does not say who the credential is"
		return
	}
	v.Outcome, v.Facts = verdict.Live, facts
	v.Identity, v.Account = facts[call.Identity], facts[call.Account]
	v.Reason = fmt.Sprintf("the provider accepts the credential and names its identity (status %d)", ans.status)
}

// secretParts leaves out the parts that the playbook calls public.
func secretParts(declared []playbooks.Part, parts map[string]secret.Value) map[string]secret.Value {
	out := maps.Clone(parts)
	for _, p := range declared {
		if p.Public {
			delete(out, p.Name)
		}
	}
	return out
}

// holds: an expression that cannot be evaluated proves nothing.
func holds(ctx context.Context, p *playbooks.Program, env playbooks.Response) bool {
	ok, err := p.Bool(ctx, env)
	return err == nil && ok
}

// Act implements [act.Driver].
func (d *Driver) Act(ctx context.Context, a playbooks.Action, s act.Subject, repeat bool) (act.Effect, error) {
	var e act.Effect
	if a.Request == nil || a.Judge == nil || a.Judge.Accepted == nil {
		return e, fmt.Errorf("act %s: no compiled request in the playbook", a.Name)
	}
	if repeat && a.Identify != nil {
		v := d.identifyFor(ctx, a, s)
		e.Requests = append(e.Requests, v.Requests...)
		switch v.Outcome {
		case verdict.Dead:
			e.Already, e.At, e.Detail = true, v.At, "the provider already refuses the credential"
			return e, nil
		case verdict.Error:
			return e, &act.Retry{After: v.RetryAfter, Err: fmt.Errorf("check before repeating %s: %s", a.Name, v.Reason)}
		}
	}
	ans, err := d.do(ctx, a, a.Request, a.Judge.Accepted, s, nil, &e)
	if err != nil {
		return e, err
	}
	if ans == nil { // refused, and the credential turned out to be dead
		e.Already, e.At, e.Detail = true, d.o.Now().UTC(), "the provider already refuses the credential"
		return e, nil
	}
	e.At = d.o.Now().UTC()
	e.Detail = fmt.Sprintf("%s was accepted (status %d)", operation(a.Request), ans.status)
	if a.Reversible && a.UndoRequest != nil {
		e.Undo = undoValues(a, s)
	}
	return e, nil
}

// Undo implements [act.Driver].
func (d *Driver) Undo(ctx context.Context, a playbooks.Action, s act.Subject, undo map[string]string) (act.Effect, error) {
	var e act.Effect
	if a.UndoRequest == nil || a.Judge == nil || a.Judge.UndoAccepted == nil {
		return e, fmt.Errorf("undo %s: the playbook has no undo request: %w", a.Name, act.ErrPerson)
	}
	a.With = playbooks.WithAdmin
	a.Identify = nil // the secret is gone; a refusal cannot be asked about
	ans, err := d.do(ctx, a, a.UndoRequest, a.Judge.UndoAccepted, s, undo, &e)
	if err != nil {
		return e, err
	}
	e.At = d.o.Now().UTC()
	e.Detail = fmt.Sprintf("%s was accepted (status %d)", operation(a.UndoRequest), ans.status)
	return e, nil
}

// do sends a writing request and sorts its answer. A nil answer without an error
// means that the provider refused because the credential is dead.
func (d *Driver) do(ctx context.Context, a playbooks.Action, r *playbooks.Request, accepted *playbooks.Program, s act.Subject, undo map[string]string, e *act.Effect) (*answer, error) {
	op := operation(r)
	ans, rec, err := d.send(ctx, target{a.Provider, a.BaseURL, a.Hosts}, r, a.With, s, undo)
	if rec != nil {
		e.Requests = append(e.Requests, *rec)
	}
	if err != nil {
		var bad *unsendable
		if errors.As(err, &bad) || errors.Is(err, egress.ErrRefused) {
			return nil, fmt.Errorf("send %s: %w: %w", op, err, act.ErrPerson)
		}
		return nil, &act.Retry{After: retryDefault, Err: fmt.Errorf("send %s: %w", op, err)}
	}
	if why, after := ans.unusable(d.o.Now()); why != "" {
		return nil, &act.Retry{After: after, Err: fmt.Errorf("send %s: no usable answer: %s", op, why)}
	}
	if holds(ctx, accepted, ans.env(s)) {
		return ans, nil
	}
	switch ans.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		if a.Identify != nil {
			v := d.identifyFor(ctx, a, s)
			e.Requests = append(e.Requests, v.Requests...)
			if v.Outcome == verdict.Dead {
				return nil, nil
			}
			if v.Outcome == verdict.Error {
				return nil, &act.Retry{After: v.RetryAfter, Err: fmt.Errorf("send %s: refused with status %d, and it cannot be told why: %s", op, ans.status, v.Reason)}
			}
		}
	}
	if ans.status >= 400 && ans.status < 500 {
		return nil, fmt.Errorf("send %s: the provider refused with status %d: %w", op, ans.status, act.ErrPerson)
	}
	return nil, &act.Retry{After: retryDefault, Err: fmt.Errorf("send %s: status %d is not the documented acceptance", op, ans.status)}
}

func (d *Driver) identifyFor(ctx context.Context, a playbooks.Action, s act.Subject) verdict.Verdict {
	return d.Identify(ctx, playbooks.Credential{Kind: s.Kind, Parts: a.Parts, Identify: a.Identify,
		Provider: a.Provider, Hosts: a.Hosts, BaseURL: a.BaseURL}, s)
}

// operation names a request by its template, which holds no value.
func operation(r *playbooks.Request) string { return r.Method + " " + r.Path }

// undoValues keeps what an undo request refers to: facts and public parts.
func undoValues(a playbooks.Action, s act.Subject) map[string]string {
	out := map[string]string{}
	for _, ref := range a.UndoRequest.Refs() {
		switch ref.Scope {
		case playbooks.ScopeFact:
			out[ref.String()] = s.Facts[ref.Name]
		case playbooks.ScopePart:
			for _, p := range a.Parts {
				if p.Name == ref.Name && p.Public {
					out[ref.String()] = s.Parts[ref.Name].Reveal()
				}
			}
		}
	}
	return out
}
