package rules_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

var update = flag.Bool("update", false, "write the plans anew")

func TestPlansAreOfTheRules(t *testing.T) {
	for _, p := range []struct {
		file, have string
		tomls      [][]byte
	}{
		{"extra.plan", rules.ExtraPlan, [][]byte{rules.Extra()}},
		{"gitleaks.plan", rules.GitleaksPlan, nil},
	} {
		want, err := match.Plan(p.tomls...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := match.Plan(p.tomls...)
		if err != nil || !bytes.Equal(again, want) {
			t.Fatalf("%s: the same rules give another plan, %v", p.file, err)
		}
		switch {
		case *update:
			err = os.WriteFile(p.file, want, 0o644)
			if err != nil {
				t.Fatal(err)
			}
		case p.have != string(want):
			t.Errorf("%s is not of the rules as they are now: run go generate ./scanner/...", p.file)
		}
	}
}
