package trail

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // the exposure

func ev(minute float64, service, op string, change ...func(*Event)) Event {
	e := Event{
		Time: t0.Add(time.Duration(minute * float64(time.Minute))), Service: service + ".amazonaws.com", Operation: op, Region: "eu-west-1",
		Credential: "AKIALEAKED", Address: "192.0.2.10", UserAgent: "aws-sdk-go-v2/1.47.7 os/linux lang/go#1.26 api/s3#1.2", Actor: "arn:aws:iam::111122223333:user/ci",
		Detail: map[string]string{"account": "111122223333"},
	}
	e.ID = fmt.Sprintf("%s-%v", op, minute)
	e.RequestID = "r-" + e.ID
	for _, c := range change {
		c(&e)
	}
	return e
}

func thief(e *Event) {
	e.Address, e.UserAgent = "203.0.113.66", "Boto3/1.34 lang/python#3.11 os/linux"
}

func denied(e *Event) { e.Denied, e.Error = true, "AccessDenied" }

func set(k, v string) func(*Event) { return func(e *Event) { e.Detail[k] = v } }

func TestAttackTable(t *testing.T) {
	table, err := parseAttack(attackJSON)
	if err != nil {
		t.Fatal(err)
	}
	if len(table.rows) != 118 {
		t.Errorf("%d rows, want 118", len(table.rows))
	}
	for i, r := range table.rows {
		if r.Row != i+1 || len(r.Events) == 0 || len(r.Techniques) == 0 {
			t.Errorf("row %d: number %d, %d events, %d techniques", i+1, r.Row, len(r.Events), len(r.Techniques))
		}
	}
	for id, want := range map[string]string{"T1562": "T1685", "T1562.001": "T1685", "T1562.006": "T1685", "T1562.008": "T1685.002", "T1562.007": "T1686.001", "T1656": "T1684.001", "T1530": ""} {
		q, ok := FindTechnique(id)
		if !ok || q.V19 != want || q.Name == "" {
			t.Errorf("%s: v19 %q, want %q", id, q.V19, want)
		}
	}
	for bad, text := range map[string]string{
		"severity":  `{"rows":[{"row":1,"events":["a:B"],"severity":"X"}]}`,
		"technique": `{"rows":[{"row":1,"events":["a:B"],"severity":"L","techniques":["T1"]}]}`,
		"condition": `{"rows":[{"row":1,"events":["a:B"],"severity":"L","when":{"a:B":"full_moon"}}]}`,
	} {
		_, err := parseAttack([]byte(text))
		if err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestLabel(t *testing.T) {
	for _, c := range []struct {
		name     string
		event    Event
		severity string
		first    string // technique
	}{
		{"plain", ev(1, "iam", "CreateUser"), "C", "T1136.003"},
		{"same name of another service", ev(1, "workmail", "CreateUser"), "L", ""},
		{"lambda version", ev(1, "lambda", "UpdateFunctionCode20150331v2"), "C", "T1648"},
		{"role of the account", ev(1, "sts", "AssumeRole", set("role_arn", "arn:aws:iam::111122223333:role/x")), "H", "T1550.001"},
		{"role of another account", ev(1, "sts", "AssumeRole", set("role_arn", "arn:aws:iam::999999999999:role/x")), "C", "T1550.001"},
		{"key set to Active", ev(1, "iam", "UpdateAccessKey", set("status", "Active")), "C", "T1098.001"},
		{"key set to Inactive", ev(1, "iam", "UpdateAccessKey", set("status", "Inactive")), "L", ""},
		{"database made public", ev(1, "rds", "ModifyDBInstance", set("public", "true")), "H", "T1578.002"},
		{"database password", ev(1, "rds", "ModifyDBInstance", set("master_password", "changed")), "H", "T1098.001"},
		{"database, something else", ev(1, "rds", "ModifyDBInstance"), "L", ""},
		{"upload under a foreign key", ev(1, "s3", "PutObject", set("kms_key", "arn:aws:kms:eu-west-1:999999999999:key/1")), "C", "T1486"},
		{"upload", ev(1, "s3", "PutObject"), "L", ""},
		{"versioning suspended", ev(1, "s3", "PutBucketVersioning", set("versioning", "Suspended")), "C", "T1490"},
		{"unlisted", ev(1, "ssm", "DescribeInstanceInformation"), "L", ""},
	} {
		attack().label(&c.event)
		got := ""
		if len(c.event.Technique) > 0 {
			got = c.event.Technique[0]
		}
		if c.event.Severity != c.severity || got != c.first {
			t.Errorf("%s: %s %q, want %s %q", c.name, c.event.Severity, got, c.severity, c.first)
		}
	}
}

func TestBareOperation(t *testing.T) {
	for in, want := range map[string]string{"UpdateFunctionCode20150331v2": "UpdateFunctionCode", "CreateFunction20150331": "CreateFunction", "ListObjectsV2": "ListObjectsV2", "20150331": "20150331", "": ""} {
		if got := BareOperation(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestIsDenied(t *testing.T) {
	for code, want := range map[string]bool{
		"AccessDenied": true, "Client.UnauthorizedOperation": true, "AccessDeniedException": true, "UnauthorizedOperation": true, "InvalidClientTokenId": true,
		"ThrottlingException": false, "Client.RequestLimitExceeded": false, "NoSuchEntityException": false, "NoSuchBucket": false, "": false,
	} {
		if IsDenied(code) != want {
			t.Errorf("IsDenied(%q) is %v", code, !want)
		}
	}
}

// usual is what the owner did before the exposure.
func usual() []Event {
	var out []Event
	for i := range 20 {
		out = append(out, ev(-float64(i+1)*60, "s3", "ListBuckets"))
	}
	return out
}

func TestOrigins(t *testing.T) {
	c := Context{Credential: "AKIALEAKED", ExposedAt: t0, OurRequests: map[string]bool{"r-ours": true}, OurPrincipals: []string{"arn:aws:iam::111122223333:role/sec/stanch"}}
	for _, x := range []struct {
		name  string
		event Event
		bare  bool // without anything from before the exposure
		want  string
	}{
		{name: "our request", event: ev(1, "sts", "GetCallerIdentity", func(e *Event) { e.RequestID = "r-ours" }), want: OriginOurs},
		{name: "our role", event: ev(1, "iam", "UpdateAccessKey", func(e *Event) { e.Actor = "arn:aws:sts::111122223333:assumed-role/stanch/stanch" }), want: OriginOurs},
		{name: "a role whose name begins like ours", event: ev(1, "iam", "UpdateAccessKey", thief, func(e *Event) { e.Actor = "arn:aws:sts::111122223333:assumed-role/stanch2/stanch" }), want: OriginAttacker},
		{name: "our role's name in another account", event: ev(1, "iam", "UpdateAccessKey", thief, func(e *Event) { e.Actor = "arn:aws:sts::999999999999:assumed-role/stanch/stanch" }), want: OriginAttacker},
		{name: "only claims our agent", event: ev(1, "s3", "ListBuckets", thief, func(e *Event) { e.UserAgent += " app/stanch" }), want: OriginAttacker},
		{name: "quarantine", event: ev(1, "iam", "AttachUserPolicy", set("policy_arn", "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV4")), want: OriginProvider},
		{name: "own policy with that name", event: ev(1, "iam", "AttachUserPolicy", thief, set("policy_arn", "arn:aws:iam::111122223333:policy/AWSCompromisedKeyQuarantineV4")), want: OriginAttacker},
		{name: "service", event: ev(1, "kms", "Decrypt", func(e *Event) { e.Address = "secretsmanager.amazonaws.com" }), want: OriginProvider},
		{name: "before exposure", event: ev(-1, "iam", "CreateUser", thief), want: OriginOwner},
		{name: "as before", event: ev(1, "s3", "ListBuckets"), want: OriginOwner},
		{name: "neighbour address, newer agent", event: ev(1, "s3", "ListBuckets", func(e *Event) {
			e.Address, e.UserAgent = "192.0.2.77", "aws-sdk-go-v2/1.99.0 os/linux lang/go#1.27 api/s3#9"
		}), want: OriginOwner},
		{name: "new network and agent", event: ev(1, "s3", "ListBuckets", thief), want: OriginAttacker},
		{name: "new network, known agent, harmless", event: ev(1, "s3", "ListBuckets", func(e *Event) { e.Address = "203.0.113.66" }), want: OriginUnclear},
		{name: "new network, known agent, grave", event: ev(1, "iam", "CreateUser", func(e *Event) { e.Address = "203.0.113.66" }), want: OriginAttacker},
		{name: "known network, new agent", event: ev(1, "s3", "ListBuckets", func(e *Event) { e.UserAgent = "Boto3/1" }), want: OriginUnclear},
		{name: "no earlier use, harmless", event: ev(1, "s3", "ListBuckets", thief), bare: true, want: OriginUnclear},
		{name: "no earlier use, grave", event: ev(1, "iam", "CreateUser", thief), bare: true, want: OriginAttacker},
		{name: "no earlier use, known tool", event: ev(1, "sts", "GetCallerIdentity", func(e *Event) { e.UserAgent = "TruffleHog" }), bare: true, want: OriginAttacker},
	} {
		events := []Event{x.event}
		if !x.bare {
			events = append(events, usual()...)
		}
		Classify(events, c)
		if events[0].Origin != x.want || events[0].OriginWhy == "" {
			t.Errorf("%s: %s (%s), want %s", x.name, events[0].Origin, events[0].OriginWhy, x.want)
		}
	}
}

func TestOriginsByConduct(t *testing.T) {
	burst := []Event{}
	for i := range 12 {
		burst = append(burst, ev(1+float64(i)/60, "ec2", fmt.Sprintf("Describe%d", i), thief))
	}
	Classify(burst, Context{ExposedAt: t0})
	if burst[0].Origin != OriginAttacker {
		t.Errorf("burst: %s (%s)", burst[0].Origin, burst[0].OriginWhy)
	}
	refused := []Event{}
	for i := range 6 {
		refused = append(refused, ev(float64(i)*5, "ec2", "DescribeInstances", thief, denied))
	}
	Classify(refused, Context{ExposedAt: t0})
	if refused[0].Origin != OriginAttacker {
		t.Errorf("denied: %s (%s)", refused[0].Origin, refused[0].OriginWhy)
	}
}

// TestSpread: what an attacker's session and address do is the attacker's, in
// whatever order the events came.
func TestSpread(t *testing.T) {
	events := append(usual(),
		ev(5, "s3", "ListBuckets", func(e *Event) { e.Credential = "ASIAMINTED" }),
		ev(4, "s3", "ListBuckets", func(e *Event) { e.Address = "203.0.113.66" }),
		ev(3, "sts", "GetFederationToken", thief, func(e *Event) { e.Minted = "ASIAMINTED" }),
	)
	Classify(events, Context{ExposedAt: t0})
	for _, e := range events[20:] {
		if e.Origin != OriginAttacker {
			t.Errorf("%s: %s (%s)", e.ID, e.Origin, e.OriginWhy)
		}
	}
	first, _ := json.Marshal(events)
	Classify(events, Context{ExposedAt: t0})
	again, _ := json.Marshal(events)
	if string(first) != string(again) {
		t.Error("a second run gives something else")
	}
}

func TestCombinations(t *testing.T) {
	for _, c := range []struct {
		name   string
		events []Event
		want   string // severity of the last
	}{
		{"secrets listed, then read", []Event{ev(1, "secretsmanager", "ListSecrets", thief), ev(2, "secretsmanager", "GetSecretValue", thief), ev(3, "secretsmanager", "GetSecretValue", thief), ev(4, "secretsmanager", "GetSecretValue", thief)}, "C"},
		{"secrets read only", []Event{ev(2, "secretsmanager", "GetSecretValue", thief), ev(3, "secretsmanager", "GetSecretValue", thief)}, "H"},
		{"models listed, then invoked", []Event{ev(1, "bedrock", "ListFoundationModels", thief), ev(10, "bedrock", "InvokeModel", thief)}, "C"},
		{"models listed long before", []Event{ev(1, "bedrock", "ListFoundationModels", thief), ev(30, "bedrock", "InvokeModel", thief)}, "H"},
		{"accelerated instance", []Event{ev(1, "ec2", "RunInstances", thief, set("instance_type", "p4d.24xlarge"))}, "C"},
		{"instance", []Event{ev(1, "ec2", "RunInstances", thief, set("instance_type", "t3.micro"))}, "H"},
		{"three Regions", []Event{ev(1, "ec2", "RunInstances", thief), ev(1, "ec2", "RunInstances", thief, func(e *Event) { e.Region = "us-east-1" }), ev(2, "ec2", "RunInstances", thief, func(e *Event) { e.Region = "us-west-2" })}, "C"},
		{"reaction to containment", []Event{ev(2.1, "iam", "AddUserToGroup", thief)}, "C"},
		{"long after containment", []Event{ev(3, "iam", "AddUserToGroup", thief)}, "H"},
	} {
		Classify(c.events, Context{ExposedAt: t0, ContainedAt: t0.Add(2 * time.Minute)})
		last := c.events[len(c.events)-1]
		if last.Severity != c.want || (last.Severity == "C") != (last.Detail["combination"] != "") {
			t.Errorf("%s: %s %q, want %s", c.name, last.Severity, last.Detail["combination"], c.want)
		}
	}
}

func TestDescend(t *testing.T) {
	mint := func(id string) func(*Event) { return func(e *Event) { e.Minted = id } }
	by := func(id string) func(*Event) { return func(e *Event) { e.Credential = id } }
	events := []Event{
		ev(9, "iam", "CreateAccessKey", by("ASIA2"), mint("AKIANEW"), set("user_name", "Backdoor")),
		ev(8, "iam", "CreateUser", by("ASIA2"), set("user_name", "backdoor")),
		ev(7, "sts", "AssumeRole", by("ASIA1"), mint("ASIA2")),
		ev(6, "sts", "GetFederationToken", mint("ASIA1")),
		ev(6, "sts", "AssumeRole", mint("ASIADENIED"), denied),
		ev(6, "sts", "AssumeRole", by("AKIASTRANGER"), mint("ASIASTRANGER")),
		ev(11, "s3", "ListBuckets", by("ASIACONSOLE"), set("from_console", "true"), set("actor_name", "backdoor")),
		ev(10, "iam", "CreateLoginProfile", by("AKIANEW"), set("user_name", "backdoor")),
	}
	l := Descend("AKIALEAKED", events)
	got := l.Credentials()
	slices.Sort(got)
	if want := []string{"AKIANEW", "ASIA1", "ASIA2", "ASIACONSOLE"}; !slices.Equal(got, want) {
		t.Errorf("credentials %v, want %v", got, want)
	}
	if l.Inside("ASIASTRANGER") || l.Inside("ASIADENIED") || !l.Inside("AKIALEAKED") {
		t.Errorf("inside is wrong: %+v", l)
	}
	for _, e := range l.Edges {
		if (e.Kind == "console_session") == e.Proven {
			t.Errorf("edge %+v", e)
		}
	}
}

func TestSummarise(t *testing.T) {
	contained := t0.Add(5 * time.Minute)
	events := append(usual(),
		ev(0.5, "sts", "GetCallerIdentity", func(e *Event) { e.RequestID = "r-ours" }),
		ev(1, "sts", "GetCallerIdentity", thief),
		ev(2, "secretsmanager", "GetSecretValue", thief, func(e *Event) { e.Resources, e.Region = []string{"arn:secret"}, "us-east-1" }),
		ev(3, "iam", "CreateUser", thief, func(e *Event) { e.Created, e.Region = []string{"arn:aws:iam::111122223333:user/evil"}, "us-east-1" }),
		ev(4, "sts", "GetFederationToken", thief, func(e *Event) { e.Minted = "ASIA1" }),
		ev(4.5, "s3", "ListBuckets", thief, func(e *Event) { e.Credential = "ASIA1" }),
		ev(6, "s3", "ListBuckets", thief, denied),
		ev(7, "s3", "ListBuckets", denied), // the owner's own program, cut off too
	)
	Classify(events, Context{Credential: "AKIALEAKED", ExposedAt: t0, ContainedAt: contained, OurRequests: map[string]bool{"r-ours": true}})
	asked := t0.Add(time.Hour)
	s := Summarise(events, []Coverage{{Source: "x", Scope: "eu-west-1", Complete: true, AskedAt: asked, Gaps: []string{"data events"}}}, t0, contained)
	if s.Used != "yes" || s.AttackerEvents != 6 || s.OurEvents != 1 || s.OwnerEvents != 21 || s.RefusedAfterContainment != 2 || s.AllowedAfterContainment != 0 {
		t.Errorf("used %s, attacker %d, ours %d, owner %d, refused %d, allowed %d", s.Used, s.AttackerEvents, s.OurEvents, s.OwnerEvents, s.RefusedAfterContainment, s.AllowedAfterContainment)
	}
	if !s.FirstAttack.Equal(t0.Add(time.Minute)) || !s.LastAttack.Equal(t0.Add(6*time.Minute)) || !s.LastAllowed.Equal(t0.Add(270*time.Second)) {
		t.Errorf("first %v, last %v, last allowed %v", s.FirstAttack, s.LastAttack, s.LastAllowed)
	}
	if len(s.Addresses) != 2 || s.Addresses[0].Address != "203.0.113.66" || s.Addresses[0].Count != 6 || s.Addresses[0].Denied != 1 {
		t.Errorf("addresses %+v", s.Addresses)
	}
	if len(s.Created) != 1 || len(s.Rotate) != 1 || s.Rotate[0].Secret != "arn:secret" || len(s.Sessions) != 1 || s.Sessions[0].Events != 1 {
		t.Errorf("created %+v, rotate %+v, sessions %+v", s.Created, s.Rotate, s.Sessions)
	}
	if len(s.Regions) != 2 || s.Regions[0].Region != "eu-west-1" || s.Regions[0].New || !s.Regions[1].New {
		t.Errorf("regions %+v", s.Regions)
	}
	if len(s.Attack) == 0 || s.Attack[0].Severity != "C" || s.Attack[0].Name == "" {
		t.Errorf("attack %+v", s.Attack)
	}
	sum := 0
	for _, m := range s.Timeline {
		sum += m.Attacker + m.Owner + m.Ours + m.Unclear
	}
	if sum != len(events) {
		t.Errorf("timeline holds %d events of %d", sum, len(events))
	}
	data, err := json.Marshal(s)
	if err != nil || !strings.Contains(string(data), `"refused_after_containment":2`) {
		t.Errorf("JSON: %v %s", err, data)
	}
}

// TestSummariseSaysWhatItDoesNotKnow: never "no misuse" before the trail is complete.
func TestSummariseSaysWhatItDoesNotKnow(t *testing.T) {
	owner := usual()
	Classify(owner, Context{ExposedAt: t0})
	unclear := append(usual(), ev(1, "s3", "ListBuckets", func(e *Event) { e.Address = "203.0.113.66" }))
	Classify(unclear, Context{ExposedAt: t0})
	whole := []Coverage{{Scope: "eu-west-1", Complete: true, AskedAt: t0}}
	for name, c := range map[string]struct {
		events   []Event
		coverage []Coverage
		want     string
	}{
		"nothing asked":            {nil, nil, "unknown"},
		"one Region unfinished":    {owner, []Coverage{{Scope: "eu-west-1", Complete: true}, {Scope: "us-east-1", Error: "AccessDenied"}}, "unknown"},
		"use by nobody knows whom": {unclear, whole, "unknown"},
		"owner only":               {owner, whole, "no"},
	} {
		s := Summarise(c.events, c.coverage, t0, time.Time{})
		if s.Used != c.want || s.Statement == "" {
			t.Errorf("%s: %s (%s), want %s", name, s.Used, s.Statement, c.want)
		}
	}
}
