package format

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"stanch/scanner"
)

// planted are made-up secrets, put together so that no scanner takes this file
// for a leak.
func planted() []string {
	var out []string
	for n := range 40 {
		out = append(out, "gh"+"p_"+fmt.Sprintf("zQWBu%03dSOoRi4A9spHcVY5ncnsDkxkJ0mLq", n))
	}
	return append(out, "kR7vQ2mZx9LpT4wB"+"n6YcD1sFh8JgU3eAo5iNbVMq", "x9Kq7Zw3Lm5Rt8Yb2+/Vc4")
}

const keyID = "AK" + "IAQYLPMN5HHHFPZAM2"

func testReport(t *testing.T, show bool) Report {
	t.Helper()
	e, err := scanner.New(scanner.Options{})
	if err != nil {
		t.Fatal(err)
	}
	secrets := planted()
	var found []scanner.Finding
	scan := func(text string, p scanner.Place) {
		fs := e.Scan(context.Background(), scanner.Unit{Data: []byte(text), Place: p})
		for i := range fs {
			fs[i].CommitMessage = "used " + secrets[7] + "\n"
		}
		found = append(found, fs...)
	}
	for n, s := range secrets[:40] {
		scan("a\ntoken = '"+s+"' # and "+secrets[(n+1)%40]+"\n", scanner.Place{
			Path: "dir/" + secrets[(n+2)%40] + "/\x1b[31m\u202e f", Commit: strings.Repeat("a", 40), Ref: "refs/heads/" + url.QueryEscape(secrets[41]),
			Author:     scanner.Person{Name: "N " + hex.EncodeToString([]byte(secrets[3])), Email: base64.StdEncoding.EncodeToString([]byte(secrets[4])) + "@x"},
			AuthoredAt: time.Unix(1_700_000_000, 0),
		})
	}
	scan("id="+keyID+"\naws_secret_access_key="+secrets[40]+"\npassword: '"+secrets[41]+"'\n", scanner.Place{Path: "aws.env"})
	scan("id=AK"+"IAIOSFODNN7EXAMPLE\n", scanner.Place{Path: "README.md"})
	scan("see "+secrets[5], scanner.Place{Object: "commit-message", Commit: strings.Repeat("b", 40)})
	r := Report{Findings: found, Credentials: e.Join(found), ShowSecrets: show, Version: "v1", Reasons: []string{"1 blobs were over the size limit"}}
	if !show {
		r.Findings = e.Scrub(found)
	}
	return r
}

func TestNoFormatShowsASecret(t *testing.T) {
	r := testReport(t, false)
	if len(r.Findings) < 85 {
		t.Fatalf("%d findings", len(r.Findings))
	}
	for _, name := range Names {
		var b bytes.Buffer
		err := Write(&b, name, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out := b.String()
		for _, s := range planted() {
			j, _ := json.Marshal(s)
			for form, v := range map[string]string{
				"plain": s, "hex": hex.EncodeToString([]byte(s)), "base64": base64.RawStdEncoding.EncodeToString([]byte(s)),
				"url": url.QueryEscape(s), "json": strings.Trim(string(j), `"`), "half": s[:len(s)/2+4],
			} {
				if strings.Contains(strings.ToLower(out), strings.ToLower(v)) {
					t.Errorf("%s holds a secret in %s form", name, form)
				}
			}
		}
		if !strings.Contains(out, keyID) && name != "gitleaks" {
			t.Errorf("%s does not show the public key id", name)
		}
	}
}

func TestShowSecrets(t *testing.T) {
	r := testReport(t, true)
	for _, name := range Names {
		var b bytes.Buffer
		err := Write(&b, name, r)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), planted()[0]) {
			t.Errorf("%s shows no secret", name)
		}
	}
}

func TestForeignTextIsInertInTheTable(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, "table", testReport(t, false))
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\r\x00") {
		t.Error("the table holds control characters")
	}
	if !strings.Contains(b.String(), `\x1b[31m\u{202e}`) {
		t.Error("what was escaped cannot be seen")
	}
	for in, want := range map[string]string{"a\tb": `a\x09b`, "ok é 漢": "ok é 漢", "\xff": `\xff`, "\u200b\ufeff": `\u{200b}\u{feff}`} {
		if got := Inert(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestJSONLFields(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, "jsonl", testReport(t, false))
	if err != nil {
		t.Fatal(err)
	}
	joined := 0
	for line := range strings.Lines(b.String()) {
		var o map[string]any
		err := json.Unmarshal([]byte(line), &o)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"rule", "provider", "kind", "secret", "path", "line", "column", "commit", "author", "time", "fingerprint", "confidence", "class"} {
			if _, ok := o[k]; !ok {
				t.Fatalf("no field %s", k)
			}
		}
		parts, ok := o["parts"].(map[string]any)
		if ok && parts["access_key_id"] != nil {
			joined++
			if parts["access_key_id"] != keyID || parts["secret_access_key"] != "[redacted]" {
				t.Errorf("parts %v", parts)
			}
		}
	}
	if joined != 2 {
		t.Errorf("%d findings with parts, want the id's and the secret's", joined)
	}
}

func TestSARIFIsValid(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, "sarif", testReport(t, false))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := sarif.FromBytes(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	err = doc.Validate()
	if err != nil {
		t.Errorf("%v\n%.2000s", err, b.String())
	}
	if len(doc.Runs) != 1 || doc.Version != "2.1.0" {
		t.Errorf("version %s, %d runs", doc.Version, len(doc.Runs))
	}
}

func TestGitleaksShape(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, "gitleaks", testReport(t, false))
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	err = json.Unmarshal(b.Bytes(), &rows)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"RuleID", "Description", "StartLine", "EndLine", "StartColumn", "EndColumn", "Match", "Secret", "File", "SymlinkFile",
		"Commit", "Entropy", "Author", "Email", "Date", "Message", "Tags", "Fingerprint"}
	if len(rows[0]) != len(want) {
		t.Errorf("%d fields, want %d", len(rows[0]), len(want))
	}
	for _, k := range want {
		if _, ok := rows[0][k]; !ok {
			t.Errorf("no field %s", k)
		}
	}
	if rows[0]["StartLine"] != 2.0 || rows[0]["Date"] != "2023-11-14T22:13:20Z" || rows[0]["RuleID"] != "github-pat" {
		t.Errorf("%v", rows[0])
	}
	var none bytes.Buffer
	err = Write(&none, "gitleaks", Report{})
	if err != nil || strings.TrimSpace(none.String()) != "[]" {
		t.Errorf("no findings: %q, %v", none.String(), err)
	}
}
