package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"stanch/internal/lazyregexp"
)

//go:embed report.css
var style string

//go:embed report.html.tmpl
var pageText string

// page is the whole HTML report. html/template escapes by context; on top of it
// every foreign string passes shown or words, so that what cannot be seen is shown.
// It is parsed when the first report is written.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("report").Funcs(template.FuncMap{
		"words":    wholeTimes,
		"shown":    func(s string) string { return strings.TrimSpace(visible(s)) },
		"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
		"day":      func(t time.Time) string { return t.UTC().Format("2006-01-02") },
		"clock":    func(t time.Time) string { return t.UTC().Format("15:04:05") },
		"milli":    func(t time.Time) string { return t.UTC().Format(".000") },
		"span":     func(n int64) string { return span(ms(n)) },
		"signed":   signed,
		"upper":    upperFirst,
		"state":    stateName,
		"act":      actState,
		"withwhat": withName,
		"who":      whoName,
		"severity": severityName,
		"outcome":  callOutcome,
		"kind":     kindName,
		"proven":   provenName,
		"yes":      yesNo,
		"place":    placeOf,
		"author":   authorOf,
		"status":   statusOf,
		"entries":  entriesOf,
		"window":   windowLine,
		"use":      useLine,
		"rotate":   rotateLine,
		"total":    Outcomes.total,
		"pair":     func(a, b string) string { return a + "/" + b },
		"px":       func(f float64) string { return strconv.FormatFloat(f, 'f', 1, 64) },
		"neg":      func(f float64) float64 { return -f },
		"add":      func(a, b float64) float64 { return a + b },
		"percent":  percent,
		"lines":    func(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n") },
		"more":     func(n int) int { return max(0, n-maxRows) },
		"short":    shortPrint,
		"tone":     tone,
	}).Parse(pageText))
})

// HTML writes the report as one self-contained page that loads nothing and runs
// nothing: its policy allows its own style sheet, by hash, and no more.
func HTML(w io.Writer, r Report) error {
	hash := sha256.Sum256([]byte(style))
	b := bufio.NewWriter(w)
	err := page().Execute(b, struct {
		Report
		Policy   string
		Style    template.CSS
		Pictures []picture
		Tiles    []tile
	}{
		Report:   r,
		Policy:   "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'",
		Style:    template.CSS(style), //nolint:gosec // our own file
		Pictures: pictures(r),
		Tiles:    tiles(r),
	})
	if err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	err = b.Flush()
	if err != nil {
		return fmt.Errorf("write html report: %w", err)
	}
	return nil
}

// tile is one figure at the top of the page.
type tile struct{ Value, Name, Note, Tone string }

// tone is the class that colours a severity or a state; the words carry the meaning.
func tone(s string) string {
	switch s {
	case "critical", "high", "open", "observed", "denied", "needs_person", "undone", "awaiting_approval", "failed", "person", "C", "H":
		return "bad"
	case "medium", "verified", "containing", "contained", "running", "simulated", "M":
		return "warn"
	case "proved_dead", "not_live", "done", "already":
		return "good"
	}
	return "calm"
}

func tiles(r Report) []tile {
	var out []tile
	w := r.Window
	switch {
	case r.Header.State == "not_live":
		out = append(out, tile{"dead already", "Exposure", "refused when first asked", "good"})
	case w.Open:
		out = append(out, tile{span(ms(w.TotalMS).Round(time.Second)), "Exposed so far", "nothing has stopped it", "bad"})
	default:
		out = append(out, tile{span(ms(w.TotalMS)), "Exposed for", "until the containment was accepted", "calm"})
	}
	switch {
	case r.Header.State == "not_live":
	case !w.at("proved_dead").IsZero() && !w.Open:
		out = append(out, tile{span(ms(w.ToProofMS)), "Until proved dead", "after the containment", "good"})
	case r.Header.Simulated:
		out = append(out, tile{"simulated", "Response", "observe mode: nothing was done", "bad"})
	default:
		out = append(out, tile{"not yet", "Proved dead", upperFirst(stateName(r.Header.State)), "warn"})
	}
	t := r.Trail
	switch t.Use {
	case useSeen, useUnclear:
		note := fmt.Sprintf("%d allowed, %d refused", t.Outcomes.Allowed, t.Outcomes.Denied)
		name := "Calls by others"
		if t.Use == useUnclear {
			name = "Calls of unclear origin"
		}
		out = append(out, tile{strconv.Itoa(t.Outcomes.total()), name, note, "bad"})
	case useNone:
		out = append(out, tile{"none visible", "Use by others", "as of " + stamp(t.AsOf), "good"})
	default:
		note := "no log has been read"
		if !t.AsOf.IsZero() {
			note = "none visible yet, trail not complete"
		}
		out = append(out, tile{"not known", "Use by others", note, "warn"})
	}
	if t.Complete {
		out = append(out, tile{t.CompleteUpTo.UTC().Format("15:04:05"), "Trail complete up to", t.CompleteUpTo.UTC().Format("2006-01-02") + ", UTC", "calm"})
	} else {
		out = append(out, tile{"incomplete", "Trail", "see what the logs cannot tell", "warn"})
	}
	return out
}

func percent(part, whole int64) string {
	if whole <= 0 {
		return "0 %"
	}
	return strconv.FormatFloat(float64(part)*100/float64(whole), 'f', 0, 64) + " %"
}

// stampShape is a time as stamp writes it, which must not be broken over lines.
var stampShape = lazyregexp.New(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`)

// wholeTimes is words with each time of its own.
func wholeTimes(s string) []word {
	var out []word
	for _, w := range words(s) {
		if w.Code {
			out = append(out, w)
			continue
		}
		from := 0
		for _, m := range stampShape().FindAllStringIndex(w.Text, -1) {
			out = append(out, word{Text: w.Text[from:m[0]]}, word{Text: w.Text[m[0]:m[1]], Whole: true})
			from = m[1]
		}
		out = append(out, word{Text: w.Text[from:]})
	}
	return out
}
