package main

import (
	"encoding/json"
	"fmt"

	"stanch/internal/service"
)

type doctorCmd struct {
	configFlag
	Format string `enum:"text,json" default:"text" help:"Output: text or json."`
}

func (c *doctorCmd) Help() string {
	return "Checks configuration, database, keys, clock, the App's permissions (granted against needed) and every enrolled provider, read-only, and prints the hosts that may be reached."
}

func (c *doctorCmd) Run(rt *runtime) error {
	svc, err := c.open(rt, true)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // read only
	d := svc.Diagnose(rt.ctx)
	if c.Format == "json" {
		err := json.NewEncoder(rt.stdout).Encode(d)
		if err != nil {
			return err
		}
	} else {
		for _, k := range d.Checks {
			fmt.Fprintf(rt.stdout, "%-5s %-28s %s\n", k.State, k.Name, service.Inert(k.Detail))
			if k.Hint != "" {
				fmt.Fprintf(rt.stdout, "      hint: %s\n", k.Hint)
			}
		}
		fmt.Fprintln(rt.stdout, "\nhosts that may be reached:")
		for _, h := range d.Egress {
			fmt.Fprintf(rt.stdout, "  %s\n", service.Inert(h))
		}
	}
	if !d.OK {
		return fail(exitUsage, nil)
	}
	return nil
}
