package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	checkTimeout = 2 * time.Second // for all checks of one answer together
	checkCache   = time.Second     // how long an answer is used again
)

// Check answers nil when the thing that it watches works. It must heed ctx.
type Check func(ctx context.Context) error

// Health answers whether the process lives and whether it can take work. The
// answers name the checks and nothing else: why one failed is in the log.
type Health struct {
	log      *slog.Logger
	now      func() time.Time
	stopping atomic.Bool
	live     probe
	ready    probe
}

// NewHealth writes to log why a check failed.
func NewHealth(log *slog.Logger) *Health {
	return &Health{log: log, now: time.Now}
}

// Live adds a check to /healthz. Let it fail only for what a restart mends.
func (h *Health) Live(name string, c Check) { h.live.add(name, c) }

// Ready adds a check to /readyz.
func (h *Health) Ready(name string, c Check) { h.ready.add(name, c) }

// Stop makes /readyz answer 503 from now on, so that no new work comes.
func (h *Health) Stop() { h.stopping.Store(true) }

// Healthz serves liveness: 200, or 503 when a check fails.
func (h *Health) Healthz() http.Handler { return h.serve(&h.live, false) }

// Readyz serves readiness: 200, or 503 when a check fails or we are stopping.
func (h *Health) Readyz() http.Handler { return h.serve(&h.ready, true) }

// answer is the body of both.
type answer struct {
	Status string            `json:"status"` // ok, failing, stopping
	Checks map[string]string `json:"checks,omitempty"`
}

func (h *Health) serve(p *probe, heedsStop bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		a := p.run(h)
		if heedsStop && h.stopping.Load() {
			a.Status = "stopping"
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if a.Status != "ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(a) // the caller has left
	})
}

// ErrStarting is what a check answers of that which has yet to start: not
// ready, and nothing that anyone must look at.
var ErrStarting = errors.New("starting")

// probe is a set of checks and its last answer. One caller at a time asks; the
// others wait and share the answer, so that a flood costs one check a second.
type probe struct {
	mu     sync.Mutex
	names  []string
	checks []Check
	last   answer
	at     time.Time
}

func (p *probe) add(name string, c Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names, p.checks = append(p.names, name), append(p.checks, c)
	p.at = time.Time{}
}

func (p *probe) run(h *Health) answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() && h.now().Sub(p.at) < checkCache {
		return p.last
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	errs := make([]error, len(p.checks))
	var wg sync.WaitGroup
	for i, c := range p.checks {
		wg.Go(func() { errs[i] = ask(ctx, c) })
	}
	wg.Wait()
	a := answer{Status: "ok"}
	for i, err := range errs {
		if a.Checks == nil {
			a.Checks = make(map[string]string, len(errs))
		}
		a.Checks[p.names[i]] = "ok"
		if err != nil {
			a.Status, a.Checks[p.names[i]] = "failing", "failing"
			if errors.Is(err, ErrStarting) {
				h.log.Info("not ready yet", "check", p.names[i])
				continue
			}
			h.log.Error("health check failed", "check", p.names[i], "error", err)
		}
	}
	p.last, p.at = a, h.now()
	return a
}

// ask runs a check that may not heed its context.
func ask(ctx context.Context, c Check) error {
	done := make(chan error, 1)
	go func() { done <- c(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
