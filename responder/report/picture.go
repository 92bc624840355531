package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// picture is the timeline as a drawing: one axis of time since the exposure, on
// which every step to the right is ten times longer, so that the seconds of the
// response and the hours of an attack are both seen. Allowed and refused calls
// differ by lane, by shape and by words, not by colour alone.
type picture struct {
	Name          string // distinguishes the drawings of one page
	Width, Height int
	Labels        []label
	Left, Right   float64 // the axis
	AxisY         float64
	Ticks         []tick
	Exposed       bar // the credential worked
	Dying         bar // contained, death not proved yet
	Open          bool
	HasCalls      bool
	Markers       []marker
	MarkerY       float64
	Allowed       []dot
	Refused       []dot
	AllowedY      float64
	RefusedY      float64
	Guides        []guide
	Text          string
}

type (
	label struct {
		X, Y float64
		Text string
	}
	tick struct {
		X    float64
		Text string
	}
	bar    struct{ X, Y, W, H float64 }
	marker struct {
		N          int
		X, At      float64 // where it is drawn, where it belongs
		Title      string
		Time       time.Time
		Since      string
		FromY, ToY float64
	}
	dot struct {
		X, R  float64
		Count string
	}
	guide struct{ X, Y1, Y2 float64 }
)

var ticks = []struct {
	at   time.Duration
	text string
}{
	{0, "0"}, {time.Second, "1 s"}, {10 * time.Second, "10 s"}, {time.Minute, "1 min"}, {10 * time.Minute, "10 min"},
	{time.Hour, "1 h"}, {6 * time.Hour, "6 h"}, {24 * time.Hour, "1 d"}, {7 * 24 * time.Hour, "7 d"}, {30 * 24 * time.Hour, "30 d"},
	{365 * 24 * time.Hour, "1 y"},
}

// pictures draws the timeline for wide and for narrow pages; none when the start
// of the exposure is not known at all.
func pictures(r Report) []picture {
	start := r.Window.at("public")
	if start.IsZero() {
		start = r.Window.at("received")
	}
	if start.IsZero() {
		return nil
	}
	return []picture{draw(r, start, "wide", 960, 132), draw(r, start, "narrow", 380, 0)}
}

func (w Window) at(name string) time.Time {
	for _, p := range w.Points {
		if p.Name == name {
			return p.At
		}
	}
	return time.Time{}
}

func draw(r Report, start time.Time, name string, width int, gutter float64) picture {
	p := picture{Name: name, Width: width, Left: gutter + 14, Right: float64(width) - 22, Open: r.Window.Open}
	end := lastMoment(r, start)
	scale := func(t time.Time) float64 {
		return p.Left + (p.Right-p.Left)*squeeze(t.Sub(start))/squeeze(end.Sub(start))
	}
	y, step := 16.0, 52.0
	above := 0.0
	if gutter == 0 {
		above, step = 24, 68
	}
	lane := func(text string) float64 {
		at := y + above
		if gutter == 0 {
			p.Labels = append(p.Labels, label{0, y + 4, text})
		} else {
			p.Labels = append(p.Labels, label{0, at + 13, text})
		}
		y += step
		return at
	}
	barY := lane("Exposed")
	p.MarkerY = lane("Response") + 10
	if p.HasCalls = len(r.Trail.Calls) > 0; p.HasCalls {
		p.AllowedY = lane("Calls allowed") + 10
		p.RefusedY = lane("Calls refused") + 10
	}
	p.AxisY = y + 2
	p.Height = int(p.AxisY) + 26

	contained, proved := r.Window.at("contained"), r.Window.at("proved_dead")
	stop := contained
	if r.Window.Open {
		stop = end
	} else if stop.IsZero() {
		stop = r.Window.at("verdict")
	}
	p.Exposed = bar{scale(start), barY, max(2, scale(stop)-scale(start)), 18}
	if !r.Window.Open && proved.After(contained) && !contained.IsZero() {
		p.Dying = bar{scale(contained), barY, max(1, scale(proved)-scale(contained)), 18}
	}
	for _, t := range []time.Time{contained, proved} {
		if !t.IsZero() {
			p.Guides = append(p.Guides, guide{scale(t), barY, p.AxisY})
		}
	}
	p.mark(r, start, scale, barY+18)
	p.calls(r, scale)
	lastX := math.Inf(-1)
	for _, t := range ticks {
		x := scale(start.Add(t.at))
		if t.at <= end.Sub(start) && x-lastX > 34 {
			p.Ticks = append(p.Ticks, tick{x, t.text})
			lastX = x
		}
	}
	p.Text = describe(r, start)
	return p
}

// squeeze is the logarithmic scale, linear near zero.
func squeeze(d time.Duration) float64 { return math.Log10(1 + max(0, d.Seconds())/0.6) }

func lastMoment(r Report, start time.Time) time.Time {
	end := start.Add(5 * time.Second)
	for _, p := range r.Window.Points {
		if p.At.After(end) {
			end = p.At
		}
	}
	for _, t := range []time.Time{r.Trail.LastUse, r.Clocks.PersonAware} {
		if t.After(end) {
			end = t
		}
	}
	if r.Window.Open && r.Header.CreatedAt.After(end) {
		end = r.Header.CreatedAt
	}
	return start.Add(time.Duration(float64(end.Sub(start)) * 1.25))
}

// mark sets the numbered points of the response, apart enough to be read.
func (p *picture) mark(r Report, start time.Time, scale func(time.Time) float64, fromY float64) {
	add := func(title string, at time.Time) {
		if at.IsZero() || at.Before(start) {
			return
		}
		p.Markers = append(p.Markers, marker{Title: title, Time: at, At: scale(at), Since: "+" + span(at.Sub(start)), FromY: fromY, ToY: p.MarkerY - 11})
	}
	for _, x := range r.Window.Points {
		switch x.Name {
		case "received", "verdict", "contained", "proved_dead":
			add(x.Title, x.At)
		}
	}
	for _, a := range r.Response.Approvals {
		add("Approval asked", a.AskedAt)
		add("Approval "+a.Decision, a.DecidedAt)
	}
	add("First seen by a person", r.Clocks.PersonAware)
	if len(p.Markers) > 9 {
		p.Markers = p.Markers[:9]
	}
	// Insertion sort by time: few, and stable.
	for i := 1; i < len(p.Markers); i++ {
		for j := i; j > 0 && p.Markers[j].Time.Before(p.Markers[j-1].Time); j-- {
			p.Markers[j], p.Markers[j-1] = p.Markers[j-1], p.Markers[j]
		}
	}
	const gap = 26
	x := p.Left - gap
	for i := range p.Markers {
		p.Markers[i].N = i + 1
		x = max(x+gap, p.Markers[i].At)
		p.Markers[i].X = x
	}
	x = p.Right + gap/2 + gap
	for i := len(p.Markers) - 1; i >= 0; i-- {
		x = min(x-gap, p.Markers[i].X)
		p.Markers[i].X = x
	}
}

// calls bins the calls by place on the axis.
func (p *picture) calls(r Report, scale func(time.Time) float64) {
	const binWidth = 22
	bins := [2]map[int]int{{}, {}}
	for _, c := range r.Trail.Calls {
		lane := 0
		if c.Denied {
			lane = 1
		}
		bins[lane][int((max(p.Left, scale(c.At))-p.Left)/binWidth)]++
	}
	for lane, m := range bins {
		for n := 0; n <= int((p.Right-p.Left)/binWidth); n++ {
			k := m[n]
			if k == 0 {
				continue
			}
			d := dot{X: p.Left + (float64(n)+0.5)*binWidth, R: min(10, 4.5+2.2*math.Log10(float64(k)))}
			if k > 1 {
				d.Count = strconv.Itoa(k)
			}
			if lane == 0 {
				p.Allowed = append(p.Allowed, d)
			} else {
				p.Refused = append(p.Refused, d)
			}
		}
	}
}

// describe is the drawing in words, for those who cannot see it.
func describe(r Report, start time.Time) string {
	parts := []string{"Time since the exposure at " + stamp(start) + ", on a logarithmic axis."}
	for _, p := range r.Window.Points {
		switch p.Name {
		case "received", "verdict", "contained", "proved_dead":
			if !p.At.IsZero() {
				parts = append(parts, fmt.Sprintf("%s after %s.", p.Title, span(p.At.Sub(start))))
			}
		}
	}
	if r.Window.Open {
		parts = append(parts, "The exposure is still open.")
	}
	t := r.Trail
	if t.Outcomes.total() == 0 {
		return strings.Join(append(parts, "No calls by others are visible."), " ")
	}
	return strings.Join(append(parts, fmt.Sprintf("Calls by others from %s to %s after it: %d allowed, %d refused, %d failed.",
		span(t.FirstUse.Sub(start)), span(t.LastUse.Sub(start)), t.Outcomes.Allowed, t.Outcomes.Denied, t.Outcomes.Failed)), " ")
}
