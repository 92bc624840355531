// Package labaws is a laboratory AWS: IAM, STS, CloudTrail and a little of S3,
// EC2, Secrets Manager and Account Management over their real wire protocols,
// for the demo and for tests. Clients of aws-sdk-go-v2 talk to it with
// BaseEndpoint set to [Server.URL]; service and Region come from the scope of
// the signature.
//
// # What this package promises
//
// It is strict: signatures are recomputed, policies are evaluated, quotas hold.
// It is late as AWS is late: a change shows at once in control-plane reads and
// is enforced only after [Options.EnforcementLag]; an event reaches LookupEvents
// only after [Options.TrailDelay], which is far shorter here (1 to 3 s) than
// AWS's minutes. With [Options.Misbehave] it throttles, fails and loses answers,
// by a seeded source of chance.
//
// # What it never does
//
// It is never reached from the service: only the demo and tests import it. It
// is a model, not proof about AWS; what it simplifies is said where it does.
package labaws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// SourceIPHeader lets a laboratory client choose the address that CloudTrail
// records and that aws:SourceIp sees; without it the peer's address counts.
const SourceIPHeader = "X-Lab-Source-IP"

const maxBody = 1 << 20

// Span is a range of durations from which one is drawn for each use.
type Span struct{ Min, Max time.Duration }

// Options are all optional.
type Options struct {
	Seed int64
	// Misbehave switches faults on, at the rates of Faults.
	Misbehave bool
	// Faults are the rates; nil means DefaultFaults.
	Faults *Faults
	// Latency is added to every answer; nil means none.
	Latency *Span
	// Clock is the laboratory's time; nil means time.Now.
	Clock func() time.Time
	// EnforcementLag is drawn for every change; nil means 0 to 4 s.
	EnforcementLag *Span
	// TrailDelay is drawn for every event; nil means 1 to 3 s.
	TrailDelay *Span
	// Regions that are enabled; nil means 33. us-east-1 is always among them.
	Regions []string
	// Accounts by number; nil means DefaultAccount alone. The first one is
	// where ImportEvents puts its events.
	Accounts []string
}

// DefaultAccount is the account that exists when Options names none.
const DefaultAccount = "111122223333"

// GlobalRegion is where the events of global services are logged.
const GlobalRegion = "us-east-1"

// DefaultRegions are the Regions that are enabled when Options names none.
func DefaultRegions() []string {
	return []string{
		"us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-east-2",
		"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1",
		"ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-7", "ca-central-1",
		"ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1",
		"eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1",
	}
}

// Server is a running laboratory. Its methods are safe for concurrent use.
type Server struct {
	// URL is the endpoint of every service.
	URL string

	opts    Options
	regions []string
	http    *http.Server
	done    chan struct{}

	mu       sync.Mutex
	rng      *rand.Rand
	accounts map[string]*account
	primary  *account
	keys     map[string]*accessKey // every key ever made
	sessions map[string]*session
	wrong    map[string]time.Time // last wrong secret by key id
	requests []Request
	changes  []Transition
	pageKey  []byte
	sequence int
}

// Start runs a laboratory on a free port of 127.0.0.1 until Close.
func Start(o Options) (*Server, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.EnforcementLag == nil {
		o.EnforcementLag = &Span{0, 4 * time.Second}
	}
	if o.TrailDelay == nil {
		o.TrailDelay = &Span{time.Second, 3 * time.Second}
	}
	if o.Faults == nil {
		f := DefaultFaults()
		o.Faults = &f
	}
	if len(o.Accounts) == 0 {
		o.Accounts = []string{DefaultAccount}
	}
	s := &Server{
		opts: o, regions: slices.Clone(o.Regions), done: make(chan struct{}),
		rng:      rand.New(rand.NewPCG(uint64(o.Seed), 0x5354414e4348)),
		accounts: map[string]*account{}, keys: map[string]*accessKey{}, sessions: map[string]*session{},
		wrong:   map[string]time.Time{},
		pageKey: make([]byte, 32),
	}
	fill(s.pageKey, s.rng)
	if len(s.regions) == 0 {
		s.regions = DefaultRegions()
	}
	if !slices.Contains(s.regions, GlobalRegion) {
		s.regions = append([]string{GlobalRegion}, s.regions...)
	}
	for _, id := range o.Accounts {
		_, err := newKeyID("AKIA", id, s.rng)
		if err != nil {
			return nil, fmt.Errorf("start laboratory: %w", err)
		}
		s.accounts[id] = s.newAccount(id)
	}
	s.primary = s.accounts[o.Accounts[0]]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start laboratory: %w", err)
	}
	s.URL = "http://" + listener.Addr().String()
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener)
	}()
	return s, nil
}

// Close stops the laboratory and cuts what is open.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	if err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("close laboratory: %w", err)
	}
	return nil
}

// Regions lists the enabled Regions.
func (s *Server) Regions() []string { return slices.Clone(s.regions) }

func (s *Server) draw(span *Span) time.Duration {
	if span == nil {
		return 0
	}
	if span.Max <= span.Min {
		return span.Min
	}
	return span.Min + time.Duration(s.rng.Int64N(int64(span.Max-span.Min)+1))
}

// call is one request on its way through the laboratory.
type call struct {
	s         *Server
	now       time.Time
	requestID string
	service   string
	region    string // of the signature's scope
	logRegion string // where CloudTrail files it
	operation string
	form      url.Values     // query protocols
	json      map[string]any // JSON protocols
	path      []string       // S3: bucket and key
	who       *principal
	sourceIP  string
	userAgent string
	resource  string // that authorisation was asked about
	effective time.Time
	extra     map[string][]string // condition keys of this operation
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return
	}
	if len(body) > maxBody {
		http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
		return
	}
	s.mu.Lock()
	fault := s.chooseFault()
	latency := s.draw(s.opts.Latency)
	s.mu.Unlock()
	if latency > 0 && !pause(r.Context(), latency) {
		return
	}
	a := s.handle(r, body, fault)
	if fault == faultLost {
		panic(http.ErrAbortHandler)
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// handle does everything under the one lock: a request sees and leaves a whole state.
func (s *Server) handle(r *http.Request, body []byte, fault fault) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{s: s, now: s.opts.Clock().UTC(), userAgent: r.UserAgent(), sourceIP: sourceIP(r), service: "sts"}
	id := make([]byte, 16)
	fill(id, s.rng)
	c.requestID = uuid.Must(uuid.FromBytes(id)).String()
	result, refusal, logged := c.run(r, body, fault)
	a := c.render(result, refusal)
	if a.header == nil {
		a.header = map[string]string{}
	}
	a.header["X-Amzn-Requestid"] = c.requestID
	a.header["Date"] = c.now.Format(http.TimeFormat)
	if c.service == "s3" {
		a.header["X-Amz-Request-Id"] = c.requestID
	}
	if logged {
		s.record(c, result, refusal)
	}
	s.note(c, a.status, refusal, fault)
	return a
}

// run authenticates, injects the chosen fault, authorises and performs.
func (c *call) run(r *http.Request, body []byte, f fault) (result reply, refusal *apiError, logged bool) {
	sig, refusal := readSignature(r)
	if refusal == nil {
		c.service, c.region = sig.service, sig.region
	}
	bad := c.parse(r, body)
	injected := c.inject(f)
	if refusal == nil {
		refusal = c.authenticate(r, body, sig)
	}
	switch {
	case refusal != nil && injected != nil:
		return reply{}, injected, false
	case refusal != nil:
		return reply{}, refusal, false
	case injected != nil:
		return reply{}, injected, true
	case bad != nil:
		return reply{}, bad, false
	}
	op, ok := operations[c.service+":"+c.operation]
	if !ok {
		return reply{}, fail(http.StatusBadRequest, "InvalidAction", "Could not find operation %s of %s.", c.operation, c.service), false
	}
	refusal = c.authorize(op)
	if refusal != nil {
		return reply{}, refusal, true
	}
	if op.write && f == faultConflict {
		return reply{}, conflict(c.s), true
	}
	c.effective = c.now.Add(c.s.draw(c.s.opts.EnforcementLag))
	result, refusal = op.run(c)
	return result, refusal, true
}

func sourceIP(r *http.Request) string {
	address, err := netip.ParseAddr(r.Header.Get(SourceIPHeader))
	if err == nil {
		return address.String()
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
