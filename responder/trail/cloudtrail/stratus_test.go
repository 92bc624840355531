package cloudtrail

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stanch/responder/trail"
)

const stratusDir = "../testdata/stratus"

// stratus reads one recorded attack: raw records and the parsed events.
func stratus(t *testing.T, file string) ([]json.RawMessage, []trail.Event) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(stratusDir, file))
	if err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	err = json.Unmarshal(data, &raw)
	if err != nil {
		t.Fatal(err)
	}
	events := make([]trail.Event, 0, len(raw))
	for _, r := range raw {
		e, err := Parse(r)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		events = append(events, e)
	}
	return raw, events
}

func stratusFiles(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(stratusDir, "*.json"))
	if err != nil || len(list) != 35 {
		t.Fatalf("recorded attacks: got %d files (%v), want 35", len(list), err)
	}
	for i := range list {
		list[i] = filepath.Base(list[i])
	}
	return list
}

// TestStratusTable reads every recorded attack: each must yield an event of
// severity M or higher, and at least 33 of 35 the tactic under which their
// authors file them.
func TestStratusTable(t *testing.T) {
	right := 0
	for _, file := range stratusFiles(t) {
		_, events := stratus(t, file)
		trail.Classify(events, trail.Context{})
		want := strings.Split(file, ".")[1]
		var tactics, ops []string
		top := "L"
		for _, e := range events {
			if e.Severity == "L" {
				continue
			}
			if strings.Index("LMHC", e.Severity) > strings.Index("LMHC", top) {
				top = e.Severity
			}
			for _, x := range e.Tactic {
				if !slices.Contains(tactics, x) {
					tactics = append(tactics, x)
				}
			}
			if op := trail.BareOperation(e.Operation); !slices.Contains(ops, op) {
				ops = append(ops, op)
			}
		}
		ok := slices.Contains(tactics, want)
		if ok {
			right++
		}
		t.Logf("%-5v %s %-20s %-58s %v -> %v", ok, top, want, strings.TrimSuffix(file, ".json"), ops, tactics)
		if top == "L" {
			t.Errorf("%s: no event of severity M or higher", file)
		}
	}
	t.Logf("tactic right in %d of 35", right)
	if right < 33 {
		t.Errorf("tactic right in %d of 35, want at least 33", right)
	}
}

// TestStratusKeepsNoSecret looks for every session token and other dropped
// value of the recordings in everything that is kept.
func TestStratusKeepsNoSecret(t *testing.T) {
	planted := 0
	for _, file := range stratusFiles(t) {
		raw, events := stratus(t, file)
		trail.Classify(events, trail.Context{})
		out, err := json.Marshal(events)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := json.Marshal(trail.Summarise(events, nil, events[0].Time, events[0].Time))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range raw {
			var doc any
			err := json.Unmarshal(r, &doc)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secretsIn(doc) {
				planted++
				if strings.Contains(string(out), secret[:24]) || strings.Contains(string(sum), secret[:24]) {
					t.Errorf("%s: a secret of the recording is in what we keep", file)
				}
			}
		}
	}
	if planted == 0 {
		t.Error("the recordings hold no session token: the test proves nothing")
	}
	t.Logf("%d secrets in the recordings", planted)
}

// secretsIn finds secrets by its own reading, not by the code under test.
func secretsIn(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			s, ok := x.(string)
			low := strings.ToLower(k)
			if ok && len(s) >= 24 && (strings.Contains(low, "token") && low != "nexttoken" && low != "clienttoken" || strings.Contains(low, "secretaccesskey")) {
				out = append(out, s)
				continue
			}
			out = append(out, secretsIn(x)...)
		}
	case []any:
		for _, x := range v {
			out = append(out, secretsIn(x)...)
		}
	}
	return out
}
