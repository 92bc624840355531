package service_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/internal/ledger"
	"stanch/internal/store"
	"stanch/responder/incident"
)

// TestContain carries one leaked key pair from a real push to its proved death on
// every database, with laboratories that misbehave.
func TestContain(t *testing.T) {
	for name, dsn := range dsns(t) {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{mode: incident.ModeAct, misbehave: true, lag: time.Second, dsn: dsn})
			w.leakKey()
			i := w.one(incident.StateProved)
			w.quiet()
			d := w.detail(i.ID)
			if d.Verdict != "live" || d.ContainedAt.IsZero() || d.ProvedAt.Before(d.ContainedAt) {
				t.Errorf("verdict %s, contained %s, proved %s", d.Verdict, d.ContainedAt, d.ProvedAt)
			}
			if n := w.aws.CountTransitions(w.org.Key.ID, "Active", "Inactive"); n != 1 {
				t.Errorf("the key was deactivated %d times, want once", n)
			}
			var acts []string
			for _, a := range d.Actions {
				acts = append(acts, a.Name+" "+a.State)
				if !a.Undoable || len(a.Requests) == 0 || a.Binding != "in_value" {
					t.Errorf("act %s: undoable %v, %d requests, binding %s", a.Name, a.Undoable, len(a.Requests), a.Binding)
				}
			}
			if !slices.Equal(acts, []string{"deactivate_key done", "deny_sessions done"}) {
				t.Errorf("acts: %v", acts)
			}
			if len(d.Sightings) == 0 || d.Sightings[0].Path != "deploy/.env" || d.Sightings[0].Line != 1 || d.Sightings[0].Visibility != incident.VisibilityPublic {
				t.Errorf("sightings: %+v", d.Sightings)
			}
			if d.Report == nil || !d.Report.Final {
				t.Errorf("report: %+v", d.Report)
			}
			w.noSecretLeft(i.ID)
			w.ledgerVerifies()
		})
	}
}

// noSecretLeft checks that the sealed credential is destroyed and that its secret
// half stands nowhere in the data directory or the log.
func (w *world) noSecretLeft(id string) {
	w.t.Helper()
	err := w.svc.DB.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		_, _, err := tx.Secret(ctx, id)
		return err
	})
	if err == nil {
		w.t.Error("the sealed credential still exists")
	}
	for _, f := range []string{"report.md", "report.html", "report.json"} {
		data, err := os.ReadFile(w.svc.ReportDir(id) + "/" + f)
		if err != nil {
			w.t.Error(err)
		}
		if bytes.Contains(data, []byte(w.org.Key.Secret.Reveal())) {
			w.t.Errorf("%s holds the secret", f)
		}
	}
	if strings.Contains(w.log.String(), w.org.Key.Secret.Reveal()) {
		w.t.Error("the log holds the secret")
	}
}

func (w *world) ledgerVerifies() {
	w.t.Helper()
	err := w.svc.DB.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		v, err := ledger.VerifyDatabase(ctx, tx, w.svc.Ledger.VerifierKey(), "")
		if err == nil && (!v.OK || v.Entries == 0) {
			w.t.Errorf("ledger: %+v", v)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// TestObserve: the default mode calls nothing but identify and shows the acts.
func TestObserve(t *testing.T) {
	w := newWorld(t, options{})
	w.leakKey()
	i := w.one(incident.StateObserved)
	w.quiet()
	d := w.detail(i.ID)
	if len(d.Actions) != 2 || d.Actions[0].State != "simulated" || d.Actions[0].Detail == "" || d.Actions[0].Undoable {
		t.Errorf("acts: %+v", d.Actions)
	}
	for _, r := range w.aws.Requests() {
		if strings.HasPrefix(r.Operation, "Update") || strings.HasPrefix(r.Operation, "Put") {
			t.Errorf("observe mode called %s", r.Operation)
		}
	}
}

// TestApprove: acts wait for a person, one decision wins, and a denial acts on nothing.
func TestApprove(t *testing.T) {
	ctx := context.Background()
	t.Run("approved", func(t *testing.T) {
		w := newWorld(t, options{mode: incident.ModeApprove})
		w.leakKey()
		i := w.one(incident.StateWaiting)
		if n := w.aws.CountTransitions(w.org.Key.ID, "Active", "Inactive"); n != 0 {
			t.Fatal("acted before the approval")
		}
		err := w.svc.Engine.Approve(ctx, i.ID, "erin", "seen it")
		if err != nil {
			t.Fatal(err)
		}
		err = w.svc.Engine.Deny(ctx, i.ID, "mallory", "")
		if err == nil {
			t.Error("a second decision was taken")
		}
		w.one(incident.StateProved)
		d := w.detail(i.ID)
		if d.Actions[0].Actor != "erin" {
			t.Errorf("actor %q, want the approver", d.Actions[0].Actor)
		}
	})
	t.Run("denied", func(t *testing.T) {
		w := newWorld(t, options{mode: incident.ModeApprove})
		w.leakKey()
		i := w.one(incident.StateWaiting)
		err := w.svc.Engine.Deny(ctx, i.ID, "erin", "a test key")
		if err != nil {
			t.Fatal(err)
		}
		w.one(incident.StateDenied)
		w.quiet()
		if n := w.aws.CountTransitions(w.org.Key.ID, "Active", "Inactive"); n != 0 {
			t.Error("acted after a denial")
		}
	})
}

// TestUndo takes every act back with one call.
func TestUndo(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	w.leakKey()
	i := w.one(incident.StateProved)
	w.quiet()
	err := w.svc.Engine.Undo(context.Background(), i.ID, "", "erin")
	if err != nil {
		t.Fatal(err)
	}
	w.one(incident.StateUndone)
	if n := w.aws.CountTransitions(w.org.Key.ID, "Inactive", "Active"); n != 1 {
		t.Errorf("the key was reactivated %d times, want once", n)
	}
	for _, a := range w.detail(i.ID).Actions {
		if a.State != "undone" || a.UndoneBy != "erin" {
			t.Errorf("act %s: %s by %q", a.Name, a.State, a.UndoneBy)
		}
	}
	err = w.svc.Engine.Undo(context.Background(), i.ID, "", "erin")
	if err == nil {
		t.Error("undo twice: want an error")
	}
}

// TestReplay: a duplicate delivery, an old body under a new id and a redelivery
// change nothing.
func TestReplay(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	w.leakKey()
	i := w.one(incident.StateProved)
	w.quiet()
	before := w.detail(i.ID)
	requests := len(w.aws.Requests())
	for _, d := range w.gh.Deliveries(w.app.ID) {
		for _, guid := range []string{d.GUID, "00000000-0000-4000-8000-00000000000" + d.GUID[:1]} {
			mac := hmac.New(sha256.New, []byte(w.app.WebhookSecret))
			mac.Write(d.Payload)
			req, err := http.NewRequest(http.MethodPost, w.hook, bytes.NewReader(d.Payload))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("X-GitHub-Event", d.Event)
			req.Header.Set("X-GitHub-Delivery", guid)
			req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				t.Errorf("replay of %s: %s", d.Event, res.Status)
			}
		}
	}
	w.quiet()
	after := w.detail(i.ID)
	if len(after.States) != len(before.States) || len(after.Sightings) != len(before.Sightings) {
		t.Errorf("states %d -> %d, sightings %d -> %d", len(before.States), len(after.States), len(before.Sightings), len(after.Sightings))
	}
	if n := len(w.aws.Requests()); n != requests {
		t.Errorf("replays made %d requests to AWS", n-requests)
	}
}
