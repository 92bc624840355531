package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

func TestCheckAddresses(t *testing.T) {
	refused := []string{"127.0.0.1", "10.1.2.3", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.255",
		"0.0.0.0", "0.1.2.3", "192.0.0.8", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
		"203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::1", "::", "::7f00:1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
		"3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "4000::1", "fd00:ec2::254"}
	for _, a := range refused {
		err := check(netip.MustParseAddr(a))
		if !errors.Is(err, ErrRefused) {
			t.Errorf("check(%s) = %v, want refused", a, err)
		}
	}
	for _, a := range []string{"1.1.1.1", "140.82.112.5", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "64:ff9b::8c52:7005", "::ffff:140.82.112.5"} {
		err := check(netip.MustParseAddr(a))
		if err != nil {
			t.Errorf("check(%s) = %v, want allowed", a, err)
		}
	}
}

func TestDestination(t *testing.T) {
	p, err := NewPolicy([]string{"api.github.com", "*.amazonaws.com"}, []string{"ghe.corp.example:8443", "vault.corp.example", "127.0.0.1:9000", "[::1]:9001", "10.0.0.7"})
	if err != nil {
		t.Fatal(err)
	}
	ok := []string{"https://api.github.com/user", "https://API.GitHub.com./user", "https://api.github.com:443/", "https://sts.eu-west-1.amazonaws.com/",
		"https://ghe.corp.example:8443/", "http://ghe.corp.example:8443/", "https://vault.corp.example/", "http://127.0.0.1:9000/", "https://127.0.0.1:9000", "http://[::1]:9001/", "https://10.0.0.7/", "http://[::ffff:127.0.0.1]:9000/"}
	for _, raw := range ok {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Check(u); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
	bad := []string{"http://api.github.com/", "https://api.github.com:8443/", "https://amazonaws.com/", "https://evilamazonaws.com/", "https://api.github.com.evil.example/",
		"https://user:pw@api.github.com/", "ftp://api.github.com/", "https://vault.corp.example:8200/", "http://vault.corp.example/", "https://127.0.0.1/", "http://127.0.0.1:9002/",
		"https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://1.1.1.1/", "https://xn--/", "https://api.github.com%00.evil/", "https:///x",
		"https://api..github.com/", "https://[fe80::1%25eth0]/", "https://аpi.github.com/", "gopher://x", "https://api.github.com_/", "https://0x7f.1/"}
	for _, raw := range bad {
		u, err := url.Parse(raw)
		if err != nil {
			continue // does not even parse
		}
		if err := p.Check(u); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want refused", raw, err)
		}
	}
}

func TestPolicyRefusesBadEntries(t *testing.T) {
	for _, e := range []string{"", "https://x", "a b", "host:0", "host:99999", "0x7f.1:80", "fe80::1%eth0", "*.example.com"} {
		_, err := NewPolicy(nil, []string{e})
		if err == nil {
			t.Errorf("entry %q accepted", e)
		}
	}
}

// fakeDNS answers every A question with the addresses of answer, over a pipe,
// and counts questions.
func fakeDNS(answer func(n int64) netip.Addr) (*net.Resolver, *atomic.Int64) {
	var n atomic.Int64
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			for {
				// A pipe is no packet connection, so the resolver speaks TCP framing.
				head := make([]byte, 2)
				if _, err := readFull(server, head); err != nil {
					return
				}
				q := make([]byte, int(head[0])<<8|int(head[1]))
				if _, err := readFull(server, q); err != nil {
					return
				}
				reply := dnsReply(q, func() netip.Addr { return answer(n.Add(1)) })
				out := append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)
				if _, err := server.Write(out); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}, &n
}

func readFull(c net.Conn, b []byte) (int, error) {
	got := 0
	for got < len(b) {
		n, err := c.Read(b[got:])
		if err != nil {
			return got, err
		}
		got += n
	}
	return got, nil
}

func dnsReply(q []byte, addr func() netip.Addr) []byte {
	end := 12
	for end < len(q) && q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5
	qtype := int(q[end-4])<<8 | int(q[end-3])
	r := append([]byte(nil), q[:end]...)
	r[2], r[3] = 0x81, 0x80
	r[6], r[7], r[8], r[9], r[10], r[11] = 0, 0, 0, 0, 0, 0
	if qtype != 1 && qtype != 28 {
		return r
	}
	a := addr()
	if a.Is4() != (qtype == 1) {
		return r
	}
	r[7] = 1
	raw := a.AsSlice()
	r = append(r, 0xc0, 12, byte(qtype>>8), byte(qtype), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
	return append(r, raw...)
}

// local starts a TLS server on loopback that counts connections.
func local(t *testing.T, h http.Handler) (*httptest.Server, *atomic.Int64, *tls.Config) {
	t.Helper()
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(h)
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return s, &conns, &tls.Config{RootCAs: pool}
}

func TestRebindingReachesNothing(t *testing.T) {
	s, conns, cfg := local(t, http.NotFoundHandler())
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// The first answer is public, the next are loopback: a check before the dial
	// would pass.
	resolver, asked := fakeDNS(func(n int64) netip.Addr {
		if n == 1 {
			return netip.MustParseAddr("192.0.2.1")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	tr, err := NewTransport(Options{Hosts: []string{"api.github.com"}, Resolver: resolver, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	// The port of the listener stands in for 443, which a test cannot bind.
	dial := tr.base.DialContext
	tr.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		d, _ := ctx.Value(destKey{}).(dest)
		d.port = port
		return dial(context.WithValue(ctx, destKey{}, d), network, strings.Replace(addr, ":443", ":"+port, 1))
	}
	for range 5 {
		req, err := http.NewRequest("GET", "https://api.github.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			t.Fatal("reached something")
		}
		if !errors.Is(err, ErrRefused) {
			t.Fatalf("err = %v, want refused", err)
		}
	}
	if conns.Load() != 0 || asked.Load() == 0 {
		t.Fatalf("connections %d (want 0), lookups %d (want some)", conns.Load(), asked.Load())
	}
}

func TestListedHostReachesLoopbackButNotMetadata(t *testing.T) {
	s, conns, cfg := local(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	target := netip.MustParseAddr("127.0.0.1")
	resolver, _ := fakeDNS(func(int64) netip.Addr { return target })
	cfg.ServerName = "example.com"
	c, err := NewClient(Options{Allow: []string{"gitlab.corp.example:" + port}, Resolver: resolver, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get("https://gitlab.corp.example:" + port + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if conns.Load() != 1 {
		t.Fatalf("connections %d, want 1", conns.Load())
	}
	c.CloseIdleConnections()
	for _, a := range []string{"169.254.169.254", "0.0.0.0", "fe80::1", "::", "64:ff9b::169.254.169.254"} {
		target = netip.MustParseAddr(a)
		_, err = c.Get("https://gitlab.corp.example:" + port + "/")
		if err == nil {
			t.Fatalf("%s was reached through a listed name", a)
		}
	}
}

func TestRedirects(t *testing.T) {
	victim, victims, _ := local(t, http.NotFoundHandler())
	var s *httptest.Server
	s, _, cfg := local(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, victim.URL+"/", http.StatusFound)
		case "/same":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/end":
			fmt.Fprint(w, "end")
		}
	}))
	c, err := NewClient(Options{Allow: []string{s.Listener.Addr().String(), victim.Listener.Addr().String()}, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/away": 302, "/same": 200, "/loop": 302} {
		resp, err := c.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if victims.Load() != 0 {
		t.Error("a redirect to another host was followed")
	}
}

func TestProxyVariablesAreIgnored(t *testing.T) {
	proxy, used, _ := local(t, http.NotFoundHandler())
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("https_proxy", proxy.URL)
	s, _, cfg := local(t, http.NotFoundHandler())
	c, err := NewClient(Options{Allow: []string{s.Listener.Addr().String()}, TLS: cfg})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if used.Load() != 0 {
		t.Error("the proxy of the environment was used")
	}
}

// TestFuzzedHostsOpenNothing drives the whole transport with 100,000 hostile
// hosts, some on the list of hosts and resolved to special-purpose addresses,
// and counts the sockets that pass the check.
func TestFuzzedHostsOpenNothing(t *testing.T) {
	const n = 100_000
	rng := rand.New(rand.NewPCG(7, 11))
	var opened, decided int
	tr, err := NewTransport(Options{Hosts: []string{"*.provider.example", "api.github.com"}})
	if err != nil {
		t.Fatal(err)
	}
	// In place of the dialer: run the socket check on what the name would give.
	tr.base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		decided++
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		a, err := netip.ParseAddr(host)
		if err != nil {
			a = reserved(rng)
		}
		netw := "tcp4"
		if a.Is6() {
			netw = "tcp6"
		}
		err = control(ctx, netw, netip.AddrPortFrom(a, mustPort(port)).String(), nil)
		if err == nil {
			opened++
			t.Errorf("socket opened to %s for %s", a, addr)
		}
		return nil, errors.Join(err, errors.New("no network in this test"))
	}
	for range n {
		host := fuzzHost(rng)
		req := &http.Request{Method: "GET", URL: &url.URL{Scheme: "https", Host: host, Path: "/"}, Header: http.Header{}}
		resp, err := tr.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
			t.Fatalf("%q answered", host)
		}
	}
	if opened != 0 || decided < n/10 {
		t.Fatalf("opened %d (want 0), decided %d of %d", opened, decided, n)
	}
	t.Logf("%d hosts, %d reached the socket check, %d opened", n, decided, opened)
}

func mustPort(s string) uint16 {
	var p uint16
	_, err := fmt.Sscan(s, &p)
	if err != nil {
		return 0
	}
	return p
}

// reserved gives a random address of a random special-purpose block, at times
// dressed as mapped or NAT64.
func reserved(rng *rand.Rand) netip.Addr {
	b := special[rng.IntN(len(special))].prefix
	if b.Addr().Is4In6() {
		b = netip.MustParsePrefix("127.0.0.0/8") // what a mapped address hides decides, see the cases below
	}
	raw := b.Addr().AsSlice()
	for bit := b.Bits(); bit < len(raw)*8; bit++ {
		if rng.IntN(2) == 1 {
			raw[bit/8] |= 1 << (7 - bit%8)
		}
	}
	a, _ := netip.AddrFromSlice(raw)
	if !a.Is4() {
		return a
	}
	v4 := a.As4()
	switch rng.IntN(3) {
	case 1:
		return netip.AddrFrom16(a.As16())
	case 2:
		x := [16]byte{0, 0x64, 0xff, 0x9b}
		copy(x[12:], v4[:])
		return netip.AddrFrom16(x)
	}
	return a
}

func fuzzHost(rng *rand.Rand) string {
	a := reserved(rng)
	v4 := a.As16()
	switch rng.IntN(12) {
	case 0:
		return "h" + fmt.Sprint(rng.IntN(1000)) + ".provider.example"
	case 1:
		return "API.github.COM."
	case 2:
		return "api.github.com:443"
	case 3:
		if a.Is4() {
			return a.String()
		}
		return "[" + a.String() + "]"
	case 4:
		return fmt.Sprint(uint32(v4[12])<<24 | uint32(v4[13])<<16 | uint32(v4[14])<<8 | uint32(v4[15]))
	case 5:
		return fmt.Sprintf("0x%02x%02x%02x%02x", v4[12], v4[13], v4[14], v4[15])
	case 6:
		return fmt.Sprintf("0%o.0%o.%d.%d", v4[12], v4[13], v4[14], v4[15])
	case 7:
		return fmt.Sprintf("%d.%d", v4[12], uint32(v4[13])<<16|uint32(v4[14])<<8|uint32(v4[15]))
	case 8:
		return "[fe80::1%25eth0]"
	case 9:
		return "api.github.com@" + a.String()
	case 10:
		b := make([]byte, 1+rng.IntN(40))
		for i := range b {
			b[i] = byte(rng.IntN(256))
		}
		return string(b)
	default:
		return a.String() + ".provider.example"
	}
}
