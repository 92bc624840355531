package report

import (
	"fmt"
	"strconv"
	"strings"
)

func (m *markdown) trail(t Trail) {
	m.heading("What the key did")
	m.linef("%s\n", prose(useLine(t)))
	if t.Events == 0 {
		return
	}
	m.table("Measure|Value", [][]string{
		{"First use by others", precise(t.FirstUse)},
		{"Last use by others", precise(t.LastUse)},
		{"Allowed / refused / failed", outcomesOf(t.Outcomes)},
		{"After the containment, allowed / refused / failed", outcomesOf(t.AfterContainment)},
		{"Log lines by origin", countsOf(t.ByOrigin)},
	})
	if t.Outcomes.total() == 0 {
		return
	}
	sub := func(s string) { m.linef("\n### %s\n", s) }
	var rows [][]string
	sub("By service")
	for _, s := range t.Services {
		rows = append(rows, []string{code(s.Service), strconv.Itoa(s.Outcomes.Allowed), strconv.Itoa(s.Outcomes.Denied), strconv.Itoa(s.Outcomes.Failed), severityName(s.Worst), operationsOf(s.Calls, 12)})
	}
	m.table("Service|Allowed|Refused|Failed|Worst|Operations", rows)
	sub("From where")
	rows = nil
	for _, a := range t.Addresses {
		rows = append(rows, []string{code(a.Address), prose(a.Origin), strconv.Itoa(a.Calls), strconv.Itoa(a.Denied), precise(a.First), precise(a.Last), codes(a.Agents)})
	}
	m.table("Address|Origin|Calls|Refused|First (UTC)|Last (UTC)|User agents", rows)
	if len(t.Regions) > 0 {
		sub("Regions")
		rows = nil
		for _, x := range t.Regions {
			rows = append(rows, []string{code(x.Region), strconv.Itoa(x.Calls), yesNo(x.New)})
		}
		m.table("Region|Calls|New to this key", rows)
	}
	sub("What it created or changed")
	rows = nil
	for _, c := range t.Created {
		rows = append(rows, []string{code(c.Resource), code(c.By), code(c.Region), precise(c.At), code(c.With), code(c.Event)})
	}
	m.table("Resource|By|Region|Time (UTC)|With|Event", rows)
	sub("Sessions and credentials that grew out of it")
	rows = nil
	for _, c := range t.Minted {
		rows = append(rows, []string{code(c.ID), prose(kindName(c.Kind)), code(c.Parent), precise(c.At), strconv.Itoa(c.Calls), provenName(c.Proven)})
	}
	m.table("Credential|Kind|Made with|Time (UTC)|Calls made with it|Lineage", rows)
	if len(t.Techniques) > 0 {
		sub("ATT&CK")
		rows = nil
		for _, x := range t.Techniques {
			rows = append(rows, []string{techniqueOf(x), prose(x.Name), codes(x.Tactics), severityName(x.Severity), strconv.Itoa(x.Calls), strconv.Itoa(x.Allowed), codes(x.Operations)})
		}
		m.table("Technique|Name|Tactics|Severity|Calls|Allowed|Operations", rows)
	}
	sub("Log lines")
	rows = nil
	for _, c := range t.Calls {
		rows = append(rows, []string{precise(c.At), code(c.Service + " " + c.Operation), callOutcome(c) + errorOf(c.Error), code(c.Region), code(c.Address), prose(c.Origin), code(c.Used), code(c.ID)})
	}
	m.table("Time (UTC)|Call|Outcome|Region|Address|Origin|Credential|Event", rows)
	if t.Omitted > 0 {
		m.linef("\n%d more are not repeated here; the hash of the evidence covers them.", t.Omitted)
	}
}

func errorOf(e string) string {
	if e == "" {
		return ""
	}
	return " " + code(e)
}

func (m *markdown) limits(l Limits) {
	m.heading("What the logs cannot tell")
	var rows [][]string
	for _, s := range l.Sources {
		read := yesNo(s.Complete)
		if s.Error != "" {
			read += ": " + prose(s.Error)
		}
		rows = append(rows, []string{code(s.Source), code(s.Scope), precise(s.From), precise(s.To), precise(s.AskedAt), fmt.Sprintf("%d / %d", s.Pages, s.Events), span(ms(s.DelayMS)), read})
	}
	if len(rows) > 0 {
		m.table("Source|Scope|From (UTC)|To (UTC)|Asked (UTC)|Pages / events|Usual delay|Read to the end", rows)
		m.line("")
	}
	m.items("-", l.Gaps)
}

// after is everything that people do from here on.
func (m *markdown) after(r Report) {
	m.heading("Replacement")
	m.linef("%s\n", prose(r.Replacement.Note))
	m.items("-", r.Replacement.Steps)

	m.heading("What to rotate next")
	if len(r.Rotate) == 0 {
		m.line(prose(rotateLine(r)))
	} else {
		var rows [][]string
		for _, x := range r.Rotate {
			rows = append(rows, []string{code(x.Resource), prose(x.Kind), strconv.Itoa(x.Reads), precise(x.First)})
		}
		m.table("Secret|Kind|Times read|First read (UTC)", rows)
	}

	m.heading("Clocks")
	m.linef("**%s**\n", prose(r.Clocks.Disclaimer))
	m.linef("%s\n", prose(r.Clocks.Awareness))
	m.linef("- The system had it: %s", orUnknown(stamp(r.Clocks.SystemAware)))
	m.linef("- A person first saw it: %s\n", orUnknown(stamp(r.Clocks.PersonAware)))
	var rows [][]string
	for _, c := range r.Clocks.Deadlines {
		rows = append(rows, []string{c.Regime, prose(c.What), prose(c.Rule), orUnknown(stamp(c.IfSystem)), orUnknown(stamp(c.IfPerson)), prose(c.Condition)})
	}
	m.table("Regime|What|Rule|Ends, from the system's awareness|Ends, from a person's|Runs", rows)

	m.heading("Clean-up")
	m.linef("%s\n", prose(r.Cleanup.Advice))
	m.items("1.", r.Cleanup.Steps)
	m.line("\nStill handed out under:\n")
	rows = nil
	for _, s := range r.Cleanup.StillServed {
		rows = append(rows, []string{code(s.Repository), code(s.Ref), code(s.Commit), code(s.Path), prose(s.Why)})
	}
	m.table("Repository|Ref|Commit|Path|Why", rows)

	m.heading("Lessons")
	m.items("-", r.Lessons)
	for _, l := range r.Links {
		m.linef("- %s", code(l))
	}
}

func (m *markdown) appendix(x Appendix) {
	m.heading("Appendix: evidence")
	sub := func(s string) { m.linef("\n### %s\n", s) }
	sub("Sightings")
	var rows [][]string
	for _, s := range x.Sightings {
		rows = append(rows, []string{code(s.Repository), code(s.Ref), code(s.Commit), code(placeOf(s)), code(s.Rule), code(authorOf(s)), code(s.Pusher), precise(s.SeenAt), code(s.Delivery)})
	}
	m.table("Repository|Ref|Commit|Place|Rule|Author (as the commit claims)|Pusher|Seen (UTC)|Delivery", rows)
	sub("States")
	rows = nil
	for _, s := range x.States {
		rows = append(rows, []string{precise(s.At), prose(stateName(s.State)), prose(s.Reason)})
	}
	m.table("Time (UTC)|State|Reason", rows)
	sub("Steps")
	rows = nil
	for _, s := range x.Steps {
		rows = append(rows, []string{code(s.Name), prose(s.State), strconv.Itoa(s.Attempts), precise(s.StartedAt), precise(s.DoneAt), prose(s.Error)})
	}
	m.table("Step|State|Attempts|Started (UTC)|Done (UTC)|Error", rows)
	sub("Our requests")
	rows = nil
	for _, q := range x.Requests {
		rows = append(rows, []string{precise(q.At), code(q.For), code(q.Operation), code(q.Host), statusOf(q), span(ms(q.TookMS)), withName(q.With), code(q.RequestID)})
	}
	m.table("Time (UTC)|For|Operation|Host|Status|Took|With|Request id", rows)
	sub("Ledger")
	if len(x.Ledger.Entries) == 0 {
		m.line("No entry of the ledger is named in this version.")
	} else {
		m.linef("Entries %s. Check them with %s.", code(entriesOf(x.Ledger.Entries)), code(x.Ledger.Verify))
	}
	if x.Ledger.Checkpoint != "" {
		m.line("\nSigned checkpoint of a tree that holds them:\n")
		for _, l := range strings.Split(strings.TrimRight(x.Ledger.Checkpoint, "\n"), "\n") {
			m.line("    " + strings.ReplaceAll(visible(l), "`", `\u{60}`))
		}
	}
	sub("Chain of custody")
	rows = nil
	for _, c := range x.Custody {
		rows = append(rows, []string{code(c.Name), strconv.Itoa(c.Items), code(c.SHA256), prose(c.How)})
	}
	m.table("Evidence|Items|SHA-256|Which bytes", rows)
}

func techniqueOf(x Technique) string {
	if x.V19 == "" {
		return code(x.ID)
	}
	return code(x.ID) + " (v19: " + code(x.V19) + ")"
}
