package simulated

import (
	"context"
	"strings"
	"testing"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/verdict"
)

// real fails the test when anything but Identify reaches it.
type real struct{ t *testing.T }

func (r real) Identify(context.Context, playbooks.Credential, act.Subject) verdict.Verdict {
	return verdict.Verdict{Outcome: verdict.Live}
}
func (r real) Act(context.Context, playbooks.Action, act.Subject, bool) (act.Effect, error) {
	r.t.Error("the real Act was called")
	return act.Effect{}, nil
}
func (r real) Undo(context.Context, playbooks.Action, act.Subject, map[string]string) (act.Effect, error) {
	r.t.Error("the real Undo was called")
	return act.Effect{}, nil
}

func TestEveryEmbeddedActIsShownAndNotDone(t *testing.T) {
	set, err := playbooks.Load("")
	if err != nil {
		t.Fatal(err)
	}
	d := New(real{t}, map[string]string{"github": "https://ghe.example/api/v3"})
	const token = "s3cr3t-value-of-the-leak"
	seen := 0
	for _, pb := range set.All() {
		for _, c := range pb.Credentials {
			s := act.Subject{Provider: pb.Provider, Kind: c.Kind, PublicID: "AKIAPUBLIC", Account: "123456789012", Parts: map[string]secret.Value{}}
			for _, p := range c.Parts {
				s.Parts[p.Name] = secret.New(token)
			}
			if d.Identify(context.Background(), c, s).Outcome != verdict.Live {
				t.Error("identify is not the real one")
			}
			for _, a := range c.Contain {
				seen++
				e, err := d.Act(context.Background(), a, s, false)
				if err != nil || !e.Simulated || !e.At.IsZero() || e.Requests != nil {
					t.Errorf("%s: %+v %v", a.Name, e, err)
				}
				if !strings.Contains(e.Detail, a.Collateral) || strings.Contains(e.Detail, token) {
					t.Errorf("%s: detail %q", a.Name, e.Detail)
				}
				u, err := d.Undo(context.Background(), a, s, nil)
				if err != nil || !u.Simulated {
					t.Errorf("%s: undo %+v %v", a.Name, u, err)
				}
			}
		}
	}
	if seen < 7 {
		t.Errorf("only %d acts", seen)
	}
	c, _ := set.ByKind("github", "personal_access_token")
	e, _ := d.Act(context.Background(), c.Contain[0], act.Subject{}, false)
	if !strings.Contains(e.Detail, "POST https://ghe.example/api/v3/credentials/revoke with no credential") {
		t.Error(e.Detail)
	}
	c, _ = set.ByKind("aws", "access_key")
	e, _ = d.Act(context.Background(), c.Contain[0], act.Subject{PublicID: "AKIAX", Account: "1"}, false)
	if !strings.Contains(e.Detail, "iam:UpdateAccessKey Status=Inactive on AKIAX in account 1 with our own enrolled credential") {
		t.Error(e.Detail)
	}
}
