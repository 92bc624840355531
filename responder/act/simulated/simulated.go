// Package simulated is the dry run: a driver that looks and touches nothing.
//
// # What this package promises
//
// Identify is the real one, since it only reads. Act and Undo answer with the
// exact call that would have been made, with whose credential, and with what
// else it would have stopped.
//
// # What it never does
//
// Act and Undo call nobody. The wrapped driver's are not reachable through it.
package simulated

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/verdict"
)

// Driver implements [act.Driver]. It is safe for concurrent use when the
// identifying driver is.
type Driver struct {
	identify func(context.Context, playbooks.Credential, act.Subject) verdict.Verdict
	bases    map[string]string
}

var _ act.Driver = (*Driver)(nil)

// New wraps a driver. baseURLs are the configured base URLs by provider, so that
// the call that is shown is the one that would be made.
func New(real act.Driver, baseURLs map[string]string) *Driver {
	return &Driver{identify: real.Identify, bases: baseURLs}
}

// Identify implements [act.Driver] with the wrapped driver.
func (d *Driver) Identify(ctx context.Context, c playbooks.Credential, s act.Subject) verdict.Verdict {
	return d.identify(ctx, c, s)
}

// Act implements [act.Driver]; it calls nobody.
func (d *Driver) Act(_ context.Context, a playbooks.Action, s act.Subject, _ bool) (act.Effect, error) {
	detail := fmt.Sprintf("would call %s with %s", d.call(a.Uses, a.Request, a, s), who(a.With))
	if a.Collateral != "" {
		detail += "; it would also stop: " + a.Collateral
	}
	if a.Reversible {
		detail += "; it could be taken back"
	} else {
		detail += "; it could not be taken back"
	}
	return act.Effect{Simulated: true, Detail: detail}, nil
}

// Undo implements [act.Driver]; it calls nobody.
func (d *Driver) Undo(_ context.Context, a playbooks.Action, s act.Subject, _ map[string]string) (act.Effect, error) {
	return act.Effect{Simulated: true, Detail: "would call " + d.call(a.Undo, a.UndoRequest, a, s)}, nil
}

// call names a call with public ids filled in and everything else left as a
// reference.
func (d *Driver) call(uses string, r *playbooks.Request, a playbooks.Action, s act.Subject) string {
	if r == nil {
		what := uses
		if v, ok := playbooks.LookupVerb(uses); ok {
			what = v.Does
		}
		if s.PublicID != "" {
			what += " on " + s.PublicID
		}
		if s.Account != "" {
			what += " in account " + s.Account
		}
		return what
	}
	base := cmp.Or(d.bases[a.Provider], r.BaseURL, a.BaseURL)
	path, err := playbooks.Expand(r.Path, func(ref playbooks.Ref) (string, error) {
		for _, p := range a.Parts {
			if ref.Scope == playbooks.ScopePart && p.Name == ref.Name && p.Public {
				return url.PathEscape(s.Parts[p.Name].Reveal()), nil
			}
		}
		if ref.Scope == playbooks.ScopeFact && s.Facts[ref.Name] != "" {
			return url.PathEscape(s.Facts[ref.Name]), nil
		}
		return "[" + ref.Name + "]", nil
	})
	if err != nil {
		path = r.Path
	}
	return r.Method + " " + strings.TrimSuffix(base, "/") + path
}

func who(with string) string {
	switch with {
	case playbooks.WithLeaked:
		return "the leaked credential itself"
	case playbooks.WithAdmin:
		return "our own enrolled credential"
	default:
		return "no credential"
	}
}
