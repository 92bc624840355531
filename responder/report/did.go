package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"stanch/responder/trail"
)

// The answers to "was it used by someone else?".
const (
	useSeen    = "seen"
	useUnclear = "unclear"
	useNone    = "none_visible"
	useUnknown = "unknown"
)

// maxCalls bounds the log lines that a report repeats; the hash covers all.
const maxCalls = 500

// severityRank orders L, M, H, C.
func severityRank(s string) int { return strings.Index(" LMHC", cmp.Or(s, " ")) }

// foreign says whether a call is neither ours, the provider's nor the owner's,
// and was made while the credential was exposed (or is known to be an attacker's).
func (b *builder) foreign(e trail.Event) bool {
	switch e.Origin {
	case trail.OriginAttacker:
		return true
	case trail.OriginOurs, trail.OriginProvider, trail.OriginOwner:
		return false
	}
	at := b.in.Incident.ExposedAt
	return at.IsZero() || !e.Time.Before(at)
}

func (b *builder) trail() Trail {
	t := Trail{Events: len(b.in.Events)}
	t.AsOf, t.CompleteUpTo, t.Complete = b.completeness()
	origins := map[string]int{}
	regionsBefore := map[string]bool{}
	var calls []trail.Event
	attacker := false
	for _, e := range b.in.Events {
		origins[cmp.Or(e.Origin, trail.OriginUnclear)]++
		if !b.foreign(e) {
			if e.Origin != trail.OriginOurs && e.Time.Before(b.in.Incident.ExposedAt) {
				regionsBefore[e.Region] = true
			}
			continue
		}
		attacker = attacker || e.Origin == trail.OriginAttacker
		calls = append(calls, e)
	}
	t.ByOrigin = counts(origins)
	switch {
	case attacker:
		t.Use = useSeen
	case len(calls) > 0:
		t.Use = useUnclear
	case t.Complete:
		t.Use = useNone
	default:
		t.Use = useUnknown
	}
	b.count(&t, calls, regionsBefore)
	t.Calls, t.Omitted = pickCalls(calls)
	return t
}

// count fills in the tables from the calls that are not the owner's.
func (b *builder) count(t *Trail, calls []trail.Event, regionsBefore map[string]bool) {
	var (
		addresses  = map[string]*Address{}
		services   = map[string]*Service{}
		operations = map[string]map[string]int{}
		regions    = map[string]*Region{}
		techniques = map[string]*Technique{}
		agents     = map[string]int{}
		byKey      = map[string]int{}
	)
	contained := b.in.Incident.ContainedAt
	for _, e := range calls {
		byKey[e.Credential]++
		if t.FirstUse.IsZero() {
			t.FirstUse = e.Time
		}
		t.LastUse = e.Time
		tally(&t.Allowed, &t.Denied, e)
		if !contained.IsZero() && e.Time.After(contained) {
			tally(&t.AfterContainment.Allowed, &t.AfterContainment.Denied, e)
		}
		if e.UserAgent != "" {
			agents[e.UserAgent]++
		}
		a := slot(addresses, cmp.Or(e.Address, "not logged"), func(k string) *Address {
			return &Address{Address: k, First: e.Time, Origin: e.Origin}
		})
		a.Last = e.Time
		if e.Origin == trail.OriginAttacker {
			a.Origin = e.Origin
		}
		tally(&a.Allowed, &a.Denied, e)
		if e.UserAgent != "" && !slices.Contains(a.Agents, e.UserAgent) {
			a.Agents = append(a.Agents, e.UserAgent)
		}
		s := slot(services, e.Service, func(k string) *Service { return &Service{Service: k} })
		tally(&s.Allowed, &s.Denied, e)
		if severityRank(e.Severity) > severityRank(s.Worst) {
			s.Worst = e.Severity
		}
		if operations[e.Service] == nil {
			operations[e.Service] = map[string]int{}
		}
		operations[e.Service][e.Operation]++
		if e.Region != "" {
			r := slot(regions, e.Region, func(k string) *Region {
				return &Region{Region: k, New: len(regionsBefore) > 0 && !regionsBefore[k]}
			})
			tally(&r.Allowed, &r.Denied, e)
		}
		for _, id := range e.Technique {
			q := slot(techniques, id, func(k string) *Technique { return &Technique{ID: k} })
			tally(&q.Allowed, &q.Denied, e)
			q.Tactics = addNew(q.Tactics, e.Tactic...)
			q.Operations = addNew(q.Operations, e.Operation)
			if severityRank(e.Severity) > severityRank(q.Severity) {
				q.Severity = e.Severity
			}
		}
		if e.Denied {
			continue
		}
		for _, c := range e.Created {
			t.Created = append(t.Created, Created{Resource: c, By: e.Operation, Region: e.Region, At: e.Time, RequestID: e.RequestID})
		}
		if e.Minted != "" {
			t.Minted = append(t.Minted, Minted{ID: e.Minted, Parent: e.Credential, By: e.Operation, At: e.Time})
		}
	}
	for n := range t.Minted {
		t.Minted[n].Calls = byKey[t.Minted[n].ID]
	}
	t.Agents = counts(agents)
	for _, k := range sortedKeys(addresses) {
		t.Addresses = append(t.Addresses, *addresses[k])
	}
	slices.SortStableFunc(t.Addresses, func(a, b Address) int { return b.Allowed + b.Denied - a.Allowed - a.Denied })
	for _, k := range sortedKeys(services) {
		s := *services[k]
		s.Calls = counts(operations[k])
		t.Services = append(t.Services, s)
	}
	slices.SortStableFunc(t.Services, func(a, b Service) int {
		return firstNonZero(severityRank(b.Worst)-severityRank(a.Worst), b.Allowed+b.Denied-a.Allowed-a.Denied)
	})
	for _, k := range sortedKeys(regions) {
		t.Regions = append(t.Regions, *regions[k])
	}
	for _, k := range sortedKeys(techniques) {
		t.Techniques = append(t.Techniques, *techniques[k])
	}
	slices.SortStableFunc(t.Techniques, func(a, b Technique) int { return severityRank(b.Severity) - severityRank(a.Severity) })
}

// pickCalls keeps the first and the last calls and the most severe between them.
func pickCalls(calls []trail.Event) ([]Call, int) {
	keep := calls
	if len(calls) > maxCalls {
		order := make([]int, len(calls))
		for n := range order {
			order[n] = n
		}
		slices.SortStableFunc(order, func(a, b int) int {
			return severityRank(calls[b].Severity) - severityRank(calls[a].Severity)
		})
		order = append(order[:maxCalls-2], 0, len(calls)-1)
		slices.Sort(order)
		order = slices.Compact(order)
		keep = nil
		for _, n := range order {
			keep = append(keep, calls[n])
		}
	}
	var out []Call
	for _, e := range keep {
		out = append(out, Call{
			ID: e.ID, At: e.Time, Source: e.Source, Service: e.Service, Operation: e.Operation, Region: e.Region,
			Actor: e.Actor, Used: e.Credential, Address: e.Address, UserAgent: e.UserAgent, Denied: e.Denied,
			Error: e.Error, Severity: e.Severity, Origin: cmp.Or(e.Origin, trail.OriginUnclear), OriginWhy: e.OriginWhy,
			RequestID: e.RequestID, Resources: e.Resources,
		})
	}
	return out, len(calls) - len(out)
}

// delayOf is how late a log usually shows an event. CloudTrail: "typically within
// an average of about 5 minutes", up to 15 in AWS's older text, so 15. GitHub's
// audit log has no published figure; the same is taken.
func delayOf(string) time.Duration { return 15 * time.Minute }

// newest keeps for each source and scope the reading that was made last.
func (b *builder) newest() []trail.Coverage {
	last := map[string]trail.Coverage{}
	for _, c := range b.in.Coverage {
		k := c.Source + "\x00" + c.Scope
		if old, ok := last[k]; !ok || c.AskedAt.After(old.AskedAt) {
			last[k] = c
		}
	}
	var out []trail.Coverage
	for _, k := range sortedKeys(last) {
		out = append(out, last[k])
	}
	return out
}

// completeness says when the logs were asked last, up to when all of them have
// been read with their delay over, and whether that reaches past the containment.
func (b *builder) completeness() (asOf, upTo time.Time, complete bool) {
	cov := b.newest()
	complete = len(cov) > 0
	for _, c := range cov {
		if c.AskedAt.After(asOf) {
			asOf = c.AskedAt
		}
		if !c.Complete || c.Error != "" {
			complete = false
			continue
		}
		if at := b.in.Incident.ExposedAt; !at.IsZero() && !c.From.IsZero() && c.From.After(at) {
			complete = false
		}
		upTo = earliest(upTo, earliest(c.To, c.AskedAt.Add(-delayOf(c.Source))))
	}
	if !complete {
		upTo = time.Time{}
	}
	if upTo.Before(b.in.Incident.ExposedAt) || upTo.Before(b.in.Incident.ContainedAt) {
		complete = false
	}
	return asOf, upTo, complete
}

func (b *builder) limits() Limits {
	var l Limits
	for _, c := range b.newest() {
		l.Sources = append(l.Sources, Source{
			Source: c.Source, Scope: c.Scope, From: c.From, To: c.To, AskedAt: c.AskedAt, Pages: c.Pages,
			Events: c.Events, Complete: c.Complete, DelayMS: delayOf(c.Source).Milliseconds(), Error: c.Error,
		})
		l.Gaps = addNew(l.Gaps, c.Gaps...)
		if at := b.in.Incident.ExposedAt; !at.IsZero() && !c.From.IsZero() && c.From.After(at) {
			l.Gaps = addNew(l.Gaps, c.Source+" in "+c.Scope+" was read from "+stamp(c.From)+" on, which is after the exposure began.")
		}
	}
	for _, t := range b.in.Playbook.Trail {
		l.Gaps = addNew(l.Gaps, t.Gaps...)
		if !slices.ContainsFunc(l.Sources, func(s Source) bool { return s.Source == t.Uses }) {
			l.Gaps = addNew(l.Gaps, "The source "+t.Uses+" has not been read.")
		}
	}
	if len(b.in.Playbook.Trail) == 0 && len(l.Sources) == 0 {
		l.Gaps = append(l.Gaps, "No log source is known for this kind of credential: what it did is not visible to Stanch at all.")
	}
	if b.in.Incident.ExposedAt.IsZero() {
		l.Gaps = append(l.Gaps, "When the credential became public is not known; it may have been earlier than first seen.")
	}
	return l
}

func tally(allowed, denied *int, e trail.Event) {
	if e.Denied {
		*denied++
		return
	}
	*allowed++
}

func slot[T any](m map[string]*T, k string, make func(string) *T) *T {
	v, ok := m[k]
	if !ok {
		v = make(k)
		m[k] = v
	}
	return v
}

func addNew(to []string, s ...string) []string {
	for _, x := range s {
		if x != "" && !slices.Contains(to, x) {
			to = append(to, x)
		}
	}
	return to
}

// counts sorts by count, then by name.
func counts(m map[string]int) []Count {
	var out []Count
	for _, k := range sortedKeys(m) {
		out = append(out, Count{Name: k, Count: m[k]})
	}
	slices.SortStableFunc(out, func(a, b Count) int { return b.Count - a.Count })
	return out
}
