package github

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stanch/internal/secret"
)

// SecretAlert is what GitHub's own secret scanning found. GitHub's payload holds
// no secret, nor does ours; the REST answer does, as GitHub's.
type SecretAlert struct {
	Number         int
	SecretType     string // GitHub's slug, for example github_personal_access_token
	DisplayName    string
	Validity       string // active, inactive, unknown
	PubliclyLeaked bool
	// Secret and Places are served by REST alone.
	Secret secret.Value
	Places []AlertPlace
}

// AlertPlace is a place in a commit that an alert names.
type AlertPlace struct {
	Commit, Path string
	Line, Column int
}

// keepAlert makes an alert readable by REST.
func (s *Server) keepAlert(repo *Repo, a SecretAlert) {
	key := strings.ToLower(repo.FullName())
	s.alerts[key] = append(slices.DeleteFunc(s.alerts[key], func(o SecretAlert) bool { return o.Number == a.Number }), a)
}

// alert finds an alert that the caller may read. It wants s.mu.
func (s *Server) alert(c *call) (*Repo, SecretAlert, bool) {
	repo := s.repos[strings.ToLower(c.r.PathValue("owner")+"/"+c.r.PathValue("repo"))]
	if repo == nil || c.from.tok == nil || !mayRead(c.from, repo) {
		return nil, SecretAlert{}, false
	}
	if c.from.tok.install != nil && c.from.tok.permissions["secret_scanning_alerts"] == "" {
		return nil, SecretAlert{}, false
	}
	for _, a := range s.alerts[strings.ToLower(repo.FullName())] {
		if itoa(a.Number) == c.r.PathValue("number") {
			return repo, a, true
		}
	}
	return nil, SecretAlert{}, false
}

const alertDoc = "/secret-scanning/secret-scanning#get-a-secret-scanning-alert"

func (s *Server) getAlert(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, a, ok := s.alert(c)
	if !ok {
		c.fail(404, "Not Found", alertDoc)
		return
	}
	v := s.alertObject(repo, a)
	v["state"], v["secret"] = "open", a.Secret.Reveal()
	c.json(200, v)
}

func (s *Server) getAlertLocations(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo, a, ok := s.alert(c)
	if !ok {
		c.fail(404, "Not Found", alertDoc)
		return
	}
	out := []map[string]any{}
	for _, p := range a.Places {
		out = append(out, map[string]any{"type": "commit", "details": map[string]any{
			"path": p.Path, "start_line": p.Line, "end_line": p.Line, "start_column": p.Column, "end_column": p.Column + a.Secret.Len(),
			"blob_sha": p.Commit, "blob_url": s.url + "/repos/" + repo.FullName() + "/git/blobs/" + p.Commit,
			"commit_sha": p.Commit, "commit_url": s.url + "/repos/" + repo.FullName() + "/git/commits/" + p.Commit,
		}})
	}
	c.json(200, out)
}

// alertObject is the part that the event and the REST answer share. It wants s.mu.
func (s *Server) alertObject(repo *Repo, a SecretAlert) map[string]any {
	api := s.url + "/repos/" + repo.FullName()
	return map[string]any{
		"number": a.Number, "created_at": stamp(s.now()), "updated_at": stamp(s.now()),
		"url": api + "/secret-scanning/alerts/" + itoa(a.Number), "html_url": s.url + "/" + repo.FullName() + "/security/secret-scanning/" + itoa(a.Number),
		"locations_url": api + "/secret-scanning/alerts/" + itoa(a.Number) + "/locations",
		"secret_type":   a.SecretType, "secret_type_display_name": a.DisplayName, "validity": a.Validity,
		"resolution": nil, "resolved_at": nil, "resolved_by": nil, "resolution_comment": nil,
		"push_protection_bypassed": false, "push_protection_bypassed_by": nil, "push_protection_bypassed_at": nil,
		"publicly_leaked": a.PubliclyLeaked, "multi_repo": false,
	}
}

// Rename changes a repository's name. Git requests for the old name are
// redirected, as GitHub does; REST finds it by id.
func (s *Server) Rename(repo *Repo, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := strings.ToLower(repo.FullName())
	dir := filepath.Join(filepath.Dir(repo.Dir), name+".git")
	err := os.Rename(repo.Dir, dir)
	if err != nil {
		return fmt.Errorf("rename repository: %w", err)
	}
	repo.Dir = dir
	delete(s.repos, old)
	s.moved[old] = repo
	repo.Name = name
	repo.CloneURL = s.url + "/" + repo.FullName() + ".git"
	s.repos[strings.ToLower(repo.FullName())] = repo
	return nil
}

func (s *Server) getRepoByID(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, repo := range s.repos {
		if itoa(int(repo.ID)) == c.r.PathValue("id") && (!repo.Private || mayRead(c.from, repo)) {
			c.json(200, s.fullRepository(repo))
			return
		}
	}
	c.fail(404, "Not Found", "/repos/repos#get-a-repository")
}
