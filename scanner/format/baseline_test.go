package format

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"stanch/scanner"
)

func TestBaselineReadsWhatIsWritten(t *testing.T) {
	r := testReport(t, false)
	for _, name := range []string{"json", "jsonl", "gitleaks"} {
		var b bytes.Buffer
		err := Write(&b, name, r)
		if err != nil {
			t.Fatal(err)
		}
		known, err := ReadBaseline(&b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, f := range r.Findings {
			if !known[f.Fingerprint()] {
				t.Errorf("%s: %s is not known", name, f.Fingerprint())
			}
		}
	}
	for _, bad := range []string{"x", "{}", "[1]", `{"findings":3}`, `"text"`} {
		_, err := ReadBaseline(strings.NewReader(bad))
		if err == nil {
			t.Errorf("%s was taken for a report", bad)
		}
	}
}

func FuzzReadBaseline(f *testing.F) {
	f.Add([]byte(`{"findings":[{"fingerprint":"a:b:1"}]}`))
	f.Add([]byte(`[{"Fingerprint":"a:b:1"}]`))
	f.Add([]byte("{\"fingerprint\":\"a:b:1\"}\n{\"fingerprint\":\"a:b:2\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		known, err := ReadBaseline(bytes.NewReader(data))
		if err != nil && known != nil {
			t.Error("both fingerprints and an error")
		}
		if known[""] {
			t.Error("an empty fingerprint is known")
		}
	})
}

func TestVerdictsAreShown(t *testing.T) {
	r := testReport(t, false)
	r.Verdicts = make([]Verdict, len(r.Credentials))
	for i := range r.Verdicts {
		r.Verdicts[i] = Verdict{Outcome: "live", Identity: "octo"}
	}
	for _, name := range []string{"table", "json", "jsonl", "sarif"} {
		var b bytes.Buffer
		err := Write(&b, name, r)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), "live") < len(r.Credentials) {
			t.Errorf("%s does not show the verdicts", name)
		}
	}
}

func TestColourKeepsTheColumns(t *testing.T) {
	r := testReport(t, false)
	var plain, painted bytes.Buffer
	err := Write(&plain, "table", r)
	if err == nil {
		r.Colour = true
		err = Write(&painted, "table", r)
	}
	if err != nil {
		t.Fatal(err)
	}
	text := painted.String()
	if !strings.Contains(text, "\x1b[31mhigh") {
		t.Error("no colour")
	}
	for _, code := range []string{"\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[39m", "\x1b[0m"} {
		text = strings.ReplaceAll(text, code, "")
	}
	if text != plain.String() {
		t.Error("colours move the columns")
	}
}

func TestSARIFForCodeScanning(t *testing.T) {
	r := testReport(t, false)
	r.UTF16 = func(scanner.Place) (int, int) { return 7, 9 }
	var b bytes.Buffer
	err := Write(&b, "sarif", r)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Runs []struct {
			ColumnKind string
			Tool       struct {
				Driver struct {
					Rules []struct {
						ID                   string
						FullDescription      struct{ Text string }
						Help                 struct{ Text string }
						DefaultConfiguration struct{ Level string }
						Properties           map[string]any
					}
				}
			}
			Results []struct {
				PartialFingerprints map[string]string
				Locations           []struct {
					PhysicalLocation *struct {
						ArtifactLocation struct{ URI string }
						Region           struct{ StartColumn, EndColumn int }
					}
				}
			}
		}
	}
	err = json.Unmarshal(b.Bytes(), &doc)
	if err != nil {
		t.Fatal(err)
	}
	run := doc.Runs[0]
	if run.ColumnKind != "utf16CodeUnits" || len(run.Tool.Driver.Rules) < 3 {
		t.Errorf("%s, %d rules", run.ColumnKind, len(run.Tool.Driver.Rules))
	}
	for _, rule := range run.Tool.Driver.Rules {
		if rule.FullDescription.Text == "" || rule.Help.Text == "" || rule.DefaultConfiguration.Level == "" || rule.Properties["security-severity"] == nil {
			t.Errorf("rule %+v", rule)
		}
	}
	files := 0
	for _, res := range run.Results {
		if len(res.PartialFingerprints) == 0 {
			t.Error("no fingerprint")
		}
		at := res.Locations[0].PhysicalLocation
		if at == nil {
			continue
		}
		files++
		if at.Region.StartColumn != 7 || at.Region.EndColumn != 9 || strings.HasPrefix(at.ArtifactLocation.URI, "/") || strings.ContainsAny(at.ArtifactLocation.URI, " \x1b") {
			t.Errorf("%+v", at)
		}
	}
	if files < 40 {
		t.Errorf("%d findings in files", files)
	}
}
