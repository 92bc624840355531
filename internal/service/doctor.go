package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"stanch/internal/ledger"
	"stanch/internal/store"
	"stanch/responder/incident"
)

// Check is one line of a diagnosis.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"` // ok, warn, fail, skip
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

// Diagnosis is what doctor found.
type Diagnosis struct {
	OK     bool     `json:"ok"` // nothing failed; warnings are allowed
	Checks []Check  `json:"checks"`
	Egress []string `json:"egress"` // hosts that may be reached
}

func (d *Diagnosis) add(name, state, hint, format string, args ...any) {
	d.Checks = append(d.Checks, Check{name, state, fmt.Sprintf(format, args...), hint})
}

// result adds ok with detail, or fail with the error.
func (d *Diagnosis) result(name string, err error, hint, detail string) {
	if err != nil {
		d.add(name, "fail", hint, "%v", err)
		return
	}
	d.add(name, "ok", "", "%s", detail)
}

// Diagnose checks every part, read-only.
func (s *Service) Diagnose(ctx context.Context) Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	var d Diagnosis
	source := s.Config.Source
	if source == "" {
		source = "defaults (no file)"
	}
	d.add("configuration", "ok", "", "%s", source)
	if s.Config.Policy.Mode != incident.ModeAct && len(s.Config.Policy.Rules) == 0 {
		d.add("policy", "warn", "set policy.mode or policy.rules once you have seen what would be done", "mode %s everywhere: nothing is contained by itself", s.Config.Policy.Mode)
	} else {
		d.add("policy", "ok", "", "default mode %s, %d rules", s.Config.Policy.Mode, len(s.Config.Policy.Rules))
	}
	d.result("database", s.DB.Ping(ctx), "is the database there, and may we connect?", s.databaseKind())
	d.result("sealing key", s.vault.Check(ctx), "check secrets.keeper and the rights of this machine on it", "seals and opens")
	s.diagnoseLedger(ctx, &d)
	d.add("playbooks", "ok", "", "%d providers, linted", len(s.Playbooks.All()))
	s.diagnoseGit(ctx, &d)
	s.diagnoseApp(ctx, &d)
	s.diagnoseAWS(ctx, &d)
	s.diagnoseGitHub(&d)
	d.Egress = s.egress()
	d.OK = !slices.ContainsFunc(d.Checks, func(c Check) bool { return c.State == "fail" })
	return d
}

func (s *Service) diagnoseLedger(ctx context.Context, d *Diagnosis) {
	err := s.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		v, err := ledger.VerifyDatabase(ctx, tx, s.Ledger.VerifierKey(), "")
		if err != nil {
			return err
		}
		if !v.OK {
			return errors.New("the ledger does not verify: " + v.Problems[0].Text)
		}
		d.add("ledger", "ok", "", "%d entries verified", v.Entries)
		return nil
	})
	if err != nil {
		d.add("ledger", "fail", "'stanch ledger verify' names the first bad entry", "%v", err)
	}
}

func (s *Service) diagnoseGit(ctx context.Context, d *Diagnosis) {
	v, err := gitVersion(ctx)
	d.result("git", err, "install git 2.36 or newer; it fetches what a push brought", v)
}

func (s *Service) diagnoseApp(ctx context.Context, d *Diagnosis) {
	if s.App == nil {
		d.add("github app", "warn", "set github.app_id, github.private_key and github.webhook_secret; 'scan' and 'respond' work without", "not configured")
		return
	}
	_, err := s.Config.ServeSecrets()
	d.result("webhook secret", err, "set github.webhook_secret to the secret on the App's settings page", "resolves")
	h, err := s.App.Check(ctx)
	if err != nil {
		d.add("github app", "fail", "check github.app_id, github.private_key and github.api_url; GitHub refuses a key of another App and a wrong clock", "%v", err)
		return
	}
	d.add("github app", "ok", "", "%s", h.Slug)
	for _, p := range h.MissingPermissions {
		state, hint := "fail", "grant it on the App's settings page and accept it in each organisation"
		if p.Optional {
			state = "warn"
		}
		d.add("permission "+p.Permission, state, hint, "%s is missing: cannot %s", p.Access, p.Reason)
	}
	for _, e := range h.MissingEvents {
		state := "fail"
		if e.Optional {
			state = "warn"
		}
		d.add("event "+e.Event, state, "subscribe to it on the App's settings page", "not subscribed: cannot %s", e.Reason)
	}
	for p, access := range h.Excess {
		d.add("permission "+p, "warn", "take it away on the App's settings page", "%s is granted and never used", access)
	}
	if h.ClockSkew > 30*time.Second || h.ClockSkew < -30*time.Second {
		d.add("clock", "fail", "synchronise this machine's clock (NTP); GitHub refuses tokens beyond a minute", "off by %s against GitHub", h.ClockSkew)
	} else {
		d.add("clock", "ok", "", "within %s of GitHub's", h.ClockSkew.Abs())
	}
}

func (s *Service) diagnoseAWS(ctx context.Context, d *Diagnosis) {
	accounts := s.aws.Accounts()
	if len(accounts) == 0 {
		d.add("aws", "warn", "enrol accounts under providers.aws.accounts", "no account is enrolled: keys are reported, never contained")
	}
	for _, id := range accounts {
		d.result("aws account "+id, s.aws.Check(ctx, id), "check the role's ARN, its trust policy and external id, and our own credentials", "our role answers")
	}
}

func (s *Service) diagnoseGitHub(d *Diagnosis) {
	p, ok := s.Config.Providers["github"]
	switch {
	case !ok || len(p.Owners) == 0 && !p.ActOnAnyOwner:
		d.add("github tokens", "warn", "list organisations and logins under providers.github.owners", "no owner is enrolled: tokens are reported, never revoked")
	case p.ActOnAnyOwner:
		d.add("github tokens", "ok", "", "any owner's token is revoked when policy says act")
	default:
		d.add("github tokens", "ok", "", "owners: %s", strings.Join(p.Owners, ", "))
	}
}

// egress lists the hosts that may be reached: GitHub, the playbooks' own, and
// what the operator allowed.
func (s *Service) egress() []string {
	out := []string{s.Config.GitHub.APIURL, s.Config.GitHub.WebURL}
	out = append(out, hosts(s.Playbooks)...)
	out = append(out, s.Config.Egress.Allow...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Ready asks a running service's readiness page.
func Ready(ctx context.Context, url string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New("not ready: HTTP " + res.Status)
	}
	return nil
}
