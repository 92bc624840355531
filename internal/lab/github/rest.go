package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Request is one REST or Git request as the laboratory saw it. It holds no secret.
type Request struct {
	At        time.Time
	ID        string // X-GitHub-Request-Id
	Method    string
	Path      string // without query
	Auth      string // none, app, installation, user, refused
	Status    int    // 0 when the answer was withheld
	Fault     string // misbehaviour, if any
	UserAgent string
	IP        string // as the client said in HeaderSourceIP, or its address
	Note      string
}

// Requests returns a copy of the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) logRequest(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.At.IsZero() {
		r.At = s.now()
	}
	s.requests = append(s.requests, r)
}

// caller is who a REST request comes from.
type caller struct {
	kind string // none, app, installation, user
	app  *App
	tok  *token
}

// call is one REST request under way.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	from caller
}

func (c *call) json(status int, v any) {
	c.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	c.w.WriteHeader(status)
	_ = json.NewEncoder(c.w).Encode(v)
}

func (c *call) fail(status int, message, doc string) {
	c.json(status, map[string]any{
		"message": message, "documentation_url": "https://docs.github.com/rest" + doc, "status": strconv.Itoa(status),
	})
}

func (s *Server) routes() http.Handler {
	rest := http.NewServeMux()
	handle := func(pattern, need string, fn func(*call)) {
		rest.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			c := &call{w: w, r: r, from: r.Context().Value(callerKey{}).(caller)}
			if need != "" && !strings.Contains(need, c.from.kind) {
				s.refuse(c, need)
				return
			}
			fn(c)
		})
	}
	handle("GET /app", "app", s.getApp)
	handle("GET /app/hook/deliveries", "app", s.listDeliveries)
	handle("GET /app/hook/deliveries/{id}", "app", s.getDelivery)
	handle("POST /app/hook/deliveries/{id}/attempts", "app", s.postAttempt)
	handle("GET /app/installations", "app", s.listInstallations)
	handle("GET /app/installations/{id}", "app", s.getInstallation)
	handle("POST /app/installations/{id}/access_tokens", "app", s.postAccessToken)
	handle("GET /installation/repositories", "installation", s.listRepositories)
	handle("DELETE /installation/token", "installation", s.deleteToken)
	handle("GET /repos/{owner}/{repo}", "", s.getRepo)
	handle("GET /repos/{owner}/{repo}/installation", "app", s.getRepoInstallation)
	handle("GET /repositories/{id}", "", s.getRepoByID)
	handle("GET /repos/{owner}/{repo}/secret-scanning/alerts/{number}", "installation user", s.getAlert)
	handle("GET /repos/{owner}/{repo}/secret-scanning/alerts/{number}/locations", "installation user", s.getAlertLocations)
	handle("GET /user", "user", s.getUser)
	handle("GET /rate_limit", "", s.getRateLimit)
	handle("POST /credentials/revoke", "", s.postRevoke)
	handle("GET /orgs/{org}/audit-log", "", s.getAuditLog)
	handle("/", "", func(c *call) { c.fail(404, "Not Found", "") })
	api := s.serveREST(rest)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, service, ok := gitRequest(r.URL.Path)
		if ok {
			rec := &statusWriter{ResponseWriter: w, status: 200}
			s.serveGit(rec, r, name, service)
			s.logRequest(Request{Method: r.Method, Path: r.URL.Path, Status: rec.status, UserAgent: r.UserAgent(), IP: sourceIP(r)})
			return
		}
		if path, enterprise := strings.CutPrefix(r.URL.Path, "/api/v3"); enterprise {
			r = r.Clone(r.Context())
			r.URL.Path, r.URL.RawPath = path, ""
		}
		api.ServeHTTP(w, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

type callerKey struct{}

// serveREST is what every REST request passes: identity, limits, misbehaviour, log.
func (s *Server) serveREST(rest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := fmt.Sprintf("%04X:%06X:%08X", s.pick(1<<16), s.pick(1<<24), s.pick(1<<32))
		w.Header().Set("X-GitHub-Request-Id", id)
		w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
		w.Header().Set("Server", "github.com")
		log := Request{At: s.now(), ID: id, Method: r.Method, Path: r.URL.Path, UserAgent: r.UserAgent(), IP: sourceIP(r)}
		defer func() { s.logRequest(log) }()
		if r.UserAgent() == "" {
			log.Status = http.StatusForbidden
			http.Error(w, "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.", log.Status)
			return
		}
		from, message := s.identify(r)
		log.Auth = from.kind
		c := &call{w: w, r: r, from: from}
		if message != "" {
			log.Auth, log.Status = "refused", http.StatusUnauthorized
			c.fail(log.Status, message, "")
			return
		}
		status, over := s.limit(w, r, from)
		if over {
			log.Status = status
			c.fail(status, "API rate limit exceeded for 127.0.0.1.", "/using-the-rest-api/rate-limits-for-the-rest-api")
			return
		}
		switch {
		case s.chance(s.faults.TooMany):
			log.Status, log.Fault = http.StatusTooManyRequests, "429"
			w.Header().Set("Retry-After", "1")
			c.fail(log.Status, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", "")
			return
		case s.chance(s.faults.ServerError):
			log.Status = []int{500, 502, 503}[s.pick(3)]
			log.Fault = strconv.Itoa(log.Status)
			c.fail(log.Status, "Server Error", "")
			return
		}
		if from.tok != nil {
			s.recordUse(r, from.tok, "api.request", nil)
		}
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, from))
		if s.chance(s.faults.LostAnswer) {
			log.Fault = "lost answer"
			rest.ServeHTTP(httptest.NewRecorder(), r)
			s.cut(w)
			return
		}
		rec := &statusWriter{ResponseWriter: w, status: 200}
		rest.ServeHTTP(rec, r)
		log.Status = rec.status
	})
}

// cut closes the connection without an answer.
func (s *Server) cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close()
}

func (s *Server) refuse(c *call, need string) {
	switch {
	case strings.Contains(need, "app"):
		c.fail(401, "A JSON web token could not be decoded", "")
	case c.from.kind == "none":
		c.fail(401, "Requires authentication", "")
	default:
		c.fail(403, "Resource not accessible by integration", "")
	}
}

// window counts the requests of one caller in the current hour.
type window struct {
	until time.Time
	used  int
}

// limit counts the request and writes the rate limit headers. Without
// authentication 60 requests an hour are served; GitHub answers 403 or 429
// beyond, and so do we, by turns.
func (s *Server) limit(w http.ResponseWriter, r *http.Request, from caller) (int, bool) {
	key, most := "anonymous", s.opts.RevokeLimit
	switch {
	case from.tok != nil && strings.HasSuffix(r.URL.Path, "/audit-log"):
		key, most = "audit"+strconv.FormatInt(from.tok.id, 10), 1750
	case from.tok != nil && from.tok.install != nil:
		key, most = "installation"+strconv.FormatInt(from.tok.install.ID, 10), 5000
	case from.tok != nil:
		key, most = "user"+from.tok.owner.Login, 5000
	case from.app != nil:
		key, most = "app"+strconv.FormatInt(from.app.ID, 10), 5000
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	win := s.limits[key]
	if win == nil || !now.Before(win.until) {
		win = &window{until: now.Add(time.Hour)}
		s.limits[key] = win
	}
	over := win.used >= most
	if !over && r.URL.Path != "/rate_limit" {
		win.used++
	}
	h := w.Header()
	h.Set("X-RateLimit-Limit", itoa(most))
	h.Set("X-RateLimit-Remaining", itoa(most-win.used))
	h.Set("X-RateLimit-Used", itoa(win.used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(win.until.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
	return []int{http.StatusForbidden, http.StatusTooManyRequests}[len(s.requests)%2], over && r.URL.Path != "/rate_limit"
}

func (s *Server) getRateLimit(c *call) {
	h := c.w.Header()
	n := func(key string) int { v, _ := strconv.Atoi(h.Get(key)); return v }
	core := map[string]any{"limit": n("X-RateLimit-Limit"), "remaining": n("X-RateLimit-Remaining"), "used": n("X-RateLimit-Used"), "reset": n("X-RateLimit-Reset")}
	c.json(200, map[string]any{"resources": map[string]any{"core": core, "search": core}, "rate": core})
}
