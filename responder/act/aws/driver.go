// Package aws performs the AWS verbs of playbooks: it says whether a leaked
// access key is alive, deactivates it, cuts the sessions that it made, denies
// what its user may do, and holds all of it against someone who undoes it.
//
// # What this package promises
//
// Acts are made with our own role in an enrolled account, never with the leaked
// key. The leaked key is used for sts:GetCallerIdentity alone, over clients that
// know no other credential. Every act is bound to the key id that leaked, is
// reversible, and carries its undo. An act that may have been made before is
// checked, or is one that IAM takes twice without harm. Every request is
// reported with the provider's request id, so that a trail can leave it out.
//
// # What it never does
//
// It deletes no key and no user. It acts in no account that is not enrolled. It
// puts no secret into an error, a request record or a log line: of a provider's
// error it keeps the code, never the text, since AWS's texts can quote what was
// signed.
package aws

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
)

// The verbs that playbooks may name.
const (
	VerbIdentify      = "aws.get_caller_identity"
	VerbDeactivate    = "aws.deactivate_key"
	VerbReactivate    = "aws.reactivate_key"
	VerbDenySessions  = "aws.deny_sessions"
	VerbAllowSessions = "aws.allow_sessions"
	VerbDenyAll       = "aws.deny_all"
	VerbRemoveDeny    = "aws.remove_deny"
)

// Verbs lists every verb of this driver, for the linter of playbooks.
func Verbs() []string {
	return []string{VerbIdentify, VerbDeactivate, VerbReactivate, VerbDenySessions, VerbAllowSessions, VerbDenyAll, VerbRemoveDeny}
}

// AppID is what our clients add to their user agent ("app/stanch").
const AppID = "stanch"

// Account is an AWS account that we may act in.
type Account struct {
	ID         string
	Name       string
	Partition  string // "" means aws
	RoleARN    string // our role there; "" means that our bootstrap credentials act directly
	ExternalID secret.Value
	Regions    []string // Regions of the trail; empty asks account:ListRegions
	Owner      string
}

// Options configure a Driver. The zero value works for a deployment that only
// identifies: no account is enrolled, so every act is refused.
type Options struct {
	// EndpointURL replaces the endpoint of every service.
	EndpointURL string
	// Region is where STS is called. Defaults to us-east-1. IAM is global: its
	// requests are signed for the partition's own Region.
	Region   string
	Accounts []Account
	// Credentials are ours, used to assume the accounts' roles. Nil means the
	// SDK's default chain (environment, shared files, instance metadata).
	Credentials awssdk.CredentialsProvider
	// HTTPClient sends every request but those of the default chain. Nil means http.DefaultClient.
	HTTPClient awssdk.HTTPClient
	// ContainNewPrincipals lets Hold deactivate keys of users that were created
	// after the exposure. Otherwise they are reported.
	ContainNewPrincipals bool
	// Clock defaults to time.Now.
	Clock  func() time.Time
	Logger *slog.Logger
}

// Driver implements act.Driver and act.Holder. It is safe for concurrent use.
type Driver struct {
	endpoint     string
	region       string
	http         awssdk.HTTPClient
	accounts     map[string]*account
	partitions   []string // enrolled ones, aws first
	containExtra bool
	now          func() time.Time
	log          *slog.Logger
	settle       time.Duration // how long IAM takes to enforce a change
}

var (
	_ act.Driver = (*Driver)(nil)
	_ act.Holder = (*Driver)(nil)
)

// enforcementLag is how long IAM was measured to take until a change is
// enforced everywhere (3 to 4 s), rounded up.
const enforcementLag = 5 * time.Second

// StaticCredentials provides our bootstrap credentials from sealed values.
// token may be empty.
func StaticCredentials(keyID string, secretKey, token secret.Value) awssdk.CredentialsProvider {
	return sealed{id: keyID, key: secretKey, token: token, source: "stanch configuration"}
}

// New makes a Driver. It makes no request.
func New(o Options) (*Driver, error) {
	d := &Driver{
		endpoint: o.EndpointURL, region: o.Region, http: o.HTTPClient, accounts: map[string]*account{},
		containExtra: o.ContainNewPrincipals, now: o.Clock, log: o.Logger, settle: enforcementLag,
	}
	if d.region == "" {
		d.region = "us-east-1"
	}
	if d.http == nil {
		d.http = http.DefaultClient
	}
	d.http = plainBodies{d.http}
	if d.now == nil {
		d.now = time.Now
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	bootstrap := o.Credentials
	if bootstrap == nil && len(o.Accounts) > 0 {
		cfg, err := config.LoadDefaultConfig(context.Background(), config.WithRegion(d.region))
		if err != nil {
			return nil, fmt.Errorf("load our own AWS credentials: %w", err)
		}
		bootstrap = cfg.Credentials
	}
	d.partitions = []string{"aws"}
	for _, a := range o.Accounts {
		if len(a.ID) != 12 || !isDigits(a.ID) {
			return nil, fmt.Errorf("enroll AWS account %q: an account id has 12 digits", a.ID)
		}
		if d.accounts[a.ID] != nil {
			return nil, fmt.Errorf("enroll AWS account %s: it is listed twice", a.ID)
		}
		if a.Partition == "" {
			a.Partition = "aws"
		}
		if partitionRegion[a.Partition] == "" {
			return nil, fmt.Errorf("enroll AWS account %s: partition %q is unknown", a.ID, a.Partition)
		}
		if !slices.Contains(d.partitions, a.Partition) {
			d.partitions = append(d.partitions, a.Partition)
		}
		d.accounts[a.ID] = d.newAccount(a, bootstrap)
	}
	return d, nil
}

func isDigits(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// Enrolled reports whether an account may be acted in.
func (d *Driver) Enrolled(accountID string) bool { return d.accounts[accountID] != nil }

// Accounts lists the ids of enrolled accounts, sorted.
func (d *Driver) Accounts() []string {
	out := make([]string, 0, len(d.accounts))
	for id := range d.accounts {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Principals are the ARNs of our roles, for telling our own events in a trail.
func (d *Driver) Principals() []string {
	var out []string
	for _, id := range d.Accounts() {
		if arn := d.accounts[id].RoleARN; arn != "" {
			out = append(out, arn)
		}
	}
	return out
}

// AccountRegions are the configured Regions of an account's trail; nil asks AWS.
func (d *Driver) AccountRegions(accountID string) []string {
	a := d.accounts[accountID]
	if a == nil {
		return nil
	}
	return slices.Clone(a.Regions)
}

// Config gives a configuration that acts as our role in an enrolled account,
// in a Region. Its clients make one attempt a call; the caller repeats.
func (d *Driver) Config(accountID, region string) (awssdk.Config, error) {
	a := d.accounts[accountID]
	if a == nil {
		return awssdk.Config{}, notEnrolled(accountID)
	}
	return d.config(region, a.credentials, awssdk.NopRetryer{}), nil
}

// Warm assumes our role in every enrolled account, so that the first act of an
// incident needs no call to STS. It returns what failed, by account.
func (d *Driver) Warm(ctx context.Context) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	slots := make(chan struct{}, 8)
	for _, id := range d.Accounts() {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			err := d.Check(ctx, id)
			if err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Check assumes our role in one enrolled account, if its session is not fresh, or
// where there is no role makes sure that our own credentials are of that account.
func (d *Driver) Check(ctx context.Context, accountID string) error {
	a := d.accounts[accountID]
	if a == nil {
		return notEnrolled(accountID)
	}
	_, err := a.credentials.Retrieve(ctx)
	if err != nil && a.RoleARN == "" {
		return fmt.Errorf("use our own credentials in account %s: %s", accountID, reasonOf(err))
	}
	if err != nil {
		return fmt.Errorf("assume role %s in account %s: %s", a.RoleARN, accountID, reasonOf(err))
	}
	return nil
}

// KeepWarm renews our sessions before they expire until ctx ends.
func (d *Driver) KeepWarm(ctx context.Context) {
	for {
		err := d.Warm(ctx)
		if err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "our AWS role cannot be assumed", "error", err.Error())
		}
		if !sleep(ctx, 5*time.Minute) {
			return
		}
	}
}

func notEnrolled(accountID string) error {
	if accountID == "" {
		return fmt.Errorf("the account of the key is not known: %w", act.ErrPerson)
	}
	return fmt.Errorf("account %s is not enrolled: %w", accountID, act.ErrPerson)
}

// target is where and what an act is aimed at.
type target struct {
	*account
	keyID string
	user  string
	s     act.Subject
}

// aim finds the enrolled account and checks that the subject is something that
// these acts are made for.
func (d *Driver) aim(s act.Subject) (target, error) {
	keyID := keyIDOf(s)
	if keyID == "" {
		return target{}, fmt.Errorf("there is no access key id to act on: %w", act.ErrPerson)
	}
	if s.Facts["principal"] == principalRoot {
		return target{}, fmt.Errorf("it is a root key: no other principal can deactivate it; delete it as root, or through centralized root access: %w", act.ErrPerson)
	}
	if classOf(keyID) != classLongTerm {
		return target{}, fmt.Errorf("it is a session credential of %s; its role has to be cut off by hand: %w", cmpOr(s.Facts["arn"], "an unknown principal"), act.ErrPerson)
	}
	id := accountOf(s, keyID)
	a := d.accounts[id]
	if a == nil {
		return target{}, notEnrolled(id)
	}
	return target{account: a, keyID: keyID, s: s}, nil
}

// accountOf is the account as the provider told it, else as the key id tells
// it, else as the incident has it.
func accountOf(s act.Subject, keyID string) string {
	if id := s.Facts["account"]; id != "" {
		return id
	}
	if id, ok := AccountID(keyID); ok {
		return id
	}
	return s.Account
}

// Act performs one containing action of a playbook.
func (d *Driver) Act(ctx context.Context, a playbooks.Action, s act.Subject, repeat bool) (act.Effect, error) {
	t, err := d.aim(s)
	if err != nil {
		return act.Effect{}, err
	}
	ctx, rec := d.record(ctx, incident.Request{With: "admin"}, s)
	var e act.Effect
	switch a.Uses {
	case VerbDeactivate:
		e, err = d.deactivate(ctx, t, repeat)
	case VerbDenySessions:
		e, err = d.denySessions(ctx, t)
	case VerbDenyAll:
		e, err = d.denyAll(ctx, t, repeat)
	default:
		err = fmt.Errorf("the AWS driver knows no act %q: %w", a.Uses, act.ErrPerson)
	}
	e.Requests = rec.requests()
	return e, err
}

// Undo takes back what Act, or Hold, did.
func (d *Driver) Undo(ctx context.Context, a playbooks.Action, s act.Subject, undo map[string]string) (act.Effect, error) {
	t, err := d.aim(s)
	if err != nil {
		return act.Effect{}, err
	}
	t.user = undo["user_name"]
	if t.user == "" {
		return act.Effect{}, fmt.Errorf("the record of the act names no user: %w", act.ErrPerson)
	}
	ctx, rec := d.record(ctx, incident.Request{With: "admin"}, s)
	verb := a.Undo
	if undo["verb"] != "" {
		verb = undo["verb"]
	}
	var e act.Effect
	switch verb {
	case VerbReactivate:
		e, err = d.reactivate(ctx, t, undo)
	case VerbRemoveDeny, VerbAllowSessions:
		e, err = d.removeDeny(ctx, t, undo)
	default:
		err = fmt.Errorf("the AWS driver knows no undo %q: %w", verb, act.ErrPerson)
	}
	e.Requests = rec.requests()
	return e, err
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter spreads d by a fifth to both sides.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(rand.Int64N(int64(d)*2/5+1))
}

func cmpOr(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
