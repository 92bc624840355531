package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"
)

// fakeGitHub answers GET /user and POST /credentials/revoke as GitHub's own
// description says, or as one of several networks that are not GitHub. It is no
// laboratory: scripts test the binary against it from outside.
type fakeGitHub struct {
	mode string

	mu   sync.Mutex
	dead map[string]bool
}

func (f *fakeGitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	say := func(status int, body string) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("X-GitHub-Request-Id", "AAAA:BBBB:1")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case f.mode == "portal":
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Please sign in to the network</html>")
	case r.Method == "GET" && r.URL.Path == "/user" && f.mode == "other401":
		say(401, `{"message":"Requires authentication"}`)
	case r.Method == "GET" && r.URL.Path == "/user" && (f.dead[token] || f.mode == "dead"):
		say(401, `{"message":"Bad credentials","status":"401"}`)
	case r.Method == "GET" && r.URL.Path == "/user":
		w.Header().Set("X-OAuth-Scopes", "repo")
		say(200, `{"login":"octo","id":1,"type":"User"}`)
	case r.Method == "POST" && r.URL.Path == "/credentials/revoke" && r.Header.Get("Authorization") != "":
		say(403, `{"message":"Forbidden"}`)
	case r.Method == "POST" && r.URL.Path == "/credentials/revoke":
		var body struct{ Credentials []string }
		err := json.NewDecoder(r.Body).Decode(&body)
		if err != nil {
			say(422, `{"message":"Validation Failed"}`)
			return
		}
		for _, c := range body.Credentials {
			f.dead[c] = f.mode != "alive"
		}
		say(202, "")
	default:
		say(404, `{"message":"Not Found"}`)
	}
}

// startFakeGitHub is "fakegithub MODE": $FAKE is its HOST:PORT from then on.
// Modes: ok, dead, alive (accepts a revocation and does nothing), other401, portal.
func startFakeGitHub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fakegithub MODE")
	}
	srv := httptest.NewServer(&fakeGitHub{mode: args[0], dead: map[string]bool{}})
	ts.Defer(srv.Close)
	ts.Setenv("FAKE", strings.TrimPrefix(srv.URL, "http://"))
}

// flipEntry is "flip DATABASE ENTRY".
func flipEntry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip DATABASE ENTRY")
	}
	idx, err := strconv.Atoi(args[1])
	ts.Check(err)
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	var data []byte
	ts.Check(db.QueryRow("SELECT data FROM ledger_entries WHERE idx = ?", idx).Scan(&data))
	data[len(data)/2] ^= 1
	_, err = db.Exec("UPDATE ledger_entries SET data = ? WHERE idx = ?", data, idx)
	ts.Check(err)
}

// fillTemplate is "fill FILE": variables in the file get their values.
func fillTemplate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	text := ts.ReadFile(args[0])
	for _, name := range []string{"FAKE", "GHP", "WORK", "GITHOST"} {
		text = strings.ReplaceAll(text, "$"+name, ts.Getenv(name))
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// newestIncident is "newest CONFIG": $INCIDENT is the id of the newest incident.
func newestIncident(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newest CONFIG")
	}
	ts.Check(ts.Exec("stanch", "incident", "list", "--config", args[0], "--format", "json", "--limit", "1"))
	var i struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &i))
	ts.Setenv("INCIDENT", i.ID)
}
