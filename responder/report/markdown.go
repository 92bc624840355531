package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxRows bounds a table of Markdown and HTML; the JSON has every row.
const maxRows = 100

// Markdown writes the report as one GitHub-flavoured file without images or HTML.
func Markdown(w io.Writer, r Report) error {
	b := bufio.NewWriter(w)
	m := &markdown{b}
	m.top(r)
	m.window(r)
	m.credential(r)
	m.response(r)
	m.trail(r.Trail)
	m.limits(r.Limits)
	m.timeline(r)
	m.after(r)
	m.appendix(r.Appendix)
	err := b.Flush()
	if err != nil {
		return fmt.Errorf("write markdown report: %w", err)
	}
	return nil
}

type markdown struct{ w *bufio.Writer }

func (m *markdown) line(s string)               { _, _ = m.w.WriteString(s + "\n") }
func (m *markdown) linef(f string, args ...any) { _, _ = fmt.Fprintf(m.w, f+"\n", args...) }
func (m *markdown) heading(s string)            { m.linef("\n## %s\n", s) }

// code sets foreign text as a code span, which no renderer links, mentions or
// formats. A pipe or a backtick is shown escaped, so that nothing ends the span
// or the cell of a table.
func code(s string) string {
	s = strings.TrimSpace(visible(s))
	if s == "" {
		return "—"
	}
	s = strings.ReplaceAll(s, "`", `\u{60}`)
	return "`" + strings.ReplaceAll(s, "|", `\u{7c}`) + "`"
}

// prose sets a sentence; see words.
func prose(s string) string {
	var b strings.Builder
	for _, w := range words(s) {
		if w.Code {
			b.WriteString(code(w.Text))
			continue
		}
		b.WriteString(w.Text)
	}
	if b.Len() == 0 {
		return "—"
	}
	return b.String()
}

func codes(ss []string) string {
	var out []string
	for _, s := range ss {
		out = append(out, code(s))
	}
	if len(out) == 0 {
		return "—"
	}
	return strings.Join(out, " ")
}

func countsOf(cs []Count) string {
	var out []string
	for _, c := range cs {
		out = append(out, fmt.Sprintf("%s %d", prose(c.Name), c.Count))
	}
	return strings.Join(out, ", ")
}

// operationsOf lists operations, the gravest first, the refused ones named so.
func operationsOf(os []Operation, most int) string {
	var out []string
	for n, o := range os {
		if n == most {
			out = append(out, fmt.Sprintf("and %d more", len(os)-most))
			break
		}
		s := code(o.Operation)
		if t := o.Outcomes.total(); t > 1 {
			s += fmt.Sprintf(" × %d", t)
		}
		if o.Outcomes.Denied > 0 {
			s += fmt.Sprintf(" (%d refused)", o.Outcomes.Denied)
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return "—"
	}
	return strings.Join(out, ", ")
}

// precise writes a time with milliseconds.
func precise(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// table writes a table whose cells are already inert.
func (m *markdown) table(head string, rows [][]string) {
	if len(rows) == 0 {
		m.line("None.")
		return
	}
	cols := strings.Split(head, "|")
	m.line("| " + strings.Join(cols, " | ") + " |")
	m.line("|" + strings.Repeat(" --- |", len(cols)))
	for n, r := range rows {
		if n == maxRows {
			m.linef("\n%d more rows are in report.json.", len(rows)-maxRows)
			break
		}
		m.line("| " + strings.Join(r, " | ") + " |")
	}
}

func (m *markdown) items(mark string, ss []string) {
	for n, s := range ss {
		if mark == "1." {
			m.linef("%d. %s", n+1, prose(s))
			continue
		}
		m.linef("- %s", prose(s))
	}
}

func (m *markdown) top(r Report) {
	h := r.Header
	m.linef("# %s\n", prose(h.Title))
	m.linef("**%s report, version %d**, made %s by Stanch %s: %s.", upperFirst(h.Status), h.Version, stamp(h.CreatedAt), code(h.ToolVersion), proseList(h.StatusWhy))
	if h.Simulated {
		m.line("\n> **Observe mode: nothing was done.** Every act below was simulated only; the credential still works as far as is known.")
	}
	m.linef("\n%s\n", prose(r.Summary))
	m.table("Field|Value", [][]string{
		{"Incident", code(h.Incident)},
		{"Severity", prose(h.Severity) + ": " + prose(h.SeverityWhy)},
		{"State", prose(stateName(h.State)) + since(h.StateAt) + ": " + prose(h.StateWhy)},
		{"Mode", prose(h.Mode)},
		{"Owner", code(h.Owner)},
		{"Evidence SHA-256", code(h.EvidenceSHA256)},
	})
	if len(r.Next) > 0 {
		m.heading("What to do now")
		m.items("1.", r.Next)
	}
}

func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + stamp(t)
}

func (m *markdown) window(r Report) {
	w := r.Window
	m.heading("Exposure window")
	var rows [][]string
	for _, p := range w.Points {
		rows = append(rows, []string{prose(p.Title), precise(p.At), prose(p.Source), prose(p.Uncertainty)})
	}
	m.table("Moment|Time (UTC)|Source|Uncertainty", rows)
	m.line("")
	m.line(windowLine(w) + "\n")
	rows = nil
	for _, s := range w.Shares {
		rows = append(rows, []string{whoName(s.Who), span(ms(s.MS)), prose(s.What)})
	}
	if len(rows) > 0 {
		m.table("Whose time|Share|Doing what", rows)
	}
	if len(r.Header.ClockSources) > 0 {
		m.line("\nClocks that times come from:\n")
		rows = nil
		for _, c := range r.Header.ClockSources {
			rows = append(rows, []string{code(c.Source), signed(c.OffsetMS), "± " + span(ms(c.UncertaintyMS)), precise(c.At), prose(c.Note)})
		}
		m.table("Clock|Ahead of ours by|Uncertainty|Measured (UTC)|Note", rows)
	}
}

func (m *markdown) credential(r Report) {
	c := r.Credential
	m.heading("The credential")
	rows := [][]string{
		{"Kind", prose(c.Title) + " (" + code(c.Provider+"/"+c.Kind) + ")"},
		{"Public id", code(c.PublicID)},
		{"Account", code(c.Account)},
		{"Identity", code(c.Identity)},
		{"Verdict", prose(c.Verdict) + ": " + prose(c.VerdictWhy)},
		{"Keyed fingerprint", code(c.Fingerprint)},
		{"Context", prose(c.Class) + ", confidence " + prose(c.Confidence)},
	}
	for _, f := range c.Facts {
		rows = append(rows, []string{code(f.Name), code(f.Value)})
	}
	m.table("Field|Value", rows)
	m.line("\nWhere it stands:\n")
	rows = nil
	for _, p := range c.Places {
		rows = append(rows, []string{code(p.Repository), prose(p.Visibility), strconv.Itoa(p.Sightings), codes(p.Refs), precise(p.FirstSeen)})
	}
	m.table("Repository|Visibility|Sightings|Refs|First seen (UTC)", rows)
}

func (m *markdown) response(r Report) {
	m.heading("What we did")
	if r.Header.Simulated {
		m.line("**Simulated, not done.** These are the acts that would have been performed.\n")
	}
	if len(r.Response.Acts) == 0 {
		m.line("No act was performed.")
	}
	for _, a := range r.Response.Acts {
		m.linef("### %s: %s\n", code(a.Name), actState(a.State))
		rows := [][]string{
			{"When (UTC)", precise(a.At)},
			{"Who", prose(a.Actor)},
			{"With", withName(a.With)},
			{"Binding", code(a.Binding) + ": " + prose(a.BindingWhy)},
			{"Result", prose(a.Result)},
			{"What else it stops", prose(a.Collateral)},
			{"Request ids", codes(a.RequestIDs)},
			{"Reversible", yesNo(a.Reversible)},
		}
		if a.Undo != "" {
			rows = append(rows, []string{"Undo", code(a.Undo)})
		}
		if !a.UndoneAt.IsZero() {
			rows = append(rows, []string{"Taken back", precise(a.UndoneAt) + " by " + code(a.UndoneBy)})
		}
		m.table("Field|Value", rows)
		m.line("")
	}
	if len(r.Response.Approvals) > 0 {
		m.line("\n### Approvals\n")
		var rows [][]string
		for _, a := range r.Response.Approvals {
			rows = append(rows, []string{code(a.ID), codes(a.Plan), precise(a.AskedAt), precise(a.ExpiresAt), prose(a.Decision), code(a.By), precise(a.DecidedAt), prose(a.Reason)})
		}
		m.table("Approval|Would release|Asked (UTC)|Ends (UTC)|Decision|By|Decided (UTC)|Reason", rows)
	}
	if h := r.Response.Hold; !h.Until.IsZero() || len(h.Reactions) > 0 {
		m.line("\n### Hold\n")
		m.linef("The containment was watched until %s. Reactions seen: %d.\n", stamp(h.Until), len(h.Reactions))
		if len(h.Reactions) > 0 {
			var rows [][]string
			for _, x := range h.Reactions {
				rows = append(rows, []string{precise(x.At), prose(x.What), prose(x.Answer)})
			}
			m.table("Time (UTC)|What happened|Our answer", rows)
		}
	}
}

func (m *markdown) timeline(r Report) {
	m.heading("Timeline")
	var rows [][]string
	for _, x := range r.Timeline {
		rows = append(rows, []string{precise(x.At), whoName(x.Who), prose(x.What), prose(x.Source)})
	}
	m.table("Time (UTC)|Who|What|Source", rows)
}
