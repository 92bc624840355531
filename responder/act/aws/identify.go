package aws

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// What a principal is, in the fact "principal".
const (
	principalUser      = "user"
	principalRoot      = "root"
	principalRole      = "assumed-role"
	principalFederated = "federated-user"
)

// tries is how often a question is put when no usable answer comes.
const tries = 3

// Identify asks sts:GetCallerIdentity with the leaked pair; where the secret did
// not leak, or is not the right one, it asks IAM for the key's status with our
// own role, if the account is enrolled. Nothing is cached: a proof repeats it.
func (d *Driver) Identify(ctx context.Context, _ playbooks.Credential, s act.Subject) verdict.Verdict {
	v := verdict.Verdict{At: d.now().UTC()}
	keyID := keyIDOf(s)
	var rec *recorder
	ctx, rec = d.record(ctx, incident.Request{With: "leaked"}, s)
	switch classOf(keyID) {
	case classLongTerm:
		v = d.identifyKey(ctx, keyID, s, v)
	case classSession:
		v = d.identifySession(ctx, keyID, s, v)
	default:
		v.Reason = "the id is no access key id of AWS (AKIA or ASIA and 16 characters)"
	}
	v.Reason = scrubText(v.Reason, s.Parts)
	v.Requests = rec.requests()
	return v
}

func (d *Driver) identifySession(ctx context.Context, keyID string, s act.Subject, v verdict.Verdict) verdict.Verdict {
	secrets := candidates(s)
	token := s.Parts[scanner.PartSessionToken]
	if len(secrets) == 0 || token.IsZero() {
		v.Account, _ = AccountID(keyID)
		v.Reason = "a session credential can only be judged with its secret and its session token"
		return v
	}
	return d.ask(ctx, keyID, secrets, token, s, v)
}

func (d *Driver) identifyKey(ctx context.Context, keyID string, s act.Subject, v verdict.Verdict) verdict.Verdict {
	v.Account = accountOf(s, keyID)
	secrets := candidates(s)
	if len(secrets) > 0 {
		v = d.ask(ctx, keyID, secrets, secret.Value{}, s, v)
		if v.Outcome != verdict.Unknown {
			return v
		}
	}
	a := d.accounts[v.Account]
	if a == nil {
		if len(secrets) == 0 {
			v.Reason = "only the id leaked, and account " + cmp.Or(v.Account, "(not written in the id)") + " is not enrolled"
		}
		return v
	}
	return d.lookUp(ctx, a, keyID, v)
}

// candidates lists the secret access keys that may belong to the id, likeliest first.
func candidates(s act.Subject) []secret.Value {
	var out []secret.Value
	if v := s.Parts[scanner.PartSecretAccessKey]; !v.IsZero() {
		out = append(out, v)
	}
	for n := 2; n < 10; n++ {
		v := s.Parts[act.CandidatePart(scanner.PartSecretAccessKey, n)]
		if v.IsZero() {
			break
		}
		if !slices.ContainsFunc(out, v.Equal) {
			out = append(out, v)
		}
	}
	return out
}

// ask tries the candidates one after the other. STS may answer for the secret
// before when two questions about one id come close together, so that a
// SignatureDoesNotMatch is asked once more.
func (d *Driver) ask(ctx context.Context, keyID string, secrets []secret.Value, token secret.Value, s act.Subject, v verdict.Verdict) verdict.Verdict {
	last := v
	for i, key := range secrets {
		for again := range 2 {
			last = d.askPartitions(ctx, keyID, key, token, v)
			if last.Outcome == verdict.Live && i > 0 {
				last.Facts["secret_candidate"] = fmt.Sprint(i + 1)
			}
			if last.Outcome != verdict.Unknown || last.Facts["answer"] != "SignatureDoesNotMatch" || again == 1 {
				break
			}
		}
		if last.Outcome != verdict.Unknown || last.Facts["answer"] != "SignatureDoesNotMatch" {
			break
		}
	}
	if last.Facts["answer"] == "SignatureDoesNotMatch" {
		last.Reason = "the id exists and is active, but no secret that leaked beside it is the right one"
	}
	delete(last.Facts, "answer")
	return last
}

// askPartitions asks in partition aws, and after "unknown id" in the others that are enrolled.
func (d *Driver) askPartitions(ctx context.Context, keyID string, key, token secret.Value, v verdict.Verdict) verdict.Verdict {
	var out verdict.Verdict
	for i, partition := range d.partitions {
		got := d.askOne(ctx, partition, keyID, key, token, v)
		if i == 0 || got.Outcome != verdict.Dead {
			out = got
		}
		if got.Outcome != verdict.Dead {
			break
		}
	}
	return out
}

func (d *Driver) askOne(ctx context.Context, partition, keyID string, key, token secret.Value, v verdict.Verdict) verdict.Verdict {
	region := d.region
	if partition != "aws" {
		region = partitionRegion[partition]
	}
	cfg := d.config(region, sealed{id: keyID, key: key, token: token, source: "leaked"}, awssdk.NopRetryer{})
	cfg.HTTPClient = freshConnections{cfg.HTTPClient}
	client := sts.NewFromConfig(cfg)
	var err error
	for try := range tries {
		var out *sts.GetCallerIdentityOutput
		out, err = client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err == nil {
			return live(v, keyID, out)
		}
		if !isPassing(err) || try == tries-1 || !sleep(ctx, jitter(time.Duration(try+1)*150*time.Millisecond)) {
			break
		}
	}
	return refused(v, err)
}

// live reads the positive answer. One without an identity proves nothing: a
// portal between us and AWS may answer anything with 200.
func live(v verdict.Verdict, keyID string, out *sts.GetCallerIdentityOutput) verdict.Verdict {
	arn, id, account := awssdk.ToString(out.Arn), awssdk.ToString(out.UserId), awssdk.ToString(out.Account)
	p, ok := parseARN(arn)
	if !ok || id == "" || account != p.account || len(account) != 12 || !isDigits(account) {
		v.Outcome, v.RetryAfter = verdict.Error, 2*time.Second
		v.Reason = "the answer holds no identity, so it is not from AWS's STS"
		return v
	}
	v.Outcome, v.Identity, v.Account = verdict.Live, arn, account
	v.Reason = "pair proven: AWS says that it is " + arn
	v.Facts = map[string]string{"arn": arn, "user_id": id, "account": account, "principal": p.kind, "partition": p.partition, "proof": "pair"}
	if p.kind == principalUser {
		v.Facts["user_name"], v.Facts["path"] = p.name, p.path
	}
	if p.kind == principalRole {
		v.Facts["role_name"], v.Facts["session_name"] = p.name, p.session
	}
	if p.kind == principalRoot {
		v.Reason += ", the root of the account"
	}
	if offline, ok := AccountID(keyID); ok && offline != account {
		v.Facts["account_in_id"] = offline
	}
	return v
}

// refused maps the documented refusals; everything else proves nothing.
func refused(v verdict.Verdict, err error) verdict.Verdict {
	code, status := codeOf(err), statusOf(err)
	switch {
	case code == "InvalidClientTokenId" && status == 403:
		v.Outcome = verdict.Dead
		v.Reason = "AWS does not accept the id: it is unknown, deleted or inactive (InvalidClientTokenId)"
	case (code == "ExpiredToken" || code == "ExpiredTokenException") && (status == 403 || status == 400):
		v.Outcome = verdict.Dead
		v.Reason = "the session has expired (" + code + ")"
	case code == "SignatureDoesNotMatch" && status == 403:
		if isClockError(err) {
			v.Outcome, v.RetryAfter = verdict.Error, 10*time.Second
			v.Reason = "AWS refuses the time of our request: check this machine's clock"
			return v
		}
		v.Facts = map[string]string{"answer": code}
		v.Reason = "the id exists and is active, but the secret is not the right one (SignatureDoesNotMatch)"
	case (code == "AccessDenied" || code == "AccessDeniedException") && status == 403:
		v.Reason = "AWS refused even the question who this is (" + code + "), which proves neither life nor death"
	default:
		v.Outcome = verdict.Error
		v.RetryAfter = retryAfter(err)
		v.Reason = "no usable answer from STS: " + reasonOf(err)
	}
	return v
}

func isClockError(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	m := api.ErrorMessage()
	return strings.Contains(m, "Signature expired") || strings.Contains(m, "Signature not yet current")
}

// lookUp judges a key by its id alone, with our role.
func (d *Driver) lookUp(ctx context.Context, a *account, keyID string, v verdict.Verdict) verdict.Verdict {
	rec, _ := ctx.Value(recorderKey{}).(*recorder)
	rec.mu.Lock()
	rec.with = "admin"
	rec.mu.Unlock()
	fail := func(doing string, err error) verdict.Verdict {
		if isPassing(err) {
			v.Outcome, v.RetryAfter = verdict.Error, retryAfter(err)
			v.Reason = "no usable answer from IAM: " + reasonOf(err)
			return v
		}
		v.Reason = "our role may not ask for the key's status: " + doing + ": " + reasonOf(err)
		return v
	}
	found, err := a.find(ctx, keyID)
	if errors.Is(err, errNoKey) {
		v.Outcome = verdict.Dead
		v.Reason = "the account has no access key with this id"
		return v
	}
	if err != nil {
		return fail("iam:GetAccessKeyLastUsed", err)
	}
	key, err := a.key(ctx, found.user, keyID)
	if errors.Is(err, errNoKey) {
		v.Outcome = verdict.Dead
		v.Reason = "the key was deleted from user " + found.user
		return v
	}
	if err != nil {
		return fail("iam:ListAccessKeys", err)
	}
	facts := map[string]string{"account": a.ID, "user_name": found.user, "key_status": string(key.Status), "principal": principalUser, "partition": a.Partition, "proof": "id"}
	if found.lastUsed != "" {
		facts["last_used"] = found.lastUsed
	}
	if key.Status != "Active" {
		v.Outcome = verdict.Dead
		v.Reason = "the key of user " + found.user + " is inactive"
		return v
	}
	v.Outcome, v.Facts, v.Account = verdict.Live, facts, a.ID
	v.Identity = "user " + found.user + " in account " + a.ID
	v.Reason = "id proven: the key is active and belongs to user " + found.user + "; whether the secret that leaked is its secret was not proved"
	return v
}

type principal struct{ partition, account, kind, name, path, session string }

// parseARN reads the ARN that STS gives for a caller.
func parseARN(arn string) (principal, bool) {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || len(arn) > 2048 || strings.ContainsFunc(arn, func(r rune) bool { return r < '!' || r > '~' }) {
		return principal{}, false
	}
	p := principal{partition: f[1], account: f[4]}
	kind, rest, _ := strings.Cut(f[5], "/")
	switch {
	case f[2] == "iam" && f[5] == "root":
		p.kind = principalRoot
	case f[2] == "iam" && kind == "user" && rest != "":
		p.kind = principalUser
		cut := strings.LastIndex(rest, "/") + 1
		p.path, p.name = "/"+rest[:cut], rest[cut:]
	case f[2] == "sts" && kind == "assumed-role":
		p.kind = principalRole
		p.name, p.session, _ = strings.Cut(rest, "/")
	case f[2] == "sts" && kind == "federated-user":
		p.kind, p.name = principalFederated, rest
	default:
		return principal{}, false
	}
	return p, true
}
