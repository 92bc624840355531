package labaws

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// LookupEvents as CloudTrail has it.
const (
	lookupRate      = 2.0 // requests a second for each account and Region
	lookupPage      = 50
	lookupRetention = 90 * 24 * time.Hour
	pageTokenLife   = 10 * time.Minute
)

var _ = add(map[string]operation{
	"cloudtrail:LookupEvents": {action: "cloudtrail:LookupEvents", run: lookupEvents},
})

type lookup struct {
	attribute, value string
	start, end       time.Time
	most             int
	after            *cursor
}

// cursor is the last event of a page.
type cursor struct {
	Nanos    int64  `json:"n"`
	Sequence int    `json:"s"`
	Bound    string `json:"b"` // the parameters that the token belongs to
	Issued   int64  `json:"i"`
}

func lookupEvents(c *call) (reply, *apiError) {
	sh := c.who.account.shards[c.region]
	if !sh.admit(c.now) {
		return reply{}, fail(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	q, bound, refusal := c.readLookup()
	if refusal != nil {
		return reply{}, refusal
	}
	var found []*trailEvent
	for _, e := range sh.events {
		if e.matches(q, c.now) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b *trailEvent) int {
		if order := b.at.Compare(a.at); order != 0 {
			return order
		}
		return b.sequence - a.sequence
	})
	out := map[string]any{}
	if len(found) > q.most {
		found = found[:q.most]
		last := found[q.most-1]
		out["NextToken"] = c.s.seal(cursor{Nanos: last.at.UnixNano(), Sequence: last.sequence, Bound: bound, Issued: c.now.UnixNano()})
	}
	events := []any{}
	for _, e := range found {
		resources := e.resources
		if resources == nil {
			resources = []map[string]string{}
		}
		m := map[string]any{
			"EventId": e.id, "EventName": e.name, "EventSource": e.source, "EventTime": e.at.Unix(),
			"ReadOnly": fmt.Sprint(e.readOnly), "Resources": resources, "CloudTrailEvent": e.raw,
		}
		if e.keyID != "" {
			m["AccessKeyId"] = e.keyID
		}
		if e.username != "" {
			m["Username"] = e.username
		}
		events = append(events, m)
	}
	out["Events"] = events
	return reply{json: out}, nil
}

// admit is a token bucket that holds lookupRate requests.
func (sh *shard) admit(now time.Time) bool {
	if sh.filled.IsZero() {
		sh.tokens = lookupRate
	} else {
		sh.tokens = min(lookupRate, sh.tokens+lookupRate*now.Sub(sh.filled).Seconds())
	}
	sh.filled = now
	if sh.tokens < 1 {
		return false
	}
	sh.tokens--
	return true
}

var lookupAttributes = []string{
	"AccessKeyId", "Username", "EventName", "EventId", "EventSource", "ReadOnly", "ResourceType", "ResourceName",
}

func (c *call) readLookup() (lookup, string, *apiError) {
	q := lookup{most: lookupPage}
	var p struct {
		LookupAttributes []struct{ AttributeKey, AttributeValue string }
		StartTime        *float64
		EndTime          *float64
		MaxResults       *int
		NextToken        *string
		EventCategory    string
	}
	raw, err := json.Marshal(c.json)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return q, "", fail(http.StatusBadRequest, "SerializationException", "a parameter has the wrong type")
	}
	if len(p.LookupAttributes) > 1 {
		return q, "", fail(http.StatusBadRequest, "InvalidLookupAttributesException", "Only one lookup attribute can be specified.")
	}
	for _, a := range p.LookupAttributes {
		if !slices.Contains(lookupAttributes, a.AttributeKey) || a.AttributeValue == "" {
			return q, "", fail(http.StatusBadRequest, "InvalidLookupAttributesException", "The lookup attribute %q is not valid.", a.AttributeKey)
		}
		q.attribute, q.value = a.AttributeKey, a.AttributeValue
	}
	if p.MaxResults != nil {
		q.most = *p.MaxResults
		if q.most < 1 || q.most > lookupPage {
			return q, "", fail(http.StatusBadRequest, "InvalidMaxResultsException", "MaxResults must be between 1 and %d.", lookupPage)
		}
	}
	if p.StartTime != nil {
		q.start = epoch(*p.StartTime)
	}
	if p.EndTime != nil {
		q.end = epoch(*p.EndTime)
	}
	if p.StartTime != nil && p.EndTime != nil && q.start.After(q.end) {
		return q, "", fail(http.StatusBadRequest, "InvalidTimeRangeException", "The start time is after the end time.")
	}
	if p.EventCategory != "" && p.EventCategory != "insight" {
		return q, "", fail(http.StatusBadRequest, "InvalidEventCategoryException", "The event category is not valid.")
	}
	if p.EventCategory == "insight" {
		q.attribute, q.value = "EventId", "none: the laboratory has no Insights events"
	}
	bound := strings.Join([]string{c.who.account.id, c.region, q.attribute, q.value, q.start.String(), q.end.String()}, "|")
	if p.NextToken == nil {
		return q, bound, nil
	}
	q.after = c.s.unseal(*p.NextToken)
	if q.after == nil || q.after.Bound != bound || c.now.Sub(time.Unix(0, q.after.Issued)) > pageTokenLife {
		return q, "", fail(http.StatusBadRequest, "InvalidNextTokenException", "The token is not valid, has expired or belongs to other parameters.")
	}
	return q, bound, nil
}

func epoch(f float64) time.Time {
	return time.UnixMilli(int64(f * 1000)).UTC()
}

func (e *trailEvent) matches(q lookup, now time.Time) bool {
	if e.visible.After(now) || (!e.imported && now.Sub(e.at) > lookupRetention) {
		return false
	}
	second := e.at.Truncate(time.Second)
	if !q.start.IsZero() && second.Before(q.start.Truncate(time.Second)) || !q.end.IsZero() && second.After(q.end) {
		return false
	}
	if q.after != nil {
		n := e.at.UnixNano()
		if n > q.after.Nanos || n == q.after.Nanos && e.sequence >= q.after.Sequence {
			return false
		}
	}
	switch q.attribute {
	case "AccessKeyId":
		return e.keyID == q.value
	case "Username":
		return e.username == q.value
	case "EventName":
		return e.name == q.value
	case "EventId":
		return e.id == q.value
	case "EventSource":
		return e.source == q.value
	case "ReadOnly":
		return fmt.Sprint(e.readOnly) == q.value
	case "ResourceType", "ResourceName":
		for _, r := range e.resources {
			if r[q.attribute] == q.value {
				return true
			}
		}
		return false
	}
	return true
}

func (s *Server) seal(c cursor) string {
	raw, _ := json.Marshal(c)
	return base64.RawURLEncoding.EncodeToString(append(mac(s.pageKey, string(raw)), raw...))
}

func (s *Server) unseal(token string) *cursor {
	both, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(both) < 32 {
		return nil
	}
	sum, raw := both[:32], both[32:]
	if !hmac.Equal(sum, mac(s.pageKey, string(raw))) {
		return nil
	}
	var c cursor
	err = json.NewDecoder(bytes.NewReader(raw)).Decode(&c)
	if err != nil {
		return nil
	}
	return &c
}
