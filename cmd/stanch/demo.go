package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"stanch/internal/lab/demo"
)

type demoCmd struct {
	JSON    bool   `help:"Print one machine-readable summary object on standard output instead of the timeline."`
	Keep    string `help:"Keep the whole data directory here (must be empty or not exist)." placeholder:"DIR"`
	Seed    int64  `help:"Seed of the laboratories' chance; 0 takes the clock." default:"0"`
	Healthy bool   `help:"Laboratories that do not misbehave."`
	Log     bool   `help:"Show the service's own log on standard error."`
}

func (c *demoCmd) Help() string {
	return "Shows the whole product on this machine: a real git push to a laboratory GitHub leaks an AWS key pair and a GitHub token; " +
		"both are found, verified, contained and proved dead while an attacker uses the key; the trail is read and reported. " +
		"Exit code 0 only if every containment was proved."
}

func (c *demoCmd) Run(rt *runtime) error {
	dir, cleanup, err := c.dir()
	if err != nil {
		return err
	}
	defer cleanup()
	o := demo.Options{Dir: dir, Seed: c.Seed, WellBeing: c.Healthy}
	if c.Seed == 0 {
		o.Seed = time.Now().UnixNano()
	}
	if c.Log {
		o.Log = rt.stderr
	}
	if !c.JSON {
		o.Tell = func(l demo.Line) { tellLine(rt.stdout, l, rt.stdoutTTY) }
	}
	sum, err := demo.Run(rt.ctx, o)
	if err != nil {
		return fail(exitProvider, err, "run again with --log to see the service's own log")
	}
	if c.Keep == "" {
		sum.Report, err = keepReport(sum.Report)
		if err != nil {
			return fail(exitProvider, err)
		}
	}
	if c.JSON {
		err := json.NewEncoder(rt.stdout).Encode(sum)
		if err != nil {
			return err
		}
	} else {
		tellEnd(rt.stdout, sum)
	}
	if !sum.OK {
		return fail(exitFindings, fmt.Errorf("not everything was proved: %s", sum.Problems[0]), fmt.Sprintf("repeat it with --seed %d --log", o.Seed))
	}
	return nil
}

func (c *demoCmd) dir() (string, func(), error) {
	if c.Keep == "" {
		dir, err := os.MkdirTemp("", "stanch-demo-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	entries, err := os.ReadDir(c.Keep)
	if err == nil && len(entries) > 0 {
		return "", nil, fail(exitUsage, fmt.Errorf("%s is not empty", c.Keep), "name a directory that does not exist yet")
	}
	dir, err := filepath.Abs(c.Keep)
	if err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}

// keepReport copies the report out of a data directory that will be deleted.
func keepReport(r demo.ReportFiles) (demo.ReportFiles, error) {
	dir, err := os.MkdirTemp("", "stanch-report-")
	if err != nil {
		return r, err
	}
	for _, p := range []*string{&r.Markdown, &r.HTML, &r.JSON} {
		data, err := os.ReadFile(*p)
		if err != nil {
			return r, err
		}
		*p = filepath.Join(dir, filepath.Base(*p))
		err = os.WriteFile(*p, data, 0o600)
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func tellLine(w io.Writer, l demo.Line, colour bool) {
	at := "          "
	if l.Since >= 0 {
		at = fmt.Sprintf("%+9.3fs", l.Since.Seconds())
	}
	who := fmt.Sprintf("%-9s", l.Who)
	if colour && os.Getenv("NO_COLOR") == "" {
		code := map[string]string{"attacker": "31", "stanch": "32", "github": "34", "developer": "36"}[l.Who]
		who = "\x1b[" + code + "m" + who + "\x1b[0m"
	}
	fmt.Fprintf(w, "%s  %s  %s\n", at, who, l.What)
}

func tellEnd(w io.Writer, s demo.Summary) {
	fmt.Fprintln(w)
	for _, c := range s.Credentials {
		fmt.Fprintf(w, "%s %s: verdict %s, push to verdict %d ms, to containment %d ms, to proof of death %d ms\n",
			c.Provider, c.Kind, c.Verdict, c.PushToVerdictMS, c.PushToContainedMS, c.PushToProvedMS)
	}
	fmt.Fprintf(w, "attacker: %d calls allowed, the last %.1f s after the push; %d refused in a row since\n",
		s.Attacker.AllowedCalls, float64(s.Attacker.LastAllowedMS)/1000, s.Attacker.RefusedAtEnd)
	fmt.Fprintf(w, "trail: %d events, %d of them the attacker's\n", s.Trail.Events, s.Trail.AttackerEvents)
	fmt.Fprintf(w, "ledger: %d entries, verified: %v\n", s.Ledger.Entries, s.Ledger.Verified)
	fmt.Fprintf(w, "report: %s\n        %s\n        %s\n", s.Report.HTML, s.Report.Markdown, s.Report.JSON)
}
