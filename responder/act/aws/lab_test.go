package aws_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"stanch/internal/lab/aws"
	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/act/aws"
	"stanch/responder/verdict"
	"stanch/scanner"
)

func laboratory(t *testing.T, o labaws.Options) (*labaws.Server, *labaws.Organisation, *aws.Driver, act.Subject) {
	t.Helper()
	s, err := labaws.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	org, err := s.Seed()
	if err != nil {
		t.Fatal(err)
	}
	d, err := aws.New(aws.Options{
		EndpointURL: s.URL, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
		Credentials:          aws.StaticCredentials(org.Stanch.ID, org.Stanch.Secret, org.Stanch.Token),
		ContainNewPrincipals: true,
		Accounts:             []aws.Account{{ID: org.Account, RoleARN: org.RoleARN, ExternalID: secret.New(org.ExternalID)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, org, d, act.Subject{
		IncidentID: "0193c0de-0000-7000-8000-0000deadbeef", Provider: "aws", Kind: "access_key", PublicID: org.Key.ID, ExposedAt: time.Now(), Facts: map[string]string{},
		Parts: map[string]secret.Value{scanner.PartAccessKeyID: secret.New(org.Key.ID), scanner.PartSecretAccessKey: org.Key.Secret},
	}
}

// do repeats an act as the engine does: passing failures are tried again.
func do(t *testing.T, d *aws.Driver, uses string, s *act.Subject) act.Effect {
	t.Helper()
	for try := range 10 {
		e, err := d.Act(context.Background(), playbooks.Action{Uses: uses}, *s, try > 0)
		var again *act.Retry
		if errors.As(err, &again) {
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", uses, err)
		}
		for k, v := range e.Facts {
			s.Facts[k] = v
		}
		return e
	}
	t.Fatalf("%s: never accepted", uses)
	return act.Effect{}
}

// dead waits for three refusals in a row.
func dead(t *testing.T, d *aws.Driver, s act.Subject, within time.Duration) {
	t.Helper()
	row := 0
	var last verdict.Verdict
	for start := time.Now(); time.Since(start) < within; time.Sleep(100 * time.Millisecond) {
		last = d.Identify(context.Background(), playbooks.Credential{}, s)
		if last.Outcome != verdict.Dead {
			row = 0
			continue
		}
		row++
		if row == 3 {
			return
		}
	}
	t.Errorf("not dead within %v: %v %s", within, last.Outcome, last.Reason)
}

// TestLaboratory goes the whole way over real protocols, with signatures checked.
func TestLaboratory(t *testing.T) {
	_, org, d, s := laboratory(t, labaws.Options{EnforcementLag: &labaws.Span{Min: 300 * time.Millisecond, Max: 300 * time.Millisecond}})
	err := d.Warm(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	v := d.Identify(context.Background(), playbooks.Credential{}, s)
	if v.Outcome != verdict.Live || v.Identity != org.UserARN || v.Account != org.Account || v.Facts["user_name"] != org.User {
		t.Fatalf("identify: %v %s %v", v.Outcome, v.Reason, v.Facts)
	}
	idOnly := s
	idOnly.Parts = nil
	v = d.Identify(context.Background(), playbooks.Credential{}, idOnly)
	if v.Outcome != verdict.Live || v.Facts["proof"] != "id" {
		t.Errorf("identify by id: %v %s", v.Outcome, v.Reason)
	}
	wrong := s
	wrong.Parts = map[string]secret.Value{scanner.PartSecretAccessKey: secret.New("wrongwrongwrongwrongwrongwrongwrongwrong"), act.CandidatePart(scanner.PartSecretAccessKey, 2): org.Key.Secret}
	v = d.Identify(context.Background(), playbooks.Credential{}, wrong)
	if v.Outcome != verdict.Live || v.Facts["secret_candidate"] != "2" {
		t.Errorf("identify with candidates: %v %s %v", v.Outcome, v.Reason, v.Facts)
	}
	e := do(t, d, aws.VerbDeactivate, &s)
	deny := do(t, d, aws.VerbDenySessions, &s)
	all := do(t, d, aws.VerbDenyAll, &s)
	dead(t, d, s, 5*time.Second)
	v = d.Identify(context.Background(), playbooks.Credential{}, idOnly)
	if v.Outcome != verdict.Dead {
		t.Errorf("identify by id after: %v %s", v.Outcome, v.Reason)
	}
	for _, x := range []act.Effect{e, deny, all} {
		for _, q := range x.Requests {
			if q.RequestID == "" {
				t.Errorf("request without id: %+v", q)
			}
		}
	}
	for _, undo := range []map[string]string{all.Undo, deny.Undo, e.Undo} {
		_, err = d.Undo(context.Background(), playbooks.Action{Undo: undo["verb"]}, s, undo)
		if err != nil {
			t.Errorf("undo %s: %v", undo["verb"], err)
		}
	}
	time.Sleep(400 * time.Millisecond)
	v = d.Identify(context.Background(), playbooks.Credential{}, s)
	if v.Outcome != verdict.Live {
		t.Errorf("identify after undo: %v %s", v.Outcome, v.Reason)
	}
	secretNowhere(t, org.Key.Secret, v, e, deny, all)
}

func secretNowhere(t *testing.T, secret secret.Value, things ...any) {
	t.Helper()
	data, err := json.Marshal(things)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), secret.Reveal()) {
		t.Error("the leaked secret is in what the driver says")
	}
}

// TestLaboratoryRace: IAM enforces up to 4 s late, throttles, fails and loses
// answers, while the attacker fights back.
func TestLaboratoryRace(t *testing.T) {
	for _, backdoor := range []bool{false, true} {
		t.Run(fmt.Sprintf("backdoor %v", backdoor), func(t *testing.T) {
			t.Parallel()
			raceInLaboratory(t, backdoor)
		})
	}
}

func raceInLaboratory(t *testing.T, backdoor bool) {
	lab, org, d, s := laboratory(t, labaws.Options{Seed: 7, Misbehave: true, Latency: &labaws.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}})
	for d.Warm(context.Background()) != nil {
		time.Sleep(50 * time.Millisecond)
	}
	a := labaws.NewAttacker(labaws.AttackerOptions{Endpoint: lab.URL, Key: org.Key, FightBack: true, Mint: true, Backdoor: backdoor})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	time.Sleep(time.Second)
	start := time.Now()
	do(t, d, aws.VerbDeactivate, &s)
	accepted := time.Since(start)
	do(t, d, aws.VerbDenySessions, &s)
	held, err := d.Hold(context.Background(), s, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	dead(t, d, s, 10*time.Second)
	stop()
	<-done
	r := a.Report()
	t.Logf("accepted after %v; attacker made %v,: %d allowed, %d refused, last allowed %v after the first act; undone %d; %d reactions, %d effects, %d requests kept",
		accepted, r.Created, r.Allowed, r.Refused, r.LastAllowed.Sub(start), len(r.Undone), len(held.Reactions), len(held.Effects), len(held.Requests))
	if r.LastAllowed.Sub(start) > 12*time.Second {
		t.Errorf("the attacker was let in %v after the first act", r.LastAllowed.Sub(start))
	}
	secretNowhere(t, org.Key.Secret, held)
}
