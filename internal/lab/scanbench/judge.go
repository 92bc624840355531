package scanbench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// median takes each figure's median by itself.
func median(runs []Usage) Usage {
	if len(runs) == 0 {
		return Usage{Findings: -1}
	}
	of := func(get func(Usage) float64) float64 {
		v := make([]float64, len(runs))
		for i, u := range runs {
			v[i] = get(u)
		}
		slices.Sort(v)
		if len(v)%2 == 1 {
			return v[len(v)/2]
		}
		return (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return Usage{
		CPU: of(func(u Usage) float64 { return u.CPU }), Wall: of(func(u Usage) float64 { return u.Wall }),
		MemoryMB: of(func(u Usage) float64 { return u.MemoryMB }), Findings: runs[len(runs)-1].Findings,
	}
}

// promises are the bars of a mode by tool: how many times less CPU than the
// tool, or, where most is set, at most so many times its CPU.
var promises = []struct {
	mode Mode
	tool string
	want float64
	most bool
}{
	{History, "gitleaks", 30, false},
	{History, "gitleaks-re2", 8, false},
	{History, "betterleaks", 8, false},
	{History, "trufflehog", 20, false},
	{History, "git index-pack", 0.6, true},
	{Patches, "gitleaks-re2", 5, false},
	{Wire, "git clone --bare", 1.1, true},
	{Tree, "gitleaks", 20, false},
	{Tree, "gitleaks-re2", 5, false},
	{Tree, "betterleaks", 2.5, false},
}

// judge compares with the promises: the geometric mean over the repositories
// on which both tools ran.
func (r *Result) judge() {
	for _, p := range promises {
		logs, n := 0.0, 0
		for _, row := range r.Rows {
			if row.Mode != p.mode {
				continue
			}
			for _, c := range row.Cells[1:] {
				if c.Tool == p.tool && len(c.Runs) > 0 {
					logs += math.Log(ratio(row.Cells[0], c, p.mode))
					n++
				}
			}
		}
		if n == 0 {
			continue
		}
		times := math.Exp(logs / float64(n))
		b := Bar{Mode: p.mode, Name: "times faster than " + p.tool, Want: p.want, Got: times, OK: times >= p.want, Unit: "x"}
		if p.most {
			b.Name, b.Most, b.Got = "time against "+p.tool, true, 1/times
			b.OK = b.Got <= p.want
		}
		r.Bars = append(r.Bars, b)
	}
	for _, p := range r.Pushes {
		r.Bars = append(r.Bars,
			Bar{Mode: Push, Name: "median on " + p.Repo, Want: 20, Got: p.Ours.P50, Most: true, Unit: "µs", OK: p.Ours.P50 < 20},
			Bar{Mode: Push, Name: "99th percentile on " + p.Repo, Want: 1000, Got: p.Ours.P99, Most: true, Unit: "µs", OK: p.Ours.P99 < 1000},
			Bar{Mode: Push, Name: "matching on one core, " + p.Repo, Want: 300, Got: p.MBperSecond, Unit: "MB/s", OK: p.MBperSecond >= 300})
	}
	for _, row := range r.Rows {
		own := row.Cells[0]
		switch row.Mode {
		case History, Wire:
			most := 500.0
			if r.packMB(row.Repo) < 100 {
				most = 256
			}
			r.Bars = append(r.Bars, Bar{Mode: row.Mode, Name: "memory on " + row.Repo, Want: most, Got: own.MemoryMB, Most: true, Unit: "MB", OK: own.MemoryMB <= most})
		case Start:
			r.Bars = append(r.Bars, Bar{Mode: row.Mode, Name: "process start to finding", Want: 60, Got: own.Wall * 1000, Most: true, Unit: "ms", OK: own.Wall <= 0.060})
		}
	}
	r.OK = true
	for _, b := range r.Bars {
		r.OK = r.OK && b.OK
	}
}

// ratio is how many times faster a is than b. Time is the processor's, which
// other work on the machine disturbs least; from the wire it is that on the
// clock, since most of it is the server's.
func ratio(a, b Cell, mode Mode) float64 {
	if mode == Wire {
		return b.Wall / a.Wall
	}
	return b.CPU / math.Max(a.CPU, 0.001)
}

func (r *Result) packMB(name string) float64 {
	for _, repo := range r.Repos {
		if repo.Name == name {
			return repo.PackMB
		}
	}
	return 0
}

// Markdown writes the tables of docs/scanner.md, which a terminal shows well
// enough too.
func (r Result) Markdown(w io.Writer) error {
	m := r.Machine
	var b strings.Builder
	fmt.Fprintf(&b, "%s, stanch %s, %s %s, %d x %s, load %s before and %s after; medians of %d alternating runs (fewer where the table says so).\n",
		m.At.Format("2006-01-02 15:04 UTC"), m.Version, m.Go, m.Platform, m.CPUs, m.CPU, m.LoadBefore, m.LoadAfter, r.Runs)
	b.WriteString("\n| repository | commits | packs MB |\n|---|--:|--:|\n")
	for _, repo := range r.Repos {
		fmt.Fprintf(&b, "| %s | %d | %.0f |\n", repo.Name, repo.Commits, repo.PackMB)
	}
	mode := Mode("")
	for _, row := range r.Rows {
		if row.Mode != mode {
			mode = row.Mode
			fmt.Fprintf(&b, "\n%s\n\n| repository | tool | CPU s | wall s | memory MB | findings | times ours | runs |\n|---|---|--:|--:|--:|--:|--:|--:|\n", mode)
		}
		for i, c := range row.Cells {
			if c.Failed != "" {
				fmt.Fprintf(&b, "| %s | %s | failed: %s | | | | | |\n", row.Repo, c.Tool, strings.ReplaceAll(c.Failed, "|", "/"))
				continue
			}
			found, times := "", "1"
			if c.Findings >= 0 {
				found = fmt.Sprint(c.Findings)
			}
			if i > 0 {
				times = fmt.Sprintf("%.2f", ratio(row.Cells[0], c, row.Mode))
			}
			fmt.Fprintf(&b, "| %s | %s | %.2f | %.2f | %.0f | %s | %s | %d |\n", row.Repo, c.Tool, c.CPU, c.Wall, c.MemoryMB, found, times, len(c.Runs))
		}
	}
	if len(r.Pushes) > 0 {
		b.WriteString("\npush\n\n| repository | texts of 1 to 10 KB | p50 µs | p99 µs | max µs | gitleaks p50 µs | gitleaks p99 µs | MB/s, files of HEAD |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	}
	for _, p := range r.Pushes {
		fmt.Fprintf(&b, "| %s | %d | %.1f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", p.Repo, p.Ours.Count, p.Ours.P50, p.Ours.P99, p.Ours.Max, p.Gitleaks.P50, p.Gitleaks.P99, p.MBperSecond)
	}
	b.WriteString("\n| mode | promise | bound | measured | |\n|---|---|--:|--:|---|\n")
	for _, p := range r.Bars {
		sign, verdict := "at least", "met"
		if p.Most {
			sign = "at most"
		}
		if !p.OK {
			verdict = "MISSED"
		}
		fmt.Fprintf(&b, "| %s | %s | %s %g %s | %.2f %s | %s |\n", p.Mode, p.Name, sign, p.Want, p.Unit, p.Got, p.Unit, verdict)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
