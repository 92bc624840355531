package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"stanch/internal/config"
	"stanch/internal/service"
)

// configFlag is shared by every command that works on incidents.
type configFlag struct {
	Config string `short:"c" help:"Configuration file. Without one the defaults hold, with the data in ./stanch-data." env:"STANCH_CONFIG" placeholder:"FILE"`
}

// load reads the configuration, or takes the defaults when no file is named.
func (f configFlag) load() (*config.Config, error) {
	if f.Config == "" {
		return config.Default(), nil
	}
	cfg, err := config.Load(f.Config)
	if err != nil {
		return nil, configFailure(err)
	}
	return cfg, nil
}

// configFailure turns a configuration error into one with its hints.
func configFailure(err error) error {
	var hints []string
	for _, p := range config.Problems(err) {
		if p.Hint != "" {
			hints = append(hints, p.Hint)
		}
	}
	if len(hints) == 0 {
		hints = []string{"docs/configuration.md lists every field; 'stanch doctor' checks the whole"}
	}
	return fail(exitUsage, err, hints...)
}

// open opens the service; log lines go to standard error.
func (f configFlag) open(rt *runtime, quiet bool) (*service.Service, error) {
	cfg, err := f.load()
	if err != nil {
		return nil, err
	}
	return openService(rt, cfg, quiet)
}

func openService(rt *runtime, cfg *config.Config, quiet bool) (*service.Service, error) {
	if quiet && cfg.Log.Level == "info" {
		cfg.Log.Level = "error"
	}
	svc, err := service.Open(rt.ctx, cfg, service.Options{Stderr: rt.stderr})
	if err != nil {
		return nil, openFailure(err)
	}
	return svc, nil
}

// openFailure says what to do about a service that does not open.
func openFailure(err error) error {
	if len(config.Problems(err)) > 0 {
		return configFailure(err)
	}
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return fail(exitUsage, err, hinted.Hint())
	}
	return fail(exitProvider, err, "run 'stanch doctor' to see which part does not work")
}

type serveCmd struct {
	configFlag
}

func (c *serveCmd) Help() string {
	return "Answers GitHub's webhooks on the configured address and responds to what is found. Health, metrics and profiles are on admin_listen. " +
		"SIGHUP reads the rules of scan.rules again. " +
		"SIGTERM ends it in order: no new deliveries, work under way is finished, nothing is lost."
}

func (c *serveCmd) Run(rt *runtime) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	_, err = cfg.ServeSecrets()
	if err != nil && c.Config == "" {
		return fail(exitUsage, errors.New("serve needs a configuration with the GitHub App"), "copy deploy/stanch.yaml, fill in its github section, and name it with --config FILE")
	}
	if err != nil {
		return configFailure(err)
	}
	svc, err := openService(rt, cfg, false)
	if err != nil {
		return err
	}
	defer svc.Close() //nolint:errcheck // nothing is left to lose
	l, err := svc.Listen()
	if errors.Is(err, service.ErrLocked) {
		return lockedFailure(err, svc)
	}
	if err != nil {
		return fail(exitUsage, err, "choose other addresses with listen and admin_listen")
	}
	defer onHangup(svc)()
	err = svc.Serve(rt.ctx, l)
	if errors.Is(err, service.ErrLocked) {
		return lockedFailure(err, svc)
	}
	if err != nil {
		return openFailure(err)
	}
	return nil
}

// onHangup reads the operator's rules again on SIGHUP until stop is called.
func onHangup(svc *service.Service) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() {
		for range hangups {
			err := svc.ReadRules()
			if err != nil {
				svc.Log.Error("rules not read again, those from before stay", "error", err)
				continue
			}
			svc.Log.Info("rules read again", "fingerprint", svc.Scanner().Fingerprint())
		}
	})
	return func() {
		signal.Stop(hangups)
		close(hangups)
		running.Wait()
	}
}

func lockedFailure(err error, svc *service.Service) error {
	return fail(exitUsage, fmt.Errorf("%w: %s", err, svc.Config.DataDir), "stop the other process, give this one a data_dir of its own, or use a postgres:// database for several nodes")
}

type healthCmd struct {
	URL string `help:"Health page." default:"http://127.0.0.1:9090/readyz"`
}

func (c *healthCmd) Help() string {
	return "Asks a running service whether it is ready; for container health checks."
}

func (c *healthCmd) Run(rt *runtime) error {
	err := service.Ready(rt.ctx, c.URL)
	if err != nil {
		return fail(exitProvider, err, "is 'stanch serve' running, and is this its admin_listen address? Its log says which check fails")
	}
	return nil
}
