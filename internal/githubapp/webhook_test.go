package githubapp

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stanch/internal/secret"
)

const testSecret = "correct horse battery staple"

func sign(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// memory is an Intake that deduplicates as the contract says.
type memory struct {
	mu     sync.Mutex
	guids  map[string]bool
	bodies map[string]bool
	got    []Delivery
	err    error
}

func (m *memory) Accept(_ context.Context, d Delivery) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return false, m.err
	}
	if m.guids == nil {
		m.guids, m.bodies = map[string]bool{}, map[string]bool{}
	}
	if m.guids[d.GUID] || m.bodies[d.BodySHA256] {
		return false, nil
	}
	m.guids[d.GUID], m.bodies[d.BodySHA256] = true, true
	m.got = append(m.got, d)
	return true, nil
}

type refusals struct {
	mu  sync.Mutex
	got []Refusal
}

func (r *refusals) Refused(_ context.Context, f Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, f)
}

func (r *refusals) last() Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		return Refusal{}
	}
	return r.got[len(r.got)-1]
}

func newTestWebhook(t testing.TB, change func(*WebhookOptions)) (*Webhook, *memory, *refusals) {
	t.Helper()
	m, r := &memory{}, &refusals{}
	o := WebhookOptions{Secrets: []secret.Value{secret.New(testSecret)}, Intake: m, Events: r}
	if change != nil {
		change(&o)
	}
	h, err := NewWebhook(o)
	if err != nil {
		t.Fatal(err)
	}
	return h, m, r
}

const pushBody = `{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","after":"1113728f27ae82c7b1a177c8d03f9e96e0adf246","created":false,"deleted":false,"forced":false,"base_ref":null,"commits":[{"id":"1113728f27ae82c7b1a177c8d03f9e96e0adf246","message":"CANARY-message","timestamp":"2026-01-02T03:04:05+02:00","distinct":true,"author":{"name":"CANARY-author","email":"CANARY@example.com"},"added":["CANARY-path"]}],"head_commit":{"id":"1113728f27ae82c7b1a177c8d03f9e96e0adf246","message":"CANARY-message","timestamp":"2026-01-02T03:04:05+02:00"},"repository":{"id":42,"name":"widgets","full_name":"acme/widgets","private":false,"visibility":"public","default_branch":"main","pushed_at":1767315845,"owner":{"login":"acme","id":1,"email":"CANARY@example.com"},"description":"CANARY-description"},"pusher":{"name":"octocat","email":"CANARY@example.com"},"sender":{"login":"octocat","id":5,"type":"User"},"installation":{"id":77}}`

func request(event, guid string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/github/webhook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-GitHub-Delivery", guid)
	r.Header.Set("X-Hub-Signature-256", sign(testSecret, body))
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestWebhookAccepts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)
	h, m, _ := newTestWebhook(t, func(o *WebhookOptions) { o.Clock = func() time.Time { return now } })
	w := serve(h, request("push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", []byte(pushBody)))
	if w.Code != http.StatusAccepted || w.Body.String() != "accepted\n" {
		t.Fatalf("answer %d %q", w.Code, w.Body)
	}
	if len(m.got) != 1 {
		t.Fatalf("stored %d deliveries", len(m.got))
	}
	d := m.got[0]
	sum := sha256.Sum256([]byte(pushBody))
	if d.GUID != "72d3162e-cc78-11e3-81ab-4c9367dc0958" || d.Event != "push" || d.BodySHA256 != hex.EncodeToString(sum[:]) ||
		!d.ReceivedAt.Equal(now) || d.SourceIP != "192.0.2.1" || d.Installation != 77 {
		t.Errorf("delivery = %+v", d)
	}
	if strings.Contains(string(d.Payload), "CANARY") || strings.Contains(fmt.Sprintf("%+v", d.Normal), "CANARY") {
		t.Errorf("message, author, path or e-mail was kept: %s", d.Payload)
	}
	p, ok := d.Normal.(*Push)
	if !ok || p.Ref != "refs/heads/main" || p.Commits[0].Timestamp.Hour() != 1 || p.Pusher != "octocat" || p.Truncated {
		t.Errorf("push = %+v", d.Normal)
	}
}

// 10,000 forged requests: none is accepted, and a forger learns nothing from the answer.
func TestWebhookForged(t *testing.T) {
	var log bytes.Buffer
	h, m, r := newTestWebhook(t, func(o *WebhookOptions) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	rnd := rand.New(rand.NewPCG(1, 2))
	body := []byte(pushBody)
	good := sign(testSecret, body)
	forge := []func(http.Header){
		func(head http.Header) { // random
			b := make([]byte, 32)
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			head.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(b))
		},
		func(head http.Header) { head.Set("X-Hub-Signature-256", good[:rnd.IntN(len(good))]) },          // truncated
		func(head http.Header) { head.Set("X-Hub-Signature-256", "sha256="+strings.ToUpper(good[7:])) }, // upper case
		func(head http.Header) { // sha1 under its own and under the new name
			mac := hmac.New(sha1.New, []byte(testSecret))
			mac.Write(body)
			sig := "sha1=" + hex.EncodeToString(mac.Sum(nil))
			head.Del("X-Hub-Signature-256")
			head.Set("X-Hub-Signature", sig)
			if rnd.IntN(2) == 0 {
				head.Set("X-Hub-Signature-256", sig)
			}
		},
		func(head http.Header) { head.Set("X-Hub-Signature-256", "") },
		func(head http.Header) { head.Del("X-Hub-Signature-256") },
		func(head http.Header) { head["X-Hub-Signature-256"] = []string{good, good} },
		func(head http.Header) { head.Set("X-Hub-Signature-256", good+","+good) },
		func(head http.Header) { head.Set("X-Hub-Signature-256", sign("wrong secret", body)) },
		func(head http.Header) { head.Set("X-Hub-Signature-256", sign("", body)) },
		func(head http.Header) {
			head.Set("X-Hub-Signature-256", sign(testSecret, append([]byte{' '}, body...)))
		},
		func(head http.Header) { head.Set("X-Hub-Signature-256", good[7:]) },
		func(head http.Header) { head.Set("X-Hub-Signature-256", " "+good) },
		func(head http.Header) { head.Set("X-Hub-Signature-256", good+"\n") },
		func(head http.Header) { // one bit of the right one
			b := []byte(good)
			i := 7 + rnd.IntN(64)
			b[i] = "0123456789abcdef"[(strings.IndexByte("0123456789abcdef", b[i])+1)%16]
			head.Set("X-Hub-Signature-256", string(b))
		},
	}
	const n = 10_000
	for i := range n {
		req := request("push", fmt.Sprintf("forged-%d", i), body)
		forge[i%len(forge)](req.Header)
		w := serve(h, req)
		if w.Code != http.StatusUnauthorized || w.Body.String() != refusedBody || len(w.Header()) != 2 {
			t.Fatalf("request %d (%v): answer %d %q %v", i, req.Header["X-Hub-Signature-256"], w.Code, w.Body, w.Header())
		}
	}
	if len(m.got) != 0 {
		t.Errorf("%d forged deliveries were stored", len(m.got))
	}
	if len(r.got) != n {
		t.Errorf("%d security events for %d refusals", len(r.got), n)
	}
	if strings.Contains(log.String(), "CANARY") || strings.Contains(fmt.Sprintf("%+v", r.got), "CANARY") {
		t.Error("the body reached a log or an event")
	}
}

// Comparing is hmac.Equal and nothing else: this holds the construction in place.
func TestWebhookComparesInConstantTime(t *testing.T) {
	src, err := os.ReadFile("webhook.go")
	if err != nil {
		t.Fatal(err)
	}
	text := string(src)
	start := strings.Index(text, "func (h *Webhook) signed(")
	if start < 0 {
		t.Fatal("signed is gone")
	}
	body := text[start : start+strings.Index(text[start:], "\n}\n")]
	if strings.Count(body, "hmac.Equal(") != 1 {
		t.Error("signed does not compare with hmac.Equal")
	}
	for _, bad := range []string{"bytes.Equal", "==", "return true", "break"} {
		if strings.Contains(body, bad) {
			t.Errorf("signed holds %q: it would answer sooner for some secrets", bad)
		}
	}
}

func TestWebhookRotation(t *testing.T) {
	h, m, _ := newTestWebhook(t, func(o *WebhookOptions) {
		o.Secrets = []secret.Value{secret.New("the new secret"), secret.New(testSecret)}
	})
	for i, key := range []string{testSecret, "the new secret"} {
		body := []byte(strings.Replace(pushBody, `"id":42`, fmt.Sprintf(`"id":%d`, 42+i), 1))
		r := request("push", fmt.Sprintf("guid-%d", i), body)
		r.Header.Set("X-Hub-Signature-256", sign(key, body))
		if w := serve(h, r); w.Code != http.StatusAccepted {
			t.Errorf("secret %d: %d", i, w.Code)
		}
	}
	if len(m.got) != 2 {
		t.Errorf("stored %d", len(m.got))
	}
}

func TestWebhookNeedsSecret(t *testing.T) {
	for _, s := range [][]secret.Value{nil, {}, {secret.New("")}, {secret.New("x"), {}}} {
		_, err := NewWebhook(WebhookOptions{Secrets: s, Intake: &memory{}})
		if err == nil {
			t.Errorf("accepted %d secrets, one of them empty", len(s))
		}
	}
}

// A redelivery has the same id; an attacker's replay has a new one, or another
// event's name. Both change nothing.
func TestWebhookReplay(t *testing.T) {
	h, m, r := newTestWebhook(t, nil)
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			guid := "same"
			if i%2 == 0 {
				guid = fmt.Sprintf("new-%d", i)
			}
			if w := serve(h, request("push", guid, []byte(pushBody))); w.Code != http.StatusAccepted || w.Body.String() != "accepted\n" {
				t.Errorf("answer %d %q", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if len(m.got) != 1 {
		t.Errorf("stored %d", len(m.got))
	}
	for _, event := range []string{"public", "installation", "installation_repositories", "secret_scanning_alert", "ping"} {
		if w := serve(h, request(event, "other", []byte(pushBody))); w.Code != http.StatusBadRequest || r.last().Reason != ReasonPayload {
			t.Errorf("a push body as %s: %d, %+v", event, w.Code, r.last())
		}
	}
}

func TestWebhookRefusals(t *testing.T) {
	big := bytes.Repeat([]byte(" "), 2000)
	tests := []struct {
		name   string
		status int
		reason Reason
		change func(*http.Request)
		body   []byte
	}{
		{"GET", 405, ReasonMethod, func(r *http.Request) { r.Method = "GET" }, nil},
		{"form", 415, ReasonContentType, func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }, nil},
		{"no type", 415, ReasonContentType, func(r *http.Request) { r.Header.Del("Content-Type") }, nil},
		{"two types", 415, ReasonContentType, func(r *http.Request) { r.Header.Add("Content-Type", "application/json") }, nil},
		{"latin-1", 415, ReasonContentType, func(r *http.Request) { r.Header.Set("Content-Type", "application/json; charset=latin1") }, nil},
		{"gzip", 415, ReasonContentEncoding, func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, nil},
		{"identity and gzip", 415, ReasonContentEncoding, func(r *http.Request) {
			r.Header.Add("Content-Encoding", "identity")
			r.Header.Add("Content-Encoding", "gzip")
		}, nil},
		{"declared too large", 413, ReasonTooLarge, func(r *http.Request) { r.ContentLength = 1 << 40 }, nil},
		{"too large", 413, ReasonTooLarge, nil, big},
		{"too large, chunked", 413, ReasonTooLarge, func(r *http.Request) { r.ContentLength = -1 }, big},
		{"no event", 400, ReasonHeaders, func(r *http.Request) { r.Header.Del("X-GitHub-Event") }, nil},
		{"event form", 400, ReasonHeaders, func(r *http.Request) { r.Header.Set("X-GitHub-Event", "push\x1b[31m") }, nil},
		{"no delivery", 400, ReasonHeaders, func(r *http.Request) { r.Header.Del("X-GitHub-Delivery") }, nil},
		{"long delivery", 400, ReasonHeaders, func(r *http.Request) { r.Header.Set("X-GitHub-Delivery", strings.Repeat("a", 65)) }, nil},
		{"two deliveries", 400, ReasonHeaders, func(r *http.Request) { r.Header.Add("X-GitHub-Delivery", "b") }, nil},
		{"not JSON", 400, ReasonJSON, nil, []byte("hello")},
		{"empty", 400, ReasonJSON, nil, []byte{}},
		{"deep", 400, ReasonJSON, nil, []byte(strings.Repeat("[", 1900))},
		{"duplicate", 400, ReasonJSON, nil, []byte(`{"ref":"a","ref":"b"}`)},
		{"array", 400, ReasonPayload, nil, []byte(`[]`)},
		{"no repository", 400, ReasonPayload, nil, []byte(`{"ref":"refs/heads/a","before":"` + strings.Repeat("1", 40) + `","after":"` + strings.Repeat("2", 40) + `"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, m, refused := newTestWebhook(t, func(o *WebhookOptions) { o.MaxBytes = 1950 })
			body := tt.body
			if body == nil {
				body = []byte(pushBody)
			}
			r := request("push", "guid", body)
			if tt.change != nil {
				tt.change(r)
			}
			w := serve(h, r)
			if w.Code != tt.status || w.Body.String() != refusedBody {
				t.Errorf("answer %d %q", w.Code, w.Body)
			}
			if got := refused.last(); got.Reason != tt.reason || got.Status != tt.status || got.SourceIP != "192.0.2.1" {
				t.Errorf("event %+v", got)
			}
			if len(m.got) != 0 {
				t.Error("stored")
			}
		})
	}
}

func TestWebhookAcceptsCharset(t *testing.T) {
	h, m, _ := newTestWebhook(t, nil)
	r := request("push", "guid", []byte(pushBody))
	r.Header.Set("Content-Type", "application/json; charset=UTF-8")
	r.Header.Set("Content-Encoding", "identity")
	if w := serve(h, r); w.Code != http.StatusAccepted || len(m.got) != 1 {
		t.Errorf("answer %d", w.Code)
	}
}

func TestWebhookUnknownEvents(t *testing.T) {
	var answers []Answer
	h, m, _ := newTestWebhook(t, func(o *WebhookOptions) { o.Answered = func(a Answer) { answers = append(answers, a) } })
	for _, event := range []string{"issues", "sub_issues", "projects_v2_item", "secret_scanning_alert_location", "a_brand_new_event"} {
		for _, body := range []string{`{"a":1,"a":2}`, `null`, `not even JSON`} {
			if w := serve(h, request(event, "guid", []byte(body))); w.Code != http.StatusAccepted {
				t.Errorf("%s: %d", event, w.Code)
			}
		}
	}
	if len(m.got) != 0 || len(answers) != 15 || answers[0].Result != "ignored" || answers[0].Event != "other" {
		t.Errorf("stored %d, answers %+v", len(m.got), answers)
	}
}

func TestWebhookIntakeFails(t *testing.T) {
	h, m, _ := newTestWebhook(t, nil)
	m.err = errors.New("disk full")
	w := serve(h, request("push", "guid", []byte(pushBody)))
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "disk") {
		t.Errorf("answer %d %q", w.Code, w.Body)
	}
	m.err = nil
	if w := serve(h, request("push", "guid", []byte(pushBody))); w.Code != http.StatusAccepted || len(m.got) != 1 {
		t.Errorf("redelivery after a failure: %d", w.Code)
	}
}

// The sender's going away does not cancel the intake.
func TestWebhookIntakeContext(t *testing.T) {
	var intakeErr error
	h, _, _ := newTestWebhook(t, func(o *WebhookOptions) {
		o.Intake = intakeFunc(func(ctx context.Context, _ Delivery) (bool, error) {
			intakeErr = ctx.Err()
			if _, ok := ctx.Deadline(); !ok {
				t.Error("no deadline")
			}
			return true, nil
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	serve(h, request("push", "guid", []byte(pushBody)).WithContext(ctx))
	if intakeErr != nil {
		t.Errorf("intake saw %v", intakeErr)
	}
}

type intakeFunc func(context.Context, Delivery) (bool, error)

func (f intakeFunc) Accept(ctx context.Context, d Delivery) (bool, error) { return f(ctx, d) }

func TestWebhookSourceIP(t *testing.T) {
	h, _, _ := newTestWebhook(t, func(o *WebhookOptions) {
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	tests := []struct{ remote, forwarded, want string }{
		{"192.0.2.9:1", "203.0.113.5", "192.0.2.9"},
		{"10.0.0.1:1", "203.0.113.5", "203.0.113.5"},
		{"10.0.0.1:1", "1.1.1.1, 203.0.113.5, 10.9.9.9", "203.0.113.5"},
		{"10.0.0.1:1", "1.1.1.1, <script>, 10.9.9.9", "10.9.9.9"},
		{"10.0.0.1:1", "", "10.0.0.1"},
		{"[::1]:1", "2001:db8::1", "2001:db8::1"},
		{"[::ffff:10.0.0.1]:1", "203.0.113.5", "203.0.113.5"},
		{"@", "203.0.113.5", ""},
	}
	for _, tt := range tests {
		r := request("push", "guid", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		if got := h.sourceIP(r); got != tt.want {
			t.Errorf("%+v: got %s", tt, got)
		}
	}
}

// zeros is an endless stream that counts what was taken.
type zeros struct{ n atomic.Int64 }

func (z *zeros) Read(p []byte) (int, error) {
	clear(p)
	z.n.Add(int64(len(p)))
	return len(p), nil
}

// A stream of 10 GB is cut at the limit, and memory stays bounded.
func TestWebhookEndlessStream(t *testing.T) {
	h, m, refused := newTestWebhook(t, nil)
	srv := httptest.NewServer(h)
	defer srv.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	z := &zeros{}
	req, err := http.NewRequest(http.MethodPost, srv.URL, io.LimitReader(z, 10<<30))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = request("push", "guid", nil).Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("answer %d", resp.StatusCode)
		}
		resp.Body.Close()
	}
	runtime.ReadMemStats(&after)
	if got := refused.last().Reason; got != ReasonTooLarge {
		t.Errorf("reason %s", got)
	}
	if sent := z.n.Load(); sent > 40<<20 {
		t.Errorf("%d bytes were sent before the cut", sent)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("heap grew by %d MB", grown>>20)
	}
	if len(m.got) != 0 {
		t.Error("stored")
	}
}

// heldBody gives n zero bytes, then says so and waits.
type heldBody struct {
	n             int
	here, release chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.n == 0 {
		close(b.here)
		<-b.release
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), b.n)
	b.n -= n
	return n, nil
}

// Many large bodies at once share one budget; small ones go on being answered.
func TestWebhookBodyBudget(t *testing.T) {
	h, _, refused := newTestWebhook(t, func(o *WebhookOptions) { o.MaxBuffered = 3 << 19 })
	// 300 KiB of a body: its buffer of 1 MiB leaves 0.5 MiB of the budget.
	held := &heldBody{n: 300 << 10, here: make(chan struct{}), release: make(chan struct{})}
	r := request("push", "guid", nil)
	r.Body, r.ContentLength = io.NopCloser(held), -1
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(h, r)
	}()
	<-held.here
	large := append([]byte(pushBody), bytes.Repeat([]byte(" "), 600<<10)...)
	if w := serve(h, request("push", "a", large)); w.Code != http.StatusServiceUnavailable || refused.last().Reason != ReasonBusy {
		t.Errorf("a large body beside another: %d", w.Code)
	}
	if w := serve(h, request("push", "b", []byte(pushBody))); w.Code != http.StatusAccepted {
		t.Errorf("a small body beside a large one: %d", w.Code)
	}
	close(held.release)
	<-done
	if refused.last().Reason != ReasonBrokenBody {
		t.Errorf("the body that broke off: %+v", refused.last())
	}
	if w := serve(h, request("push", "c", large)); w.Code != http.StatusAccepted {
		t.Errorf("a large body after the other: %d", w.Code)
	}
	if !h.budget.TryAcquire(3 << 19) {
		t.Error("some of the budget was not given back")
	}
}

// One byte a second is cut at the deadline, and others are served meanwhile.
func TestWebhookSlowloris(t *testing.T) {
	h, m, refused := newTestWebhook(t, func(o *WebhookOptions) { o.BodyTimeout = time.Second })
	srv := httptest.NewServer(h)
	defer srv.Close()
	const n = 50
	var wg sync.WaitGroup
	began := time.Now()
	for range n {
		wg.Go(func() {
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature-256: %s\r\nContent-Length: 1000\r\n\r\n{", sign(testSecret, nil))
			b, _ := io.ReadAll(conn)
			if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || !strings.HasSuffix(string(b), refusedBody) {
				t.Errorf("answer %.80q", b)
			}
		})
	}
	body := []byte(pushBody)
	req, err := http.NewRequest(http.MethodPost, srv.URL, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = request("push", "guid", body).Header
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted || len(m.got) != 1 {
		t.Errorf("beside slow senders: %d", resp.StatusCode)
	}
	wg.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if len(refused.got) != n || refused.last().Reason != ReasonSlowBody {
		t.Errorf("%d refusals, last %+v", len(refused.got), refused.last())
	}
}

func FuzzWebhookBody(f *testing.F) {
	f.Add("push", "guid", []byte(pushBody), true)
	f.Add("ping", "a-b", []byte(`{"hook_id":1}`), true)
	f.Add("x", "", []byte(`{`), false)
	h, m, _ := newTestWebhook(f, nil)
	f.Fuzz(func(t *testing.T, event, guid string, body []byte, signed bool) {
		r := request("push", "x", body)
		r.Header.Set("X-GitHub-Event", event)
		r.Header.Set("X-GitHub-Delivery", guid)
		if !signed {
			r.Header.Set("X-Hub-Signature-256", sign("not it", body))
		}
		before := len(m.got)
		w := serve(h, r)
		if !signed && w.Code != http.StatusUnauthorized {
			t.Fatalf("unsigned: %d", w.Code)
		}
		if len(m.got) > before && w.Code != http.StatusAccepted {
			t.Fatalf("stored and answered %d", w.Code)
		}
		if w.Code >= 500 {
			t.Fatalf("answer %d", w.Code)
		}
	})
}

func BenchmarkWebhook(b *testing.B) {
	h, err := NewWebhook(WebhookOptions{
		Secrets: []secret.Value{secret.New(testSecret)},
		Intake:  intakeFunc(func(context.Context, Delivery) (bool, error) { return true, nil }),
	})
	if err != nil {
		b.Fatal(err)
	}
	// About 8 kB, as a usual push of one commit has.
	body := append([]byte(pushBody[:len(pushBody)-1]), []byte(`,"padding":"`+strings.Repeat("x", 6500)+`"}`)...)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		w := serve(h, request("push", "guid", body))
		if w.Code != http.StatusAccepted {
			b.Fatal(w.Code)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}

// TestOversizeIsAnsweredWhileStillSent shows that a sender which writes its whole
// body before it reads hears why it was refused.
func TestOversizeIsAnsweredWhileStillSent(t *testing.T) {
	h, _, _ := newTestWebhook(t, nil)
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, declared := range []bool{true, false} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		head := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature-256: sha256=" + strings.Repeat("0", 64) + "\r\n"
		size := MaxPayload + 4<<20
		if declared {
			_, err = fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n", head, size)
		} else {
			_, err = fmt.Fprintf(conn, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n", head, size)
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = conn.Write(make([]byte, size))
		if err != nil {
			t.Fatalf("declared %v: the body was cut off: %v", declared, err)
		}
		if !declared {
			_, _ = io.WriteString(conn, "\r\n0\r\n\r\n") // the answer may be complete by now
		}
		answer, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 413 ") {
			t.Fatalf("declared %v: answer %.40q, %v", declared, answer, err)
		}
		conn.Close()
	}
}
