package labaws

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	accountapi "github.com/aws/aws-sdk-go-v2/service/account"
	accounttypes "github.com/aws/aws-sdk-go-v2/service/account/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Every read that a responder takes a snapshot with is understood by the real client.
func TestSnapshotReads(t *testing.T) {
	s, o := start(t, Options{})
	ctx := t.Context()
	c := responder(t, s, o).iam
	user := &o.User
	inline, err := c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: user})
	if err != nil || !slices.Equal(inline.PolicyNames, []string{"deploy"}) {
		t.Errorf("ListUserPolicies: %v, %v", inline, err)
	}
	doc, err := c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: user, PolicyName: aws.String("deploy")})
	want(t, "GetUserPolicy", err, "")
	text, err := url.QueryUnescape(*doc.PolicyDocument)
	if err != nil || text[0] != '{' {
		t.Errorf("policy document %q, %v", text, err)
	}
	groups, err := c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: user})
	if err != nil || len(groups.Groups) != 1 || *groups.Groups[0].GroupName != "developers" {
		t.Errorf("ListGroupsForUser: %v, %v", groups, err)
	}
	attached, err := c.ListAttachedGroupPolicies(ctx, &iam.ListAttachedGroupPoliciesInput{GroupName: aws.String("developers")})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != readOnlyARN {
		t.Errorf("ListAttachedGroupPolicies: %v, %v", attached, err)
	}
	group, err := c.ListGroupPolicies(ctx, &iam.ListGroupPoliciesInput{GroupName: aws.String("developers")})
	if err != nil || len(group.PolicyNames) != 0 {
		t.Errorf("ListGroupPolicies: %v, %v", group, err)
	}
	p, err := c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(quarantineARN)})
	if err != nil || *p.Policy.DefaultVersionId != "v1" {
		t.Errorf("GetPolicy: %v, %v", p, err)
	}
	v, err := c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: aws.String(quarantineARN), VersionId: aws.String("v1")})
	if err != nil || v.PolicyVersion.Document == nil {
		t.Errorf("GetPolicyVersion: %v, %v", v, err)
	}
	_, err = c.GetLoginProfile(ctx, &iam.GetLoginProfileInput{UserName: user})
	want(t, "GetLoginProfile", err, "NoSuchEntity")
	_, err = c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: user})
	want(t, "ListMFADevices", err, "")
	_, err = c.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: user})
	want(t, "ListServiceSpecificCredentials", err, "")
	_, err = c.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: user})
	want(t, "ListSSHPublicKeys", err, "")
	_, err = c.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: user})
	want(t, "ListSigningCertificates", err, "")
	_, err = c.TagUser(ctx, &iam.TagUserInput{UserName: user, Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("team & co <x>")}}})
	want(t, "TagUser", err, "")
	tags, err := c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: user})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "team & co <x>" {
		t.Errorf("ListUserTags: %v, %v", tags, err)
	}
	_, err = c.UntagUser(ctx, &iam.UntagUserInput{UserName: user, TagKeys: []string{"owner"}})
	want(t, "UntagUser", err, "")
	role, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: aws.String(SeedRole)})
	if err != nil || role.Role.RoleLastUsed == nil || role.Role.AssumeRolePolicyDocument == nil {
		t.Errorf("GetRole: %v, %v", role, err)
	}
	rp, err := c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: aws.String(SeedRole)})
	if err != nil || len(rp.PolicyNames) != 1 {
		t.Errorf("ListRolePolicies: %v, %v", rp, err)
	}
	_, err = c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: aws.String(SeedRole), PolicyName: aws.String("responder")})
	want(t, "GetRolePolicy", err, "")
	roles, err := c.ListRoles(ctx, &iam.ListRolesInput{})
	if err != nil || len(roles.Roles) != 1 {
		t.Errorf("ListRoles: %v, %v", roles, err)
	}
	self, err := connect(t, s, o.Key, "us-east-1").iam.GetUser(ctx, &iam.GetUserInput{})
	if err != nil || *self.User.UserName != o.User || *self.User.Arn != o.UserARN {
		t.Errorf("GetUser of the caller: %v, %v", self, err)
	}
}

func TestUsersComeAndGo(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now, EnforcementLag: span(time.Second)})
	ctx := t.Context()
	c := connect(t, s, o.Key, "us-east-1").iam
	name := aws.String("mallory")
	_, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: name})
	want(t, "create", err, "")
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("MALLORY")})
	want(t, "names do not differ by case", err, "EntityAlreadyExists")
	_, err = c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String(adminARN)})
	want(t, "attach", err, "")
	key, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	want(t, "key", err, "")
	_, err = c.CreateLoginProfile(ctx, &iam.CreateLoginProfileInput{UserName: name, Password: aws.String("correct horse battery")})
	want(t, "login", err, "")
	made := connect(t, s, fromCredentials(*key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey, ""), "us-east-1")
	want(t, "a new key lags too", identify(ctx, made), "InvalidClientTokenId")
	clock.advance(time.Second)
	want(t, "new key", listUsersCall(ctx, made), "")
	_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name})
	want(t, "delete with keys", err, "DeleteConflict")
	_, err = c.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: name})
	want(t, "delete login", err, "")
	_, err = c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: aws.String(adminARN)})
	want(t, "detach", err, "")
	_, err = c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: key.AccessKey.AccessKeyId})
	want(t, "delete key", err, "")
	_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name})
	want(t, "delete", err, "")
	want(t, "within the lag", listUsersCall(ctx, made), "")
	clock.advance(time.Second)
	want(t, "after it", listUsersCall(ctx, made), "InvalidClientTokenId")
	for _, raw := range s.Records(o.Account, "us-east-1") {
		if slices.Contains(splitWords(string(raw)), "correct horse battery") {
			t.Error("password in the trail")
		}
	}
}

func splitWords(s string) []string {
	var out []string
	start := 0
	for i := range len(s) {
		if s[i] == '"' {
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return out
}

func TestAuthorizationDetailsArePaged(t *testing.T) {
	s, o := start(t, Options{})
	ctx := t.Context()
	c := responder(t, s, o).iam
	users, roles, groups, policies, pages := 0, 0, 0, 0, 0
	in := &iam.GetAccountAuthorizationDetailsInput{MaxItems: aws.Int32(2)}
	for {
		out, err := c.GetAccountAuthorizationDetails(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		users += len(out.UserDetailList)
		roles += len(out.RoleDetailList)
		groups += len(out.GroupDetailList)
		policies += len(out.Policies)
		for _, u := range out.UserDetailList {
			if *u.UserName == o.User && (len(u.UserPolicyList) != 1 || len(u.GroupList) != 1) {
				t.Errorf("detail of %s: %+v", o.User, u)
			}
		}
		if !out.IsTruncated {
			break
		}
		in.Marker = out.Marker
	}
	if users != 3 || roles != 1 || groups != 1 || policies != 1 || pages != 3 {
		t.Errorf("%d users, %d roles, %d groups, %d policies on %d pages", users, roles, groups, policies, pages)
	}
	only, err := c.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []types.EntityType{types.EntityTypeRole}})
	if err != nil || len(only.RoleDetailList) != 1 || len(only.UserDetailList) != 0 {
		t.Errorf("filter: %v, %v", only, err)
	}
	_, err = c.ListUsers(ctx, &iam.ListUsersInput{Marker: in.Marker})
	want(t, "marker of another operation", err, "ValidationError")
}

func TestListRegions(t *testing.T) {
	s, o := start(t, Options{})
	c := responder(t, s, o).account
	var got []string
	pages := accountapi.NewListRegionsPaginator(c, &accountapi.ListRegionsInput{RegionOptStatusContains: []accounttypes.RegionOptStatus{
		accounttypes.RegionOptStatusEnabled, accounttypes.RegionOptStatusEnabledByDefault}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Regions {
			got = append(got, *r.RegionName)
		}
	}
	all := s.Regions()
	slices.Sort(all)
	if len(got) != 33 || !slices.Equal(got, all) {
		t.Errorf("%d Regions: %v", len(got), got)
	}
	few, org := start(t, Options{Regions: []string{"eu-central-1"}})
	want(t, "Region that is not enabled", identify(t.Context(), connect(t, few, org.Key, "ap-east-1")), "InvalidClientTokenId")
	want(t, "us-east-1 always is", identify(t.Context(), connect(t, few, org.Key, "us-east-1")), "")
}

func TestObjects(t *testing.T) {
	s, o := start(t, Options{})
	c := connect(t, s, o.Key, "us-east-1").s3
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.Bucket, Key: aws.String("build/latest.txt")})
	want(t, "get", err, "")
	if err == nil {
		err = out.Body.Close()
		want(t, "close", err, "")
	}
	_, err = c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.Bucket, Key: aws.String("none")})
	want(t, "no such key", err, "NoSuchKey")
	list, err := c.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 {
		t.Errorf("ListBuckets: %v, %v", list, err)
	}
}
