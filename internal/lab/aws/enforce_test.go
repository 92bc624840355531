package labaws

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func setStatus(t *testing.T, c clients, o *Organisation, status types.StatusType) {
	t.Helper()
	_, err := c.iam.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: &o.User, AccessKeyId: &o.Key.ID, Status: status})
	want(t, "set status", err, "")
}

func TestInactiveKeyIsRefusedAfterTheLag(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now, EnforcementLag: span(4 * time.Second)})
	ctx := t.Context()
	leaked, us := connect(t, s, o.Key, "us-east-1"), responder(t, s, o)
	setStatus(t, us, o, types.StatusTypeInactive)

	keys, err := us.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &o.User})
	if err != nil || keys.AccessKeyMetadata[0].Status != types.StatusTypeInactive {
		t.Errorf("the control plane does not show the change at once: %v", err)
	}
	clock.advance(4*time.Second - time.Millisecond)
	want(t, "within the lag", identify(ctx, leaked), "")
	before := len(s.Records(o.Account, "us-east-1"))
	clock.advance(time.Millisecond)
	want(t, "STS after the lag", identify(ctx, leaked), "InvalidClientTokenId")
	want(t, "IAM after the lag", listUsersCall(ctx, leaked), "InvalidClientTokenId")
	want(t, "S3 after the lag", listBucketsCall(ctx, leaked), "InvalidAccessKeyId")
	if len(s.Records(o.Account, "us-east-1")) != before {
		t.Error("a request of an Inactive key was logged")
	}
	setStatus(t, us, o, types.StatusTypeActive)
	want(t, "reactivation lags too", identify(ctx, leaked), "InvalidClientTokenId")
	clock.advance(4 * time.Second)
	want(t, "active again", identify(ctx, leaked), "")

	setStatus(t, us, o, types.StatusTypeInactive)
	setStatus(t, us, o, types.StatusTypeInactive)
	act, repeat := s.CountTransitions(o.Key.ID, "Active", "Inactive"), s.CountTransitions(o.Key.ID, "Inactive", "Inactive")
	if act != 2 || repeat != 1 {
		t.Errorf("transitions: %d to Inactive, %d repeats, want 2 and 1", act, repeat)
	}
}

func TestLagIsDrawnForEachChange(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now, Seed: 7, EnforcementLag: &Span{0, 4 * time.Second}})
	us := responder(t, s, o)
	setStatus(t, us, o, types.StatusTypeInactive)
	s.mu.Lock()
	w := s.keys[o.Key.ID].status.writes
	lag := w[len(w)-1].effective.Sub(clock.now())
	s.mu.Unlock()
	if lag < 0 || lag > 4*time.Second {
		t.Errorf("lag %v", lag)
	}
}

func TestCellKeepsTheOrderOfWrites(t *testing.T) {
	base := time.Unix(1000, 0)
	c := newCell("a")
	c.set("slow", base.Add(4*time.Second))
	c.set("quick", base.Add(time.Second))
	for _, test := range []struct {
		after time.Duration
		want  string
	}{{0, "a"}, {time.Second, "quick"}, {5 * time.Second, "quick"}} {
		got := c.enforced(base.Add(test.after))
		if got != test.want {
			t.Errorf("after %v: %q, want %q", test.after, got, test.want)
		}
	}
	if c.shown() != "quick" {
		t.Errorf("shown %q", c.shown())
	}
}

func denyBefore(at time.Time) *string {
	return aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"%s"}}}}`,
		at.UTC().Format(time.RFC3339)))
}

// Deactivating a key leaves its sessions alive; a TokenIssueTime deny ends them
// and leaves long-lived keys alone.
func TestDerivedSessionsDieByTokenIssueTimeAlone(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	leaked, us := connect(t, s, o.Key, "us-east-1"), responder(t, s, o)
	fed, err := leaked.sts.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("job"), Policy: aws.String(allowEverything)})
	want(t, "federate", err, "")
	get, err := leaked.sts.GetSessionToken(ctx, &sts.GetSessionTokenInput{})
	want(t, "session", err, "")
	federated := connect(t, s, fromCredentials(*fed.Credentials.AccessKeyId, *fed.Credentials.SecretAccessKey, *fed.Credentials.SessionToken), "us-east-1")
	plain := connect(t, s, fromCredentials(*get.Credentials.AccessKeyId, *get.Credentials.SecretAccessKey, *get.Credentials.SessionToken), "us-east-1")

	setStatus(t, us, o, types.StatusTypeInactive)
	clock.advance(2 * time.Second)
	want(t, "key", listBucketsCall(ctx, leaked), "InvalidAccessKeyId")
	want(t, "federated session lives on", listBucketsCall(ctx, federated), "")
	want(t, "GetSessionToken session lives on", listBucketsCall(ctx, plain), "")
	want(t, "a session has no IAM", listUsersCall(ctx, federated), "InvalidClientTokenId")
	want(t, "nor without MFA", listUsersCall(ctx, plain), "InvalidClientTokenId")

	_, err = us.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &o.User, PolicyName: aws.String("revoke"), PolicyDocument: denyBefore(clock.now())})
	want(t, "deny", err, "")
	want(t, "federated session is denied", listBucketsCall(ctx, federated), "AccessDenied")
	want(t, "GetSessionToken session is denied", listBucketsCall(ctx, plain), "AccessDenied")
	want(t, "identity still works", identify(ctx, federated), "")
	setStatus(t, us, o, types.StatusTypeActive)
	want(t, "the long-lived key is not touched by it", listBucketsCall(ctx, leaked), "")
}

func TestRoleSessionsAreJudgedByTheRole(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	leaked, us := connect(t, s, o.Key, "us-east-1"), responder(t, s, o)
	_, err := leaked.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("bridge"), AssumeRolePolicyDocument: aws.String(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + o.UserARN + `"},"Action":"sts:AssumeRole"}}`)})
	want(t, "create role", err, "")
	_, err = leaked.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: aws.String("bridge"), PolicyArn: aws.String(adminARN)})
	want(t, "attach", err, "")
	out, err := leaked.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + o.Account + ":role/bridge"), RoleSessionName: aws.String("x1")})
	want(t, "assume", err, "")
	bridge := connect(t, s, fromCredentials(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken), "us-east-1")
	_, err = us.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &o.User, PolicyName: aws.String("deny"),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)})
	want(t, "deny the user", err, "")
	clock.advance(2 * time.Second)
	want(t, "user", listUsersCall(ctx, leaked), "AccessDenied")
	want(t, "role session", listUsersCall(ctx, bridge), "")
	_, err = us.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String("bridge"), PolicyName: aws.String("AWSRevokeOlderSessions"), PolicyDocument: denyBefore(clock.now())})
	want(t, "revoke", err, "")
	want(t, "revoked role session", listUsersCall(ctx, bridge), "AccessDenied")
}

func TestAssumeRole(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	stanch, leaked := connect(t, s, o.Stanch, "us-east-1"), connect(t, s, o.Key, "us-east-1")
	in := func(id *string) *sts.AssumeRoleInput {
		return &sts.AssumeRoleInput{RoleArn: &o.RoleARN, RoleSessionName: aws.String("stanch"), ExternalId: id}
	}
	_, err := stanch.sts.AssumeRole(ctx, in(&o.ExternalID))
	want(t, "right external id", err, "")
	_, err = stanch.sts.AssumeRole(ctx, in(aws.String("guess")))
	want(t, "wrong external id", err, "AccessDenied")
	_, err = stanch.sts.AssumeRole(ctx, in(nil))
	want(t, "no external id", err, "AccessDenied")
	_, err = leaked.sts.AssumeRole(ctx, in(&o.ExternalID))
	want(t, "another user", err, "AccessDenied")
	long := in(&o.ExternalID)
	long.DurationSeconds = aws.Int32(7200)
	_, err = stanch.sts.AssumeRole(ctx, long)
	want(t, "longer than the role allows", err, "ValidationError")

	key := assume(t, s, o)
	c := connect(t, s, key, "us-east-1")
	who, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || !strings.HasSuffix(*who.Arn, ":assumed-role/StanchResponder/stanch") {
		t.Errorf("identity %v, %v", who, err)
	}
	clock.advance(time.Hour + time.Second)
	err = identify(ctx, c)
	if code(err) == "SignatureDoesNotMatch" {
		err = identify(ctx, c) // the client's clock has caught up
	}
	want(t, "after an hour", err, "ExpiredToken")
}

func TestBoundaryAndDenyAll(t *testing.T) {
	s, o := start(t, Options{})
	ctx := t.Context()
	leaked, us := connect(t, s, o.Key, "us-east-1"), responder(t, s, o)
	user := &o.User
	_, err := us.iam.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: user, PermissionsBoundary: aws.String(denyAllARN)})
	want(t, "put boundary", err, "")
	want(t, "under the boundary", listUsersCall(ctx, leaked), "AccessDenied")
	_, err = leaked.iam.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: user})
	want(t, "attacker removes it", err, "AccessDenied")
	got, err := us.iam.GetUser(ctx, &iam.GetUserInput{UserName: user})
	if err != nil || got.User.PermissionsBoundary == nil || *got.User.PermissionsBoundary.PermissionsBoundaryArn != denyAllARN {
		t.Errorf("GetUser does not show the boundary: %v", err)
	}
	_, err = us.iam.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: user})
	want(t, "delete boundary", err, "")
	want(t, "without it", listUsersCall(ctx, leaked), "")
	_, err = us.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: user, PolicyArn: aws.String(denyAllARN)})
	want(t, "attach deny", err, "")
	want(t, "under AWSDenyAll", listUsersCall(ctx, leaked), "AccessDenied")
	want(t, "identity works under an explicit deny", identify(ctx, leaked), "")
	_, err = us.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: user, PolicyArn: aws.String(denyAllARN)})
	want(t, "detach", err, "")
	_, err = us.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: user, PolicyArn: aws.String(adminARN)})
	want(t, "our own role cannot grant", err, "AccessDenied")
	err = s.SetControlPolicy(o.Account, "leak-quarantine", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/leak-quarantine":"true"}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "not tagged", listUsersCall(ctx, leaked), "")
	_, err = us.iam.TagUser(ctx, &iam.TagUserInput{UserName: user, Tags: []types.Tag{{Key: aws.String("leak-quarantine"), Value: aws.String("true")}}})
	want(t, "tag", err, "")
	want(t, "tagged", listUsersCall(ctx, leaked), "AccessDenied")
	want(t, "we are not", listUsersCall(ctx, us), "")
}

func TestQuotas(t *testing.T) {
	s, o := start(t, Options{})
	ctx := t.Context()
	us := responder(t, s, o)
	one, err := us.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &o.User})
	want(t, "second key", err, "")
	setStatus(t, us, o, types.StatusTypeInactive)
	_, err = us.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &o.User})
	want(t, "third key, one being Inactive", err, "LimitExceeded")
	_, err = us.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &o.User, AccessKeyId: one.AccessKey.AccessKeyId})
	want(t, "delete", err, "")
	_, err = us.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &o.User, AccessKeyId: one.AccessKey.AccessKeyId})
	want(t, "delete again", err, "NoSuchEntity")

	put := func(name, doc string) error {
		_, err := us.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("alice"), PolicyName: &name, PolicyDocument: &doc})
		return err
	}
	deny := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
	n := 0
	for ; n < 40; n++ {
		err = put(fmt.Sprintf("deny-%d", n), deny)
		if err != nil {
			break
		}
	}
	want(t, "inline quota", err, "LimitExceeded")
	if n != userInlineQuota/len(deny) {
		t.Errorf("%d denies of %d characters fit into %d", n, len(deny), userInlineQuota)
	}
	want(t, "white space does not count, replacing does not add", put("deny-0", strings.ReplaceAll(deny, ",", ",          ")), "")
	want(t, "malformed", put("bad", `{"Version":"2012-10-17","Statement":{"Effect":"Maybe","Action":"*","Resource":"*"}}`), "MalformedPolicyDocument")
}

func TestKeyLookups(t *testing.T) {
	s, o := start(t, Options{Accounts: []string{DefaultAccount, "444455556666"}})
	ctx := t.Context()
	us, leaked := responder(t, s, o), connect(t, s, o.Key, "eu-west-1")
	last := func(id string) (*iam.GetAccessKeyLastUsedOutput, error) {
		return us.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &id})
	}
	out, err := last(o.Key.ID)
	if err != nil || *out.UserName != o.User || *out.AccessKeyLastUsed.ServiceName != "N/A" || out.AccessKeyLastUsed.LastUsedDate != nil {
		t.Errorf("never used: %+v, %v", out, err)
	}
	want(t, "use", identify(ctx, leaked), "")
	out, err = last(o.Key.ID)
	if err != nil || *out.AccessKeyLastUsed.ServiceName != "sts" || *out.AccessKeyLastUsed.Region != "eu-west-1" {
		t.Errorf("used: %+v, %v", out, err)
	}
	_, err = last("AKIAXYZDQCEN4B6JSJQI")
	want(t, "unknown id", err, "AccessDenied")
	second, err := s.SeedAccount("444455556666")
	if err != nil {
		t.Fatal(err)
	}
	_, err = last(second.Key.ID)
	want(t, "id of another account", err, "AccessDenied")
	info, err := connect(t, s, o.Key, "us-east-1").sts.GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &second.Key.ID})
	if err != nil || *info.Account != second.Account {
		t.Errorf("GetAccessKeyInfo: %v, %v", info, err)
	}
	across, err := connect(t, s, o.Stanch, "us-east-1").sts.AssumeRole(ctx, &sts.AssumeRoleInput{
		RoleArn: &second.RoleARN, RoleSessionName: aws.String("stanch"), ExternalId: &second.ExternalID})
	want(t, "role in another account", err, "")
	if across != nil && len(s.Records(second.Account, "us-east-1")) != 1 {
		t.Error("the other account does not see the AssumeRole")
	}
	root, err := s.AddRootKey(o.Account)
	if err != nil {
		t.Fatal(err)
	}
	who, err := connect(t, s, root, "us-east-1").sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil || !strings.HasSuffix(*who.Arn, ":root") {
		t.Errorf("root: %v, %v", who, err)
	}
}
