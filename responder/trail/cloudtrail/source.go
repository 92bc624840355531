// Package cloudtrail reads what an AWS credential did from CloudTrail's
// LookupEvents: every enabled Region, to the last page.
//
// # What this package promises
//
// The leaked key, every session and key that it made after the exposure, and
// every user that it created are followed. All incidents of this process share
// one rate limit for each account and Region (AWS allows two requests a second).
// A cursor is handed out with every page, so that a crash costs one page at
// most. What could not be read is told Region by Region.
//
// # What it never does
//
// It keeps no secret that AWS wrote into its log, and no field that is not on
// its list. It writes nothing at AWS.
package cloudtrail

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"stanch/responder/act"
	"stanch/responder/trail"
)

// Accounts gives access to enrolled accounts; the AWS driver implements it.
type Accounts interface {
	// Config acts as our role in an account and Region, with one attempt a call.
	Config(account, region string) (awssdk.Config, error)
	// AccountRegions are configured Regions; empty asks AWS.
	AccountRegions(account string) []string
	// Enrolled reports whether Config works for an account.
	Enrolled(account string) bool
}

// Options configure a Source.
type Options struct {
	Accounts Accounts
	Lookback time.Duration // before the exposure; at most and by default 90 days
	Clock    func() time.Time
}

// Source implements trail.Source. It is safe for concurrent use; one Source
// serves all incidents, since it holds the rate limits.
type Source struct {
	accounts Accounts
	lookback time.Duration
	now      func() time.Time
	limits   *limits
	mu       sync.Mutex
	regions  map[string]knownRegions
}

var _ trail.Source = (*Source)(nil)

const (
	retention   = 90 * 24 * time.Hour // LookupEvents reaches no further back
	overlap     = 2 * time.Hour       // a later sweep reads again what may have arrived late
	maxDepth    = 3                   // of credentials that made credentials
	maxFollowed = 200                 // credentials and users followed for one incident
	mintMargin  = 5 * time.Minute     // before the exposure, for clocks that differ
	workers     = 16                  // pages asked for at once
)

// New makes a Source.
func New(o Options) *Source {
	s := &Source{accounts: o.Accounts, lookback: o.Lookback, now: o.Clock, limits: newLimits(), regions: map[string]knownRegions{}}
	if s.lookback <= 0 || s.lookback > retention {
		s.lookback = retention
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// lookup is one question that is put in every Region.
type lookup struct {
	account   string
	attribute string // AccessKeyId or Username
	value     string
	depth     int
}

func (l lookup) key() string { return l.account + "/" + l.attribute + "/" + l.value }

// sweep is the state of one lookup in one Region; its JSON is the cursor.
type sweep struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"` // asked up to here
	Token string    `json:"token,omitempty"`
	Done  bool      `json:"done"`
	Last  time.Time `json:"last,omitzero"` // time of the oldest event read; pages come newest first
}

// run is one Collect.
type run struct {
	s       *Source
	subject act.Subject
	keep    func(context.Context, []trail.Event, trail.Cursor) error

	mu       sync.Mutex // guards all below, and serialises keep
	cursor   trail.Cursor
	coverage map[string]*trail.Coverage // by account/Region
	followed map[string]lookup
	next     []lookup // found in this round
	gaps     []string
	err      error // of keep: ends the run
}

// Collect implements trail.Source. With a cursor of an unfinished run it goes on
// where that stopped; with one of a finished run it reads what has arrived
// since, and the two hours before, because CloudTrail delivers late and out of
// order. The store drops events that it has.
func (s *Source) Collect(ctx context.Context, subject act.Subject, cursor trail.Cursor, keep func(context.Context, []trail.Event, trail.Cursor) error) ([]trail.Coverage, error) {
	root, err := s.root(subject)
	if err != nil {
		return nil, err
	}
	r := &run{s: s, subject: subject, keep: keep, cursor: maps.Clone(cursor), coverage: map[string]*trail.Coverage{}, followed: map[string]lookup{}}
	if r.cursor == nil {
		r.cursor = trail.Cursor{}
	}
	r.followed[root.key()] = root
	r.resume()
	round := slices.Collect(maps.Values(r.followed))
	for len(round) > 0 && r.err == nil && ctx.Err() == nil {
		r.round(ctx, round)
		round, r.next = r.next, nil
	}
	if r.err == nil {
		r.err = ctx.Err()
	}
	return r.covered(), r.err
}

func (s *Source) root(subject act.Subject) (lookup, error) {
	account := subject.Facts["account"]
	if account == "" {
		account = subject.Account
	}
	if subject.PublicID == "" {
		return lookup{}, fmt.Errorf("look up CloudTrail events: no access key id: %w", act.ErrPerson)
	}
	if !s.accounts.Enrolled(account) {
		return lookup{}, fmt.Errorf("look up CloudTrail events: account %q is not enrolled: %w", account, act.ErrPerson)
	}
	return lookup{account: account, attribute: "AccessKeyId", value: subject.PublicID}, nil
}

const (
	cursorSweep  = "sweep "  // + account/Region/attribute/value -> sweep
	cursorFollow = "follow " // + account/attribute/value -> depth
)

// resume takes followed credentials over from the cursor.
func (r *run) resume() {
	for k, v := range r.cursor {
		rest, ok := strings.CutPrefix(k, cursorFollow)
		if !ok {
			continue
		}
		f := strings.SplitN(rest, "/", 3)
		depth, err := strconv.Atoi(v)
		if len(f) != 3 || err != nil || !r.s.accounts.Enrolled(f[0]) {
			continue
		}
		l := lookup{account: f[0], attribute: f[1], value: f[2], depth: depth}
		r.followed[l.key()] = l
	}
}

// task is one lookup in one Region; every turn reads one page.
type task struct {
	lookup
	region   string
	id       string // of its cursor
	sweep    sweep
	failures int
}

// round puts lookups in every Region of their accounts. Tasks take turns page
// by page, so that the first page of every Region comes before the second of any.
func (r *run) round(ctx context.Context, lookups []lookup) {
	var tasks []*task
	for _, l := range lookups {
		regions, err := r.s.regionsOf(ctx, l.account)
		if err != nil {
			r.mu.Lock()
			c := r.cover(l.account, "regions")
			c.Error, c.Complete = "the list of enabled Regions could not be read: "+reason(err), false
			r.mu.Unlock()
		}
		for _, region := range regions {
			tasks = append(tasks, r.task(l, region))
		}
	}
	queue := make(chan *task, len(tasks))
	var open sync.WaitGroup
	open.Add(len(tasks))
	for _, t := range tasks {
		queue <- t
	}
	go func() {
		open.Wait()
		close(queue)
	}()
	var pool sync.WaitGroup
	for range min(workers, len(tasks)) {
		pool.Go(func() {
			for t := range queue {
				if r.turn(ctx, t) {
					open.Done()
				} else {
					queue <- t // never blocks: there are no more tasks than places
				}
			}
		})
	}
	pool.Wait()
}

func (r *run) task(l lookup, region string) *task {
	t := &task{lookup: l, region: region, id: cursorSweep + l.account + "/" + region + "/" + l.attribute + "/" + l.value}
	now := r.s.now().UTC().Truncate(time.Second)
	oldest := now.Add(-retention)
	from := oldest
	if !r.subject.ExposedAt.IsZero() {
		from = r.subject.ExposedAt.Add(-r.s.lookback).UTC().Truncate(time.Second)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := json.Unmarshal([]byte(r.cursor[t.id]), &t.sweep) == nil
	switch {
	case known && !t.sweep.Done:
	case known:
		t.sweep = sweep{From: t.sweep.To.Add(-overlap), To: now}
	default:
		t.sweep = sweep{From: from, To: now}
	}
	if t.sweep.From.Before(oldest) {
		t.sweep.From = oldest
	}
	c := r.cover(l.account, region)
	c.Complete = false
	if c.From.IsZero() || t.sweep.From.Before(c.From) {
		c.From = t.sweep.From
	}
	if t.sweep.To.After(c.To) {
		c.To = t.sweep.To
	}
	return t
}

// cover gives the coverage of a scope; the caller holds the lock.
func (r *run) cover(account, region string) *trail.Coverage {
	key := account + "/" + region
	c := r.coverage[key]
	if c == nil {
		c = &trail.Coverage{Source: SourceName, Scope: key, AskedAt: r.s.now().UTC()}
		r.coverage[key] = c
	}
	return c
}

// limitsOfSource are what LookupEvents cannot see, whatever it answers.
var limitsOfSource = []string{
	"management events only: reads and writes of objects, items and messages (data events) are not in it",
	"the last 90 days only",
	"events arrive about 5 to 15 minutes after the call, without a guarantee",
}

// covered gives the coverages, sorted by scope. A Region is complete when every
// lookup in it was read to its last page.
func (r *run) covered() []trail.Coverage {
	r.mu.Lock()
	defer r.mu.Unlock()
	unfinished := map[string]bool{}
	for k, v := range r.cursor {
		rest, ok := strings.CutPrefix(k, cursorSweep)
		f := strings.SplitN(rest, "/", 3)
		var sw sweep
		if ok && len(f) == 3 && (json.Unmarshal([]byte(v), &sw) != nil || !sw.Done) {
			unfinished[f[0]+"/"+f[1]] = true
		}
	}
	var out []trail.Coverage
	for key, c := range r.coverage {
		c.Complete = c.Error == "" && r.err == nil && !unfinished[key] && !strings.HasSuffix(key, "/regions")
		c.Gaps = slices.Concat(limitsOfSource, r.gaps)
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b trail.Coverage) int { return strings.Compare(a.Scope, b.Scope) })
	return out
}
