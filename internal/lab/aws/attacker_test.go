package labaws

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// The race runs ten times as fast as the real one: a lag of 500 ms for 5 s, an
// attacker every 50 ms for 0.5 s.
const raceLag = 500 * time.Millisecond

// attack starts an attacker and returns after its first whole round.
func attack(t *testing.T, s *Server, o AttackerOptions) *Attacker {
	t.Helper()
	o.Endpoint = s.URL
	if o.Every == 0 {
		o.Every = 50 * time.Millisecond
	}
	a := NewAttacker(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	eventually(t, "attacker's first round", func() bool { return a.Report().Rounds > 1 })
	return a
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		pause(t.Context(), 20*time.Millisecond)
	}
	t.Fatalf("%s: not within 8 s", what)
}

func TestAttackerStaysInWithoutADefender(t *testing.T) {
	s, o := start(t, Options{EnforcementLag: span(50 * time.Millisecond)})
	a := attack(t, s, AttackerOptions{Key: o.Key, Mint: true, Backdoor: true, FightBack: true, Regions: []string{"us-east-1", "eu-west-1"}})
	eventually(t, "backdoor in use", func() bool {
		r := a.Report()
		in := 0
		for _, c := range r.ByCredential {
			if c.Allowed > 3 {
				in++
			}
		}
		return in == 3
	})
	r := a.Report()
	if r.RefusedSince > 2 || len(r.Undone) != 0 || len(r.Created) != 3 || r.Identified.IsZero() {
		t.Errorf("report %+v", r)
	}
	if r.ByOperation["secretsmanager:GetSecretValue"].Allowed == 0 || r.ByOperation["ec2:DescribeInstances"].Allowed == 0 {
		t.Errorf("operations %+v", r.ByOperation)
	}
	found := false
	for _, raw := range s.Records(o.Account, "us-east-1") {
		found = found || strings.Contains(string(raw), AttackerAddress) && strings.Contains(string(raw), "Kali")
	}
	if !found {
		t.Error("the attacker's address and agent are not in the trail")
	}
}

// Deactivating the key once loses: the attacker re-activates it within the lag.
func TestAttackerUndoesASingleAct(t *testing.T) {
	s, o := start(t, Options{EnforcementLag: span(raceLag)})
	us := responder(t, s, o)
	a := attack(t, s, AttackerOptions{Key: o.Key, FightBack: true})
	setStatus(t, us, o, types.StatusTypeInactive)
	pause(t.Context(), 4*raceLag)
	now := time.Now()
	eventually(t, "attacker is in again", func() bool { return a.Report().LastAllowed.After(now) })
	if s.CountTransitions(o.Key.ID, "Inactive", "Active") == 0 || len(a.Report().Undone) == 0 {
		t.Errorf("nothing was undone: %v", a.Report().Undone)
	}
}

// Holding the key Inactive for four lags wins, here as in the model of the facts.
func TestHoldingWinsTheRace(t *testing.T) {
	s, o := start(t, Options{EnforcementLag: span(raceLag)})
	us := responder(t, s, o)
	a := attack(t, s, AttackerOptions{Key: o.Key, FightBack: true})
	deny := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
	began := time.Now()
	for time.Since(began) < 4*raceLag {
		setStatus(t, us, o, types.StatusTypeInactive)
		_, err := us.iam.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &o.User, PolicyName: aws.String("deny"), PolicyDocument: &deny})
		want(t, "deny", err, "")
		pause(t.Context(), 25*time.Millisecond)
	}
	pause(t.Context(), raceLag)
	held := time.Now()
	pause(t.Context(), raceLag)
	r := a.Report()
	if r.LastAllowed.After(held) || r.RefusedSince < 10 {
		t.Errorf("attacker is still in: last allowed %v after the hold began, %d refused since", r.LastAllowed.Sub(began), r.RefusedSince)
	}
	t.Logf("last allowed call %v after the first act, %d acts undone", r.LastAllowed.Sub(began).Round(time.Millisecond), len(r.Undone))
}

// A defender of the key alone does not reach the session that was minted before.
func TestInactiveKeyLeavesTheSession(t *testing.T) {
	s, o := start(t, Options{})
	us := responder(t, s, o)
	a := attack(t, s, AttackerOptions{Key: o.Key, Mint: true})
	eventually(t, "session", func() bool { return len(a.Report().Created) == 1 })
	setStatus(t, us, o, types.StatusTypeInactive)
	eventually(t, "key is dead", func() bool { return a.Report().ByCredential[o.Key.ID].RefusedSince > 3 })
	now := time.Now()
	eventually(t, "session lives", func() bool { return a.Report().LastAllowed.After(now) })
	_, err := us.iam.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &o.User, PolicyName: aws.String("revoke"),
		PolicyDocument: denyBefore(time.Now().Add(time.Second))})
	want(t, "revoke", err, "")
	eventually(t, "session is dead", func() bool { return a.Report().RefusedSince > 10 })
}

// Held down, the leaked key is dead, but a backdoor that was made before goes on
// and undoes the denies; when it is contained too, the attacker is out.
func TestBackdoorOutlivesTheHold(t *testing.T) {
	s, o := start(t, Options{EnforcementLag: span(50 * time.Millisecond)})
	us := responder(t, s, o)
	a := attack(t, s, AttackerOptions{Key: o.Key, Backdoor: true, FightBack: true})
	eventually(t, "backdoor in use", func() bool { return len(a.Report().ByCredential) > 1 })
	setStatus(t, us, o, types.StatusTypeInactive)
	eventually(t, "re-activation by the backdoor", func() bool { return s.CountTransitions(o.Key.ID, "Inactive", "Active") > 0 })

	name := aws.String(backdoorUser)
	keys, err := us.iam.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: name})
	want(t, "list", err, "")
	for range 8 {
		setStatus(t, us, o, types.StatusTypeInactive)
		for _, k := range keys.AccessKeyMetadata {
			_, err = us.iam.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive})
			want(t, "contain the backdoor", err, "")
		}
		pause(t.Context(), 25*time.Millisecond)
	}
	eventually(t, "attacker is out", func() bool { return a.Report().RefusedSince > 15 })
}
