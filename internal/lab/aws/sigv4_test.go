package labaws

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"stanch/internal/secret"
)

const identifyBody = "Action=GetCallerIdentity&Version=2011-06-15"

// post sends one signed STS request that spoil may change after signing.
func post(t *testing.T, s *Server, k Key, at time.Time, spoil func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/", strings.NewReader(identifyBody))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(identifyBody))
	c := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret.Reveal(), SessionToken: k.Token.Reveal()}
	err = v4.NewSigner().SignHTTP(t.Context(), c, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", at)
	if err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		spoil(r)
	}
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (int, string, http.Header) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body), response.Header
}

func TestSignatureIsRecomputed(t *testing.T) {
	s, o := start(t, Options{})
	now := time.Now()
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	tests := []struct {
		name   string
		key    Key
		at     time.Time
		spoil  func(*http.Request)
		status int
		code   string
	}{
		{"right", o.Key, now, nil, 200, ""},
		{"four minutes old", o.Key, now.Add(-4 * time.Minute), nil, 200, ""},
		{"six minutes old", o.Key, now.Add(-6 * time.Minute), nil, 403, "SignatureDoesNotMatch"},
		{"six minutes ahead", o.Key, now.Add(6 * time.Minute), nil, 403, "SignatureDoesNotMatch"},
		{"other secret", Key{ID: o.Key.ID, Secret: o.Stanch.Secret}, now, nil, 403, "SignatureDoesNotMatch"},
		{"unknown id", Key{ID: "AKIAXYZDQCEN4B6JSJQI", Secret: o.Key.Secret}, now, nil, 403, "InvalidClientTokenId"},
		{"token with a long-term key", Key{ID: o.Key.ID, Secret: o.Key.Secret, Token: secret.New("x")}, now, nil, 403, "InvalidClientTokenId"},
		{"other body", o.Key, now, body("Action=GetCallerIdentity&Version=2011-06-16"), 403, "SignatureDoesNotMatch"},
		{"other query", o.Key, now, func(r *http.Request) { r.URL.RawQuery = "x=1" }, 403, "SignatureDoesNotMatch"},
		{"other path", o.Key, now, func(r *http.Request) { r.URL.Path = "/x" }, 403, "SignatureDoesNotMatch"},
		{"header added", o.Key, now, func(r *http.Request) { r.Header.Set("X-Amz-Evil", "1") }, 403, "SignatureDoesNotMatch"},
		{"content hash lied about", o.Key, now, func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", unsigned) }, 403, "SignatureDoesNotMatch"},
		{"not signed", o.Key, now, func(r *http.Request) { r.Header.Del("Authorization") }, 403, "MissingAuthenticationToken"},
		{"malformed", o.Key, now, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 nonsense") }, 400, "IncompleteSignature"},
		{"scope of another day", o.Key, now, func(r *http.Request) { r.Header.Set("X-Amz-Date", "20010101T000000Z") }, 400, "IncompleteSignature"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, text, header := post(t, s, test.key, test.at, test.spoil)
			if status != test.status || (test.code != "" && !strings.Contains(text, "<Code>"+test.code+"</Code>")) {
				t.Errorf("got %d %s, want %d %s", status, text, test.status, test.code)
			}
			if header.Get("X-Amzn-Requestid") == "" {
				t.Error("answer without a request id")
			}
		})
	}
}

func TestPresignedURL(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	c := connect(t, s, o.Key, "eu-west-1")
	signed, err := sts.NewPresignClient(c.sts).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	object, err := s3.NewPresignClient(c.s3).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.Bucket, Key: aws.String("build/latest.txt")},
		s3.WithPresignExpires(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		status, text, _ := do(t, r)
		return status, text
	}
	status, text := get(signed.URL)
	if status != 200 || !strings.Contains(text, o.UserARN) {
		t.Errorf("presigned identity: %d %s", status, text)
	}
	status, text = get(object.URL)
	if status != 200 || text != "v1.4.2\n" {
		t.Errorf("presigned object: %d %q", status, text)
	}
	status, _ = get(strings.Replace(object.URL, "latest.txt", "other.txt", 1))
	if status != 403 {
		t.Errorf("changed path: %d, want 403", status)
	}
	clock.advance(2 * time.Minute)
	status, text = get(object.URL)
	if status != 403 || !strings.Contains(text, "Request has expired") {
		t.Errorf("expired: %d %s", status, text)
	}
}

func TestSessionTokenBelongsToItsID(t *testing.T) {
	s, o := start(t, Options{})
	one, two := assume(t, s, o), assume(t, s, o)
	want(t, "own token", identify(t.Context(), connect(t, s, one, "us-east-1")), "")
	mixed := Key{ID: one.ID, Secret: one.Secret, Token: two.Token}
	want(t, "token of another session", identify(t.Context(), connect(t, s, mixed, "us-east-1")), "InvalidClientTokenId")
	none := Key{ID: one.ID, Secret: one.Secret}
	want(t, "no token", identify(t.Context(), connect(t, s, none, "us-east-1")), "InvalidClientTokenId")
}

func TestClockSkewOfTheDataPlane(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	c := connect(t, s, o.Key, "us-east-1")
	clock.advance(time.Hour)
	want(t, "S3 with a wrong clock", listBucketsCall(t.Context(), c), "RequestTimeTooSkewed")
	want(t, "STS with a wrong clock", identify(t.Context(), c), "SignatureDoesNotMatch")
}

func TestErrorsSpeakEachProtocol(t *testing.T) {
	s, o := start(t, Options{})
	dead := connect(t, s, Key{ID: "AKIAXYZDQCEN4B6JSJQI", Secret: o.Key.Secret}, "us-east-1")
	wrong := connect(t, s, Key{ID: o.Key.ID, Secret: o.Stanch.Secret}, "us-east-1")
	ctx := t.Context()
	want(t, "IAM unknown id", listUsersCall(ctx, dead), "InvalidClientTokenId")
	want(t, "S3 unknown id", listBucketsCall(ctx, dead), "InvalidAccessKeyId")
	want(t, "CloudTrail unknown id", lookupCall(ctx, dead), "UnrecognizedClientException")
	want(t, "CloudTrail wrong secret", lookupCall(ctx, wrong), "InvalidSignatureException")
	powerless, err := s.AddUser("powerless", "/", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"x:y","Resource":"*"}}`)
	if err != nil {
		t.Fatal(err)
	}
	none := connect(t, s, powerless, "us-east-1")
	want(t, "IAM denied", listUsersCall(ctx, none), "AccessDenied")
	want(t, "S3 denied", listBucketsCall(ctx, none), "AccessDenied")
	want(t, "CloudTrail denied", lookupCall(ctx, none), "AccessDeniedException")
	want(t, "identity needs no permission", identify(ctx, none), "")
}
