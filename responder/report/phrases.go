package report

import (
	"fmt"
	"strconv"
	"strings"
)

// Phrases that Markdown and HTML share.

func stateName(s string) string {
	if s == "proved_dead" {
		return "proved dead"
	}
	return strings.ReplaceAll(s, "_", " ")
}

func actState(s string) string {
	switch s {
	case "simulated":
		return "simulated, not done"
	case "already":
		return "was so already"
	case "person":
		return "needs a person"
	case "undone":
		return "taken back"
	case "done", "failed", "running":
		return s
	}
	return "unknown"
}

func withName(s string) string {
	switch s {
	case "leaked":
		return "the leaked credential"
	case "admin":
		return "our own credential"
	case "anyone":
		return "no credential"
	}
	return "—"
}

func whoName(s string) string {
	switch s {
	case "github":
		return "GitHub"
	case "stanch":
		return "Stanch"
	case "provider":
		return "Provider"
	case "people":
		return "People"
	case "developer":
		return "Developer"
	case "caller":
		return "Caller"
	}
	return "—"
}

func severityName(s string) string {
	switch s {
	case "C":
		return "critical"
	case "H":
		return "high"
	case "M":
		return "medium"
	case "L":
		return "low"
	}
	return "—"
}

func orUnknown(s string) string {
	if s == "" {
		return "not known"
	}
	return s
}

func signed(n int64) string {
	if n < 0 {
		return "-" + span(ms(-n))
	}
	return "+" + span(ms(n))
}

func upperFirst(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func proseList(ss []string) string {
	var out []string
	for _, s := range ss {
		out = append(out, prose(s))
	}
	return strings.Join(out, "; ")
}

func windowLine(w Window) string {
	switch {
	case !w.Measured && w.TotalMS == 0:
		return "The length of the exposure is not known."
	case !w.Measured:
		return fmt.Sprintf("When it became public is not known. Since it was first seen: %s.", span(ms(w.TotalMS)))
	case w.Open:
		return fmt.Sprintf("Still exposed; so far %s.", span(ms(w.TotalMS)))
	case w.ToProofMS > 0:
		return fmt.Sprintf("Exposed for %s in all, and %s more until death was proved.", span(ms(w.TotalMS)), span(ms(w.ToProofMS)))
	}
	return fmt.Sprintf("Exposed for %s in all.", span(ms(w.TotalMS)))
}

func useLine(t Trail) string {
	switch t.Use {
	case useSeen:
		return "Someone other than the owner used it. Our own calls and the provider's are left out below."
	case useUnclear:
		return "There are calls that could be anyone's. Our own calls, the provider's and those like the owner's are left out below."
	case useNone:
		return "No use by others is visible as of " + stamp(t.AsOf) + "; the trail is complete up to " + stamp(t.CompleteUpTo) + ". What these logs cannot show is named in the next part."
	}
	if t.AsOf.IsZero() {
		return "Not known: no log has been read."
	}
	return "No use by others is visible as of " + stamp(t.AsOf) + ", but the trail is not complete."
}

func rotateLine(r Report) string {
	if r.Trail.AsOf.IsZero() {
		return "Not known: no log has been read."
	}
	if !r.Trail.Complete {
		return "No other secret is seen to have been read so far; the trail is not complete."
	}
	return "No other secret is seen to have been read, within the limits named above."
}

func placeOf(s Sighting) string {
	p := s.Path
	if s.Object != "blob" {
		p = "(" + s.Object + ")"
		if s.Path != "" {
			p += " " + s.Path
		}
	}
	return fmt.Sprintf("%s:%d:%d", p, s.Line, s.Column)
}

func authorOf(s Sighting) string {
	return strings.TrimSpace(s.Author + " <" + s.AuthorEmail + ">")
}

func statusOf(q Request) string {
	if q.Status == 0 {
		return "no answer"
	}
	return strconv.Itoa(q.Status)
}

// entriesOf writes indices with runs joined: "3-5, 9".
func entriesOf(ns []int64) string {
	var out []string
	for n := 0; n < len(ns); {
		end := n
		for end+1 < len(ns) && ns[end+1] == ns[end]+1 {
			end++
		}
		if end > n {
			out = append(out, fmt.Sprintf("%d-%d", ns[n], ns[end]))
		} else {
			out = append(out, strconv.FormatInt(ns[n], 10))
		}
		n = end + 1
	}
	return strings.Join(out, ", ")
}

func outcomesOf(o Outcomes) string {
	return fmt.Sprintf("%d / %d / %d", o.Allowed, o.Denied, o.Failed)
}

// callOutcome says what the provider did with a call.
func callOutcome(c Call) string {
	switch {
	case c.Denied:
		return "refused"
	case c.Error != "":
		return "failed"
	}
	return "allowed"
}

func kindName(s string) string { return strings.ReplaceAll(s, "_", " ") }

func provenName(b bool) string {
	if b {
		return "proved by the log"
	}
	return "same user; not proved to be the same actor"
}
