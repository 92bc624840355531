package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"stanch/internal/service"
	"stanch/internal/store"
	"stanch/responder"
	"stanch/responder/incident"
	"stanch/responder/report"
)

type incidentCmd struct {
	List   incidentListCmd   `cmd:"" help:"List incidents, newest first."`
	Show   incidentShowCmd   `cmd:"" help:"Show one incident: states, sightings, acts."`
	Report incidentReportCmd `cmd:"" help:"Print an incident's report."`
	Undo   incidentUndoCmd   `cmd:"" help:"Take back what can be taken back."`
}

type incidentListCmd struct {
	configFlag
	State    string `help:"Only incidents in this state."`
	Provider string `help:"Only incidents of this provider."`
	Limit    int    `help:"How many at most." default:"100"`
	Format   string `enum:"table,json" default:"table" help:"Output: table or json (one object a line)."`
}

func (c *incidentListCmd) Run(rt *runtime) error {
	if c.State != "" && !slices.Contains(incident.States, incident.State(c.State)) {
		return fail(exitUsage, fmt.Errorf("--state %s is not a state", service.Inert(c.State)), fmt.Sprintf("the states: %v", incident.States))
	}
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // read only
	is, err := svc.Incidents(rt.ctx, store.IncidentFilter{State: c.State, Provider: c.Provider, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.Format == "json" {
		enc := json.NewEncoder(rt.stdout)
		for _, i := range is {
			err := enc.Encode(service.Summarise(i))
			if err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(rt.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "INCIDENT\tSEVERITY\tSTATE\tVERDICT\tCREDENTIAL\tOPENED\tEXPOSED FOR")
	for _, i := range is {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Severity, i.State, orDash(i.Verdict), credentialName(i), i.OpenedAt.Format(time.DateTime), exposedFor(i))
	}
	return w.Flush()
}

func credentialName(i incident.Incident) string {
	name := strings.TrimPrefix(i.Provider+" "+i.Kind, " ")
	if i.PublicID != "" {
		name += " " + i.PublicID
	}
	return name
}

func exposedFor(i incident.Incident) string {
	end := i.ContainedAt
	if end.IsZero() {
		if i.State.Final() {
			return "-"
		}
		end = time.Now()
	}
	return end.Sub(i.ExposedAt).Round(time.Second).String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type incidentShowCmd struct {
	configFlag
	ID     string `arg:"" help:"Incident id, or its beginning."`
	Format string `enum:"text,json" default:"text" help:"Output: text or json."`
}

func (c *incidentShowCmd) Run(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // read only
	d, err := svc.Detail(rt.ctx, c.ID)
	if err != nil {
		return incidentFailure(err)
	}
	if c.Format == "json" {
		return json.NewEncoder(rt.stdout).Encode(d)
	}
	printDetail(rt.stdout, d)
	return nil
}

func printDetail(w io.Writer, d service.Detail) {
	fmt.Fprintf(w, "%s  %s\n%s, %s (%s)\n", d.ID, service.Inert(d.Title), d.State, d.Severity, service.Inert(d.SeverityWhy))
	if d.Verdict != "" {
		fmt.Fprintf(w, "verdict: %s (%s)\n", d.Verdict, service.Inert(d.VerdictWhy))
	}
	fmt.Fprintln(w, "\nHistory")
	for _, s := range d.States {
		fmt.Fprintf(w, "  %s  %-18s %s\n", s.At.Format("2006-01-02 15:04:05.000"), s.State, service.Inert(s.Reason))
	}
	fmt.Fprintln(w, "\nSeen at")
	for _, s := range d.Sightings {
		if s.Rule == incident.RuleHandedIn {
			fmt.Fprintf(w, "  handed in by %s %s\n", service.Inert(s.Pusher), service.Inert(s.Repository))
			continue
		}
		fmt.Fprintf(w, "  %s (%s) %s %s:%d\n", service.Inert(s.Repository), s.Visibility, service.Inert(s.Commit), service.Inert(s.Path), s.Line)
	}
	for n, x := range d.Retrying {
		if n == 0 {
			fmt.Fprintln(w, "\nTried again")
		}
		fmt.Fprintf(w, "  %-20s attempt %d: %s\n", x.Step, x.Attempts, service.Inert(x.Error))
	}
	if len(d.Actions) > 0 {
		fmt.Fprintln(w, "\nActs")
	}
	for _, a := range d.Actions {
		undo := ""
		if a.Undoable {
			undo = "  undo: stanch incident undo " + d.ID + " --action " + a.Name
		}
		fmt.Fprintf(w, "  %-20s %-10s %s%s\n", a.Name, a.State, service.Inert(a.Detail), undo)
	}
}

type incidentReportCmd struct {
	configFlag
	ID      string `arg:"" help:"Incident id, or its beginning."`
	Format  string `enum:"markdown,html,json" default:"markdown" help:"Output: markdown, html or json."`
	Version int    `help:"A kept version; 0 is the newest." default:"0"`
	Output  string `short:"o" help:"Write to this file." placeholder:"FILE"`
}

func (c *incidentReportCmd) Run(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // read only
	r, err := svc.Report(rt.ctx, c.ID, c.Version)
	if errors.Is(err, store.ErrNotFound) && c.Version != 0 {
		return fail(exitUsage, err, "leave out --version for the newest; versions start at 1")
	}
	if err != nil {
		return incidentFailure(err)
	}
	out := rt.stdout
	if c.Output != "" {
		f, err := os.OpenFile(c.Output, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fail(exitUsage, err)
		}
		defer f.Close() //nolint:errcheck // written by then; see below
		out = f
	}
	switch c.Format {
	case "json":
		data, err := report.JSON(r)
		if err != nil {
			return err
		}
		_, err = out.Write(data)
		return err
	case "html":
		return report.HTML(out, r)
	}
	return report.Markdown(out, r)
}

type incidentUndoCmd struct {
	configFlag
	ID     string        `arg:"" help:"Incident id, or its beginning."`
	Action string        `help:"Take back this act only."`
	Wait   time.Duration `help:"How long to wait for it." default:"1m"`
}

func (c *incidentUndoCmd) Run(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // everything is stored
	d, err := svc.Undo(rt.ctx, c.ID, c.Action, actor(), c.Wait)
	if err != nil {
		return incidentFailure(err)
	}
	printDetail(rt.stderr, d)
	return nil
}

type approveCmd struct {
	configFlag
	ID     string        `arg:"" help:"Incident id, or its beginning."`
	Reason string        `help:"Why; it goes into the ledger and the report."`
	Wait   time.Duration `help:"How long to wait for the containment; 0 does not wait." default:"1m"`
}

func (c *approveCmd) Run(rt *runtime) error {
	return decide(rt, c.configFlag, c.ID, true, c.Reason, c.Wait)
}

type denyCmd struct {
	configFlag
	ID     string `arg:"" help:"Incident id, or its beginning."`
	Reason string `help:"Why; it goes into the ledger and the report."`
}

func (c *denyCmd) Run(rt *runtime) error { return decide(rt, c.configFlag, c.ID, false, c.Reason, 0) }

func decide(rt *runtime, f configFlag, id string, approve bool, reason string, wait time.Duration) error {
	svc, err := f.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // everything is stored
	d, err := svc.Decide(rt.ctx, id, approve, actor(), reason, wait)
	if err != nil {
		return incidentFailure(err)
	}
	printDetail(rt.stderr, d)
	return nil
}

// actor is who runs this command, for the ledger.
func actor() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	host, _ := os.Hostname()
	return name + "@" + host
}

func incidentFailure(err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fail(exitUsage, err, "'stanch incident list' shows the ids")
	case errors.Is(err, responder.ErrNoApproval):
		return fail(exitUsage, err, "'stanch incident list --state awaiting_approval' shows what waits")
	case errors.Is(err, responder.ErrNothingToUndo):
		return fail(exitUsage, err, "'stanch incident show ID' lists the acts; irreversible and simulated ones have no undo")
	}
	return err
}
