package playbooks

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/playbook.schema.json")

const schemaFile = "../docs/playbook.schema.json"

// schema makes the JSON Schema from the structs and their comments.
func schema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{ExpandedStruct: true, Mapper: func(rt reflect.Type) *jsonschema.Schema {
		if rt == reflect.TypeFor[Duration]() {
			return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`, Description: `A duration as in Go, such as "15s" or "5m".`}
		}
		return nil
	}}
	err := r.AddGoComments("stanch/playbooks", ".")
	if err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&Playbook{})
	s.ID = ""
	s.Title = "Stanch playbook"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestSchemaIsCurrent(t *testing.T) {
	got := schema(t)
	if *update {
		err := os.MkdirAll(filepath.Dir(schemaFile), 0o755)
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(schemaFile, got, 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the structs say; run go test ./playbooks -run TestSchemaIsCurrent -update", schemaFile)
	}
}

// TestPlaybooksFitTheSchema: what loads also satisfies the schema that editors
// use, and an unknown field does not.
func TestPlaybooksFitTheSchema(t *testing.T) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(schema(t)))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	err = c.AddResource("playbook.json", doc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("playbook.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(file []byte) error {
		j, err := yaml.YAMLToJSON(file)
		if err != nil {
			return err
		}
		v, err := validator.UnmarshalJSON(bytes.NewReader(j))
		if err != nil {
			return err
		}
		return s.Validate(v)
	}
	files, err := Files("")
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile("testdata/lint/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range append(files, File{"good", good}) {
		err := check(f.Data)
		if err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	bad, err := os.ReadFile("testdata/lint/unknown_field.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if check(bad) == nil {
		t.Error("an unknown field satisfies the schema")
	}
}
