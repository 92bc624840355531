package acthttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard/egress"
	"stanch/responder/incident"
)

// unsendable means that the request cannot be built from this credential; its
// text holds no value.
type unsendable struct{ why string }

func (u *unsendable) Error() string { return u.why }

func refuse(format string, args ...any) error { return &unsendable{fmt.Sprintf(format, args...)} }

// target is where a provider's requests go.
type target struct {
	provider string
	baseURL  string
	hosts    []string
}

// values resolves references for one request.
type values struct {
	s     act.Subject
	admin map[string]secret.Value
	undo  map[string]string
}

func (v *values) raw(r playbooks.Ref) (string, error) {
	if x, ok := v.undo[r.String()]; ok {
		return x, nil
	}
	var out string
	switch r.Scope {
	case playbooks.ScopePart:
		out = v.s.Parts[r.Name].Reveal()
	case playbooks.ScopeFact:
		out = v.s.Facts[r.Name]
	case playbooks.ScopeAdmin:
		out = v.admin[r.Name].Reveal()
	}
	if out == "" {
		return "", refuse("%s has no value", r)
	}
	return out, nil
}

// escaped gives an expander that escapes each value.
func (v *values) escaped(escape func(string) (string, error)) func(playbooks.Ref) (string, error) {
	return func(r playbooks.Ref) (string, error) {
		x, err := v.raw(r)
		if err != nil {
			return "", err
		}
		y, err := escape(x)
		if err != nil {
			return "", refuse("%s: %v", r, err)
		}
		return y, nil
	}
}

func asIs(s string) (string, error) { return s, nil }

func pathSegment(s string) (string, error) {
	if s == "." || s == ".." {
		return "", errors.New("is a dot segment")
	}
	return url.PathEscape(s), nil
}

func queryValue(s string) (string, error) { return url.QueryEscape(s), nil }

// headerValue: printable ASCII only, no line can be added.
func headerValue(s string) (string, error) {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return "", errors.New("has bytes that a header cannot carry")
		}
	}
	return s, nil
}

// hostName: a host out of the leak; whether it may be reached is the egress
// guard's to say.
func hostName(s string) (string, error) {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == ':') {
			return "", errors.New("is no host name")
		}
	}
	if _, err := netip.ParseAddr(s); err == nil || strings.Count(s, ":") > 1 {
		return "", errors.New("is no host name")
	}
	return s, nil
}

// build makes the HTTP request of a playbook.
func (d *Driver) build(ctx context.Context, t target, r *playbooks.Request, v *values) (*http.Request, error) {
	u, err := d.url(t, r, v)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	contentType := ""
	switch {
	case r.JSON != nil:
		tree, err := fill(r.JSON, v)
		if err != nil {
			return nil, err
		}
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		err = enc.Encode(tree)
		if err != nil {
			return nil, refuse("the body cannot be written as JSON")
		}
		body, contentType = &buf, "application/json"
	case len(r.Form) > 0:
		form := url.Values{}
		for k, tpl := range r.Form {
			x, err := playbooks.Expand(tpl, v.escaped(asIs))
			if err != nil {
				return nil, err
			}
			form.Set(k, x)
		}
		body, contentType = strings.NewReader(form.Encode()), "application/x-www-form-urlencoded"
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, u, body)
	if err != nil {
		return nil, refuse("the request cannot be built")
	}
	req.Header.Set("User-Agent", d.o.UserAgent)
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, tpl := range r.Headers {
		x, err := playbooks.Expand(tpl, v.escaped(headerValue))
		if err != nil {
			return nil, err
		}
		req.Header.Set(k, x)
	}
	err = authenticate(req, r.Auth, v)
	if err != nil {
		return nil, err
	}
	return req, nil
}

func authenticate(req *http.Request, a *playbooks.Auth, v *values) error {
	if a == nil {
		return nil
	}
	set := func(header, prefix, tpl string) error {
		x, err := playbooks.Expand(tpl, v.escaped(headerValue))
		if err != nil {
			return err
		}
		req.Header.Set(header, prefix+x)
		return nil
	}
	switch {
	case a.Bearer != "":
		return set("Authorization", "Bearer ", a.Bearer)
	case a.Token != "":
		return set("Authorization", "token ", a.Token)
	case a.Basic != nil:
		user, err := playbooks.Expand(a.Basic.User, v.escaped(asIs))
		if err != nil {
			return err
		}
		pass, err := playbooks.Expand(a.Basic.Password, v.escaped(asIs))
		if err != nil {
			return err
		}
		if strings.Contains(user, ":") {
			return refuse("the user name holds a colon, which Basic cannot carry")
		}
		req.SetBasicAuth(user, pass)
	}
	for k, tpl := range a.Header {
		err := set(k, "", tpl)
		if err != nil {
			return err
		}
	}
	return nil
}

// url puts base and path together and checks that the host is one that the
// playbook or the operator named.
func (d *Driver) url(t target, r *playbooks.Request, v *values) (string, error) {
	base, replaced := d.o.BaseURLs[t.provider]
	replaced = replaced && base != ""
	fromLeak := false
	if !replaced {
		base = t.baseURL
		if r.BaseURL != "" {
			base = r.BaseURL
		}
		refs, err := playbooks.Refs(base)
		if err != nil {
			return "", refuse("the base URL is malformed")
		}
		fromLeak = len(refs) > 0
		base, err = playbooks.Expand(base, v.escaped(hostName))
		if err != nil {
			return "", err
		}
	}
	tpl, query, hasQuery := strings.Cut(r.Path, "?")
	path, err := playbooks.Expand(tpl, v.escaped(pathSegment))
	if err != nil {
		return "", err
	}
	full := strings.TrimSuffix(base, "/") + path
	if hasQuery {
		query, err = playbooks.Expand(query, v.escaped(queryValue))
		if err != nil {
			return "", err
		}
		full += "?" + query
	}
	u, err := url.Parse(full)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", refuse("the URL cannot be built")
	}
	if !replaced && !fromLeak && !playbooks.HostAllowed(t.hosts, u.Hostname()) {
		return "", refuse("the host is not in the playbook's hosts")
	}
	return full, nil
}

// fill replaces the references in a JSON tree; a value can only become a string.
func fill(node any, v *values) (any, error) {
	switch n := node.(type) {
	case string:
		return playbooks.Expand(n, v.escaped(asIs))
	case []any:
		out := make([]any, len(n))
		for i, e := range n {
			x, err := fill(e, v)
			if err != nil {
				return nil, err
			}
			out[i] = x
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(n))
		for k, e := range n {
			x, err := fill(e, v)
			if err != nil {
				return nil, err
			}
			out[k] = x
		}
		return out, nil
	default:
		return n, nil
	}
}

// send builds and sends a request and reads its answer. The record is nil when
// nothing was sent.
func (d *Driver) send(ctx context.Context, t target, r *playbooks.Request, with string, s act.Subject, undo map[string]string) (*answer, *incident.Request, error) {
	v := &values{s: s, undo: undo}
	if with == playbooks.WithAdmin {
		if d.o.Admin == nil {
			return nil, nil, refuse("no credential of our own is enrolled for %s", t.provider)
		}
		admin, err := d.o.Admin(ctx, t.provider)
		if err != nil {
			return nil, nil, fmt.Errorf("read our own credential for %s: %s", t.provider, scrub(err.Error(), s.Parts))
		}
		v.admin = admin
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.Timeout)
	defer cancel()
	req, err := d.build(ctx, t, r, v)
	if err != nil {
		return nil, nil, err
	}
	start := d.o.Now()
	rec := &incident.Request{Operation: operation(r), Host: req.URL.Host, At: start.UTC(), With: with}
	ans, err := d.exchange(req)
	rec.TookMS = d.o.Now().Sub(start).Milliseconds()
	if ans != nil {
		rec.Status = ans.status
		// A provider, or what stands before it, can send back what it was sent.
		if !holdsSecret(ans.requestID, s.Parts) && !holdsSecret(ans.requestID, v.admin) {
			rec.RequestID = ans.requestID
		}
	}
	if err != nil {
		err = reason(ctx, err)
		rec.Error = err.Error()
		return nil, rec, err
	}
	return ans, rec, nil
}

func (d *Driver) exchange(req *http.Request) (*answer, error) {
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return read(resp)
}

// reason puts a transport error into words without its URL or any other text
// from outside.
func reason(ctx context.Context, err error) error {
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, egress.ErrRefused):
		return egress.ErrRefused
	case errors.As(err, &cert), errors.As(err, &unknown), errors.As(err, &host), errors.As(err, &record), errors.As(err, &alert):
		return errors.New("TLS failed")
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return fmt.Errorf("stopped: %w", context.Canceled)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errors.New("timeout")
	case errors.As(err, &dns):
		return errors.New("the host's name could not be resolved")
	case errors.Is(err, errTooLarge), errors.Is(err, errCutOff):
		return err
	default:
		return errors.New("the connection failed")
	}
}
