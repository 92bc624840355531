package cloudtrail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"stanch/responder/act"
	"stanch/responder/trail"
)

// wire answers LookupEvents in the test's own process.
type wire struct {
	mu     sync.Mutex
	asked  []question
	answer func(n int, q question) (status int, body string)
}

type question struct {
	StartTime, EndTime float64
	NextToken          string
	at                 time.Time
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	q := question{at: time.Now()}
	_ = json.Unmarshal(body, &q)
	w.mu.Lock()
	w.asked = append(w.asked, q)
	status, text := w.answer(len(w.asked), q)
	w.mu.Unlock()
	return &http.Response{StatusCode: status, ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Requestid": {"r1"}}, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func (w *wire) Config(_, region string) (awssdk.Config, error) {
	return awssdk.Config{Region: region, HTTPClient: w, Retryer: func() awssdk.Retryer { return awssdk.NopRetryer{} },
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
			return awssdk.Credentials{AccessKeyID: "ASIAOURS", SecretAccessKey: "s"}, nil
		})}, nil
}

func (w *wire) AccountRegions(string) []string { return []string{"us-east-1"} }
func (w *wire) Enrolled(account string) bool   { return account == "111122223333" }
func (w *wire) subject() act.Subject {
	return act.Subject{PublicID: "AKIALEAKED", Account: "111122223333"}
}

const nothing = `{"Events":[]}`

func drop(context.Context, []trail.Event, trail.Cursor) error { return nil }

func one(at time.Time) string {
	raw, _ := json.Marshal(fmt.Sprintf(`{"eventID":"e-%d","eventName":"X","eventSource":"s","eventTime":%q}`, at.Unix(), at.UTC().Format(time.RFC3339)))
	return fmt.Sprintf(`{"Events":[{"EventId":"x","CloudTrailEvent":%s}],"NextToken":"t"}`, raw)
}

// TestExpiredToken goes on from the oldest event that was read.
func TestExpiredToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := time.Now().Add(-time.Hour)
		w := &wire{answer: func(n int, _ question) (int, string) {
			switch n {
			case 1:
				return 200, one(last)
			case 2:
				return 400, `{"__type":"InvalidNextTokenException","message":"x"}`
			}
			return 200, nothing
		}}
		coverage, err := New(Options{Accounts: w}).Collect(context.Background(), w.subject(), nil, drop)
		if err != nil || !coverage[0].Complete || len(w.asked) != 3 {
			t.Fatalf("%v after %d requests: %+v", err, len(w.asked), coverage)
		}
		if w.asked[1].NextToken != "t" || w.asked[2].NextToken != "" || int64(w.asked[2].EndTime) != last.Unix()+1 || w.asked[2].StartTime != w.asked[0].StartTime {
			t.Errorf("requests %+v", w.asked)
		}
	})
}

// TestThrottled slows down, and at last says that the Region was not read.
func TestThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answer: func(int, question) (int, string) {
			return 400, `{"__type":"ThrottlingException","message":"x"}`
		}}
		source := New(Options{Accounts: w})
		coverage, err := source.Collect(context.Background(), w.subject(), nil, drop)
		if err != nil || coverage[0].Complete || coverage[0].Error != "ThrottlingException" || len(w.asked) != maxFailures {
			t.Fatalf("%v after %d requests: %+v", err, len(w.asked), coverage)
		}
		for i := 1; i < len(w.asked); i++ {
			if d := w.asked[i].at.Sub(w.asked[i-1].at); d < 500*time.Millisecond {
				t.Errorf("request %d came %v after the one before", i, d)
			}
		}
		if d := w.asked[maxFailures-1].at.Sub(w.asked[maxFailures-2].at); d < 3*time.Second {
			t.Errorf("the last request came %v after the one before: it did not slow down", d)
		}
		w.answer = func(int, question) (int, string) { return 200, nothing }
		coverage, err = source.Collect(context.Background(), w.subject(), nil, drop)
		if err != nil || !coverage[0].Complete {
			t.Errorf("later: %v %+v", err, coverage)
		}
	})
}

func TestRefusedRegion(t *testing.T) {
	w := &wire{answer: func(int, question) (int, string) {
		return 400, `{"__type":"AccessDeniedException","message":"CANARY"}`
	}}
	coverage, err := New(Options{Accounts: w}).Collect(context.Background(), w.subject(), nil, drop)
	if err != nil || len(w.asked) != 1 || coverage[0].Complete || coverage[0].Error != "AccessDeniedException" || coverage[0].Requests[0].Status != 400 {
		t.Errorf("%v after %d requests: %+v", err, len(w.asked), coverage)
	}
}

func TestCollectRefuses(t *testing.T) {
	w := &wire{}
	for name, s := range map[string]act.Subject{"foreign account": {PublicID: "AKIA", Account: "999999999999"}, "no id": {Account: "111122223333"}} {
		_, err := New(Options{Accounts: w}).Collect(context.Background(), s, nil, drop)
		if !errors.Is(err, act.ErrPerson) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
