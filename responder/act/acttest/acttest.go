// Package acttest is the conformance suite of drivers: what every action of every
// playbook must hold, whoever performs it.
package acttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/verdict"
)

// Provider is a credential kind at a real or laboratory provider, fresh for each test.
type Provider struct {
	Driver     act.Driver
	Credential playbooks.Credential
	Subject    act.Subject
	// Changes counts what the provider changed for this credential so far.
	Changes func() int
	// Settle bounds how long the provider takes to enforce a change.
	Settle time.Duration
}

// Run holds a driver to the promises of [act.Driver] for one credential kind.
func Run(t *testing.T, fresh func(t *testing.T) Provider) {
	ctx := context.Background()
	t.Run("identify proves life and changes nothing", func(t *testing.T) {
		p := fresh(t)
		v := identify(t, p, verdict.Live)
		if v.Identity == "" && v.Account == "" {
			t.Error("live without an identity")
		}
		if p.Changes() != 0 {
			t.Error("identify changed something")
		}
		p.clean(t, v)
	})
	t.Run("acts in order, each once, then proves death", func(t *testing.T) {
		p := fresh(t)
		v := identify(t, p, verdict.Live)
		p.learn(v.Facts)
		for _, a := range p.Credential.Contain {
			e := p.act(t, ctx, a, false)
			if e.Already || e.At.IsZero() || e.Detail == "" || len(e.Requests) == 0 {
				t.Errorf("%s: already %v, at %s, detail %q, %d requests", a.Name, e.Already, e.At, e.Detail, len(e.Requests))
			}
			if a.Reversible != (e.Undo != nil) {
				t.Errorf("%s: reversible %v, undo %v", a.Name, a.Reversible, e.Undo)
			}
		}
		identify(t, p, verdict.Dead)
		changes := p.Changes()
		for _, a := range p.Credential.Contain {
			p.act(t, ctx, a, true) // as after a crash
		}
		if n := p.Changes(); n != changes {
			t.Errorf("a repeat changed %d things more", n-changes)
		}
	})
	t.Run("undo restores", func(t *testing.T) {
		p := fresh(t)
		p.learn(identify(t, p, verdict.Live).Facts)
		var undo []map[string]string
		for _, a := range p.Credential.Contain {
			if !a.Reversible {
				return // nothing of this kind can be taken back
			}
			undo = append(undo, p.act(t, ctx, a, false).Undo)
		}
		identify(t, p, verdict.Dead)
		for n := len(undo) - 1; n >= 0; n-- {
			e, err := p.Driver.Undo(ctx, p.Credential.Contain[n], p.Subject, undo[n])
			if err != nil {
				t.Fatalf("undo %s: %v", p.Credential.Contain[n].Name, err)
			}
			p.clean(t, e)
		}
		identify(t, p, verdict.Live)
	})
	t.Run("unknown verb is refused", func(t *testing.T) {
		p := fresh(t)
		_, err := p.Driver.Act(ctx, playbooks.Action{Name: "x", Uses: "nobody.knows", With: playbooks.WithAdmin}, p.Subject, false)
		if err == nil || p.Changes() != 0 {
			t.Errorf("error %v, %d changes", err, p.Changes())
		}
		p.clean(t, fmt.Sprint(err))
	})
	t.Run("a cancelled context ends it and proves nothing", func(t *testing.T) {
		p := fresh(t)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		start := time.Now()
		v := p.Driver.Identify(gone, p.Credential, p.Subject)
		if v.Outcome == verdict.Live || v.Outcome == verdict.Dead {
			t.Errorf("verdict %s", v.Outcome)
		}
		for _, a := range p.Credential.Contain {
			_, err := p.Driver.Act(gone, a, p.Subject, false)
			if err == nil {
				t.Errorf("%s: no error", a.Name)
			} else {
				p.clean(t, err.Error())
			}
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		if p.Changes() != 0 {
			t.Error("something was changed all the same")
		}
	})
	t.Run("concurrent use", func(t *testing.T) {
		p := fresh(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { identify(t, p, verdict.Live) })
		}
		wg.Wait()
	})
}

// identify asks until the wanted verdict comes or the provider has had its time.
func identify(t *testing.T, p Provider, want verdict.Outcome) verdict.Verdict {
	t.Helper()
	deadline := time.Now().Add(p.Settle + 10*time.Second)
	for {
		v := p.Driver.Identify(context.Background(), p.Credential, p.Subject)
		if v.Reason == "" || v.At.IsZero() {
			t.Errorf("verdict %s without reason or time", v.Outcome)
		}
		if v.Outcome == want || time.Now().After(deadline) {
			if v.Outcome != want {
				t.Errorf("verdict %s (%s), want %s", v.Outcome, v.Reason, want)
			}
			return v
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the provider settles in real time
	}
}

func (p Provider) learn(facts map[string]string) {
	for k, v := range facts {
		p.Subject.Facts[k] = v
	}
}

// act tries as the engine does: passing failures again, as repeats.
func (p Provider) act(t *testing.T, ctx context.Context, a playbooks.Action, repeat bool) act.Effect {
	t.Helper()
	for n := 0; ; n++ {
		e, err := p.Driver.Act(ctx, a, p.Subject, repeat || n > 0)
		p.clean(t, e)
		var again *act.Retry
		if errors.As(err, &again) && n < 20 {
			time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the provider recovers in real time
			continue
		}
		if err != nil && !errors.Is(err, act.ErrGone) {
			t.Fatalf("%s: %v", a.Name, err)
		}
		p.learn(e.Facts)
		return e
	}
}

// clean checks that no secret part stands in what a driver said.
func (p Provider) clean(t *testing.T, said any) {
	t.Helper()
	data, err := json.Marshal(said)
	if err != nil {
		t.Error(err)
	}
	text := string(data) + fmt.Sprintf("%+v", said)
	public := map[string]bool{}
	for _, part := range p.Credential.Parts {
		public[part.Name] = part.Public
	}
	for name, v := range p.Subject.Parts {
		if !public[name] && v.Len() > 0 && strings.Contains(text, v.Reveal()) {
			t.Errorf("part %s stands in what the driver said", name)
		}
	}
}
