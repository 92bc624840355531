package report

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

const schemaPath = "../../docs/report.schema.json"

// schema is made from the types and their comments.
func schema(t *testing.T) []byte {
	t.Helper()
	r := jsonschema.Reflector{}
	err := r.AddGoComments("stanch/responder/report", ".", jsonschema.WithFullComment())
	if err != nil {
		t.Fatal(err)
	}
	// The comments were read from this folder and not from the module's root.
	s := r.Reflect(&Report{})
	s.ID = "urn:stanch:report:1"
	s.Title = "Stanch incident report"
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func TestSchemaIsCommitted(t *testing.T) {
	got := schema(t)
	if *update {
		err := os.WriteFile(schemaPath, got, 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("docs/report.schema.json is not what the types say; run go test ./responder/report -update")
	}
	if !bytes.Contains(got, []byte("Measured is false when one end")) {
		t.Error("the schema lacks the comments of the types")
	}
}

func TestGoldenReportsFollowTheSchema(t *testing.T) {
	c := validator.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil || len(files) < 7 {
		t.Fatalf("golden reports: %v %v", files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := validator.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Validate(doc)
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		doc.(map[string]any)["header"].(map[string]any)["status"] = "perhaps"
		if s.Validate(doc) == nil {
			t.Errorf("%s: a wrong status passes the schema", f)
		}
	}
}
