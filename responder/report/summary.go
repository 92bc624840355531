package report

import (
	"fmt"
	"strings"
	"time"

	"stanch/responder/incident"
	"stanch/responder/trail"
)

// summary is the paragraph that a manager can forward. Every sentence says only
// what is known, and what is not known is said too.
func (b *builder) summary(r Report) string {
	parts := []string{b.saidLeaked(r), b.saidVerdict(r), b.saidDone(r), b.saidUse(r), b.saidOpen(r)}
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, " ")
}

func (b *builder) saidLeaked(r Report) string {
	i, title := b.in.Incident, b.title()
	s := strings.ToUpper(article(title)[:1]) + article(title)[1:] + " " + title
	if i.PublicID != "" {
		s += " (" + i.PublicID
		if i.Account != "" {
			s += ", account " + i.Account
		}
		s += ")"
	} else if i.Account != "" {
		s += " (account " + i.Account + ")"
	}
	if len(b.in.Sightings) == 0 {
		return s + fmt.Sprintf(" was reported to Stanch as leaked at %s.", stamp(b.received()))
	}
	first := b.in.Sightings[0]
	switch {
	case first.Rule == incident.RuleHandedIn:
		s += " was handed in as leaked"
		if first.Repository != "" {
			s += " (" + first.Repository + ")"
		}
	case first.Visibility == incident.VisibilityPublic:
		s += " was published in the public repository " + first.Repository
	case first.Visibility == incident.VisibilityPrivate, first.Visibility == incident.VisibilityInternal:
		s += fmt.Sprintf(" was pushed to the %s repository %s", first.Visibility, first.Repository)
	default:
		s += " was found in " + first.Repository
	}
	if !i.ExposedAt.IsZero() {
		s += " at " + stamp(i.ExposedAt)
	}
	if n := len(r.Credential.Places) - 1; n > 0 {
		s += fmt.Sprintf(", and stands in %s too", plural(n, "other repository", "other repositories"))
	}
	return s + "."
}

func (b *builder) saidVerdict(r Report) string {
	i := b.in.Incident
	switch i.Verdict {
	case "live":
		s := b.provider + " confirmed that it worked"
		if id := r.Credential.Identity; id != "" {
			s += " and belonged to " + id
		}
		return s + "."
	case "dead":
		if i.State == incident.StateNotLive {
			return fmt.Sprintf("%s refused it when asked at %s, so it was already dead and nothing was done to it.", b.provider, stamp(i.VerdictAt))
		}
		return b.provider + " refused it when asked."
	case "error":
		return "Whether it works is not known: " + b.provider + " gave no usable answer."
	case "unknown":
		return "Whether it works is not known: the answer of " + b.provider + " proves neither."
	}
	return "Whether it works has not been answered yet."
}

func (b *builder) saidDone(r Report) string {
	i := b.in.Incident
	switch {
	case i.State == incident.StateNotLive:
		return ""
	case i.State == incident.StateUndone:
		return "The acts against it were taken back by a person, so it may work again."
	case b.simulated || i.State == incident.StateObserved:
		return "Stanch is in observe mode: it simulated " + plural(len(r.Response.Acts), "act", "acts") + " and did nothing, so the credential is still exposed."
	case i.State == incident.StateWaiting:
		return "Nothing has been done yet: Stanch waits for a person to release the acts."
	case i.State == incident.StateDenied:
		return "Nothing was done: the acts were not released."
	case i.State == incident.StatePerson && i.ContainedAt.IsZero():
		return "It is not contained: a person has to go on from here."
	case i.ContainedAt.IsZero():
		return "It is not contained yet; the response is under way."
	}
	after := ""
	if r.Window.Measured {
		after = ", " + span(ms(r.Window.TotalMS)) + " after it was exposed"
	}
	s := fmt.Sprintf("Stanch contained it at %s%s", stamp(i.ContainedAt), after)
	if who := b.approver(); who != "" {
		s += ", released by " + who
	}
	if i.ProvedAt.IsZero() {
		return s + "; that " + b.provider + " refuses it is not proved yet."
	}
	return s + ", and " + b.provider + " has been seen to refuse it since " + stamp(i.ProvedAt) + "."
}

func (b *builder) approver() string {
	for _, a := range b.in.Approvals {
		if a.Decision == "approved" {
			return a.By
		}
	}
	return ""
}

func (b *builder) saidUse(r Report) string {
	t := r.Trail
	asked := ""
	if !t.AsOf.IsZero() {
		asked = " as of " + stamp(t.AsOf)
	}
	switch t.Use {
	case useSeen, useUnclear:
		who := "Someone else used it"
		if t.Use == useUnclear {
			who = "Calls that may not be the owner's were made with it"
		}
		s := fmt.Sprintf("%s: %s from %s between %s and %s, %d of them allowed", who,
			plural(t.Outcomes.total(), "call", "calls"), plural(foreignAddresses(t), "address", "addresses"),
			stamp(t.FirstUse), stamp(t.LastUse), t.Outcomes.Allowed)
		if t.Outcomes.total() == 1 {
			s = fmt.Sprintf("%s: one call at %s, which was %s", who, stamp(t.FirstUse), outcome(t.Outcomes.Denied == 1))
		}
		if n := len(t.Created); n > 0 {
			s += "; " + plural(n, "thing was", "things were") + " created"
		}
		s += "."
		if a := t.AfterContainment; a.total() > 0 {
			s += fmt.Sprintf(" After the containment %s refused and %s allowed.", many(a.Denied), many(a.Allowed))
		}
		return s + b.saidComplete(t)
	case useNone:
		return fmt.Sprintf("No use by others is visible%s; the trail is complete up to %s, within the limits named below.", asked, stamp(t.CompleteUpTo))
	}
	if len(r.Limits.Sources) == 0 {
		return "What it was used for is not known: no log has been read."
	}
	return fmt.Sprintf("No use by others is visible%s, but the trail is not complete, so this proves nothing yet.", asked)
}

func (b *builder) saidComplete(t Trail) string {
	if t.Complete {
		return " The trail is complete up to " + stamp(t.CompleteUpTo) + "."
	}
	return " The trail is not complete; there may be more."
}

func (b *builder) saidOpen(r Report) string {
	if r.Window.Open && r.Window.Measured && b.in.Incident.State != incident.StateNotLive {
		return fmt.Sprintf("It has been exposed for %s so far.", span(b.in.Now.Sub(b.in.Incident.ExposedAt).Round(time.Second)))
	}
	return ""
}

// outcome says what the provider did with a call.
func outcome(denied bool) string {
	if denied {
		return "refused"
	}
	return "allowed"
}

// foreignAddresses counts the addresses that are not the owner's.
func foreignAddresses(t Trail) int {
	n := 0
	for _, a := range t.Addresses {
		if a.Origin != trail.OriginOwner {
			n++
		}
	}
	return n
}

// many writes "none was", "1 was", "25 were".
func many(n int) string {
	switch n {
	case 0:
		return "none was"
	case 1:
		return "1 was"
	}
	return fmt.Sprintf("%d were", n)
}
