package service_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"stanch/internal/config"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/service"
	"stanch/responder/incident"
)

// TestForcedPush: what a forced push removes is still exposed, and is found on
// the removed side when it was never scanned before.
func TestForcedPush(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	dir := w.clone()
	w.commit(dir, "Begin", map[string]string{"README.md": "# shop\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	// The leak is pushed while the service is deaf, and is force-pushed away.
	w.gh.SetWebhook(w.app.ID, "")
	w.commit(dir, "Add deployment", map[string]string{"deploy/.env": w.env()})
	w.git(dir, "push", "--quiet", "origin", "main")
	w.gh.SetWebhook(w.app.ID, w.hook)
	w.git(dir, "reset", "--quiet", "--hard", "HEAD~1")
	w.commit(dir, "Better", map[string]string{"README.md": "# the shop\n"})
	w.git(dir, "push", "--quiet", "--force", "origin", "main")
	i := w.one(incident.StateProved)
	if d := w.detail(i.ID); len(d.Sightings) == 0 || d.Sightings[0].Path != "deploy/.env" {
		t.Errorf("sightings: %+v", d.Sightings)
	}
}

// TestPublished: publishing a private repository exposes its whole history.
func TestPublished(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct, private: true})
	dir := w.clone()
	w.gh.SetWebhook(w.app.ID, "")
	w.commit(dir, "Add deployment", map[string]string{"deploy/.env": w.env()})
	w.commit(dir, "Take it out", map[string]string{"deploy/.env": "# moved\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	w.gh.SetWebhook(w.app.ID, w.hook)
	err := w.gh.Publicize("acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	i := w.one(incident.StateProved)
	d := w.detail(i.ID)
	if d.ExposedFrom != "public event" || d.Sightings[0].Visibility != incident.VisibilityPublic {
		t.Errorf("exposed from %q, visibility %s", d.ExposedFrom, d.Sightings[0].Visibility)
	}
}

// TestGitHubToken: a token is revoked by its value, once, although answers are lost.
func TestGitHubToken(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct, misbehave: true, lag: 500 * time.Millisecond})
	token, err := w.gh.CreateToken("dana", labgithub.KindClassic, "repo")
	if err != nil {
		t.Fatal(err)
	}
	dir := w.clone()
	w.commit(dir, "Mirror with "+token, map[string]string{"mirror.sh": "curl -H 'Authorization: Bearer " + token + "' https://api.github.com/user\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	i := w.one(incident.StateProved)
	w.quiet()
	if st := w.gh.TokenState(token); st.Alive || st.Accepted != 1 {
		t.Errorf("token alive %v, revoked %d times, want once", st.Alive, st.Accepted)
	}
	d := w.detail(i.ID)
	kinds := map[string]bool{}
	for _, s := range d.Sightings {
		kinds[s.Path] = true
	}
	if len(d.Sightings) < 2 || !kinds["mirror.sh"] || !kinds[""] {
		t.Errorf("want a sighting in the file and one in the commit message: %+v", d.Sightings)
	}
	if d.Facts["login"] != "dana" || d.Facts["hashed_token"] != labgithub.HashedToken(token) {
		t.Errorf("facts: %v", d.Facts)
	}
}

// TestNotLive: a dead credential is not acted on and is destroyed; the same value
// at a new place is looked at again.
func TestNotLive(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	dead := "ghp_" + "1A2b3C4d5E6f7G8h9I0j1K2l3M4n5O6p7Q8r"
	dir := w.clone()
	w.commit(dir, "Add", map[string]string{"a.txt": "token = " + dead + "\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	i := w.one(incident.StateNotLive)
	w.quiet()
	if d := w.detail(i.ID); len(d.Actions) != 0 {
		t.Errorf("acts on a dead credential: %+v", d.Actions)
	}
	states := len(w.detail(i.ID).States)
	w.commit(dir, "Again", map[string]string{"b.txt": "token = " + dead + "\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	w.until("a second look", func(is []incident.Incident) bool {
		return len(is) == 1 && is[0].Round == 2 && is[0].State == incident.StateNotLive
	})
	if n := len(w.detail(i.ID).States); n <= states {
		t.Errorf("history did not grow: %d states", n)
	}
}

// TestForeignAccount: a key of an account that is not enrolled is never called.
func TestForeignAccount(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct, configure: func(c *config.Config) {
		p := c.Providers["aws"]
		p.Accounts[0].ID = "444455556666"
		c.Providers["aws"] = p
	}})
	w.leakKey()
	i := w.one(incident.StatePerson)
	w.quiet()
	for _, r := range w.aws.Requests() {
		if r.KeyID == w.org.Key.ID {
			t.Errorf("the leaked key of a foreign account was used: %s", r.Operation)
		}
	}
	if d := w.detail(i.ID); d.StateWhy == "" {
		t.Error("no reason for a person")
	}
}

// TestNeverTouch: an id on the never-touch list is reported and left alone.
func TestNeverTouch(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct, configure: func(c *config.Config) { c.Guard.NeverTouch = []string{"*deploy-bot*", "AKIA*"} }})
	w.leakKey()
	w.one(incident.StatePerson)
	w.quiet()
	if n := w.aws.CountTransitions(w.org.Key.ID, "Active", "Inactive"); n != 0 {
		t.Error("acted on a key of the never-touch list")
	}
}

// TestRespond: a credential that leaked elsewhere is handed in by hand while the
// service runs.
func TestRespond(t *testing.T) {
	w := newWorld(t, options{})
	input, err := json.Marshal(map[string]string{"access_key_id": w.org.Key.ID, "secret_access_key": w.org.Key.Secret.Reveal()})
	if err != nil {
		t.Fatal(err)
	}
	d, err := w.svc.Respond(context.Background(), service.Handed{Provider: "aws", Mode: incident.ModeAct, By: "erin", Input: input}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if d.State != incident.StateProved || d.Mode != incident.ModeAct {
		t.Errorf("state %s, mode %s", d.State, d.Mode)
	}
	_, err = w.svc.Respond(context.Background(), service.Handed{Provider: "aws", By: "erin", Input: []byte(`{"access_key_id": 7}`)}, 0)
	if err == nil {
		t.Error("malformed input: want an error")
	}
}

// TestInstallation: installations and their repositories are recorded.
func TestInstallation(t *testing.T) {
	w := newWorld(t, options{})
	w.quiet()
	dir := w.clone()
	w.commit(dir, "Clean", map[string]string{"README.md": "# shop\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	w.quiet()
	err := w.svc.Sweep(context.Background(), "acme", nil, func(p service.SweepProgress) {
		if p.Err != nil || p.Repository != "acme/shop" || p.Scan.Commits != 1 {
			t.Errorf("sweep: %+v", p)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := w.svc.Diagnose(context.Background()); !d.OK {
		t.Errorf("doctor: %+v", d.Checks)
	}
}
