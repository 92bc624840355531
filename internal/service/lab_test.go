package service_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/internal/config"
	labaws "stanch/internal/lab/aws"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/service"
	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/playbooks"
	"stanch/responder/incident"
)

// world is a laboratory with the real service in it.
type world struct {
	t    *testing.T
	gh   *labgithub.Server
	aws  *labaws.Server
	org  *labaws.Organisation
	app  *labgithub.App
	dev  *labgithub.Account
	repo *labgithub.Repo
	cfg  *config.Config
	svc  *service.Service
	log  *lockedBuffer
	hook string // URL of the webhook

	stop func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// options of newWorld.
type options struct {
	mode      incident.Mode
	misbehave bool
	private   bool // the repository
	lag       time.Duration
	dsn       string // SQLite in the data directory when empty
	configure func(*config.Config)
}

// newWorld builds the laboratories and starts the service.
func newWorld(t *testing.T, o options) *world {
	t.Helper()
	w := &world{t: t, log: &lockedBuffer{}}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.gh, err = labgithub.Start(labgithub.Options{Seed: 7, Misbehave: o.misbehave, RevokeLag: max(o.lag, time.Millisecond)})
	check(err)
	t.Cleanup(func() { w.gh.Close() })
	w.aws, err = labaws.Start(labaws.Options{
		Seed: 7, Misbehave: o.misbehave, EnforcementLag: &labaws.Span{Max: o.lag}, TrailDelay: &labaws.Span{Max: 200 * time.Millisecond},
		Regions: []string{"us-east-1", "eu-west-1"},
	})
	check(err)
	t.Cleanup(func() { _ = w.aws.Close() })
	w.org, err = w.aws.Seed()
	check(err)
	w.dev, err = w.gh.CreateUser("dana")
	check(err)
	_, err = w.gh.CreateOrg("acme", labgithub.PlanEnterprise, "dana")
	check(err)
	w.repo, err = w.gh.CreateRepo("acme", "shop", o.private)
	check(err)
	w.app, err = w.gh.CreateApp(labgithub.AppOptions{Name: "stanch", Owner: "acme", Permissions: map[string]string{
		"contents": "read", "organization_administration": "read", "secret_scanning_alerts": "read",
	}})
	check(err)
	w.cfg = w.config(o)
	if o.configure != nil {
		o.configure(w.cfg)
	}
	w.start()
	t.Cleanup(func() { w.shutdown() })
	_, err = w.gh.Install(w.app.ID, "acme")
	check(err)
	return w
}

// config is what stanch.yaml would hold, with holds and polls of a test's length.
func (w *world) config(o options) *config.Config {
	dir := w.t.TempDir()
	file := func(name, content string) config.Secret {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(content), 0o600)
		if err != nil {
			w.t.Fatal(err)
		}
		return config.Secret{File: path}
	}
	books := filepath.Join(dir, "playbooks")
	err := os.Mkdir(books, 0o700)
	if err != nil {
		w.t.Fatal(err)
	}
	files, err := playbooks.Files("")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		text := strings.ReplaceAll(string(f.Data), "hold: 15s", "hold: 1s")
		err := os.WriteFile(filepath.Join(books, strings.TrimPrefix(f.Name, "embedded:")), []byte(text), 0o600)
		if err != nil {
			w.t.Fatal(err)
		}
	}
	c := config.Default()
	c.Secrets.Keeper = ""
	c.DataDir = filepath.Join(dir, "data")
	if o.dsn != "" {
		c.Database = file("database", o.dsn)
	}
	c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.GitHub.APIURL, c.GitHub.WebURL, c.GitHub.AppID = w.gh.APIURL(), w.gh.URL(), w.app.ID
	c.GitHub.PrivateKey, c.GitHub.WebhookSecret = file("app.pem", string(w.app.PrivateKeyPEM)), file("webhook", w.app.WebhookSecret)
	if o.mode != "" {
		c.Policy.Mode = o.mode
	}
	c.Playbooks.Dir = books
	c.Trail.Polls = []config.Duration{config.Duration(300 * time.Millisecond), config.Duration(1500 * time.Millisecond)}
	c.Providers = map[string]config.Provider{
		"aws": {
			EndpointURL: w.aws.URL,
			Credentials: map[string]config.Secret{
				"access_key_id": file("aws-id", w.org.Stanch.ID), "secret_access_key": file("aws-secret", w.org.Stanch.Secret.Reveal()),
			},
			Accounts: []config.Account{{ID: w.org.Account, RoleARN: w.org.RoleARN, ExternalID: file("aws-external-id", w.org.ExternalID)}},
		},
		"github": {BaseURL: w.gh.APIURL(), Owners: []string{"acme", "dana"}},
	}
	c.Egress.Allow = []string{strings.TrimPrefix(w.aws.URL, "http://"), strings.TrimPrefix(w.gh.URL(), "http://")}
	return c
}

// start opens and runs the service, and points GitHub's webhook at it.
func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	svc, err := service.Open(ctx, w.cfg, service.Options{Stderr: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := svc.Listen()
	if err != nil {
		w.t.Fatal(err)
	}
	w.svc, w.hook = svc, "http://"+l.Public.Addr().String()+"/github/webhook"
	done := make(chan error, 1)
	go func() { done <- svc.Serve(ctx, l) }()
	w.gh.SetWebhook(w.app.ID, w.hook)
	w.stop = func() {
		cancel()
		err := <-done
		if err != nil {
			w.t.Errorf("serve: %v", err)
		}
		err = svc.Close()
		if err != nil {
			w.t.Errorf("close: %v", err)
		}
	}
}

func (w *world) shutdown() {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// clone makes the developer's working copy.
func (w *world) clone() string {
	dir := filepath.Join(w.t.TempDir(), "clone")
	url := strings.Replace(w.repo.CloneURL, "http://", "http://"+w.dev.Login+":"+w.dev.Password+"@", 1)
	w.git("", "init", "--quiet", "--initial-branch=main", dir)
	w.git(dir, "remote", "add", "origin", url)
	return dir
}

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana", "GIT_AUTHOR_EMAIL=dana@acme.example", "GIT_COMMITTER_NAME=Dana", "GIT_COMMITTER_EMAIL=dana@acme.example",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files and commits them.
func (w *world) commit(dir, message string, files map[string]string) {
	w.t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600))
		if err != nil {
			w.t.Fatal(err)
		}
	}
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "--quiet", "-m", message)
}

// env is a file with the seeded AWS key pair.
func (w *world) env() string {
	return "AWS_ACCESS_KEY_ID=" + w.org.Key.ID + "\nAWS_SECRET_ACCESS_KEY=" + w.org.Key.Secret.Reveal() + "\n"
}

// leakKey pushes a commit with the seeded AWS key pair.
func (w *world) leakKey() string {
	w.t.Helper()
	dir := w.clone()
	w.commit(dir, "Add deployment", map[string]string{"deploy/.env": w.env()})
	w.git(dir, "push", "--quiet", "origin", "main")
	return dir
}

// until waits for a condition on the incidents.
func (w *world) until(what string, ok func([]incident.Incident) bool) []incident.Incident {
	w.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		is, err := w.svc.Incidents(context.Background(), store.IncidentFilter{})
		if err != nil {
			w.t.Fatal(err)
		}
		if ok(is) {
			return is
		}
		if time.Now().After(deadline) {
			var got []string
			for _, i := range is {
				got = append(got, fmt.Sprintf("%s/%s %s (%s)", i.Provider, i.Kind, i.State, i.VerdictWhy))
			}
			w.t.Fatalf("waited for %s; incidents: %s\nlog:\n%s", what, strings.Join(got, ", "), w.log.String())
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the service runs in real time
	}
}

// one waits for the only incident to reach a state.
func (w *world) one(s incident.State) incident.Incident {
	w.t.Helper()
	is := w.until("one incident "+string(s), func(is []incident.Incident) bool { return len(is) == 1 && is[0].State == s })
	return is[0]
}

func (w *world) detail(id string) service.Detail {
	w.t.Helper()
	d, err := w.svc.Detail(context.Background(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// quiet waits until no job is due and no delivery is unhandled.
func (w *world) quiet() {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		var due, open int
		err := w.svc.DB.Read(context.Background(), func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(
				tx.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled') AND kind <> 'approval_expiry'").Scan(&due),
				tx.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state <> 'done'").Scan(&open))
		})
		if err != nil {
			w.t.Fatal(err)
		}
		if due == 0 && open == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d jobs and %d deliveries are still open\nlog:\n%s", due, open, w.log.String())
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // the service runs in real time
	}
}

// dsns are the databases to run a test on.
func dsns(t *testing.T) map[string]string {
	out := map[string]string{"sqlite": ""}
	if os.Getenv("STANCH_TEST_POSTGRES") != "" {
		out["postgres"] = storetest.Postgres(t)
	}
	return out
}
