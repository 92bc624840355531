package telemetry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"stanch/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hostile is what a foreigner may put into any text.
var hostile = map[string]string{
	"line feed":       "a\n{\"level\":\"ERROR\",\"msg\":\"forged\"}",
	"carriage return": "a\rforged",
	"CRLF":            "a\r\n\r\nforged",
	"ANSI":            "a\x1b[2J\x1b[31mforged\x1b]0;title\x07",
	"C1 CSI":          "a\u009b31mforged",
	"line separator":  "a\u2028forged\u2029",
	"bidi":            "a\u202egnp.exe\u2066\u2069\u200f",
	"zero width":      "a\u200bb\ufeff",
	"NUL and DEL":     "a\x00\x7fb",
	"invalid UTF-8":   "a\xff\xfe\xc3",
	"tag characters":  "a\U000e0041",
	"JSON":            `"},"level":"ERROR","x":{"y":"`,
}

// checkLine wants one line without a character that steers a display.
func checkLine(t *testing.T, name string, out []byte) {
	t.Helper()
	if n := bytes.Count(out, []byte("\n")); n != 1 || !bytes.HasSuffix(out, []byte("\n")) {
		t.Errorf("%s: %d line feeds in %q", name, n, out)
	}
	line := strings.TrimSuffix(string(out), "\n")
	for _, r := range line {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u2028\u2029\u200b\u200f\u202e\u2066\u2069\ufeff\U000e0041", r) {
			t.Errorf("%s: %U in %q", name, r, line)
		}
	}
	// Escapes that a JSON parser turns back into steering characters.
	for _, esc := range []string{`\u001b`, `\u2028`, `\u2029`, `\r`, `\u0000`, `\u009b`} {
		if line[0] == '{' && strings.Contains(strings.ReplaceAll(line, `\\`, ""), esc) {
			t.Errorf("%s: %s in %q", name, esc, line)
		}
	}
}

func TestLogger_ForeignTextIsInert(t *testing.T) {
	t.Parallel()
	for name, text := range hostile {
		for _, format := range []string{"json", "text"} {
			var out bytes.Buffer
			log := NewLogger(&out, "info", format)
			ctx := With(context.Background(), slog.String(KeyDelivery, text))
			log.With("with", text).WithGroup("group"+text).InfoContext(ctx, text,
				"value", text, "key"+text, 1, "error", errors.New(text), "stringer", stringer(text),
				"map", map[string]string{text: text}, "slice", []string{text}, slog.Group("inner", "x", text))
			checkLine(t, name+" "+format, out.Bytes())
			if format != "json" {
				continue
			}
			var line map[string]any
			err := json.Unmarshal(out.Bytes(), &line)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if line["level"] != "INFO" {
				t.Errorf("%s: level = %v", name, line["level"])
			}
		}
	}
}

type stringer string

func (s stringer) String() string { return string(s) }

func TestLogger_Shape(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, "info", "json")
	ctx := With(context.Background(), slog.String(KeyDelivery, "d-1"))
	ctx = With(ctx, slog.String(KeyIncident, "i-1"), slog.String(KeyDelivery, "d-2"))
	log.InfoContext(ctx, "hello", "n", 3, "took", 1500*time.Millisecond, "ok", true, "body", []byte("xyz"),
		"long", strings.Repeat("é", 4000), "at", time.Unix(0, 0))
	log.Debug("hidden")
	var line map[string]any
	err := json.Unmarshal(out.Bytes(), &line)
	if err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	_, err = time.Parse(microseconds, fmt.Sprint(line["time"]))
	if err != nil {
		t.Errorf("time: %v", err)
	}
	delete(line, "time")
	long := fmt.Sprint(line["long"])
	if len(long) > maxValue+16 || !strings.HasSuffix(long, "...[cut]") {
		t.Errorf("long value has %d bytes", len(long))
	}
	delete(line, "long")
	want := map[string]any{
		"level": "INFO", "msg": "hello", "n": 3.0, "took": "1.5s", "ok": true, "body": "[3 bytes]",
		"delivery": "d-2", "incident": "i-1", "at": "1970-01-01T00:00:00.000000Z",
	}
	if fmt.Sprint(line) != fmt.Sprint(want) {
		t.Errorf("line:\n got %v\nwant %v", line, want)
	}
}

func TestLogger_SensitiveKeys(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out, "debug", "json")
	const canary = "correct-horse-battery"
	log.Info("x", "password", canary, "Authorization", canary, "webhookSecret", canary, "access_token", canary,
		"map", map[string]any{"client_secret": canary, "list": []any{map[string]any{"cookie": []string{canary}}}},
		"header", http.Header{"Authorization": {"Bearer " + canary}, "Cookie": {canary}},
		"struct", struct{ Password, Name string }{canary, "kept"}, slog.Group("g", "token", canary),
		"tokens", 12, "value", secret.New(canary), "url", "https://user:"+canary+"@example.com/x")
	if strings.Contains(out.String(), canary) {
		t.Errorf("canary in %s", out.String())
	}
	for _, kept := range []string{"kept", `"tokens":12`, "example.com/x"} {
		if !strings.Contains(out.String(), kept) {
			t.Errorf("%s is missing in %s", kept, out.String())
		}
	}
}

type panicky struct{}

func (panicky) Error() string { panic("no") }

func TestLogger_PanickingValue(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	NewLogger(&out, "info", "json").Info("x", "error", panicky{}, "func", func() {}, "chan", make(chan int))
	if strings.Count(out.String(), "cannot be shown") != 3 {
		t.Errorf("line: %s", out.String())
	}
}

// canaries are credentials of the shapes that leak most.
func canaries(n int) []string {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(alphabet string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		return string(b)
	}
	const alnum = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	makers := []func() string{
		func() string { return "ghp_" + pick(alnum, 36) },
		func() string { return "ghs_" + pick(alnum, 36) },
		func() string { return "github_pat_" + pick(alnum, 22) + "_" + pick(alnum, 59) },
		func() string { return pick(alnum+"+/", 40) }, // AWS secret access key
		func() string { return "xoxb-" + pick("0123456789", 12) + "-" + pick(alnum, 24) },
		func() string { return "sk_live_" + pick(alnum, 24) },
		func() string { return "eyJ" + pick(alnum, 30) + "." + pick(alnum, 60) + "." + pick(alnum, 43) },
		func() string { return "AIza" + pick(alnum+"_-", 35) },
		func() string { return "glpat-" + pick(alnum, 20) },
	}
	var out []string
	for i := range n {
		out = append(out, makers[i%len(makers)]())
	}
	return out
}

// forms are the shapes in which a careless writer may have put a secret.
func forms(c string) []string {
	quoted, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return []string{c, base64.StdEncoding.EncodeToString([]byte(c)), hex.EncodeToString([]byte(c)), url.QueryEscape(c), strings.Trim(string(quoted), `"`)}
}

func TestCanaries_NeverInAnyOutput(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := NewMetrics()
	log, sec := NewLogger(&out, "debug", "json"), NewSecurity(&out, m)
	all := canaries(500)
	for i, c := range all {
		v := secret.New(c)
		ctx := With(context.Background(), slog.Any("leaked", v))
		log.InfoContext(ctx, "found "+c, "value", v, "detail", "AKIAIOSFODNN7EXAMPLE "+c, "error", fmt.Errorf("call: %w", errors.New("bad token "+c)),
			"any", map[string]any{"x": []string{c}}, "nested", struct{ V secret.Value }{v}, "ptr", &v)
		sec.Event(ctx, SecurityEvent{
			Event: InputValidationFail, Reason: "refused " + c, User: c, Object: "https://x/?q=" + c, SourceIP: c,
			Detail: map[string]string{"header": c, "key " + c: "x", "n": fmt.Sprint(i)},
		})
		m.Delivery(c, c)
		m.ProviderRequest(c, "ok")
		sec.Event(ctx, SecurityEvent{Event: c})
	}
	out.WriteString(scrape(t, m))
	for _, c := range all {
		for _, form := range forms(c) {
			if strings.Contains(out.String(), form) {
				at := strings.Index(out.String(), form)
				t.Fatalf("canary %q in output near %q", form, out.String()[max(0, at-80):at+len(form)])
			}
		}
	}
}

func TestSetLevel(t *testing.T) {
	t.Parallel()
	var out, audit bytes.Buffer
	log, sec := NewLogger(&out, "error", "json"), NewSecurity(&audit, nil)
	derived := log.With("a", 1)
	err := SetLevel(context.Background(), log, "debug", sec)
	if err != nil {
		t.Fatal(err)
	}
	derived.Debug("now seen")
	if !strings.Contains(out.String(), "now seen") {
		t.Error("derived logger kept the old level")
	}
	if !strings.Contains(audit.String(), `"event":"log_level_changed"`) || !strings.Contains(audit.String(), `"from":"ERROR","to":"DEBUG"`) {
		t.Errorf("audit: %s", audit.String())
	}
	err = SetLevel(context.Background(), log, "loud", sec)
	if err == nil {
		t.Error("an unknown level was taken")
	}
}

func FuzzLogger(f *testing.F) {
	for _, text := range hostile {
		f.Add("key", text)
	}
	f.Add("password", "x")
	f.Fuzz(func(t *testing.T, key, text string) {
		var out bytes.Buffer
		NewLogger(&out, "info", "json").Info(text, key, text)
		checkLine(t, "fuzz", out.Bytes())
		if !json.Valid(out.Bytes()) {
			t.Errorf("not JSON: %q", out.String())
		}
	})
}
