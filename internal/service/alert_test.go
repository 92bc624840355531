package service_test

import (
	"testing"

	labgithub "stanch/internal/lab/github"
	"stanch/internal/secret"
	"stanch/responder/incident"
)

// TestAlert: what GitHub's own scanner found first joins the incident of the same
// credential, however it was seen.
func TestAlert(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	token, err := w.gh.CreateToken("dana", labgithub.KindClassic, "repo")
	if err != nil {
		t.Fatal(err)
	}
	alert := labgithub.SecretAlert{
		Number: 7, SecretType: "github_personal_access_token", DisplayName: "GitHub Personal Access Token", Validity: "active",
		Secret: secret.New(token), Places: []labgithub.AlertPlace{{Commit: "0123456789012345678901234567890123456789", Path: "old.txt", Line: 3, Column: 5}},
	}
	w.gh.SendSecretScanningAlert(w.repo, "created", alert)
	i := w.one(incident.StateProved)
	w.quiet()
	dir := w.clone()
	w.commit(dir, "Add", map[string]string{"new.txt": "token = " + token + "\n"})
	w.git(dir, "push", "--quiet", "origin", "main")
	w.until("both sightings on one incident", func(is []incident.Incident) bool {
		return len(is) == 1 && is[0].ID == i.ID && len(w.detail(i.ID).Sightings) >= 2
	})
	w.quiet()
	places := map[string]bool{}
	for _, s := range w.detail(i.ID).Sightings {
		places[s.Path] = true
	}
	if !places["old.txt"] || !places["new.txt"] {
		t.Errorf("sightings: %v", places)
	}
	if st := w.gh.TokenState(token); st.Accepted != 1 {
		t.Errorf("revoked %d times, want once", st.Accepted)
	}
}

// TestRenamed: a repository that was renamed between the push and the fetch is
// found by its id.
func TestRenamed(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct})
	dir := w.clone()
	w.commit(dir, "Add deployment", map[string]string{"deploy/.env": w.env()})
	w.shutdown() // the delivery waits at GitHub's side: it is sent again below
	w.git(dir, "push", "--quiet", "origin", "main")
	err := w.gh.Rename(w.repo, "store")
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	for _, d := range w.gh.Deliveries(w.app.ID) {
		if d.Event == "push" {
			err := w.gh.Redeliver(d.ID)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	w.one(incident.StateProved)
}
