package aws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"stanch/internal/secret"
	"stanch/responder/act"
	"stanch/responder/incident"
)

// attemptTimeout bounds one attempt of one request of a response; trailTimeout
// one page of a trail, on which nothing waits.
const (
	attemptTimeout = 2 * time.Second
	trailTimeout   = 10 * time.Second
)

// partitionRegion is the Region for which each partition's IAM is signed.
var partitionRegion = map[string]string{"aws": "us-east-1", "aws-us-gov": "us-gov-west-1", "aws-cn": "cn-north-1"}

// policyWriters is how many policies of an account are written at once: enough
// that the layers of one user come back together, few enough that several
// incidents do not exhaust IAM's limit for the account.
const policyWriters = 5

// account is an enrolled account with its warm session.
type account struct {
	Account
	credentials awssdk.CredentialsProvider
	iam         *iam.Client   // writes: eight quick attempts
	reader      *iam.Client   // reads inside loops: one attempt
	writes      chan struct{} // slots: policy writes in an account at a time; keys need none
	holds       atomic.Int64  // under way

	mu    sync.Mutex
	users map[string]string // key id -> user name, as found; a hint that is checked by IAM
}

func (d *Driver) newAccount(a Account, bootstrap awssdk.CredentialsProvider) *account {
	out := &account{Account: a, credentials: bootstrap, users: map[string]string{}, writes: make(chan struct{}, policyWriters)}
	region := d.region
	if a.Partition != "aws" {
		region = partitionRegion[a.Partition]
	}
	client := sts.NewFromConfig(d.config(region, bootstrap, persistent()))
	if a.RoleARN == "" {
		out.credentials = awssdk.NewCredentialsCache(direct{own: bootstrap, sts: client, account: a.ID})
	} else {
		provider := stscreds.NewAssumeRoleProvider(client, a.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "stanch"
			o.Duration = time.Hour // a chained session can live no longer
			if !a.ExternalID.IsZero() {
				o.ExternalID = awssdk.String(a.ExternalID.Reveal())
			}
		})
		out.credentials = awssdk.NewCredentialsCache(provider, func(o *awssdk.CredentialsCacheOptions) { o.ExpiryWindow = 15 * time.Minute })
	}
	region = partitionRegion[a.Partition]
	out.iam = iam.NewFromConfig(d.config(region, out.credentials, persistent()))
	out.reader = iam.NewFromConfig(d.config(region, out.credentials, awssdk.NopRetryer{}))
	return out
}

// config is built by hand: the SDK's loader would read the environment, and for
// a leaked credential could fall back to our own identity.
func (d *Driver) config(region string, creds awssdk.CredentialsProvider, r awssdk.Retryer) awssdk.Config {
	cfg := awssdk.Config{
		Region:      region,
		Credentials: creds,
		HTTPClient:  d.http,
		Retryer:     func() awssdk.Retryer { return r },
		AppID:       AppID,
		APIOptions:  []func(*middleware.Stack) error{d.watch},
	}
	if d.endpoint != "" {
		cfg.BaseEndpoint = awssdk.String(d.endpoint)
	}
	return cfg
}

// persistent is the retryer of containment: quick, without a client-side budget,
// and with IAM's passing errors that the SDK does not repeat by itself.
func persistent() awssdk.Retryer {
	std := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 8
		o.MaxBackoff = 300 * time.Millisecond
		o.RateLimiter = ratelimit.None
	})
	return retry.AddWithErrorCodes(std, passingCodes...)
}

var passingCodes = []string{"ConcurrentModification", "ConcurrentModificationException", "EntityTemporarilyUnmodifiable",
	"EntityTemporarilyUnmodifiableException", "ServiceFailure", "ServiceFailureException", "InternalFailure", "ServiceUnavailable"}

var throttleCodes = []string{"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
	"TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "PriorRequestNotComplete", "SlowDown"}

// sealed provides credentials from sealed values; nothing of them is kept in a
// structure that can be printed.
type sealed struct {
	id         string
	key, token secret.Value
	source     string
}

func (s sealed) Retrieve(context.Context) (awssdk.Credentials, error) {
	return awssdk.Credentials{AccessKeyID: s.id, SecretAccessKey: s.key.Reveal(), SessionToken: s.token.Reveal(), Source: s.source}, nil
}

// freshConnections asks for a connection of its own for every request: STS was
// seen to answer for an earlier secret on a reused one.
type freshConnections struct{ awssdk.HTTPClient }

func (f freshConnections) Do(r *http.Request) (*http.Response, error) {
	r.Close = true
	return f.HTTPClient.Do(r)
}

// plainBodies hides that a request's body can write itself: smithy-go 1.28
// closes the body as soon as the answer's head is there, and its WriteTo then
// fails with io.EOF where Read would end. net/http takes that for a failed
// write and cuts the connection under the answer that is being read.
type plainBodies struct{ awssdk.HTTPClient }

func (p plainBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return p.HTTPClient.Do(r)
}

// recorder collects the requests of one operation.
type recorder struct {
	mu      sync.Mutex
	list    []incident.Request
	with    string
	parts   map[string]secret.Value
	dropOK  bool // leave out reads that succeeded: a loop makes hundreds
	dropped int
	reads   map[string]int
}

type recorderKey struct{}

func (d *Driver) record(ctx context.Context, like incident.Request, s act.Subject) (context.Context, *recorder) {
	r := &recorder{with: like.With, parts: s.Parts, reads: map[string]int{}}
	return context.WithValue(ctx, recorderKey{}, r), r
}

func (r *recorder) add(q incident.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	q.With = r.with
	_, op, _ := strings.Cut(q.Operation, ":")
	read := strings.HasPrefix(op, "List") || strings.HasPrefix(op, "Get")
	if r.dropOK && read && (q.Error == "" || q.Error == "NoSuchEntity") {
		r.dropped++
		return
	}
	if r.dropOK && read {
		r.reads[q.Operation+q.Error]++
		if r.reads[q.Operation+q.Error] > 5 {
			r.dropped++
			return
		}
	}
	r.list = append(r.list, q)
}

func (r *recorder) requests() []incident.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]incident.Request(nil), r.list...)
}

// watch puts a time limit on every attempt and reports it to the recorder of
// the context.
func (d *Driver) watch(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("stanchWatch",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			start := d.now()
			limit := attemptTimeout
			if service := middleware.GetServiceID(ctx); service == "CloudTrail" || service == "Account" {
				limit = trailTimeout
			}
			attempt, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			out, meta, err := next.HandleDeserialize(attempt, in)
			if err != nil && attempt.Err() != nil && ctx.Err() == nil {
				err = noAnswer{limit}
			}
			rec, _ := ctx.Value(recorderKey{}).(*recorder)
			if rec == nil {
				return out, meta, err
			}
			q := incident.Request{
				Operation: strings.ToLower(middleware.GetServiceID(ctx)) + ":" + middleware.GetOperationName(ctx),
				At:        start.UTC(), TookMS: d.now().Sub(start).Milliseconds(),
			}
			if req, ok := in.Request.(*smithyhttp.Request); ok {
				q.Host = req.URL.Host
			}
			if res, ok := out.RawResponse.(*smithyhttp.Response); ok && res != nil {
				q.Status = res.StatusCode
				q.RequestID = clipID(res.Header.Get("X-Amzn-Requestid"))
			}
			if err != nil {
				q.Error = scrubText(reasonOf(err), rec.parts)
			}
			rec.add(q)
			return out, meta, err
		}), middleware.Before)
}

// clipID bounds a request id, which is a stranger's text.
func clipID(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return strings.Map(func(r rune) rune {
		if r < '!' || r > '~' {
			return -1
		}
		return r
	}, s)
}

// noAnswer is one attempt that took too long; it is worth another.
type noAnswer struct{ limit time.Duration }

func (n noAnswer) Error() string      { return fmt.Sprintf("no answer within %s", n.limit) }
func (noAnswer) Timeout() bool        { return true }
func (noAnswer) RetryableError() bool { return true }

// codeOf is the provider's error code, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func statusOf(err error) int {
	var res *smithyhttp.ResponseError
	if errors.As(err, &res) && res.Response != nil {
		return res.HTTPStatusCode()
	}
	return 0
}

// reasonOf describes an error without any text of the provider: the code, or
// what went wrong on the way to it.
func reasonOf(err error) string {
	var none noAnswer
	var dns *net.DNSError
	var op *net.OpError
	var foreign foreignSelf
	code := codeOf(err)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &foreign):
		return foreign.Error()
	case isCode(code):
		return code
	case errors.As(err, &none):
		return none.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns):
		return "host name cannot be resolved"
	case errors.As(err, &op):
		return "no connection (" + op.Op + ")"
	case statusOf(err) != 0:
		return fmt.Sprintf("an answer that is not AWS's (HTTP %d)", statusOf(err))
	}
	return "no usable answer: " + clipReason(root(err))
}

// isCode reports whether s has the shape of an AWS error code. A server that is
// not AWS can put anything into that place.
func isCode(s string) bool {
	if s == "" || len(s) > 80 || s == "UnknownError" {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

func root(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

func clipReason(s string) string {
	if len(s) > 200 {
		s = s[:200]
	}
	return strings.ToValidUTF8(s, "")
}

// scrubText removes the leaked parts from a text, should it quote one.
func scrubText(text string, parts map[string]secret.Value) string {
	for _, v := range parts {
		if v.Len() >= 8 {
			text = strings.ReplaceAll(text, v.Reveal(), secret.Redacted)
		}
	}
	return text
}
