// Package demo shows the whole product on one machine: a laboratory GitHub and
// a laboratory AWS, a developer who pushes a leak with real git, an attacker who
// uses it, and the real service in between.
//
// The laboratories misbehave (throttling, 5xx, lost answers, duplicate and late
// deliveries, enforcement lag); the service is the one that `stanch serve` runs.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stanch/internal/config"
	labaws "stanch/internal/lab/aws"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/ledger"
	"stanch/internal/service"
	"stanch/internal/store"
	"stanch/responder/incident"
	"stanch/responder/trail"
)

// Options of [Run].
type Options struct {
	Dir       string           // data directory; must be empty or not exist
	Seed      int64            // of the laboratories' chance
	WellBeing bool             // laboratories that do not misbehave
	Log       io.Writer        // the service's log; discarded when nil
	Tell      func(Line)       // the live timeline; may be nil
	Now       func() time.Time // time.Now when nil
}

// Line is one line of the timeline.
type Line struct {
	Since time.Duration // since the push began; negative before
	Who   string        // stanch, attacker, github, developer
	What  string
}

// Summary is what happened, for machines.
type Summary struct {
	Credentials []Credential `json:"credentials"`
	Trail       TrailCount   `json:"trail"`
	Attacker    Attacker     `json:"attacker"`
	Report      ReportFiles  `json:"report"`
	Ledger      LedgerState  `json:"ledger"`
	OK          bool         `json:"ok"`
	Problems    []string     `json:"problems,omitempty"`
}

// Credential is one leaked credential and its end.
type Credential struct {
	Provider          string `json:"provider"`
	Kind              string `json:"kind"`
	Incident          string `json:"incident"`
	Verdict           string `json:"verdict"`
	Contained         bool   `json:"contained"`
	ProvedDead        bool   `json:"proved_dead"`
	PushToVerdictMS   int64  `json:"push_to_verdict_ms"`
	PushToContainedMS int64  `json:"push_to_contained_ms"`
	PushToProvedMS    int64  `json:"push_to_proved_ms"`
}

// TrailCount counts the events of the trails.
type TrailCount struct {
	Events         int `json:"events"`
	AttackerEvents int `json:"attacker_events"`
}

// Attacker is how far the attacker got.
type Attacker struct {
	AllowedCalls  int      `json:"allowed_calls"`
	RefusedCalls  int      `json:"refused_calls"`
	RefusedAtEnd  int      `json:"refused_in_a_row_at_the_end"`
	LastAllowedMS int64    `json:"last_allowed_ms"` // after the push
	Undone        []string `json:"undone,omitempty"`
}

// ReportFiles are the files of the AWS key's report.
type ReportFiles struct {
	Markdown string `json:"markdown"`
	HTML     string `json:"html"`
	JSON     string `json:"json"`
}

// LedgerState says whether the ledger verifies.
type LedgerState struct {
	Entries  int64 `json:"entries"`
	Verified bool  `json:"verified"`
}

// limit bounds the whole demo after the push.
const limit = 2 * time.Minute

type show struct {
	o      Options
	gh     *labgithub.Server
	aws    *labaws.Server
	org    *labaws.Organisation
	app    *labgithub.App
	dev    *labgithub.Account
	repo   *labgithub.Repo
	token  string
	svc    *service.Service
	pushed time.Time

	mu   sync.Mutex
	told map[string]bool // incident and state
}

// Run plays the demo. The error is about the demo itself; what the product did
// not reach is in Summary.OK and Problems.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Tell == nil {
		o.Tell = func(Line) {}
	}
	d := &show{o: o, told: map[string]bool{}}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := d.build()
	if err != nil {
		d.close()
		return Summary{}, err
	}
	defer d.close()
	return d.play(ctx)
}

// build starts the laboratories and the world in them.
func (d *show) build() error {
	var err error
	d.gh, err = labgithub.Start(labgithub.Options{Seed: uint64(d.o.Seed), Misbehave: !d.o.WellBeing})
	if err != nil {
		return fmt.Errorf("start laboratory GitHub: %w", err)
	}
	d.aws, err = labaws.Start(labaws.Options{Seed: d.o.Seed, Misbehave: !d.o.WellBeing, Latency: &labaws.Span{Min: 20 * time.Millisecond, Max: 80 * time.Millisecond}})
	if err != nil {
		return fmt.Errorf("start laboratory AWS: %w", err)
	}
	d.org, err = d.aws.Seed()
	if err != nil {
		return err
	}
	d.dev, err = d.gh.CreateUser("dana")
	if err != nil {
		return err
	}
	_, err = d.gh.CreateOrg("acme", labgithub.PlanEnterprise, "dana")
	if err != nil {
		return err
	}
	d.repo, err = d.gh.CreateRepo("acme", "shop", false)
	if err != nil {
		return err
	}
	d.token, err = d.gh.CreateToken("dana", labgithub.KindClassic, "repo", "read:org")
	if err != nil {
		return err
	}
	d.app, err = d.gh.CreateApp(labgithub.AppOptions{Name: "stanch", Owner: "acme", Permissions: map[string]string{
		"contents": "read", "organization_administration": "read", "secret_scanning_alerts": "read",
	}})
	return err
}

func (d *show) close() {
	if d.svc != nil {
		_ = d.svc.Close()
	}
	if d.aws != nil {
		_ = d.aws.Close()
	}
	if d.gh != nil {
		d.gh.Close()
	}
}

// configure writes the secrets that a person would write and makes the service's
// configuration, as stanch.yaml would.
func (d *show) configure() (*config.Config, error) {
	dir := filepath.Join(d.o.Dir, "credentials")
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, err
	}
	file := func(name, content string) config.Secret {
		path := filepath.Join(dir, name)
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
		return config.Secret{File: path}
	}
	c := config.Default()
	c.Secrets.Keeper = "" // in the data directory
	c.DataDir = d.o.Dir
	c.Listen, c.AdminListen = "127.0.0.1:0", "127.0.0.1:0"
	c.GitHub.APIURL, c.GitHub.WebURL, c.GitHub.AppID = d.gh.APIURL(), d.gh.URL(), d.app.ID
	c.GitHub.PrivateKey, c.GitHub.WebhookSecret = file("app.pem", string(d.app.PrivateKeyPEM)), file("webhook", d.app.WebhookSecret)
	c.Policy.Mode = incident.ModeAct
	c.Trail.Polls = []config.Duration{config.Duration(2 * time.Second), config.Duration(10 * time.Second), config.Duration(21 * time.Second)}
	c.Ledger.Origin = "stanch-demo"
	c.Providers = map[string]config.Provider{
		"aws": {
			EndpointURL: d.aws.URL,
			Credentials: map[string]config.Secret{
				"access_key_id": file("aws-id", d.org.Stanch.ID), "secret_access_key": file("aws-secret", d.org.Stanch.Secret.Reveal()),
			},
			Accounts: []config.Account{{ID: d.org.Account, Name: "acme-production", RoleARN: d.org.RoleARN, ExternalID: file("aws-external-id", d.org.ExternalID), Owner: "platform team"}},
		},
		"github": {BaseURL: d.gh.APIURL(), Owners: []string{"acme", "dana"}},
	}
	c.Egress.Allow = []string{host(d.aws.URL), host(d.gh.URL())}
	return c, err
}

func host(url string) string { return strings.TrimPrefix(url, "http://") }

func (d *show) tell(who, format string, args ...any) {
	since := time.Duration(-1)
	if !d.pushed.IsZero() {
		since = d.o.Now().Sub(d.pushed)
	}
	d.o.Tell(Line{since, who, fmt.Sprintf(format, args...)})
}

// play runs the service, the push and the attacker, and waits for the end.
func (d *show) play(ctx context.Context) (Summary, error) {
	cfg, err := d.configure()
	if err != nil {
		return Summary{}, err
	}
	d.svc, err = service.Open(ctx, cfg, service.Options{Stderr: d.o.Log, Now: d.o.Now, Watch: d.watch})
	if err != nil {
		return Summary{}, err
	}
	l, err := d.svc.Listen()
	if err != nil {
		return Summary{}, err
	}
	serveCtx, stopServe := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- d.svc.Serve(serveCtx, l) }()
	defer stopServe()
	d.gh.SetWebhook(d.app.ID, "http://"+l.Public.Addr().String()+"/github/webhook")
	_, err = d.gh.Install(d.app.ID, "acme")
	if err != nil {
		return Summary{}, err
	}
	d.tell("stanch", "serving; policy: act on enrolled accounts")
	attackerCtx, stopAttacker := context.WithCancel(ctx)
	defer stopAttacker()
	attacker := labaws.NewAttacker(labaws.AttackerOptions{Endpoint: d.aws.URL, Key: d.org.Key, Mint: true, FightBack: true})
	work, err := d.prepareClone(ctx)
	if err != nil {
		return Summary{}, err
	}
	d.pushed = d.o.Now()
	d.tell("developer", "git push: an AWS key pair and a GitHub token are in the commit")
	err = d.git(ctx, work, "push", "--quiet", "origin", "main")
	if err != nil {
		return Summary{}, err
	}
	d.tell("github", "push accepted by the laboratory; the webhook is on its way")
	go attacker.Run(attackerCtx)
	go d.watchAttacker(attackerCtx, attacker)

	waitErr := d.wait(ctx)
	stopAttacker()
	sum, err := d.summarise(context.WithoutCancel(ctx), attacker.Report())
	stopServe()
	err = errors.Join(err, <-served)
	if waitErr != nil {
		sum.OK = false
		sum.Problems = append(sum.Problems, waitErr.Error())
	}
	return sum, err
}

// watch tells the timeline of changes of state.
func (d *show) watch(c service.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := c.Incident
	name := i.Provider + " " + i.Kind
	if i.PublicID != "" {
		name += " " + i.PublicID
	}
	if key := i.ID + string(i.State); !d.told[key] {
		d.told[key] = true
		switch i.State {
		case incident.StateOpen:
			d.tell("stanch", "%s: verified %s", name, i.Verdict)
		case incident.StateContaining:
			d.tell("stanch", "%s: policy and guards allow it; containing", name)
		case incident.StateContained:
			d.tell("stanch", "%s: contained, %d ms after the push", name, i.ContainedAt.Sub(d.pushed).Milliseconds())
		case incident.StateProved:
			d.tell("stanch", "%s: PROVED DEAD, %d ms after the push", name, i.ProvedAt.Sub(d.pushed).Milliseconds())
		default:
			d.tell("stanch", "%s: %s", name, i.State)
		}
		return
	}
	switch {
	case c.What == "hold":
		d.tell("stanch", "%s: held for 15 s", name)
	case strings.HasPrefix(c.What, "trail/"):
		d.tell("stanch", "%s: trail read (%s of 3)", name, strings.TrimPrefix(c.What, "trail/"))
	case strings.HasPrefix(c.What, "contain/"):
		d.tell("stanch", "%s: %s accepted", name, strings.TrimPrefix(c.What, "contain/"))
	}
}

// watchAttacker tells what the attacker reaches and loses.
func (d *show) watchAttacker(ctx context.Context, a *labaws.Attacker) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	created, undone, stage := 0, 0, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r := a.Report()
		if stage == 0 && r.Allowed > 0 {
			stage = 1
			d.tell("attacker", "uses the key: first call allowed")
		}
		for ; created < len(r.Created); created++ {
			d.tell("attacker", "made %s", r.Created[created])
		}
		for ; undone < len(r.Undone); undone++ {
			d.tell("attacker", "fights back: %s", r.Undone[undone])
		}
		if stage == 1 && r.RefusedSince >= 6 {
			stage = 2
			d.tell("attacker", "refused %d times in a row; last allowed call was %.1f s after the push", r.RefusedSince, r.LastAllowed.Sub(d.pushed).Seconds())
		}
		if stage == 2 && r.RefusedSince == 0 {
			stage = 1
		}
	}
}

// wait ends when both credentials are proved dead, held, traced and reported.
func (d *show) wait(ctx context.Context) error {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		done, err := d.done(ctx)
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("the demo did not end in time")
		case <-t.C:
		}
	}
}

func (d *show) done(ctx context.Context) (bool, error) {
	done := 0
	err := d.svc.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		is, err := tx.Incidents(ctx, store.IncidentFilter{})
		if err != nil {
			return err
		}
		for _, i := range is {
			if i.State == incident.StatePerson || i.State == incident.StateNotLive {
				return fmt.Errorf("%s %s: %s", i.Provider, i.Kind, i.State)
			}
			r, err := tx.Report(ctx, i.ID, 0)
			if err == nil && r.Final && i.State == incident.StateProved {
				done++
			}
		}
		return nil
	})
	return done >= 2, err
}

// summarise reads what happened out of the database.
func (d *show) summarise(ctx context.Context, a labaws.AttackReport) (Summary, error) {
	s := Summary{Attacker: Attacker{AllowedCalls: a.Allowed, RefusedCalls: a.Refused, RefusedAtEnd: a.RefusedSince, Undone: a.Undone}}
	if !a.LastAllowed.IsZero() {
		s.Attacker.LastAllowedMS = a.LastAllowed.Sub(d.pushed).Milliseconds()
	}
	err := d.svc.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		is, err := tx.Incidents(ctx, store.IncidentFilter{})
		if err != nil {
			return err
		}
		for _, i := range is {
			s.Credentials = append(s.Credentials, Credential{
				Provider: i.Provider, Kind: i.Kind, Incident: i.ID, Verdict: i.Verdict, Contained: !i.ContainedAt.IsZero(), ProvedDead: i.State == incident.StateProved,
				PushToVerdictMS: d.after(i.VerdictAt), PushToContainedMS: d.after(i.ContainedAt), PushToProvedMS: d.after(i.ProvedAt),
			})
			events, err := d.svc.Engine.Trail(ctx, i.ID)
			if err != nil {
				return err
			}
			s.Trail.Events += len(events)
			for _, e := range events {
				if e.Origin == trail.OriginAttacker {
					s.Trail.AttackerEvents++
				}
			}
			if i.Provider == "aws" || s.Report.HTML == "" {
				dir := d.svc.ReportDir(i.ID)
				s.Report = ReportFiles{filepath.Join(dir, "report.md"), filepath.Join(dir, "report.html"), filepath.Join(dir, "report.json")}
			}
		}
		v, err := ledger.VerifyDatabase(ctx, tx, d.svc.Ledger.VerifierKey(), "")
		if err != nil {
			return err
		}
		s.Ledger = LedgerState{v.Entries, v.OK}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.judge()
	return s, nil
}

func (d *show) after(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Sub(d.pushed).Milliseconds()
}

// judge says whether everything that the demo promises was reached.
func (s *Summary) judge() {
	problem := func(bad bool, text string) {
		if bad {
			s.Problems = append(s.Problems, text)
		}
	}
	problem(len(s.Credentials) != 2, fmt.Sprintf("%d credentials became incidents, not 2", len(s.Credentials)))
	for _, c := range s.Credentials {
		problem(!c.Contained, c.Provider+" "+c.Kind+" was not contained")
		problem(!c.ProvedDead, c.Provider+" "+c.Kind+" was not proved dead")
	}
	problem(s.Attacker.RefusedAtEnd < 3, "the attacker was not shut out at the end")
	problem(s.Trail.AttackerEvents == 0, "no event of the attacker is in the trail")
	problem(!s.Ledger.Verified, "the ledger does not verify")
	for _, f := range []string{s.Report.Markdown, s.Report.HTML, s.Report.JSON} {
		_, err := os.Stat(f)
		problem(err != nil, "report file is missing: "+f)
	}
	s.OK = len(s.Problems) == 0
}

// prepareClone makes the developer's working copy with the leak committed.
func (d *show) prepareClone(ctx context.Context) (string, error) {
	dir := filepath.Join(d.o.Dir, "developer")
	url := strings.Replace(d.repo.CloneURL, "http://", "http://"+d.dev.Login+":"+d.dev.Password+"@", 1)
	err := d.git(ctx, d.o.Dir, "init", "--quiet", "--initial-branch=main", dir)
	if err != nil {
		return "", err
	}
	files := map[string]string{
		"README.md":         "# shop\n",
		"deploy/.env":       "AWS_ACCESS_KEY_ID=" + d.org.Key.ID + "\nAWS_SECRET_ACCESS_KEY=" + d.org.Key.Secret.Reveal() + "\nAWS_REGION=eu-west-1\n",
		"scripts/mirror.sh": "#!/bin/sh\ncurl -H \"Authorization: Bearer " + d.token + "\" https://api.github.com/user/repos\n",
	}
	for name, content := range files {
		path := filepath.Join(dir, name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600))
		if err != nil {
			return "", err
		}
	}
	for _, args := range [][]string{
		{"remote", "add", "origin", url}, {"add", "."}, {"commit", "--quiet", "-m", "Add deployment scripts"},
	} {
		err := d.git(ctx, dir, args...)
		if err != nil {
			return "", err
		}
	}
	return dir, nil
}

// git runs the developer's git, with nothing of this machine's configuration.
func (d *show) git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.o.Dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dana", "GIT_AUTHOR_EMAIL=dana@acme.example", "GIT_COMMITTER_NAME=Dana", "GIT_COMMITTER_EMAIL=dana@acme.example",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}
