package telemetry

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// buckets of the promises, in seconds.
var buckets = []float64{0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 60, 120}

// ackBuckets show 50 ms, the promise for the answer to a delivery.
var ackBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// definition is one metric of ours; the table in docs/metrics.md is made of them.
type definition struct {
	name, kind, help string
	labels           []string
	buckets          []float64
}

func (d definition) full() string { return "stanch_" + d.name }

var (
	defAck       = definition{"webhook_ack_seconds", "histogram", "From a delivery's first byte to our answer. Promise: 99 % within 0.05 s.", nil, ackBuckets}
	defDelivery  = definition{"deliveries_total", "counter", "Deliveries with a good signature, by GitHub event and what became of them (accepted, duplicate, replayed, ignored, failed).", []string{"event", "result"}, nil}
	defRefused   = definition{"deliveries_refused_total", "counter", "Deliveries refused at the door, by reason (signature, too_large, malformed ...).", []string{"reason"}, nil}
	defScan      = definition{"push_scan_seconds", "histogram", "Fetch and scan of one push.", nil, buckets}
	defVerdict   = definition{"push_to_verdict_seconds", "histogram", "From a delivery's arrival to the verdict on one of its credentials. Promise: half within 1 s, 99 % within 5 s.", nil, buckets}
	defContained = definition{"push_to_contained_seconds", "histogram", "From a delivery's arrival to the provider's acceptance of the containment. Promise: half within 2 s, 99 % within 10 s.", nil, buckets}
	defProved    = definition{"contained_to_proved_seconds", "histogram", "From containment to proof that the provider refuses the credential. Promise: 99 % within 20 s.", nil, buckets}
	defSteps     = definition{"steps_total", "counter", "Steps of playbooks that ended, by step and result (done, failed, waiting, skipped, retried).", []string{"step", "result"}, nil}
	defRequests  = definition{"provider_requests_total", "counter", "Requests to providers, by provider and result (ok, refused, throttled, error, timeout).", []string{"provider", "result"}, nil}
	defSecurity  = definition{"security_events_total", "counter", "Security events, by name.", []string{"event"}, nil}
	defLost      = definition{"security_events_lost_total", "counter", "Security events that could not be written. Alert on any.", nil, nil}
	defIncidents = definition{"incidents_open", "gauge", "Incidents that are not closed, by state.", []string{"state"}, nil}
	defDepth     = definition{"work_queue_depth", "gauge", "Jobs that wait or run, by queue.", []string{"queue"}, nil}
	defOldest    = definition{"work_queue_oldest_age_seconds", "gauge", "Age of the oldest job that could run and does not, by queue.", []string{"queue"}, nil}
	defLedger    = definition{"ledger_size", "gauge", "Entries in the ledger.", nil, nil}
	defAge       = definition{"ledger_checkpoint_age_seconds", "gauge", "Time since the newest signed checkpoint.", nil, nil}
	defBreaker   = definition{"breaker_open", "gauge", "1 while the breaker of a provider stops acts, else 0.", []string{"provider"}, nil}
	defFeed      = definition{"gauges_failed_total", "counter", "Scrapes at which the gauges above could not be read from the database.", nil, nil}
)

// Metrics holds what we promise as numbers, in a registry of its own. It is safe
// for concurrent use. A nil Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry
	handler  http.Handler

	ack, scan, verdict, contained, proved      prometheus.Histogram
	delivery, refused, steps, request, secEvts *prometheus.CounterVec
	lost, feedFailed                           prometheus.Counter

	mu   sync.Mutex
	seen map[string]map[string]bool // label values that are in use, by metric and label
	feed func(context.Context) (Gauges, error)
}

// Gauges are read from the database at every scrape.
type Gauges struct {
	IncidentsOpen map[string]int           // by state
	QueueDepth    map[string]int           // by queue
	QueueOldest   map[string]time.Duration // by queue
	LedgerSize    int64
	CheckpointAge time.Duration // negative when there is no checkpoint
	BreakerOpen   map[string]bool
}

// NewMetrics makes the registry with our metrics and those of the Go runtime and
// the process.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), seen: make(map[string]map[string]bool)}
	histogram := func(d definition) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: d.full(), Help: d.help, Buckets: d.buckets})
		m.registry.MustRegister(h)
		return h
	}
	counters := func(d definition) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: d.full(), Help: d.help}, d.labels)
		m.registry.MustRegister(c)
		return c
	}
	m.ack, m.scan, m.verdict = histogram(defAck), histogram(defScan), histogram(defVerdict)
	m.contained, m.proved = histogram(defContained), histogram(defProved)
	m.delivery, m.refused, m.steps = counters(defDelivery), counters(defRefused), counters(defSteps)
	m.request, m.secEvts = counters(defRequests), counters(defSecurity)
	m.lost, m.feedFailed = counters(defLost).WithLabelValues(), counters(defFeed).WithLabelValues()
	m.registry.MustRegister(
		fed{m},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return m
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler { return m.handler }

// Feed sets the function that reads the gauges; it is called at every scrape
// with a deadline of two seconds.
func (m *Metrics) Feed(read func(context.Context) (Gauges, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.feed = read
}

// Ack records how long a delivery waited for its answer.
func (m *Metrics) Ack(d time.Duration) {
	if m != nil {
		m.ack.Observe(d.Seconds())
	}
}

// Delivery counts an authentic delivery of a GitHub event.
func (m *Metrics) Delivery(event, result string) {
	if m != nil {
		m.delivery.WithLabelValues(m.bound(defDelivery, "event", event), m.bound(defDelivery, "result", result)).Inc()
	}
}

// DeliveryRefused counts a delivery that was turned away.
func (m *Metrics) DeliveryRefused(reason string) {
	if m != nil {
		m.refused.WithLabelValues(m.bound(defRefused, "reason", reason)).Inc()
	}
}

// PushScanned records the fetch and scan of a push.
func (m *Metrics) PushScanned(d time.Duration) {
	if m != nil {
		m.scan.Observe(d.Seconds())
	}
}

// PushToVerdict records the time from a delivery to a verdict.
func (m *Metrics) PushToVerdict(d time.Duration) {
	if m != nil {
		m.verdict.Observe(d.Seconds())
	}
}

// PushToContained records the time from a delivery to containment.
func (m *Metrics) PushToContained(d time.Duration) {
	if m != nil {
		m.contained.Observe(d.Seconds())
	}
}

// ContainedToProved records the time from containment to its proof.
func (m *Metrics) ContainedToProved(d time.Duration) {
	if m != nil {
		m.proved.Observe(d.Seconds())
	}
}

// Step counts a step of a playbook that ended. The part of a name behind a
// slash ("contain/deactivate") is left out.
func (m *Metrics) Step(name, result string) {
	if m != nil {
		name, _, _ = strings.Cut(name, "/")
		m.steps.WithLabelValues(m.bound(defSteps, "step", name), m.bound(defSteps, "result", result)).Inc()
	}
}

// ProviderRequest counts a request to a provider.
func (m *Metrics) ProviderRequest(provider, result string) {
	if m != nil {
		m.request.WithLabelValues(m.bound(defRequests, "provider", provider), m.bound(defRequests, "result", result)).Inc()
	}
}

func (m *Metrics) securityEvent(event string, lost bool) {
	if m == nil {
		return
	}
	m.secEvts.WithLabelValues(event).Inc()
	if lost {
		m.lost.Inc()
	}
}

// maxLabelValues bounds the series of one label; label values may come from
// outside.
const maxLabelValues = 64

// bound gives value, or "other" when it is no plain word or one too many.
func (m *Metrics) bound(d definition, label, value string) string {
	if !word(value) {
		return "other"
	}
	key := d.name + "/" + label
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[key] == nil {
		m.seen[key] = make(map[string]bool)
	}
	if m.seen[key][value] {
		return value
	}
	if len(m.seen[key]) >= maxLabelValues {
		return "other"
	}
	m.seen[key][value] = true
	return value
}

// word reports whether s is 1 to 40 of a-z, 0-9, '_', '-', '.'.
func word(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

// fed collects the gauges of [Metrics.Feed].
type fed struct{ m *Metrics }

func (d definition) desc() *prometheus.Desc {
	return prometheus.NewDesc(d.full(), d.help, d.labels, nil)
}

var fedDefinitions = []definition{defIncidents, defDepth, defOldest, defLedger, defAge, defBreaker}

// Describe implements prometheus.Collector.
func (f fed) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range fedDefinitions {
		ch <- d.desc()
	}
}

// Collect implements prometheus.Collector.
func (f fed) Collect(ch chan<- prometheus.Metric) {
	f.m.mu.Lock()
	read := f.m.feed
	f.m.mu.Unlock()
	if read == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	g, err := read(ctx)
	if err != nil {
		f.m.feedFailed.Inc()
		return
	}
	send := func(d definition, v float64, labels ...string) {
		for i := range labels {
			labels[i] = f.m.bound(d, d.labels[i], labels[i])
		}
		ch <- prometheus.MustNewConstMetric(d.desc(), prometheus.GaugeValue, v, labels...)
	}
	for state, n := range merge(g.IncidentsOpen) {
		send(defIncidents, float64(n), state)
	}
	for queue, n := range merge(g.QueueDepth) {
		send(defDepth, float64(n), queue)
	}
	for queue, age := range merge(g.QueueOldest) {
		send(defOldest, age.Seconds(), queue)
	}
	for provider, open := range g.BreakerOpen {
		v := 0.0
		if open {
			v = 1
		}
		if word(provider) {
			send(defBreaker, v, provider)
		}
	}
	send(defLedger, float64(g.LedgerSize))
	if g.CheckpointAge >= 0 {
		send(defAge, g.CheckpointAge.Seconds())
	}
}

// merge adds up what would share the label "other": a series may come once only.
func merge[V int | time.Duration](in map[string]V) map[string]V {
	out := make(map[string]V, len(in))
	for k, v := range in {
		if !word(k) || len(out) >= maxLabelValues-1 {
			k = "other"
		}
		out[k] += v
	}
	return out
}

// definitions are all metrics of ours, by name.
func definitions() []definition {
	all := append([]definition{
		defAck, defDelivery, defRefused, defScan, defVerdict, defContained, defProved, defSteps, defRequests,
		defSecurity, defLost, defFeed,
	}, fedDefinitions...)
	slices.SortFunc(all, func(a, b definition) int { return strings.Compare(a.name, b.name) })
	return all
}

// MetricsTable is the content of docs/metrics.md.
func MetricsTable() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\nServed at `/metrics` on the address `admin_listen`, together with the `go_*` and `process_*`\n" +
		"metrics of the Prometheus client. Times are in seconds. This table is made from the code:\n" +
		"`go test ./internal/telemetry -run TestMetricsTable -update`.\n\n" +
		"| metric | kind | labels | buckets | what it says |\n|---|---|---|---|---|\n")
	for _, d := range definitions() {
		labels := "-"
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(d.labels, "`, `") + "`"
		}
		limits := "-"
		if d.buckets != nil {
			limits = strings.Trim(fmt.Sprint(d.buckets), "[]")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", d.full(), d.kind, labels, limits, d.help)
	}
	fmt.Fprintf(&b, "\nA label value that is no plain word, or the %dth of its label, is counted as `other`.\n", maxLabelValues+1)
	return b.String()
}
