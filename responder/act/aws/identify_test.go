package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/verdict"
	"stanch/scanner"
)

func TestAccountID(t *testing.T) {
	for _, c := range []struct{ id, want string }{
		{"ASIAQNZGKIQY56JQ7WML", "029608264753"},
		{"AKIAXYZDQCEN4B6JSJQI", "534261010715"},
		{"AKIAIOSFODNN7EXAMPLE", ""}, // from before 2019
		{"AKIAJOSFODNN7EXAMPLE", ""},
		{"AKIA", ""},
		{"AKIA1111111111111111", ""}, // 1 is not in base32
	} {
		got, ok := AccountID(c.id)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("AccountID(%q) = %q, %v; want %q", c.id, got, ok, c.want)
		}
	}
}

func TestIdentifyOutcomes(t *testing.T) {
	userARN := "arn:aws:iam::" + fakeAccount + ":user/svc/ci"
	gci := func(r *reply) func(call) *reply {
		return func(c call) *reply {
			if c.action == "GetCallerIdentity" {
				return r
			}
			return nil
		}
	}
	session := func(s *act.Subject) {
		s.PublicID = "ASIAQNZGKIQY56JQ7WML"
		s.Parts[scanner.PartSessionToken] = secret.New(canary + "TOKEN")
	}
	for _, c := range []struct {
		name    string
		answer  func(call) *reply
		subject func(*act.Subject)
		fake    func(*fake)
		want    verdict.Outcome
		reason  string
		facts   map[string]string
	}{
		{name: "live user", answer: gci(identity(userARN, "AIDA1", fakeAccount)), want: verdict.Live, reason: "pair proven",
			facts: map[string]string{"arn": userARN, "user_id": "AIDA1", "account": fakeAccount, "user_name": "ci", "path": "/svc/", "principal": "user", "proof": "pair"}},
		{name: "live root", answer: gci(identity("arn:aws:iam::"+fakeAccount+":root", fakeAccount, fakeAccount)), want: verdict.Live, reason: "root of the account", facts: map[string]string{"principal": "root"}},
		{name: "live session", subject: session, answer: gci(identity("arn:aws:sts::029608264753:assumed-role/deploy/i-1", "AROA1:i-1", "029608264753")), want: verdict.Live, reason: "assumed-role/deploy",
			facts: map[string]string{"principal": "assumed-role", "role_name": "deploy", "session_name": "i-1"}},
		{name: "live federated", subject: session, answer: gci(identity("arn:aws:sts::029608264753:federated-user/bob", "029608264753:bob", "029608264753")), want: verdict.Live, reason: "federated-user"},
		{name: "unknown id", answer: gci(fault(403, "InvalidClientTokenId", "invalid")), want: verdict.Dead, reason: "InvalidClientTokenId"},
		{name: "unknown id, but not with 403", answer: gci(fault(400, "InvalidClientTokenId", "invalid")), want: verdict.Error, reason: "InvalidClientTokenId"},
		{name: "expired session", subject: session, answer: gci(fault(403, "ExpiredToken", "expired")), want: verdict.Dead, reason: "expired"},
		{name: "session without token", subject: func(s *act.Subject) { s.PublicID = "ASIAQNZGKIQY56JQ7WML" }, want: verdict.Unknown, reason: "session token"},
		{name: "wrong secret, enrolled account", answer: gci(fault(403, "SignatureDoesNotMatch", "the canonical string "+canary)), want: verdict.Live, reason: "id proven", facts: map[string]string{"proof": "id", "user_name": "ci", "key_status": "Active"}},
		{name: "wrong secret, foreign account", subject: func(s *act.Subject) { s.PublicID = "AKIAQNZGKIQY56JQ7WML" }, answer: gci(fault(403, "SignatureDoesNotMatch", "x")), want: verdict.Unknown, reason: "exists and is active"},
		{name: "clock", answer: gci(fault(403, "SignatureDoesNotMatch", "Signature expired: 2020 is now earlier than 2026")), want: verdict.Error, reason: "clock"},
		{name: "denied", subject: func(s *act.Subject) { s.PublicID = "AKIAQNZGKIQY56JQ7WML" }, answer: gci(fault(403, "AccessDenied", "no")), want: verdict.Unknown, reason: "neither life nor death"},
		{name: "throttled", answer: gci(fault(400, "Throttling", "slow")), want: verdict.Error, reason: "Throttling"},
		{name: "server error", answer: gci(fault(503, "ServiceUnavailable", "x")), want: verdict.Error, reason: "ServiceUnavailable"},
		{name: "firewall", answer: gci(&reply{status: 403, body: "<html>blocked " + canary + "</html>"}), want: verdict.Error, reason: "no usable answer"},
		{name: "captive portal", answer: gci(&reply{status: 200, body: "<html>log in</html>"}), want: verdict.Error, reason: ""},
		{name: "empty identity", answer: gci(identity("", "", "")), want: verdict.Error, reason: "no identity"},
		{name: "account differs from ARN", answer: gci(identity(userARN, "AIDA1", "111111111111")), want: verdict.Error, reason: "no identity"},
		{name: "no answer", answer: gci(&reply{delay: time.Hour}), want: verdict.Error, reason: "no answer within 2s"},
		{name: "broken connection", answer: gci(&reply{err: errors.New("connection reset while sending " + canary)}), want: verdict.Error, reason: "no usable answer"},
		{name: "id only, active", subject: func(s *act.Subject) { s.Parts = nil }, want: verdict.Live, reason: "id proven", facts: map[string]string{"key_status": "Active", "last_used": "2026-01-02T03:04:05Z s3 eu-west-1"}},
		{name: "id only, inactive", subject: func(s *act.Subject) { s.Parts = nil }, fake: func(f *fake) { f.users["ci"].keys[fakeKeyID].active = false }, want: verdict.Dead, reason: "inactive"},
		{name: "id only, gone", subject: func(s *act.Subject) { s.Parts = nil }, fake: func(f *fake) { delete(f.users["ci"].keys, fakeKeyID) }, want: verdict.Dead, reason: "no access key"},
		{name: "id only, our role may not ask", subject: func(s *act.Subject) { s.Parts = nil }, answer: func(c call) *reply {
			if c.service == "iam" {
				return fault(403, "AccessDenied", "no")
			}
			return nil
		}, want: verdict.Unknown, reason: "may not ask"},
		{name: "id only, foreign", subject: func(s *act.Subject) { s.Parts = nil; s.PublicID = "AKIAQNZGKIQY56JQ7WML" }, want: verdict.Unknown, reason: "not enrolled"},
		{name: "no key id", subject: func(s *act.Subject) { s.PublicID = "AIDAQNZGKIQY56JQ7WML" }, want: verdict.Unknown, reason: "no access key id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.answer = c.answer
				if c.fake != nil {
					c.fake(f)
				}
				d := newDriver(t, f, nil)
				s := leakedPair()
				if c.subject != nil {
					c.subject(&s)
				}
				v := d.Identify(background(), playbooks.Credential{}, s)
				if v.Outcome != c.want || !strings.Contains(v.Reason, c.reason) {
					t.Errorf("got %v %q, want %v with %q", v.Outcome, v.Reason, c.want, c.reason)
				}
				for k, want := range c.facts {
					if v.Facts[k] != want {
						t.Errorf("fact %s: got %q, want %q", k, v.Facts[k], want)
					}
				}
				if (v.Outcome == verdict.Live) != (v.Identity != "") {
					t.Errorf("identity %q with outcome %v", v.Identity, v.Outcome)
				}
				if len(f.calls) != 0 && len(v.Requests) == 0 {
					t.Error("requests were made and none is recorded")
				}
				noCanary(t, v)
			})
		})
	}
}

// noCanary fails when the leaked secret is in anything that a verdict, an
// effect or an error shows.
func noCanary(t *testing.T, things ...any) {
	t.Helper()
	for _, x := range things {
		data, _ := json.Marshal(x)
		text := string(data) + fmt.Sprintf("%v %+v %#v", x, x, x)
		if strings.Contains(text, canary) {
			t.Errorf("the leaked secret is in %T", x)
		}
	}
}

// TestIdentifyCandidates: STS answers the second of two questions about one id
// with SignatureDoesNotMatch even when it is right, so each is asked twice.
func TestIdentifyCandidates(t *testing.T) {
	f := newFake()
	asked := 0
	f.answer = func(c call) *reply {
		if c.action != "GetCallerIdentity" {
			return nil
		}
		asked++
		if asked < 4 { // wrong, wrong again, right but answered for the one before
			return fault(403, "SignatureDoesNotMatch", "x")
		}
		return identity("arn:aws:iam::"+fakeAccount+":user/ci", "AIDA1", fakeAccount)
	}
	d := newDriver(t, f, nil)
	s := leakedPair()
	s.Parts[act.CandidatePart(scanner.PartSecretAccessKey, 2)] = secret.New(canary + "2")
	v := d.Identify(background(), playbooks.Credential{}, s)
	if v.Outcome != verdict.Live || v.Facts["secret_candidate"] != "2" || asked != 4 {
		t.Errorf("got %v %v after %d questions, want live with candidate 2 after 4", v.Outcome, v.Facts, asked)
	}
	if len(v.Requests) != 4 || v.Requests[0].RequestID != "req-1" || v.Requests[0].Operation != "sts:GetCallerIdentity" || v.Requests[0].With != "leaked" {
		t.Errorf("requests: %+v", v.Requests)
	}
	noCanary(t, v)
}

// TestIdentifyPartitions asks other partitions only when one is enrolled.
func TestIdentifyPartitions(t *testing.T) {
	for _, gov := range []bool{false, true} {
		f := newFake()
		var regions []string
		f.answer = func(c call) *reply {
			regions = append(regions, c.service)
			return fault(403, "InvalidClientTokenId", "x")
		}
		d := newDriver(t, f, func(o *Options) {
			if gov {
				o.Accounts = append(o.Accounts, Account{ID: "111122223333", Partition: "aws-us-gov", RoleARN: "arn:aws-us-gov:iam::111122223333:role/r"})
			}
		})
		v := d.Identify(background(), playbooks.Credential{}, leakedPair())
		want := 1
		if gov {
			want = 2
		}
		if v.Outcome != verdict.Dead || len(v.Requests) != want {
			t.Errorf("gov %v: %v after %d requests, want dead after %d", gov, v.Outcome, len(v.Requests), want)
		}
		if gov && v.Requests[1].Host != "sts.us-gov-west-1.amazonaws.com" {
			t.Errorf("second host %q", v.Requests[1].Host)
		}
	}
}

func TestIdentifyNamesItself(t *testing.T) {
	f := newFake()
	d := newDriver(t, f, nil)
	d.Identify(background(), playbooks.Credential{}, leakedPair())
	if !strings.Contains(f.calls[0].agent, "app/stanch") {
		t.Errorf("user agent %q does not name us", f.calls[0].agent)
	}
}
