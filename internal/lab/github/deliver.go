package github

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
)

const maxPayload = 25 << 20 // larger ones are never delivered

// Delivery is one attempt to deliver a webhook.
type Delivery struct {
	ID           int64
	GUID         string
	App          int64
	Event        string
	Action       string
	Installation int64
	Repository   int64
	At           time.Time
	Redelivery   bool
	Duration     time.Duration
	Status       string // "OK" or why not
	StatusCode   int    // 0 when there was no answer
	URL          string
	Headers      map[string]string
	Payload      []byte
	Response     string
}

// Deliveries returns a copy of the log of an App, oldest first.
func (s *Server) Deliveries(appID int64) []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Delivery
	for _, d := range s.deliveries {
		if d.App == appID {
			out = append(out, *d)
		}
	}
	return out
}

// deliverRepo delivers an event of a repository to every installation that covers it.
func (s *Server) deliverRepo(repo *Repo, event, action string, payload map[string]any) {
	s.mu.Lock()
	var to []*Installation
	for _, in := range s.installs {
		if in.covers(repo) && in.Suspended.IsZero() {
			to = append(to, in)
		}
	}
	s.mu.Unlock()
	for _, in := range to {
		p := maps.Clone(payload)
		p["installation"] = map[string]any{"id": in.ID, "node_id": nodeID("Installation", in.ID)}
		s.deliver(in.App, &Delivery{Event: event, Action: action, Installation: in.ID, Repository: repo.ID}, p)
	}
}

func (s *Server) deliver(app *App, d *Delivery, payload map[string]any) {
	body, err := json.Marshal(payload)
	if err != nil || len(body) > maxPayload {
		return
	}
	d.App, d.GUID, d.Payload = app.ID, uuid.NewString(), body
	s.attempt(app, d, s.delay())
	if s.chance(s.faults.Duplicate) {
		again := *d
		s.attempt(app, &again, s.delay())
	}
}

func (s *Server) delay() time.Duration { return time.Duration(s.pick(int64(s.faults.MaxDelay))) }

// attempt sends d once, after a delay, without waiting for it. There is no retry:
// GitHub does none.
func (s *Server) attempt(app *App, d *Delivery, delay time.Duration) {
	s.mu.Lock()
	d.ID, d.URL = s.nextID(), app.WebhookURL
	d.Headers = signedHeaders(app, d)
	s.deliveries = append(s.deliveries, d)
	s.mu.Unlock()
	if d.URL == "" {
		s.settle(d, 0, "no webhook URL", "", 0)
		return
	}
	s.flight.add()
	go func() {
		defer s.flight.done()
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		s.send(d)
	}()
}

func signedHeaders(app *App, d *Delivery) map[string]string {
	h1, h256 := hmac.New(sha1.New, []byte(app.WebhookSecret)), hmac.New(sha256.New, []byte(app.WebhookSecret))
	h1.Write(d.Payload)
	h256.Write(d.Payload)
	return map[string]string{
		"Accept":                                 "*/*",
		"Content-Type":                           "application/json",
		"User-Agent":                             "GitHub-Hookshot/" + nodeID("", app.HookID)[:7],
		"X-GitHub-Delivery":                      d.GUID,
		"X-GitHub-Event":                         d.Event,
		"X-GitHub-Hook-ID":                       strconv.FormatInt(app.HookID, 10),
		"X-GitHub-Hook-Installation-Target-ID":   strconv.FormatInt(app.ID, 10),
		"X-GitHub-Hook-Installation-Target-Type": "integration",
		"X-Hub-Signature":                        "sha1=" + hex.EncodeToString(h1.Sum(nil)),
		"X-Hub-Signature-256":                    "sha256=" + hex.EncodeToString(h256.Sum(nil)),
	}
}

func (s *Server) send(d *Delivery) {
	start := time.Now()
	req, err := http.NewRequestWithContext(s.ctx, http.MethodPost, d.URL, bytes.NewReader(d.Payload))
	if err != nil {
		s.settle(d, 0, "invalid webhook URL", "", 0)
		return
	}
	for k, v := range d.Headers {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.settle(d, 0, "failed to connect to host", "", time.Since(start))
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	status := "OK"
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		status = "Invalid HTTP Response: " + strconv.Itoa(resp.StatusCode)
	}
	s.settle(d, resp.StatusCode, status, string(body), time.Since(start))
}

func (s *Server) settle(d *Delivery, code int, status, body string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.At, d.StatusCode, d.Status, d.Response, d.Duration = s.now(), code, status, body, took
}

// Redeliver sends a delivery again under its GUID, as the App's own call does.
func (s *Server) Redeliver(id int64) error {
	s.mu.Lock()
	var found *Delivery
	for _, d := range s.deliveries {
		if d.ID == id {
			found = d
		}
	}
	if found == nil || s.apps[found.App] == nil {
		s.mu.Unlock()
		return errors.New("redeliver: no such delivery")
	}
	app := s.apps[found.App]
	again := &Delivery{GUID: found.GUID, App: found.App, Event: found.Event, Action: found.Action,
		Installation: found.Installation, Repository: found.Repository, Redelivery: true, Payload: found.Payload}
	s.mu.Unlock()
	s.attempt(app, again, 0)
	return nil
}
