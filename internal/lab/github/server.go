// Package github is a strict laboratory GitHub for the demo and for tests: real
// git over smart HTTP, webhooks signed and shaped as GitHub's, and the REST
// calls that Stanch makes, on a loopback port.
//
// # What this package promises
//
// It refuses what GitHub refuses: App tokens that are expired or too long, an
// installation token outside its repositories or permissions, an authenticated
// call of POST /credentials/revoke, malformed bodies. A revoked token stays
// alive for up to four seconds, as a careful client must expect. With
// [Options.Misbehave] it also fails as GitHub does: 429 and 5xx, answers that
// are lost after the effect, deliveries that come twice, late or out of order.
// Every choice comes from one seed. What was asked is in [Server.Requests].
//
// # What it never does
//
// It is never reached from the service: only the demo and tests start it. It
// makes no request but the deliveries to the webhook URL that it was given, and
// its tokens, though well formed, open nothing outside it.
package github

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options configures a laboratory. The zero value is a well-behaved one.
type Options struct {
	Seed      uint64
	Misbehave bool             // use DefaultFaults
	Faults    *Faults          // replaces DefaultFaults when set
	DataDir   string           // where repositories lie; defaults to a temporary directory that Close deletes
	Now       func() time.Time // defaults to time.Now
	RevokeLag time.Duration    // most that a revocation takes to work; defaults to 4 s, negative means none
	AuditLag  time.Duration    // how late events appear in the audit log
	Stateless bool             // installation tokens in the long form of 2026: ghs_APPID_JWT
	// RevokeLimit is how many unauthenticated requests an hour are served;
	// defaults to 60, as GitHub.
	RevokeLimit int
}

// Faults are the probabilities of misbehaviour, 0 to 1.
type Faults struct {
	TooMany     float64       // 429 with Retry-After, no effect
	ServerError float64       // 500, 502 or 503, no effect
	LostAnswer  float64       // the effect happens, the connection is cut
	Duplicate   float64       // a delivery comes twice, same GUID
	MaxDelay    time.Duration // deliveries wait up to this, each its own time, and so overtake
}

// DefaultFaults are the rates of Options.Misbehave.
var DefaultFaults = Faults{TooMany: 0.05, ServerError: 0.05, LostAnswer: 0.02, Duplicate: 0.1, MaxDelay: 300 * time.Millisecond}

// Server is a running laboratory. All methods may be called concurrently.
type Server struct {
	opts    Options
	faults  Faults
	dir     string
	ownDir  bool
	backend string // git-http-backend
	http    *http.Server
	url     string
	client  *http.Client
	ctx     context.Context
	stop    context.CancelFunc

	flight flight // deliveries and pushes under way

	mu         sync.Mutex
	rng        *rand.Rand
	lastID     int64
	accounts   map[string]*Account
	repos      map[string]*Repo
	moved      map[string]*Repo // by old name
	alerts     map[string][]SecretAlert
	apps       map[int64]*App
	installs   map[int64]*Installation
	tokens     map[string]*token
	audit      []AuditEvent
	deliveries []*Delivery
	requests   []Request
	limits     map[string]*window
	revoked    map[string]int // accepted revocations by hash of the token
}

// Start starts a laboratory on 127.0.0.1.
func Start(o Options) (*Server, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	s := &Server{
		opts: o, backend: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"),
		rng: rand.New(rand.NewPCG(o.Seed, 0x9e3779b97f4a7c15)), lastID: 1000 + int64(o.Seed%1000),
		accounts: map[string]*Account{}, repos: map[string]*Repo{}, moved: map[string]*Repo{}, alerts: map[string][]SecretAlert{}, apps: map[int64]*App{},
		installs: map[int64]*Installation{}, tokens: map[string]*token{},
		limits: map[string]*window{}, revoked: map[string]int{},
	}
	_, err = os.Stat(s.backend)
	if err != nil {
		return nil, fmt.Errorf("find git-http-backend: %w", err)
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	if s.opts.RevokeLimit == 0 {
		s.opts.RevokeLimit = 60
	}
	if o.Misbehave {
		s.faults = DefaultFaults
	}
	if o.Faults != nil {
		s.faults = *o.Faults
	}
	s.dir = o.DataDir
	if s.dir == "" {
		s.ownDir = true
		s.dir, err = os.MkdirTemp("", "stanch-lab-github-")
		if err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.url = "http://" + listener.Addr().String()
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.client = &http.Client{
		Timeout:       10 * time.Second, // as GitHub waits
		Transport:     &http.Transport{MaxIdleConnsPerHost: 32},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.http = &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(listener) }()
	return s, nil
}

// Close stops the laboratory, gives up deliveries under way and deletes the data
// directory that it made itself.
func (s *Server) Close() {
	s.stop()
	_ = s.http.Close()
	<-s.flight.idle()
	s.client.CloseIdleConnections()
	if s.ownDir {
		_ = os.RemoveAll(s.dir)
	}
}

// URL is the web root, from which repositories are cloned.
func (s *Server) URL() string { return s.url }

// APIURL is the root of the REST API in the form of api.github.com.
func (s *Server) APIURL() string { return s.url }

// EnterpriseAPIURL is the root of the same API in the form of Enterprise Server.
func (s *Server) EnterpriseAPIURL() string { return s.url + "/api/v3" }

// Wait returns when no push is being processed and no delivery is under way.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.flight.idle():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flight counts what is under way. Unlike sync.WaitGroup it may be waited for
// while the count rises from zero.
type flight struct {
	mu      sync.Mutex
	n       int
	waiters []chan struct{}
}

func (f *flight) add() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

func (f *flight) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 {
		for _, w := range f.waiters {
			close(w)
		}
		f.waiters = nil
	}
}

// idle returns a channel that is closed when nothing is under way.
func (f *flight) idle() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := make(chan struct{})
	if f.n == 0 {
		close(w)
	} else {
		f.waiters = append(f.waiters, w)
	}
	return w
}

func (s *Server) now() time.Time { return s.opts.Now().UTC() }

// chance rolls the seeded dice.
func (s *Server) chance(p float64) bool {
	if p <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Float64() < p
}

func (s *Server) pick(n int64) int64 {
	if n <= 0 {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Int64N(n)
}

// nextID wants s.mu.
func (s *Server) nextID() int64 {
	s.lastID += 1 + s.rng.Int64N(97)
	return s.lastID
}
