package main

import (
	"errors"
	"fmt"
	"time"

	"stanch/internal/service"
)

type sweepCmd struct {
	configFlag
	Org  string        `required:"" help:"Account (organisation or user) on which the App is installed."`
	Repo []string      `help:"Only these repositories (name or owner/name); repeatable." placeholder:"NAME"`
	Wait time.Duration `help:"How long to wait for incidents after the last repository." default:"2m"`
}

func (c *sweepCmd) Help() string {
	return "Scans the whole history of every repository of an installation and opens incidents; they are handled as the policy says. " +
		"Exit code 1 when credentials were found, 3 when some repositories could not be read."
}

func (c *sweepCmd) Run(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // everything is stored
	if svc.App == nil {
		return fail(exitUsage, errors.New("no GitHub App is configured"), "set github.app_id and github.private_key in the configuration file")
	}
	found, failed := 0, 0
	err = svc.SweepAndRespond(rt.ctx, c.Org, c.Repo, c.Wait, func(p service.SweepProgress) {
		note := fmt.Sprintf("%d findings", p.Scan.Findings)
		if p.Scan.Partial {
			note += ", partial"
		}
		if p.Err != nil {
			failed++
			note = "not read: " + p.Err.Error()
		}
		found += p.Scan.Findings
		fmt.Fprintf(rt.stderr, "[%d/%d] %s: %s (%.1fs)\n", p.Done, p.Of, service.Inert(p.Repository), service.Inert(note), p.Took.Seconds())
	})
	if err != nil {
		return err
	}
	switch {
	case failed > 0:
		return fail(exitPartial, fmt.Errorf("%d repositories could not be read", failed), "run the sweep again; what was found is kept")
	case found > 0:
		return fail(exitFindings, nil)
	}
	return nil
}
