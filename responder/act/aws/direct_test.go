package aws

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"stanch/internal/secret"
	"stanch/responder/act"
)

// TestDirectActsInItsOwnAccountAlone shows that our own credentials act without a
// role where they belong, and nowhere else.
func TestDirectActsInItsOwnAccountAlone(t *testing.T) {
	for _, c := range []struct{ name, ours, text string }{
		{name: "its own account", ours: fakeAccount},
		{name: "another account", ours: "999988887777", text: "our own credentials are of account 999988887777, not of " + fakeAccount},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.answer = func(k call) *reply {
					if k.action != "GetCallerIdentity" {
						return nil
					}
					return ok(k.action, "<Arn>arn:aws:iam::"+c.ours+":user/stanch</Arn><UserId>AIDA1</UserId><Account>"+c.ours+"</Account>")
				}
				d := newDriver(t, f, func(o *Options) {
					o.Accounts = []Account{{ID: fakeAccount, ExternalID: secret.Value{}}}
				})
				e, err := d.Act(background(), verb(VerbDeactivate, VerbReactivate), leakedPair(), false)
				check := d.Check(background(), fakeAccount)
				if f.count("AssumeRole") != 0 {
					t.Error("a role was assumed")
				}
				if c.text == "" {
					if err != nil || check != nil || f.users["ci"].keys[fakeKeyID].active {
						t.Fatalf("not contained: %+v, %v, check %v", e, err, check)
					}
					if n := f.count("GetCallerIdentity"); n != 1 {
						t.Errorf("asked %d times whose credentials they are, want once", n)
					}
					return
				}
				if !errors.Is(err, act.ErrPerson) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("error %v, want one for a person with %q", err, c.text)
				}
				if check == nil || !strings.Contains(check.Error(), c.text) {
					t.Errorf("check says %v", check)
				}
				if n := f.count("UpdateAccessKey") + f.count("GetAccessKeyLastUsed"); n != 0 {
					t.Errorf("%d calls with credentials of another account", n)
				}
			})
		})
	}
}
