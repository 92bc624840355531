package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Table writes the result for people.
func (r Result) Table(w io.Writer) error {
	m := r.Machine
	fmt.Fprintf(w, "%s  stanch %s  %s %s  %d x %s  load %s before, %s after\n", m.At.Format("2006-01-02 15:04 UTC"), m.Version, m.Go, m.Platform, m.CPUs, m.CPU, m.LoadBefore, m.LoadAfter)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(r.Intake) > 0 {
		fmt.Fprintf(t, "\nINTAKE\taccepted\ta second\tp50 ms\tp99 ms\tmax ms\tfailed\tlost\tdrained after ms\tmemory MB\tCPU s\t\n")
		for _, in := range r.Intake {
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%d\t%d\t%.0f\t%.0f\t%.1f\t\n", in.Name, in.Accepted, in.PerSecond, in.Answer.P50, in.Answer.P99, in.Answer.Max, in.Failed, in.Lost, in.DrainMS, in.Usage.PeakMemoryMB, in.Usage.CPUSeconds)
		}
	}
	if p := r.Responses; p != nil {
		fmt.Fprintf(t, "\nRESPONSES\tcount\tp50 ms\tp99 ms\tmax ms\t\n")
		line := func(name string, s Spread) {
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t\n", name, s.Count, s.P50, s.P99, s.Max)
		}
		line("webhook to verdict", p.Verdict)
		line("webhook to containment", p.Contained)
		line("containment to proof", p.Proved)
		line("containment to first report", p.Report)
		line("git push to verdict", p.PushVerdict)
		line("git push to containment", p.PushContained)
		for _, name := range slices.Sorted(maps.Keys(p.ByProvider)) {
			s := p.ByProvider[name]
			line(name+": webhook to verdict", s.Verdict)
			line(name+": webhook to containment", s.Contained)
			line(name+": containment to proof", s.Proved)
		}
		line("load: git push", p.GitPush)
		line("load: push began late by", p.Late)
	}
	err := t.Flush()
	if err != nil {
		return err
	}
	if p := r.Responses; p != nil {
		fmt.Fprintf(w, "\n%d pushes in %.1f s; %d contained, %d proved dead, %d of %d holds ended; all settled %.1f s after the last push\n", p.Pushes, p.Seconds, p.ContainedCount, p.ProvedCount, p.HeldCount, p.Holds, p.SettleMS/1000)
		fmt.Fprintf(w, "service: %.0f MB at most, %.1f s of CPU and %.1f s in its children (git) within %.1f s\n", p.Usage.PeakMemoryMB, p.Usage.CPUSeconds, p.Usage.ChildSeconds, p.Usage.Seconds)
	}
	fmt.Fprintln(w)
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "GOAL\tat most\tgot\t\n")
	for _, g := range r.Goals {
		verdict := "met"
		if !g.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(t, "%s\t%.0f %s\t%.1f %s\t%s\n", g.Name, g.Most, g.Unit, g.Got, g.Unit, verdict)
	}
	return t.Flush()
}
