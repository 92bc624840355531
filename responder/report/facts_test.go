package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"stanch/responder/incident"
	"stanch/responder/trail"
)

func TestSharesLeaveNoRemainder(t *testing.T) {
	for name, in := range fixtures() {
		w := build(t, in).Window
		var total int64
		for _, s := range w.Shares {
			if s.MS < 0 {
				t.Errorf("%s: %s has %d ms", name, s.Who, s.MS)
			}
			total += s.MS
		}
		if total != w.TotalMS {
			t.Errorf("%s: shares are %d ms together, want %d", name, total, w.TotalMS)
		}
	}
}

func TestShares(t *testing.T) {
	in := awsBase()
	awsContained(&in)
	in.Incident.ContainedAt = at(60 * time.Second)
	in.Approvals = []incident.Approval{{AskedAt: at(sec(10)), DecidedAt: at(sec(40)), Decision: "approved", By: "kim"}}
	in.Requests = []incident.Request{
		{RequestID: "a", At: at(sec(5)), TookMS: 1000},
		{RequestID: "b", At: at(sec(39)), TookMS: 3000}, // one second of it while a person was waited for
		{RequestID: "c", At: at(sec(59)), TookMS: 9000}, // runs past the containment
	}
	in.Actions = nil
	want := map[string]int64{"github": 1180, "people": 30000, "provider": 1000 + 2000 + 1000, "stanch": 60000 - 1180 - 30000 - 4000}
	for _, s := range build(t, in).Window.Shares {
		if s.MS != want[s.Who] {
			t.Errorf("%s: %d ms, want %d", s.Who, s.MS, want[s.Who])
		}
	}
}

func TestSkewedClocksGiveNoNegativeTime(t *testing.T) {
	in := awsBase()
	awsContained(&in)
	in.Incident.ExposedAt = at(5 * time.Second) // GitHub's clock ahead of ours
	w := build(t, in).Window
	if w.TotalMS < 0 || w.Measured {
		t.Errorf("total %d ms, measured %v, want no claim", w.TotalMS, w.Measured)
	}
}

// The report must not say more than is known.
func TestUseIsTruthful(t *testing.T) {
	contained := func(change func(*Input)) Input {
		in := awsBase()
		awsContained(&in)
		in.TrailFinal = true
		if change != nil {
			change(&in)
		}
		return in
	}
	full := func(in *Input) { coverage(in, -90*24*time.Hour, time.Hour, time.Hour, 0) }
	tests := []struct {
		name, use, says string
		in              Input
	}{
		{"nothing read", "unknown", "no log has been read", contained(nil)},
		{"all read, empty", "none_visible", "is complete up to", contained(full)},
		{"read before the delay was over", "unknown", "proves nothing yet", contained(func(in *Input) { coverage(in, -time.Hour, 10*time.Minute, 10*time.Minute, 0) })},
		{"one source failed", "unknown", "proves nothing yet", contained(func(in *Input) {
			full(in)
			in.Coverage[1].Complete, in.Coverage[1].Error = false, "access denied"
		})},
		{"a later reading replaces a failed one", "none_visible", "is complete up to", contained(func(in *Input) {
			coverage(in, -time.Hour, sec(60), sec(60), 0)
			in.Coverage[0].Complete = false
			full(in)
		})},
		{"read from after the exposure", "unknown", "proves nothing yet", contained(func(in *Input) { coverage(in, time.Minute, time.Hour, time.Hour, 0) })},
		{"unclear calls", "unclear", "may not be the owner's", contained(func(in *Input) {
			full(in)
			e := event(1, sec(1), "s3", "ListBuckets")
			e.Origin = trail.OriginUnclear
			in.Events = []trail.Event{e}
		})},
		{"owner's calls only", "none_visible", "No use by others is visible", contained(func(in *Input) {
			full(in)
			e := event(1, sec(1), "s3", "ListBuckets")
			e.Origin = trail.OriginOwner
			in.Events = []trail.Event{e}
		})},
		{"attacker", "seen", "Someone else used it", contained(func(in *Input) { full(in); in.Events = []trail.Event{event(1, sec(1), "s3", "ListBuckets")} })},
	}
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			r := build(t, x.in)
			if r.Trail.Use != x.use || !strings.Contains(r.Summary, x.says) {
				t.Errorf("use %q, want %q; summary lacks %q:\n%s", r.Trail.Use, x.use, x.says, r.Summary)
			}
			for _, lie := range []string{"no misuse", "was not used", "nobody used"} {
				if strings.Contains(strings.ToLower(r.Summary), lie) {
					t.Errorf("the summary claims %q", lie)
				}
			}
		})
	}
}

func TestObserveModeClaimsNothing(t *testing.T) {
	r := build(t, fixtures()["aws_observe"])
	if !r.Header.Simulated || r.Header.Status != "partial" || !r.Window.Open {
		t.Errorf("simulated %v, status %s, open %v", r.Header.Simulated, r.Header.Status, r.Window.Open)
	}
	for _, a := range r.Response.Acts {
		if a.Undo != "" {
			t.Errorf("act %s was not done and has an undo command", a.Name)
		}
	}
	for format, out := range map[string][]byte{"markdown": render(t, Markdown, r), "html": render(t, HTML, r)} {
		if bytes.Count(out, []byte("simulated, not done")) != 2 || !bytes.Contains(out, []byte("nothing was done")) {
			t.Errorf("%s does not say that its acts were only simulated", format)
		}
		if bytes.Contains(out, []byte("Stanch contained it")) {
			t.Errorf("%s claims a containment", format)
		}
	}
}

func TestStatus(t *testing.T) {
	tests := []struct{ fixture, status string }{
		{"aws_attacker", "final"}, {"github_token", "final"}, {"aws_minute_one", "partial"},
		{"aws_awaiting_approval", "partial"}, {"aws_needs_person", "partial"}, {"aws_observe", "partial"},
	}
	for _, x := range tests {
		r := build(t, fixtures()[x.fixture])
		if r.Header.Status != x.status || len(r.Header.StatusWhy) == 0 {
			t.Errorf("%s is %s because of %q, want %s", x.fixture, r.Header.Status, r.Header.StatusWhy, x.status)
		}
	}
	in := fixtures()["aws_attacker"]
	in.TrailFinal = false
	if build(t, in).Header.Status != "partial" {
		t.Error("a report is final before the last reading of the trail")
	}
}

func TestUndoCommand(t *testing.T) {
	for word, want := range map[string]string{
		"disable_key": "disable_key", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "--x": "'--x'", "$(rm)": "'$(rm)'", "é": "'é'",
	} {
		if got := shellWord(word); got != want {
			t.Errorf("shellWord(%q) = %s, want %s", word, got, want)
		}
	}
	r := build(t, fixtures()["aws_attacker"])
	if want := "stanch incident undo " + incidentID + " --action disable_key"; r.Response.Acts[0].Undo != want {
		t.Errorf("undo is %q, want %q", r.Response.Acts[0].Undo, want)
	}
}

func TestFourBusinessDays(t *testing.T) {
	for _, x := range []struct{ from, want string }{
		{"2026-11-09T15:00:00Z", "2026-11-16"}, // Monday; Veterans Day on Wednesday
		{"2026-11-19T18:04:12Z", "2026-11-25"}, // Thursday
		{"2026-11-20T18:00:00Z", "2026-11-27"}, // Friday; Thanksgiving on Thursday
		{"2026-11-21T18:00:00Z", "2026-11-27"}, // Saturday: Monday counts as the first day
		{"2026-12-23T18:00:00Z", "2026-12-30"}, // Christmas on Friday
		{"2026-07-01T18:00:00Z", "2026-07-08"}, // the fourth on a Saturday, kept on Friday
		{"2026-11-20T02:00:00Z", "2026-11-25"}, // still Thursday in Washington
	} {
		from, err := time.Parse(time.RFC3339, x.from)
		if err != nil {
			t.Fatal(err)
		}
		if got := fourBusinessDays(from).Format("2006-01-02"); got != x.want {
			t.Errorf("four business days after %s: %s, want %s", x.from, got, x.want)
		}
	}
}

func TestClocks(t *testing.T) {
	r := build(t, fixtures()["aws_attacker"])
	for _, c := range r.Clocks.Deadlines {
		if c.Regime == "GDPR Art. 33" && (!c.IfSystem.Equal(at(sec(1.18)+72*time.Hour)) || !c.IfPerson.Equal(at(11*time.Minute+72*time.Hour))) {
			t.Errorf("GDPR ends %v and %v", c.IfSystem, c.IfPerson)
		}
		if c.Condition == "" || c.Rule == "" {
			t.Errorf("%s does not say when it runs", c.Regime)
		}
	}
	if got := addMonth(time.Date(2027, 1, 31, 5, 0, 0, 0, time.UTC)); got.Format("2006-01-02") != "2027-02-28" {
		t.Errorf("a month after 31 January is %v", got)
	}
	r = build(t, fixtures()["aws_minute_one"])
	for _, c := range r.Clocks.Deadlines {
		if !c.IfPerson.IsZero() {
			t.Errorf("%s counts from a person who has not seen it", c.Regime)
		}
	}
}

func TestBuildIsPure(t *testing.T) {
	in := fixtures()["hostile_text"]
	before := in.Sightings[0].Path
	a, err := JSON(build(t, in))
	if err != nil {
		t.Fatal(err)
	}
	in.Events[0], in.Events[2] = in.Events[2], in.Events[0]
	in.Sightings[0], in.Sightings[1] = in.Sightings[1], in.Sightings[0]
	in.Sightings[0], in.Sightings[1] = in.Sightings[1], in.Sightings[0]
	b, err := JSON(build(t, in))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the order of the events changes the report")
	}
	if in.Sightings[0].Path != before {
		t.Error("Build changed its input")
	}
	for _, broken := range []Input{{Now: t0}, {Incident: incident.Incident{ID: "x"}}} {
		_, err := Build(broken)
		if err == nil {
			t.Error("an input without id or time is accepted")
		}
	}
}

// One changed character in the evidence changes the hash of the report.
func TestEvidenceHash(t *testing.T) {
	in := fixtures()["aws_attacker"]
	one := build(t, in)
	in = fixtures()["aws_attacker"]
	in.Events[3].UserAgent += "x"
	two := build(t, in)
	if one.Header.EvidenceSHA256 == two.Header.EvidenceSHA256 {
		t.Error("a changed log line leaves the evidence hash as it was")
	}
	if got := string(asJQ([]byte("\"a\\\\u2028 \\u2028 \\u2029 \x7f \\n\""))); got != "\"a\\\\u2028 \u2028 \u2029 \\u007f \\n\"" {
		t.Errorf("asJQ gives %q", got)
	}
}

func TestLongTrailIsBounded(t *testing.T) {
	in := awsBase()
	awsContained(&in)
	for n := range 4000 {
		e := event(n, sec(float64(n)), "ec2", "DescribeInstances")
		if n == 1777 {
			e.Severity, e.Operation = "C", "CreateUser"
		}
		in.Events = append(in.Events, e)
	}
	r := build(t, in)
	if len(r.Trail.Calls) != maxCalls || r.Trail.Omitted != 4000-maxCalls {
		t.Errorf("%d calls kept, %d omitted", len(r.Trail.Calls), r.Trail.Omitted)
	}
	found := false
	for _, c := range r.Trail.Calls {
		found = found || c.Operation == "CreateUser"
	}
	if !found || r.Trail.Calls[maxCalls-1].ID != "ev-3999" || r.Trail.Outcomes.Allowed != 4000 {
		t.Error("the gravest call, the last one or the count is lost")
	}
	if n := len(render(t, HTML, r)); n > 1<<20 {
		t.Errorf("the page is %d bytes", n)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 850 * time.Millisecond: "850 ms", 2100 * time.Millisecond: "2.1 s", 59 * time.Second: "59 s",
		59960 * time.Millisecond: "1 min", 200 * time.Second: "3 min 20 s", 5*time.Hour + 12*time.Minute: "5 h 12 min",
		50 * time.Hour: "2 d 2 h", -3 * time.Second: "-3 s", 3599700 * time.Millisecond: "60 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}
