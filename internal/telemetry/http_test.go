package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	clock := time.Unix(1000, 0)
	h := NewHealth(NewLogger(&log, "info", "json"))
	h.now = func() time.Time { return clock }
	calls := 0
	var broken error
	h.Ready("database", func(context.Context) error { calls++; return broken })
	if w := get(h.Readyz(), "/readyz"); w.Code != 200 || w.Body.String() != `{"status":"ok","checks":{"database":"ok"}}`+"\n" {
		t.Errorf("ready: %d %s", w.Code, w.Body)
	}
	broken = errors.New("dial tcp 10.1.2.3:5432: refused")
	if w := get(h.Readyz(), "/readyz"); w.Code != 200 || calls != 1 {
		t.Errorf("within a second: %d after %d calls, want the kept answer", w.Code, calls)
	}
	clock = clock.Add(2 * time.Second)
	w := get(h.Readyz(), "/readyz")
	if w.Code != 503 || strings.Contains(w.Body.String(), "10.1.2.3") || !strings.Contains(log.String(), "10.1.2.3") {
		t.Errorf("broken: %d %s; log %s", w.Code, w.Body, log.String())
	}
	if w := get(h.Healthz(), "/healthz"); w.Code != 200 {
		t.Errorf("alive: %d", w.Code)
	}
	broken = ErrStarting
	clock = clock.Add(2 * time.Second)
	log.Reset()
	if w := get(h.Readyz(), "/readyz"); w.Code != 503 || strings.Contains(log.String(), "ERROR") || !strings.Contains(log.String(), "not ready yet") {
		t.Errorf("starting: %d %s; log %s", w.Code, w.Body, log.String())
	}
	broken = nil
	clock = clock.Add(2 * time.Second)
	h.Stop()
	if w := get(h.Readyz(), "/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "stopping") {
		t.Errorf("stopping: %d %s", w.Code, w.Body)
	}
	if w := get(h.Healthz(), "/healthz"); w.Code != 200 {
		t.Errorf("alive while stopping: %d", w.Code)
	}
	post := httptest.NewRecorder()
	h.Healthz().ServeHTTP(post, httptest.NewRequest("POST", "/healthz", nil))
	if post.Code != 405 {
		t.Errorf("POST: %d", post.Code)
	}
}

func TestHealth_HangingCheckFailsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth(slog.New(slog.DiscardHandler))
		release := make(chan struct{})
		h.Live("stuck", func(context.Context) error { <-release; return nil })
		start := time.Now()
		w := get(h.Healthz(), "/healthz")
		if w.Code != 503 || time.Since(start) != checkTimeout {
			t.Errorf("%d after %v, want 503 after %v", w.Code, time.Since(start), checkTimeout)
		}
		close(release)
	})
}

func TestMiddleware_AccessLine(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things/{id}", func(w http.ResponseWriter, r *http.Request) {
		if field(r.Context(), KeyRequest) == "" {
			t.Error("no request id in the context")
		}
		w.WriteHeader(201)
		_, _ = io.WriteString(w, "12345")
	})
	h := Middleware{Log: NewLogger(&out, "info", "json"), Quiet: map[string]bool{"/healthz": true}}.Wrap(mux)
	r := httptest.NewRequest("GET", "/things/a%0Ab?code=verysecretcode", nil)
	r.Header.Set("User-Agent", "x\u202e\x1b[31m")
	r.Header.Set(RequestHeader, "forged")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	id := w.Header().Get(RequestHeader)
	if id == "" || id == "forged" {
		t.Errorf("request id = %q", id)
	}
	checkLine(t, "access", out.Bytes())
	var line map[string]any
	err := json.Unmarshal(out.Bytes(), &line)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"status": 201.0, "bytes": 5.0, "route": "GET /things/{id}", "request_id": id, "source_ip": "192.0.2.1"} {
		if line[key] != want {
			t.Errorf("%s = %v, want %v", key, line[key], want)
		}
	}
	if strings.Contains(out.String(), "verysecretcode") {
		t.Error("the query was logged")
	}
	out.Reset()
	get(h, "/healthz")
	if out.Len() != 0 {
		t.Errorf("a quiet path was logged: %s", out.String())
	}
}

func TestMiddleware_Panic(t *testing.T) {
	t.Parallel()
	var log, audit bytes.Buffer
	canary := "ghp_" + strings.Repeat("a1B2", 9)
	h := Middleware{Log: NewLogger(&log, "info", "json"), Security: NewSecurity(&audit, nil)}.Wrap(
		http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("internals " + canary) }))
	w := get(h, "/x")
	if w.Code != 500 || strings.Contains(w.Body.String(), "internals") || !strings.Contains(w.Body.String(), w.Header().Get(RequestHeader)) {
		t.Errorf("answer: %d %s", w.Code, w.Body)
	}
	if !strings.Contains(audit.String(), `"event":"sys_crash"`) || !strings.Contains(log.String(), "internals") || !strings.Contains(log.String(), `"status":500`) {
		t.Errorf("log %s\naudit %s", log.String(), audit.String())
	}
	if strings.Contains(log.String()+audit.String(), canary) {
		t.Error("the canary was logged")
	}
}

func TestMiddleware_PanicInTheMiddleCutsTheAnswer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(Middleware{Log: slog.New(slog.DiscardHandler)}.Wrap(
		http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
			panic("late")
		})))
	srv.Start()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("a broken answer looked whole")
	}
	srv.Client().CloseIdleConnections()
}

func TestAdminMux(t *testing.T) {
	t.Parallel()
	m, h := NewMetrics(), NewHealth(slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/": 404, "/other": 404} {
		if w := get(NewAdminMux(m, h, false), path); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	if w := get(NewAdminMux(m, h, true), "/debug/pprof/"); w.Code != 200 {
		t.Errorf("pprof: %d", w.Code)
	}
}
