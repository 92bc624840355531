package labaws

import (
	"math/rand/v2"
	"testing"
)

func TestAccountOfKey(t *testing.T) {
	for id, want := range map[string]string{
		"ASIAQNZGKIQY56JQ7WML": "029608264753",
		"AKIAXYZDQCEN4B6JSJQI": "534261010715",
		"AKIAIOSFODNN7EXAMPLE": "", // made before 2019
		"AKIA":                 "",
		"AKIA0000000000000000": "",
	} {
		got, err := AccountOfKey(id)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("AccountOfKey(%s) = %q, %v, want %q", id, got, err, want)
		}
	}
}

func TestNewKeyIDIsTheInverse(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, account := range []string{"000000000000", "111122223333", "999999999999", "052310077262"} {
		seen := map[string]bool{}
		for range 200 {
			id, err := newKeyID("AKIA", account, rng)
			if err != nil {
				t.Fatal(err)
			}
			got, err := AccountOfKey(id)
			if err != nil || got != account {
				t.Fatalf("AccountOfKey(%s) = %q, %v, want %s", id, got, err, account)
			}
			if seen[id] {
				t.Fatalf("id %s twice", id)
			}
			seen[id] = true
		}
	}
}
