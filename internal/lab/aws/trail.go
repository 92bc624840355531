package labaws

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// shard is the CloudTrail event history of one account in one Region.
type shard struct {
	events []*trailEvent
	tokens float64 // of the LookupEvents rate limit
	filled time.Time
}

type trailEvent struct {
	sequence  int
	at        time.Time
	visible   time.Time
	imported  bool
	name      string
	source    string
	id        string
	keyID     string
	username  string
	readOnly  bool
	resources []map[string]string
	raw       string // the record as JSON
}

// record files a call as a CloudTrail record. Data events (S3 objects) are no
// management events: a trail without data events, like this one, has none.
func (s *Server) record(c *call, r reply, refusal *apiError) {
	if c.service == "s3" && c.operation == "GetObject" {
		return
	}
	op := operations[c.service+":"+c.operation]
	readOnly := !op.write
	switch c.operation {
	case "GetFederationToken", "RunInstances":
		readOnly = false
	}
	id := make([]byte, 16)
	fill(id, s.rng)
	record := map[string]any{
		"eventVersion": "1.09", "userIdentity": c.who.identity(), "eventTime": c.now.Format("2006-01-02T15:04:05Z"),
		"eventSource": c.service + ".amazonaws.com", "eventName": c.operation, "awsRegion": c.logRegion,
		"sourceIPAddress": c.sourceIP, "userAgent": c.userAgent, "requestParameters": c.logParameters(),
		"responseElements": nil, "requestID": c.requestID, "eventID": uuid.Must(uuid.FromBytes(id)).String(),
		"readOnly": readOnly, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": c.who.account.id, "eventCategory": "Management",
	}
	if r.elements != nil {
		record["responseElements"] = r.elements
	}
	if refusal != nil {
		record["errorCode"] = trailCode(c.service, refusal.code)
		record["errorMessage"] = refusal.message
	}
	e := s.file(c.who.account, c.logRegion, record)
	if e != nil {
		e.visible = c.now.Add(s.draw(s.opts.TrailDelay))
		e.at = c.now
	}
	// A role of another account: its owner sees the call too.
	if c.operation == "AssumeRole" && refusal == nil {
		if owner := s.roleByARN(c.str("RoleArn")); owner != nil && owner.account != c.who.account {
			record["recipientAccountId"] = owner.account.id
			fill(id, s.rng)
			record["sharedEventID"], record["eventID"] = record["eventID"], uuid.Must(uuid.FromBytes(id)).String()
			other := s.file(owner.account, c.logRegion, record)
			if other != nil {
				other.visible, other.at = e.visible, c.now
			}
		}
	}
}

// trailCode is the error code as CloudTrail writes it.
func trailCode(service, code string) string {
	switch service {
	case "iam":
		switch code {
		case "NoSuchEntity", "LimitExceeded", "EntityAlreadyExists", "DeleteConflict", "MalformedPolicyDocument",
			"ConcurrentModification", "EntityTemporarilyUnmodifiable", "ServiceFailure":
			return code + "Exception"
		case "Throttling":
			return "ThrottlingException"
		}
		return code
	case "ec2":
		return "Client." + translate(service, code)
	case "sts", "s3":
		return code
	}
	if code == "AccessDenied" {
		return code
	}
	return translate(service, code)
}

func (p *principal) identity() map[string]any {
	m := map[string]any{
		"type": "IAMUser", "principalId": p.userID(), "arn": p.arn(), "accountId": p.account.id, "accessKeyId": p.keyID,
	}
	if p.root() {
		m["type"] = "Root"
	}
	if p.user != nil {
		m["userName"] = p.user.name
	}
	if p.session == nil {
		return m
	}
	context := map[string]any{
		"attributes": map[string]any{"creationDate": p.session.issued.UTC().Format("2006-01-02T15:04:05Z"), "mfaAuthenticated": "false"},
	}
	switch p.session.kind {
	case roleSession:
		m["type"] = "AssumedRole"
		context["sessionIssuer"] = map[string]any{
			"type": "Role", "principalId": p.role.id, "arn": p.role.arn(), "accountId": p.account.id, "userName": p.role.name,
		}
	case federatedSession:
		m["type"] = "FederatedUser"
		delete(m, "userName")
		context["sessionIssuer"] = map[string]any{
			"type": "IAMUser", "principalId": p.user.id, "arn": p.user.arn(), "accountId": p.account.id, "userName": p.user.name,
		}
	}
	m["sessionContext"] = context
	return m
}

// file stores a record in its shard and indexes what LookupEvents can look up.
func (s *Server) file(a *account, region string, record map[string]any) *trailEvent {
	raw, err := json.Marshal(record)
	if err != nil {
		return nil
	}
	e, err := parseEvent(raw)
	if err != nil {
		return nil
	}
	s.sequence++
	e.sequence = s.sequence
	sh, ok := a.shards[region]
	if !ok {
		sh = &shard{}
		a.shards[region] = sh
	}
	sh.events = append(sh.events, e)
	return e
}

func parseEvent(raw []byte) (*trailEvent, error) {
	var v struct {
		EventID      string `json:"eventID"`
		EventName    string `json:"eventName"`
		EventSource  string `json:"eventSource"`
		EventTime    string `json:"eventTime"`
		AWSRegion    string `json:"awsRegion"`
		ReadOnly     any    `json:"readOnly"`
		UserIdentity struct {
			Type        string `json:"type"`
			UserName    string `json:"userName"`
			AccessKeyID string `json:"accessKeyId"`
			ARN         string `json:"arn"`
		} `json:"userIdentity"`
		RequestParameters map[string]any `json:"requestParameters"`
		ResponseElements  map[string]any `json:"responseElements"`
		Resources         []struct {
			ARN  string `json:"ARN"`
			Type string `json:"type"`
		} `json:"resources"`
	}
	err := json.Unmarshal(raw, &v)
	if err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	at, err := time.Parse(time.RFC3339, v.EventTime)
	if err != nil || v.EventID == "" || v.EventName == "" {
		return nil, fmt.Errorf("read event %q: no id, name or time", v.EventID)
	}
	e := &trailEvent{
		at: at, name: v.EventName, source: v.EventSource, id: v.EventID, keyID: v.UserIdentity.AccessKeyID,
		username: v.UserIdentity.UserName, readOnly: fmt.Sprint(v.ReadOnly) == "true", raw: string(raw),
	}
	if v.UserIdentity.Type == "AssumedRole" || v.UserIdentity.Type == "FederatedUser" {
		e.username = v.UserIdentity.ARN[strings.LastIndexByte(v.UserIdentity.ARN, '/')+1:]
	}
	for _, r := range v.Resources {
		e.resources = append(e.resources, map[string]string{"ResourceType": r.Type, "ResourceName": r.ARN})
	}
	addResource := func(kind, name string) {
		if name != "" {
			e.resources = append(e.resources, map[string]string{"ResourceType": kind, "ResourceName": name})
		}
	}
	for _, p := range []struct{ key, kind string }{
		{"userName", "AWS::IAM::User"}, {"roleName", "AWS::IAM::Role"}, {"roleArn", "AWS::IAM::Role"},
		{"policyArn", "AWS::IAM::Policy"}, {"policyName", "AWS::IAM::Policy"}, {"accessKeyId", "AWS::IAM::AccessKey"},
		{"bucketName", "AWS::S3::Bucket"}, {"secretId", "AWS::SecretsManager::Secret"},
	} {
		name, _ := v.RequestParameters[p.key].(string)
		addResource(p.kind, name)
	}
	for _, k := range []string{"accessKey", "credentials"} {
		made, _ := v.ResponseElements[k].(map[string]any)
		name, _ := made["accessKeyId"].(string)
		addResource("AWS::IAM::AccessKey", name)
	}
	return e, nil
}

// ImportEvents puts recorded CloudTrail records into the first account's event
// history of region, or of each record's own awsRegion when region is empty.
// They are visible at once and kept past the 90 days that LookupEvents has.
func (s *Server) ImportEvents(region string, events []json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, raw := range events {
		e, err := parseEvent(raw)
		if err != nil {
			return fmt.Errorf("import event %d: %w", i, err)
		}
		into := region
		if into == "" {
			var v struct {
				AWSRegion string `json:"awsRegion"`
			}
			err = json.Unmarshal(raw, &v)
			if err != nil || v.AWSRegion == "" {
				return fmt.Errorf("import event %d: no Region", i)
			}
			into = v.AWSRegion
		}
		sh, ok := s.primary.shards[into]
		if !ok {
			return fmt.Errorf("import event %d: Region %q is not enabled", i, into)
		}
		s.sequence++
		e.sequence, e.imported = s.sequence, true
		sh.events = append(sh.events, e)
	}
	return nil
}

// ShiftEvents moves the times of recorded events so that the newest happened at
// newest; the distances between them stay. Everything else is kept.
func ShiftEvents(events []json.RawMessage, newest time.Time) ([]json.RawMessage, error) {
	var last time.Time
	for i, raw := range events {
		e, err := parseEvent(raw)
		if err != nil {
			return nil, fmt.Errorf("shift event %d: %w", i, err)
		}
		if e.at.After(last) {
			last = e.at
		}
	}
	var out []json.RawMessage
	for i, raw := range events {
		var record map[string]json.RawMessage
		err := json.Unmarshal(raw, &record)
		if err != nil {
			return nil, fmt.Errorf("shift event %d: %w", i, err)
		}
		e, err := parseEvent(raw)
		if err != nil {
			return nil, fmt.Errorf("shift event %d: %w", i, err)
		}
		record["eventTime"] = json.RawMessage(strconv.Quote(e.at.Add(newest.Sub(last)).UTC().Format("2006-01-02T15:04:05Z")))
		moved, err := json.Marshal(record)
		if err != nil {
			return nil, fmt.Errorf("shift event %d: %w", i, err)
		}
		out = append(out, moved)
	}
	return out, nil
}

// Records returns every record of an account's Region as CloudTrail would keep
// it, visible yet or not, in order of filing.
func (s *Server) Records(accountID, region string) []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[accountID]
	if !ok || a.shards[region] == nil {
		return nil
	}
	var out []json.RawMessage
	for _, e := range a.shards[region].events {
		out = append(out, json.RawMessage(e.raw))
	}
	return out
}
