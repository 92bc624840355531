package aws

import (
	"fmt"
	"time"
)

// RevokeSessionsPolicy is the name of the inline policy that denies sessions
// from before a time.
const RevokeSessionsPolicy = "StanchRevokeOlderSessions"

// denyLayers is how many inline denies are put at once. Someone who removes them
// must remove all within IAM's enforcement lag; three were enough in a model of
// the published attack, and leave most of a user's 2,048 characters alone.
const denyLayers = 3

// SessionDenyDocument denies everything to sessions whose credentials were
// issued before t. A long-lived key has no issue time, so it is not touched.
func SessionDenyDocument(t time.Time) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"%s"}}}}`,
		t.UTC().Format("2006-01-02T15:04:05Z"))
}

// DenyAllDocument denies everything.
func DenyAllDocument() string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
}

// DenyAllPolicyARN is AWS's own managed policy that denies everything. As a
// permissions boundary it allows nothing.
func DenyAllPolicyARN(partition string) string {
	return "arn:" + partition + ":iam::aws:policy/AWSDenyAll"
}

// roundUp gives the first full second that is not before t.
func roundUp(t time.Time) time.Time {
	r := t.Truncate(time.Second)
	if r.Before(t) {
		r = r.Add(time.Second)
	}
	return r
}

// layerNames are the names of the inline denies of an incident.
func layerNames(incidentID string) []string {
	tag := incidentID
	if len(tag) > 8 {
		tag = tag[len(tag)-8:] // the random end of a UUIDv7
	}
	if tag == "" {
		tag = "x"
	}
	var out []string
	for i := range denyLayers {
		out = append(out, fmt.Sprintf("StanchDeny-%s-%d", tag, i+1))
	}
	return out
}
