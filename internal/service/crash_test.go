package service_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stanch/internal/config"
	labaws "stanch/internal/lab/aws"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/ledger"
	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/responder/incident"
)

// crashWorld is a laboratory around a service that is a process of its own.
type crashWorld struct {
	*world
	token   string // the leaked GitHub token
	proxies *crashProxies
	dir     string // of orders and traces
	starts  int
	most    int // revocations that may be accepted; 0 means 1

	mu    sync.Mutex
	child *crashProcess
}

// crashProcess is one life of the service.
type crashProcess struct {
	cmd    *exec.Cmd
	gone   chan struct{}
	stderr *lockedBuffer
	trace  string
}

// newCrashWorld builds well-behaved laboratories behind proxies, a clone with a
// commit that leaks an AWS key pair and a GitHub token, and the configuration.
func newCrashWorld(t *testing.T, dsn string, lag time.Duration) *crashWorld {
	t.Helper()
	w := &crashWorld{world: &world{t: t, log: &lockedBuffer{}}, dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.gh, err = labgithub.Start(labgithub.Options{Seed: 11, RevokeLag: max(lag, time.Millisecond)})
	must(err)
	t.Cleanup(w.gh.Close)
	w.aws, err = labaws.Start(labaws.Options{
		Seed: 11, EnforcementLag: &labaws.Span{Max: 50 * time.Millisecond}, TrailDelay: &labaws.Span{Max: 50 * time.Millisecond}, Regions: []string{"us-east-1"},
	})
	must(err)
	t.Cleanup(func() { _ = w.aws.Close() })
	w.org, err = w.aws.Seed()
	must(err)
	w.dev, err = w.gh.CreateUser("dana")
	must(err)
	_, err = w.gh.CreateOrg("acme", labgithub.PlanEnterprise, "dana")
	must(err)
	w.repo, err = w.gh.CreateRepo("acme", "shop", false)
	must(err)
	w.app, err = w.gh.CreateApp(labgithub.AppOptions{Name: "stanch", Owner: "acme", Permissions: map[string]string{
		"contents": "read", "organization_administration": "read", "secret_scanning_alerts": "read",
	}})
	must(err)
	w.token, err = w.gh.CreateToken("dana", labgithub.KindClassic, "repo")
	must(err)

	w.proxies = &crashProxies{t: t, kill: w.kill}
	ghURL, awsURL := w.proxies.front(w.gh.URL()), w.proxies.front(w.aws.URL)
	w.cfg = w.config(options{mode: incident.ModeAct, dsn: dsn})
	w.cfg.GitHub.APIURL, w.cfg.GitHub.WebURL = ghURL, ghURL
	p := w.cfg.Providers["aws"]
	p.EndpointURL = awsURL
	w.cfg.Providers["aws"] = p
	p = w.cfg.Providers["github"]
	p.BaseURL = ghURL
	w.cfg.Providers["github"] = p
	w.cfg.Egress.Allow = []string{strings.TrimPrefix(ghURL, "http://"), strings.TrimPrefix(awsURL, "http://")}
	w.cfg.Trail.Polls = []config.Duration{config.Duration(200 * time.Millisecond), config.Duration(600 * time.Millisecond)}
	w.cfg.Listen, w.cfg.AdminListen = freePort(t), freePort(t)
	w.hasten()
	t.Cleanup(w.kill)
	return w
}

// hasten makes the playbooks wait no longer than a test wants to.
func (w *crashWorld) hasten() {
	files, err := filepath.Glob(filepath.Join(w.cfg.Playbooks.Dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("playbooks: %v, %d files", err, len(files))
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		fast := strings.NewReplacer("interval: 500ms", "interval: 100ms", "interval: 2s", "interval: 100ms").Replace(string(text))
		err = os.WriteFile(f, []byte(fast), 0o600)
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// begin starts a life of the service that ends at the killAt-th point of a
// transaction (0 for never), and waits until it answers or is gone.
func (w *crashWorld) begin(killAt int) *crashProcess {
	w.t.Helper()
	w.starts++
	order := filepath.Join(w.dir, fmt.Sprintf("order-%d", w.starts))
	c := &crashProcess{gone: make(chan struct{}), stderr: &lockedBuffer{}, trace: order + ".trace"}
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(crashOrder{Config: w.cfg, KillAt: killAt, Trace: c.trace})
	if err == nil {
		err = os.WriteFile(order, buf.Bytes(), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), crashEnv+"="+order)
	c.cmd.Stderr, c.cmd.Stdout = c.stderr, c.stderr
	err = c.cmd.Start()
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.gone)
	}()
	w.mu.Lock()
	w.child = c
	w.mu.Unlock()
	url := "http://" + w.cfg.AdminListen + "/readyz"
	w.wait("the service to be ready", c, func() bool {
		if c.dead() {
			return true
		}
		res, err := http.Get(url)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return c
}

func (c *crashProcess) dead() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// kill ends the running life with SIGKILL and returns when it is gone.
func (w *crashWorld) kill() {
	w.mu.Lock()
	c := w.child
	w.mu.Unlock()
	if c == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGKILL)
	<-c.gone
}

// wait polls until ok; c is the life whose log is shown on failure.
func (w *crashWorld) wait(what string, c *crashProcess, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(120 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited for %s\n%s\nlog:\n%s", what, w.standing(), c.stderr.String())
		}
		time.Sleep(25 * time.Millisecond) //nolint:forbidigo // another process runs in real time
	}
}

// open opens the service's database beside it, to look.
func (w *crashWorld) open() *store.DB {
	w.t.Helper()
	url, err := w.cfg.DatabaseURL()
	if err != nil {
		w.t.Fatal(err)
	}
	db, err := store.Open(context.Background(), url.Reveal())
	if err != nil {
		w.t.Fatal(err)
	}
	return db
}

// standing is what the database says, for a failure.
func (w *crashWorld) standing() string {
	db := w.open()
	defer db.Close()
	var out strings.Builder
	err := db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		is, err := tx.Incidents(ctx, store.IncidentFilter{})
		for _, i := range is {
			fmt.Fprintf(&out, "%s/%s %s %s\n", i.Provider, i.Kind, i.State, i.VerdictWhy)
		}
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT kind, state, attempt FROM river_job WHERE state NOT IN ('completed', 'discarded')")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, state string
			var attempt int
			err := rows.Scan(&kind, &state, &attempt)
			if err != nil {
				return err
			}
			fmt.Fprintf(&out, "job %s %s attempt %d\n", kind, state, attempt)
		}
		return rows.Err()
	})
	if err != nil {
		fmt.Fprintln(&out, err)
	}
	return out.String()
}

// settled reports whether both credentials are proved dead and nothing is left
// to do.
func (w *crashWorld) settled(db *store.DB) bool {
	var proved, due, open int
	err := db.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		return errors.Join(
			tx.QueryRow(ctx, "SELECT count(*) FROM incidents WHERE state = 'proved_dead'").Scan(&proved),
			tx.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state NOT IN ('completed', 'discarded', 'cancelled')").Scan(&due),
			tx.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state <> 'done'").Scan(&open))
	})
	return err == nil && proved == 2 && due == 0 && open == 0
}

// crashPoint is where a service is killed.
type crashPoint struct {
	tx   int    // the point of a transaction in the service's first life
	call killer // or a call to the outside
}

func (p crashPoint) String() string {
	switch {
	case p.tx > 0:
		return fmt.Sprintf("transaction point %d", p.tx)
	case p.call.name != "" && p.call.before:
		return p.call.name + ", before it is made"
	case p.call.name != "":
		return p.call.name + ", its answer lost"
	case p.call.before:
		return fmt.Sprintf("call %d, before it is made", p.call.at)
	case p.call.at > 0:
		return fmt.Sprintf("call %d, its answer lost", p.call.at)
	}
	return "never"
}

// crashResult is what one run showed.
type crashResult struct {
	where  string // what the point was; "" when it was not reached
	points int    // of transactions, in the first life
	calls  int
	took   time.Duration
}

// run carries the push through one kill to the end and checks the end state.
func (w *crashWorld) run(p crashPoint) crashResult {
	began := time.Now()
	w.proxies.point = p.call
	first := w.begin(p.tx)
	w.gh.SetWebhook(w.app.ID, "http://"+w.cfg.Listen+"/github/webhook")
	_, err := w.gh.Install(w.app.ID, "acme")
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.clone()
	w.commit(dir, "Add deployment", map[string]string{
		"deploy/.env": w.env(), "mirror.sh": "curl -H 'Authorization: Bearer " + w.token + "' https://api.github.com/user\n",
	})
	w.git(dir, "push", "--quiet", "origin", "main")
	db := w.open()
	defer db.Close()
	w.wait("the end of the first life", first, func() bool { return first.dead() || w.settled(db) })
	var r crashResult
	last := first
	if first.dead() {
		r.where = w.proxies.struck
		if p.tx > 0 {
			r.where = lastOf(first.points())
		}
		if r.where == "" {
			w.t.Fatalf("the service died by itself:\n%s", first.stderr.String())
		}
		last = w.begin(0)
		w.redeliver()
		w.wait("the end of the second life", last, func() bool {
			if last.dead() {
				w.t.Fatalf("the service died after the restart:\n%s", last.stderr.String())
			}
			return w.settled(db)
		})
	}
	w.end(last)
	if last == first && p.tx > 0 && last.cmd.ProcessState.ExitCode() == -1 {
		// The point was in the shutdown itself.
		r.where = lastOf(first.points())
		last = w.begin(0)
		w.wait("the end of the second life", last, func() bool { return w.settled(db) })
		w.end(last)
	}
	if code := last.cmd.ProcessState.ExitCode(); code != 0 {
		w.t.Errorf("exit code %d after SIGTERM\n%s", code, last.stderr.String())
	}
	r.points, r.calls, r.took = len(first.points()), w.proxies.count(), time.Since(began)
	w.check(db)
	if r.where != "" {
		r.where += fmt.Sprintf(" (%d starts)", w.starts)
	}
	if w.t.Failed() {
		w.t.Logf("first life:\n%s\nlast life:\n%s", first.stderr.String(), last.stderr.String())
	}
	return r
}

// end asks a life to end in order, and waits for it.
func (w *crashWorld) end(c *crashProcess) {
	w.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	w.wait("an orderly end", c, c.dead)
}

func lastOf(points []string) string {
	if len(points) == 0 {
		return ""
	}
	return points[len(points)-1]
}

func (c *crashProcess) points() []string {
	data, _ := os.ReadFile(c.trace)
	return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
}

// redeliver asks GitHub again for what was not answered 2xx, as GitHub's own
// "redeliver" does.
func (w *crashWorld) redeliver() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := w.gh.Wait(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, d := range w.gh.Deliveries(w.app.ID) {
		if d.StatusCode/100 != 2 {
			err := w.gh.Redeliver(d.ID)
			if err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// check holds the end state: the same after every kill.
func (w *crashWorld) check(db *store.DB) {
	w.t.Helper()
	ctx := context.Background()
	// The key is deactivated once and stays so.
	if n := w.aws.CountTransitions(w.org.Key.ID, "Active", "Inactive"); n != 1 {
		w.t.Errorf("the key was deactivated %d times, want once", n)
	}
	if n := w.aws.CountTransitions(w.org.Key.ID, "Inactive", "Active"); n != 0 {
		w.t.Errorf("the key was reactivated %d times", n)
	}
	// A revocation that took effect is found by asking first, so it is not sent
	// again: exactly one is accepted. TestCrashLag shows the one exception.
	if st := w.gh.TokenState(w.token); st.Alive || st.Accepted < 1 || st.Accepted > max(w.most, 1) {
		w.t.Errorf("token alive %v, revocation accepted %d times, want at most %d", st.Alive, st.Accepted, max(w.most, 1))
	}
	w.checkRows(ctx, db)
	w.checkFiles()
}

func (w *crashWorld) checkRows(ctx context.Context, db *store.DB) {
	w.t.Helper()
	var is []incident.Incident
	err := db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		is, err = tx.Incidents(ctx, store.IncidentFilter{})
		if err != nil {
			return err
		}
		for _, i := range is {
			if i.State != incident.StateProved || i.Round != 1 {
				w.t.Errorf("incident %s/%s: state %s, round %d", i.Provider, i.Kind, i.State, i.Round)
			}
			w.checkIncident(ctx, tx, i)
		}
		for _, d := range w.gh.Deliveries(w.app.ID) {
			if d.StatusCode/100 != 2 {
				continue
			}
			kept, err := tx.Delivery(ctx, d.GUID)
			if err != nil || kept.State != "done" {
				w.t.Errorf("delivery %s was answered %d and is %q: %v", d.Event, d.StatusCode, kept.State, err)
			}
		}
		var sealed int
		err = tx.QueryRow(ctx, "SELECT count(*) FROM incident_secrets").Scan(&sealed)
		if sealed != 0 {
			w.t.Errorf("%d sealed credentials are left", sealed)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	var kinds []string
	for _, i := range is {
		kinds = append(kinds, i.Provider)
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []string{"aws", "github"}) {
		w.t.Errorf("incidents of %v, want one of aws and one of github", kinds)
	}
	l, err := ledger.Open(ledger.Options{Dir: w.cfg.DataDir, Origin: w.cfg.Ledger.Origin})
	if err != nil {
		w.t.Fatal(err)
	}
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err := ledger.VerifyDatabase(ctx, tx, l.VerifierKey(), "")
		if err == nil && (!v.OK || v.Entries == 0) {
			w.t.Errorf("ledger: %+v", v)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// checkIncident: each state was entered once, each act is recorded once, and the
// final report is kept.
func (w *crashWorld) checkIncident(ctx context.Context, tx *store.Tx, i incident.Incident) {
	w.t.Helper()
	states, err := tx.States(ctx, i.ID)
	if err != nil {
		w.t.Error(err)
	}
	entered := map[incident.State]int{}
	for _, s := range states {
		entered[s.State]++
	}
	for _, s := range []incident.State{incident.StateOpen, incident.StateContaining, incident.StateContained, incident.StateProved} {
		if entered[s] != 1 {
			w.t.Errorf("incident of %s entered %s %d times: %+v", i.Provider, s, entered[s], states)
		}
	}
	acts, err := tx.Actions(ctx, i.ID)
	if err != nil {
		w.t.Error(err)
	}
	want := map[string]int{"aws": 2, "github": 1}[i.Provider]
	if len(acts) != want {
		w.t.Errorf("incident of %s has %d acts, want %d", i.Provider, len(acts), want)
	}
	r, err := tx.Report(ctx, i.ID, 0)
	if err != nil || !r.Final {
		w.t.Errorf("report of %s: final %v, %v", i.Provider, r.Final, err)
	}
	for _, ext := range []string{"md", "html", "json"} {
		for _, name := range []string{"report." + ext, fmt.Sprintf("v%d.%s", r.Version, ext)} {
			info, err := os.Stat(filepath.Join(w.cfg.DataDir, "reports", i.ID, name))
			if err != nil || info.Size() == 0 {
				w.t.Errorf("report of %s: %v", i.Provider, err)
			}
		}
	}
}

// checkFiles: nothing temporary is left in the data directory.
func (w *crashWorld) checkFiles() {
	w.t.Helper()
	left, err := os.ReadDir(filepath.Join(w.cfg.DataDir, "tmp"))
	if err != nil || len(left) != 0 {
		w.t.Errorf("temporary directory: %v, %v", left, err)
	}
	err = filepath.WalkDir(w.cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".") {
			w.t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}

// spread gives n numbers from 1 to total, evenly, ends included.
func spread(n, total int) []int {
	if n >= total {
		n = total
	}
	var out []int
	for k := range n {
		out = append(out, 1+k*(total-1)/max(n-1, 1))
	}
	return out
}

// decisive are the calls that a kill must not double or lose: what fetches, and
// what acts.
var decisive = []string{"github POST /acme/shop.git/git-upload-pack", "aws UpdateAccessKey", "aws PutUserPolicy", "github POST /credentials/revoke"}

// crashPoints picks n points: half of them of transactions, half of calls, these
// by turns before and after, the decisive ones first.
func crashPoints(n int, base crashResult) []crashPoint {
	var out []crashPoint
	both := func(k killer) {
		k.before = true
		out = append(out, crashPoint{call: k})
		k.before = false
		out = append(out, crashPoint{call: k})
	}
	for _, name := range decisive {
		both(killer{at: 1, name: name})
	}
	calls := max(n/2-len(out), 4)
	for _, k := range spread(calls/2, base.calls*9/10) {
		both(killer{at: k})
	}
	for _, k := range spread(n-len(out), base.points) {
		out = append(out, crashPoint{tx: k})
	}
	return out
}

// lanes bounds the runs at one time: they mostly wait.
var lanes = make(chan struct{}, 4)

// TestCrash kills the service with SIGKILL around its transactions and around its
// calls to the outside while it handles one push that leaks two credentials. After
// a restart the end is the same every time: see check.
func TestCrash(t *testing.T) {
	long := os.Getenv("STANCH_TEST_LONG") != ""
	for _, engine := range []struct {
		name     string
		n, least int // points to try, points that must be reached
	}{{"sqlite", 34, 28}, {"postgres", 16, 12}} {
		t.Run(engine.name, func(t *testing.T) {
			t.Parallel()
			pg := engine.name == "postgres"
			if pg && os.Getenv("STANCH_TEST_POSTGRES") == "" {
				t.Skip("STANCH_TEST_POSTGRES is not set")
			}
			dsn := func(t *testing.T) string {
				if pg {
					return storetest.Postgres(t)
				}
				return ""
			}
			var base crashResult
			if !t.Run("uncounted", func(t *testing.T) { base = newCrashWorld(t, dsn(t), 0).run(crashPoint{}) }) {
				return
			}
			t.Logf("one push: %d points of transactions, %d calls, %s", base.points, base.calls, base.took.Round(time.Millisecond))
			n, least := engine.n, engine.least
			if testing.Short() { // with the race detector a start takes many times as long
				n, least = 8, 5
			}
			if long {
				n = 2 * (base.points + base.calls)
			}
			points := crashPoints(n, base)
			results := make([]crashResult, len(points))
			t.Run("kill", func(t *testing.T) {
				for k, p := range points {
					t.Run(p.String(), func(t *testing.T) {
						t.Parallel()
						lanes <- struct{}{}
						defer func() { <-lanes }()
						results[k] = newCrashWorld(t, dsn(t), 0).run(p)
					})
				}
			})
			reached := 0
			for k, r := range results {
				where := r.where
				if where == "" {
					where = "(not reached)"
				} else {
					reached++
				}
				t.Logf("%-66s %-60s %6s", points[k], where, r.took.Round(10*time.Millisecond))
			}
			if reached < least {
				t.Errorf("%d points were reached, want at least %d", reached, least)
			}
			t.Logf("%d of %d points reached", reached, len(points))
		})
	}
}

// TestCrashLag is the one case in which a call is repeated: GitHub accepted the
// revocation, its answer was lost, and for some seconds more the token works, as
// GitHub documents no bound. Asked before the repeat, GitHub says "live"; not to
// send again would trust an answer that nobody saw. The repeat names the same
// token and changes nothing at GitHub, so it is no second act: one repeat at most,
// and none where the call was never made.
func TestCrashLag(t *testing.T) {
	for _, before := range []bool{true, false} {
		p := crashPoint{call: killer{at: 1, name: "github POST /credentials/revoke", before: before}}
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			w := newCrashWorld(t, "", 3*time.Second)
			if !before {
				w.most = 2
			}
			r := w.run(p)
			t.Logf("%s: accepted %d times", r.where, w.gh.TokenState(w.token).Accepted)
		})
	}
}
