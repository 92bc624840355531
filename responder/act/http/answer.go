package acthttp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
)

// Limits of an answer.
const (
	maxBody      = 1 << 20
	maxCapture   = 256
	retryDefault = 2 * time.Second
	retryMax     = time.Hour
)

var (
	errTooLarge = errors.New("the answer is larger than 1 MiB")
	errCutOff   = errors.New("the answer broke off")
)

// answer is a provider's answer as far as it was read.
type answer struct {
	status    int
	headers   map[string]string
	requestID string
	body      any  // decoded JSON; nil otherwise
	page      bool // looks like a page for people
	broken    bool // says that it is JSON and is not
}

// read takes an answer in. It is never logged.
func read(resp *http.Response) (*answer, error) {
	a := &answer{status: resp.StatusCode, headers: make(map[string]string, len(resp.Header))}
	for k, vs := range resp.Header {
		a.headers[strings.ToLower(k)] = strings.Join(vs, ", ")
	}
	for _, k := range []string{"x-github-request-id", "x-request-id", "x-amzn-requestid", "cf-ray"} {
		if id, ok := clean(a.headers[k], nil); ok && id != "" {
			a.requestID = id
			break
		}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return a, errCutOff
		}
		return a, err
	}
	if len(raw) > maxBody {
		return a, errTooLarge
	}
	raw = bytes.TrimSpace(raw)
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		kind = ""
	}
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	a.page = kind == "text/html" || kind == "application/xhtml+xml" || !isJSON && bytes.HasPrefix(raw, []byte("<"))
	if isJSON && len(raw) > 0 {
		a.body, err = decode(raw)
		a.broken = err != nil
	}
	return a, nil
}

// decode reads one JSON value; whole numbers become int64, so that ids keep
// every digit.
func decode(raw []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	if err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("more than one value")
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

func (a *answer) env(s act.Subject) playbooks.Response {
	return playbooks.Response{Status: a.status, Headers: a.headers, Body: a.body, Facts: s.Facts, PublicID: s.PublicID, Kind: s.Kind}
}

// unusable says why an answer proves nothing, whatever it contains, and when to
// ask again; "" when it is the provider's own and may be judged.
func (a *answer) unusable(now time.Time) (why string, after time.Duration) {
	switch {
	case a.status == http.StatusTooManyRequests,
		a.status == http.StatusForbidden && (a.headers["x-ratelimit-remaining"] == "0" || a.headers["retry-after"] != ""):
		return fmt.Sprintf("rate limit (status %d)", a.status), a.retryAfter(now)
	case a.status >= 500:
		return fmt.Sprintf("server error (status %d)", a.status), a.retryAfter(now)
	case a.status == http.StatusRequestTimeout, a.status == http.StatusTooEarly, a.status == http.StatusMisdirectedRequest:
		return fmt.Sprintf("passing refusal (status %d)", a.status), a.retryAfter(now)
	case a.status >= 300 && a.status < 400:
		return fmt.Sprintf("a redirect (status %d), which is not followed", a.status), retryDefault
	case a.page:
		return fmt.Sprintf("a page for people (status %d), such as a firewall or a captive portal shows", a.status), retryDefault
	case a.broken:
		return fmt.Sprintf("JSON that cannot be read (status %d)", a.status), retryDefault
	}
	return "", 0
}

// retryAfter reads Retry-After (seconds or a date) and x-ratelimit-reset (Unix
// seconds), bounded to an hour.
func (a *answer) retryAfter(now time.Time) time.Duration {
	d := retryDefault
	if h := a.headers["retry-after"]; h != "" {
		if n, err := strconv.Atoi(strings.TrimSpace(h)); err == nil {
			d = time.Duration(min(max(n, 0), int(retryMax/time.Second))) * time.Second
		} else if t, err := http.ParseTime(h); err == nil {
			d = t.Sub(now)
		}
	} else if n, err := strconv.ParseInt(a.headers["x-ratelimit-reset"], 10, 64); err == nil && a.headers["x-ratelimit-remaining"] == "0" {
		d = time.Unix(n, 0).Sub(now)
	}
	return min(max(d, time.Second), retryMax)
}

// clean makes a value from outside fit to keep: valid UTF-8 without control
// characters, at most maxCapture bytes. It refuses a value that holds a part of
// the credential, plain or encoded.
func clean(s string, parts map[string]secret.Value) (string, bool) {
	if holdsSecret(s, parts) {
		return "", false
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20, r == 0x7f, r >= 0x80 && r < 0xa0,
			r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff:
			return -1 // control, zero-width and direction characters
		}
		return r
	}, s)
	for len(s) > maxCapture {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	s = strings.TrimSpace(s)
	// Taking characters out may have put the secret together.
	return s, !holdsSecret(s, parts)
}

func holdsSecret(s string, parts map[string]secret.Value) bool {
	lower := strings.ToLower(s)
	for _, p := range parts {
		x := p.Reveal()
		if x == "" {
			continue
		}
		if s == x {
			return true
		}
		if len(x) < 6 {
			continue
		}
		forms := []string{x, url.QueryEscape(x), url.PathEscape(x), hex.EncodeToString([]byte(x))}
		for shift := range 3 { // within longer base64 text it starts at one of three alignments
			padded := append(make([]byte, shift), x...)
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				forms = append(forms, enc.EncodeToString(padded)[(shift*8+5)/6:len(padded)*8/6])
			}
		}
		for _, form := range forms {
			if strings.Contains(lower, strings.ToLower(form)) {
				return true
			}
		}
	}
	return false
}

// scrub takes every part of the credential out of a text.
func scrub(s string, parts map[string]secret.Value) string {
	if holdsSecret(s, parts) {
		return secret.Redacted
	}
	return s
}
