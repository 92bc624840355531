// Package bench measures the service on one machine: how fast it answers
// deliveries, and how long a leak lives after a push.
//
// # What this package promises
//
// The service under measurement is `stanch serve`, a child process with a
// configuration file and a data directory of its own; laboratories and load are
// in the calling process. Offered load is open: what is late counts from the
// time at which it was due. Nothing counts as done that the service's database
// does not say.
//
// # What it never does
//
// It reaches no host but the loopback interface.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"stanch/internal/version"
)

// Options of [Run].
type Options struct {
	Binary string // of stanch; the child is BINARY serve --config FILE
	Dir    string // data directories and logs; must exist
	Seed   int64

	DeliveriesRate     int           // a second
	DeliveriesDuration time.Duration // 0 leaves the intake out
	FloodDuration      time.Duration // as fast as possible; 0 leaves it out

	Rate     float64       // pushes a second
	Duration time.Duration // 0 leaves the responses out
	Repos    int           // that are pushed to
	AWSShare float64       // of the pushes that leak an AWS key; the others leak a GitHub token
	Settle   time.Duration // most that is waited for the last proof and hold

	Tell func(format string, args ...any) // progress; may be nil
}

// Result is what was measured. Times are in milliseconds.
type Result struct {
	Machine   Machine    `json:"machine"`
	Intake    []Intake   `json:"intake,omitempty"`
	Responses *Responses `json:"responses,omitempty"`
	Goals     []Goal     `json:"goals"`
	OK        bool       `json:"ok"`
}

// Machine is where and when it was measured.
type Machine struct {
	At         time.Time `json:"at"`
	Version    string    `json:"version"`
	Go         string    `json:"go"`
	Platform   string    `json:"platform"`
	CPU        string    `json:"cpu"`
	CPUs       int       `json:"cpus"`
	LoadBefore string    `json:"load_before"` // of the last minute
	LoadAfter  string    `json:"load_after"`
}

// Usage is what the service took, without the laboratories and the load.
type Usage struct {
	PeakMemoryMB float64 `json:"peak_memory_mb"` // resident set of the service process (VmHWM)
	CPUSeconds   float64 `json:"cpu_seconds"`    // of the service process
	ChildSeconds float64 `json:"child_seconds"`  // CPU of what it ran (git, scanner) and saw end
	Seconds      float64 `json:"seconds"`        // that the load lasted
}

// Goal is a promise and how it was met.
type Goal struct {
	Name string  `json:"name"`
	Most float64 `json:"most"`
	Got  float64 `json:"got"`
	Unit string  `json:"unit"`
	OK   bool    `json:"ok"`
}

// Run measures. The error is about the measurement itself; what was measured and
// falls short is in Result.OK and Goals.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Tell == nil {
		o.Tell = func(string, ...any) {}
	}
	if o.Repos <= 0 {
		o.Repos = 20
	}
	if o.Settle <= 0 {
		o.Settle = 2 * time.Minute
	}
	r := Result{Machine: ThisMachine()}
	if o.DeliveriesDuration > 0 || o.FloodDuration > 0 {
		in, err := runIntake(ctx, o)
		if err != nil {
			return r, fmt.Errorf("measure intake: %w", err)
		}
		r.Intake = in
	}
	if o.Duration > 0 {
		res, err := runResponses(ctx, o)
		if err != nil {
			return r, fmt.Errorf("measure responses: %w", err)
		}
		r.Responses = &res
	}
	r.Machine.LoadAfter = load()
	r.judge()
	return r, nil
}

// judge compares with the goals of the design.
func (r *Result) judge() {
	goal := func(name string, got, most float64, unit string) {
		r.Goals = append(r.Goals, Goal{name, most, got, unit, got <= most})
	}
	for _, in := range r.Intake {
		if in.Offered > 0 {
			goal("answer p99 at "+fmt.Sprint(in.Offered)+" deliveries/s", in.Answer.P99, 50, "ms")
		}
		goal("deliveries lost ("+in.Name+")", float64(in.Lost), 0, "")
		goal("service memory ("+in.Name+")", in.Usage.PeakMemoryMB, 300, "MB")
	}
	if p := r.Responses; p != nil {
		goal("webhook to verdict p50", p.Verdict.P50, 1000, "ms")
		goal("webhook to verdict p99", p.Verdict.P99, 5000, "ms")
		goal("webhook to containment p50", p.Contained.P50, 2000, "ms")
		goal("webhook to containment p99", p.Contained.P99, 10_000, "ms")
		goal("containment to proof p99", p.Proved.P99, 20_000, "ms")
		goal("leaks not proved dead", float64(p.Pushes-p.ProvedCount), 0, "")
		goal("service memory (responses)", p.Usage.PeakMemoryMB, 300, "MB")
	}
	r.OK = true
	for _, g := range r.Goals {
		r.OK = r.OK && g.OK
	}
}

// ThisMachine describes where a measurement is made, and the load before it.
func ThisMachine() Machine {
	return Machine{
		At: time.Now().UTC().Truncate(time.Second), Version: version.Version(), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuModel(), CPUs: runtime.NumCPU(), LoadBefore: load(),
	}
}

func cpuModel() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func load() string {
	data, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// dirs gives a phase its directory.
func (o Options) phaseDir(name string) (string, error) {
	dir := filepath.Join(o.Dir, name)
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return "", errors.New(dir + " is not empty")
	}
	return dir, os.MkdirAll(dir, 0o700)
}
