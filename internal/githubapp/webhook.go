// Package githubapp is the border to GitHub: deliveries come in through
// [Webhook], calls go out through [App].
//
// # What this package promises
//
// A delivery is answered 2xx only when its signature was right and, for the events
// that Stanch handles, [Intake] has committed it. The signature is judged over the
// raw bytes before anything in them is looked at. What is handed on is normalised:
// no commit message, no author, no e-mail address, no file name, no raw body,
// because each of these can hold a leaked secret.
//
// # What it never does
//
// It never scans, never touches a provider's credential, never writes to a
// repository, and never puts a token, a login or a body into an error.
package githubapp

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"stanch/internal/lazyregexp"
	"stanch/internal/secret"
)

// MaxPayload is GitHub's own limit on a delivery, in bytes; GitHub does not send
// larger ones (https://docs.github.com/en/webhooks/webhook-events-and-payloads).
const MaxPayload = 25 << 20

// Delivery is one webhook, verified and normalised.
type Delivery struct {
	// GUID is X-GitHub-Delivery. A redelivery has the same one. Headers are not
	// signed: BodySHA256 alone must be unique too, whatever GUID and Event say, so
	// that an old body under a new id or another event's name changes nothing.
	GUID         string
	Event        string // X-GitHub-Event, one of [Handled]
	Action       string // the payload's action; "" where the event has none
	BodySHA256   string // of the raw body, hex
	ReceivedAt   time.Time
	SourceIP     string
	Installation int64           // 0 where the payload names none
	Payload      json.RawMessage // Normal as JSON; see [Restore]
	Normal       Event           // the normalised event
}

// Intake stores deliveries.
type Intake interface {
	// Accept commits the delivery and the job for it in one transaction before it
	// returns. A delivery whose GUID or BodySHA256 is known changes nothing and
	// gives false. After an error nothing is stored.
	Accept(ctx context.Context, d Delivery) (isNew bool, err error)
}

// Reason says why a delivery was refused.
type Reason string

// The reasons for a refusal.
const (
	ReasonMethod            Reason = "method"
	ReasonContentType       Reason = "content_type"
	ReasonContentEncoding   Reason = "content_encoding"
	ReasonTooLarge          Reason = "too_large"
	ReasonSignatureMissing  Reason = "signature_missing"
	ReasonSignatureRepeated Reason = "signature_repeated"
	ReasonSignatureForm     Reason = "signature_form"
	ReasonSignatureWrong    Reason = "signature_wrong"
	ReasonSlowBody          Reason = "slow_body"
	ReasonBrokenBody        Reason = "broken_body"
	ReasonHeaders           Reason = "headers"
	ReasonJSON              Reason = "json"
	ReasonPayload           Reason = "payload"
	ReasonBusy              Reason = "busy"
)

// Refusal is a delivery that was refused: a security event. It holds nothing from
// the body, and header values only where their form was checked.
type Refusal struct {
	Reason   Reason
	Status   int
	SourceIP string
	Delivery string // "" when absent or malformed
	Event    string // "" when absent or malformed
	Detail   string // what was wrong with the form, in our words
}

// Events hears of refused deliveries. Implementations are safe for concurrent use
// and return quickly.
type Events interface {
	Refused(ctx context.Context, r Refusal)
}

// Answer is how one request ended, for metrics. All its texts are from fixed sets.
type Answer struct {
	Event  string // one of [Handled], or "other"
	Result string // accepted, duplicate, ignored, failed, refused
	Status int
	Bytes  int
	Took   time.Duration
}

// WebhookOptions configures a [Webhook].
type WebhookOptions struct {
	// Secrets sign deliveries; any of them is accepted, so that a secret can be
	// changed without loss. At least one, none empty.
	Secrets []secret.Value
	// Intake stores deliveries.
	Intake Intake
	// Events hears of refusals. Nil drops them.
	Events Events
	// Answered hears of every answer. Nil drops them.
	Answered func(Answer)
	// Log gets intake failures. Nil discards them.
	Log *slog.Logger
	// Clock defaults to time.Now.
	Clock func() time.Time
	// MaxBytes bounds a body. Defaults to [MaxPayload].
	MaxBytes int64
	// MaxBuffered bounds the memory that bodies beyond 64 KiB take together, in
	// bytes; more are answered 503. The first 64 KiB of each body are free, so that
	// large bodies cannot crowd out the usual ones. Defaults to 128 MiB.
	MaxBuffered int64
	// BodyTimeout bounds the reading of one body. Defaults to 10 s, GitHub's own
	// limit for the whole answer.
	BodyTimeout time.Duration
	// IntakeTimeout bounds Intake.Accept, which is not cancelled when the sender goes
	// away. Defaults to 9 s.
	IntakeTimeout time.Duration
	// TrustedProxies are believed about X-Forwarded-For.
	TrustedProxies []netip.Prefix
}

// Webhook answers POST /github/webhook. It is safe for concurrent use.
type Webhook struct {
	o      WebhookOptions
	budget *semaphore.Weighted
}

// NewWebhook checks the options: without a secret nothing could be told apart.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	if len(o.Secrets) == 0 {
		return nil, errors.New("webhook needs a secret")
	}
	for _, s := range o.Secrets {
		if s.IsZero() {
			return nil, errors.New("webhook secret is empty")
		}
	}
	if o.Intake == nil {
		return nil, errors.New("webhook needs an intake")
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = MaxPayload
	}
	if o.MaxBuffered <= 0 {
		o.MaxBuffered = 128 << 20
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = 10 * time.Second
	}
	if o.IntakeTimeout <= 0 {
		o.IntakeTimeout = 9 * time.Second
	}
	return &Webhook{o: o, budget: semaphore.NewWeighted(o.MaxBuffered)}, nil
}

// refusedBody is the one body of every refusal: it tells a forger nothing.
const refusedBody = "refused\n"

// ServeHTTP judges method, type, size and signature, and only then looks at the
// body.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := h.o.Clock()
	a := h.serve(w, r)
	a.Took = h.o.Clock().Sub(began)
	if h.o.Answered != nil {
		h.o.Answered(a)
	}
}

func (h *Webhook) serve(w http.ResponseWriter, r *http.Request) Answer {
	signature, refusal := h.checkHead(r)
	if refusal != nil {
		return h.refuse(w, r, *refusal, 0)
	}
	body, release, refusal := h.readBody(w, r)
	defer release()
	if refusal != nil {
		return h.refuse(w, r, *refusal, 0)
	}
	if !h.signed(body, signature) {
		return h.refuse(w, r, Refusal{Reason: ReasonSignatureWrong, Status: http.StatusUnauthorized}, len(body))
	}
	event, okEvent := one(r.Header, "X-Github-Event", eventForm())
	guid, okGUID := one(r.Header, "X-Github-Delivery", guidForm())
	if !okEvent || !okGUID {
		return h.refuse(w, r, Refusal{Reason: ReasonHeaders, Status: http.StatusBadRequest, Detail: "event name or delivery id"}, len(body))
	}
	if !Handled(event) {
		return h.answer(w, Answer{Event: "other", Result: "ignored", Status: http.StatusAccepted, Bytes: len(body)})
	}
	normal, err := Decode(event, body)
	if err != nil {
		reason := ReasonPayload
		if errors.Is(err, errJSON) {
			reason = ReasonJSON
		}
		return h.refuse(w, r, Refusal{Reason: reason, Status: http.StatusBadRequest, Detail: err.Error()}, len(body))
	}
	payload, err := json.Marshal(normal)
	if err != nil {
		return h.refuse(w, r, Refusal{Reason: ReasonPayload, Status: http.StatusBadRequest, Detail: "cannot be normalised"}, len(body))
	}
	sum := sha256.Sum256(body)
	size := len(body)
	d := Delivery{
		GUID: guid, Event: event, Action: normal.action(), BodySHA256: hex.EncodeToString(sum[:]),
		ReceivedAt: h.o.Clock().UTC(), SourceIP: h.sourceIP(r), Installation: normal.installation(),
		Payload: payload, Normal: normal,
	}
	return h.accept(w, r, d, size)
}

func (h *Webhook) accept(w http.ResponseWriter, r *http.Request, d Delivery, size int) Answer {
	// A sender that goes away does not undo a delivery that is half stored.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.o.IntakeTimeout)
	defer cancel()
	isNew, err := h.o.Intake.Accept(ctx, d)
	a := Answer{Event: d.Event, Result: "accepted", Status: http.StatusAccepted, Bytes: size}
	switch {
	case err != nil:
		h.o.Log.ErrorContext(ctx, "store delivery", "delivery", d.GUID, "event", d.Event, "error", err)
		a.Result, a.Status = "failed", http.StatusServiceUnavailable
	case !isNew:
		a.Result = "duplicate"
	}
	return h.answer(w, a)
}

func (h *Webhook) answer(w http.ResponseWriter, a Answer) Answer {
	body := a.Result + "\n"
	if a.Result == "duplicate" {
		body = "accepted\n"
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(body))
	return a
}

func (h *Webhook) refuse(w http.ResponseWriter, r *http.Request, f Refusal, size int) Answer {
	f.SourceIP = h.sourceIP(r)
	f.Event, _ = one(r.Header, "X-Github-Event", eventForm())
	f.Delivery, _ = one(r.Header, "X-Github-Delivery", guidForm())
	if h.o.Events != nil {
		h.o.Events.Refused(r.Context(), f)
	}
	head := w.Header()
	head.Set("Content-Type", "text/plain; charset=utf-8")
	head.Set("X-Content-Type-Options", "nosniff")
	switch f.Status {
	case http.StatusMethodNotAllowed:
		head.Set("Allow", http.MethodPost)
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		head.Set("Connection", "close")
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(refusedBody))
	if f.Status == http.StatusRequestEntityTooLarge {
		drain(w, r)
	}
	event := "other"
	if Handled(f.Event) {
		event = f.Event
	}
	return Answer{Event: event, Result: "refused", Status: f.Status, Bytes: size}
}

// checkHead judges everything before the body; it gives the signature that the
// body must have.
func (h *Webhook) checkHead(r *http.Request) ([]byte, *Refusal) {
	if r.Method != http.MethodPost {
		return nil, &Refusal{Reason: ReasonMethod, Status: http.StatusMethodNotAllowed}
	}
	if !jsonType(r.Header) {
		return nil, &Refusal{Reason: ReasonContentType, Status: http.StatusUnsupportedMediaType}
	}
	for _, v := range r.Header.Values("Content-Encoding") {
		if v != "identity" {
			return nil, &Refusal{Reason: ReasonContentEncoding, Status: http.StatusUnsupportedMediaType}
		}
	}
	if r.ContentLength > h.o.MaxBytes {
		return nil, &Refusal{Reason: ReasonTooLarge, Status: http.StatusRequestEntityTooLarge}
	}
	values := r.Header.Values("X-Hub-Signature-256")
	unauthorized := func(reason Reason) *Refusal {
		return &Refusal{Reason: reason, Status: http.StatusUnauthorized}
	}
	switch {
	case len(values) == 0:
		return nil, unauthorized(ReasonSignatureMissing)
	case len(values) > 1:
		return nil, unauthorized(ReasonSignatureRepeated)
	case !signatureForm().MatchString(values[0]):
		return nil, unauthorized(ReasonSignatureForm)
	}
	signature, err := hex.DecodeString(strings.TrimPrefix(values[0], "sha256="))
	if err != nil {
		return nil, unauthorized(ReasonSignatureForm)
	}
	return signature, nil
}

func jsonType(head http.Header) bool {
	values := head.Values("Content-Type")
	if len(values) != 1 {
		return false
	}
	mediaType, params, err := mime.ParseMediaType(values[0])
	if err != nil || mediaType != "application/json" {
		return false
	}
	for k, v := range params {
		if k != "charset" || !strings.EqualFold(v, "utf-8") {
			return false
		}
	}
	return true
}

// signed compares with every secret in constant time, and always with all.
func (h *Webhook) signed(body, signature []byte) bool {
	ok := false
	for _, s := range h.o.Secrets {
		mac := hmac.New(sha256.New, []byte(s.Reveal()))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), signature) {
			ok = true
		}
	}
	return ok
}

var (
	signatureForm = lazyregexp.New(`^sha256=[0-9a-f]{64}$`)
	eventForm     = lazyregexp.New(`^[a-z0-9_]{1,64}$`) // digits: projects_v2_item
	guidForm      = lazyregexp.New(`^[A-Za-z0-9-]{1,64}$`)
)

// one gives the value of a header that must be there once and have a form.
func one(head http.Header, name string, form *regexp.Regexp) (string, bool) {
	values := head.Values(name)
	if len(values) != 1 || !form.MatchString(values[0]) {
		return "", false
	}
	return values[0], true
}

// sourceIP is the address of the connection or, behind trusted proxies, the last
// address in X-Forwarded-For that no trusted proxy has.
func (h *Webhook) sourceIP(r *http.Request) string {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	addr := ap.Addr().Unmap().WithZone("")
	if !h.trusted(addr) {
		return addr.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = hop.Unmap().WithZone("")
		if !h.trusted(addr) {
			break
		}
	}
	return addr.String()
}

func (h *Webhook) trusted(a netip.Addr) bool {
	for _, p := range h.o.TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
