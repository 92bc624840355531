package report

import (
	"time"

	"stanch/responder/incident"
)

// disclaimer stands over every clock.
const disclaimer = "Not legal advice. Stanch computes when these clocks would end; it does not decide whether a rule applies, whether personal data is affected or whether the incident is major or material."

// clocks computes deadlines. Sources: GDPR Art. 33(1); NIS2 Art. 23(4); DORA
// Art. 19(4) with RTS (EU) 2025/301 Art. 5; SEC Form 8-K item 1.05 and General
// Instruction B.1.
func (b *builder) clocks() Clocks {
	i := b.in.Incident
	system, person := b.received(), i.AwareAt
	c := Clocks{
		Disclaimer:  disclaimer,
		SystemAware: system, PersonAware: person,
		Awareness: "Regulators count from awareness, and not all of them mean the same moment. Both are shown: when the system had it, and when a person first opened or answered it.",
	}
	if person.IsZero() {
		c.Awareness += " No person is known to have seen it yet."
	}
	add := func(regime, what, rule, condition string, end func(time.Time) time.Time) {
		k := Clock{Regime: regime, What: what, Rule: rule, Condition: condition}
		if !system.IsZero() {
			k.IfSystem = end(system)
		}
		if !person.IsZero() {
			k.IfPerson = end(person)
		}
		c.Deadlines = append(c.Deadlines, k)
	}
	hours := func(n int) func(time.Time) time.Time {
		return func(t time.Time) time.Time { return t.Add(time.Duration(n) * time.Hour) }
	}
	const (
		dora = "only for financial entities in the EU, and only if the incident is classified as major"
		nis2 = "only for essential and important entities in the EU, and only if the incident is significant"
	)
	add("DORA", "initial notification", "4 h after classification as major, at the latest 24 h after awareness", dora+"; shown is 4 h, as if it were classified at once", hours(4))
	add("DORA", "initial notification, latest", "24 h after awareness", dora, hours(24))
	add("DORA", "intermediate report", "72 h after the initial notification", dora+"; shown as if that were sent at its latest moment", hours(96))
	add("NIS2", "early warning", "24 h after awareness", nis2, hours(24))
	add("NIS2", "incident notification", "72 h after awareness", nis2, hours(72))
	add("NIS2", "final report", "1 month after the incident notification", nis2+"; shown as if that were sent at its latest moment", func(t time.Time) time.Time {
		return addMonth(t.Add(72 * time.Hour))
	})
	add("GDPR Art. 33", "notification to the supervisory authority", "72 h after awareness of a personal-data breach", "only if personal data was affected and a risk to people is not unlikely", hours(72))
	add("SEC Form 8-K 1.05", "current report", "4 business days after the incident is determined to be material", "only for SEC registrants, and only from the day on which materiality is determined, which Stanch never decides; shown as if it were determined at once", fourBusinessDays)
	return c
}

// addMonth is one calendar month later, on the month's last day where it is shorter.
func addMonth(t time.Time) time.Time {
	t = t.UTC()
	n := t.AddDate(0, 1, 0)
	if n.Day() != t.Day() {
		n = n.AddDate(0, 0, -n.Day())
	}
	return n
}

// fourBusinessDays is when EDGAR closes on the fourth business day after t:
// 17:30 in Washington, read as 21:30 UTC, the earlier of summer and winter time.
// When t is no business day the count begins with, and includes, the next one
// (Form 8-K, General Instruction B.1).
func fourBusinessDays(t time.Time) time.Time {
	// The day in Washington, by the offset that holds for most of the year.
	day := t.UTC().Add(-5 * time.Hour).Truncate(24 * time.Hour)
	left := 4
	if !businessDay(day) {
		for !businessDay(day) {
			day = day.AddDate(0, 0, 1)
		}
		left = 3
	}
	for left > 0 {
		day = day.AddDate(0, 0, 1)
		if businessDay(day) {
			left--
		}
	}
	return day.Add(21*time.Hour + 30*time.Minute)
}

func businessDay(d time.Time) bool {
	return d.Weekday() != time.Saturday && d.Weekday() != time.Sunday && !federalHoliday(d)
}

// federalHoliday says whether a day is a United States federal holiday (5 U.S.C.
// 6103), as observed: on Friday for a Saturday, on Monday for a Sunday.
func federalHoliday(d time.Time) bool {
	if fixedHoliday(d) && d.Weekday() != time.Saturday && d.Weekday() != time.Sunday {
		return true
	}
	if d.Weekday() == time.Friday && fixedHoliday(d.AddDate(0, 0, 1)) || d.Weekday() == time.Monday && fixedHoliday(d.AddDate(0, 0, -1)) {
		return true
	}
	week := (d.Day() + 6) / 7 // which such weekday of its month
	last := d.AddDate(0, 0, 7).Month() != d.Month()
	switch {
	case d.Weekday() == time.Monday:
		switch d.Month() {
		case time.January, time.February: // Martin Luther King, Washington
			return week == 3
		case time.May: // Memorial Day
			return last
		case time.September: // Labor Day
			return week == 1
		case time.October: // Columbus Day
			return week == 2
		}
	case d.Weekday() == time.Thursday && d.Month() == time.November: // Thanksgiving
		return week == 4
	}
	return false
}

// fixedHoliday: New Year, Juneteenth, Independence Day, Veterans Day, Christmas.
func fixedHoliday(d time.Time) bool {
	switch d.Month() {
	case time.January:
		return d.Day() == 1
	case time.June:
		return d.Day() == 19
	case time.July:
		return d.Day() == 4
	case time.November:
		return d.Day() == 11
	case time.December:
		return d.Day() == 25
	}
	return false
}

// alive says whether nothing has stopped the credential yet.
func (b *builder) alive() bool {
	i := b.in.Incident
	return i.State == incident.StateUndone || i.ContainedAt.IsZero() && i.State != incident.StateNotLive
}
