package labaws

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func tally(t *testing.T, seed int64, n int) (map[string]int, *Server) {
	t.Helper()
	s, o := start(t, Options{Seed: seed, Misbehave: true})
	c := connect(t, s, o.Key, "us-east-1")
	got := map[string]int{}
	for range n {
		err := identify(t.Context(), c)
		switch k := code(err); k {
		case "", "Throttling", "ServiceFailure", "ServiceUnavailable":
			got[k]++
		default:
			got["lost"]++
		}
	}
	return got, s
}

func TestMisbehaviourRates(t *testing.T) {
	const n = 3000
	got, s := tally(t, 42, n)
	for _, test := range []struct {
		code     string
		min, max int // of n, four standard deviations round 5 %, 2.5 % and 2 %
	}{{"Throttling", 102, 198}, {"ServiceFailure", 41, 109}, {"ServiceUnavailable", 41, 109}, {"lost", 29, 91}} {
		if got[test.code] < test.min || got[test.code] > test.max {
			t.Errorf("%s: %d of %d, want %d to %d", test.code, got[test.code], n, test.min, test.max)
		}
	}
	lost := 0
	for _, r := range s.Requests() {
		if r.Lost {
			lost++
		}
	}
	if lost != got["lost"] {
		t.Errorf("log has %d lost answers, the client saw %d", lost, got["lost"])
	}
	again, _ := tally(t, 42, 300)
	once, _ := tally(t, 42, 300)
	if fmt.Sprint(again) != fmt.Sprint(once) {
		t.Errorf("one seed gave %v and %v", once, again)
	}
}

func TestLostAnswerHasTakenEffect(t *testing.T) {
	s, o := start(t, Options{Misbehave: true, Faults: &Faults{}})
	c := connect(t, s, o.Key, "us-east-1")
	s.mu.Lock()
	s.opts.Faults.Lost = 1
	s.mu.Unlock()
	_, err := c.iam.UpdateAccessKey(context.Background(), &iam.UpdateAccessKeyInput{UserName: &o.User, AccessKeyId: &o.Key.ID, Status: types.StatusTypeInactive})
	if err == nil {
		t.Error("the answer was not lost")
	}
	if n := s.CountTransitions(o.Key.ID, "Active", "Inactive"); n != 1 {
		t.Errorf("%d transitions", n)
	}
}

func TestConflictsHitWritesAlone(t *testing.T) {
	s, o := start(t, Options{Misbehave: true, Faults: &Faults{Conflict: 1}})
	c := connect(t, s, o.Key, "us-east-1")
	_, err := c.iam.CreateUser(t.Context(), &iam.CreateUserInput{UserName: aws.String("x")})
	if k := code(err); k != "ConcurrentModification" && k != "EntityTemporarilyUnmodifiable" {
		t.Errorf("write: %q", k)
	}
	want(t, "read", listUsersCall(t.Context(), c), "")
}

func TestStaleSecret(t *testing.T) {
	s, o := start(t, Options{Misbehave: true, Faults: &Faults{StaleSecret: true}})
	right := connect(t, s, o.Key, "us-east-1")
	wrong := connect(t, s, Key{ID: o.Key.ID, Secret: o.Stanch.Secret}, "us-east-1")
	want(t, "right", identify(t.Context(), right), "")
	want(t, "wrong", identify(t.Context(), wrong), "SignatureDoesNotMatch")
	want(t, "right, just after a wrong one", identify(t.Context(), right), "SignatureDoesNotMatch")
	want(t, "right, sent again", identify(t.Context(), right), "")
}
