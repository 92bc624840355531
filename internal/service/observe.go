package service

import (
	"context"
	"log/slog"
	"time"

	"stanch/internal/store"
	"stanch/internal/telemetry"
	"stanch/responder/incident"
)

// Change is one line of the live timeline.
type Change struct {
	At       time.Time
	Incident incident.Incident
	What     string // the step, decision or event
}

// observer turns what happens to incidents into metrics, log lines and the live
// timeline.
type observer struct {
	metrics *telemetry.Metrics
	log     *slog.Logger
	watch   func(Change)
}

// Changed implements [responder.Observer].
func (o *observer) Changed(i incident.Incident, what string) {
	if o.watch != nil {
		o.watch(Change{At: time.Now(), Incident: i, What: what})
	}
}

// Step implements [responder.Observer].
func (o *observer) Step(i incident.Incident, step, result string, took time.Duration) {
	o.metrics.Step(step, result)
	o.log.Info("step ended", "incident", i.ID, "step", step, "result", result, "state", string(i.State), "took_ms", took.Milliseconds())
	if result != "done" {
		return
	}
	switch step {
	case "identify":
		o.metrics.PushToVerdict(i.VerdictAt.Sub(i.ReceivedAt))
	case "prove":
		o.metrics.PushToContained(i.ContainedAt.Sub(i.ReceivedAt))
		o.metrics.ContainedToProved(i.ProvedAt.Sub(i.ContainedAt))
	}
}

// Requests implements [responder.Observer].
func (o *observer) Requests(provider string, rs []incident.Request) {
	for _, r := range rs {
		o.metrics.ProviderRequest(provider, requestResult(r))
	}
}

func requestResult(r incident.Request) string {
	switch {
	case r.Status == 0:
		return "timeout"
	case r.Status == 429 || r.Error == "Throttling" || r.Error == "ThrottlingException":
		return "throttled"
	case r.Status >= 500:
		return "error"
	case r.Status >= 400:
		return "refused"
	}
	return "ok"
}

// gauges reads what /metrics shows of the database.
func (s *Service) gauges(ctx context.Context) (telemetry.Gauges, error) {
	g := telemetry.Gauges{IncidentsOpen: map[string]int{}, QueueDepth: map[string]int{}, QueueOldest: map[string]time.Duration{}, CheckpointAge: -1}
	depths, err := s.Jobs.Depths(ctx, s.Now())
	if err != nil {
		return g, err
	}
	for q, d := range depths {
		g.QueueDepth[q], g.QueueOldest[q] = int(d.Due), d.Oldest
	}
	err = s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		states, err := tx.IncidentStates(ctx)
		if err != nil {
			return err
		}
		for name, n := range states {
			if !incident.State(name).Final() {
				g.IncidentsOpen[name] = int(n)
			}
		}
		var at time.Time
		g.LedgerSize, at, err = ledgerSize(ctx, tx)
		if !at.IsZero() {
			g.CheckpointAge = s.Now().Sub(at)
		}
		return err
	})
	return g, err
}

// panicked makes a security event of a handler that crashed.
func (s *Service) panicked(ctx context.Context, kind string, value any, trace string) {
	s.Security.Event(ctx, telemetry.SecurityEvent{Event: telemetry.SysCrash, Outcome: "failure", Object: kind, Reason: "a handler panicked"})
	s.Log.ErrorContext(ctx, "handler panicked", "kind", kind, "trace", trace)
}

// parked tells of a job that was given up.
func (s *Service) parked(ctx context.Context, kind string, args []byte, err error) {
	s.Log.ErrorContext(ctx, "job given up", "kind", kind, "args", string(args), "error", err)
}
