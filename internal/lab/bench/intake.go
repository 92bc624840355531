package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"stanch/internal/store"
)

// Intake is how the webhook endpoint did under one load.
type Intake struct {
	Name      string  `json:"name"`
	Offered   int     `json:"offered_per_second,omitempty"` // 0 is as fast as possible
	Sent      int     `json:"sent"`
	Accepted  int     `json:"accepted"`
	Failed    int     `json:"failed"`     // answered other than 202, or not at all
	PerSecond float64 `json:"per_second"` // accepted
	Answer    Spread  `json:"answer"`     // from when the delivery was due to its answer
	Stored    int     `json:"stored"`     // of the accepted ones
	Handled   int     `json:"handled"`
	Lost      int     `json:"lost"` // accepted but not stored, or not handled at the end
	DrainMS   float64 `json:"drain_ms"`
	Usage     Usage   `json:"service"`
}

// connections bounds how many deliveries are under way at once.
const (
	connections = 256
	flooders    = 64
)

func runIntake(ctx context.Context, o Options) ([]Intake, error) {
	var out []Intake
	if o.DeliveriesDuration > 0 {
		in, err := intakePhase(ctx, o, fmt.Sprintf("%d/s for %s", o.DeliveriesRate, o.DeliveriesDuration), o.DeliveriesRate, o.DeliveriesDuration)
		if err != nil {
			return out, err
		}
		out = append(out, in)
	}
	if o.FloodDuration > 0 {
		in, err := intakePhase(ctx, o, fmt.Sprintf("%d connections for %s", flooders, o.FloodDuration), 0, o.FloodDuration)
		if err != nil {
			return out, err
		}
		out = append(out, in)
	}
	return out, nil
}

// intakePhase runs one load against a service of its own.
func intakePhase(ctx context.Context, o Options, name string, rate int, length time.Duration) (Intake, error) {
	in := Intake{Name: name, Offered: rate}
	dir, err := o.phaseDir(map[bool]string{true: "flood", false: "intake"}[rate == 0])
	if err != nil {
		return in, err
	}
	w, err := newWorld(o, dir)
	if err != nil {
		return in, err
	}
	defer w.close()
	body, err := w.template(ctx)
	if err != nil {
		return in, err
	}
	cfg, err := w.config()
	if err != nil {
		return in, err
	}
	c, err := startChild(ctx, o, dir, cfg)
	if err != nil {
		return in, err
	}
	o.Tell("intake: %s", name)
	g := newGenerator(c.hook, w.app.WebhookSecret, body)
	start := time.Now()
	if rate > 0 {
		g.steady(ctx, rate, length)
	} else {
		g.flood(ctx, length)
	}
	took := time.Since(start)
	in.Sent, in.Accepted, in.Failed = g.sent, len(g.accepted), g.sent-len(g.accepted)
	in.PerSecond, in.Answer = float64(in.Accepted)/took.Seconds(), spread(g.took)
	o.Tell("intake: %d accepted, waiting until all are handled", in.Accepted)
	err = in.drain(ctx, c, g.accepted)
	in.DrainMS = max(0, ms(time.Since(start)-took))
	u, uerr := c.usage()
	in.Usage = u
	in.Usage.Seconds = took.Seconds()
	return in, errors.Join(err, uerr, c.stop())
}

// drain waits until every accepted delivery is handled, for at most two minutes.
func (in *Intake) drain(ctx context.Context, c *child, accepted map[string]bool) error {
	db, err := c.database(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	for end := time.Now().Add(2 * time.Minute); ; {
		in.Stored, in.Handled = 0, 0
		err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			rows, err := tx.Query(ctx, "SELECT guid, state FROM deliveries")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var guid, state string
				err := rows.Scan(&guid, &state)
				if err != nil {
					return err
				}
				if !accepted[guid] {
					continue
				}
				in.Stored++
				if state == "done" {
					in.Handled++
				}
			}
			return rows.Err()
		})
		in.Lost = in.Accepted - in.Handled
		if err != nil || in.Lost == 0 || time.Now().After(end) {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// placeholder is the id in the template that every delivery replaces by its own.
const placeholder = "1111111111111111111111111111111111111111"

// template is the body of a push event as GitHub sends it for a deleted branch,
// with a placeholder for the id of the branch's last commit.
func (w *world) template(ctx context.Context) ([]byte, error) {
	r, err := w.newRepo(ctx, 0, nil)
	if err != nil {
		return nil, err
	}
	_, err = w.gh.Install(w.app.ID, "acme")
	if err != nil {
		return nil, err
	}
	// The laboratory has no webhook URL yet, so that it keeps events and sends none.
	err = w.gh.Push(r.made, w.dev, "refs/heads/topic", placeholder, "0000000000000000000000000000000000000000")
	if err != nil {
		return nil, err
	}
	for _, d := range w.gh.Deliveries(w.app.ID) {
		if d.Event == "push" && bytes.Contains(d.Payload, []byte(placeholder)) {
			var check map[string]any
			err := json.Unmarshal(d.Payload, &check)
			return d.Payload, err
		}
	}
	return nil, errors.New("the laboratory made no push event")
}

// generator sends deliveries with distinct bodies.
type generator struct {
	url    string
	secret []byte
	body   []byte
	client *http.Client

	mu       sync.Mutex
	sent     int
	took     []time.Duration
	accepted map[string]bool
}

func newGenerator(url, secret string, body []byte) *generator {
	return &generator{url: url, secret: []byte(secret), body: body, accepted: map[string]bool{}, client: &http.Client{
		Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections},
	}}
}

// steady sends at a rate, whatever the answers do.
func (g *generator) steady(ctx context.Context, rate int, length time.Duration) {
	var wg sync.WaitGroup
	defer wg.Wait()
	start, gap := time.Now(), time.Second/time.Duration(rate)
	for n := 0; ; n++ {
		due := start.Add(time.Duration(n) * gap)
		if due.Sub(start) >= length || ctx.Err() != nil {
			return
		}
		time.Sleep(time.Until(due))
		wg.Go(func() { g.send(ctx, due) })
	}
}

// flood keeps some connections busy.
func (g *generator) flood(ctx context.Context, length time.Duration) {
	var wg sync.WaitGroup
	end := time.Now().Add(length)
	for range flooders {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				g.send(ctx, time.Now())
			}
		})
	}
	wg.Wait()
}

// send sends one delivery that was due at a time.
func (g *generator) send(ctx context.Context, due time.Time) {
	guid := uuid.New()
	sum := sha256.Sum256(guid[:])
	body := bytes.ReplaceAll(g.body, []byte(placeholder), []byte(hex.EncodeToString(sum[:20])))
	mac := hmac.New(sha256.New, g.secret)
	mac.Write(body)
	status := 0
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("User-Agent", "GitHub-Hookshot/bench")
		req.Header.Set("X-GitHub-Event", "push")
		req.Header.Set("X-GitHub-Delivery", guid.String())
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		var resp *http.Response
		resp, err = g.client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			status = resp.StatusCode
		}
	}
	took := time.Since(due)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent++
	g.took = append(g.took, took)
	if status == http.StatusAccepted {
		g.accepted[guid.String()] = true
	}
}
