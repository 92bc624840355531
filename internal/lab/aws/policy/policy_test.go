package policy

import (
	"strings"
	"testing"
)

const (
	allowAll = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
	denyAll  = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`
	revoke   = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2026-11-22T10:00:00Z"}}}}`
	botARN   = "arn:aws:iam::111122223333:user/ci/deploy-bot"
)

// deny wraps a condition in a deny of everything.
func deny(condition string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":` + condition + `}}`
}

func allow(action, resource string) string {
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"` + action + `","Resource":"` + resource + `"}}`
}

type example struct {
	Name     string              `json:"name"`
	Action   string              `json:"action"`
	Resource string              `json:"resource"`
	Context  map[string][]string `json:"context"`
	Identity []string            `json:"identity"`
	Boundary string              `json:"boundary,omitempty"`
	Control  []string            `json:"control,omitempty"`
	want     string              // "allowed", "denied" (explicitly) or "missing"
}

func is(key string, values ...string) map[string][]string { return map[string][]string{key: values} }

var examples = []example{
	{Name: "nothing", Action: "iam:GetUser", Resource: botARN, want: "missing"},
	{Name: "allowed", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, want: "allowed"},
	{Name: "deny wins", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, denyAll}, want: "denied"},
	{Name: "action without regard to case", Action: "iam:GetUser", Resource: botARN, Identity: []string{allow("IAM:getuser", "*")}, want: "allowed"},
	{Name: "action wildcard", Action: "iam:GetUser", Resource: botARN, Identity: []string{allow("iam:Get*", "*")}, want: "allowed"},
	{Name: "action wildcard of another verb", Action: "iam:DeleteUser", Resource: botARN, Identity: []string{allow("iam:Get*", "*")}, want: "missing"},
	{Name: "one character", Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Identity: []string{allow("s3:GetObjec?", "*")}, want: "allowed"},
	{Name: "resource", Action: "iam:GetUser", Resource: botARN, Identity: []string{allow("iam:*", "arn:aws:iam::111122223333:user/ci/*")}, want: "allowed"},
	{Name: "other resource", Action: "iam:GetUser", Resource: botARN, Identity: []string{allow("iam:*", "arn:aws:iam::111122223333:user/alice")}, want: "missing"},
	{Name: "object in bucket", Action: "s3:GetObject", Resource: "arn:aws:s3:::acme/a/b", Identity: []string{allow("s3:GetObject", "arn:aws:s3:::acme/*")}, want: "allowed"},
	{Name: "not action", Action: "iam:GetUser", Resource: botARN, Identity: []string{
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}}`}, want: "allowed"},
	{Name: "not action hit", Action: "iam:GetUser", Resource: botARN, Identity: []string{
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":["s3:*","iam:Get*"],"Resource":"*"}}`}, want: "missing"},
	{Name: "not resource", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll,
		`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"iam:*","NotResource":"arn:aws:iam::111122223333:user/alice"}}`}, want: "denied"},
	{Name: "variable", Action: "iam:GetUser", Resource: "arn:aws:iam::111122223333:user/deploy-bot", Context: is("aws:username", "deploy-bot"),
		Identity: []string{allow("iam:*", "arn:aws:iam::*:user/${aws:username}")}, want: "allowed"},
	{Name: "variable without value", Action: "iam:GetUser", Resource: "arn:aws:iam::111122223333:user/deploy-bot",
		Identity: []string{allow("iam:*", "arn:aws:iam::*:user/${aws:username}")}, want: "missing"},

	{Name: "boundary allows", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, Boundary: allow("iam:*", "*"), want: "allowed"},
	{Name: "boundary does not allow", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, Boundary: allow("s3:*", "*"), want: "missing"},
	{Name: "boundary denies", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, Boundary: denyAll, want: "denied"},
	{Name: "boundary gives nothing", Action: "iam:GetUser", Resource: botARN, Boundary: allowAll, want: "missing"},
	{Name: "control policy denies", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, Control: []string{allowAll, denyAll}, want: "denied"},
	{Name: "control policy does not allow", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll}, Control: []string{allow("s3:*", "*")}, want: "missing"},

	{Name: "long-lived key under revoke", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, revoke}, want: "allowed"},
	{Name: "older session under revoke", Action: "iam:GetUser", Resource: botARN, Context: is("aws:TokenIssueTime", "2026-11-22T09:59:59Z"), Identity: []string{allowAll, revoke}, want: "denied"},
	{Name: "session of that second", Action: "iam:GetUser", Resource: botARN, Context: is("aws:TokenIssueTime", "2026-11-22T10:00:00Z"), Identity: []string{allowAll, revoke}, want: "allowed"},
	{Name: "newer session under revoke", Action: "iam:GetUser", Resource: botARN, Context: is("aws:TokenIssueTime", "2026-11-22T10:00:01Z"), Identity: []string{allowAll, revoke}, want: "allowed"},
	{Name: "absent key with IfExists", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll,
		deny(`{"DateLessThanIfExists":{"aws:TokenIssueTime":"2026-11-22T10:00:00Z"}}`)}, want: "denied"},
	{Name: "absent key negated", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, deny(`{"StringNotEquals":{"aws:PrincipalTag/team":"a"}}`)}, want: "denied"},
	{Name: "negated list", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalTag/team", "b"), Identity: []string{allowAll,
		deny(`{"StringNotEquals":{"aws:PrincipalTag/team":["a","b"]}}`)}, want: "allowed"},
	{Name: "StringEquals minds case", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalTag/team", "A"), Identity: []string{allowAll,
		deny(`{"StringEquals":{"aws:PrincipalTag/team":"a"}}`)}, want: "allowed"},
	{Name: "StringEquals knows no wildcard", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalTag/team", "ab"), Identity: []string{allowAll,
		deny(`{"StringEquals":{"aws:PrincipalTag/team":"a*"}}`)}, want: "allowed"},
	{Name: "StringLike", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalTag/team", "ab"), Identity: []string{allowAll,
		deny(`{"StringLike":{"aws:PrincipalTag/team":"a*"}}`)}, want: "denied"},
	{Name: "ArnLike", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalArn", botARN), Identity: []string{allowAll,
		deny(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/ci/*"}}`)}, want: "denied"},
	{Name: "ArnNotEquals", Action: "iam:GetUser", Resource: botARN, Context: is("aws:PrincipalArn", botARN), Identity: []string{allowAll,
		deny(`{"ArnNotEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/StanchResponder"}}`)}, want: "denied"},
	{Name: "Bool", Action: "iam:GetUser", Resource: botARN, Context: is("aws:SecureTransport", "false"), Identity: []string{allowAll,
		deny(`{"Bool":{"aws:SecureTransport":"false"}}`)}, want: "denied"},
	{Name: "BoolIfExists absent", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, deny(`{"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"}}`)}, want: "denied"},
	{Name: "Bool absent", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, deny(`{"Bool":{"aws:MultiFactorAuthPresent":"false"}}`)}, want: "allowed"},
	{Name: "Null true", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, deny(`{"Null":{"aws:TokenIssueTime":"true"}}`)}, want: "denied"},
	{Name: "Null false", Action: "iam:GetUser", Resource: botARN, Identity: []string{allowAll, deny(`{"Null":{"aws:TokenIssueTime":"false"}}`)}, want: "allowed"},
	{Name: "IpAddress", Action: "iam:GetUser", Resource: botARN, Context: is("aws:SourceIp", "203.0.113.66"), Identity: []string{allowAll,
		deny(`{"NotIpAddress":{"aws:SourceIp":["198.51.100.0/24","203.0.113.0/24"]}}`)}, want: "allowed"},
	{Name: "two keys must both hold", Action: "iam:GetUser", Resource: botARN, Context: is("aws:SourceIp", "203.0.113.66"), Identity: []string{allowAll,
		deny(`{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"},"StringEquals":{"aws:PrincipalTag/team":"a"}}`)}, want: "allowed"},
	{Name: "any value", Action: "iam:TagUser", Resource: botARN, Context: is("aws:TagKeys", "a", "b"), Identity: []string{allowAll,
		deny(`{"ForAnyValue:StringEquals":{"aws:TagKeys":"b"}}`)}, want: "denied"},
	{Name: "all values", Action: "iam:TagUser", Resource: botARN, Context: is("aws:TagKeys", "a", "b"), Identity: []string{allowAll,
		deny(`{"ForAllValues:StringEquals":{"aws:TagKeys":["b"]}}`)}, want: "allowed"},
}

func (e example) decide(t *testing.T) string {
	t.Helper()
	parse := func(texts []string) []*Document {
		var out []*Document
		for _, text := range texts {
			d, err := Parse(text, Identity)
			if err != nil {
				t.Fatalf("%s: %v", e.Name, err)
			}
			out = append(out, d)
		}
		return out
	}
	stack := Stack{Identity: parse(e.Identity)}
	if e.Boundary != "" {
		stack.Boundary = parse([]string{e.Boundary})[0]
	}
	if len(e.Control) > 0 {
		stack.Control = [][]*Document{parse(e.Control)}
	}
	ctx := map[string][]string{}
	for k, v := range e.Context {
		ctx[strings.ToLower(k)] = v
	}
	d := stack.Decide(Request{Action: e.Action, Resource: e.Resource, Context: ctx})
	switch {
	case d.Allowed && !d.Denied:
		return "allowed"
	case d.Denied && !d.Allowed:
		return "denied"
	}
	return "missing"
}

func TestDecide(t *testing.T) {
	for _, e := range examples {
		got := e.decide(t)
		if got != e.want {
			t.Errorf("%s: %s, want %s", e.Name, got, e.want)
		}
	}
}

func TestSessionPolicyLimits(t *testing.T) {
	all, s3only := parseOne(t, allowAll), parseOne(t, allow("s3:*", "*"))
	r := Request{Action: "iam:GetUser", Resource: botARN}
	for _, test := range []struct {
		name  string
		stack Stack
		want  bool
	}{
		{"no session", Stack{Identity: []*Document{all}}, true},
		{"session without a policy", Stack{Identity: []*Document{all}, HasSession: true}, false},
		{"session policy allows", Stack{Identity: []*Document{all}, HasSession: true, Session: []*Document{all}}, true},
		{"session policy does not", Stack{Identity: []*Document{all}, HasSession: true, Session: []*Document{s3only}}, false},
		{"session policy gives nothing", Stack{HasSession: true, Session: []*Document{all}}, false},
	} {
		d := test.stack.Decide(r)
		if d.Allowed != test.want {
			t.Errorf("%s: %+v", test.name, d)
		}
	}
}

func parseOne(t *testing.T, text string) *Document {
	t.Helper()
	d, err := Parse(text, Identity)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTrusts(t *testing.T) {
	trust := func(principal, condition string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + condition + `}}`
	}
	bot := Caller{ARN: botARN, Account: "111122223333"}
	session := Caller{ARN: "arn:aws:sts::111122223333:assumed-role/a/x", RoleARN: "arn:aws:iam::111122223333:role/a", Account: "111122223333"}
	external := `,"Condition":{"StringEquals":{"sts:ExternalId":"e1"}}`
	for _, test := range []struct {
		name   string
		text   string
		caller Caller
		id     string
		want   TrustDecision
	}{
		{"named", trust(`{"AWS":"`+botARN+`"}`, ""), bot, "", TrustDecision{Allowed: true, Direct: true}},
		{"account", trust(`{"AWS":"arn:aws:iam::111122223333:root"}`, ""), bot, "", TrustDecision{Allowed: true}},
		{"account number", trust(`{"AWS":["111122223333"]}`, ""), bot, "", TrustDecision{Allowed: true}},
		{"other account", trust(`{"AWS":"arn:aws:iam::444455556666:root"}`, ""), bot, "", TrustDecision{}},
		{"anyone", trust(`"*"`, ""), bot, "", TrustDecision{Allowed: true, Direct: true}},
		{"service", trust(`{"Service":"ec2.amazonaws.com"}`, ""), bot, "", TrustDecision{}},
		{"role of the session", trust(`{"AWS":"`+session.RoleARN+`"}`, ""), session, "", TrustDecision{Allowed: true, Direct: true}},
		{"external id", trust(`{"AWS":"`+botARN+`"}`, external), bot, "e1", TrustDecision{Allowed: true, Direct: true}},
		{"other external id", trust(`{"AWS":"`+botARN+`"}`, external), bot, "e2", TrustDecision{}},
		{"no external id", trust(`{"AWS":"`+botARN+`"}`, external), bot, "", TrustDecision{}},
		{"deny", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"},{"Effect":"Deny","Principal":{"AWS":"` + botARN + `"},"Action":"sts:*"}]}`,
			bot, "", TrustDecision{Denied: true}},
	} {
		d, err := Parse(test.text, Trust)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		ctx := map[string][]string{}
		if test.id != "" {
			ctx["sts:externalid"] = []string{test.id}
		}
		got := d.Trusts(test.caller, Request{Action: "sts:AssumeRole", Resource: "*", Context: ctx})
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, `[]`, `{}`, `{"Version":"2012-10-17"}`, `{"Statement":[]}`, allowAll + "x", allowAll + allowAll,
		`{"Version":"2020-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`,
		`{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}`,
		`{"Statement":{"Effect":"Allow","Resource":"*"}}`,
		`{"Statement":{"Effect":"Allow","Action":"*"}}`,
		`{"Statement":{"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"}}`,
		`{"Statement":{"Effect":"Allow","Action":"Everything","Resource":"*"}}`,
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Extra":1}}`,
		`{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"}}`,
		deny(`{"StringMatches":{"aws:username":"x"}}`),
		deny(`{"StringEquals":{"username":"x"}}`),
		deny(`{"DateLessThan":{"aws:TokenIssueTime":"yesterday"}}`),
	} {
		_, err := Parse(text, Identity)
		if err == nil {
			t.Errorf("taken: %s", text)
		}
	}
	for _, text := range []string{allowAll, `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Effect":"Allow","Principal":"me","Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Effect":"Allow","Principal":{"Me":"x"},"Action":"sts:AssumeRole"}}`} {
		_, err := Parse(text, Trust)
		if err == nil {
			t.Errorf("taken as trust: %s", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range examples {
		for _, text := range e.Identity {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Identity, Trust} {
			d, err := Parse(text, kind)
			if err != nil {
				continue
			}
			Stack{Identity: []*Document{d}, Control: [][]*Document{{d}}}.Decide(Request{Action: "iam:GetUser", Resource: botARN})
			d.Trusts(Caller{ARN: botARN, Account: "111122223333"}, Request{Action: "sts:AssumeRole", Resource: "*"})
		}
	})
}
