package github

import (
	"errors"
	"strings"
	"time"
)

// SendPing delivers ping, as GitHub does when a webhook is set up.
func (s *Server) SendPing(appID int64) error {
	s.mu.Lock()
	app := s.apps[appID]
	s.mu.Unlock()
	if app == nil {
		return errors.New("send ping: no such App")
	}
	at := stamp(app.created)
	s.deliver(app, &Delivery{Event: "ping"}, map[string]any{
		"zen": "Half measures are as bad as nothing at all.", "hook_id": app.HookID,
		"hook": map[string]any{
			"type": "App", "id": app.HookID, "name": "web", "active": true, "events": appEvents, "app_id": app.ID,
			"config":     map[string]any{"content_type": "json", "insecure_ssl": "0", "secret": "********", "url": app.WebhookURL},
			"updated_at": at, "created_at": at, "deliveries_url": s.url + "/app/hook/deliveries",
		},
	})
	return nil
}

// SendInstallation delivers installation with an action: created, deleted,
// suspend, unsuspend, new_permissions_accepted.
func (s *Server) SendInstallation(in *Installation, action string) {
	s.mu.Lock()
	switch action {
	case "deleted":
		delete(s.installs, in.ID)
	case "suspend":
		in.Suspended = s.now()
	case "unsuspend":
		in.Suspended = time.Time{}
	}
	payload := map[string]any{
		"action": action, "installation": s.installation(in),
		"repositories": briefRepos(s.reposOf(in)), "sender": s.simpleUser(in.Account), "requester": nil,
	}
	s.mu.Unlock()
	s.deliver(in.App, &Delivery{Event: "installation", Action: action, Installation: in.ID}, payload)
}

// SendInstallationRepositories adds and removes repositories of an installation
// and delivers installation_repositories.
func (s *Server) SendInstallationRepositories(in *Installation, added, removed []*Repo) {
	s.mu.Lock()
	action := "added"
	if len(added) == 0 {
		action = "removed"
	}
	if in.Selected == nil {
		in.Selected = map[int64]bool{}
	}
	for _, r := range added {
		in.Selected[r.ID] = true
	}
	for _, r := range removed {
		delete(in.Selected, r.ID)
	}
	payload := map[string]any{
		"action": action, "installation": s.installation(in), "repository_selection": "selected",
		"repositories_added": briefRepos(added), "repositories_removed": briefRepos(removed),
		"sender": s.simpleUser(in.Account), "requester": nil,
	}
	s.mu.Unlock()
	s.deliver(in.App, &Delivery{Event: "installation_repositories", Action: action, Installation: in.ID}, payload)
}

// Publicize makes a repository public and delivers the public event.
func (s *Server) Publicize(fullName string) error {
	s.mu.Lock()
	repo := s.repos[strings.ToLower(fullName)]
	if repo == nil {
		s.mu.Unlock()
		return errors.New("publicize repository: no such repository")
	}
	repo.Private = false
	payload := map[string]any{"repository": s.repository(repo), "sender": s.simpleUser(repo.Owner)}
	if repo.Owner.Type == "Organization" {
		payload["organization"] = s.orgObject(repo.Owner)
	}
	s.mu.Unlock()
	s.deliverRepo(repo, "public", "", payload)
	return nil
}

// SendSecretScanningAlert delivers secret_scanning_alert with an action: created,
// resolved, revoked, publicly_leaked and others.
func (s *Server) SendSecretScanningAlert(repo *Repo, action string, a SecretAlert) {
	s.mu.Lock()
	s.keepAlert(repo, a)
	alert := s.alertObject(repo, a)
	payload := map[string]any{"action": action, "alert": alert, "repository": s.repository(repo), "sender": s.simpleUser(repo.Owner)}
	if repo.Owner.Type == "Organization" {
		payload["organization"] = s.orgObject(repo.Owner)
	}
	s.mu.Unlock()
	s.deliverRepo(repo, "secret_scanning_alert", action, payload)
}
