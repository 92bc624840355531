package responder_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/internal/config"
	"stanch/internal/ledger"
	"stanch/internal/secret"
	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/internal/work"
	"stanch/playbooks"
	"stanch/responder"
	"stanch/responder/act"
	"stanch/responder/act/simulated"
	"stanch/responder/guard"
	"stanch/responder/incident"
	"stanch/responder/report"
	"stanch/responder/trail"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// fakeDriver is a provider of function fields; a nil one answers as a well-behaved
// provider whose credential dies with the last act.
type fakeDriver struct {
	mu       sync.Mutex
	identify func(n int) verdict.Verdict
	act      func(name string, repeat bool, n int) (act.Effect, error)
	asked    int
	acted    []string
	undone   []string
}

func live() verdict.Verdict {
	return verdict.Verdict{Outcome: verdict.Live, Reason: "accepted", Identity: "arn:aws:iam::111122223333:user/ci", Account: "111122223333", At: time.Now()}
}

func dead() verdict.Verdict {
	return verdict.Verdict{Outcome: verdict.Dead, Reason: "refused", At: time.Now()}
}

func (f *fakeDriver) Identify(context.Context, playbooks.Credential, act.Subject) verdict.Verdict {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.identify != nil {
		return f.identify(f.asked)
	}
	if slices.Contains(f.acted, "deny_sessions") || slices.Contains(f.acted, "revoke") {
		return dead()
	}
	return live()
}

func (f *fakeDriver) Act(_ context.Context, a playbooks.Action, _ act.Subject, repeat bool) (act.Effect, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.act != nil {
		e, err := f.act(a.Name, repeat, len(f.acted)+1)
		if err != nil {
			return e, err
		}
	}
	f.acted = append(f.acted, a.Name)
	return act.Effect{At: time.Now(), Detail: "done", Undo: map[string]string{"what": a.Name}}, nil
}

func (f *fakeDriver) Undo(_ context.Context, _ playbooks.Action, _ act.Subject, undo map[string]string) (act.Effect, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undone = append(f.undone, undo["what"])
	return act.Effect{At: time.Now()}, nil
}

func (f *fakeDriver) acts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.acted)
}

type drop struct{}

func (drop) Publish(context.Context, report.Report) error          { return nil }
func (drop) Changed(incident.Incident, string)                     {}
func (drop) Step(incident.Incident, string, string, time.Duration) {}
func (drop) Requests(string, []incident.Request)                   {}
func (drop) Collect(context.Context, act.Subject, trail.Cursor, func(context.Context, []trail.Event, trail.Cursor) error) ([]trail.Coverage, error) {
	return []trail.Coverage{{Source: "aws.cloudtrail_lookup", Scope: "us-east-1", Complete: true, AskedAt: time.Now()}}, nil
}

// bench is one engine on a database of its own.
type bundle struct {
	t      *testing.T
	db     *store.DB
	engine *responder.Engine
	driver *fakeDriver
	ledger *ledger.Ledger
}

func setup(t *testing.T, policy config.Policy, change func(*responder.Options)) *bundle {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	books := shortBooks(t)
	set, err := playbooks.Load(books)
	check(err)
	vault, err := secret.OpenVault(ctx, "file://"+filepath.Join(dir, "seal.key"), true)
	check(err)
	t.Cleanup(func() { vault.Close() })
	key, err := secret.LoadOrCreateKey(filepath.Join(dir, "fingerprint.key"))
	check(err)
	fp, err := secret.NewFingerprinter(key)
	check(err)
	led, err := ledger.Open(ledger.Options{Dir: dir, Origin: "test"})
	check(err)
	b := &bundle{t: t, driver: &fakeDriver{}, ledger: led, db: storetest.Open(t, storetest.SQLite(t))}
	o := responder.Options{
		DB: b.db, Playbooks: set, Drivers: map[string]act.Driver{"aws": b.driver, "http": b.driver},
		Simulated: func(d act.Driver) act.Driver { return simulated.New(d, nil) },
		Sources:   map[string]trail.Source{"aws.cloudtrail_lookup": drop{}},
		Guard: guard.New(config.Guard{}, policy, map[string]config.Provider{
			"aws": {Accounts: []config.Account{{ID: "111122223333"}}}, "github": {Owners: []string{"dana"}},
		}),
		Vault: vault, Fingerprint: fp, Ledger: led, Publisher: drop{}, Observer: drop{}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Polls: []time.Duration{0}, ApprovalTimeout: time.Minute, ApprovalDefault: "deny", Version: "test",
	}
	if change != nil {
		change(&o)
	}
	b.engine = responder.New(o)
	jobs, err := work.New(ctx, b.db, work.Config{Logger: slog.New(slog.DiscardHandler)}, b.engine.Register)
	check(err)
	b.engine.Bind(jobs)
	check(jobs.Start(ctx))
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		err := jobs.Stop(stop)
		if err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return b
}

// shortBooks are the built-in playbooks with proofs and holds of a test's length.
func shortBooks(t *testing.T) string {
	dir := t.TempDir()
	files, err := playbooks.Files("")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text := strings.NewReplacer("hold: 15s", "hold: 10ms", "interval: 500ms", "interval: 1ms", "interval: 1s", "interval: 1ms", "interval: 2s", "interval: 1ms", "deadline: 5m", "deadline: 1s").Replace(string(f.Data))
		writeFile(t, filepath.Join(dir, strings.TrimPrefix(f.Name, "embedded:")), text)
	}
	return dir
}

// leak hands in the key pair at a place.
func (b *bundle) leak(path string) string {
	b.t.Helper()
	ctx := context.Background()
	c := scanner.Credential{
		Provider: "aws", Kind: "access_key", PublicID: "AKIA" + "RTX3GSDSABCDEFGH", Account: "111122223333", Class: scanner.ClassProduction,
		Parts: map[string]secret.Value{
			scanner.PartAccessKeyID: secret.New("AKIA" + "RTX3GSDSABCDEFGH"), scanner.PartSecretAccessKey: secret.New("kR7vQ2mZx9LpT4wB" + "n6YcD1sFh8JgU3eAo5iNbVMq"),
		},
		Findings: []scanner.Finding{{Rule: "aws-access-token", Place: scanner.Place{Commit: "c1", Path: path, Line: 1, Column: 1}}},
	}
	ps, err := b.engine.Prepare(ctx, responder.Exposure{Reference: "test", Repository: "acme/shop", Visibility: incident.VisibilityPublic, At: time.Now(), From: "push event"}, []scanner.Credential{c})
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	err = b.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		ids, err = b.engine.Accept(ctx, tx, ps)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return ids[0]
}

// until waits for a state and gives the reason of the last change.
func (b *bundle) until(id string, want incident.State, round int) (incident.Incident, string) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var i incident.Incident
		var states []incident.StateChange
		err := b.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			var err error
			i, err = tx.Incident(ctx, id)
			if err != nil {
				return err
			}
			states, err = tx.States(ctx, id)
			return err
		})
		if err != nil {
			b.t.Fatal(err)
		}
		if i.State == want && i.Round == round {
			return i, states[len(states)-1].Reason
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("state %s in round %d, want %s in round %d: %+v", i.State, i.Round, want, round, states)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // jobs run in real time
	}
}

var actPolicy = config.Policy{Mode: incident.ModeAct}

func TestActsInOrderAndProves(t *testing.T) {
	b := setup(t, actPolicy, nil)
	id := b.leak("a.env")
	i, _ := b.until(id, incident.StateProved, 1)
	if got := b.driver.acts(); !slices.Equal(got, []string{"deactivate_key", "deny_sessions"}) {
		t.Errorf("acts: %v", got)
	}
	if i.ContainedAt.IsZero() || i.ProvedAt.IsZero() || i.Verdict != "live" {
		t.Errorf("incident: %+v", i)
	}
}

func TestRetriesPassingFailures(t *testing.T) {
	b := setup(t, actPolicy, nil)
	fails := 0
	b.driver.act = func(name string, repeat bool, _ int) (act.Effect, error) {
		if name == "deactivate_key" && fails < 3 {
			fails++
			return act.Effect{}, &act.Retry{Err: errors.New("throttled")}
		}
		if name == "deactivate_key" && !repeat {
			return act.Effect{}, errors.New("the repeat was not told apart")
		}
		return act.Effect{}, nil
	}
	id := b.leak("a.env")
	b.until(id, incident.StateProved, 1)
	if fails != 3 {
		t.Errorf("failed %d times, want 3", fails)
	}
}

func TestHandsOverWhatOnlyAPersonCanDo(t *testing.T) {
	b := setup(t, actPolicy, nil)
	b.driver.act = func(string, bool, int) (act.Effect, error) {
		return act.Effect{}, fmt.Errorf("our role may not: %w", act.ErrPerson)
	}
	id := b.leak("a.env")
	_, why := b.until(id, incident.StatePerson, 1)
	if !strings.Contains(why, "our role may not") || strings.Contains(why, act.ErrPerson.Error()) {
		t.Errorf("reason: %s", why)
	}
	if len(b.driver.acts()) != 0 {
		t.Error("went on after a refusal")
	}
}

func TestNotProvedDeadIsNeverCalledDead(t *testing.T) {
	b := setup(t, actPolicy, nil)
	b.driver.identify = func(int) verdict.Verdict { return live() }
	id := b.leak("a.env")
	i, why := b.until(id, incident.StatePerson, 1)
	if !i.ProvedAt.IsZero() || !strings.Contains(why, "not proved") {
		t.Errorf("proved at %s, reason: %s", i.ProvedAt, why)
	}
}

func TestUnknownNeverActs(t *testing.T) {
	b := setup(t, actPolicy, nil)
	b.driver.identify = func(int) verdict.Verdict { return verdict.Verdict{Reason: "a page of a firewall"} }
	id := b.leak("a.env")
	b.until(id, incident.StatePerson, 1)
	if len(b.driver.acts()) != 0 {
		t.Error("acted on an unknown verdict")
	}
}

func TestGoneCountsAsContained(t *testing.T) {
	b := setup(t, actPolicy, nil)
	asked := 0
	b.driver.identify = func(n int) verdict.Verdict {
		asked = n
		if n == 1 {
			return live()
		}
		return dead()
	}
	b.driver.act = func(string, bool, int) (act.Effect, error) { return act.Effect{}, act.ErrGone }
	id := b.leak("a.env")
	b.until(id, incident.StateProved, 1)
	if asked < 4 {
		t.Errorf("death was proved by %d questions, want at least 3 refusals in a row", asked-1)
	}
}

func TestSeenAgainAtANewPlace(t *testing.T) {
	b := setup(t, actPolicy, nil)
	id := b.leak("a.env")
	b.until(id, incident.StateProved, 1)
	if again := b.leak("a.env"); again != id {
		t.Fatalf("a second incident %s for one credential", again)
	}
	b.until(id, incident.StateProved, 1) // the same place changes nothing
	b.leak("b.env")
	b.until(id, incident.StateNotLive, 2)
	if n := len(b.driver.acts()); n != 2 {
		t.Errorf("%d acts, want the 2 of the first round", n)
	}
}

func TestApprovalRunsOut(t *testing.T) {
	for _, tt := range []struct {
		byDefault string
		want      incident.State
	}{{"deny", incident.StateDenied}, {"approve", incident.StateProved}} {
		t.Run(tt.byDefault, func(t *testing.T) {
			b := setup(t, config.Policy{Mode: incident.ModeApprove}, func(o *responder.Options) {
				o.ApprovalTimeout, o.ApprovalDefault = time.Millisecond, tt.byDefault
			})
			id := b.leak("a.env")
			b.until(id, tt.want, 1)
		})
	}
}

func TestIdentifierAloneAsksAPerson(t *testing.T) {
	b := setup(t, actPolicy, nil)
	ctx := context.Background()
	c := scanner.Credential{
		Provider: "aws", Kind: "access_key", PublicID: "AKIA" + "RTX3GSDSABCDEFGH", Account: "111122223333", Class: scanner.ClassProduction,
		Parts:    map[string]secret.Value{scanner.PartAccessKeyID: secret.New("AKIA" + "RTX3GSDSABCDEFGH")},
		Findings: []scanner.Finding{{Rule: "aws-access-token", Place: scanner.Place{Commit: "c1", Path: "x", Line: 1, Column: 1}}},
	}
	ps, err := b.engine.Prepare(ctx, responder.Exposure{Reference: "test", Visibility: incident.VisibilityPublic, At: time.Now(), From: "push event"}, []scanner.Credential{c})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	err = b.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		ids, err = b.engine.Accept(ctx, tx, ps)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b.until(ids[0], incident.StateWaiting, 1)
	if len(b.driver.acts()) != 0 {
		t.Error("acted on an identifier alone")
	}
}

// TestStaleCredentialIsShredded: what waits for a person does not wait for ever.
func TestStaleCredentialIsShredded(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	b := setup(t, config.Policy{Mode: incident.ModeObserve}, func(o *responder.Options) { o.Now = clock })
	id := b.leak("a.env")
	b.until(id, incident.StateObserved, 1)
	sealed := func() bool {
		err := b.db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.Secret(ctx, id)
			return err
		})
		return err == nil
	}
	err := b.engine.DestroyStale(context.Background())
	if err != nil || !sealed() {
		t.Fatalf("shredded at once: %v", err)
	}
	mu.Lock()
	now = now.Add(responder.KeepSealed + time.Hour)
	mu.Unlock()
	err = b.engine.DestroyStale(context.Background())
	if err != nil || sealed() {
		t.Errorf("not shredded after %s: %v", responder.KeepSealed, err)
	}
}
