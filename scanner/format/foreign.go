package format

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/url"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"stanch/scanner"
	"stanch/scanner/rules"
)

// gitleaksFinding is a finding in the shape of gitleaks' own JSON report.
type gitleaksFinding struct {
	RuleID      string
	Description string
	StartLine   int
	EndLine     int
	StartColumn int
	EndColumn   int
	Match       string
	Secret      string
	File        string
	SymlinkFile string
	Commit      string
	Entropy     float32
	Author      string
	Email       string
	Date        string
	Message     string
	Tags        []string
	Fingerprint string
}

// writeGitleaks writes gitleaks' report. Lines and columns are those of the
// match, as gitleaks has it, and right where gitleaks' own are one off.
func writeGitleaks(w io.Writer, r Report) error {
	scrub := scanner.NewScrubber(r.Findings)
	out := make([]gitleaksFinding, 0, len(r.Findings))
	for _, f := range r.Findings {
		out = append(out, gitleaksFinding{
			RuleID: f.Rule, Description: f.Description,
			StartLine: f.MatchAt.Line, EndLine: f.MatchAt.EndLine, StartColumn: f.MatchAt.Column, EndColumn: f.MatchAt.EndColumn,
			Match: r.match(f, scrub), Secret: r.secret(f.Secret),
			File: f.Place.Path, Commit: f.Place.Commit, Entropy: f.Entropy,
			Author: f.Place.Author.Name, Email: f.Place.Author.Email, Date: stamp(f.Place.AuthoredAt),
			Message: strings.TrimRight(f.CommitMessage, "\n"), Tags: orEmpty(f.Tags), Fingerprint: f.Fingerprint(),
		})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(out)
}

// writeSARIF writes SARIF 2.1.0. A finding outside any file has a logical
// location.
func writeSARIF(w io.Writer, r Report) error {
	doc := report.NewV210Report()
	run := sarif.NewRun()
	run.Tool = sarif.NewTool().WithDriver(sarif.NewToolComponent().WithName("stanch"))
	if r.Version != "" {
		run.Tool.Driver.WithVersion(r.Version)
	}
	run.Tool.Driver.WithInformationURI(informationURI)
	run.WithColumnKind("utf16CodeUnits")
	rules := map[string]bool{}
	for i, o := range r.objects() {
		f := r.Findings[i]
		if !rules[o.Rule] {
			rules[o.Rule] = true
			addRule(run, f, o)
		}
		res := run.CreateResultForRule(o.Rule).
			WithLevel(level(f.Confidence)).
			WithMessage(sarif.NewTextMessage(message(o))).
			WithPartialFingerprints(map[string]string{"stanch/v1": o.Fingerprint, "stanchPlace/v1": place(f)})
		start, end := o.Column, o.EndColumn+1
		if r.UTF16 != nil {
			start, end = r.UTF16(f.Place)
		}
		res.AddLocation(location(o, start, end))
		props := sarif.NewPropertyBag()
		props.Add("provider", o.Provider)
		props.Add("kind", o.Kind)
		props.Add("confidence", o.Confidence)
		props.Add("class", o.Class)
		props.Add("commit", o.Commit)
		props.Add("author", o.Author)
		props.Add("time", o.Time)
		if o.Verdict != nil {
			props.Add("verdict", o.Verdict.Outcome)
		}
		if r.ShowSecrets {
			props.Add("secret", o.Secret)
		}
		res.WithProperties(props)
		if o.Suppressed != "" {
			res.AddSuppression(sarif.NewSuppression().WithKind("external").WithJustification(o.Suppressed))
		}
	}
	ok := len(r.Reasons) == 0
	inv := sarif.NewInvocation().WithExecutionSuccessful(ok)
	for _, why := range r.Reasons {
		inv.AddToolExecutionNotification(sarif.NewNotification().WithLevel("warning").WithMessage(sarif.NewTextMessage("partial: " + why)))
	}
	run.AddInvocation(inv)
	doc.AddRun(run)
	err := doc.PrettyWrite(w)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "\n")
	return err
}

func level(c scanner.Confidence) string {
	switch c {
	case scanner.ConfidenceHigh:
		return "error"
	case scanner.ConfidenceMedium:
		return "warning"
	case scanner.ConfidenceLow:
	}
	return "note"
}

func message(o Object) string {
	what := strings.TrimSpace(o.Provider + " " + strings.ReplaceAll(o.Kind, "_", " "))
	if what == "" {
		what = o.Rule
	}
	if o.PublicID != "" {
		what += " " + o.PublicID
	}
	return "Leaked credential: " + Inert(what) + ". " + o.Description
}

// informationURI is where the rules are told of.
const informationURI = "https://github.com/gitleaks/gitleaks"

// addRule describes a rule, with the severity by which code hosts sort.
func addRule(run *sarif.Run, f scanner.Finding, o Object) {
	text := o.Description
	if text == "" {
		text = "Credential of rule " + o.Rule + "."
	}
	severity := map[scanner.Confidence]string{scanner.ConfidenceHigh: "8.8", scanner.ConfidenceMedium: "6.5"}[f.Confidence]
	if severity == "" {
		severity = "3.0"
	}
	props := sarif.NewPropertyBag()
	props.Add("tags", []string{"security", "secret", "external/cwe/cwe-798"})
	props.Add("precision", map[scanner.Confidence]string{scanner.ConfidenceHigh: "very-high", scanner.ConfidenceMedium: "medium"}[f.Confidence])
	if f.Confidence == scanner.ConfidenceLow || f.Confidence == "" {
		props.Add("precision", "low")
	}
	props.Add("security-severity", severity)
	rule := run.AddRule(o.Rule).WithName(ruleName(o.Rule)).WithDescription(text).WithFullDescription(sarif.NewMultiformatMessageString().WithText(text)).
		WithHelp(sarif.NewMultiformatMessageString().WithText("Revoke the credential at its provider, then remove it from the code; removing it alone does not help, since history keeps it.")).
		WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(level(f.Confidence)))
	rule.WithProperties(props)
	docs := rules.Docs(f.Provider)
	if docs != "" {
		rule.WithHelpURI(docs)
	}
}

// ruleName is a rule's id as one word, the form in which SARIF has names.
func ruleName(id string) string {
	var b strings.Builder
	for part := range strings.FieldsFuncSeq(id, func(r rune) bool { return r == '-' || r == '_' || r == '.' || r == '/' || r == ' ' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// place names a finding by what stays the same when lines move: rule, path and
// the secret's length and kind. It holds nothing of the secret.
func place(f scanner.Finding) string {
	sum := sha256.Sum256([]byte(f.Rule + "\x00" + f.Place.Path + "\x00" + f.Kind + "\x00" + f.Part))
	return hex.EncodeToString(sum[:16])
}

func location(o Object, start, end int) *sarif.Location {
	if o.Object != "blob" || o.Path == "" {
		name := o.Object
		if o.Path != "" {
			name += " " + o.Path
		}
		return sarif.NewLocation().AddLogicalLocation(sarif.NewLogicalLocation().WithName(Inert(name)).WithFullyQualifiedName(Inert(o.Commit + o.Ref + ":" + name)))
	}
	segments := strings.Split(o.Path, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	region := sarif.NewRegion().WithStartLine(max(1, o.Line)).WithStartColumn(max(1, start)).
		WithEndLine(max(1, o.Line, o.EndLine)).WithEndColumn(max(1, end))
	return sarif.NewLocationWithPhysicalLocation(sarif.NewPhysicalLocation().
		WithArtifactLocation(sarif.NewSimpleArtifactLocation(strings.Join(segments, "/"))).WithRegion(region))
}
