package aws

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stanch/playbooks"
	"stanch/responder/act"
)

func verb(uses, undo string) playbooks.Action {
	return playbooks.Action{Name: uses, Uses: uses, Undo: undo}
}

func TestDeactivate(t *testing.T) {
	inactive := func(f *fake) { f.users["ci"].keys[fakeKeyID].active = false }
	refuse := func(action string, r *reply) func(*fake) {
		return func(f *fake) {
			f.answer = func(c call) *reply {
				if c.action == action {
					return r
				}
				return nil
			}
		}
	}
	var retry *act.Retry
	for _, c := range []struct {
		name    string
		fake    func(*fake)
		subject func(*act.Subject)
		repeat  bool
		already bool
		err     error  // errors.Is
		text    string // in the error
		retry   bool
		writes  int
	}{
		{name: "active", writes: 1},
		{name: "user known from identify", subject: func(s *act.Subject) { s.Facts = map[string]string{"user_name": "ci"} }, writes: 1},
		{name: "user was renamed", subject: func(s *act.Subject) { s.Facts = map[string]string{"user_name": "old"} }, writes: 2},
		{name: "repeated after it took effect", fake: inactive, repeat: true, already: true},
		{name: "repeated before it took effect", repeat: true, writes: 1},
		{name: "key gone", fake: func(f *fake) { delete(f.users["ci"].keys, fakeKeyID) }, err: act.ErrGone},
		{name: "our role may not", fake: refuse("UpdateAccessKey", fault(403, "AccessDenied", "no")), err: act.ErrPerson, text: "our role " + fakeRole + " needs", writes: 1},
		{name: "our role cannot be assumed", fake: refuse("AssumeRole", fault(403, "AccessDenied", "no")), err: act.ErrPerson, text: "trust policy"},
		{name: "throttled for good", fake: refuse("UpdateAccessKey", fault(400, "Throttling", "no")), retry: true, writes: 8},
		{name: "modified by another", fake: refuse("UpdateAccessKey", fault(409, "ConcurrentModification", "no")), retry: true, writes: 8},
		{name: "lost answers", fake: refuse("UpdateAccessKey", &reply{delay: time.Hour}), retry: true, writes: 8},
		{name: "service-linked", fake: refuse("UpdateAccessKey", fault(400, "UnmodifiableEntity", "no")), err: act.ErrPerson, writes: 1},
		{name: "foreign account", subject: func(s *act.Subject) { s.PublicID = "AKIAQNZGKIQY56JQ7WML" }, err: act.ErrPerson, text: "account 029608264753 is not enrolled"},
		{name: "root key", subject: func(s *act.Subject) { s.Facts = map[string]string{"principal": "root", "account": fakeAccount} }, err: act.ErrPerson, text: "root key"},
		{name: "session", subject: func(s *act.Subject) { s.PublicID = "ASIAXYZDQCEN4B6JSJQI" }, err: act.ErrPerson, text: "session credential"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				if c.fake != nil {
					c.fake(f)
				}
				d := newDriver(t, f, nil)
				s := leakedPair()
				if c.subject != nil {
					c.subject(&s)
				}
				e, err := d.Act(background(), verb(VerbDeactivate, VerbReactivate), s, c.repeat)
				noCanary(t, e, err)
				if errors.As(err, &retry) != c.retry {
					t.Fatalf("error %v: retry %v, want %v", err, !c.retry, c.retry)
				}
				if got := f.count("UpdateAccessKey"); got != c.writes {
					t.Errorf("%d calls of UpdateAccessKey, want %d", got, c.writes)
				}
				if c.err != nil || c.retry {
					if c.err != nil && !errors.Is(err, c.err) || err == nil || !strings.Contains(err.Error(), c.text) {
						t.Errorf("error %v, want %v with %q", err, c.err, c.text)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if e.Already != c.already || f.users["ci"].keys[fakeKeyID].active {
					t.Errorf("already %v, active %v", e.Already, f.users["ci"].keys[fakeKeyID].active)
				}
				if e.Undo["access_key_id"] != fakeKeyID || e.Undo["user_name"] != "ci" || e.At.IsZero() || e.Facts["user_name"] != "ci" {
					t.Errorf("effect %+v", e)
				}
				if !c.already && (e.Facts["groups"] != "none" || e.Facts["login_profile"] != "none" || !strings.HasPrefix(e.Facts["last_used"], "2026-01-02")) {
					t.Errorf("snapshot %v", e.Facts)
				}
				for _, q := range e.Requests {
					if q.RequestID == "" || q.With != "admin" {
						t.Errorf("request %+v", q)
					}
				}
				u, err := d.Undo(background(), verb(VerbDeactivate, VerbReactivate), s, e.Undo)
				if err != nil || !f.users["ci"].keys[fakeKeyID].active || len(u.Requests) == 0 {
					t.Errorf("undo: %v, active %v", err, f.users["ci"].keys[fakeKeyID].active)
				}
			})
		})
	}
}

// TestSnapshotDoesNotDelay: an IAM whose reads hang costs the budget, no more,
// and the key is inactive before it.
func TestSnapshotDoesNotDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answer = func(c call) *reply {
			if c.action == "ListGroupsForUser" || c.action == "GetUser" {
				return &reply{delay: time.Hour}
			}
			return nil
		}
		d := newDriver(t, f, nil)
		s := leakedPair()
		s.Facts = map[string]string{"user_name": "ci"}
		start := time.Now()
		e, err := d.Act(background(), verb(VerbDeactivate, VerbReactivate), s, false)
		if err != nil || time.Since(start) > snapshotBudget || e.At.Sub(start) > 100*time.Millisecond {
			t.Errorf("took %v, accepted after %v: %v", time.Since(start), e.At.Sub(start), err)
		}
		if e.Facts["mfa_devices"] != "0" {
			t.Errorf("what arrived in time is missing: %v", e.Facts)
		}
	})
}

func TestDenySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		d := newDriver(t, f, nil)
		time.Sleep(300 * time.Millisecond)
		before := time.Now()
		e, err := d.Act(background(), verb(VerbDenySessions, VerbAllowSessions), leakedPair(), false)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Statement struct {
				Effect, Action, Resource string
				Condition                map[string]map[string]time.Time
			}
		}
		text := f.users["ci"].inline[RevokeSessionsPolicy]
		err = json.Unmarshal([]byte(text), &doc)
		at := doc.Statement.Condition["DateLessThan"]["aws:TokenIssueTime"]
		if err != nil || doc.Statement.Effect != "Deny" || at.Before(before) || at.Sub(before) > time.Second || at.Nanosecond() != 0 || len(text) != 157 {
			t.Errorf("policy (%d characters) %s: %v; before %v", len(text), text, err, before)
		}
		if e.Facts[factSessions] != RevokeSessionsPolicy {
			t.Errorf("facts %v", e.Facts)
		}
		_, err = d.Undo(background(), verb(VerbDenySessions, VerbAllowSessions), leakedPair(), e.Undo)
		if err != nil || len(f.users["ci"].inline) != 0 {
			t.Errorf("undo: %v, %v", err, f.users["ci"].inline)
		}
		again, err := d.Undo(background(), verb(VerbDenySessions, VerbAllowSessions), leakedPair(), e.Undo)
		if err != nil || !again.Already {
			t.Errorf("undo again: %+v %v", again, err)
		}
		f.users["ci"].inline["theirs"] = strings.Repeat("x", 2000)
		_, err = d.Act(background(), verb(VerbDenySessions, VerbAllowSessions), leakedPair(), false)
		if !errors.Is(err, act.ErrPerson) || !strings.Contains(err.Error(), "aws.deny_all") {
			t.Errorf("full inline space: %v", err)
		}
	})
}

func TestDenyAll(t *testing.T) {
	const theirs = "arn:aws:iam::534261010715:policy/boundary"
	for _, before := range []string{"", theirs} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			u := f.users["ci"]
			u.boundary = before
			d := newDriver(t, f, nil)
			e, err := d.Act(background(), verb(VerbDenyAll, VerbRemoveDeny), leakedPair(), false)
			deny := DenyAllPolicyARN("aws")
			if err != nil || len(u.inline) != denyLayers || u.boundary != deny || len(u.attached) != 1 || u.attached[0] != deny {
				t.Fatalf("%v: inline %v, attached %v, boundary %q", err, u.inline, u.attached, u.boundary)
			}
			for _, doc := range u.inline {
				if len(doc) != 82 {
					t.Errorf("%d characters: %s", len(doc), doc)
				}
			}
			_, err = d.Undo(background(), verb(VerbDenyAll, VerbRemoveDeny), leakedPair(), e.Undo)
			if err != nil || len(u.inline) != 0 || len(u.attached) != 0 || u.boundary != before {
				t.Errorf("undo: %v: inline %v, attached %v, boundary %q", err, u.inline, u.attached, u.boundary)
			}
		})
	}
}

// TestDenyAllPartly: a full inline space leaves the two other layers, and the
// effect says so.
func TestDenyAllPartly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.users["ci"].inline["theirs"] = strings.Repeat("x", 2040)
		d := newDriver(t, f, nil)
		e, err := d.Act(background(), verb(VerbDenyAll, VerbRemoveDeny), leakedPair(), false)
		if err != nil || !strings.Contains(e.Detail, "not possible: iam:PutUserPolicy (LimitExceeded)") || e.Undo["inline"] != "" {
			t.Errorf("%v: %+v", err, e)
		}
	})
}

func TestHoldQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		d := newDriver(t, f, nil)
		f.users["ci"].keys[fakeKeyID].active = false
		f.users["ci"].keys["AKIAXYZDQCEN4B6JSJQA"] = &fakeKey{active: true, created: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}
		held, err := d.Hold(background(), leakedPair(), 15*time.Second)
		if err != nil || len(held.Reactions) != 0 || len(held.Effects) != 0 {
			t.Errorf("%v: %+v", err, held)
		}
		if !f.users["ci"].keys["AKIAXYZDQCEN4B6JSJQA"].active {
			t.Error("a key that was there before was deactivated")
		}
		if n := f.count("GetAccountAuthorizationDetails"); n != 2 {
			t.Errorf("%d sweeps, want 2", n)
		}
	})
}

func TestHoldSeesNewThings(t *testing.T) {
	for _, contain := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			d := newDriver(t, f, func(o *Options) { o.ContainNewPrincipals = contain })
			f.users["ci"].keys[fakeKeyID].active = false
			s := leakedPair()
			s.ExposedAt = time.Now()
			go func() {
				time.Sleep(2 * time.Second)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.users["ci"].keys["AKIANEWKEYOFATTACKER"] = &fakeKey{active: true, created: time.Now()}
				f.users["ci"].login = true
				f.users["bridge"] = &fakeUser{keys: map[string]*fakeKey{"AKIABRIDGEUSERSKEY01": {active: true, created: time.Now()}}, inline: map[string]string{}}
				f.created["bridge"] = time.Now()
			}()
			held, err := d.Hold(background(), s, 15*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := json.Marshal(held.Reactions)
			for _, want := range []string{"new access key AKIANEWKEYOFATTACKER", "new login profile", "user bridge was created", "raised to the deny layers"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("no reaction %q in %s", want, text)
				}
			}
			if f.users["ci"].keys["AKIANEWKEYOFATTACKER"].active {
				t.Error("the new key is active")
			}
			if got := f.users["bridge"].keys["AKIABRIDGEUSERSKEY01"].active; got == contain {
				t.Errorf("contain %v: the bridge user's key is active: %v", contain, got)
			}
		})
	}
}

// TestHoldThrottled: a throttling IAM is asked less often, and the hold goes on.
func TestHoldThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.answer = func(c call) *reply {
			if c.action == "ListAccessKeys" {
				return fault(400, "Throttling", "x")
			}
			return nil
		}
		d := newDriver(t, f, nil)
		held, err := d.Hold(background(), leakedPair(), 15*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if n := f.count("ListAccessKeys"); n > 20 {
			t.Errorf("%d calls into a throttling API", n)
		}
		if len(held.Requests) > 10 {
			t.Errorf("%d requests kept", len(held.Requests))
		}
	})
}

func TestHoldEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t, newFake(), nil)
		ctx, cancel := context.WithTimeout(background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := d.Hold(ctx, leakedPair(), time.Minute)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestNewRefuses(t *testing.T) {
	for name, a := range map[string][]Account{
		"short id":          {{ID: "123"}},
		"unknown partition": {{ID: "123456789012", Partition: "aws-iso-q"}},
		"twice":             {{ID: "123456789012"}, {ID: "123456789012"}},
	} {
		_, err := New(Options{Accounts: a, Credentials: StaticCredentials("AKIA", leakedPair().Parts["secret_access_key"], leakedPair().Parts[""])})
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		noCanary(t, err)
	}
}
