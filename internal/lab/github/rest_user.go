package github

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

func (s *Server) getUser(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.from.tok
	if t.kind == KindClassic || t.kind == KindOAuth {
		c.w.Header().Set("X-OAuth-Scopes", strings.Join(t.scopes, ", "))
		c.w.Header().Set("X-Accepted-OAuth-Scopes", "")
	}
	if !t.expires.IsZero() {
		c.w.Header().Set("GitHub-Authentication-Token-Expiration", t.expires.Format("2006-01-02 15:04:05 MST"))
	}
	c.json(200, s.publicUser(t.owner))
}

func (s *Server) getRepo(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repos[strings.ToLower(c.r.PathValue("owner")+"/"+c.r.PathValue("repo"))]
	if repo == nil || repo.Private && !mayRead(c.from, repo) {
		c.fail(404, "Not Found", "/repos/repos#get-a-repository")
		return
	}
	c.json(200, s.fullRepository(repo))
}

func mayRead(from caller, repo *Repo) bool {
	switch {
	case from.tok == nil:
		return false
	case from.tok.install != nil:
		return from.tok.reaches(repo)
	case from.tok.kind == KindClassic:
		return hasScope(from.tok.scopes, "repo") && repo.canWrite(from.tok.owner)
	}
	return repo.canWrite(from.tok.owner)
}

const revokeDoc = "/credentials/revoke#revoke-a-list-of-credentials"

// postRevoke is POST /credentials/revoke: for anyone who holds the credential,
// without authentication, irreversible, answered before it works.
func (s *Server) postRevoke(c *call) {
	if c.from.kind != "none" {
		c.fail(403, "This endpoint does not accept authenticated requests.", revokeDoc)
		return
	}
	values, err := revokeBody(c.r)
	if err != nil {
		c.json(422, map[string]any{
			"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest" + revokeDoc,
			"errors": []string{err.Error()}, "status": "422",
		})
		return
	}
	for _, v := range values {
		s.revoke(c.r, v)
	}
	c.json(202, map[string]any{})
}

func revokeBody(r *http.Request) ([]string, error) {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(media) != "application/json" {
		return nil, errors.New("body is not application/json")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return nil, errors.New("body cannot be read")
	}
	var fields map[string]json.RawMessage
	err = json.Unmarshal(body, &fields)
	if err != nil || fields["credentials"] == nil {
		return nil, errors.New("credentials is missing")
	}
	var values []string
	err = json.Unmarshal(fields["credentials"], &values)
	switch {
	case err != nil:
		return nil, errors.New("credentials is not an array of strings")
	case len(values) == 0 || len(values) > 1000:
		return nil, errors.New("credentials holds fewer than 1 or more than 1000 items")
	}
	return values, nil
}

// revoke notes an accepted revocation; the token dies after a lag. Installation
// tokens are not in GitHub's list and live on. Unknown values are ignored: the
// answer must not tell whether a token exists.
func (s *Server) revoke(r *http.Request, value string) {
	lag := s.opts.RevokeLag
	if lag == 0 {
		lag = 4 * time.Second
	}
	after := time.Duration(s.pick(int64(max(lag, 0)) + 1))
	s.mu.Lock()
	s.revoked[HashedToken(value)]++
	t := s.tokens[value]
	first := t != nil && t.kind != kindServer && t.deadAt.IsZero()
	if first {
		t.deadAt = s.now().Add(after)
	}
	s.mu.Unlock()
	if first {
		s.recordUse(r, t, "personal_access_token.access_revoked", nil)
	}
}
