package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
)

// Middleware gives every request an id, turns a panic into a plain 500 and a
// security event, and writes one access line.
type Middleware struct {
	// Log takes the access lines. Required.
	Log *slog.Logger
	// Security takes crashes; nil drops them.
	Security *Security
	// SourceIP tells where a request comes from. Defaults to the peer's address:
	// no header is believed without knowledge of the proxies.
	SourceIP func(*http.Request) string
	// Quiet paths are logged at debug level (probes, scrapes).
	Quiet map[string]bool
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// RequestHeader carries our id of a request in the answer. The same header of a
// request is not believed.
const RequestHeader = "X-Request-Id"

// Wrap serves next within the middleware.
func (m Middleware) Wrap(next http.Handler) http.Handler {
	if m.SourceIP == nil {
		m.SourceIP = PeerIP
	}
	if m.Now == nil {
		m.Now = time.Now
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := uuid.NewString()
		ctx := With(r.Context(), slog.String(KeyRequest, id))
		w.Header().Set(RequestHeader, id)
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(ctx)
		start := m.Now()
		defer func() {
			p := recover()
			if p != nil {
				m.crashed(ctx, rec, r, id, p)
			}
			m.access(ctx, rec, r, m.Now().Sub(start))
			if p != nil && (isAbort(p) || rec.started) {
				panic(http.ErrAbortHandler) // the answer is incomplete: cut the connection
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

func isAbort(p any) bool {
	err, ok := p.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// crashed records a panic. Its value and stack go to the log, scrubbed; the
// caller gets the request id alone.
func (m Middleware) crashed(ctx context.Context, rec *recorder, r *http.Request, id string, p any) {
	if isAbort(p) {
		return
	}
	m.Log.ErrorContext(ctx, "handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	m.Security.Event(ctx, SecurityEvent{
		Event: SysCrash, Outcome: "failure", Reason: "handler panicked", SourceIP: m.SourceIP(r),
		Object: r.Method + " " + route(r),
	})
	if rec.wrote {
		rec.started = true
		return
	}
	rec.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rec.WriteHeader(http.StatusInternalServerError)
	_, _ = fmt.Fprintf(rec, "internal error, request %s\n", id) // the caller may have left
}

func (m Middleware) access(ctx context.Context, rec *recorder, r *http.Request, took time.Duration) {
	level := slog.LevelInfo
	if m.Quiet[r.URL.Path] {
		level = slog.LevelDebug
	}
	// The query is left out: it may hold codes and tokens.
	m.Log.LogAttrs(ctx, level, "request",
		slog.String("method", r.Method), slog.String("route", route(r)), slog.String("path", r.URL.Path),
		slog.Int("status", rec.code()), slog.Int64("bytes", rec.bytes),
		slog.Float64("seconds", took.Seconds()), slog.String("source_ip", m.SourceIP(r)),
		slog.String("user_agent", r.UserAgent()))
}

// route is the pattern that matched, which a caller does not choose.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	return r.Pattern
}

// PeerIP is the address of the connection's other end.
func PeerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status  int
	bytes   int64
	wrote   bool
	started bool // a panic came after the answer had begun
}

func (r *recorder) WriteHeader(status int) {
	if status >= 200 && !r.wrote {
		r.status, r.wrote = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if !r.wrote {
		r.status, r.wrote = http.StatusOK, true
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// NewAdminMux serves /metrics, /healthz and /readyz, and with profiles also
// /debug/pprof/. Serve it on a loopback or cluster-internal address only: it asks
// for no credentials.
func NewAdminMux(m *Metrics, h *Health, profiles bool) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	mux.Handle("/healthz", h.Healthz())
	mux.Handle("/readyz", h.Readyz())
	if profiles {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}
