// Package service assembles the parts to the running product and carries the
// data down the street: delivery, push, objects, findings, incidents.
//
// # What this package promises
//
// [Open] leaves nothing half open when it fails. [Service.Serve] answers 2xx to
// a delivery only after it is stored with its job; on shutdown it stops taking
// deliveries, lets the work under way end, and loses nothing.
//
// # What it never does
//
// It decides nothing about incidents (package responder) and nothing about
// bytes (package scanner).
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"stanch/internal/config"
	"stanch/internal/githubapp"
	"stanch/internal/ledger"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/telemetry"
	"stanch/internal/version"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder"
	actaws "stanch/responder/act/aws"
	"stanch/responder/guard"
	"stanch/responder/report"
	"stanch/scanner"
	"stanch/scanner/gitwire"
	"stanch/scanner/rules"
)

// Service is the assembled product. Its parts are safe for concurrent use.
type Service struct {
	Config    *config.Config
	DB        *store.DB
	Jobs      *work.Engine
	Engine    *responder.Engine
	Playbooks *playbooks.Set
	App       *githubapp.App // nil until the GitHub App is configured
	Ledger    *ledger.Ledger
	Metrics   *telemetry.Metrics
	Security  *telemetry.Security
	Log       *slog.Logger
	Now       func() time.Time

	aws      *actaws.Driver
	vault    *secret.Vault
	box      *secret.Box // for deliveries that wait
	reports  files
	objects  objects
	scanner  atomic.Pointer[scanner.Engine]
	closers  []func() error
	observer *observer
	stderr   io.Writer
}

// Options of [Open] beside the configuration.
type Options struct {
	Stderr io.Writer        // log and security events; os.Stderr when nil
	Now    func() time.Time // time.Now when nil
	// Watch is told of changes of incidents, for a live timeline. May be nil.
	Watch func(Change)
}

// Open opens everything that a command needs to look at or work on incidents. It
// starts nothing; see [Service.Work] and [Service.Serve].
func Open(ctx context.Context, cfg *config.Config, o Options) (_ *Service, err error) {
	if o.Stderr == nil {
		o.Stderr = os.Stderr
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Service{Config: cfg, Now: o.Now, stderr: o.Stderr, reports: files{filepath.Join(cfg.DataDir, "reports")}, objects: objects{file: filepath.Join(cfg.DataDir, "sweeps", "objects")}}
	s.closers = append(s.closers, s.objects.close)
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	s.Playbooks, err = playbooks.Load(cfg.Playbooks.Dir)
	if err != nil {
		return nil, err
	}
	err = s.checkProviders()
	if err != nil {
		return nil, err
	}
	for _, d := range []string{cfg.DataDir, s.reports.dir, s.tempDir()} {
		err := os.MkdirAll(d, 0o700)
		if err != nil {
			return nil, fmt.Errorf("make data directory: %w", err)
		}
	}
	s.Log = telemetry.NewLogger(o.Stderr, cfg.Log.Level, cfg.Log.Format)
	s.Metrics = telemetry.NewMetrics()
	s.Security = telemetry.NewSecurity(o.Stderr, s.Metrics)
	s.observer = &observer{metrics: s.Metrics, watch: o.Watch, log: s.Log}

	err = s.openStore(ctx)
	if err != nil {
		return nil, err
	}
	err = s.openKeys(ctx)
	if err != nil {
		return nil, err
	}
	err = s.ReadRules()
	if err != nil {
		return nil, err
	}
	err = s.openApp()
	if err != nil {
		return nil, err
	}
	err = s.openResponder()
	if err != nil {
		return nil, err
	}
	s.Jobs, err = work.New(ctx, s.DB, work.Config{
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		Workers:  map[string]int{work.QueueScan: s.scanWorkers(), work.QueueBulk: 1, work.QueueRespond: 32, work.QueueWatch: 512, work.QueueTrail: 8, work.QueueKeep: 2},
		Panicked: s.panicked,
		Parked:   s.parked,
	}, s.register)
	if err != nil {
		return nil, err
	}
	s.Engine.Bind(s.Jobs)
	return s, nil
}

func (s *Service) openStore(ctx context.Context) error {
	url, err := s.Config.DatabaseURL()
	if err != nil {
		return err
	}
	s.DB, err = store.Open(ctx, url.Reveal())
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.DB.Close)
	return s.DB.Migrate(ctx)
}

func (s *Service) openKeys(ctx context.Context) error {
	keeper := s.Config.Secrets.Keeper
	if keeper == "" {
		path, err := filepath.Abs(filepath.Join(s.Config.DataDir, "seal.key"))
		if err != nil {
			return err
		}
		keeper = "file://" + filepath.ToSlash(path)
	}
	var err error
	s.vault, err = secret.OpenVault(ctx, keeper, true)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.vault.Close)
	s.Ledger, err = ledger.Open(ledger.Options{Dir: s.Config.DataDir, Origin: s.Config.Ledger.Origin, Now: s.Now})
	return err
}

// Scanner is the engine with the rules as they were read last.
func (s *Service) Scanner() *scanner.Engine { return s.scanner.Load() }

// ReadRules reads the operator's own rules again and scans with them from then
// on. On an error the rules stay as they were.
func (s *Service) ReadRules() error {
	var extra []byte
	if s.Config.Scan.Rules != "" {
		var err error
		extra, err = rules.Read(s.Config.Scan.Rules)
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
	}
	e, err := scanner.New(scanner.Options{ExtraRules: extra, MaxBlobBytes: s.Config.Scan.MaxBlobBytes})
	if err != nil {
		return err
	}
	s.scanner.Store(e)
	return nil
}

// openApp makes the GitHub App's client where the App is configured.
func (s *Service) openApp() error {
	g := s.Config.GitHub
	if g.AppID == 0 || g.PrivateKey.IsZero() {
		return nil
	}
	key, err := g.PrivateKey.Resolve()
	if err != nil {
		return err
	}
	s.App, err = githubapp.New(githubapp.Options{APIURL: g.APIURL, WebURL: g.WebURL, AppID: g.AppID, PrivateKey: key, Clock: s.Now})
	return err
}

func (s *Service) openResponder() error {
	fpKey, err := secret.LoadOrCreateKey(filepath.Join(s.Config.DataDir, "fingerprint.key"))
	if err != nil {
		return err
	}
	fp, err := secret.NewFingerprinter(fpKey)
	if err != nil {
		return err
	}
	s.box, err = secret.NewBox(fpKey)
	if err != nil {
		return err
	}
	parts, err := s.providers()
	if err != nil {
		return err
	}
	polls := make([]time.Duration, len(s.Config.Trail.Polls))
	for n, d := range s.Config.Trail.Polls {
		polls[n] = time.Duration(d)
	}
	s.Engine = responder.New(responder.Options{
		DB: s.DB, Playbooks: s.Playbooks, Drivers: parts.drivers, Simulated: parts.simulated, Sources: parts.sources,
		Guard: guard.New(s.Config.Guard, s.Config.Policy, s.Config.Providers), Vault: s.vault, Fingerprint: fp, Ledger: s.Ledger, LedgerProof: s.ledgerRef,
		Publisher: s.reports, Observer: s.observer, Log: s.Log, Now: s.Now, Polls: polls,
		ApprovalTimeout: time.Duration(s.Config.Policy.ApprovalTimeout), ApprovalDefault: s.Config.Policy.ApprovalDefault,
		OurPrincipals: parts.principals, Owner: s.owner, Version: version.Version(),
	})
	return nil
}

// Close closes everything that Open opened.
func (s *Service) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *Service) tempDir() string { return filepath.Join(s.Config.DataDir, "tmp") }

func (s *Service) limits() gitwire.Limits {
	c := s.Config.Scan
	return gitwire.Limits{PackBytes: c.MaxPackBytes, BlobBytes: c.MaxBlobBytes, Timeout: time.Duration(c.Timeout), TempDir: s.tempDir()}
}

func (s *Service) scanWorkers() int {
	if s.Config.Scan.Workers > 0 {
		return s.Config.Scan.Workers
	}
	return max(8, 4*runtime.NumCPU()) // a fetch mostly waits for GitHub
}

// write runs a transaction that appends to the ledger; the ledger's lock comes first.
func (s *Service) write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	return s.DB.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		err := s.Ledger.Lock(ctx, tx)
		if err != nil {
			return err
		}
		return fn(ctx, tx)
	})
}

// record appends to the ledger as the service itself.
func (s *Service) record(ctx context.Context, tx *store.Tx, kind, subject, outcome string, detail map[string]string) error {
	_, err := s.Ledger.Append(ctx, tx, ledger.Entry{Time: s.Now(), Kind: kind, Actor: "stanch", Subject: subject, Outcome: outcome, Detail: detail})
	return err
}

// ledgerRef ties a report to the ledger: the incident's entries and the newest
// signed checkpoint.
func (s *Service) ledgerRef(ctx context.Context, incidentID string) (report.LedgerRef, error) {
	var ref report.LedgerRef
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		ref.Entries, err = tx.LedgerRefs(ctx, incidentID)
		if err != nil {
			return err
		}
		ref.Checkpoint, err = ledger.Latest(ctx, tx)
		return err
	})
	return ref, err
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
