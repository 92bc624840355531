package service_test

import (
	"strings"
	"testing"

	"stanch/internal/config"
	"stanch/responder/incident"
)

// TestEnterpriseServer carries a leak through the URLs of an Enterprise Server:
// REST below /api/v3, Git beside it.
func TestEnterpriseServer(t *testing.T) {
	w := newWorld(t, options{mode: incident.ModeAct, private: true, configure: func(c *config.Config) { c.GitHub.APIURL += "/api/v3" }})
	if !strings.HasSuffix(w.cfg.GitHub.APIURL, "/api/v3") {
		t.Fatal(w.cfg.GitHub.APIURL)
	}
	w.leakKey()
	i := w.one(incident.StateProved)
	if d := w.detail(i.ID); len(d.Sightings) == 0 || d.Sightings[0].Visibility != incident.VisibilityPrivate {
		t.Errorf("sightings: %+v", d.Sightings)
	}
}
