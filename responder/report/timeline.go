package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/responder/trail"
)

// timeline puts the points of the exposure, the states, our acts, people's
// decisions, the reactions and the most telling calls on one axis.
func (b *builder) timeline(r Report) []Moment {
	var out []Moment
	add := func(at time.Time, who, what, source string) {
		if !at.IsZero() {
			out = append(out, Moment{At: at, Who: who, What: what, Source: source})
		}
	}
	for _, p := range r.Window.Points {
		who := "stanch"
		switch p.Name {
		case "authored", "committed":
			who = "developer"
		case "public", "sent":
			who = "github"
		case "verdict", "contained", "proved_dead":
			who = "provider"
		}
		add(p.At, who, p.Title, p.Source)
	}
	for _, a := range r.Response.Acts {
		what := fmt.Sprintf("Act %s: %s", a.Name, a.State)
		if a.State == "simulated" {
			what = fmt.Sprintf("Act %s: simulated only, nothing was done", a.Name)
		}
		who := "stanch"
		if a.Actor != "" && a.Actor != "stanch" {
			who = "people"
			what += ", by " + a.Actor
		}
		source := "no request"
		if len(a.RequestIDs) > 0 {
			source = "request " + strings.Join(a.RequestIDs, ", ")
		}
		add(a.At, who, what, source)
		if !a.UndoneAt.IsZero() {
			add(a.UndoneAt, "people", fmt.Sprintf("Act %s taken back by %s", a.Name, a.UndoneBy), "ledger")
		}
	}
	for _, a := range r.Response.Approvals {
		add(a.AskedAt, "stanch", "Asked for approval of "+list(a.Plan), "approval "+a.ID)
		if a.By != "" || !a.DecidedAt.IsZero() {
			what := "Approval " + a.Decision
			if a.By != "" {
				what += " by " + a.By
			}
			add(a.DecidedAt, "people", what, "approval "+a.ID)
		}
	}
	for _, x := range r.Response.Hold.Reactions {
		add(x.At, "caller", x.What, "hold after the containment")
		add(x.At, "stanch", x.Answer, "hold after the containment")
	}
	add(b.in.Incident.AwareAt, "people", "First seen by a person", "console, command line or message")
	b.tellCalls(r, add)
	slices.SortStableFunc(out, func(a, b Moment) int { return a.At.Compare(b.At) })
	return out
}

// tellCalls adds the first and last call, and the calls that made or read
// something or that rank high; runs of the same operation become one line.
func (b *builder) tellCalls(r Report, add func(time.Time, string, string, string)) {
	var run []trail.Event
	flush := func() {
		if len(run) == 0 {
			return
		}
		e := run[0]
		what := fmt.Sprintf("%s %s, %s", e.Service, e.Operation, outcome(e.Denied))
		if len(run) > 1 {
			what = fmt.Sprintf("%s %s, %s, %d times until %s", e.Service, e.Operation, outcome(e.Denied), len(run), stamp(run[len(run)-1].Time))
		}
		if len(e.Created) > 0 && !e.Denied {
			what += ", made " + list(e.Created)
		}
		if e.Address != "" {
			what += ", from " + e.Address
		}
		add(e.Time, "caller", what, e.Source+" event "+e.ID)
		run = nil
	}
	told := 0
	for _, e := range b.in.Events {
		if e.Origin == trail.OriginProvider {
			flush()
			add(e.Time, "provider", e.Operation+" by "+b.provider, e.Source+" event "+e.ID)
			continue
		}
		if !b.foreign(e) {
			continue
		}
		edge := e.Time.Equal(r.Trail.FirstUse) || e.Time.Equal(r.Trail.LastUse)
		if !edge && severityRank(e.Severity) < severityRank("H") && len(e.Created) == 0 && e.Minted == "" {
			continue
		}
		if len(run) > 0 && (run[0].Operation != e.Operation || run[0].Service != e.Service || run[0].Denied != e.Denied || len(e.Created) > 0) {
			flush()
			told++
		}
		if told >= 60 {
			run = nil
			continue
		}
		run = append(run, e)
	}
	flush()
}
