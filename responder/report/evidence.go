package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"stanch/responder/incident"
	"stanch/responder/trail"
)

// request is one of our calls with what it was for.
type request struct {
	incident.Request
	what string
}

// requests gathers every call that we made, oldest first, each once.
func (b *builder) requests() []request {
	var all []request
	for _, a := range b.in.Actions {
		for _, q := range a.Requests {
			all = append(all, request{q, "contain/" + a.Name})
		}
	}
	for _, q := range b.in.Requests {
		all = append(all, request{q, "verdict"})
	}
	for _, h := range b.in.Held {
		for _, q := range h.Requests {
			all = append(all, request{q, "hold"})
		}
	}
	for _, c := range b.in.Coverage {
		for _, q := range c.Requests {
			all = append(all, request{q, "trail"})
		}
	}
	slices.SortStableFunc(all, func(a, b request) int {
		return firstNonZero(a.At.Compare(b.At), strings.Compare(a.RequestID, b.RequestID))
	})
	return slices.CompactFunc(all, func(a, b request) bool {
		return a.RequestID != "" && a.RequestID == b.RequestID && a.Operation == b.Operation && a.At.Equal(b.At)
	})
}

func (b *builder) appendix() Appendix {
	var x Appendix
	for _, s := range b.in.Sightings {
		object := s.Object
		if object == "" {
			object = "blob"
		}
		x.Sightings = append(x.Sightings, Sighting{
			Repository: s.Repository, Visibility: visibility(s.Visibility), Ref: s.Ref, Commit: s.Commit, Object: object,
			Path: s.Path, Line: s.Line, Column: s.Column, Rule: s.Rule, Part: s.Part, Author: s.Author,
			AuthorEmail: s.AuthorEmail, Committer: s.Committer, Pusher: s.Pusher, AuthoredAt: s.AuthoredAt,
			CommittedAt: s.CommittedAt, ExposedAt: s.ExposedAt, ExposedFrom: s.ExposedFrom, SeenAt: s.SeenAt,
			Delivery: s.Delivery, Removed: s.Removed,
		})
	}
	for _, s := range b.in.States {
		x.States = append(x.States, State{State: string(s.State), At: s.At, Reason: s.Reason})
	}
	for _, s := range b.in.Steps {
		x.Steps = append(x.Steps, Step{Name: s.Name, State: s.State, Attempts: s.Attempts, StartedAt: s.StartedAt, DoneAt: s.DoneAt, Error: s.Error})
	}
	for _, q := range b.requests() {
		x.Requests = append(x.Requests, Request{
			For: q.what, Operation: q.Operation, Host: q.Host, RequestID: q.RequestID, Status: q.Status,
			Error: q.Error, At: q.At, TookMS: q.TookMS, With: q.With,
		})
	}
	x.Ledger = LedgerEvidence{Entries: slices.Clone(b.in.Ledger.Entries), Checkpoint: b.in.Ledger.Checkpoint,
		Verify: "stanch ledger verify"}
	return x
}

// custody hashes each body of evidence. Anyone can repeat it with the command
// that How names (piped into sha256sum); the bytes are those of the report itself but for the trail,
// whose events are hashed whole, also those that the report leaves out.
func custody(r Report, events []trail.Event) ([]Custody, error) {
	bodies := []struct {
		path  string
		items int
		value any
	}{
		{"appendix.sightings", len(r.Appendix.Sightings), r.Appendix.Sightings},
		{"appendix.states", len(r.Appendix.States), r.Appendix.States},
		{"appendix.steps", len(r.Appendix.Steps), r.Appendix.Steps},
		{"appendix.requests", len(r.Appendix.Requests), r.Appendix.Requests},
		{"response", len(r.Response.Acts), r.Response},
		{"limits", len(r.Limits.Sources), r.Limits},
		{"trail.calls", len(r.Trail.Calls), r.Trail.Calls},
	}
	var out []Custody
	for _, b := range bodies {
		data, err := compact(b.value)
		if err != nil {
			return nil, fmt.Errorf("hash %s: %w", b.path, err)
		}
		out = append(out, Custody{Name: b.path, Items: b.items, SHA256: hashOf(data), How: "the output of `jq -cj ." + b.path + " report.json`"})
	}
	var lines []byte
	for _, e := range events {
		line, err := compact(e)
		if err != nil {
			return nil, fmt.Errorf("hash trail event: %w", err)
		}
		lines = append(append(lines, line...), '\n')
	}
	return append(out, Custody{Name: "trail_events", Items: len(events), SHA256: hashOf(lines), How: "every event as one line of JSON, by time and id"}), nil
}

// evidenceHash is over the lines "NAME SHA256\n".
func evidenceHash(c []Custody) string {
	var b strings.Builder
	for _, x := range c {
		b.WriteString(x.Name + " " + x.SHA256 + "\n")
	}
	return hashOf([]byte(b.String()))
}

func hashOf(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// compact is v as jq -cj prints it: no white space, only what JSON must escape.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	if err != nil {
		return nil, fmt.Errorf("encode evidence: %w", err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	return asJQ(out), nil
}

// asJQ mends the three characters that jq escapes the other way round than Go:
// the line separators, which Go escapes, and DEL, which it does not.
func asJQ(in []byte) []byte {
	out := make([]byte, 0, len(in))
	for n := 0; n < len(in); n++ {
		switch {
		case in[n] == 0x7f:
			out = append(out, `\u007f`...)
		case in[n] != '\\':
			out = append(out, in[n])
		case bytes.HasPrefix(in[n:], []byte(`\u2028`)), bytes.HasPrefix(in[n:], []byte(`\u2029`)):
			out = append(out, 0xe2, 0x80, 0xa8+in[n+5]-'8')
			n += 5
		default: // any other escape is two bytes at least; keep both
			out = append(out, in[n], in[n+1])
			n++
		}
	}
	return out
}
