// Package egress is the one way out to providers.
//
// # What this package promises
//
// A request reaches a host only when the host is on a playbook's own list or the
// operator listed it, over https at port 443 unless the operator listed another
// port. The address is checked when the socket is opened, on the socket that is
// used, so a name that resolves to something else the second time gains
// nothing. Addresses of the IANA special-purpose registries are refused unless
// the operator listed the host.
//
// # What it never does
//
// It uses no proxy from the environment, follows no redirect to another host,
// and carries no secret into an error.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stanch/playbooks"
)

// ErrRefused is wrapped by every error that stands for a refused destination.
var ErrRefused = errors.New("egress refused")

// Options of a client.
type Options struct {
	// Hosts are the playbooks' own host names; a "*." prefix stands for every name
	// below. They are reached by https at port 443 and at public addresses only.
	Hosts []string
	// Allow is the operator's list (egress.allow): "host" allows it at port 443 by
	// https, "host:port" at that port by https or http; both allow private and
	// loopback addresses. An IP address stands for itself.
	Allow []string
	// Resolver looks names up; nil for the system's.
	Resolver *net.Resolver
	// Timeout of a whole request. Defaults to 30 s.
	Timeout time.Duration
	// TLS is cloned; nil for the system's roots. TLS 1.2 is the least.
	TLS *tls.Config
}

// Policy decides about destinations. It is immutable and safe for concurrent use.
type Policy struct {
	hosts []string
	allow map[string]bool // "host:port" or "host"
}

// NewPolicy reads the two lists; an entry that cannot be one is an error.
func NewPolicy(hosts, allow []string) (*Policy, error) {
	p := &Policy{hosts: hosts, allow: map[string]bool{}}
	for _, entry := range allow {
		host, port, ok := entry, "", false
		if h, pt, err := net.SplitHostPort(entry); err == nil {
			host, port, ok = h, pt, true
		} else {
			host = strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]")
		}
		name, err := canonical(host)
		if err != nil {
			return nil, fmt.Errorf("read egress.allow: %.80q: %w", entry, err)
		}
		if ok {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("read egress.allow: %.80q has no port from 1 to 65535", entry)
			}
			name = net.JoinHostPort(name, strconv.FormatUint(n, 10))
		}
		p.allow[name] = true
	}
	return p, nil
}

// dest is where a request goes, as decided before a name is looked up.
type dest struct {
	host   string // canonical name or address
	port   string
	listed bool // by the operator
}

// destination decides about a URL's scheme, host and port.
func (p *Policy) destination(u *url.URL) (dest, error) {
	if u.Scheme != "https" && u.Scheme != "http" {
		return dest{}, fmt.Errorf("%w: scheme %.20q", ErrRefused, u.Scheme)
	}
	if u.User != nil {
		return dest{}, fmt.Errorf("%w: credentials in a URL", ErrRefused)
	}
	host, err := canonical(u.Hostname())
	if err != nil {
		return dest{}, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	d := dest{host: host, port: port}
	switch {
	case p.allow[net.JoinHostPort(host, port)]:
		d.listed = true
		return d, nil
	case p.allow[host] && u.Scheme == "https" && port == "443":
		d.listed = true
		return d, nil
	case u.Scheme != "https" || port != "443":
		return dest{}, fmt.Errorf("%w: %.100s is not https at port 443 and not in egress.allow", ErrRefused, net.JoinHostPort(host, port))
	}
	if _, err := netip.ParseAddr(host); err == nil || !playbooks.HostAllowed(p.hosts, host) {
		return dest{}, fmt.Errorf("%w: host %.100s is not in the playbook's hosts and not in egress.allow", ErrRefused, host)
	}
	return d, nil
}

// Check says whether a URL may be called, before anything is sent. The address
// is checked again when the socket is opened.
func (p *Policy) Check(u *url.URL) error {
	_, err := p.destination(u)
	return err
}

// canonical gives a host in the one form in which it is compared: a lower-case
// ASCII name without a final dot, or an address as netip writes it. Notations
// that resolvers read as addresses (decimal, octal, hexadecimal, short forms)
// and names that are none are refused.
func canonical(host string) (string, error) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" || len(host) > 253 {
		return "", fmt.Errorf("%w: no host", ErrRefused)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return "", fmt.Errorf("%w: address with a zone", ErrRefused)
		}
		return a.Unmap().String(), nil
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 {
			return "", fmt.Errorf("%w: %.100q is no host name", ErrRefused, host)
		}
		for i := range len(l) {
			c := l[i]
			if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
				return "", fmt.Errorf("%w: %.100q is no host name", ErrRefused, host)
			}
		}
	}
	last := labels[len(labels)-1]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return "", fmt.Errorf("%w: %.100q is an address in disguise", ErrRefused, host)
	}
	return host, nil
}

type destKey struct{}

// Transport is a RoundTripper that keeps the promises of this package. It is
// safe for concurrent use.
type Transport struct {
	policy *Policy
	base   *http.Transport
}

// NewTransport makes a transport.
func NewTransport(o Options) (*Transport, error) {
	policy, err := NewPolicy(o.Hosts, o.Allow)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{}
	if o.TLS != nil {
		cfg = o.TLS.Clone()
	}
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	dialer := &net.Dialer{Timeout: 10 * time.Second, Resolver: o.Resolver, ControlContext: control}
	return &Transport{policy: policy, base: &http.Transport{
		Proxy:                  nil, // never from the environment
		DialContext:            dialer.DialContext,
		TLSClientConfig:        cfg,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  20 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        60 * time.Second,
		ForceAttemptHTTP2:      true,
	}}, nil
}

// RoundTrip decides about the destination and sends the request.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	d, err := t.policy.destination(req.URL)
	if err != nil {
		return nil, err
	}
	ctx := context.WithValue(req.Context(), destKey{}, d)
	out := req.Clone(ctx)
	if req.URL.Hostname() != d.host {
		// Send exactly the form that was decided about.
		u := *req.URL
		u.Host = d.host
		if strings.Contains(d.host, ":") {
			u.Host = "[" + d.host + "]"
		}
		if p := req.URL.Port(); p != "" {
			u.Host = net.JoinHostPort(d.host, p)
		}
		out.URL = &u
	}
	if out.Host != "" && out.Host != out.URL.Host {
		return nil, fmt.Errorf("%w: Host header names another host", ErrRefused)
	}
	return t.base.RoundTrip(out)
}

// CloseIdleConnections closes what is kept open.
func (t *Transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// control runs on each socket before it connects; address is the one that it
// connects to.
func control(ctx context.Context, network, address string, _ syscall.RawConn) error {
	d, ok := ctx.Value(destKey{}).(dest)
	if !ok {
		return fmt.Errorf("%w: connection without a decided destination", ErrRefused)
	}
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: network %s", ErrRefused, network)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %.80q is no address", ErrRefused, address)
	}
	if strconv.Itoa(int(ap.Port())) != d.port {
		return fmt.Errorf("%w: port changed on the way", ErrRefused)
	}
	if !d.listed {
		return check(ap.Addr())
	}
	if own, err := netip.ParseAddr(d.host); err == nil {
		if own.Unmap() != ap.Addr().Unmap() {
			return fmt.Errorf("%w: address changed on the way", ErrRefused)
		}
		return nil
	}
	return checkListed(ap.Addr())
}

// NewClient makes a client over [NewTransport]. It follows up to three redirects
// of GET and HEAD within the same scheme, host and port; any other redirect is
// handed back as the answer.
func NewClient(o Options) (*http.Client, error) {
	t, err := NewTransport(o)
	if err != nil {
		return nil, err
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = 30 * time.Second
	}
	return &http.Client{Transport: t, Timeout: timeout, CheckRedirect: SameOrigin}, nil
}

// SameOrigin is a CheckRedirect that stays on the same scheme, host and port.
func SameOrigin(req *http.Request, via []*http.Request) error {
	first := via[0]
	same := req.URL.Scheme == first.URL.Scheme && strings.EqualFold(req.URL.Host, first.URL.Host)
	read := first.Method == http.MethodGet || first.Method == http.MethodHead
	if !same || !read || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}
