package cloudtrail

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stanch/responder/trail"
)

// SourceName is the name of this source in events and coverage, and its verb in playbooks.
const SourceName = "aws.cloudtrail_lookup"

const (
	maxEventBytes = 1 << 20 // CloudTrail's own records are at most 256 KiB
	maxValueBytes = 256
	maxList       = 100
)

// Parse turns one CloudTrail record, as LookupEvents gives it, into an event.
// Everything in it is hostile: values are clipped, secrets are dropped before
// anything is kept, and only an allow-list of request parameters survives.
func Parse(raw []byte) (trail.Event, error) {
	if len(raw) > maxEventBytes {
		return trail.Event{}, fmt.Errorf("parse CloudTrail event: %d bytes, more than %d", len(raw), maxEventBytes)
	}
	var doc map[string]any
	err := json.Unmarshal(raw, &doc)
	if err != nil {
		return trail.Event{}, errors.New("parse CloudTrail event: not a JSON object") // the cause may quote a secret
	}
	marks := masterPassword(doc)
	scrub(doc)
	o := object(doc)
	id := o.at("userIdentity")
	e := trail.Event{
		ID:         o.text("eventID"),
		Source:     SourceName,
		Service:    o.text("eventSource"),
		Operation:  o.text("eventName"),
		Region:     o.text("awsRegion"),
		Actor:      id.text("arn"),
		Credential: id.text("accessKeyId"),
		Address:    o.text("sourceIPAddress"),
		UserAgent:  o.text("userAgent"),
		Error:      o.text("errorCode"),
		ReadOnly:   o.flag("readOnly"),
		RequestID:  o.text("requestID"),
	}
	if e.ID == "" || e.Service == "" || e.Operation == "" {
		return trail.Event{}, errors.New("parse CloudTrail event: eventID, eventSource or eventName is missing")
	}
	e.Time, err = time.Parse(time.RFC3339, o.text("eventTime"))
	if err != nil {
		return trail.Event{}, errors.New("parse CloudTrail event: eventTime is no RFC 3339 time")
	}
	e.Time = e.Time.UTC()
	e.Denied = trail.IsDenied(e.Error)
	if e.Error == "" && o.at("responseElements").text("ConsoleLogin") == "Failure" {
		e.Error, e.Denied = "ConsoleLoginFailure", true
	}
	if e.Actor == "" {
		e.Actor = id.text("principalId")
	}
	e.Detail = detail(o, marks)
	e.Minted = minted(o)
	e.Resources = resources(o)
	e.Created = created(e, o)
	return e, nil
}

// dropped are names of fields that hold secrets, compared without regard to
// case, hyphens and underscores.
var dropped = []string{"sessiontoken", "secretaccesskey", "secretkey", "password", "tokencode", "secretstring", "secretbinary",
	"bearer", "authorization", "privatekey", "securitytoken", "authenticationcode", "privatekeymaterial", "tokenvalue", "webidentitytoken",
	"samlassertion", "signintoken", "authtoken", "authorizationtoken", "accesstoken", "refreshtoken", "idtoken", "clientsecret"}

func isDropped(key string) bool {
	k := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
	if k == "passwordresetrequired" || k == "passwordlastused" || k == "passwordpolicy" {
		return false
	}
	return slices.ContainsFunc(dropped, func(d string) bool { return strings.Contains(k, d) })
}

// scrub removes fields that hold secrets, at any depth, and strings that have
// the shape of a session token wherever they stand.
func scrub(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if isDropped(k) {
				delete(v, k)
				continue
			}
			if s, ok := x.(string); ok && looksSecret(s) {
				delete(v, k)
				continue
			}
			scrub(x)
		}
	case []any:
		for i, x := range v {
			if s, ok := x.(string); ok && looksSecret(s) {
				v[i] = nil
				continue
			}
			scrub(x)
		}
	}
}

// looksSecret recognises STS session tokens (they begin with the base64 of a
// fixed header) and bearer values inside other strings.
func looksSecret(s string) bool {
	for _, mark := range []string{"IQoJb3JpZ2lu", "FwoGZXIvYXdz", "FQoGZXIvYXdz", "Bearer ", "bearer ", "bedrock-api-key-", "ABSK", "X-Amz-Security-Token"} {
		if strings.Contains(s, mark) {
			return true
		}
	}
	return false
}

// masterPassword notes, before scrubbing, that a database password was changed.
func masterPassword(doc map[string]any) map[string]string {
	p := object(doc).at("requestParameters")
	for k := range p {
		if strings.EqualFold(k, "masterUserPassword") {
			return map[string]string{"master_password": "changed"}
		}
	}
	return nil
}

// kept are the request parameters that an event keeps, by their name in the log.
var kept = map[string]string{
	"userName": "user_name", "roleName": "role_name", "groupName": "group_name", "policyArn": "policy_arn", "policyName": "policy_name",
	"roleArn": "role_arn", "roleSessionName": "role_session", "name": "name", "status": "status", "accessKeyId": "access_key_id",
	"durationSeconds": "duration_seconds", "attribute": "attribute", "attributeType": "attribute_type", "instanceId": "instance_id",
	"instanceType": "instance_type", "imageId": "image_id", "snapshotId": "snapshot_id", "functionName": "function", "bucketName": "bucket",
	"key": "key", "secretId": "secret_id", "documentName": "document", "modelId": "model_id", "regionName": "region_name",
	"serviceName": "service_name", "withDecryption": "with_decryption", "target": "target", "trailName": "trail_name",
	"dBSnapshotIdentifier": "db_snapshot", "dBInstanceIdentifier": "db_instance", "keyId": "kms_key_id", "groupId": "group_id",
	"detectorId": "detector_id", "permissionsBoundary": "permissions_boundary", "serialNumber": "mfa_serial", "stackName": "stack",
}

func detail(o object, marks map[string]string) map[string]string {
	d := map[string]string{}
	for k, v := range marks {
		d[k] = v
	}
	put := func(k, v string) {
		if v != "" {
			d[k] = v
		}
	}
	p, id := o.at("requestParameters"), o.at("userIdentity")
	for in, out := range kept {
		put(out, p.text(in))
	}
	put("account", first(id.text("accountId"), o.text("recipientAccountId")))
	put("principal_type", id.text("type"))
	put("actor_name", id.text("userName"))
	put("invoked_by", id.text("invokedBy"))
	put("issuer", id.at("sessionContext").at("sessionIssuer").text("arn"))
	put("mfa", id.at("sessionContext").at("attributes").text("mfaAuthenticated"))
	put("shared_event_id", o.text("sharedEventID"))
	put("event_category", o.text("eventCategory"))
	put("vpc_endpoint", o.text("vpcEndpointId"))
	if o.flag("sessionCredentialFromConsole") {
		d["from_console"] = "true"
	}
	if _, ok := p["userData"]; ok {
		d["user_data"] = "set"
	}
	if p.flag("publiclyAccessible") {
		d["public"] = "true"
	}
	put("versioning", p.at("VersioningConfiguration").text("Status"))
	if o.text("eventName") == "PutBucketLogging" && len(p.at("BucketLoggingStatus").at("LoggingEnabled")) == 0 {
		d["logging"] = "off"
	}
	if p.text("x-amz-server-side-encryption-customer-algorithm") != "" {
		d["encryption"] = "sse-c"
	}
	put("kms_key", p.text("x-amz-server-side-encryption-aws-kms-key-id"))
	if d["instance_type"] == "" {
		put("instance_type", p.at("instancesSet").text("instanceType"))
	}
	put("policy_arn", p.text("policyArn"))
	return d
}

// minted gives the public id of a credential that the call made.
func minted(o object) string {
	r := o.at("responseElements")
	return first(
		r.at("credentials").text("accessKeyId"),
		r.at("accessKey").text("accessKeyId"),
		r.at("serviceSpecificCredential").text("serviceSpecificCredentialId"),
	)
}

// resources lists what the call touched: the record's own list, else the
// parameters that name one.
func resources(o object) []string {
	var out []string
	add := func(s string) {
		if s != "" && len(out) < maxList && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for _, r := range o.list("resources") {
		add(first(r.text("ARN"), r.text("arn"), r.text("resourceName")))
	}
	p := o.at("requestParameters")
	if len(out) == 0 {
		add(p.text("secretId"))
		if n, ok := p["names"].([]any); ok {
			for _, x := range n {
				s, _ := x.(string)
				add(clip(s))
			}
		}
		if strings.HasPrefix(o.text("eventName"), "GetParameter") {
			add(p.text("name"))
			add(p.text("path"))
		}
	}
	for _, k := range []string{"policyArn", "roleArn", "instanceId", "snapshotId", "imageId", "bucketName", "functionName", "dBSnapshotIdentifier"} {
		add(p.text(k))
	}
	if p.text("bucketName") != "" && p.text("key") != "" {
		add("s3://" + clip(p.text("bucketName")+"/"+p.text("key")))
	}
	return out
}

// madeFields are fields of responseElements that name a new thing.
var madeFields = []string{"arn", "userId", "groupId", "instanceId", "snapshotId", "imageId", "functionArn", "layerVersionArn", "trustAnchorArn",
	"profileArn", "trailARN", "policyId", "serviceSpecificCredentialId", "openIDConnectProviderArn", "sAMLProviderArn", "serialNumber",
	"stackId", "taskDefinitionArn", "clusterArn", "serviceArn", "keyPairId", "fleetId", "topicArn", "secretARN", "commandId", "jobArn"}

// created lists what the call made. Only successful writes whose name says so
// make something.
func created(e trail.Event, o object) []string {
	if e.Error != "" || e.ReadOnly && e.Operation != "CreateAccessKey" {
		return nil
	}
	op := e.Operation
	makes := false
	for _, p := range []string{"Create", "Run", "Import", "Upload", "Register", "Publish", "Restore", "Put", "Attach", "Add", "Enable", "Send", "Start", "Request", "Copy", "Allocate"} {
		makes = makes || strings.HasPrefix(op, p)
	}
	if !makes {
		return nil
	}
	var out []string
	add := func(s string) {
		if s != "" && len(out) < maxList && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	add(first(o.at("responseElements").at("accessKey").text("accessKeyId"), o.at("responseElements").at("serviceSpecificCredential").text("serviceSpecificCredentialId")))
	collect(o["responseElements"], 0, add)
	if len(out) == 0 && (strings.HasPrefix(op, "Create") || strings.HasPrefix(op, "Put") || strings.HasPrefix(op, "Attach")) {
		d := e.Detail
		if name := first(d["user_name"], d["role_name"], d["group_name"], d["function"], d["bucket"]); name != "" {
			add(strings.TrimSuffix(name+" "+first(d["policy_arn"], d["policy_name"]), " "))
		}
	}
	return out
}

func collect(v any, depth int, add func(string)) {
	if depth > 6 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		o := object(v)
		for _, f := range madeFields {
			if s := o.text(f); s != "" {
				add(s)
				break // the ARN, where there is one, names it best
			}
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if k != "credentials" && k != "assumedRoleUser" {
				collect(v[k], depth+1, add)
			}
		}
	case []any:
		for _, x := range v {
			collect(x, depth+1, add)
		}
	}
}

// object is a decoded JSON object that never fails: a wrong shape is emptiness.
type object map[string]any

func (o object) at(k string) object {
	m, _ := o[k].(map[string]any)
	return m
}

func (o object) list(k string) []object {
	l, _ := o[k].([]any)
	var out []object
	for _, x := range l {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

func (o object) text(k string) string {
	switch v := o[k].(type) {
	case string:
		return clip(v)
	case bool:
		return map[bool]string{true: "true", false: "false"}[v]
	case float64:
		return clip(strings.TrimSuffix(fmt.Sprintf("%.0f", v), "."))
	}
	return ""
}

func (o object) flag(k string) bool { return o.text(k) == "true" }

// clip bounds a foreign value on a rune boundary and drops invalid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxValueBytes {
		return s
	}
	cut := maxValueBytes
	for cut > 0 && s[cut]&0xC0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}
