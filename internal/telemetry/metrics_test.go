package telemetry

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("scrape: %d %s", w.Code, w.Body.String())
	}
	return w.Body.String()
}

// full is a Metrics in which every metric has a value.
func full() *Metrics {
	m := NewMetrics()
	m.Ack(40 * time.Millisecond)
	m.Delivery("push", "accepted")
	m.DeliveryRefused("signature")
	m.PushScanned(300 * time.Millisecond)
	m.PushToVerdict(time.Second)
	m.PushToContained(2 * time.Second)
	m.ContainedToProved(4 * time.Second)
	m.Step("contain/deactivate", "done")
	m.ProviderRequest("aws", "throttled")
	m.securityEvent(AuthzFail, true)
	m.Feed(func(context.Context) (Gauges, error) {
		return Gauges{
			IncidentsOpen: map[string]int{"contained": 2, "Not A Word": 1, "also not": 4}, QueueDepth: map[string]int{"default": 7},
			QueueOldest: map[string]time.Duration{"default": 3 * time.Second}, LedgerSize: 12, CheckpointAge: 5 * time.Second,
			BreakerOpen: map[string]bool{"aws": true, "github": false},
		}, nil
	})
	return m
}

func TestMetrics_Values(t *testing.T) {
	t.Parallel()
	got := scrape(t, full())
	for _, want := range []string{
		`stanch_webhook_ack_seconds_bucket{le="0.05"} 1`, `stanch_webhook_ack_seconds_bucket{le="0.025"} 0`,
		`stanch_deliveries_total{event="push",result="accepted"} 1`, `stanch_deliveries_refused_total{reason="signature"} 1`,
		`stanch_push_scan_seconds_count 1`, `stanch_push_to_verdict_seconds_sum 1`, `stanch_push_to_contained_seconds_sum 2`,
		`stanch_contained_to_proved_seconds_sum 4`, `stanch_steps_total{result="done",step="contain"} 1`,
		`stanch_provider_requests_total{provider="aws",result="throttled"} 1`, `stanch_incidents_open{state="contained"} 2`,
		`stanch_incidents_open{state="other"} 5`, `stanch_work_queue_depth{queue="default"} 7`,
		`stanch_work_queue_oldest_age_seconds{queue="default"} 3`, `stanch_ledger_size 12`, `stanch_ledger_checkpoint_age_seconds 5`,
		`stanch_breaker_open{provider="aws"} 1`, `stanch_breaker_open{provider="github"} 0`, `go_goroutines `, `stanch_security_events_lost_total 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestMetrics_EveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	known := map[string]definition{}
	for _, d := range definitions() {
		known[d.full()] = d
	}
	families, err := full().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "stanch_") {
			continue
		}
		seen++
		d, ok := known[f.GetName()]
		if !ok || d.help != f.GetHelp() || !strings.EqualFold(d.kind, f.GetType().String()) {
			t.Errorf("%s (%s) is not documented as it is", f.GetName(), f.GetType())
		}
	}
	if seen != len(known) {
		t.Errorf("%d metrics exist, %d are documented", seen, len(known))
	}
}

func TestMetrics_LabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	for i := range 10_000 {
		m.Delivery(fmt.Sprintf("event_%d", i), "ok")
		m.ProviderRequest("\n\x1b"+fmt.Sprint(i), strings.Repeat("x", i))
	}
	if n := strings.Count(scrape(t, m), "stanch_deliveries_total{"); n != maxLabelValues+1 {
		t.Errorf("%d series, want %d", n, maxLabelValues+1)
	}
}

func TestMetrics_FailingFeedIsCounted(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	m.Feed(func(context.Context) (Gauges, error) { return Gauges{}, errors.New("database is gone") })
	scrape(t, m)
	got := scrape(t, m)
	if !strings.Contains(got, "stanch_gauges_failed_total") || strings.Contains(got, "stanch_ledger_size 0") || strings.Contains(got, "database is gone") {
		t.Errorf("scrape: %s", got)
	}
}

func TestMetrics_NilCountsNothing(t *testing.T) {
	t.Parallel()
	var m *Metrics
	m.Ack(1)
	m.Delivery("push", "x")
	m.DeliveryRefused("x")
	m.PushScanned(1)
	m.PushToVerdict(1)
	m.PushToContained(1)
	m.ContainedToProved(1)
	m.Step("x", "x")
	m.ProviderRequest("x", "x")
}

func TestMetricsTable(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "metrics.md")
	want := MetricsTable()
	if *update {
		err := os.WriteFile(path, []byte(want), 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/metrics.md is stale: run go test ./internal/telemetry -run TestMetricsTable -update")
	}
}
