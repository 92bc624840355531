package githubapp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"stanch/internal/secret"
)

var testKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// apiServer is a small GitHub that checks who calls.
type apiServer struct {
	*httptest.Server
	t   *testing.T
	key *rsa.PrivateKey
	mux *http.ServeMux

	mu       sync.Mutex
	requests []string // "METHOD path body"
}

const (
	appToken   = "ghs_7_eyJhbGciOiJSUzI1NiJ9.installation." // long, with dots
	cloneValue = "ghs_7_eyJhbGciOiJSUzI1NiJ9.clone."
)

func newAPIServer(t *testing.T) *apiServer {
	key, err := testKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &apiServer{t: t, key: key, mux: http.NewServeMux()}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI()+" "+strings.TrimSpace(string(b)))
		s.mu.Unlock()
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		w.Header().Set("X-GitHub-Request-Id", "ABCD:1234")
		s.mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	s.mux.HandleFunc("POST /api/v3/app/installations/{id}/access_tokens", s.asApp(func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Repositories []string          `json:"repositories"`
			Permissions  map[string]string `json:"permissions"`
		}
		err := json.NewDecoder(r.Body).Decode(&ask)
		if err != nil {
			t.Errorf("token request: %v", err)
		}
		w.WriteHeader(http.StatusCreated)
		if len(ask.Repositories) == 0 {
			fmt.Fprintf(w, `{"token":%q,"expires_at":%q}`, appToken+r.PathValue("id"), time.Now().Add(time.Hour).Format(time.RFC3339))
			return
		}
		if !reflect.DeepEqual(ask.Permissions, map[string]string{"contents": "read"}) || len(ask.Repositories) != 1 {
			t.Errorf("clone token is not narrow: %+v", ask)
		}
		fmt.Fprintf(w, `{"token":%q,"expires_at":%q,"repositories":[{"id":1,"full_name":"acme/%s"}]}`,
			cloneValue+ask.Repositories[0], time.Now().Add(time.Hour).Format(time.RFC3339), ask.Repositories[0])
	}))
	return s
}

// asApp checks the App's JWT with the public key.
func (s *apiServer) asApp(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var claims jwt.RegisteredClaims
		raw := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, err := jwt.ParseWithClaims(raw, &claims, func(tk *jwt.Token) (any, error) {
			if tk.Method != jwt.SigningMethodRS256 {
				return nil, errors.New("wrong method")
			}
			return &s.key.PublicKey, nil
		})
		if err != nil {
			s.t.Errorf("JWT: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		now := time.Now()
		if back := now.Sub(claims.IssuedAt.Time); back < 59*time.Second || back > 80*time.Second {
			s.t.Errorf("iat is %s back", back)
		}
		if ahead := claims.ExpiresAt.Sub(now); ahead > 10*time.Minute || claims.Issuer != "7" {
			s.t.Errorf("claims %+v", claims)
		}
		next(w, r)
	}
}

func (s *apiServer) asInstallation(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), appToken) {
			s.t.Errorf("Authorization = %.30q", r.Header.Get("Authorization"))
		}
		next(w, r)
	}
}

func (s *apiServer) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (s *apiServer) app(change func(*Options)) *App {
	der := x509.MarshalPKCS1PrivateKey(s.key)
	o := Options{
		APIURL: s.URL + "/api/v3", WebURL: s.URL, AppID: 7,
		PrivateKey: secret.FromBytes(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})),
	}
	if change != nil {
		change(&o)
	}
	a, err := New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func link(w http.ResponseWriter, r *http.Request, query string) {
	w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, r.Host, r.URL.Path, query))
}

func TestNewRefuses(t *testing.T) {
	s := newAPIServer(t)
	good := s.app(nil).o
	for name, change := range map[string]func(*Options){
		"no id":       func(o *Options) { o.AppID = 0 },
		"no key":      func(o *Options) { o.PrivateKey = secret.Value{} },
		"not a key":   func(o *Options) { o.PrivateKey = secret.New("CANARY") },
		"api url":     func(o *Options) { o.APIURL = "ftp://x" },
		"url secrets": func(o *Options) { o.WebURL = "https://u:CANARY@x" },
	} {
		o := good
		change(&o)
		_, err := New(o)
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInstallationsToTheLastPage(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/app/installations", s.asApp(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("page") {
		case "1":
			link(w, r, "page=2&per_page=100")
			fmt.Fprint(w, `[{"id":1,"account":{"login":"acme","id":9,"type":"Organization"},"repository_selection":"all"}]`)
		case "2":
			fmt.Fprint(w, `[{"id":2,"account":{"login":"octocat","type":"User"},"suspended_at":"2026-01-02T03:04:05Z"}]`)
		}
	}))
	got, err := s.app(nil).Installations(t.Context())
	want := []Installed{
		{ID: 1, Account: Account{ID: 9, Login: "acme", Type: "Organization"}, RepositorySelection: "all"},
		{ID: 2, Account: Account{Login: "octocat", Type: "User"}, Suspended: true},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestInstallationRepos(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/installation/repositories", s.asInstallation(func(w http.ResponseWriter, r *http.Request) {
		page := r.URL.Query().Get("page")
		if page != "3" {
			link(w, r, "per_page=100&page="+string(page[0]+1))
		}
		fmt.Fprintf(w, `{"total_count":3,"repositories":[{"id":%s,"name":"r%s","full_name":"acme/r%s","owner":{"login":"acme"},"private":true,"visibility":"internal","archived":true,"default_branch":"main","pushed_at":"2026-01-02T03:04:05Z"}]}`, page, page, page)
	}))
	a := s.app(nil)
	for range 2 {
		got, err := a.InstallationRepos(t.Context(), 5)
		if err != nil || len(got) != 3 || got[2].FullName != "acme/r3" || got[2].Visibility != "internal" || !got[2].Archived || got[2].PushedAt.IsZero() {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if n := s.count("POST /api/v3/app/installations/5/access_tokens"); n != 1 {
		t.Errorf("asked for %d installation tokens", n)
	}
	c1, _ := a.Client(5)
	c2, _ := a.Client(5)
	a.Forget(5)
	c3, _ := a.Client(5)
	if c1 != c2 || c1 == c3 {
		t.Error("clients are not cached, or not forgotten")
	}
	if _, err := a.Client(0); err == nil {
		t.Error("installation 0 was accepted")
	}
}

// A listing whose pages go round ends.
func TestPagesGoRound(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/app/installations", s.asApp(func(w http.ResponseWriter, r *http.Request) {
		link(w, r, "page=1")
		fmt.Fprint(w, `[]`)
	}))
	_, err := s.app(nil).Installations(t.Context())
	if err == nil || s.count("GET /api/v3/app/installations") != 1 {
		t.Errorf("error %v", err)
	}
}

func TestCloneToken(t *testing.T) {
	s := newAPIServer(t)
	now := time.Now()
	var mu sync.Mutex
	a := s.app(func(o *Options) {
		o.Clock = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
	})
	const path = "POST /api/v3/app/installations/5/access_tokens"
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			v, err := a.CloneToken(t.Context(), 5, "acme", "Widgets")
			if err != nil || v.Reveal() != cloneValue+"Widgets" {
				t.Errorf("token: %v", err)
			}
			v.Destroy() // must not destroy the cached one
		})
	}
	wg.Wait()
	if n := s.count(path); n != 1 {
		t.Errorf("asked %d times for one repository", n)
	}
	_, err := a.CloneToken(t.Context(), 5, "acme", "widgets") // the same one, for GitHub
	if err != nil || s.count(path) != 1 {
		t.Errorf("names differ in case: %v", err)
	}
	_, err = a.CloneToken(t.Context(), 5, "acme", "gadgets")
	if err != nil || s.count(path) != 2 {
		t.Errorf("another repository: %v", err)
	}
	a.Forget(5)
	_, err = a.CloneToken(t.Context(), 5, "acme", "widgets")
	if err != nil || s.count(path) != 3 {
		t.Errorf("after Forget: %v", err)
	}
	_, err = a.CloneToken(t.Context(), 5, "evil", "widgets")
	if err == nil || strings.Contains(err.Error(), "evil") {
		t.Errorf("another owner's repository: %v", err)
	}
	for _, name := range [][2]string{{"..", "x"}, {"acme", ".."}, {"acme", "a/b"}, {"-acme", "x"}, {"acme", ""}, {"acme", "a?b"}} {
		_, err = a.CloneToken(t.Context(), 5, name[0], name[1])
		if err == nil {
			t.Errorf("accepted %v", name)
		}
	}
}

func TestCloneTokenIsRenewedInTime(t *testing.T) {
	s := newAPIServer(t)
	a := s.app(nil)
	const path = "POST /api/v3/app/installations/5/access_tokens"
	_, err := a.CloneToken(t.Context(), 5, "acme", "widgets")
	if err != nil {
		t.Fatal(err)
	}
	entry := a.tokens[tokenKey{5, "acme/widgets"}]
	for _, tt := range []struct {
		left time.Duration
		asks int
	}{{6 * time.Minute, 1}, {4 * time.Minute, 2}} {
		entry.expires = time.Now().Add(tt.left)
		_, err = a.CloneToken(t.Context(), 5, "acme", "widgets")
		if err != nil || s.count(path) != tt.asks {
			t.Errorf("with %s left: asked %d times, %v", tt.left, s.count(path), err)
		}
	}
}

func TestTokenCacheIsBounded(t *testing.T) {
	s := newAPIServer(t)
	a := s.app(nil)
	for i := range 2 * maxTokens {
		a.tokenEntry(tokenKey{5, fmt.Sprint(i)})
	}
	if len(a.tokens) > maxTokens {
		t.Errorf("%d entries", len(a.tokens))
	}
}

func TestCloneURL(t *testing.T) {
	s := newAPIServer(t)
	a := s.app(func(o *Options) { o.WebURL = "https://ghe.example.com/" })
	got, err := a.CloneURL("acme", "widgets.js")
	if err != nil || got != "https://ghe.example.com/acme/widgets.js.git" {
		t.Errorf("got %s, %v", got, err)
	}
	for _, name := range [][2]string{
		{"", "x"}, {"a", ""}, {"..", "x"}, {"a", ".."}, {"a", "."}, {"a/b", "c"}, {"a", "b/c"}, {"a", "b?c"}, {"a", "b#c"}, {"a", "b%2f"}, {"a@b", "c"},
		{"-a", "b"}, {"a", "b c"}, {"a", "b\n"}, {"a\x00", "b"}, {strings.Repeat("a", 101), "b"}, {"ä", "b"},
	} {
		got, err := a.CloneURL(name[0], name[1])
		if err == nil {
			t.Errorf("%q became %s", name, got)
		}
	}
}

func TestPermissionsAndCheck(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/app", s.asApp(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(3*time.Minute).UTC().Format(http.TimeFormat))
		fmt.Fprint(w, `{"id":7,"slug":"stanch","permissions":{"contents":"write","metadata":"read","brand_new":"write"},"events":["push"]}`)
	}))
	a := s.app(nil)
	granted, events, err := a.Permissions(t.Context())
	if err != nil || granted["contents"] != "write" || granted["brand_new"] != "write" || !reflect.DeepEqual(events, []string{"push"}) {
		t.Errorf("granted %v, events %v, %v", granted, events, err)
	}
	h, err := a.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(h.MissingPermissions) != 2 || !h.MissingPermissions[0].Optional || len(h.MissingEvents) != 2 || h.MissingEvents[0].Event != "public" {
		t.Errorf("missing %+v, %+v", h.MissingPermissions, h.MissingEvents)
	}
	if !reflect.DeepEqual(h.Excess, map[string]string{"contents": "write", "brand_new": "write"}) {
		t.Errorf("excess %v", h.Excess)
	}
	if h.ClockSkew < 170*time.Second || h.ClockSkew > 190*time.Second {
		t.Errorf("clock skew %s", h.ClockSkew)
	}
	for _, n := range Needed() {
		if n.Reason == "" || n.Access != "read" {
			t.Errorf("need %+v", n)
		}
	}
}

const hashed = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestAuditLog(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/orgs/acme/audit-log", s.asInstallation(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("phrase") != `hashed_token:"`+hashed+`" created:>=2026-01-02` || q.Get("include") != "all" || q.Get("order") != "asc" || q.Get("per_page") != "100" {
			t.Errorf("query %v", q)
		}
		switch q.Get("after") {
		case "":
			link(w, r, "after=MS4%3D&per_page=100")
			fmt.Fprint(w, `[{"_document_id":"d1","@timestamp":1767323045123,"action":"git.clone","actor":"octocat","actor_id":5,"actor_ip":"203.0.113.9","actor_location":{"country_code":"DE"},"user_agent":"git/2.39","org":"acme","repo":"acme/widgets","token_id":11,"token_scopes":"repo","operation_type":"access","programmatic_access_type":"Personal access token (classic)","transport_protocol_name":"http","hashed_token":"CANARY","data":{"x":"CANARY"}}]`)
		case "MS4=":
			fmt.Fprint(w, `[{"_document_id":"d2","created_at":1767323046000,"action":"repo.create","actor":"<b>","actor_ip":"not one"}]`)
		}
	}))
	var got []AuditEntry
	pages := 0
	for page, err := range s.app(nil).AuditLog(t.Context(), AuditQuery{Org: "acme", HashedToken: hashed, From: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC), Installation: 5}) {
		if err != nil {
			t.Fatal(err)
		}
		pages++
		got = append(got, page.Entries...)
		if page.RequestID != "ABCD:1234" || page.Status != 200 || page.At.IsZero() {
			t.Errorf("page %+v", page)
		}
	}
	want := []AuditEntry{
		{
			ID: "d1", Time: time.UnixMilli(1767323045123).UTC(), Action: "git.clone", Actor: "octocat", ActorID: 5, Address: "203.0.113.9", Country: "DE",
			UserAgent: "git/2.39", Org: "acme", Repo: "acme/widgets", TokenID: 11, Scopes: "repo", Operation: "access",
			Access: "Personal access token (classic)", Transport: "http",
		},
		{ID: "d2", Time: time.UnixMilli(1767323046000).UTC(), Action: "repo.create"},
	}
	if pages != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d pages:\ngot  %+v\nwant %+v", pages, got, want)
	}
}

func TestAuditLogErrors(t *testing.T) {
	s := newAPIServer(t)
	status := http.StatusNotFound
	s.mux.HandleFunc("GET /api/v3/orgs/acme/audit-log", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer ghp_orgtoken" {
			t.Errorf("Authorization %q", r.Header.Get("Authorization"))
		}
		w.WriteHeader(status)
		fmt.Fprint(w, `{"message":"no"}`)
	})
	a := s.app(nil)
	read := func(q AuditQuery) error {
		for _, err := range a.AuditLog(t.Context(), q) {
			return err
		}
		return nil
	}
	q := AuditQuery{Org: "acme", HashedToken: hashed, Token: secret.New("ghp_orgtoken")}
	for _, status = range []int{404, 403, 500} {
		err := read(q)
		var api *APIError
		if errors.Is(err, ErrNoAuditLog) != (status != 500) || !errors.As(err, &api) || api.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
	for _, bad := range []AuditQuery{
		{Org: "../x", HashedToken: hashed, Token: q.Token}, {Org: "acme", HashedToken: "ghp_CANARY", Token: q.Token}, {Org: "acme", HashedToken: hashed},
	} {
		err := read(bad)
		if err == nil || errors.Is(err, ErrNoAuditLog) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Errors hold status, message and request id, and nothing about whom or with what.
func TestErrorsAreReduced(t *testing.T) {
	s := newAPIServer(t)
	tests := []struct {
		name, path string
		answer     func(http.ResponseWriter)
		want       APIError
	}{
		{"message", "", func(w http.ResponseWriter) {
			w.WriteHeader(422)
			fmt.Fprint(w, `{"message":"Could not resolve 'CANARYlogin' with ghp_CANARYtoken1234 eyJCANARY.x.y","errors":[{"message":"CANARY"}]}`)
		}, APIError{Status: 422, Message: "Could not resolve *** with *** ***"}},
		{"not JSON", "", func(w http.ResponseWriter) {
			w.WriteHeader(502)
			fmt.Fprint(w, `<html>CANARY`)
		}, APIError{Status: 502}},
		{"primary limit", "", func(w http.ResponseWriter) {
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Limit", "5000")
			w.Header().Set("X-RateLimit-Resource", "core")
			w.Header().Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(10*time.Minute).Unix()))
			w.WriteHeader(403)
			fmt.Fprint(w, `{"message":"API rate limit exceeded for installation ID CANARY."}`)
		}, APIError{Status: 403, RetryAfter: 10 * time.Minute}},
		{"secondary limit beyond our patience", "", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(403)
			fmt.Fprint(w, `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
		}, APIError{Status: 403, RetryAfter: 10 * time.Minute}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := fmt.Sprintf("/api/v3/installation/repositories%d", i)
			s.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { tt.answer(w) })
			a := s.app(nil)
			c, err := a.Client(5)
			if err != nil {
				t.Fatal(err)
			}
			req, err := c.NewRequest("GET", fmt.Sprintf("installation/repositories%d", i), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Do(t.Context(), req, nil)
			err = Reduce("list repositories", err)
			var api *APIError
			if !errors.As(err, &api) {
				t.Fatalf("error %T", err)
			}
			if api.Status != tt.want.Status || api.RequestID != "ABCD:1234" || (tt.want.Message != "" && api.Message != tt.want.Message) {
				t.Errorf("got %+v", api)
			}
			if d := api.RetryAfter - tt.want.RetryAfter; d > 2*time.Second || d < -5*time.Second {
				t.Errorf("retry after %s", api.RetryAfter)
			}
			if strings.Contains(err.Error(), "CANARYl") || strings.Contains(err.Error(), "CANARYt") || strings.Contains(err.Error(), "eyJ") || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestTokenRefreshErrors(t *testing.T) {
	s := newAPIServer(t)
	s.mux.HandleFunc("POST /api/v3/app/installations/9/access_tokens", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		fmt.Fprint(w, `{"message":"Not Found"}`)
	})
	a := s.app(nil)
	_, err := a.InstallationRepos(t.Context(), 9)
	var api *APIError
	if !errors.As(err, &api) || api.Status != 404 || api.RequestID != "ABCD:1234" || strings.Contains(err.Error(), "http") {
		t.Errorf("error %v", err)
	}
	_, err = a.CloneToken(t.Context(), 9, "acme", "widgets")
	if !errors.As(err, &api) || api.Status != 404 {
		t.Errorf("error %v", err)
	}
	s.Close()
	_, err = s.app(nil).Installations(t.Context())
	if !errors.As(err, &api) || api.Status != 0 || !api.Temporary() || strings.Contains(err.Error(), "/app") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Installations(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A short secondary limit is waited for, and the request's body is sent again.
func TestSecondaryLimitIsWaitedFor(t *testing.T) {
	s := newAPIServer(t)
	var once sync.Once
	inner := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limited := false
		if strings.Contains(r.URL.Path, "access_tokens") {
			once.Do(func() { limited = true })
		}
		if limited {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(403)
			fmt.Fprint(w, `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`)
			return
		}
		inner.ServeHTTP(w, r)
	})
	v, err := s.app(nil).CloneToken(t.Context(), 5, "acme", "widgets")
	if err != nil || v.Reveal() != cloneValue+"widgets" {
		t.Errorf("token after a limit: %v", err)
	}
}

// A redirect to another host gets no token.
func TestRedirectToAnotherHost(t *testing.T) {
	var got http.Header
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer other.Close()
	s := newAPIServer(t)
	s.mux.HandleFunc("GET /api/v3/installation/repositories", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	_, err := s.app(nil).InstallationRepos(t.Context(), 5)
	if err == nil || got != nil {
		t.Errorf("error %v, the other host got %v", err, got)
	}
	u, _ := url.Parse(other.URL)
	if strings.Contains(err.Error(), u.Host) {
		t.Errorf("error %v", err)
	}
}

func TestAnswersAreBounded(t *testing.T) {
	b := &boundedBody{ReadCloser: io.NopCloser(&zeros{}), left: 1000}
	n, err := io.Copy(io.Discard, b)
	if n != 1000 || !errors.Is(err, errLongAnswer) {
		t.Errorf("read %d, %v", n, err)
	}
}

// An answer that does not come ends the request at the limit.
func TestRequestsAreBoundedInTime(t *testing.T) {
	s := newAPIServer(t)
	release := make(chan struct{})
	defer close(release)
	s.mux.HandleFunc("GET /api/v3/app/installations", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	a := s.app(func(o *Options) { o.Timeout = 100 * time.Millisecond })
	_, err := a.Installations(t.Context())
	if !errors.Is(err, context.DeadlineExceeded) || t.Context().Err() != nil {
		t.Errorf("error %v", err)
	}
}
