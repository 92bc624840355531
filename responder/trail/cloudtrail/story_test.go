package cloudtrail_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/internal/lab/aws"
	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/act/aws"
	"stanch/responder/trail"
	"stanch/responder/trail/cloudtrail"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// TestStory goes from an attack to the summary of a report: our own question is
// told apart from the thief's calls by its request id.
func TestStory(t *testing.T) {
	none := &labaws.Span{}
	lab, org, d := laboratory(t, labaws.Options{EnforcementLag: none, TrailDelay: none}, "us-east-1", "eu-west-1")
	s := act.Subject{
		IncidentID: "story", PublicID: org.Key.ID, Account: org.Account, ExposedAt: time.Now().Truncate(time.Second),
		Parts: map[string]secret.Value{scanner.PartAccessKeyID: secret.New(org.Key.ID), scanner.PartSecretAccessKey: org.Key.Secret},
	}
	ours := map[string]bool{}
	v := d.Identify(context.Background(), playbooks.Credential{}, s)
	if v.Outcome != verdict.Live {
		t.Fatal(v.Reason)
	}
	s.Facts = v.Facts
	for _, q := range v.Requests {
		ours[q.RequestID] = true
	}
	a := labaws.NewAttacker(labaws.AttackerOptions{Endpoint: lab.URL, Key: org.Key, Mint: true, Every: 50 * time.Millisecond})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	time.Sleep(1500 * time.Millisecond)
	e, err := d.Act(context.Background(), playbooks.Action{Uses: aws.VerbDenyAll}, s, false)
	if err == nil {
		_, err = d.Act(context.Background(), playbooks.Action{Uses: aws.VerbDeactivate}, s, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second) // the log tells whole seconds: a refusal must fall into a later one
	stop()
	<-done
	k := &keeper{events: map[string]trail.Event{}}
	time.Sleep(1100 * time.Millisecond) // the sweep asks up to the last full second
	coverage, err := cloudtrail.New(cloudtrail.Options{Accounts: d}).Collect(context.Background(), s, nil, k.keep)
	if err != nil {
		t.Fatal(err)
	}
	events := slices.Collect(mapValues(k.events))
	trail.Classify(events, trail.Context{Credential: org.Key.ID, ExposedAt: s.ExposedAt, ContainedAt: e.At, OurRequests: ours, OurPrincipals: d.Principals()})
	sum := trail.Summarise(events, coverage, s.ExposedAt, e.At)
	r := a.Report()
	t.Logf("attacker: %d allowed, %d refused; summary: used %s, %d attacker events, %d ours, %d unclear, %d refused after, sessions %d, rotate %d",
		r.Allowed, r.Refused, sum.Used, sum.AttackerEvents, sum.OurEvents, sum.UnclearEvents, sum.RefusedAfterContainment, len(sum.Sessions), len(sum.Rotate))
	if sum.Used != "yes" || sum.OurEvents != 1 || sum.AttackerEvents == 0 || sum.RefusedAfterContainment == 0 || len(sum.Sessions) == 0 || len(sum.Rotate) == 0 {
		t.Errorf("summary %+v", sum)
	}
	if !slices.ContainsFunc(sum.Addresses, func(u trail.AddressUse) bool {
		return u.Address == labaws.AttackerAddress && u.Origin == trail.OriginAttacker
	}) {
		t.Errorf("addresses %+v", sum.Addresses)
	}
	data, err := json.Marshal([]any{events, sum, k.cursor})
	if err != nil || strings.Contains(string(data), org.Key.Secret.Reveal()) {
		t.Errorf("the leaked secret is in the trail (%v)", err)
	}
}
