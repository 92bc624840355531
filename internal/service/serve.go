package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"stanch/internal/filelock"
	"stanch/internal/githubapp"
	"stanch/internal/ledger"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/telemetry"
	"stanch/internal/version"
	"stanch/scanner/gitwire"
)

// ErrLocked means that another process works on the same data directory.
var ErrLocked = errors.New("another stanch works on this data directory")

// Work takes the data directory (SQLite allows one working process), cleans up
// after a crash and runs jobs until ctx ends; then it lets the attempts under way
// finish, for at most 30 s. ready, if not nil, is called when work has begun.
func (s *Service) Work(ctx context.Context, ready func()) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return s.work(ctx, ready)
}

// work is [Service.Work] for a caller that holds the data directory.
func (s *Service) work(ctx context.Context, ready func()) error {
	_, err := gitwire.Sweep(s.tempDir())
	err = errors.Join(err, s.reports.sweep())
	if err != nil { // a git that outlived us may still write; that holds up no response
		s.Log.WarnContext(ctx, "temporary directory is not clean", "error", err)
	}
	s.Engine.Resume()
	err = s.Jobs.Start(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	if ready != nil {
		ready()
	}
	s.keep(ctx)
	s.Engine.WindDown()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	err = s.Jobs.Stop(stop)
	if err != nil {
		return fmt.Errorf("stop work: %w", err)
	}
	return s.checkpoint(stop)
}

// lock refuses a second working process on one SQLite file. On PostgreSQL any
// number of nodes may work.
func (s *Service) lock() (func(), error) {
	if s.DB.IsPostgres() {
		return func() {}, nil
	}
	f, err := filelock.Take(filepath.Join(s.Config.DataDir, "lock"))
	if errors.Is(err, filelock.ErrHeld) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// keep signs the ledger's tree at the configured interval, shreds credentials that
// waited too long for a person and begins sweeps that are due, until ctx ends.
func (s *Service) keep(ctx context.Context) {
	t := time.NewTicker(time.Duration(s.Config.Ledger.Interval))
	defer t.Stop()
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	sweeps := time.NewTicker(sweepTick)
	defer sweeps.Stop()
	sweep := func() {
		err := s.schedule(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.ErrorContext(ctx, "sweeps not scheduled", "error", err)
		}
	}
	sweep()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweeps.C:
			sweep()
		case <-hourly.C:
			err := s.Engine.DestroyStale(ctx)
			if err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "stale credentials not destroyed", "error", err)
			}
		case <-t.C:
			err := s.checkpoint(ctx)
			if errors.Is(err, ledger.ErrForked) {
				s.Security.Event(ctx, telemetry.SecurityEvent{Event: telemetry.LedgerTampered, Outcome: "failure", Object: s.Ledger.Origin(), Reason: "the ledger does not extend its newest checkpoint"})
			}
			if err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "checkpoint failed", "error", err)
			}
		}
	}
}

func (s *Service) checkpoint(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := s.Ledger.Checkpoint(ctx, tx)
		return err
	})
}

func ledgerSize(ctx context.Context, tx *store.Tx) (int64, time.Time, error) {
	return ledger.Size(ctx, tx)
}

// Listeners are the sockets of [Service.Serve], so that a caller can choose and
// know their ports.
type Listeners struct {
	Public net.Listener // webhook
	Admin  net.Listener // metrics, health
	unlock func()       // gives the data directory back
}

// Listen takes the data directory and opens the configured addresses. [Service.Serve]
// gives both back.
func (s *Service) Listen() (Listeners, error) {
	// Told first: with one configuration the addresses are taken too, and choosing
	// others would help nobody.
	unlock, err := s.lock()
	if err != nil {
		return Listeners{}, err
	}
	pub, err := net.Listen("tcp", s.Config.Listen)
	if err != nil {
		unlock()
		return Listeners{}, fmt.Errorf("listen: %w", err)
	}
	adm, err := net.Listen("tcp", s.Config.AdminListen)
	if err != nil {
		pub.Close()
		unlock()
		return Listeners{}, fmt.Errorf("listen for administration: %w", err)
	}
	return Listeners{pub, adm, unlock}, nil
}

// Serve answers webhooks and works until ctx ends.
func (s *Service) Serve(ctx context.Context, l Listeners) error {
	defer l.unlock()
	defer l.Public.Close() //nolint:errcheck // closed already unless we never came to serve
	defer l.Admin.Close()  //nolint:errcheck // likewise
	secrets, err := s.Config.ServeSecrets()
	if err != nil {
		return err
	}
	secret.DisableCoreDumps() //nolint:errcheck // best effort; not every system lets us
	proxies, err := prefixes(s.Config.GitHub.TrustedProxies)
	if err != nil {
		return err
	}
	hook, err := githubapp.NewWebhook(githubapp.WebhookOptions{
		Secrets: secrets.Webhook, Intake: s, Events: refusals{s}, Answered: s.answered, Log: s.Log, Clock: s.Now, TrustedProxies: proxies,
	})
	if err != nil {
		return err
	}
	health := telemetry.NewHealth(s.Log)
	working := make(chan struct{})
	health.Ready("database", s.DB.Ping)
	health.Ready("sealing key", s.vault.Check)
	health.Ready("work", func(context.Context) error {
		select {
		case <-working:
			return nil
		default:
			return telemetry.ErrStarting
		}
	})
	s.Metrics.Feed(s.gauges)
	mux := http.NewServeMux()
	mux.Handle("/github/webhook", hook)
	mux.Handle("/healthz", health.Healthz())
	mux.Handle("/readyz", health.Readyz())
	wrap := telemetry.Middleware{Log: s.Log, Security: s.Security}
	public := &http.Server{Handler: wrap.Wrap(mux), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	admin := &http.Server{Handler: telemetry.NewAdminMux(s.Metrics, health, s.Config.Pprof), ReadHeaderTimeout: 5 * time.Second}

	s.Security.Event(ctx, telemetry.SecurityEvent{Event: telemetry.SysStartup, Outcome: "success", Object: "stanch " + version.Version()})
	err = s.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		return s.record(ctx, tx, "service.started", "stanch "+version.Version(), "success", map[string]string{"database": s.databaseKind(), "mode": string(s.Config.Policy.Mode)})
	})
	if err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "serving", "listen", l.Public.Addr().String(), "admin", l.Admin.Addr().String(), "database", s.databaseKind(), "default_mode", string(s.Config.Policy.Mode))

	g, gctx := errgroup.WithContext(ctx)
	workCtx, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	g.Go(func() error { return serveHTTP(public, l.Public) })
	g.Go(func() error {
		s.aws.KeepWarm(workCtx) // so that a containment needs no AssumeRole first
		return nil
	})
	g.Go(func() error { return serveHTTP(admin, l.Admin) })
	g.Go(func() error {
		err := s.work(workCtx, func() { close(working) })
		if err == nil && workCtx.Err() == nil {
			err = errors.New("work ended")
		}
		return err
	})
	g.Go(func() error {
		<-gctx.Done()
		health.Stop()
		stop, cancel := context.WithTimeout(context.WithoutCancel(gctx), 15*time.Second)
		defer cancel()
		err := public.Shutdown(stop) // no new deliveries; those under way are answered
		stopWork()
		return errors.Join(err, admin.Shutdown(stop))
	})
	err = g.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.Security.Event(end, telemetry.SecurityEvent{Event: telemetry.SysShutdown, Outcome: "success", Object: "stanch " + version.Version()})
	return err
}

func serveHTTP(srv *http.Server, l net.Listener) error {
	err := srv.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Service) databaseKind() string {
	if s.DB.IsPostgres() {
		return "postgresql"
	}
	return "sqlite"
}

// prefixes reads addresses and CIDRs.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range list {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			a, aerr := netip.ParseAddr(text)
			if aerr != nil {
				return nil, fmt.Errorf("github.trusted_proxies: %w", err)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// answered counts an answered delivery.
func (s *Service) answered(a githubapp.Answer) {
	if a.Result == "refused" {
		return
	}
	s.Metrics.Ack(a.Took)
	s.Metrics.Delivery(a.Event, a.Result)
}

// refusals makes a security event of every refused delivery.
type refusals struct{ s *Service }

// Refused implements [githubapp.Events].
func (r refusals) Refused(ctx context.Context, f githubapp.Refusal) {
	r.s.Metrics.DeliveryRefused(string(f.Reason))
	event := telemetry.InputValidationFail
	switch f.Reason {
	case githubapp.ReasonSignatureMissing, githubapp.ReasonSignatureRepeated, githubapp.ReasonSignatureForm, githubapp.ReasonSignatureWrong:
		event = telemetry.AuthnLoginFail
	}
	r.s.Security.Event(ctx, telemetry.SecurityEvent{
		Event: event, Outcome: "refused", Reason: string(f.Reason), SourceIP: f.SourceIP, Delivery: f.Delivery, Object: "POST /github/webhook",
		Detail: map[string]string{"event": f.Event, "detail": f.Detail},
	})
}
