package service_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// killer is a point among the calls to the outside: the at-th request, before it
// is forwarded or after its effect.
type killer struct {
	at     int    // 0 for none
	name   string // counts the calls of this name alone; "" counts all
	before bool
}

// crashProxies stand between the service and the laboratories. They count every
// request and kill the service at one of them.
type crashProxies struct {
	t    *testing.T
	kill func() // ends the service and returns when it is gone

	mu     sync.Mutex
	point  killer
	calls  []string
	struck string // the call at which it killed; "" if not yet
}

// front starts a proxy before a laboratory and gives its URL.
func (p *crashProxies) front(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		p.t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.pass(w, r, u.Host, transport) }))
	p.t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
		transport.CloseIdleConnections()
	})
	return s.URL
}

func (p *crashProxies) pass(w http.ResponseWriter, r *http.Request, target string, transport *http.Transport) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	name := callName(r, body)
	p.mu.Lock()
	p.calls = append(p.calls, name)
	n := len(p.calls)
	if p.point.name != "" {
		n = p.made(p.point.name)
	}
	hit := p.point.at > 0 && n == p.point.at && p.struck == "" && (p.point.name == "" || p.point.name == name)
	if hit {
		p.struck = name
	}
	before := p.point.before
	p.mu.Unlock()
	if hit && before {
		p.kill()
		panic(http.ErrAbortHandler)
	}
	out := r.Clone(r.Context())
	if hit {
		// The effect must be whole even when the one who asked is gone.
		out = r.Clone(context.WithoutCancel(r.Context()))
	}
	out.URL.Scheme, out.URL.Host, out.Host, out.RequestURI = "http", target, r.Host, ""
	out.Body, out.ContentLength, out.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "")
	}
	res, err := transport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if hit {
		p.kill()
		panic(http.ErrAbortHandler)
	}
	for k, vs := range res.Header {
		w.Header()[k] = vs
	}
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(answer)
}

// callName names a call for people; it never holds a value.
func callName(r *http.Request, body []byte) string {
	if t := r.Header.Get("X-Amz-Target"); t != "" {
		return "aws " + t[strings.LastIndex(t, ".")+1:]
	}
	if strings.HasPrefix(r.Header.Get("Authorization"), "AWS4") {
		form, _ := url.ParseQuery(string(body))
		if form.Get("Action") == "" {
			return "aws " + r.Method + " " + r.URL.Path
		}
		return "aws " + form.Get("Action")
	}
	return "github " + r.Method + " " + r.URL.Path
}

// count is how many calls there were.
func (p *crashProxies) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// made counts the calls of one name. It wants p.mu.
func (p *crashProxies) made(name string) int {
	n := 0
	for _, c := range p.calls {
		if c == name {
			n++
		}
	}
	return n
}
