package actgithub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/trail"
)

func TestHashedToken(t *testing.T) {
	// printf hello | openssl dgst -sha256 -binary | base64
	if got := HashedToken(secret.New("hello")); got != "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=" {
		t.Fatal(got)
	}
}

// pages is an audit log of n pages of three events; fail breaks at a page.
type pages struct {
	n      int
	fail   map[int]error
	hashes []string
	asked  []string
}

func (p *pages) Events(_ context.Context, org, hashed string, _ time.Time, cursor string) ([]AuditEvent, string, error) {
	p.hashes = append(p.hashes, hashed)
	p.asked = append(p.asked, org+":"+cursor)
	i := 0
	if cursor != "" {
		_, err := fmt.Sscan(cursor, &i)
		if err != nil {
			return nil, "", err
		}
	}
	if err := p.fail[i]; err != nil {
		delete(p.fail, i)
		return nil, "", err
	}
	var out []AuditEvent
	for j := range 3 {
		out = append(out, AuditEvent{DocumentID: fmt.Sprintf("%s-%d-%d", org, i, j), Action: "git.clone", Org: org, Time: now.Add(-time.Hour)})
	}
	next := ""
	if i+1 < p.n {
		next = fmt.Sprint(i + 1)
	}
	return out, next, nil
}

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func subject() act.Subject {
	return act.Subject{ExposedAt: now.Add(-time.Minute), Facts: map[string]string{playbooks.FactHashedToken: "h="}}
}

func TestCollectResumesWithoutLoss(t *testing.T) {
	log := &pages{n: 4, fail: map[int]error{2: &act.Retry{Err: errors.New("429")}}}
	src := NewSource(log, []string{"acme"}, time.Hour, []string{"gap"}, func() time.Time { return now })
	kept := map[string]int{}
	var saved trail.Cursor
	keep := func(_ context.Context, es []trail.Event, c trail.Cursor) error {
		for _, e := range es {
			kept[e.ID]++
		}
		saved = trail.Cursor{}
		for k, v := range c {
			saved[k] = v
		}
		return nil
	}
	cov, err := src.Collect(context.Background(), subject(), nil, keep)
	var retry *act.Retry
	if !errors.As(err, &retry) || len(cov) != 1 || cov[0].Complete || cov[0].Error == "" || cov[0].Pages != 2 {
		t.Fatalf("%+v %v", cov, err)
	}
	cov, err = src.Collect(context.Background(), subject(), saved, keep)
	if err != nil || !cov[0].Complete || cov[0].Pages != 2 || cov[0].Gaps[0] != "gap" {
		t.Fatalf("%+v %v", cov, err)
	}
	if len(kept) != 12 {
		t.Fatalf("%d events, want 12", len(kept))
	}
	for id, n := range kept {
		if n != 1 {
			t.Errorf("%s kept %d times", id, n)
		}
	}
	// A later poll reads again from the start.
	_, err = src.Collect(context.Background(), subject(), saved, keep)
	if err != nil || log.asked[len(log.asked)-4] != "acme:" {
		t.Fatalf("%v %v", log.asked, err)
	}
	for _, h := range log.hashes {
		if h != "h=" {
			t.Errorf("searched for %q", h)
		}
	}
}

func TestNoLogIsCoverageNotSilence(t *testing.T) {
	log := &pages{n: 1, fail: map[int]error{0: fmt.Errorf("status 404: %w", ErrNoAuditLog)}}
	src := NewSource(log, []string{"free-org"}, time.Hour, []string{"plan"}, func() time.Time { return now })
	keep := func(context.Context, []trail.Event, trail.Cursor) error { t.Error("kept"); return nil }
	cov, err := src.Collect(context.Background(), subject(), nil, keep)
	if err != nil || len(cov) != 1 || cov[0].Complete || !strings.Contains(cov[0].Error, "cannot be read") || len(cov[0].Gaps) != 1 {
		t.Fatalf("%+v %v", cov, err)
	}
	for _, s := range []*Source{NewSource(log, nil, 0, nil, nil), src} {
		cov, err = s.Collect(context.Background(), act.Subject{}, nil, keep)
		if err != nil || len(cov) != 1 || cov[0].Error == "" || cov[0].Complete {
			t.Fatalf("%+v %v", cov, err)
		}
	}
}

func TestEvent(t *testing.T) {
	e := event(AuditEvent{DocumentID: "d", Action: "repo.access", Repo: "acme/x", Actor: "bob\x1b[31m", ActorIP: "198.51.100.1", StatusCode: 403, User: "u", Method: "GET"})
	if e.Severity != "C" || !e.Denied || !e.ReadOnly || e.Actor != "bob[31m" || e.Resources[0] != "acme/x" || e.Detail["user"] != "u" || e.Error != "403" {
		t.Fatalf("%+v", e)
	}
	if e := event(AuditEvent{Action: "unheard.of"}); e.Severity != "L" || e.ID == "" || e.Technique != nil {
		t.Fatalf("%+v", e)
	}
}
