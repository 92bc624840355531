package report

import (
	"fmt"
	"strings"
	"time"

	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/incident"
	"stanch/responder/trail"
)

// t0 is when the bytes of every fixture became public: a Thursday evening.
var t0 = time.Date(2026, 11, 19, 18, 4, 11, 0, time.UTC)

func at(d time.Duration) time.Time { return t0.Add(d) }

const incidentID = "01935a3e-7c11-7d30-9a52-6f1f2f0a9b11"

func sec(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

func asked(op, id string, when, took time.Duration, with string) incident.Request {
	return incident.Request{Operation: op, Host: "iam.amazonaws.com", RequestID: id, Status: 200, At: at(when), TookMS: took.Milliseconds(), With: with}
}

var awsPlaybook = playbooks.Credential{
	Kind: "access_key", Title: "AWS access key",
	Identify: &playbooks.Call{Uses: "aws.get_caller_identity", With: "leaked", Identity: "arn"},
	Trail: []playbooks.Trail{{Uses: "aws.cloudtrail_lookup", Gaps: []string{
		"Data events (reads of S3 objects, Lambda invocations) are not in this log.",
		"Events older than 90 days are not in this log.",
	}}},
	Rotate: &playbooks.Rotate{Uses: "aws.rotate_access_key"},
	Report: playbooks.Notes{
		Cleanup: []string{"Delete the inactive key after seven quiet days: aws iam delete-access-key."},
		Lessons: []string{"This user had AdministratorAccess; a build needs far less."},
		Links:   []string{"https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html"},
	},
	Person: []string{"Sign in to the account and set the key inactive by hand."},
}

// awsBase is an AWS key pushed to a public repository, one second after the push.
func awsBase() Input {
	return Input{
		Now: at(70 * time.Minute), ToolVersion: "v0.1.0", Owner: "Payments team <payments@example.com>",
		Playbook: awsPlaybook,
		Incident: incident.Incident{
			ID: incidentID, Fingerprint: strings.Repeat("9f86d081884c7d65", 4), Provider: "aws", Kind: "access_key",
			PublicID: "AKIAQWERTYUIOPASDFGH", Account: "111122223333", Title: "AWS access key in acme/checkout",
			Severity: "critical", SeverityWhy: "live, public, and belongs to an administrator",
			State: incident.StateOpen, Mode: incident.ModeAct, Class: "production-like", Confidence: "high",
			Reference: "push", ExposedAt: t0, ExposedFrom: "pushed_at of the push event", OpenedAt: at(sec(1.62)),
			Facts: map[string]string{"arn": "arn:aws:iam::111122223333:user/deploy-bot", "user_id": "AIDAQWERTYUIOPASDFGH"},
		},
		Sightings: []incident.Sighting{
			{
				ID: 1, Repository: "acme/checkout", Visibility: incident.VisibilityPublic, Ref: "refs/heads/main",
				Commit: "4f1c2d3e4b5a69788796a5b4c3d2e1f001122334", Path: "deploy/settings.py", Line: 12, Column: 18,
				Rule: "aws-access-token", Part: "access_key_id", Author: "Jo Doe", AuthorEmail: "jo@example.com",
				Committer: "Jo Doe", Pusher: "jodoe", AuthoredAt: at(-3 * time.Hour), CommittedAt: at(-40 * time.Minute),
				ExposedAt: t0, ExposedFrom: "pushed_at of the push event", SeenAt: at(sec(1.24)),
				Delivery: "2f6c1f60-a5c5-11f0-9e4e-0a6ec0b6f1de",
			},
			{
				ID: 2, Repository: "acme/checkout-fork", Visibility: incident.VisibilityPrivate, Ref: "refs/heads/wip",
				Commit: "5a5a2d3e4b5a69788796a5b4c3d2e1f001122334", Path: "deploy/settings.py", Line: 12, Column: 18,
				Rule: "aws-access-token", Part: "access_key_id", Author: "Jo Doe", AuthorEmail: "jo@example.com",
				Pusher: "jodoe", SeenAt: at(9 * time.Minute), Delivery: "7f6c1f60-a5c5-11f0-9e4e-0a6ec0b6f1de", Removed: true,
			},
		},
		States:     []incident.StateChange{{State: incident.StateOpen, At: at(sec(1.62)), Reason: "found by a push to acme/checkout"}},
		Deliveries: []Delivery{{GUID: "2f6c1f60-a5c5-11f0-9e4e-0a6ec0b6f1de", SentAt: at(sec(1)), ReceivedAt: at(sec(1.18))}},
		Clocks: []ClockOffset{
			{Source: "sts.amazonaws.com", Offset: -40 * time.Millisecond, Uncertainty: 500 * time.Millisecond, At: at(sec(1.9)), Note: "Date header"},
			{Source: "api.github.com", Offset: 120 * time.Millisecond, Uncertainty: 500 * time.Millisecond, At: at(sec(1.3)), Note: "Date header"},
		},
		Ledger: LedgerRef{Entries: []int64{41, 42, 43, 44, 47}, Checkpoint: "stanch/example\n52\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— stanch/example Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"},
	}
}

func awsVerdict(in *Input) {
	i := &in.Incident
	i.State, i.Verdict, i.VerdictWhy, i.VerdictAt = incident.StateVerified, "live", "AWS named the identity of the key.", at(sec(1.95))
	in.Requests = append(in.Requests, asked("sts:GetCallerIdentity", "a1b2c3d4-0001", sec(1.70), 210*time.Millisecond, "leaked"))
	in.States = append(in.States, incident.StateChange{State: incident.StateVerified, At: at(sec(1.95)), Reason: "live, account is enrolled"})
	in.Steps = append(in.Steps, incident.Step{Name: "identify", State: "done", Attempts: 1, StartedAt: at(sec(1.68)), DoneAt: at(sec(1.95))})
}

func awsContained(in *Input) {
	awsVerdict(in)
	i := &in.Incident
	i.State, i.ContainedAt, i.ProvedAt, i.AwareAt = incident.StateProved, at(sec(2.64)), at(sec(8.41)), at(11*time.Minute)
	in.States = append(in.States,
		incident.StateChange{State: incident.StateContaining, At: at(sec(1.97)), Reason: "mode act; every guard passed"},
		incident.StateChange{State: incident.StateContained, At: at(sec(2.64)), Reason: "every act was accepted"},
		incident.StateChange{State: incident.StateProved, At: at(sec(8.41)), Reason: "refused 3 times in a row"},
	)
	in.Actions = []incident.Action{
		{
			Name: "disable_key", State: "done", Actor: "stanch", With: "admin", Binding: playbooks.BindingInValue,
			Reversible: true, Collateral: "every program that uses this key", At: at(sec(2.31)),
			Detail:   "Access key AKIAQWERTYUIOPASDFGH of user deploy-bot is Inactive.",
			Requests: []incident.Request{asked("iam:UpdateAccessKey", "a1b2c3d4-0002", sec(1.99), 320*time.Millisecond, "admin")},
			Undo:     map[string]string{"status": "Active"},
		},
		{
			Name: "deny_sessions", State: "done", Actor: "stanch", With: "admin", Binding: playbooks.BindingFact,
			Reversible: true, Collateral: "sessions of this user that began before", At: at(sec(2.64)),
			Detail:   "Sessions issued before 2026-11-19T18:04:13Z are denied everything.",
			Requests: []incident.Request{asked("iam:PutUserPolicy", "a1b2c3d4-0003", sec(2.33), 300*time.Millisecond, "admin")},
			Undo:     map[string]string{"policy": "stanch-deny"},
		},
	}
	in.Requests = append(in.Requests,
		incident.Request{Operation: "sts:GetCallerIdentity", Host: "sts.amazonaws.com", RequestID: "a1b2c3d4-0004", Status: 403, Error: "InvalidClientTokenId", At: at(sec(8.2)), TookMS: 190, With: "leaked"})
	in.Steps = append(in.Steps,
		incident.Step{Name: "contain/disable_key", State: "done", Attempts: 1, StartedAt: at(sec(1.98)), DoneAt: at(sec(2.32))},
		incident.Step{Name: "contain/deny_sessions", State: "done", Attempts: 2, StartedAt: at(sec(2.33)), DoneAt: at(sec(2.65)), Error: "passing failure: 503"},
		incident.Step{Name: "hold", State: "done", Attempts: 1, StartedAt: at(sec(2.66)), DoneAt: at(sec(17.7))},
		incident.Step{Name: "prove", State: "done", Attempts: 3, StartedAt: at(sec(2.66)), DoneAt: at(sec(8.42))},
	)
	in.Held = []act.Held{{Until: at(sec(17.7)), Reactions: []act.Reaction{{At: at(sec(4.1)), What: "key re-activated", Answer: "set Inactive again"}}}}
}

func coverage(in *Input, from, to, asked time.Duration, events int) {
	for _, region := range []string{"us-east-1", "eu-central-1", "ap-southeast-2"} {
		in.Coverage = append(in.Coverage, trail.Coverage{
			Source: "aws.cloudtrail_lookup", Scope: region, From: at(from), To: at(to), AskedAt: at(asked),
			Pages: 1 + events/50, Events: events, Complete: true,
		})
		events = 0
	}
}

func event(n int, when time.Duration, service, op string) trail.Event {
	return trail.Event{
		ID: fmt.Sprintf("ev-%04d", n), Source: "aws.cloudtrail_lookup", Time: at(when), Service: service + ".amazonaws.com", Operation: op,
		Region: "us-east-1", Actor: "arn:aws:iam::111122223333:user/deploy-bot", Credential: "AKIAQWERTYUIOPASDFGH",
		Address: "198.51.100.77", UserAgent: "aws-cli/2.17.1 md/awscrt#0.20.11 ua/2.0 os/linux#6.6.9-amd64",
		RequestID: fmt.Sprintf("rq-%04d", n), Severity: "M", Origin: trail.OriginAttacker,
		OriginWhy: "new network and new agent, 31 operations within a minute",
	}
}

// attacker is a key thief who came 55 s after the push and was refused later.
func attacker(in *Input) {
	n := 0
	add := func(when time.Duration, service, op string, change func(*trail.Event)) {
		n++
		e := event(n, when, service, op)
		if change != nil {
			change(&e)
		}
		in.Events = append(in.Events, e)
	}
	tech := func(sev, tactic string, ids ...string) func(*trail.Event) {
		return func(e *trail.Event) { e.Severity, e.Tactic, e.Technique = sev, []string{tactic}, ids }
	}
	owner := func(e *trail.Event) {
		e.Origin, e.Address, e.UserAgent, e.Severity = trail.OriginOwner, "203.0.113.9", "Boto3/1.34.10", "L"
	}
	for d := range 6 {
		add(-time.Duration(d+1)*20*time.Hour, "s3", "ListBuckets", owner)
	}
	add(sec(1.2), "sts", "GetCallerIdentity", func(e *trail.Event) {
		tech("L", "discovery", "T1087.004")(e)
		e.Address, e.UserAgent, e.OriginWhy = "192.0.2.15", "TruffleHog", "known scanner's agent"
	})
	add(sec(1.5), "iam", "ListUsers", tech("M", "discovery", "T1087.004"))
	add(sec(1.7), "secretsmanager", "GetSecretValue", func(e *trail.Event) {
		tech("H", "credential-access", "T1555.006")(e)
		e.Resources = []string{"arn:aws:secretsmanager:us-east-1:111122223333:secret:prod/checkout/stripe-9aB3cD"}
	})
	add(sec(1.9), "iam", "CreateUser", func(e *trail.Event) {
		tech("C", "persistence", "T1136.003")(e)
		e.Created = []string{"arn:aws:iam::111122223333:user/support-sys"}
	})
	add(sec(2.1), "sts", "GetSessionToken", func(e *trail.Event) {
		tech("H", "defense-evasion", "T1550.001")(e)
		e.Minted = "ASIAQWERTYUIOPASDFGH"
	})
	add(sec(1.74), "sts", "GetCallerIdentity", func(e *trail.Event) { e.Origin, e.Severity = trail.OriginOurs, "L" })
	deny := func(e *trail.Event) { e.Denied, e.Error = true, "AccessDenied" }
	add(sec(2.5), "iam", "AttachUserPolicy", func(e *trail.Event) { tech("C", "privilege-escalation", "T1098.003")(e); deny(e) })
	for k := range 24 {
		add(sec(3)+time.Duration(k*k)*900*time.Millisecond, "ec2", "RunInstances", func(e *trail.Event) {
			tech("H", "impact", "T1578.002", "T1496.001")(e)
			deny(e)
			e.Region = []string{"us-east-1", "ap-southeast-2"}[k%2]
		})
	}
	add(sec(67), "iam", "AttachUserPolicy", func(e *trail.Event) {
		e.Origin, e.Actor, e.Address, e.Operation = trail.OriginProvider, "AWS", "AWS Internal", "AttachUserPolicy AWSCompromisedKeyQuarantineV3"
	})
	add(26*time.Minute, "bedrock", "InvokeModel", func(e *trail.Event) { tech("H", "impact", "T1496.004")(e); deny(e) })
}

// hostileText is what an attacker may write into a path, a ref or a name.
const hostileText = "../../etc/`passwd`|\u202egnp.exe\x1b]0;owned\x07\x1b[31m<script>alert(1)</script><img src=x onerror=alert(1)>" +
	"[click](javascript:alert(1)) ![i](https://evil.example/x.png) @everyone <!channel> www.evil.example http://evil.example/a " +
	"=cmd|' /C calc'!A0 a@evil.example **bold** _em_ # head\r\n- list\n```\n</style></svg><svg onload=alert(1)> \u2066\u200b&lt;b&gt; $x^2$"

// fixtures are the incidents that have a golden report.
func fixtures() map[string]Input {
	out := map[string]Input{}

	in := awsBase()
	awsContained(&in)
	attacker(&in)
	coverage(&in, -90*24*time.Hour, 62*time.Minute, 62*time.Minute, 41)
	in.TrailFinal, in.Previous = true, 6
	in.Incident.UpdatedAt = at(62 * time.Minute)
	out["aws_attacker"] = in

	in = awsBase()
	awsVerdict(&in)
	in.Now = at(sec(2.2))
	in.Incident.State = incident.StateContaining
	in.States = append(in.States, incident.StateChange{State: incident.StateContaining, At: at(sec(1.97)), Reason: "mode act; every guard passed"})
	in.Actions = []incident.Action{{Name: "disable_key", State: "running", Actor: "stanch", With: "admin", Binding: playbooks.BindingInValue, Reversible: true, Collateral: "every program that uses this key"}}
	out["aws_minute_one"] = in

	in = awsBase()
	awsVerdict(&in)
	in.Now = at(20 * time.Minute)
	in.Incident.State, in.Incident.Mode = incident.StateObserved, incident.ModeObserve
	in.States = append(in.States, incident.StateChange{State: incident.StateObserved, At: at(sec(2.1)), Reason: "mode observe"})
	in.Actions = []incident.Action{
		{Name: "disable_key", State: "simulated", Actor: "stanch", With: "admin", Binding: playbooks.BindingInValue, Reversible: true, Collateral: "every program that uses this key", At: at(sec(2.0)), Detail: "Would set access key AKIAQWERTYUIOPASDFGH of user deploy-bot Inactive."},
		{Name: "deny_sessions", State: "simulated", Actor: "stanch", With: "admin", Binding: playbooks.BindingFact, Reversible: true, Collateral: "sessions of this user that began before", At: at(sec(2.1)), Detail: "Would deny sessions issued before now."},
	}
	coverage(&in, -90*24*time.Hour, 19*time.Minute, 19*time.Minute, 0)
	out["aws_observe"] = in

	in = awsBase()
	awsVerdict(&in)
	in.Now = at(4 * time.Minute)
	in.Incident.State, in.Incident.Mode = incident.StateWaiting, incident.ModeApprove
	in.States = append(in.States, incident.StateChange{State: incident.StateWaiting, At: at(sec(2)), Reason: "mode approve"})
	in.Approvals = []incident.Approval{{ID: "01935a3e-8000-7d30-9a52-000000000001", Plan: []string{"disable_key", "deny_sessions"}, AskedAt: at(sec(2)), ExpiresAt: at(30*time.Minute + sec(2))}}
	out["aws_awaiting_approval"] = in

	in = awsBase()
	awsVerdict(&in)
	in.Now = at(15 * time.Minute)
	in.Incident.State = incident.StatePerson
	in.States = append(in.States, incident.StateChange{State: incident.StatePerson, At: at(sec(3)), Reason: "account 111122223333 is not enrolled, so Stanch may not act in it"})
	in.Actions = []incident.Action{{Name: "disable_key", State: "person", Actor: "stanch", With: "admin", Binding: playbooks.BindingInValue, Reversible: true, At: at(sec(3)), Detail: "No role for account 111122223333."}}
	in.Playbook.Trail = nil
	out["aws_needs_person"] = in

	out["github_token"] = githubToken()
	out["hostile_text"] = hostile()
	return out
}

func githubToken() Input {
	in := awsBase()
	in.Now = at(66 * time.Minute)
	in.Playbook = playbooks.Credential{
		Kind: "pat_classic", Title: "GitHub personal access token",
		Identify: &playbooks.Call{With: "leaked", Identity: "login"},
		Trail:    []playbooks.Trail{{Uses: "github.org_audit_log", Gaps: []string{"Only an organisation on Enterprise Cloud has this log; Git reads older than seven days are not in it."}}},
	}
	in.Incident.Provider, in.Incident.Kind, in.Incident.PublicID, in.Incident.Account = "github", "pat_classic", "", ""
	in.Incident.Title = "GitHub token in acme/checkout"
	in.Incident.Facts = map[string]string{"login": "acme-ci", "scopes": "repo, workflow"}
	in.Incident.State, in.Incident.Verdict, in.Incident.VerdictWhy, in.Incident.VerdictAt = incident.StateProved, "live", "GitHub named the login of the token.", at(sec(1.9))
	in.Incident.ContainedAt, in.Incident.ProvedAt = at(sec(2.2)), at(sec(4.4))
	in.Sightings = in.Sightings[:1]
	in.States = append(in.States,
		incident.StateChange{State: incident.StateContained, At: at(sec(2.2)), Reason: "every act was accepted"},
		incident.StateChange{State: incident.StateProved, At: at(sec(4.4)), Reason: "refused 3 times in a row"})
	in.Actions = []incident.Action{{
		Name: "revoke", State: "done", Actor: "stanch", With: "anyone", Binding: playbooks.BindingInBody, At: at(sec(2.2)),
		Collateral: "every program that uses this token", Detail: "GitHub accepted the token for revocation.",
		Requests: []incident.Request{{Operation: "POST /credentials/revoke", Host: "api.github.com", RequestID: "E1F2:3A4B", Status: 202, At: at(sec(1.95)), TookMS: 240, With: "anyone"}},
	}}
	in.Coverage = []trail.Coverage{{Source: "github.org_audit_log", Scope: "acme", From: at(-90 * 24 * time.Hour), To: at(61 * time.Minute), AskedAt: at(61 * time.Minute), Pages: 1, Complete: true}}
	in.TrailFinal = true
	return in
}

// hostile has foreign text in every place that an attacker may reach.
func hostile() Input {
	in := awsBase()
	awsContained(&in)
	in.TrailFinal = true
	for n := range in.Sightings {
		s := &in.Sightings[n]
		s.Repository, s.Ref, s.Commit, s.Path = "acme/"+hostileText, "refs/heads/"+hostileText, hostileText, hostileText
		s.Author, s.AuthorEmail, s.Committer, s.Pusher = hostileText, hostileText, hostileText, hostileText
		s.Rule, s.Delivery, s.ExposedFrom = hostileText, hostileText, hostileText
		s.AuthoredAt = time.Date(123456, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	i := &in.Incident
	i.Title, i.SeverityWhy, i.PublicID, i.Account, i.VerdictWhy, i.Class = hostileText, hostileText, hostileText, hostileText, hostileText, hostileText
	i.Severity, i.Confidence, i.ExposedFrom, i.Reference = hostileText, hostileText, hostileText, hostileText
	i.Facts = map[string]string{"arn": hostileText, hostileText: hostileText}
	in.Owner = hostileText
	for n := range in.Actions {
		a := &in.Actions[n]
		a.Detail, a.Collateral, a.Actor, a.Name = hostileText, hostileText, hostileText, hostileText
		a.Requests[0].RequestID, a.Requests[0].Operation, a.Requests[0].Error = hostileText, hostileText, hostileText
	}
	in.Approvals = []incident.Approval{{ID: hostileText, Plan: []string{hostileText}, AskedAt: at(sec(2)), Decision: "approved", By: hostileText, DecidedAt: at(sec(2.2)), Reason: hostileText}}
	in.Held[0].Reactions[0].What, in.Held[0].Reactions[0].Answer = hostileText, hostileText
	in.States[len(in.States)-1].Reason = hostileText
	in.Steps[0].Error, in.Steps[0].Name, in.Steps[0].State = hostileText, hostileText, hostileText
	for n := range 3 {
		e := event(n, sec(float64(n)+2), hostileText, hostileText)
		e.Actor, e.Credential, e.Address, e.UserAgent, e.Error = hostileText, hostileText, hostileText, hostileText, hostileText
		e.Region, e.RequestID, e.Source, e.OriginWhy, e.Severity, e.Minted = hostileText, hostileText, hostileText, hostileText, "C", hostileText
		e.Created, e.Technique, e.Tactic, e.Resources = []string{hostileText}, []string{hostileText}, []string{hostileText}, []string{hostileText}
		if n == 2 {
			e.Operation = "GetSecretValue"
		}
		in.Events = append(in.Events, e)
	}
	in.Coverage = []trail.Coverage{{Source: hostileText, Scope: hostileText, From: at(-time.Hour), To: at(time.Hour), AskedAt: at(time.Hour), Error: hostileText, Gaps: []string{hostileText}}}
	in.Deliveries[0].GUID = hostileText
	in.Clocks[0].Source, in.Clocks[0].Note = hostileText, hostileText
	return in
}
