package cloudtrail_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/internal/lab/aws"
	"stanch/internal/secret"
	"stanch/responder/act"
	"stanch/responder/act/aws"
	"stanch/responder/trail"
	"stanch/responder/trail/cloudtrail"
)

func laboratory(t *testing.T, o labaws.Options, regions ...string) (*labaws.Server, *labaws.Organisation, *aws.Driver) {
	t.Helper()
	s, err := labaws.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	org, err := s.Seed()
	if err != nil {
		t.Fatal(err)
	}
	d, err := aws.New(aws.Options{
		EndpointURL: s.URL, HTTPClient: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}},
		Credentials: aws.StaticCredentials(org.Stanch.ID, org.Stanch.Secret, org.Stanch.Token),
		Accounts:    []aws.Account{{ID: org.Account, RoleARN: org.RoleARN, ExternalID: secret.New(org.ExternalID), Regions: regions}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, org, d
}

func record(id, name, region, key, account string, at time.Time, more string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"eventVersion":"1.08","eventID":%q,"eventName":%q,"eventSource":"sts.amazonaws.com","awsRegion":%q,"eventTime":%q,"readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"eventCategory":"Management","recipientAccountId":%q,"requestID":"r-%s","sourceIPAddress":"203.0.113.9","userAgent":"Boto3/1","userIdentity":{"type":"IAMUser","accountId":%q,"accessKeyId":%q,"arn":"arn:aws:iam::%s:user/deploy-bot","userName":"deploy-bot"},"requestParameters":null%s}`,
		id, name, region, at.UTC().Format(time.RFC3339), account, id, account, key, account, more))
}

// keeper is a store: it drops events that it has, and may crash.
type keeper struct {
	events map[string]trail.Event
	cursor trail.Cursor
	pages  int
	crash  int // after so many pages; 0 never
}

var errCrash = errors.New("crash")

func (k *keeper) keep(_ context.Context, events []trail.Event, c trail.Cursor) error {
	k.pages++
	if k.crash > 0 && k.pages > k.crash {
		return errCrash // the page and its cursor are lost together
	}
	for _, e := range events {
		k.events[e.ID] = e
	}
	k.cursor = c
	return nil
}

// TestCollectEverything reads many Regions and pages, with a crash in the middle,
// and never asks faster than AWS allows.
func TestCollectEverything(t *testing.T) {
	lab, org, d := laboratory(t, labaws.Options{})
	want := map[string]bool{}
	now := time.Now()
	for i, region := range lab.Regions() {
		n := 3
		if i%8 == 0 {
			n = 230 // five pages
		}
		var records []json.RawMessage
		for j := range n {
			id := fmt.Sprintf("%s-%04d", region, j)
			want[id] = true
			records = append(records, record(id, "GetCallerIdentity", region, org.Key.ID, org.Account, now.Add(-time.Duration(j)*time.Minute), ""))
		}
		records = append(records, record(region+"-other", "GetCallerIdentity", region, "AKIARTX3GSDSOTHERKEY", org.Account, now.Add(-time.Hour), ""))
		err := lab.ImportEvents(region, records)
		if err != nil {
			t.Fatal(err)
		}
	}
	subject := act.Subject{PublicID: org.Key.ID, Account: org.Account, ExposedAt: now.Add(-30 * time.Minute)}
	source := cloudtrail.New(cloudtrail.Options{Accounts: d})
	k := &keeper{events: map[string]trail.Event{}, crash: 40}
	_, err := source.Collect(context.Background(), subject, nil, k.keep)
	if !errors.Is(err, errCrash) {
		t.Fatalf("crash: %v", err)
	}
	k.crash = 0
	if n := throttled(lab, 0); n > 0 {
		t.Errorf("%d requests were throttled: the limit is not kept", n)
	}
	before := len(lab.Requests())
	start := time.Now()
	source = cloudtrail.New(cloudtrail.Options{Accounts: d}) // a new process has forgotten its limits
	coverage, err := source.Collect(context.Background(), subject, k.cursor, k.keep)
	if err != nil {
		t.Fatal(err)
	}
	for id := range want {
		if _, ok := k.events[id]; !ok {
			t.Errorf("event %s is missing", id)
		}
	}
	if len(k.events) != len(want) {
		t.Errorf("%d events, want %d", len(k.events), len(want))
	}
	if len(coverage) != len(lab.Regions()) {
		t.Errorf("coverage of %d Regions, want %d", len(coverage), len(lab.Regions()))
	}
	for _, c := range coverage {
		if !c.Complete || c.Error != "" || len(c.Gaps) < 3 {
			t.Errorf("coverage %s: complete %v, error %q, gaps %v", c.Scope, c.Complete, c.Error, c.Gaps)
		}
	}
	if n := throttled(lab, before); n > len(coverage) {
		t.Errorf("%d requests were throttled after the crash: more than the forgotten limit of each Region explains", n)
	}
	t.Logf("%d events of %d Regions in %d pages; after the crash %d requests in %v", len(k.events), len(coverage), k.pages, len(lab.Requests())-before, time.Since(start))

	// A later sweep finds what has come since, and little else is asked again.
	err = lab.ImportEvents("eu-west-1", []json.RawMessage{record("late", "GetCallerIdentity", "eu-west-1", org.Key.ID, org.Account, time.Now().Add(-time.Second), "")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = source.Collect(context.Background(), subject, k.cursor, k.keep)
	if _, ok := k.events["late"]; err != nil || !ok {
		t.Errorf("a later sweep: %v, found %v", err, ok)
	}
}

// throttled counts refused lookups from the n-th request on.
func throttled(lab *labaws.Server, n int) int {
	count := 0
	for _, q := range lab.Requests()[n:] {
		if q.Operation == "LookupEvents" && q.Code != "" {
			count++
		}
	}
	return count
}

// TestCollectFollows follows sessions, keys and users that the key made, and
// leaves those alone that it made before the exposure.
func TestCollectFollows(t *testing.T) {
	lab, org, d := laboratory(t, labaws.Options{}, "us-east-1", "eu-west-1")
	now := time.Now().Truncate(time.Second)
	minted := func(id string) string {
		return `,"responseElements":{"credentials":{"accessKeyId":"` + id + `","sessionToken":"IQoJb3JpZ2luX2VjCANARYCANARY"}}`
	}
	at := func(m int) time.Time { return now.Add(-time.Duration(m) * time.Minute) }
	err := lab.ImportEvents("eu-west-1", []json.RawMessage{
		record("old", "GetSessionToken", "eu-west-1", org.Key.ID, org.Account, at(60), minted("ASIARTX3GSDSOWNERSES")),
		record("old-use", "ListBuckets", "eu-west-1", "ASIARTX3GSDSOWNERSES", org.Account, at(59), ""),
		record("mint", "GetFederationToken", "eu-west-1", org.Key.ID, org.Account, at(20), minted("ASIARTX3GSDSFEDERATE")),
		record("mint2", "AssumeRole", "eu-west-1", "ASIARTX3GSDSFEDERATE", org.Account, at(19), minted("ASIARTX3GSDSCHAINED1")),
		record("use2", "GetCallerIdentity", "eu-west-1", "ASIARTX3GSDSCHAINED1", org.Account, at(18), ""),
		record("mint-elsewhere", "AssumeRole", "eu-west-1", org.Key.ID, org.Account, at(17), minted("ASIAELSEWHERESESSION")+`,"requestParameters":{"roleArn":"arn:aws:iam::999999999999:role/x"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = lab.ImportEvents("us-east-1", []json.RawMessage{
		record("key", "CreateAccessKey", "us-east-1", "ASIARTX3GSDSCHAINED1", org.Account, at(16), `,"responseElements":{"accessKey":{"accessKeyId":"AKIARTX3GSDSNEWKEY01"}}`),
		record("key-use", "GetCallerIdentity", "us-east-1", "AKIARTX3GSDSNEWKEY01", org.Account, at(15), ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{events: map[string]trail.Event{}}
	coverage, err := cloudtrail.New(cloudtrail.Options{Accounts: d}).Collect(context.Background(),
		act.Subject{PublicID: org.Key.ID, Account: org.Account, ExposedAt: at(30)}, nil, k.keep)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for id := range k.events {
		got = append(got, id)
	}
	slices.Sort(got)
	want := []string{"key", "key-use", "mint", "mint-elsewhere", "mint2", "old", "use2"}
	if !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	if !slices.ContainsFunc(coverage[0].Gaps, func(g string) bool {
		return strings.Contains(g, "account 999999999999 was assumed, which is not enrolled")
	}) {
		t.Errorf("the foreign role is no gap: %v", coverage[0].Gaps)
	}
	data, err := json.Marshal([]any{k.events, k.cursor, coverage})
	if err != nil || strings.Contains(string(data), "CANARY") {
		t.Errorf("a session token was kept (%v)", err)
	}
	lineage := trail.Descend(org.Key.ID, slices.Collect(mapValues(k.events)))
	if !lineage.Inside("AKIARTX3GSDSNEWKEY01") {
		t.Errorf("lineage %+v", lineage)
	}
}

// TestCollectMisbehaved reads through throttling, failures and lost answers.
func TestCollectMisbehaved(t *testing.T) {
	lab, org, d := laboratory(t, labaws.Options{Seed: 3, Misbehave: true}, "us-east-1", "eu-west-1")
	for d.Warm(context.Background()) != nil {
		time.Sleep(20 * time.Millisecond)
	}
	var records []json.RawMessage
	for j := range 180 {
		records = append(records, record(fmt.Sprintf("e-%d", j), "GetCallerIdentity", "eu-west-1", org.Key.ID, org.Account, time.Now().Add(-time.Duration(j)*time.Second), ""))
	}
	err := lab.ImportEvents("eu-west-1", records)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{events: map[string]trail.Event{}}
	coverage, err := cloudtrail.New(cloudtrail.Options{Accounts: d}).Collect(context.Background(), act.Subject{PublicID: org.Key.ID, Account: org.Account}, nil, k.keep)
	if err != nil || len(k.events) != 180 || !coverage[0].Complete || !coverage[1].Complete {
		t.Errorf("%v: %d events, coverage %+v", err, len(k.events), coverage)
	}
}

func mapValues(m map[string]trail.Event) func(func(trail.Event) bool) {
	return func(yield func(trail.Event) bool) {
		for _, e := range m {
			if !yield(e) {
				return
			}
		}
	}
}
