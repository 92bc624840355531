package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"stanch/internal/lab/bench"
)

type benchCmd struct {
	Scan  benchScanCmd  `cmd:"" help:"Compare the scanner with its peers and with git on real repositories."`
	Serve benchServeCmd `cmd:"" help:"Load the service on this machine and print how fast it answered, contained and proved."`
}

type benchServeCmd struct {
	DeliveriesRate     int           `help:"Deliveries a second." default:"500"`
	DeliveriesDuration time.Duration `help:"How long; 0 leaves this load out." default:"30s"`
	FloodDuration      time.Duration `help:"How long deliveries are sent as fast as they are answered; 0 leaves this load out." default:"10s"`
	Rate               float64       `help:"Real pushes a second, each with one leaked credential." default:"10"`
	Duration           time.Duration `help:"How long; 0 leaves this load out." default:"60s"`
	Repos              int           `help:"Repositories that are pushed to." default:"20"`
	AWSShare           float64       `help:"Share of the pushes that leak an AWS key pair; the others leak a GitHub token." default:"0.5" name:"aws-share"`
	Settle             time.Duration `help:"How long is waited for the last proof and hold." default:"2m"`
	Seed               int64         `help:"Seed of the laboratories' chance." default:"1"`
	Keep               string        `help:"Keep data directories and logs here (must be empty or not exist)." placeholder:"DIR"`
	Format             string        `help:"Output: table or json." enum:"table,json" default:"table"`
}

func (c *benchServeCmd) Help() string {
	return "Starts 'stanch serve' with laboratories of GitHub and AWS on the loopback interface: signed deliveries that cost no fetch, first at a rate, then as fast as they are answered; " +
		"then real git pushes that leak credentials. Calls of providers take 50 to 200 ms. Load and laboratories share the machine with the service; the memory and CPU shown are the service's alone. " +
		"Exit code 1 when a goal is missed."
}

func (c *benchServeCmd) Run(rt *runtime) error {
	if c.DeliveriesRate < 1 || c.Rate <= 0 || c.AWSShare < 0 || c.AWSShare > 1 {
		return fail(exitUsage, errors.New("a rate or share is out of range"), "rates are above 0, --aws-share is between 0 and 1")
	}
	binary, err := os.Executable()
	if err != nil {
		return fail(exitProvider, err)
	}
	dir, cleanup, err := c.dir()
	if err != nil {
		return err
	}
	defer cleanup()
	r, err := bench.Run(rt.ctx, bench.Options{
		Binary: binary, Dir: dir, Seed: c.Seed, DeliveriesRate: c.DeliveriesRate, DeliveriesDuration: c.DeliveriesDuration, FloodDuration: c.FloodDuration,
		Rate: c.Rate, Duration: c.Duration, Repos: c.Repos, AWSShare: c.AWSShare, Settle: c.Settle,
		Tell: func(format string, args ...any) { fmt.Fprintf(rt.stderr, format+"\n", args...) },
	})
	if err != nil {
		return fail(exitProvider, err, "run again with --keep DIR and look at the service's log there")
	}
	if c.Format == "json" {
		e := json.NewEncoder(rt.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.Table(rt.stdout)
	}
	if err != nil {
		return err
	}
	if !r.OK {
		return fail(exitFindings, nil)
	}
	return nil
}

func (c *benchServeCmd) dir() (string, func(), error) {
	if c.Keep == "" {
		dir, err := os.MkdirTemp("", "stanch-bench-")
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
