package aws

import (
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/internal/secret"
	"stanch/responder/act"
	"stanch/scanner"
)

// fake answers the query protocol of STS and IAM in the test's own process, so
// that a test can run in a synctest bubble. It checks no signature; the
// laboratory does.
type fake struct {
	mu    sync.Mutex
	calls []call
	// answer decides; nil falls through to the little IAM below.
	answer  func(c call) *reply
	users   map[string]*fakeUser
	created map[string]time.Time // user -> creation, for the sweep
	latency time.Duration
	changed func() // after every change, under the lock
}

type fakeUser struct {
	keys     map[string]*fakeKey
	inline   map[string]string
	attached []string
	boundary string
	login    bool
}

type fakeKey struct {
	active  bool
	created time.Time
}

type call struct {
	service, action, keyID string
	form                   url.Values
	at                     time.Time
	agent                  string
}

type reply struct {
	status  int
	body    string
	headers map[string]string
	err     error
	delay   time.Duration
}

const (
	fakeAccount = "534261010715"
	fakeKeyID   = "AKIAXYZDQCEN4B6JSJQI"
	fakeRole    = "arn:aws:iam::534261010715:role/stanch-responder"
	canary      = "CANARYwJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLE"
)

func newFake() *fake {
	return &fake{
		users:   map[string]*fakeUser{"ci": {keys: map[string]*fakeKey{fakeKeyID: {active: true, created: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)}}, inline: map[string]string{}}},
		created: map[string]time.Time{"ci": time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func (f *fake) Do(r *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	c := call{action: form.Get("Action"), form: form, at: time.Now(), agent: r.UserAgent()}
	cred := r.Header.Get("Authorization")
	if i := strings.Index(cred, "Credential="); i >= 0 {
		parts := strings.Split(cred[i+len("Credential="):], "/")
		c.keyID, c.service = parts[0], parts[3]
	}
	f.mu.Lock()
	f.calls = append(f.calls, c)
	latency, n := f.latency, len(f.calls)
	f.mu.Unlock()
	var p *reply
	if f.answer != nil {
		p = f.answer(c)
	}
	if p == nil {
		p = f.serve(c)
	}
	select {
	case <-time.After(latency + p.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if p.err != nil {
		return nil, p.err
	}
	res := &http.Response{
		StatusCode: p.status, Status: http.StatusText(p.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"text/xml"}, "X-Amzn-Requestid": {fmt.Sprintf("req-%d", n)}}, Body: io.NopCloser(strings.NewReader(p.body)),
	}
	for k, v := range p.headers {
		res.Header.Set(k, v)
	}
	return res, nil
}

func ok(action, inner string) *reply {
	return &reply{status: 200, body: fmt.Sprintf("<%sResponse><%sResult>%s</%sResult><ResponseMetadata><RequestId>x</RequestId></ResponseMetadata></%sResponse>", action, action, inner, action, action)}
}

func fault(status int, code, message string) *reply {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(message))
	return &reply{status: status, body: fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>x</RequestId></ErrorResponse>", code, b.String())}
}

func identity(arn, id, account string) *reply {
	return ok("GetCallerIdentity", "<Arn>"+arn+"</Arn><UserId>"+id+"</UserId><Account>"+account+"</Account>")
}

func status(active bool) string { return map[bool]string{true: "Active", false: "Inactive"}[active] }

// serve is IAM's state machine for the calls that the driver makes.
func (f *fake) serve(c call) *reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[c.form.Get("UserName")]
	gone := fault(404, "NoSuchEntity", "cannot be found")
	date := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch c.action {
	case "AssumeRole":
		return ok(c.action, "<Credentials><AccessKeyId>ASIAXYZDQCENOURROLE1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>"+date(time.Now().Add(time.Hour))+"</Expiration></Credentials>")
	case "GetCallerIdentity":
		for name, u := range f.users {
			if k := u.keys[c.keyID]; k != nil && k.active {
				return identity("arn:aws:iam::"+fakeAccount+":user/svc/"+name, "AIDA1", fakeAccount)
			}
		}
		return fault(403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	case "GetAccessKeyLastUsed":
		for name, u := range f.users {
			if u.keys[c.form.Get("AccessKeyId")] != nil {
				return ok(c.action, "<UserName>"+name+"</UserName><AccessKeyLastUsed><LastUsedDate>2026-01-02T03:04:05Z</LastUsedDate><ServiceName>s3</ServiceName><Region>eu-west-1</Region></AccessKeyLastUsed>")
			}
		}
		return gone
	case "GetAccountAuthorizationDetails":
		var b strings.Builder
		for name, at := range f.created {
			b.WriteString("<member><UserName>" + name + "</UserName><CreateDate>" + date(at) + "</CreateDate></member>")
		}
		return ok(c.action, "<UserDetailList>"+b.String()+"</UserDetailList><RoleDetailList/><IsTruncated>false</IsTruncated>")
	}
	if u == nil {
		return gone
	}
	switch c.action {
	case "ListAccessKeys":
		var b strings.Builder
		for _, id := range sortedKeys(u.keys) {
			b.WriteString("<member><UserName>ci</UserName><AccessKeyId>" + id + "</AccessKeyId><Status>" + status(u.keys[id].active) + "</Status><CreateDate>" + date(u.keys[id].created) + "</CreateDate></member>")
		}
		return ok(c.action, "<AccessKeyMetadata>"+b.String()+"</AccessKeyMetadata><IsTruncated>false</IsTruncated>")
	case "UpdateAccessKey":
		k := u.keys[c.form.Get("AccessKeyId")]
		if k == nil {
			return gone
		}
		k.active = c.form.Get("Status") == "Active"
	case "PutUserPolicy":
		n := len(c.form.Get("PolicyDocument"))
		for name, d := range u.inline {
			if name != c.form.Get("PolicyName") {
				n += len(d)
			}
		}
		if n > 2048 {
			return fault(409, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded")
		}
		u.inline[c.form.Get("PolicyName")] = c.form.Get("PolicyDocument")
	case "DeleteUserPolicy":
		if _, ok := u.inline[c.form.Get("PolicyName")]; !ok {
			return gone
		}
		delete(u.inline, c.form.Get("PolicyName"))
	case "AttachUserPolicy":
		if !slices.Contains(u.attached, c.form.Get("PolicyArn")) {
			u.attached = append(u.attached, c.form.Get("PolicyArn"))
		}
	case "DetachUserPolicy":
		i := slices.Index(u.attached, c.form.Get("PolicyArn"))
		if i < 0 {
			return gone
		}
		u.attached = slices.Delete(u.attached, i, i+1)
	case "PutUserPermissionsBoundary":
		u.boundary = c.form.Get("PermissionsBoundary")
	case "DeleteUserPermissionsBoundary":
		u.boundary = ""
	case "GetUser":
		b := ""
		if u.boundary != "" {
			b = "<PermissionsBoundary><PermissionsBoundaryArn>" + u.boundary + "</PermissionsBoundaryArn></PermissionsBoundary>"
		}
		return ok(c.action, "<User><UserName>ci</UserName><Path>/svc/</Path><Arn>arn:aws:iam::"+fakeAccount+":user/svc/ci</Arn><CreateDate>2020-01-01T00:00:00Z</CreateDate>"+b+"</User>")
	case "ListUserPolicies":
		var b strings.Builder
		for _, n := range sortedKeys(u.inline) {
			b.WriteString("<member>" + n + "</member>")
		}
		return ok(c.action, "<PolicyNames>"+b.String()+"</PolicyNames><IsTruncated>false</IsTruncated>")
	case "ListAttachedUserPolicies":
		var b strings.Builder
		for _, n := range u.attached {
			b.WriteString("<member><PolicyArn>" + n + "</PolicyArn></member>")
		}
		return ok(c.action, "<AttachedPolicies>"+b.String()+"</AttachedPolicies><IsTruncated>false</IsTruncated>")
	case "ListGroupsForUser":
		return ok(c.action, "<Groups/><IsTruncated>false</IsTruncated>")
	case "ListMFADevices":
		return ok(c.action, "<MFADevices/><IsTruncated>false</IsTruncated>")
	case "GetLoginProfile":
		if !u.login {
			return gone
		}
		return ok(c.action, "<LoginProfile><UserName>ci</UserName><CreateDate>2026-01-01T00:00:00Z</CreateDate></LoginProfile>")
	default:
		return fault(400, "InvalidAction", c.action)
	}
	if f.changed != nil {
		f.changed()
	}
	return ok(c.action, "")
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (f *fake) count(action string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c.action == action {
			n++
		}
	}
	return n
}

func newDriver(t *testing.T, f *fake, change func(*Options)) *Driver {
	t.Helper()
	o := Options{
		Accounts:    []Account{{ID: fakeAccount, Name: "prod", RoleARN: fakeRole, ExternalID: secret.New("external-id-1")}},
		Credentials: StaticCredentials("AKIAOURBOOTSTRAPKEY1", secret.New("our-own-secret"), secret.Value{}),
		HTTPClient:  f,
	}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func leakedPair() act.Subject {
	return act.Subject{
		IncidentID: "0193c0de-0000-7000-8000-0000deadbeef", Provider: "aws", Kind: "access_key", PublicID: fakeKeyID,
		Parts: map[string]secret.Value{scanner.PartAccessKeyID: secret.New(fakeKeyID), scanner.PartSecretAccessKey: secret.New(canary)},
	}
}

func background() context.Context { return context.Background() }
