package labaws

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// hostile gives parameters to operations without a client in between.
type hostile struct {
	s   *Server
	who []*principal
	all []string
}

func newHostile(f testing.TB) hostile {
	s, err := Start(Options{EnforcementLag: &Span{}, TrailDelay: &Span{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	o, err := s.Seed()
	if err != nil {
		f.Fatal(err)
	}
	root, err := s.AddRootKey(o.Account)
	if err != nil {
		f.Fatal(err)
	}
	a := s.primary
	u, r := a.users[SeedUser], a.roles[fold(SeedRole)]
	r.attached.set(adminARN, &struct{}{}, time.Time{})
	return hostile{s, []*principal{
		{keyID: o.Key.ID, account: a, key: s.keys[o.Key.ID], user: u},
		{keyID: root.ID, account: a, key: s.keys[root.ID]},
		{keyID: "ASIA1", account: a, role: r, session: &session{kind: roleSession, role: r, account: a, name: "x"}},
		{keyID: "ASIA2", account: a, user: u, session: &session{kind: federatedSession, user: u, account: a, name: "x"}},
		{keyID: "ASIA3", account: a, user: u, session: &session{kind: userSession, user: u, account: a}},
	}, slices.Sorted(maps.Keys(operations))}
}

// try runs one operation: nothing panics, and the answer can be rendered and recorded.
func (h hostile) try(t *testing.T, index, who int, body string) {
	name := h.all[abs(index)%len(h.all)]
	service, op, _ := strings.Cut(name, ":")
	form, err := url.ParseQuery(body)
	if err != nil {
		return
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	c := &call{s: h.s, now: time.Now(), requestID: "r", service: service, region: "us-east-1", logRegion: "us-east-1", operation: op, form: form}
	c.who = h.who[abs(who)%len(h.who)]
	switch service {
	case "cloudtrail", "secretsmanager", "account":
		_ = c.parseJSON([]byte(body))
	case "s3":
		c.path = []string{form.Get("b"), form.Get("k")}
	}
	refusal := c.authorize(operations[name])
	var result reply
	if refusal == nil {
		result, refusal = operations[name].run(c)
	}
	answer := c.render(result, refusal)
	if len(answer.body) == 0 {
		t.Errorf("%s: empty answer", name)
	}
	h.s.record(c, result, refusal)
	for _, sh := range h.s.primary.shards {
		sh.events = nil
	}
}

// FuzzOperations gives hostile parameters to every operation, as every kind of principal.
func FuzzOperations(f *testing.F) {
	h := newHostile(f)
	for i := range h.all {
		for p := range h.who {
			f.Add(i, p, "")
			f.Add(i, p, "UserName=alice&PolicyName=p&PolicyArn="+denyAllARN+"&RoleName=x&RoleArn=a&Status=Active&Name=ab&DurationSeconds=900&MaxItems=1&Marker=AAAA&Tags.member.1.Key=k&Filter.member.1=User")
		}
	}
	f.Add(0, 0, "PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%7D&A.member.1.b=c&A.member=d&A=e&.=&..=&=")
	f.Fuzz(func(t *testing.T, index, principal int, body string) { h.try(t, index, principal, body) })
}

// TestRandomParameters mixes parameters that some operation understands: 20,000 calls.
func TestRandomParameters(t *testing.T) {
	h := newHostile(t)
	rng := rand.New(rand.NewPCG(3, 3))
	names := []string{"UserName", "RoleName", "GroupName", "PolicyName", "PolicyArn", "PermissionsBoundary", "AccessKeyId", "Status", "Path", "Name",
		"DurationSeconds", "MaxItems", "Marker", "RoleArn", "RoleSessionName", "ExternalId", "PolicyDocument", "AssumeRolePolicyDocument", "Policy",
		"Tags.member.1.Key", "Tags.member.1.Value", "Tags.member", "Tags", "TagKeys.member.1", "Filter.member.1", "VersionId", "Password", "MinCount", "b", "k", ".", "A.1.2"}
	values := []string{"", SeedUser, "alice", SeedRole, "developers", "deploy", denyAllARN, "Active", "Inactive", "/", "/x/", "ab", "900", "0", "-1", "1",
		"MSBMaXN0VXNlcnM", "arn:aws:iam::" + DefaultAccount + ":role/" + SeedRole, allowEverything, "{", "User", "v1", "\x00\xff", h.who[0].keyID, h.who[1].keyID, strings.Repeat("x", 3000)}
	bodies := []string{"null", "[]", `{"LookupAttributes":[{"AttributeKey":"ReadOnly","AttributeValue":"true"}],"MaxResults":3}`, `{"NextToken":"x"}`, `{"MaxResults":"x"}`,
		`{"SecretId":7}`, `{"SecretId":"prod/billing/db"}`, `{"NextToken":"region-9"}`, `{"StartTime":1e300,"EndTime":-1}`}
	for range 20000 {
		form := url.Values{}
		for range rng.IntN(6) {
			form.Set(names[rng.IntN(len(names))], values[rng.IntN(len(values))])
		}
		body := form.Encode()
		if rng.IntN(10) == 0 {
			body = bodies[rng.IntN(len(bodies))]
		}
		h.try(t, rng.IntN(len(h.all)), rng.IntN(len(h.who)), body)
	}
}

func abs(n int) int {
	if n < 0 {
		return -(n + 1)
	}
	return n
}

func FuzzReadSignature(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "20260101T000000Z", "/?a=b")
	f.Add("", "", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A/20260101/r/s3/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=0&X-Amz-Expires=60")
	f.Fuzz(func(t *testing.T, header, date, target string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r.URL = u
		r.Header.Set("Authorization", header)
		r.Header.Set("X-Amz-Date", date)
		sig, refusal := readSignature(r)
		if refusal != nil {
			return
		}
		refusal = sig.check(r, nil, "secret", time.Now())
		if refusal == nil {
			t.Error("a made-up signature was taken")
		}
	})
}

// The canonical path of S3 is encoded once; a key with odd characters is a
// missing object, not a wrong signature.
func TestOddObjectKeysAreSignedRightly(t *testing.T) {
	s, o := start(t, Options{})
	c := connect(t, s, o.Key, "us-east-1")
	for _, key := range []string{"a b", "a+b", "a%20b", "ä/ö", "a=b&c?d#e", "x//y", "(~!*')", "a/../b"} {
		_, err := c.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.Bucket, Key: aws.String(key)})
		want(t, key, err, "NoSuchKey")
	}
}
