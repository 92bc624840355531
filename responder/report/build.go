package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/trail"
)

// Input is all that a report is made from. Slices may be in any order; Build
// sorts them and changes none.
type Input struct {
	// Now is the time of the report.
	Now       time.Time
	Incident  incident.Incident
	Sightings []incident.Sighting
	States    []incident.StateChange
	Steps     []incident.Step
	Actions   []incident.Action
	Approvals []incident.Approval
	// Playbook is the credential kind's part of its playbook; the zero value when none fits.
	Playbook playbooks.Credential
	// Requests are our calls outside acts, holds and trails: identify and proof.
	Requests []incident.Request
	Held     []act.Held
	// Events and Coverage are the trail as read so far. TrailFinal is true after the
	// last planned reading.
	Events     []trail.Event
	Coverage   []trail.Coverage
	TrailFinal bool
	// Deliveries are the webhooks that told us.
	Deliveries []Delivery
	// Ledger ties the report to the ledger.
	Ledger LedgerRef
	// Clocks are the measured offsets of the clocks that times come from.
	Clocks []ClockOffset
	// Owner answers for the account; "" when nobody is named.
	Owner string
	// ToolVersion is the version of stanch; Previous the number of the last report
	// of this incident, 0 for none.
	ToolVersion string
	Previous    int
}

// Delivery is one webhook as it concerns this incident.
type Delivery struct {
	GUID       string
	SentAt     time.Time // GitHub's own delivered_at, when it was asked; else zero
	ReceivedAt time.Time
}

// LedgerRef names the entries of an incident and a signed tree that holds them.
type LedgerRef struct {
	Entries    []int64
	Checkpoint string
}

// ClockOffset is how far another clock was from ours.
type ClockOffset struct {
	Source      string
	Offset      time.Duration // that clock minus ours
	Uncertainty time.Duration
	At          time.Time
	Note        string
}

// Build makes the report. It fails only on an incident without an id or without
// a time of the report.
func Build(in Input) (Report, error) {
	if in.Incident.ID == "" {
		return Report{}, errors.New("build report: incident has no id")
	}
	if in.Now.IsZero() {
		return Report{}, errors.New("build report: time of the report is not set")
	}
	b := newBuilder(in)
	r := Report{Schema: SchemaID}
	clean(&b.in.Events)
	r.Window = b.window()
	r.Credential = b.credential()
	r.Response = b.response()
	r.Trail = b.trail()
	r.Limits = b.limits()
	r.Timeline = b.timeline(r)
	r.Clocks = b.clocks()
	r.Rotate = b.rotateNext()
	r.Replacement = b.replacement()
	r.Cleanup = b.cleanup()
	r.Lessons, r.Links = b.lessons(), in.Playbook.Report.Links
	r.Header = b.header(r)
	r.Summary = b.summary(r)
	r.Next = b.next(r)
	r.Appendix = b.appendix()
	clean(&r)
	var err error
	r.Appendix.Custody, err = custody(r, b.in.Events)
	if err != nil {
		return Report{}, fmt.Errorf("build report: %w", err)
	}
	r.Header.EvidenceSHA256 = evidenceHash(r.Appendix.Custody)
	return r, nil
}

// builder holds the sorted input and what several parts need.
type builder struct {
	in        Input
	provider  string // as people write it
	simulated bool   // acts were simulated and none was done
	done      []incident.Action
	read      trail.Summary
}

func newBuilder(in Input) *builder {
	in.Sightings = slices.Clone(in.Sightings)
	slices.SortStableFunc(in.Sightings, func(a, b incident.Sighting) int {
		return firstNonZero(publicness(b.Visibility)-publicness(a.Visibility), a.SeenAt.Compare(b.SeenAt))
	})
	in.States = slices.Clone(in.States)
	slices.SortStableFunc(in.States, func(a, b incident.StateChange) int { return a.At.Compare(b.At) })
	in.Steps = slices.Clone(in.Steps)
	slices.SortStableFunc(in.Steps, func(a, b incident.Step) int { return a.StartedAt.Compare(b.StartedAt) })
	in.Actions = slices.Clone(in.Actions)
	slices.SortStableFunc(in.Actions, func(a, b incident.Action) int {
		if a.At.IsZero() != b.At.IsZero() {
			return boolInt(a.At.IsZero()) - boolInt(b.At.IsZero())
		}
		return a.At.Compare(b.At)
	})
	in.Approvals = slices.Clone(in.Approvals)
	slices.SortStableFunc(in.Approvals, func(a, b incident.Approval) int { return a.AskedAt.Compare(b.AskedAt) })
	in.Events = slices.Clone(in.Events)
	slices.SortStableFunc(in.Events, func(a, b trail.Event) int {
		return firstNonZero(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID))
	})
	in.Events = slices.CompactFunc(in.Events, func(a, b trail.Event) bool { return a.ID != "" && a.ID == b.ID })
	b := &builder{in: in, provider: providerName(in.Incident.Provider)}
	sim := 0
	for _, a := range in.Actions {
		switch a.State {
		case "simulated":
			sim++
		case "done", "already":
			b.done = append(b.done, a)
		}
	}
	b.simulated = sim > 0 && len(b.done) == 0
	return b
}

func (b *builder) header(r Report) Header {
	i := b.in.Incident
	h := Header{
		Incident: i.ID, Title: i.Title, Severity: i.Severity, SeverityWhy: i.SeverityWhy,
		State: string(i.State), Mode: string(i.Mode), Simulated: b.simulated,
		Owner: b.in.Owner, Version: b.in.Previous + 1, ToolVersion: b.in.ToolVersion,
		CreatedAt: b.in.Now,
	}
	if h.Title == "" {
		h.Title = fmt.Sprintf("Leaked %s", b.title())
	}
	for _, s := range b.in.States {
		if s.State == i.State {
			h.StateWhy, h.StateAt = s.Reason, s.At
		}
	}
	h.StatusWhy = b.partialBecause(r)
	h.Status = "partial"
	if len(h.StatusWhy) == 0 {
		h.Status = "final"
		h.StatusWhy = []string{"the credential is dead and every planned reading of the logs is done"}
		if i.State == incident.StateNotLive {
			h.StatusWhy = []string{b.provider + " refused the credential before anything was done"}
		}
		if !i.ClosedAt.IsZero() {
			h.StatusWhy = []string{"the incident was closed at " + stamp(i.ClosedAt)}
		}
	}
	for _, c := range b.in.Clocks {
		h.ClockSources = append(h.ClockSources, ClockSource{
			Source: c.Source, OffsetMS: c.Offset.Milliseconds(), UncertaintyMS: c.Uncertainty.Milliseconds(),
			At: c.At, Note: c.Note,
		})
	}
	return h
}

// partialBecause lists what can still change this report; empty means final.
func (b *builder) partialBecause(r Report) []string {
	i := b.in.Incident
	if !i.ClosedAt.IsZero() {
		return nil
	}
	var why []string
	switch i.State {
	case incident.StateProved, incident.StateNotLive:
	case incident.StateContained:
		why = append(why, "that the credential is dead is not proved yet")
	case incident.StateObserved:
		why = append(why, "the acts were only simulated, so the credential is still exposed")
	case incident.StateWaiting:
		why = append(why, "a person has not decided yet")
	case incident.StatePerson:
		why = append(why, "a person has to go on from here")
	case incident.StateDenied:
		why = append(why, "the acts were not released, so the credential is still exposed")
	case incident.StateUndone:
		why = append(why, "the acts were taken back, so the credential may work again")
	default:
		why = append(why, "the response is still under way")
	}
	reads := len(b.in.Coverage) > 0 || len(b.in.Playbook.Trail) > 0
	if reads && !b.in.TrailFinal && i.State != incident.StateNotLive {
		if len(b.in.Coverage) == 0 {
			why = append(why, "no log has been read yet")
		} else {
			why = append(why, "the logs will be read again, since they show events late")
		}
	} else if len(b.in.Coverage) > 0 && !b.in.TrailFinal {
		why = append(why, "the logs will be read again, since they show events late")
	}
	return why
}

func (b *builder) credential() Credential {
	i := b.in.Incident
	c := Credential{
		Provider: i.Provider, Kind: i.Kind, Title: b.title(), PublicID: i.PublicID, Account: i.Account,
		Identity: b.identity(), Verdict: i.Verdict, VerdictWhy: i.VerdictWhy,
		Fingerprint: shortPrint(i.Fingerprint), Class: i.Class, Confidence: i.Confidence,
	}
	if c.Verdict == "" {
		c.Verdict = "unknown"
		c.VerdictWhy = b.provider + " has not been asked yet"
	}
	for _, name := range sortedKeys(i.Facts) {
		c.Facts = append(c.Facts, Fact{Name: name, Value: i.Facts[name]})
	}
	at := map[string]int{}
	for _, s := range b.in.Sightings {
		n, ok := at[s.Repository]
		if !ok {
			n = len(c.Places)
			at[s.Repository] = n
			c.Places = append(c.Places, Place{Repository: s.Repository, Visibility: visibility(s.Visibility), FirstSeen: s.SeenAt})
		}
		p := &c.Places[n]
		p.Sightings++
		if s.Ref != "" && !slices.Contains(p.Refs, s.Ref) {
			p.Refs = append(p.Refs, s.Ref)
		}
		if !s.SeenAt.IsZero() && s.SeenAt.Before(p.FirstSeen) {
			p.FirstSeen = s.SeenAt
		}
	}
	return c
}

// identity is who the provider says the credential is.
func (b *builder) identity() string {
	f := b.in.Incident.Facts
	if id := b.in.Playbook.Identify; id != nil && id.Identity != "" && f[id.Identity] != "" {
		return f[id.Identity]
	}
	for _, k := range []string{"identity", "arn", "login", "user", "email", "name"} {
		if f[k] != "" {
			return f[k]
		}
	}
	return ""
}

// title is the credential kind for people: "AWS access key".
func (b *builder) title() string {
	if b.in.Playbook.Title != "" {
		return b.in.Playbook.Title
	}
	kind := strings.ReplaceAll(b.in.Incident.Kind, "_", " ")
	if kind == "" {
		kind = "credential"
	}
	return strings.TrimSpace(b.provider + " " + kind)
}

func (b *builder) response() Response {
	var r Response
	for _, a := range b.in.Actions {
		act := Act{
			Name: a.Name, State: a.State, Actor: a.Actor, At: a.At, With: a.With, Binding: a.Binding,
			BindingWhy: bindingWhy(a.Binding), Result: a.Detail, Collateral: a.Collateral,
			Reversible: a.Reversible, UndoneAt: a.UndoneAt, UndoneBy: a.UndoneBy,
		}
		if a.Reversible && (a.State == "done" || a.State == "already") && a.UndoneAt.IsZero() {
			act.Undo = fmt.Sprintf("stanch incident undo %s --action %s", shellWord(b.in.Incident.ID), shellWord(a.Name))
		}
		for _, q := range a.Requests {
			if q.RequestID != "" {
				act.RequestIDs = append(act.RequestIDs, q.RequestID)
			}
		}
		r.Acts = append(r.Acts, act)
	}
	for _, a := range b.in.Approvals {
		d := a.Decision
		if d == "" {
			d = "waiting"
		}
		r.Approvals = append(r.Approvals, Approval{
			ID: a.ID, Plan: a.Plan, AskedAt: a.AskedAt, ExpiresAt: a.ExpiresAt,
			Decision: d, By: a.By, DecidedAt: a.DecidedAt, Reason: a.Reason,
		})
	}
	for _, h := range b.in.Held {
		if h.Until.After(r.Hold.Until) {
			r.Hold.Until = h.Until
		}
		for _, x := range h.Reactions {
			r.Hold.Reactions = append(r.Hold.Reactions, Reaction{At: x.At, What: x.What, Answer: x.Answer})
		}
	}
	slices.SortStableFunc(r.Hold.Reactions, func(a, b Reaction) int { return a.At.Compare(b.At) })
	return r
}
