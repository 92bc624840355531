package main

import (
	"encoding/json"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// serveGit is "githttp DIR": it asks for the token "letmein" below /private.
func serveGit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: githttp DIR")
	}
	out, err := exec.Command("git", "--exec-path").Output()
	ts.Check(err)
	backend := cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{
		"GIT_PROJECT_ROOT=" + ts.MkAbs(args[0]), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/private") && password != "letmein" {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		h := backend
		h.Env = append(h.Env[:len(h.Env):len(h.Env)], "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
		h.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	ts.Setenv("GITHTTP", s.URL)
}

// serveHost is "githost DIR": $GITHOST is a GitHub Enterprise Server whose accounts
// are the directories of DIR and whose repositories are the bare ones in these. A
// file "fork" or "archived" in one says so, NAME.wiki.git is the wiki of NAME, and
// a repository of the account "gist" is a gist of mona's.
func serveHost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: githost DIR")
	}
	dir := ts.MkAbs(args[0])
	serveGit(ts, neg, args)
	git, err := url.Parse(ts.Getenv("GITHTTP"))
	ts.Check(err)
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(git))
	has := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{dir}, parts...)...))
		return err == nil
	}
	repos := func(w http.ResponseWriter, r *http.Request) {
		account := r.PathValue("account")
		found, err := filepath.Glob(filepath.Join(dir, account, "*.git"))
		if err != nil || len(found) == 0 {
			http.Error(w, `{"message":"Not Found"}`, http.StatusNotFound)
			return
		}
		list := []map[string]any{}
		for _, path := range found {
			name := filepath.Base(path)
			if strings.HasSuffix(name, ".wiki.git") {
				continue
			}
			short := strings.TrimSuffix(name, ".git")
			list = append(list, map[string]any{
				"full_name": account + "/" + short, "clone_url": "http://" + r.Host + "/" + account + "/" + name,
				"fork": has(account, name, "fork"), "archived": has(account, name, "archived"), "has_wiki": has(account, short+".wiki.git"),
			})
		}
		_ = json.NewEncoder(w).Encode(list)
	}
	mux.HandleFunc("GET /api/v3/orgs/{account}/repos", repos)
	mux.HandleFunc("GET /api/v3/users/{account}/repos", repos)
	mux.HandleFunc("GET /api/v3/users/{account}/gists", func(w http.ResponseWriter, r *http.Request) {
		found, _ := filepath.Glob(filepath.Join(dir, "gist", "*.git"))
		list := []map[string]any{}
		for _, path := range found {
			name := filepath.Base(path)
			list = append(list, map[string]any{"id": strings.TrimSuffix(name, ".git"), "git_pull_url": "http://" + r.Host + "/gist/" + name, "public": true})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("GET /api/v3/orgs/{account}/members", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`[{"login":"mona"}]`)) })
	s := httptest.NewServer(mux)
	ts.Defer(s.Close)
	ts.Setenv("GITHOST", s.URL)
}
