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
	i := b.in.Incident
	t := Trail{Events: len(b.in.Events)}
	t.AsOf, t.CompleteUpTo, t.Complete = b.completeness()
	origins := map[string]int{}
	var calls []trail.Event
	attacker := false
	for _, e := range b.in.Events {
		origins[cmp.Or(e.Origin, trail.OriginUnclear)]++
		if !b.foreign(e) {
			continue
		}
		attacker = attacker || e.Origin == trail.OriginAttacker
		if len(calls) == 0 {
			t.FirstUse = e.Time
		}
		t.LastUse = e.Time
		calls = append(calls, e)
		t.Outcomes.tally(e)
		if !i.ContainedAt.IsZero() && e.Time.After(i.ContainedAt) {
			t.AfterContainment.tally(e)
		}
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
	b.read = trail.Summarise(b.in.Events, b.newest(), i.ExposedAt, i.ContainedAt)
	t.fill(b.read)
	t.Calls, t.Omitted = pickCalls(calls)
	return t
}

// fill copies the tables of the trail's summary.
func (t *Trail) fill(s trail.Summary) {
	for _, a := range s.Addresses {
		t.Addresses = append(t.Addresses, Address{Address: a.Address, Origin: a.Origin, Calls: a.Count, Denied: a.Denied, First: a.First, Last: a.Last, Agents: a.Agents})
	}
	for _, x := range s.Services {
		v := Service{Service: x.Service, Outcomes: Outcomes{Allowed: x.Allowed, Denied: x.Denied, Failed: x.Failed}}
		for _, o := range x.Operations {
			v.Calls = append(v.Calls, Operation{Operation: o.Operation, Severity: o.Severity, Outcomes: Outcomes{Allowed: o.Allowed, Denied: o.Denied, Failed: o.Failed}})
			if severityRank(o.Severity) > severityRank(v.Worst) {
				v.Worst = o.Severity
			}
		}
		t.Services = append(t.Services, v)
	}
	slices.SortStableFunc(t.Services, func(a, b Service) int { return severityRank(b.Worst) - severityRank(a.Worst) })
	for _, x := range s.Regions {
		t.Regions = append(t.Regions, Region{Region: x.Region, Calls: x.Count, New: x.New})
	}
	for _, c := range s.Created {
		t.Created = append(t.Created, Created{Resource: c.What, By: c.Operation, Region: c.Region, At: c.At, With: c.By, Event: c.Event})
	}
	for _, x := range s.Sessions {
		if x.Origin == trail.OriginOwner || x.Origin == trail.OriginOurs || x.Origin == trail.OriginProvider {
			continue
		}
		t.Minted = append(t.Minted, Minted{ID: x.ID, Kind: x.Kind, Parent: x.From, At: x.At, Proven: x.Proven, Calls: x.Events, Last: x.Last})
	}
	for _, x := range s.Attack {
		t.Techniques = append(t.Techniques, Technique{ID: x.Technique, V19: x.V19, Name: x.Name, Tactics: x.Tactics, Severity: x.Severity, Calls: x.Count, Allowed: x.Allowed, Operations: x.Operations})
	}
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
		// Filled up by rank; the first and the last are in any case kept.
		chosen := []int{0, len(calls) - 1}
		for _, n := range order {
			if n != 0 && n != len(calls)-1 && len(chosen) < maxCalls {
				chosen = append(chosen, n)
			}
		}
		order = chosen
		slices.Sort(order)
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
		if at := b.in.Incident.ExposedAt; !at.IsZero() && !c.From.IsZero() && c.From.After(at) {
			l.Gaps = addNew(l.Gaps, c.Source+" in "+c.Scope+" was read from "+stamp(c.From)+" on, which is after the exposure began.")
		}
	}
	l.Gaps = addNew(l.Gaps, b.read.Gaps...)
	for _, t := range b.in.Playbook.Trail {
		l.Gaps = addNew(l.Gaps, t.Gaps...)
		if !slices.ContainsFunc(l.Sources, func(s Source) bool { return s.Source == t.Uses }) {
			l.Gaps = addNew(l.Gaps, "The source "+t.Uses+" has not been read.")
		}
	}
	if len(b.in.Playbook.Trail) == 0 && len(l.Sources) == 0 {
		l.Gaps = append(l.Gaps, "No log source is known for this kind of credential: what it did is not visible to Stanch at all.")
	}
	return l
}

func (o *Outcomes) tally(e trail.Event) {
	switch {
	case e.Denied:
		o.Denied++
	case e.Error != "":
		o.Failed++
	default:
		o.Allowed++
	}
}

// total counts every call.
func (o Outcomes) total() int { return o.Allowed + o.Denied + o.Failed }

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
