package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSecurity_Line(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := NewSecurity(&out, nil)
	s.node, s.version = "node-1", "v1"
	s.now = func() time.Time { return time.Date(2026, 11, 24, 1, 2, 3, 4000, time.FixedZone("x", 3600)) }
	ctx := With(context.Background(), slog.String(KeyDelivery, "d-1"), slog.String(KeyRequest, "r-1"), slog.String(KeyIncident, "i-1"))
	s.Event(ctx, SecurityEvent{
		Event: InputValidationFail, Outcome: "refused", Reason: "signature does not match", SourceIP: "::ffff:192.0.2.7",
		User: "octocat", Object: "POST /github/webhook", Detail: map[string]string{"token": "abc", "size": "12"},
	})
	want := `{"time":"2026-11-24T00:02:03.000004Z","stream":"security","event":"input_validation_fail","class_uid":6003,` +
		`"outcome":"refused","reason":"signature does not match","source_ip":"192.0.2.7","user":"octocat","object":"POST /github/webhook",` +
		`"delivery":"d-1","incident":"i-1","request_id":"r-1","node":"node-1","version":"v1","detail":{"size":"12","token":"[redacted]"}}` + "\n"
	if out.String() != want {
		t.Errorf("line:\n got %s\nwant %s", out.String(), want)
	}
}

func TestSecurity_ForeignTextIsInert(t *testing.T) {
	t.Parallel()
	for name, text := range hostile {
		var out bytes.Buffer
		s := NewSecurity(&out, nil)
		s.Event(context.Background(), SecurityEvent{
			Event: AuthzFail + text, Outcome: text, Reason: text, SourceIP: text, User: text, Delivery: text, Incident: text, Object: text,
			Detail: map[string]string{text: text},
		})
		checkLine(t, name, out.Bytes())
		var line securityLine
		err := json.Unmarshal(out.Bytes(), &line)
		if err != nil || line.Event != Unclassified || line.SourceIP != "invalid" {
			t.Errorf("%s: %v, %+v", name, err, line)
		}
	}
}

func TestSecurity_Capped(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	huge := strings.Repeat("A", 1<<20)
	detail := map[string]string{}
	for i := range 1000 {
		detail[strings.Repeat("k", i+1)] = huge
	}
	NewSecurity(&out, nil).Event(context.Background(), SecurityEvent{Event: AuthzFail, Reason: huge, Object: huge, User: huge, Detail: detail})
	if out.Len() > 64<<10 {
		t.Errorf("a line of %d bytes", out.Len())
	}
}

func TestSecurity_EveryNameHasAClass(t *testing.T) {
	t.Parallel()
	for name, class := range classes {
		if class == 0 || !word(name) {
			t.Errorf("%s has class %d", name, class)
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestSecurity_LossIsCounted(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	NewSecurity(failing{}, m).Event(context.Background(), SecurityEvent{Event: AuthzFail})
	got := scrape(t, m)
	for _, want := range []string{"stanch_security_events_lost_total 1\n", `stanch_security_events_total{event="authz_fail"} 1`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	var none *Security
	none.Event(context.Background(), SecurityEvent{Event: AuthzFail}) // must not panic
}

func TestSecurity_ConcurrentLinesStayWhole(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := NewSecurity(&out, NewMetrics())
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			s.Event(context.Background(), SecurityEvent{Event: AuthnLoginFail, User: strings.Repeat("u", 200)})
		})
	}
	wg.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 50 {
		t.Fatalf("%d lines, want 50", len(lines))
	}
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
}
