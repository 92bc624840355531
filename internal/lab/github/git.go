package github

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"strings"
)

// gitRequest splits /owner/name(.git)/SERVICE, or says that the path is none.
func gitRequest(path string) (fullName, service string, ok bool) {
	for _, suffix := range []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"} {
		name, found := strings.CutSuffix(strings.TrimPrefix(path, "/"), suffix)
		if found && strings.Count(name, "/") == 1 {
			return strings.TrimSuffix(name, ".git"), suffix, true
		}
	}
	return "", "", false
}

// serveGit is git over smart HTTP, with GitHub's rules of access.
func (s *Server) serveGit(w http.ResponseWriter, r *http.Request, fullName, service string) {
	write := service == "/git-receive-pack" || r.URL.Query().Get("service") == "git-receive-pack"
	if service == "/info/refs" && !write && r.URL.Query().Get("service") != "git-upload-pack" {
		http.Error(w, "Please upgrade your git client.", http.StatusForbidden)
		return
	}
	s.mu.Lock()
	moved := s.moved[strings.ToLower(fullName)]
	s.mu.Unlock()
	if moved != nil {
		http.Redirect(w, r, "/"+moved.FullName()+".git"+service+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		return
	}
	repo, actor, tok, status := s.authorizeGit(r, fullName, write)
	if status != 0 {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		}
		http.Error(w, map[int]string{401: "Invalid username or token.", 403: "Permission denied.", 404: "Repository not found."}[status], status)
		return
	}
	if tok != nil && service == "/git-upload-pack" {
		s.recordUse(r, tok, "git.fetch", repo)
	}
	body, cleanup, err := spool(r)
	if err != nil {
		http.Error(w, "unreadable body", http.StatusBadRequest)
		return
	}
	defer cleanup()
	r.Body = body
	login := ""
	if actor != nil {
		login = actor.Login
	}
	env := append(serverEnvironment(), "GIT_PROJECT_ROOT="+s.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER="+login,
		"PATH_INFO=/"+repo.Owner.Login+"/"+repo.Name+".git"+service, "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
	h := &cgi.Handler{Path: s.backend, Root: "/", Dir: s.dir, Env: env, Stderr: io.Discard}
	if service != "/git-receive-pack" {
		h.ServeHTTP(w, r)
		return
	}
	s.flight.add()
	defer s.flight.done()
	s.receive(repo, actor, tok, r, func() { h.ServeHTTP(w, r) })
}

// authorizeGit answers 0 or the status to refuse with.
func (s *Server) authorizeGit(r *http.Request, fullName string, write bool) (*Repo, *Account, *token, int) {
	user, password, given := r.BasicAuth()
	s.mu.Lock()
	defer s.mu.Unlock()
	repo := s.repos[strings.ToLower(fullName)]
	var actor *Account
	var tok *token
	if given {
		tok = s.tokens[password]
		switch {
		case tok != nil && tok.alive(s.now()):
			actor = tok.owner
		case tok != nil:
			return nil, nil, nil, http.StatusUnauthorized
		default:
			actor = s.accounts[strings.ToLower(user)]
			if actor == nil || actor.Password == "" || actor.Password != password {
				return nil, nil, nil, http.StatusUnauthorized
			}
		}
	}
	if repo == nil || repo.Private && !given {
		if !given {
			return nil, nil, nil, http.StatusUnauthorized
		}
		return nil, nil, nil, http.StatusNotFound
	}
	if write {
		switch {
		case !given:
			return nil, nil, nil, http.StatusUnauthorized
		case tok != nil && tok.install != nil && (tok.permissions["contents"] != "write" || !tok.reaches(repo)):
			return nil, nil, nil, http.StatusForbidden
		case tok != nil && tok.kind == KindClassic && !hasScope(tok.scopes, "repo", "public_repo"):
			return nil, nil, nil, http.StatusForbidden
		case actor != nil && !repo.canWrite(actor):
			return nil, nil, nil, http.StatusForbidden
		}
		return repo, actor, tok, 0
	}
	if !repo.Private {
		return repo, actor, tok, 0
	}
	if tok != nil && tok.install != nil {
		if tok.permissions["contents"] == "" || !tok.reaches(repo) {
			return nil, nil, nil, http.StatusNotFound
		}
		return repo, actor, tok, 0
	}
	if !repo.canWrite(actor) || tok != nil && tok.kind == KindClassic && !hasScope(tok.scopes, "repo") {
		return nil, nil, nil, http.StatusNotFound
	}
	return repo, actor, tok, 0
}

// reaches reports whether an installation token may see a repository.
func (t *token) reaches(r *Repo) bool {
	return t.install != nil && t.install.Suspended.IsZero() && t.install.covers(r) && (!t.perRequest || t.repos[r.ID])
}

func hasScope(scopes []string, wanted ...string) bool {
	for _, s := range scopes {
		for _, w := range wanted {
			if s == w {
				return true
			}
		}
	}
	return false
}

// spool gives a chunked body a length, which CGI needs.
func spool(r *http.Request) (io.ReadCloser, func(), error) {
	if r.ContentLength >= 0 {
		return r.Body, func() {}, nil
	}
	f, err := os.CreateTemp("", "stanch-lab-body-")
	if err != nil {
		return nil, nil, err
	}
	cleanup := func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
	n, err := io.Copy(f, r.Body)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		cleanup()
		return nil, nil, err
	}
	r.ContentLength, r.TransferEncoding = n, nil
	r.Header.Del("Transfer-Encoding")
	return f, cleanup, nil
}

// git runs a git command in a repository of the laboratory.
func (r *Repo) git(stdin string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = r.Dir
	cmd.Env = append(serverEnvironment(), "GIT_DIR="+r.Dir)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// refs are all refs by name.
func (r *Repo) refs() (map[string]string, error) {
	out, err := r.git("", "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return nil, errors.New("git for-each-ref: unexpected answer")
		}
		refs[name] = id
	}
	return refs, nil
}
