package labaws

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// FuzzOperations gives hostile parameters to every operation, as every kind of
// principal: nothing panics, and every answer can be rendered and recorded.
func FuzzOperations(f *testing.F) {
	s, err := Start(Options{EnforcementLag: &Span{}, TrailDelay: &Span{}})
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
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
	who := []*principal{
		{keyID: o.Key.ID, account: a, key: s.keys[o.Key.ID], user: u},
		{keyID: root.ID, account: a, key: s.keys[root.ID]},
		{keyID: "ASIA1", account: a, role: r, session: &session{kind: roleSession, role: r, account: a, name: "x"}},
		{keyID: "ASIA2", account: a, user: u, session: &session{kind: federatedSession, user: u, account: a, name: "x"}},
		{keyID: "ASIA3", account: a, user: u, session: &session{kind: userSession, user: u, account: a}},
	}
	all := slices.Sorted(maps.Keys(operations))
	for i := range all {
		for p := range who {
			f.Add(i, p, "")
			f.Add(i, p, "UserName=alice&PolicyName=p&PolicyArn="+denyAllARN+"&RoleName=x&RoleArn=a&Status=Active&Name=ab&DurationSeconds=900&MaxItems=1&Marker=AAAA&Tags.member.1.Key=k&Filter.member.1=User")
		}
	}
	f.Add(0, 0, "PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%7D&A.member.1.b=c&A.member=d&A=e&.=&..=&=")
	f.Fuzz(func(t *testing.T, index, principal int, body string) {
		name := all[abs(index)%len(all)]
		service, op, _ := strings.Cut(name, ":")
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		c := &call{s: s, now: time.Now(), requestID: "r", service: service, region: "us-east-1", logRegion: "us-east-1", operation: op, form: form}
		c.who = who[abs(principal)%len(who)]
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
		s.record(c, result, refusal)
		for _, sh := range a.shards {
			sh.events = nil
		}
	})
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
