package guard

import (
	"errors"
	"strings"
	"testing"

	"stanch/internal/config"
	"stanch/playbooks"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

type counts struct {
	acts     int
	verdicts map[string]int // "repo|pusher"
	err      error
}

func (c counts) Acts(string, string) (int, error) { return c.acts, c.err }
func (c counts) Verdicts(_, repo, pusher string) (int, error) {
	return c.verdicts[repo+"|"+pusher], c.err
}

var (
	disable = playbooks.Action{Name: "deactivate_key", With: "admin", Binding: "in_value", Reversible: true}
	revoke  = playbooks.Action{Name: "revoke", With: "anyone", Binding: "in_body"}
	remove  = playbooks.Action{Name: "delete", With: "admin", Binding: "identified"}
)

func providers() map[string]config.Provider {
	return map[string]config.Provider{
		"aws":    {Accounts: []config.Account{{ID: "111111111111"}}},
		"github": {Owners: []string{"Acme", "octo-dev"}},
	}
}

func awsInput() Input {
	return Input{IncidentID: "i1", Provider: "aws", Kind: "access_key", PublicID: "AKIAQNZGKIQY56JQ7WML", Account: "111111111111",
		Class: scanner.ClassProduction, Complete: true, Verdict: verdict.Live, Counts: counts{},
		Sightings: []Sighting{{Repository: "acme/app", Visibility: incident.VisibilityPublic, Pusher: "bob"}},
		Actions:   []playbooks.Action{disable}, Mode: incident.ModeAct}
}

func githubInput() Input {
	in := awsInput()
	in.Provider, in.Kind, in.PublicID, in.Account, in.Identity = "github", "personal_access_token", "", "octo-dev", "octo-dev"
	in.Actions = []playbooks.Action{revoke}
	return in
}

func TestDecide(t *testing.T) {
	off := false
	cases := []struct {
		name    string
		cfg     config.Guard
		prov    func(map[string]config.Provider)
		in      Input
		change  func(*Input)
		actions string
		fails   string
		person  bool
	}{
		{name: "enrolled and live", in: awsInput(), actions: "deactivate_key"},
		{name: "github owner in other case", in: githubInput(), change: func(in *Input) { in.Identity, in.Account = "ACME", "ACME" }, actions: "revoke"},
		{name: "foreign account", in: awsInput(), change: func(in *Input) { in.Account = "222222222222" }, fails: Ownership, person: true},
		{name: "unknown account", in: awsInput(), change: func(in *Input) { in.Account = "" }, fails: Ownership, person: true},
		{name: "foreign login", in: githubInput(), change: func(in *Input) { in.Identity, in.Account = "stranger", "stranger" }, fails: Ownership, person: true},
		{name: "foreign login, any owner", prov: func(p map[string]config.Provider) { p["github"] = config.Provider{ActOnAnyOwner: true} },
			in: githubInput(), change: func(in *Input) { in.Identity = "stranger"; in.Actions = []playbooks.Action{revoke, remove} }, actions: "revoke", person: true},
		{name: "aws has no any owner", prov: func(p map[string]config.Provider) { p["aws"] = config.Provider{ActOnAnyOwner: true} }, in: awsInput(), fails: Ownership, person: true},
		{name: "never touch by arn", cfg: config.Guard{NeverTouch: []string{"arn:aws:iam::*:user/break-glass/*"}}, in: awsInput(),
			change: func(in *Input) { in.Identity = "arn:aws:iam::111111111111:user/break-glass/root1" }, fails: NeverTouch, person: true},
		{name: "never touch by fingerprint", cfg: config.Guard{NeverTouch: []string{"ABCD*"}}, in: awsInput(), change: func(in *Input) { in.Fingerprint = "abcdef" }, fails: NeverTouch, person: true},
		{name: "documentation key", in: awsInput(), change: func(in *Input) { in.PublicID = "AKIAIOSFODNN7EXAMPLE" }, fails: Documentation},
		{name: "placeholder", in: githubInput(), change: func(in *Input) { in.Class = scanner.ClassPlaceholder }, fails: Documentation},
		{name: "canary account", prov: func(p map[string]config.Provider) {
			p["aws"] = config.Provider{Accounts: []config.Account{{ID: "534261010715"}}}
		}, in: awsInput(), change: func(in *Input) { in.Account = "534261010715" }, fails: Canary, person: true},
		{name: "honeytoken", cfg: config.Guard{Honeytokens: []string{"AKIAQNZ*"}}, in: awsInput(), fails: Canary, person: true},
		{name: "dead", in: awsInput(), change: func(in *Input) { in.Verdict = verdict.Dead }, fails: Verdict},
		{name: "unknown", in: awsInput(), change: func(in *Input) { in.Verdict = verdict.Unknown }, fails: Verdict, person: true},
		{name: "error", in: awsInput(), change: func(in *Input) { in.Verdict = verdict.Error }, fails: Verdict, person: true},
		{name: "error, but our role finds it active", in: awsInput(), change: func(in *Input) { in.Verdict, in.KeyActive = verdict.Error, true }, actions: "deactivate_key"},
		{name: "active, but only the id leaked", in: awsInput(), change: func(in *Input) { in.Verdict, in.KeyActive, in.Complete = verdict.Unknown, true, false }, fails: Verdict, person: true},
		{name: "active does not open the irreversible", in: awsInput(), change: func(in *Input) {
			in.Verdict, in.KeyActive, in.Actions = verdict.Unknown, true, []playbooks.Action{disable, remove}
		}, actions: "deactivate_key", person: true},
		{name: "fixture and live", in: githubInput(), change: func(in *Input) { in.Class = scanner.ClassFixture }, actions: "revoke"},
		{name: "fixture, off", cfg: config.Guard{ActOnFixtures: &off}, in: githubInput(), change: func(in *Input) { in.Class = scanner.ClassFixture }, fails: Class, person: true},
		{name: "breaker leaves the reversible", in: awsInput(), change: func(in *Input) { in.Counts = counts{acts: 20}; in.Actions = []playbooks.Action{disable, remove} }, actions: "deactivate_key", fails: Breaker, person: true},
		{name: "breaker by error", in: githubInput(), change: func(in *Input) { in.Counts = counts{err: errors.New("db")} }, fails: Breaker, person: true},
		{name: "breaker without counts", in: githubInput(), change: func(in *Input) { in.Counts = nil }, fails: Breaker, person: true},
		{name: "observe", in: awsInput(), change: func(in *Input) { in.Mode = incident.ModeObserve }, fails: Approval},
		{name: "approve, not asked", in: awsInput(), change: func(in *Input) { in.Mode = incident.ModeApprove }, fails: Approval, person: true},
		{name: "approved", in: awsInput(), change: func(in *Input) {
			in.Mode = incident.ModeApprove
			in.Approval = incident.Approval{IncidentID: "i1", Decision: "approved", By: "eve", Plan: []string{"deactivate_key"}}
		}, actions: "deactivate_key"},
		{name: "approved another plan", in: awsInput(), change: func(in *Input) {
			in.Mode = incident.ModeApprove
			in.Approval = incident.Approval{IncidentID: "i1", Decision: "approved", By: "eve", Plan: []string{"other"}}
		}},
		{name: "approved another incident", in: awsInput(), change: func(in *Input) {
			in.Mode = incident.ModeApprove
			in.Approval = incident.Approval{IncidentID: "i2", Decision: "approved", By: "eve", Plan: []string{"deactivate_key"}}
		}, fails: Approval},
		{name: "denied", in: awsInput(), change: func(in *Input) {
			in.Mode = incident.ModeApprove
			in.Approval = incident.Approval{IncidentID: "i1", Decision: "denied", By: "eve"}
		}, fails: Approval},
		{name: "a mode that is none observes", in: awsInput(), change: func(in *Input) { in.Mode = "yolo" }, fails: Approval},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := providers()
			if tc.prov != nil {
				tc.prov(p)
			}
			if tc.change != nil {
				tc.change(&tc.in)
			}
			d := New(tc.cfg, config.Policy{}, p).Decide(tc.in)
			if got := strings.Join(d.Actions, ","); got != tc.actions {
				t.Errorf("actions %q, want %q (%s)", got, tc.actions, d.Why())
			}
			var fails []string
			for _, r := range d.Reasons {
				if !r.OK {
					fails = append(fails, r.Guard)
				}
				if r.Text == "" {
					t.Errorf("%s gives no reason", r.Guard)
				}
			}
			if tc.fails != "" && !d.Failed(tc.fails) || tc.fails == "" && tc.actions != "" && len(fails) > 0 {
				t.Errorf("failed %v, want %q", fails, tc.fails)
			}
			if d.Person != tc.person {
				t.Errorf("person %v, want %v", d.Person, tc.person)
			}
			if d.Allow != (len(d.Actions) > 0) {
				t.Error("Allow and Actions disagree")
			}
		})
	}
}

func TestObserveShowsWhatActWouldDo(t *testing.T) {
	g := New(config.Guard{}, config.Policy{}, providers())
	in := awsInput()
	in.Mode = ""
	d := g.Decide(in)
	if d.Mode != incident.ModeObserve || len(d.Actions) != 0 || strings.Join(d.Simulate, ",") != "deactivate_key" {
		t.Fatalf("%+v", d)
	}
	in.Mode = incident.ModeApprove
	d = g.Decide(in)
	if strings.Join(d.Ask, ",") != "deactivate_key" || d.Allow {
		t.Fatalf("%+v", d)
	}
}

func TestMayIdentify(t *testing.T) {
	cases := []struct {
		name   string
		cfg    config.Guard
		in     Input
		change func(*Input)
		allow  bool
		fails  string
		later  bool
	}{
		{name: "enrolled", in: awsInput(), allow: true},
		{name: "github owner unknown", in: githubInput(), change: func(in *Input) { in.Account, in.Identity = "", "" }, allow: true},
		{name: "foreign", in: awsInput(), change: func(in *Input) { in.Account = "222222222222" }, fails: Ownership},
		{name: "foreign, identify", cfg: config.Guard{ForeignAccounts: "identify"}, in: awsInput(), change: func(in *Input) { in.Account = "222222222222" }, allow: true},
		{name: "canary, even where foreign accounts are identified", cfg: config.Guard{ForeignAccounts: "identify"}, in: awsInput(), change: func(in *Input) { in.Account = "052310077262" }, fails: Canary},
		{name: "honeytoken of ours", cfg: config.Guard{Honeytokens: []string{"111111111111"}}, in: awsInput(), fails: Canary},
		{name: "documentation", in: awsInput(), change: func(in *Input) { in.Rules = []string{"aws-documentation-key"} }, fails: Documentation},
		{name: "never touch", cfg: config.Guard{NeverTouch: []string{"AKIA*7WML"}}, in: awsInput(), fails: NeverTouch},
		{name: "provider's budget", cfg: config.Guard{MaxVerdictsPerHour: 10}, in: awsInput(), change: func(in *Input) { in.Counts = counts{verdicts: map[string]int{"|": 10}} }, fails: Budget, later: true},
		{name: "repository's share", cfg: config.Guard{MaxVerdictsPerHour: 10}, in: awsInput(), change: func(in *Input) { in.Counts = counts{verdicts: map[string]int{"acme/app|": 5}} }, fails: Budget, later: true},
		{name: "pusher's share", cfg: config.Guard{MaxVerdictsPerHour: 10}, in: awsInput(), change: func(in *Input) { in.Counts = counts{verdicts: map[string]int{"|bob": 5}} }, fails: Budget, later: true},
		{name: "another sighting within its share", cfg: config.Guard{MaxVerdictsPerHour: 10}, in: awsInput(), change: func(in *Input) {
			in.Counts = counts{verdicts: map[string]int{"|bob": 5}}
			in.Sightings = append(in.Sightings, Sighting{Repository: "acme/other", Pusher: "ann"})
		}, allow: true},
		{name: "no counts", in: awsInput(), change: func(in *Input) { in.Counts = nil }, fails: Budget, later: true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if tc.change != nil {
				tc.change(&tc.in)
			}
			d := New(tc.cfg, config.Policy{}, providers()).MayIdentify(tc.in)
			if d.Allow != tc.allow || tc.fails != "" && !d.Failed(tc.fails) || d.Later != tc.later {
				t.Fatalf("%+v", d)
			}
		})
	}
}

func TestModes(t *testing.T) {
	p := config.Policy{Mode: incident.ModeApprove, Rules: []config.PolicyRule{
		{Playbook: "github/oauth_token", Mode: incident.ModeObserve},
		{Repository: "acme/legacy-*", Mode: incident.ModeObserve},
		{Playbook: "aws", Visibility: incident.VisibilityPublic, Mode: incident.ModeAct},
		{Playbook: "aws", Repository: "acme/prod", Mode: incident.ModeAct},
	}}
	pub, priv := incident.VisibilityPublic, incident.VisibilityPrivate
	one := []struct {
		provider, kind, repo string
		vis                  incident.Visibility
		want                 incident.Mode
	}{
		{"github", "oauth_token", "acme/prod", pub, incident.ModeObserve},
		{"github", "personal_access_token", "acme/prod", pub, incident.ModeApprove},
		{"aws", "access_key", "Acme/Legacy-1", pub, incident.ModeObserve},
		{"aws", "access_key", "x/y", pub, incident.ModeAct},
		{"aws", "access_key", "x/y", priv, incident.ModeApprove},
		{"aws", "access_key", "acme/prod", priv, incident.ModeAct},
	}
	for _, c := range one {
		if got := ModeFor(p, c.provider, c.kind, c.repo, c.vis); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if got := ModeFor(config.Policy{}, "aws", "access_key", "", pub); got != incident.ModeObserve {
		t.Error("the default is not observe")
	}
	if got := ModeFor(config.Policy{Mode: incident.ModeAct, Rules: []config.PolicyRule{{Repository: "[", Mode: incident.ModeObserve}}}, "aws", "k", "a/b", pub); got != incident.ModeObserve {
		t.Error("a malformed pattern widened the mode")
	}
	all := []struct {
		s    []Sighting
		want incident.Mode
	}{
		{nil, incident.ModeApprove},
		{[]Sighting{{Repository: "acme/legacy-1", Visibility: priv}, {Repository: "x/y", Visibility: pub}}, incident.ModeAct},
		{[]Sighting{{Repository: "x/y", Visibility: pub}, {Repository: "acme/legacy-1", Visibility: pub}}, incident.ModeObserve},
		{[]Sighting{{Repository: "acme/legacy-1", Visibility: pub}, {Repository: "acme/prod", Visibility: priv}}, incident.ModeObserve},
		{[]Sighting{{}}, incident.ModeApprove},
	}
	for _, c := range all {
		if got := ModeForAll(p, "aws", "access_key", c.s); got != c.want {
			t.Errorf("%+v: %s, want %s", c.s, got, c.want)
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		p, s string
		want bool
	}{{"*", "x", true}, {"*", "", false}, {"", "", false}, {"a*c", "abbc", true}, {"a*c", "abbd", false}, {"arn:*:user/a/*", "arn:aws:iam::1:user/a/b", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"AKIA", "akia", true}, {"a*b*c", "aXbYbZc", true}, {"**", "q", true}, {"a*", "ba", false}} {
		if glob(c.p, c.s) != c.want {
			t.Errorf("glob(%q, %q) = %v", c.p, c.s, !c.want)
		}
	}
}
