package report

import (
	"cmp"
	"slices"
	"time"

	"stanch/responder/incident"
)

// interval is a stretch of time, end not before start.
type interval struct{ from, to time.Time }

func (b *builder) window() Window {
	i := b.in.Incident
	var w Window
	var authored, committed time.Time
	for _, s := range b.in.Sightings {
		authored = earliest(authored, s.AuthoredAt)
		committed = earliest(committed, s.CommittedAt)
	}
	public, received := i.ExposedAt, b.received()
	gitClock := "the committer's own clock; Git does not check it"
	w.add("authored", "Written", authored, "author date of the commit", gitClock)
	w.add("committed", "Committed", committed, "commit date of the commit", gitClock)
	w.add("public", b.publicTitle(), public, cmp.Or(i.ExposedFrom, "not known"), publicUncertainty(i.ExposedFrom))
	if sent := b.sent(); !sent.IsZero() {
		w.add("sent", "Webhook sent", sent, "GitHub's delivery record", "GitHub's clock, to the second")
	}
	w.add("received", "Seen by Stanch", received, b.receivedFrom(), "our clock, to the millisecond")
	w.add("verdict", "Verdict: "+cmp.Or(i.Verdict, "none yet"), i.VerdictAt, "answer of "+b.provider, "our clock, when the answer had arrived")
	w.add("contained", "Contained", i.ContainedAt, "acceptance by "+b.provider, "our clock, when the acceptance had arrived; the provider applies it a little later")
	w.add("proved_dead", "Proved dead", i.ProvedAt, "refusal by "+b.provider, "our clock; the death lies between the containment and this moment")

	start := cmp.Or(public, received)
	end := i.ContainedAt
	if i.State == incident.StateNotLive && end.IsZero() {
		end = i.VerdictAt
	}
	w.Open = end.IsZero() || i.State == incident.StateUndone
	if end.IsZero() {
		end = b.in.Now
	}
	if !i.ContainedAt.IsZero() && !i.ProvedAt.IsZero() {
		w.ToProofMS = max(0, i.ProvedAt.Sub(i.ContainedAt).Milliseconds())
	}
	w.Measured = !public.IsZero()
	if start.IsZero() || end.Before(start) {
		w.Measured = false
		return w
	}
	w.TotalMS = end.Sub(start).Milliseconds()
	w.Shares = b.shares(start, received, end)
	return w
}

func (w *Window) add(name, title string, at time.Time, source, uncertainty string) {
	if at.IsZero() {
		source, uncertainty = "not known", ""
		switch name {
		case "contained", "proved_dead", "verdict":
			source = "has not happened"
		}
	}
	w.Points = append(w.Points, Point{Name: name, Title: title, At: at, Source: source, Uncertainty: uncertainty})
}

// shares splits [start, end] without remainder: GitHub's until the webhook was
// here; then people's while an answer of theirs was waited for; then the
// provider's while a call of ours was under way; the rest is ours.
func (b *builder) shares(start, received, end time.Time) []Share {
	total := end.Sub(start).Milliseconds()
	var github int64
	if received.After(start) {
		github = min(total, received.Sub(start).Milliseconds())
	}
	from := start.Add(ms(github))
	people := merge(b.peopleWaits(), from, end)
	peopleMS := sum(people)
	var calls []interval
	for _, q := range b.requests() {
		if !q.At.IsZero() {
			calls = append(calls, interval{q.At, q.At.Add(ms(q.TookMS))})
		}
	}
	both := sum(merge(append(slices.Clone(people), calls...), from, end))
	provider := both - peopleMS
	return []Share{
		{Who: "github", MS: github, What: "from the exposure until GitHub's webhook had arrived"},
		{Who: "stanch", MS: total - github - peopleMS - provider, What: "fetching, scanning, deciding, waiting between tries"},
		{Who: "provider", MS: provider, What: "waiting for answers of " + b.provider},
		{Who: "people", MS: peopleMS, What: "waiting for a decision or an act of a person"},
	}
}

// peopleWaits are the stretches in which only a person could go on.
func (b *builder) peopleWaits() []interval {
	var out []interval
	for _, a := range b.in.Approvals {
		to := cmp.Or(a.DecidedAt, b.in.Now)
		if a.Decision == "expired" && !a.ExpiresAt.IsZero() && a.DecidedAt.IsZero() {
			to = a.ExpiresAt
		}
		out = append(out, interval{a.AskedAt, to})
	}
	for n, s := range b.in.States {
		switch s.State {
		case incident.StatePerson, incident.StateObserved, incident.StateDenied, incident.StateWaiting, incident.StateUndone:
			to := b.in.Now
			if n+1 < len(b.in.States) {
				to = b.in.States[n+1].At
			}
			out = append(out, interval{s.At, to})
		}
	}
	return out
}

// merge clips the intervals to [from, to] and joins those that touch.
func merge(in []interval, from, to time.Time) []interval {
	var out []interval
	slices.SortFunc(in, func(a, b interval) int { return a.from.Compare(b.from) })
	for _, x := range in {
		if x.from.IsZero() {
			continue
		}
		if x.from.Before(from) {
			x.from = from
		}
		if x.to.After(to) {
			x.to = to
		}
		if !x.from.Before(x.to) {
			continue
		}
		if n := len(out); n > 0 && !x.from.After(out[n-1].to) {
			if x.to.After(out[n-1].to) {
				out[n-1].to = x.to
			}
			continue
		}
		out = append(out, x)
	}
	return out
}

func sum(in []interval) int64 {
	var d time.Duration
	for _, x := range in {
		d += x.to.Sub(x.from)
	}
	return d.Milliseconds()
}

func (b *builder) sent() time.Time {
	var t time.Time
	for _, d := range b.in.Deliveries {
		t = earliest(t, d.SentAt)
	}
	return t
}

// received is when the first news of the credential reached us.
func (b *builder) received() time.Time {
	var t time.Time
	for _, d := range b.in.Deliveries {
		t = earliest(t, d.ReceivedAt)
	}
	if t.IsZero() {
		t = b.in.Incident.OpenedAt
		for _, s := range b.in.Sightings {
			t = earliest(t, s.SeenAt)
		}
	}
	return t
}

func (b *builder) receivedFrom() string {
	for _, d := range b.in.Deliveries {
		if d.ReceivedAt.Equal(b.received()) {
			return "webhook delivery " + d.GUID
		}
	}
	return cmp.Or(b.in.Incident.Reference, "incident opened")
}

func (b *builder) publicTitle() string {
	if len(b.in.Sightings) > 0 && b.in.Sightings[0].Visibility == incident.VisibilityPublic {
		return "Became public"
	}
	return "Exposed"
}

func publicUncertainty(from string) string {
	if from == "" {
		return "unknown; the report counts from when it was first seen"
	}
	return "the clock of its source, to the second"
}

// earliest is the earlier of two times, of which zero means not known.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
