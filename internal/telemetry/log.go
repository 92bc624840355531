// Package telemetry is how the service is watched: structured logs, security
// events, metrics and health.
//
// # What this package promises
//
// Foreign text cannot forge, split or hide a line: control characters, ANSI
// escapes, line separators and bidirectional characters are written as visible
// escapes, every value is capped. What looks like a credential is replaced
// before it is written, and so is the value of every key that names one.
// Security events are written whatever the log level is.
//
// # What it never does
//
// It never stops the work that it watches: a log that cannot be written is
// counted. It shows no cause of a failure to a caller over HTTP.
package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"stanch/internal/secret"
)

// The keys that tie lines together; set them once with [With].
const (
	KeyDelivery = "delivery"   // GitHub's delivery id
	KeyIncident = "incident"   // our incident id
	KeyRequest  = "request_id" // our id of an HTTP request
)

const (
	maxKey   = 64   // bytes of an attribute's key
	maxValue = 2048 // bytes of an attribute's value
	// microseconds is RFC 3339 in UTC with six decimals.
	microseconds = "2006-01-02T15:04:05.000000Z"
)

type contextKey struct{}

// With returns a context whose log lines and security events carry attrs too.
// A later value replaces an earlier one of the same key.
func With(ctx context.Context, attrs ...slog.Attr) context.Context {
	var all []slog.Attr
	for _, a := range fields(ctx) {
		if !holds(attrs, a.Key) {
			all = append(all, a)
		}
	}
	return context.WithValue(ctx, contextKey{}, append(all, attrs...))
}

func holds(attrs []slog.Attr, key string) bool {
	for _, a := range attrs {
		if a.Key == key {
			return true
		}
	}
	return false
}

func fields(ctx context.Context) []slog.Attr {
	attrs, _ := ctx.Value(contextKey{}).([]slog.Attr)
	return attrs
}

// field is the text of one attribute of the context, "" when it is not there.
func field(ctx context.Context, key string) string {
	for _, a := range fields(ctx) {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// NewLogger writes JSON lines (or, for people, format "text") to w. Level is
// debug, info, warn or error; anything else is info.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	lv := new(slog.LevelVar)
	parsed, err := parseLevel(level)
	if err == nil {
		lv.Set(parsed)
	}
	o := &slog.HandlerOptions{Level: lv, ReplaceAttr: replace}
	var h slog.Handler = slog.NewJSONHandler(w, o)
	if format == "text" {
		h = slog.NewTextHandler(w, o)
	}
	return slog.New(&handler{h, lv})
}

// SetLevel changes the level of a logger of [NewLogger] and of those derived
// from it. The change is itself a security event.
func SetLevel(ctx context.Context, log *slog.Logger, level string, s *Security) error {
	h, ok := log.Handler().(*handler)
	if !ok {
		return fmt.Errorf("set log level: the logger is not ours")
	}
	parsed, err := parseLevel(level)
	if err != nil {
		return fmt.Errorf("set log level: %w", err)
	}
	was := h.level.Level()
	h.level.Set(parsed)
	s.Event(ctx, SecurityEvent{
		Event: LogLevelChanged, Outcome: "success", Object: "log level",
		Detail: map[string]string{"from": was.String(), "to": parsed.String()},
	})
	return nil
}

func parseLevel(level string) (slog.Level, error) {
	switch strings.ToLower(level) {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("level must be debug, info, warn or error")
	}
}

// handler adds the fields of the context to every record.
type handler struct {
	slog.Handler
	level *slog.LevelVar
}

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	attrs := fields(ctx)
	if len(attrs) > 0 {
		r = r.Clone()
		r.AddAttrs(attrs...)
	}
	return h.Handler.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.level}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(secret.Inert(name, maxKey)), h.level}
}

// replace is slog's ReplaceAttr: it sees every leaf of every record.
func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 {
		switch a.Key {
		case slog.TimeKey:
			return slog.String(a.Key, a.Value.Time().UTC().Format(microseconds))
		case slog.LevelKey:
			return a
		}
	}
	return slog.Attr{Key: secret.Inert(a.Key, maxKey), Value: clean(a.Key, a.Value.Resolve())}
}

// clean makes a value safe to write under key.
func clean(key string, v slog.Value) slog.Value {
	switch v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool:
		return v
	case slog.KindDuration:
		return slog.StringValue(v.Duration().String())
	case slog.KindTime:
		return slog.StringValue(v.Time().UTC().Format(microseconds))
	}
	if sensitive(key) {
		return slog.StringValue(secret.Redacted)
	}
	if v.Kind() == slog.KindString {
		return slog.StringValue(secret.Inert(v.String(), maxValue))
	}
	return slog.StringValue(secret.Inert(text(v.Any()), maxValue))
}

// text gives any value as text. A panic in a foreign String or Error method is
// no reason to lose the line.
func text(x any) (s string) {
	defer func() {
		r := recover()
		if r != nil {
			s = fmt.Sprintf("[%T cannot be shown]", x)
		}
	}()
	switch t := x.(type) {
	case nil:
		return "null"
	case error:
		return t.Error()
	case time.Time:
		return t.UTC().Format(microseconds)
	case fmt.Stringer:
		return t.String()
	case []byte:
		return fmt.Sprintf("[%d bytes]", len(t))
	}
	b, err := json.Marshal(x)
	if err != nil {
		return fmt.Sprintf("[%T cannot be shown]", x)
	}
	var tree any
	err = json.Unmarshal(b, &tree)
	if err != nil {
		return fmt.Sprintf("[%T cannot be shown]", x)
	}
	b, err = json.Marshal(redactTree(tree, 0))
	if err != nil {
		return fmt.Sprintf("[%T cannot be shown]", x)
	}
	return string(b)
}

// maxDepth is how deep values are shown.
const maxDepth = 8

// redactTree replaces the values of keys that name a credential.
func redactTree(x any, depth int) any {
	if depth > maxDepth {
		return "[deeper]"
	}
	switch t := x.(type) {
	case map[string]any:
		for k, v := range t {
			switch v.(type) {
			case bool, float64, nil:
			default:
				if sensitive(k) {
					t[k] = secret.Redacted
					continue
				}
			}
			t[k] = redactTree(v, depth+1)
		}
	case []any:
		for i, v := range t {
			t[i] = redactTree(v, depth+1)
		}
	}
	return x
}

// sensitiveEnds are the ends of keys whose text is never written.
var sensitiveEnds = []string{
	"password", "passwd", "pwd", "passphrase", "secret", "token", "tokens", "authorization", "cookie", "cookies",
	"apikey", "api_key", "api-key", "privatekey", "private_key", "private-key", "accesskey", "access_key", "secretkey",
	"secret_key", "signature", "signature-256", "session", "sessionid", "session_id", "credential", "credentials",
}

func sensitive(key string) bool {
	key = strings.ToLower(key)
	for _, end := range sensitiveEnds {
		if strings.HasSuffix(key, end) {
			return true
		}
	}
	return false
}
