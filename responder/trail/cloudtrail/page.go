package cloudtrail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/trail"
)

const (
	pageSize    = 50
	pageTimeout = 10 * time.Second
	maxFailures = 8 // of one page, one after the other
)

// turn reads one page; true when the task has nothing more to do.
func (r *run) turn(ctx context.Context, t *task) bool {
	r.mu.Lock()
	stop := r.err != nil || ctx.Err() != nil
	r.mu.Unlock()
	if stop {
		return true
	}
	page, err := r.ask(ctx, t)
	if err != nil {
		return ctx.Err() != nil || r.failed(ctx, t, err)
	}
	t.failures = 0
	events, unread := read(page.Events)
	for _, e := range events {
		if t.sweep.Last.IsZero() || e.Time.Before(t.sweep.Last) {
			t.sweep.Last = e.Time
		}
	}
	t.sweep.Token = awssdk.ToString(page.NextToken)
	t.sweep.Done = t.sweep.Token == ""
	return r.store(ctx, t, events, unread)
}

// store hands one page and the cursor after it to the keeper.
func (r *run) store(ctx context.Context, t *task, events []trail.Event, unread int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return true
	}
	c := r.cover(t.account, t.region)
	c.Pages++
	c.Events += len(events)
	if unread > 0 {
		r.gap(fmt.Sprintf("%d records of %s could not be read", unread, t.region))
	}
	r.follow(t, events)
	state, err := json.Marshal(t.sweep)
	if err != nil {
		r.err = fmt.Errorf("encode cursor: %w", err)
		return true
	}
	r.cursor[t.id] = string(state)
	err = r.keep(ctx, events, maps.Clone(r.cursor))
	if err != nil {
		r.err = fmt.Errorf("keep a page of the trail: %w", err)
		return true
	}
	return t.sweep.Done
}

// gap notes once what the trail misses; the caller holds the lock.
func (r *run) gap(text string) {
	for _, g := range r.gaps {
		if g == text {
			return
		}
	}
	r.gaps = append(r.gaps, text)
}

// follow queues what the events made: sessions, keys and users from about the
// exposure on. What was made before it is the owner's. The caller holds the lock.
func (r *run) follow(t *task, events []trail.Event) {
	since := r.subject.ExposedAt.Add(-mintMargin)
	for _, e := range events {
		if e.Error != "" || e.Denied || !r.subject.ExposedAt.IsZero() && e.Time.Before(since) {
			continue
		}
		account := t.account
		if role := strings.Split(e.Detail["role_arn"], ":"); len(role) > 5 && role[4] != "" && role[4] != account && e.Minted != "" {
			account = role[4]
			if !r.s.accounts.Enrolled(account) {
				r.gap("a role of account " + account + " was assumed, which is not enrolled: what was done there is in its own trail (" + e.Detail["role_arn"] + ")")
				continue
			}
		}
		if strings.HasPrefix(e.Minted, "ASIA") || strings.HasPrefix(e.Minted, "AKIA") {
			r.add(lookup{account: account, attribute: "AccessKeyId", value: e.Minted, depth: t.depth + 1})
		}
		if e.Operation == "CreateUser" && e.Detail["user_name"] != "" {
			r.add(lookup{account: account, attribute: "Username", value: e.Detail["user_name"], depth: t.depth + 1})
		}
	}
}

func (r *run) add(l lookup) {
	if _, ok := r.followed[l.key()]; ok {
		return
	}
	if l.depth > maxDepth {
		r.gap(fmt.Sprintf("%s was made %d steps away from the leaked key and was not followed", l.value, l.depth))
		return
	}
	if len(r.followed) >= maxFollowed {
		r.gap(fmt.Sprintf("more than %d credentials grew out of the key; the rest was not followed", maxFollowed))
		return
	}
	r.followed[l.key()] = l
	r.cursor[cursorFollow+l.key()] = strconv.Itoa(l.depth)
	r.next = append(r.next, l)
}

// ask makes one request, within the limit that all incidents share.
func (r *run) ask(ctx context.Context, t *task) (*cloudtrail.LookupEventsOutput, error) {
	limit := r.s.limits.of(t.account, t.region)
	err := limit.wait(ctx)
	if err != nil {
		return nil, err
	}
	cfg, err := r.s.accounts.Config(t.account, t.region)
	if err != nil {
		return nil, err
	}
	in := &cloudtrail.LookupEventsInput{
		StartTime: &t.sweep.From, EndTime: &t.sweep.To, MaxResults: awssdk.Int32(pageSize),
		LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKey(t.attribute), AttributeValue: &t.value}},
	}
	if t.sweep.Token != "" {
		in.NextToken = &t.sweep.Token
	}
	attempt, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	start := r.s.now()
	out, err := cloudtrail.NewFromConfig(cfg).LookupEvents(attempt, in)
	q := incident.Request{Operation: "cloudtrail:LookupEvents", Host: "cloudtrail." + t.region + ".amazonaws.com", At: start.UTC(), TookMS: r.s.now().Sub(start).Milliseconds(), With: "admin"}
	if cfg.BaseEndpoint != nil {
		q.Host = hostOf(*cfg.BaseEndpoint)
	}
	if err == nil {
		q.Status = 200
		q.RequestID, _ = awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	} else {
		q.Error = reason(err)
		var res *awshttpError
		if errors.As(err, &res) {
			q.Status, q.RequestID = res.HTTPStatusCode(), res.Response.Header.Get("X-Amzn-Requestid")
		}
	}
	if len(q.RequestID) > 64 {
		q.RequestID = q.RequestID[:64]
	}
	limit.learn(isThrottled(err))
	r.mu.Lock()
	c := r.cover(t.account, t.region)
	c.Requests = append(c.Requests, q)
	r.mu.Unlock()
	return out, err
}

type awshttpError = smithyhttp.ResponseError

func hostOf(endpoint string) string {
	_, rest, ok := strings.Cut(endpoint, "://")
	if !ok {
		rest = endpoint
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// failed decides about a page that did not come; true when the task gives up.
func (r *run) failed(ctx context.Context, t *task, err error) bool {
	code := codeOf(err)
	if code == "InvalidNextTokenException" || code == "InvalidNextToken" {
		// Tokens expire. Pages come newest first, so what is left ends where we stopped.
		t.sweep.Token = ""
		if !t.sweep.Last.IsZero() {
			t.sweep.To = t.sweep.Last.Add(time.Second)
		}
	}
	t.failures++
	passing := isThrottled(err) || isPassing(err) || strings.HasPrefix(code, "InvalidNextToken")
	if !passing || t.failures >= maxFailures || errors.Is(err, act.ErrPerson) {
		r.mu.Lock()
		defer r.mu.Unlock()
		c := r.cover(t.account, t.region)
		c.Error = reason(err)
		state, merr := json.Marshal(t.sweep)
		if merr == nil {
			r.cursor[t.id] = string(state) // marks the Region as unfinished
		}
		return true
	}
	return !sleep(ctx, time.Duration(t.failures)*250*time.Millisecond)
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// read parses the records of a page and counts those that cannot be read.
func read(list []types.Event) (events []trail.Event, unread int) {
	for _, raw := range list {
		e, err := Parse([]byte(awssdk.ToString(raw.CloudTrailEvent)))
		if err != nil {
			unread++
			continue
		}
		events = append(events, e)
	}
	return events, unread
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func isThrottled(err error) bool {
	switch codeOf(err) {
	case "ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException":
		return true
	}
	var res *awshttpError
	return errors.As(err, &res) && res.Response != nil && res.HTTPStatusCode() == 429
}

func isPassing(err error) bool {
	code := codeOf(err)
	if code == "" || code == "UnknownError" {
		return true // no answer of AWS at all
	}
	var res *awshttpError
	return errors.As(err, &res) && res.Response != nil && res.HTTPStatusCode() >= 500
}

// reason describes an error by its code, never by a provider's text.
func reason(err error) string {
	code := codeOf(err)
	switch {
	case errors.Is(err, act.ErrPerson):
		return err.Error()
	case code != "" && code != "UnknownError" && len(code) <= 80:
		return strings.ToValidUTF8(code, "")
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "no usable answer"
}
