package labaws

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	accountapi "github.com/aws/aws-sdk-go-v2/service/account"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"stanch/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeClock is a laboratory clock that only moves when told to.
type fakeClock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *fakeClock { return &fakeClock{t: time.Now()} }

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func span(d time.Duration) *Span { return &Span{d, d} }

// start runs a laboratory without faults, lag and delay unless o says otherwise.
func start(t *testing.T, o Options) (*Server, *Organisation) {
	t.Helper()
	if o.EnforcementLag == nil {
		o.EnforcementLag = &Span{}
	}
	if o.TrailDelay == nil {
		o.TrailDelay = &Span{}
	}
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.Close()
		if err != nil {
			t.Error(err)
		}
	})
	org, err := s.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return s, org
}

// clients of one credential, without retries.
type clients struct {
	iam     *iam.Client
	sts     *sts.Client
	trail   *cloudtrail.Client
	account *accountapi.Client
	s3      *s3.Client
}

func connect(t *testing.T, s *Server, k Key, region string) clients {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cfg := aws.Config{
		Region: region, BaseEndpoint: aws.String(s.URL), Credentials: provider(k),
		HTTPClient: &http.Client{Transport: plainBodies{transport}, Timeout: 10 * time.Second},
		Retryer:    func() aws.Retryer { return aws.NopRetryer{} },
	}
	return clients{
		iam: iam.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg), trail: cloudtrail.NewFromConfig(cfg),
		account: accountapi.NewFromConfig(cfg), s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
	}
}

// responder assumes the seeded role.
func responder(t *testing.T, s *Server, o *Organisation) clients {
	t.Helper()
	return connect(t, s, assume(t, s, o), "us-east-1")
}

func assume(t *testing.T, s *Server, o *Organisation) Key {
	t.Helper()
	out, err := connect(t, s, o.Stanch, "us-east-1").sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: &o.RoleARN, RoleSessionName: aws.String("stanch"), ExternalId: &o.ExternalID,
	})
	if err != nil {
		t.Fatal(err)
	}
	return fromCredentials(aws.ToString(out.Credentials.AccessKeyId), aws.ToString(out.Credentials.SecretAccessKey), aws.ToString(out.Credentials.SessionToken))
}

func code(err error) string {
	if err == nil {
		return ""
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return err.Error()
}

func want(t *testing.T, what string, err error, wanted string) {
	t.Helper()
	got := code(err)
	if got != wanted {
		t.Errorf("%s: error %q, want %q", what, got, wanted)
	}
}

func identify(ctx context.Context, c clients) error {
	_, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	return err
}

func listUsersCall(ctx context.Context, c clients) error {
	_, err := c.iam.ListUsers(ctx, &iam.ListUsersInput{})
	return err
}

func listBucketsCall(ctx context.Context, c clients) error {
	_, err := c.s3.ListBuckets(ctx, &s3.ListBucketsInput{})
	return err
}

func fromCredentials(id, secretKey, token string) Key {
	return Key{ID: id, Secret: secret.New(secretKey), Token: secret.New(token)}
}
