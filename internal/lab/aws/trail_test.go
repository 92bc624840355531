package labaws

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func byKey(id string) *cloudtrail.LookupEventsInput {
	return by(types.LookupAttributeKeyAccessKeyId, id)
}

func by(key types.LookupAttributeKey, value string) *cloudtrail.LookupEventsInput {
	return &cloudtrail.LookupEventsInput{LookupAttributes: []types.LookupAttribute{{AttributeKey: key, AttributeValue: &value}}}
}

func lookupCall(ctx context.Context, c clients) error {
	_, err := c.trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{})
	return err
}

func names(events []types.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, aws.ToString(e.EventName))
	}
	return strings.Join(out, " ")
}

func TestLookupEventsIsLateAndSharded(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now, TrailDelay: span(2 * time.Second)})
	ctx := t.Context()
	eu := connect(t, s, o.Key, "eu-central-1")
	want(t, "identify", identify(ctx, eu), "")
	want(t, "list users from Frankfurt", listUsersCall(ctx, eu), "")
	reader := responder(t, s, o)
	euReader := connect(t, s, assume(t, s, o), "eu-central-1")

	out, err := euReader.trail.LookupEvents(ctx, byKey(o.Key.ID))
	if err != nil || len(out.Events) != 0 {
		t.Fatalf("before the delay: %d events, %v", len(out.Events), err)
	}
	clock.advance(2 * time.Second)
	out, err = euReader.trail.LookupEvents(ctx, byKey(o.Key.ID))
	if err != nil || names(out.Events) != "GetCallerIdentity" {
		t.Errorf("regional STS: %q, %v", names(out.Events), err)
	}
	out, err = reader.trail.LookupEvents(ctx, byKey(o.Key.ID))
	if err != nil || names(out.Events) != "ListUsers" {
		t.Errorf("IAM logs to us-east-1: %q, %v", names(out.Events), err)
	}
}

func TestLookupEventsThrottles(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	c := responder(t, s, o)
	other := connect(t, s, assume(t, s, o), "eu-west-1")
	want(t, "first", lookupCall(ctx, c), "")
	want(t, "second", lookupCall(ctx, c), "")
	want(t, "third in a second", lookupCall(ctx, c), "ThrottlingException")
	want(t, "another Region", lookupCall(ctx, other), "")
	clock.advance(500 * time.Millisecond)
	want(t, "half a second later", lookupCall(ctx, c), "")
	want(t, "again", lookupCall(ctx, c), "ThrottlingException")
}

func TestLookupEventsPages(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	leaked := connect(t, s, o.Key, "us-east-1")
	c := responder(t, s, o)
	begin := clock.now()
	for range 120 {
		want(t, "identify", identify(ctx, leaked), "")
		clock.advance(100 * time.Millisecond)
	}
	in := byKey(o.Key.ID)
	in.StartTime = aws.Time(begin.Add(-time.Second))
	seen := map[string]bool{}
	var sizes []int
	var last time.Time
	for {
		clock.advance(time.Second)
		out, err := c.trail.LookupEvents(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(out.Events))
		for _, e := range out.Events {
			if seen[*e.EventId] {
				t.Errorf("event %s twice", *e.EventId)
			}
			seen[*e.EventId] = true
			if !last.IsZero() && e.EventTime.After(last) {
				t.Error("not newest first")
			}
			last = *e.EventTime
		}
		if out.NextToken == nil {
			break
		}
		in.NextToken = out.NextToken
	}
	if fmt.Sprint(sizes) != "[50 50 20]" || len(seen) != 120 {
		t.Errorf("pages %v of %d events", sizes, len(seen))
	}
	token := in.NextToken
	clock.advance(time.Second)
	changed := by(types.LookupAttributeKeyUsername, o.User)
	changed.NextToken = token
	_, err := c.trail.LookupEvents(ctx, changed)
	want(t, "token with other parameters", err, "InvalidNextTokenException")
	clock.advance(time.Second)
	_, err = c.trail.LookupEvents(ctx, &cloudtrail.LookupEventsInput{NextToken: aws.String("x")})
	want(t, "made-up token", err, "InvalidNextTokenException")
	clock.advance(pageTokenLife)
	want(t, "client's clock is behind", lookupCall(ctx, c), "InvalidSignatureException")
	_, err = c.trail.LookupEvents(ctx, in) // the client has corrected its clock by the answer's Date
	want(t, "expired token", err, "InvalidNextTokenException")
	clock.advance(time.Second)
	small := byKey(o.Key.ID)
	small.MaxResults = aws.Int32(7)
	out, err := c.trail.LookupEvents(ctx, small)
	if err != nil || len(out.Events) != 7 || out.NextToken == nil {
		t.Errorf("page of seven: %d events, %v", len(out.Events), err)
	}
}

func TestLookupEventsParameters(t *testing.T) {
	clock := newClock()
	s, o := start(t, Options{Clock: clock.now})
	ctx := t.Context()
	leaked := connect(t, s, o.Key, "us-east-1")
	_, err := leaked.iam.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("mallory")})
	want(t, "create", err, "")
	_, err = leaked.iam.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("nobody")})
	want(t, "get", err, "NoSuchEntity")
	c := responder(t, s, o)
	two := byKey("A")
	two.LookupAttributes = append(two.LookupAttributes, two.LookupAttributes[0])
	tests := []struct {
		name  string
		in    *cloudtrail.LookupEventsInput
		code  string
		names string
	}{
		{"user name", by(types.LookupAttributeKeyUsername, o.User), "", "GetUser CreateUser"},
		{"event name", by(types.LookupAttributeKeyEventName, "CreateUser"), "", "CreateUser"},
		{"resource name", by(types.LookupAttributeKeyResourceName, "mallory"), "", "CreateUser"},
		{"writes", by(types.LookupAttributeKeyReadOnly, "false"), "", "CreateUser"},
		{"two attributes", two, "InvalidLookupAttributesException", ""},
		{"other attribute", by("SourceIPAddress", "1.2.3.4"), "InvalidLookupAttributesException", ""},
		{"fifty-one", &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(51)}, "InvalidMaxResultsException", ""},
		{"backwards", &cloudtrail.LookupEventsInput{StartTime: aws.Time(clock.now()), EndTime: aws.Time(clock.now().Add(-time.Hour))},
			"InvalidTimeRangeException", ""},
		{"before", &cloudtrail.LookupEventsInput{EndTime: aws.Time(clock.now().Add(-time.Hour))}, "", ""},
	}
	for _, test := range tests {
		clock.advance(time.Second)
		out, err := c.trail.LookupEvents(ctx, test.in)
		want(t, test.name, err, test.code)
		if err == nil && names(out.Events) != test.names {
			t.Errorf("%s: %q, want %q", test.name, names(out.Events), test.names)
		}
	}
}

func TestRecordsAreWhole(t *testing.T) {
	s, o := start(t, Options{})
	ctx := t.Context()
	leaked := connect(t, s, o.Key, "us-east-1")
	fed, err := leaked.sts.GetFederationToken(ctx, &sts.GetFederationTokenInput{Name: aws.String("backup"), Policy: aws.String(allowEverything)})
	want(t, "federate", err, "")
	f := connect(t, s, fromCredentials(*fed.Credentials.AccessKeyId, *fed.Credentials.SecretAccessKey, *fed.Credentials.SessionToken), "us-east-1")
	want(t, "session", listBucketsCall(ctx, f), "")
	_, err = leaked.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("alice")})
	want(t, "create key", err, "")
	_, err = leaked.iam.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("nobody")})
	want(t, "get", err, "NoSuchEntity")

	type record struct {
		EventName, ErrorCode, SourceIPAddress, RequestID, RecipientAccountID string
		ReadOnly, ManagementEvent                                            bool
		UserIdentity                                                         struct {
			Type, ARN, AccessKeyID, UserName, PrincipalID string
			SessionContext                                struct {
				SessionIssuer struct{ Type, ARN string }
				Attributes    struct{ CreationDate string }
			}
		}
		RequestParameters map[string]any
		ResponseElements  struct{ Credentials, AccessKey map[string]any }
	}
	records := map[string]record{}
	for _, raw := range s.Records(o.Account, "us-east-1") {
		var r record
		err := json.Unmarshal(raw, &r)
		if err != nil {
			t.Fatal(err)
		}
		records[r.EventName] = r
	}
	credentials := records["GetFederationToken"].ResponseElements.Credentials
	if credentials["accessKeyId"] != *fed.Credentials.AccessKeyId || credentials["sessionToken"] != *fed.Credentials.SessionToken {
		t.Error("GetFederationToken is not logged with its id and token, as AWS does")
	}
	if _, ok := credentials["secretAccessKey"]; ok {
		t.Error("secret key in the trail")
	}
	r := records["ListBuckets"]
	if r.UserIdentity.Type != "FederatedUser" || r.UserIdentity.SessionContext.SessionIssuer.ARN != o.UserARN || r.UserIdentity.AccessKeyID[:4] != "ASIA" {
		t.Errorf("federated identity: %+v", r.UserIdentity)
	}
	r = records["CreateAccessKey"]
	made, _ := r.ResponseElements.AccessKey["accessKeyId"].(string)
	if !strings.HasPrefix(made, "AKIA") || r.RequestParameters["userName"] != "alice" || r.ReadOnly || !r.ManagementEvent {
		t.Errorf("CreateAccessKey: %+v", r)
	}
	r = records["GetUser"]
	if r.ErrorCode != "NoSuchEntityException" || !r.ReadOnly || r.UserIdentity.Type != "IAMUser" || r.RecipientAccountID != o.Account || r.RequestID == "" {
		t.Errorf("GetUser: %+v", r)
	}
}

func TestImportedEventsAreServed(t *testing.T) {
	// Recorded by DataDog/stratus-red-team (docs/detonation-logs), Apache-2.0.
	raw, err := os.ReadFile(filepath.Join("testdata", "federation-token.json"))
	if err != nil {
		t.Fatal(err)
	}
	var events []json.RawMessage
	err = json.Unmarshal(raw, &events)
	if err != nil {
		t.Fatal(err)
	}
	s, o := start(t, Options{})
	err = s.ImportEvents("eu-west-1", events)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, s, assume(t, s, o), "eu-west-1")
	out, err := c.trail.LookupEvents(t.Context(), by(types.LookupAttributeKeyEventName, "GetFederationToken"))
	if err != nil || len(out.Events) == 0 {
		t.Fatalf("%d events, %v", len(out.Events), err)
	}
	if !json.Valid([]byte(*out.Events[0].CloudTrailEvent)) || out.Events[0].AccessKeyId == nil {
		t.Error("event without its record or key id")
	}
	newest := time.Now().Add(-time.Minute).Truncate(time.Second)
	moved, err := ShiftEvents(events, newest)
	if err != nil {
		t.Fatal(err)
	}
	err = s.ImportEvents("eu-north-1", moved)
	if err != nil {
		t.Fatal(err)
	}
	recent := &cloudtrail.LookupEventsInput{StartTime: aws.Time(newest.Add(-time.Hour))}
	out, err = connect(t, s, assume(t, s, o), "eu-north-1").trail.LookupEvents(t.Context(), recent)
	if err != nil || len(out.Events) != len(events) || !out.Events[0].EventTime.Equal(newest) {
		t.Errorf("moved events: %d of %d, %v", len(out.Events), len(events), err)
	}
	err = s.ImportEvents("mars-north-1", events)
	if err == nil {
		t.Error("Region that is not enabled was taken")
	}
}
