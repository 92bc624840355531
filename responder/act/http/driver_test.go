package acthttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard/egress"
	"stanch/responder/verdict"
)

// leaked is no token of GitHub's: its checksum is wrong on purpose.
const leaked = "ghp_" + "abcdefghijklmnopqrstuvwxyz0123456789"

func set(t *testing.T) *playbooks.Set {
	t.Helper()
	s, err := playbooks.Load("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func credential(t *testing.T, kind string) playbooks.Credential {
	t.Helper()
	c, ok := set(t).ByKind("github", kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	return c
}

func subject() act.Subject {
	return act.Subject{IncidentID: "i", Provider: "github", Kind: "personal_access_token", Parts: map[string]secret.Value{"token": secret.New(leaked)}}
}

// driver talks to a handler through the real egress client.
func driver(t *testing.T, h http.HandlerFunc) *Driver {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c, err := egress.NewClient(egress.Options{Allow: []string{s.Listener.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return New(Options{Client: c, BaseURLs: map[string]string{"github": s.URL}, Timeout: 2 * time.Second})
}

func reply(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	jsonType = "application/json; charset=utf-8"
	aliveDoc = `{"login":"octo-dev","id":12345678901,"type":"User","node_id":"x"}`
	deadDoc  = `{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}`
)

func TestIdentify(t *testing.T) {
	c := credential(t, "personal_access_token")
	d := driver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+leaked || r.Method != "GET" || r.URL.Path != "/user" {
			reply(400, jsonType, `{}`)(w, r)
			return
		}
		reply(200, jsonType, aliveDoc, "X-OAuth-Scopes", "repo, admin:org", "X-GitHub-Request-Id", "AB:CD")(w, r)
	})
	v := d.Identify(context.Background(), c, subject())
	if v.Outcome != verdict.Live || v.Identity != "octo-dev" || v.Account != "octo-dev" {
		t.Fatalf("%+v", v)
	}
	if v.Facts["scopes"] != "repo, admin:org" || v.Facts["user_id"] != "12345678901" {
		t.Fatalf("facts %v", v.Facts)
	}
	if len(v.Requests) != 1 || v.Requests[0].RequestID != "AB:CD" || v.Requests[0].Status != 200 || v.Requests[0].With != "leaked" {
		t.Fatalf("requests %+v", v.Requests)
	}
	d = driver(t, reply(401, jsonType, deadDoc))
	if v := d.Identify(context.Background(), c, subject()); v.Outcome != verdict.Dead {
		t.Fatalf("%+v", v)
	}
	if v := d.Identify(context.Background(), c, act.Subject{}); v.Outcome != verdict.Unknown || len(v.Requests) != 0 {
		t.Fatalf("without the token: %+v", v)
	}
}

// TestHostileProvider is the suite of answers that are not the provider's: none
// may read as live or dead.
func TestHostileProvider(t *testing.T) {
	html := "<html><body>Sign in to the network. " + aliveDoc + "</body></html>"
	cases := []struct {
		name string
		h    http.HandlerFunc
		want verdict.Outcome
	}{
		{"firewall 403 html", reply(403, "text/html", "<html>Request blocked</html>"), verdict.Error},
		{"firewall 401 html", reply(401, "text/html", "<html>Bad credentials</html>"), verdict.Error},
		{"firewall 401 html without type", reply(401, "", "<html>Bad credentials</html>"), verdict.Error},
		{"firewall 403 json", reply(403, jsonType, `{"message":"Bad credentials"}`), verdict.Unknown},
		{"captive portal 200", reply(200, "text/html", html), verdict.Error},
		{"captive portal 200 as text", reply(200, "text/plain", html), verdict.Error},
		{"200 text that is json", reply(200, "text/plain", aliveDoc), verdict.Unknown},
		{"422", reply(422, jsonType, `{"message":"Validation Failed"}`), verdict.Unknown},
		{"404", reply(404, jsonType, `{"message":"Not Found"}`), verdict.Unknown},
		{"429", reply(429, jsonType, deadDoc, "Retry-After", "7"), verdict.Error},
		{"429 with a live body", reply(429, jsonType, aliveDoc), verdict.Error},
		{"403 rate limit", reply(403, jsonType, `{"message":"API rate limit exceeded"}`, "X-RateLimit-Remaining", "0"), verdict.Error},
		{"403 secondary limit", reply(403, jsonType, `{}`, "Retry-After", "60"), verdict.Error},
		{"403 suspended", reply(403, jsonType, `{"message":"Sorry. Your account was suspended"}`), verdict.Unknown},
		{"empty 200", reply(200, jsonType, ""), verdict.Unknown},
		{"empty 401", reply(401, jsonType, ""), verdict.Unknown},
		{"null 200", reply(200, jsonType, "null"), verdict.Unknown},
		{"array 200", reply(200, jsonType, `[`+aliveDoc+`]`), verdict.Unknown},
		{"200 of somebody else's api", reply(200, jsonType, `{"login":true,"id":"1","type":"User"}`), verdict.Unknown},
		{"200 empty login", reply(200, jsonType, `{"login":"","id":1,"type":"User"}`), verdict.Unknown},
		{"200 with the dead message", reply(200, jsonType, deadDoc), verdict.Unknown},
		{"401 other message", reply(401, jsonType, `{"message":"Requires authentication"}`), verdict.Unknown},
		{"401 proxy", reply(401, jsonType, `{"error":"proxy authentication"}`), verdict.Unknown},
		{"407", reply(407, jsonType, deadDoc), verdict.Unknown},
		{"500", reply(500, jsonType, aliveDoc), verdict.Error},
		{"502 html", reply(502, "text/html", html), verdict.Error},
		{"503", reply(503, jsonType, deadDoc), verdict.Error},
		{"invalid json", reply(200, jsonType, aliveDoc[:20]), verdict.Error},
		{"two json values", reply(200, jsonType, aliveDoc+aliveDoc), verdict.Error},
		{"json depth bomb", reply(200, jsonType, strings.Repeat("[", 100_000)), verdict.Error},
		{"huge body", reply(200, jsonType, aliveDoc[:len(aliveDoc)-1]+`,"x":"`+strings.Repeat("a", 2<<20)+`"}`), verdict.Error},
		{"redirect to loopback", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/user", http.StatusFound)
		}, verdict.Error},
		{"redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/other" {
				http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
				return
			}
			reply(200, jsonType, aliveDoc)(w, r)
		}, verdict.Error},
		{"slow body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.WriteHeader(200)
			_, _ = io.WriteString(w, aliveDoc[:10])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, verdict.Error},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, verdict.Error},
		{"body cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.Header().Set("Content-Length", "5000")
			_, _ = io.WriteString(w, aliveDoc)
		}, verdict.Error},
		{"connection closed", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}, verdict.Error},
	}
	for _, kind := range []string{"personal_access_token", "fine_grained_token", "oauth_token", "app_user_token", "app_installation_token"} {
		c := credential(t, kind)
		for _, tc := range cases {
			t.Run(kind+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				d := driver(t, tc.h)
				d.o.Timeout = 300 * time.Millisecond
				v := d.Identify(context.Background(), c, subject())
				if v.Outcome != tc.want {
					t.Errorf("outcome %s (%s), want %s", v.Outcome, v.Reason, tc.want)
				}
				if v.Outcome == verdict.Error && v.RetryAfter <= 0 {
					t.Error("error without RetryAfter")
				}
				assertSilent(t, v)
			})
		}
	}
}

func TestHostileTransport(t *testing.T) {
	c := credential(t, "personal_access_token")
	tlsServer := httptest.NewTLSServer(reply(200, jsonType, aliveDoc)) // its certificate is not ours to trust
	defer tlsServer.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := closed.Addr().String()
	_ = closed.Close()
	plain := httptest.NewServer(reply(200, jsonType, aliveDoc))
	defer plain.Close()
	cases := []struct{ name, base, allow, want string }{
		{"untrusted certificate", tlsServer.URL, tlsServer.Listener.Addr().String(), "TLS"},
		{"plain http where https is asked", "https://" + plain.Listener.Addr().String(), plain.Listener.Addr().String(), ""},
		{"nobody listens", "http://" + gone, gone, "connection"},
		{"not in egress.allow", plain.URL, "127.0.0.1:1", "egress refused"},
	}
	for _, tc := range cases {
		client, err := egress.NewClient(egress.Options{Allow: []string{tc.allow}})
		if err != nil {
			t.Fatal(err)
		}
		d := New(Options{Client: client, BaseURLs: map[string]string{"github": tc.base}, Timeout: time.Second})
		v := d.Identify(context.Background(), c, subject())
		if v.Outcome != verdict.Error || !strings.Contains(v.Reason, tc.want) {
			t.Errorf("%s: %s (%s)", tc.name, v.Outcome, v.Reason)
		}
		assertSilent(t, v)
	}
}

// assertSilent: nothing that is kept holds the token.
func assertSilent(t *testing.T, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), leaked) || strings.Contains(fmt.Sprintf("%+v", v), leaked) {
		t.Errorf("the token is in %s", b)
	}
}

func TestCapturesThatHoldTheSecretAreDropped(t *testing.T) {
	c := credential(t, "personal_access_token")
	d := driver(t, reply(200, jsonType, aliveDoc, "X-OAuth-Scopes", "x "+leaked, "X-GitHub-Request-Id", "id"))
	v := d.Identify(context.Background(), c, subject())
	if _, ok := v.Facts["scopes"]; ok || v.Outcome != verdict.Live {
		t.Fatalf("%+v", v)
	}
	d = driver(t, reply(200, jsonType, `{"login":"`+leaked+`","id":1,"type":"User"}`))
	if v := d.Identify(context.Background(), c, subject()); v.Outcome != verdict.Unknown {
		t.Fatalf("an identity that is the secret: %+v", v)
	}
	d = driver(t, reply(200, jsonType, `{"login":"a\u001b[31m\u202eb`+strings.Repeat("x", 1000)+`","id":1,"type":"User"}`))
	v = d.Identify(context.Background(), c, subject())
	if strings.ContainsAny(v.Identity, "\x1b\u202e") || len(v.Identity) > maxCapture || v.Outcome != verdict.Live {
		t.Fatalf("identity %q", v.Identity)
	}
	assertSilent(t, v)
}

// github is a small GitHub that keeps a token's state.
type github struct {
	dead    atomic.Bool
	revokes atomic.Int64
	revoke  http.HandlerFunc
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /user":
		if g.dead.Load() {
			reply(401, jsonType, deadDoc)(w, r)
			return
		}
		reply(200, jsonType, aliveDoc)(w, r)
	case "POST /credentials/revoke":
		g.revokes.Add(1)
		g.revoke(w, r)
	default:
		reply(404, jsonType, `{}`)(w, r)
	}
}

func TestRevoke(t *testing.T) {
	c := credential(t, "personal_access_token")
	g := &github{}
	g.revoke = func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			reply(403, jsonType, `{}`)(w, r)
			return
		}
		var body struct{ Credentials []string }
		err := json.NewDecoder(r.Body).Decode(&body)
		if err != nil || len(body.Credentials) != 1 || body.Credentials[0] != leaked {
			reply(422, jsonType, `{}`)(w, r)
			return
		}
		g.dead.Store(true)
		reply(202, jsonType, `{}`, "X-GitHub-Request-Id", "R1")(w, r)
	}
	d := driver(t, g.ServeHTTP)
	e, err := d.Act(context.Background(), c.Contain[0], subject(), false)
	if err != nil || e.Already || e.Undo != nil || e.At.IsZero() || len(e.Requests) != 1 || e.Requests[0].RequestID != "R1" || e.Requests[0].With != "anyone" {
		t.Fatalf("%+v %v", e, err)
	}
	assertSilent(t, e)
	// The answer was lost and the act comes again: the provider is asked first.
	e, err = d.Act(context.Background(), c.Contain[0], subject(), true)
	if err != nil || !e.Already || g.revokes.Load() != 1 {
		t.Fatalf("repeat: %+v %v, %d revokes", e, err, g.revokes.Load())
	}
}

func TestActErrors(t *testing.T) {
	c := credential(t, "personal_access_token")
	cases := []struct {
		name   string
		h      http.HandlerFunc
		dead   bool
		person bool
		after  time.Duration
	}{
		{"422", reply(422, jsonType, `{"message":"Validation Failed"}`), false, true, 0},
		{"403 authenticated", reply(403, jsonType, `{}`), false, true, 0},
		{"429", reply(429, jsonType, `{}`, "Retry-After", "9"), false, false, 9 * time.Second},
		{"403 reset", reply(403, jsonType, `{}`, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", fmt.Sprint(time.Now().Add(100*time.Second).Unix())), false, false, 90 * time.Second},
		{"500", reply(500, jsonType, `{}`), false, false, time.Second},
		{"captive 200", reply(200, "text/html", "<html>"), false, false, time.Second},
		{"empty 200", reply(200, jsonType, ""), false, false, time.Second},
		{"redirect", reply(302, jsonType, "", "Location", "/x"), false, false, time.Second},
		{"401 because dead", reply(401, jsonType, deadDoc), true, false, 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			g := &github{revoke: tc.h}
			g.dead.Store(tc.dead)
			d := driver(t, g.ServeHTTP)
			e, err := d.Act(context.Background(), c.Contain[0], subject(), false)
			if tc.dead {
				if err != nil || !e.Already {
					t.Fatalf("%+v %v", e, err)
				}
				return
			}
			if err == nil || !e.At.IsZero() {
				t.Fatalf("accepted: %+v", e)
			}
			var retry *act.Retry
			if errors.Is(err, act.ErrPerson) != tc.person || errors.As(err, &retry) == tc.person {
				t.Fatalf("err = %v", err)
			}
			if retry != nil && retry.After < tc.after {
				t.Fatalf("after %s, want at least %s", retry.After, tc.after)
			}
			if len(e.Requests) == 0 {
				t.Fatal("the request is not reported")
			}
			assertSilent(t, e)
			if strings.Contains(err.Error(), leaked) {
				t.Fatal("the token is in the error")
			}
		})
	}
}

func TestInstallationTokenRevokesItself(t *testing.T) {
	c := credential(t, "app_installation_token")
	d := driver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "DELETE" && r.URL.Path == "/installation/token" && r.Header.Get("Authorization") == "Bearer "+leaked {
			w.WriteHeader(204)
			return
		}
		reply(404, jsonType, `{}`)(w, r)
	})
	e, err := d.Act(context.Background(), c.Contain[0], subject(), false)
	if err != nil || e.At.IsZero() {
		t.Fatalf("%+v %v", e, err)
	}
	s := subject()
	s.Parts = nil
	_, err = d.Act(context.Background(), c.Contain[0], s, false)
	if !errors.Is(err, act.ErrPerson) {
		t.Fatalf("without the token: %v", err)
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	err := os.WriteFile(name, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
}
