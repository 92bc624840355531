package guard

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stanch/internal/config"
	"stanch/playbooks"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

func pick[T any](r *rand.Rand, xs ...T) T { return xs[r.IntN(len(xs))] }

// world is a random configuration with a random incident in it.
type world struct {
	cfg       config.Guard
	policy    config.Policy
	providers map[string]config.Provider
	in        Input
}

func randomWorld(r *rand.Rand) world {
	yes, not := true, false
	modes := []incident.Mode{incident.ModeAct, incident.ModeAct, incident.ModeApprove, incident.ModeObserve, "", "bogus"}
	vis := []incident.Visibility{incident.VisibilityPublic, incident.VisibilityInternal, incident.VisibilityPrivate, incident.VisibilityUnknown, ""}
	w := world{
		cfg: config.Guard{
			NeverTouch:      pick(r, nil, nil, nil, []string{"AKIAX*"}, []string{"octo-*", "1111*"}, []string{"arn:*:user/keep/*"}, []string{"f00d*"}),
			Honeytokens:     pick(r, nil, nil, nil, []string{"AKIAHONEY*"}, []string{"222222222222"}),
			MaxActsPerHour:  pick(r, 0, 1, 20),
			ActOnFixtures:   pick(r, nil, &yes, &not),
			ForeignAccounts: pick(r, "", "report", "identify"),
		},
		policy: config.Policy{Mode: pick(r, modes...)},
		providers: map[string]config.Provider{
			"aws":    {Accounts: pick(r, nil, []config.Account{{ID: "111111111111"}}, []config.Account{{ID: "111111111111"}, {ID: "534261010715"}}), ActOnAnyOwner: r.IntN(2) == 0},
			"github": {Owners: pick(r, nil, []string{"octo-dev"}, []string{"acme", ""}), ActOnAnyOwner: r.IntN(2) == 0},
		},
	}
	if r.IntN(8) == 0 {
		delete(w.providers, "github")
	}
	if r.IntN(3) == 0 {
		w.policy.Rules = []config.PolicyRule{{Playbook: pick(r, "", "aws", "github/k"), Repository: pick(r, "", "acme/*", "["), Visibility: pick(r, vis...), Mode: pick(r, modes...)}}
	}
	w.in = Input{
		IncidentID: pick(r, "i1", "i2"), Provider: pick(r, "aws", "github", "github", "other"), Kind: "k",
		PublicID:    pick(r, "", "AKIAGOOD", "AKIAGOOD", "AKIAX1", "AKIAHONEY1", "AKIAIOSFODNN7EXAMPLE"),
		Account:     pick(r, "", "111111111111", "111111111111", "222222222222", "534261010715", "octo-dev", "acme", "stranger"),
		Identity:    pick(r, "", "octo-dev", "stranger", "arn:aws:iam::111111111111:user/keep/x", "arn:aws:iam::1:user/canarytokens.com@@abc"),
		Fingerprint: pick(r, "abc", "f00dface"),
		Rules:       pick(r, nil, nil, nil, []string{"aws-documentation-key"}),
		Class:       pick(r, scanner.ClassProduction, scanner.ClassProduction, scanner.ClassFixture, scanner.ClassDocs, scanner.ClassPlaceholder, scanner.ClassPublic, ""),
		Complete:    r.IntN(4) > 0, KeyActive: r.IntN(2) == 0,
		Verdict: pick(r, verdict.Live, verdict.Live, verdict.Unknown, verdict.Dead, verdict.Error, verdict.Outcome(9)),
		Mode:    pick(r, append(modes, "", "")...),
	}
	if r.IntN(10) > 0 {
		w.in.Counts = counts{acts: pick(r, 0, 0, 1, 19, 20, 1000, -1), err: pick(r, nil, nil, nil, nil, errors.New("x"))}
	}
	for range r.IntN(4) {
		w.in.Sightings = append(w.in.Sightings, Sighting{Repository: pick(r, "", "acme/a", "x/y"), Visibility: pick(r, vis...), Pusher: pick(r, "", "bob")})
	}
	for i := range r.IntN(4) {
		w.in.Actions = append(w.in.Actions, playbooks.Action{Name: string(rune('a' + i)), Reversible: r.IntN(2) == 0, With: pick(r, "leaked", "admin", "anyone")})
	}
	if r.IntN(2) == 0 {
		w.in.Approval = incident.Approval{IncidentID: pick(r, "i1", "i2"), Decision: pick(r, "", "approved", "approved", "denied", "expired", "bogus"), By: pick(r, "", "eve"), Plan: pick(r, nil, []string{"a"}, []string{"a", "b", "c"})}
	}
	return w
}

// forbidden says, from the configuration alone and without the code under test,
// why an irreversible act must not happen; "" when it may.
func forbidden(w world, a playbooks.Action) string {
	in := w.in
	p := w.providers[in.Provider]
	ours := false
	if in.Provider == "aws" {
		for _, acc := range p.Accounts {
			ours = ours || acc.ID == in.Account && in.Account != ""
		}
	} else {
		for _, o := range p.Owners {
			ours = ours || o != "" && (o == in.Account || o == in.Identity)
		}
	}
	anyOwner := in.Provider != "aws" && p.ActOnAnyOwner && in.Identity != "" && a.With != "admin"
	if !ours && !anyOwner {
		return "not ours"
	}
	for _, n := range w.cfg.NeverTouch {
		for _, x := range []string{in.PublicID, in.Account, in.Identity, in.Fingerprint} {
			prefix, suffix, _ := strings.Cut(n, "*")
			if x != "" && strings.HasPrefix(x, prefix) && (suffix == "" || strings.Contains(x, strings.TrimSuffix(suffix, "*"))) {
				return "never touch"
			}
		}
	}
	for _, h := range w.cfg.Honeytokens {
		for _, x := range []string{in.PublicID, in.Account} {
			if x != "" && strings.HasPrefix(x, strings.TrimSuffix(h, "*")) {
				return "honeytoken"
			}
		}
	}
	c, _ := in.Counts.(counts)
	limit := w.cfg.MaxActsPerHour
	if limit == 0 {
		limit = 20
	}
	switch {
	case in.Provider == "aws" && (in.Account == "534261010715" || strings.Contains(in.Identity, "canarytokens")):
		return "canary"
	case strings.HasSuffix(in.PublicID, "EXAMPLE") || len(in.Rules) > 0:
		return "documentation"
	case in.Verdict != verdict.Live:
		return "not live"
	case in.Class == scanner.ClassPlaceholder || in.Class == scanner.ClassPublic:
		return "placeholder"
	case (in.Class == scanner.ClassFixture || in.Class == scanner.ClassDocs) && w.cfg.ActOnFixtures != nil && !*w.cfg.ActOnFixtures:
		return "fixture"
	case in.Counts == nil || c.err != nil || c.acts < 0 || c.acts >= limit:
		return "breaker"
	}
	mode := in.Mode
	if mode == "" {
		mode = ModeForAll(w.policy, in.Provider, in.Kind, in.Sightings) // has its own table test
	}
	approved := in.Approval.Decision == "approved" && in.Approval.IncidentID == in.IncidentID && in.Approval.By != "" && slices.Contains(in.Approval.Plan, a.Name)
	if mode != incident.ModeAct && !(mode == incident.ModeApprove && approved) {
		return "mode"
	}
	return ""
}

// TestNoPathToTheIrreversible: over 120,000 random incidents no irreversible act
// is allowed while a guard fails, by the decision's own account and by an
// independent one; and where nothing forbids it, it is allowed.
func TestNoPathToTheIrreversible(t *testing.T) {
	const n = 120_000
	r := rand.New(rand.NewPCG(42, 1))
	allowed, refused, real := 0, 0, 0
	for i := range n {
		w := randomWorld(r)
		d := New(w.cfg, w.policy, w.providers).Decide(w.in)
		anyFailed := slices.ContainsFunc(d.Reasons, failed)
		real += len(d.Actions)
		for _, a := range w.in.Actions {
			can := slices.Contains(d.Actions, a.Name)
			if a.Reversible {
				continue
			}
			why := forbidden(w, a)
			switch {
			case can && (anyFailed || why != ""):
				t.Fatalf("world %d: irreversible %s allowed although %q\n%+v\n%+v", i, a.Name, why, d, w)
			case !can && why == "":
				t.Fatalf("world %d: irreversible %s refused and nothing forbids it\n%+v\n%+v", i, a.Name, d, w)
			case can:
				allowed++
			default:
				refused++
			}
		}
		if d.Mode == incident.ModeObserve && len(d.Actions) > 0 {
			t.Fatalf("world %d: observe acts", i)
		}
		if m := New(w.cfg, w.policy, w.providers).MayIdentify(w.in); m.Allow && (m.Failed(Canary) || m.Failed(NeverTouch) || m.Failed(Documentation)) {
			t.Fatalf("world %d: identify is allowed on what must not be called", i)
		}
	}
	if allowed < 150 {
		t.Fatalf("only %d irreversible acts were allowed: the worlds do not reach that far", allowed)
	}
	t.Logf("%d incidents: %d irreversible acts allowed, %d refused, %d acts in all", n, allowed, refused, real)
}
