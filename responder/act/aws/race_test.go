package aws

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// race models the published attack: IAM enforces a change after a lag, and the
// attacker polls every half second and removes what contains it, one call after
// the other. Each of its calls is allowed by what stood one lag ago.
type race struct {
	f           *fake
	lag         time.Duration
	call        time.Duration
	history     []moment
	lastAllowed time.Time
}

type moment struct {
	at   time.Time
	open bool
}

func (r *race) note() {
	u := r.f.users["ci"]
	open := u.keys[fakeKeyID].active && u.boundary == "" && len(u.attached) == 0
	for name := range u.inline {
		open = open && name == RevokeSessionsPolicy // it does not touch the long-lived key
	}
	r.history = append(r.history, moment{time.Now(), open})
}

// allowed reports whether the attacker's next call is let through, and takes its time.
func (r *race) allowed(ctx context.Context) bool {
	if !sleep(ctx, r.call) {
		return false
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	then, open := time.Now().Add(-r.lag), true
	for _, m := range r.history {
		if m.at.After(then) {
			break
		}
		open = m.open
	}
	if open {
		r.lastAllowed = time.Now()
	}
	return open
}

func (r *race) change(fn func(u *fakeUser)) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	fn(r.f.users["ci"])
	r.note()
}

func (r *race) attack(ctx context.Context) {
	for sleep(ctx, 500*time.Millisecond) {
		policies, keys := r.allowed(ctx), r.allowed(ctx) // the attacker lists both
		if !policies || !keys {
			continue
		}
		r.f.mu.Lock()
		u := r.f.users["ci"]
		inline, attached, boundary := slices.Sorted(maps.Keys(u.inline)), slices.Clone(u.attached), u.boundary
		r.f.mu.Unlock()
		for _, name := range inline {
			if r.allowed(ctx) {
				r.change(func(u *fakeUser) { delete(u.inline, name) })
			}
		}
		if len(attached) > 0 && r.allowed(ctx) {
			r.change(func(u *fakeUser) { u.attached = nil })
		}
		if boundary != "" && r.allowed(ctx) {
			r.change(func(u *fakeUser) { u.boundary = "" })
		}
		if r.allowed(ctx) {
			r.change(func(u *fakeUser) { u.keys[fakeKeyID].active = true })
		}
	}
}

// TestHoldWinsTheRace holds against the attack with different beginnings. The
// one-shot containment must lose, or the model is too kind.
func TestHoldWinsTheRace(t *testing.T) {
	const seeds = 40
	run := func(t *testing.T, seed uint64, hold bool) (time.Duration, int) {
		var last time.Duration
		reactions := 0
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			f := newFake()
			f.latency = 100 * time.Millisecond
			r := &race{f: f, lag: 4 * time.Second, call: time.Duration(30+rng.IntN(100)) * time.Millisecond}
			f.changed = r.note
			d := newDriver(t, f, nil)
			s := leakedPair()
			s.Facts = map[string]string{"user_name": "ci", factSessions: RevokeSessionsPolicy}
			ctx, stop := context.WithCancel(background())
			go func() {
				if sleep(ctx, time.Duration(rng.IntN(500))*time.Millisecond) {
					r.attack(ctx)
				}
			}()
			start := time.Now()
			for _, v := range []string{VerbDeactivate, VerbDenySessions} {
				_, err := d.Act(background(), verb(v, ""), s, false)
				if err != nil {
					t.Fatal(err)
				}
			}
			if hold {
				held, err := d.Hold(background(), s, 15*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				reactions = len(held.Reactions)
				noCanary(t, held)
			}
			time.Sleep(time.Until(start.Add(60 * time.Second)))
			stop()
			synctest.Wait()
			last = r.lastAllowed.Sub(start)
		})
		return last, reactions
	}
	var all []time.Duration
	most := 0
	for seed := range uint64(seeds) {
		last, reactions := run(t, seed, true)
		all = append(all, last)
		most = max(most, reactions)
		if last > 10*time.Second {
			t.Errorf("seed %d: the attacker's last call went through after %v", seed, last)
		}
	}
	slices.Sort(all)
	t.Logf("last call of the attacker: median %v, greatest %v; at most %d reactions", all[seeds/2], all[seeds-1], most)
	for seed := range uint64(5) {
		last, _ := run(t, seed, false)
		if last < 50*time.Second {
			t.Errorf("seed %d: without a hold the attacker was out after %v; the model is too kind", seed, last)
		}
	}
}
