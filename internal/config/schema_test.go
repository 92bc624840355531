package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "write docs/config.schema.json and docs/configuration.md")

var (
	schemaFile = filepath.Join("..", "..", "docs", "config.schema.json")
	manualFile = filepath.Join("..", "..", "docs", "configuration.md")
	sampleFile = filepath.Join("..", "..", "deploy", "stanch.yaml")
)

// comments gives the doc comments of the types ("Log") and fields ("Log.Level").
func comments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, d := range file.Decls {
		gen, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range gen.Specs {
			ts, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			out[ts.Name.Name] = flat(gen.Doc.Text())
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			for _, f := range st.Fields.List {
				for _, name := range f.Names {
					out[ts.Name.Name+"."+name.Name] = flat(f.Doc.Text())
				}
			}
		}
	}
	return out
}

func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// inWords gives a field's comment with the names that the file uses: people who
// read the manual do not read Go. With field nil it is a type's comment.
func inWords(doc string, field *reflect.StructField) string {
	if field != nil && strings.HasPrefix(doc, field.Name) {
		key, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		doc = key + doc[len(field.Name):]
	}
	words := strings.Split(doc, " ")
	for i, w := range words {
		name := strings.Trim(w, ".,;:()")
		if key := keyOf(name); key != "" {
			words[i] = strings.Replace(w, name, key, 1)
		}
	}
	return strings.Join(words, " ")
}

// keyOf gives the key of a field by its Go name, where that is not a plain word.
func keyOf(name string) string {
	if name == "GitHub" || name == "ID" || (name != "Listen" && strings.ToLower(name[min(1, len(name)):]) == name[min(1, len(name)):]) {
		return ""
	}
	for _, t := range configTypes() {
		for key, f := range fieldNames(t) {
			if f.Name == name {
				return key
			}
		}
	}
	return ""
}

// configTypes lists the struct types below Config, in the order in which they appear.
func configTypes() []reflect.Type {
	var out []reflect.Type
	seen := map[reflect.Type]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || seen[t] {
			return
		}
		seen[t] = true
		out = append(out, t)
		for i := range t.NumField() {
			walk(t.Field(i).Type)
		}
	}
	walk(configType)
	return out
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	docs := comments(t)
	r := &jsonschema.Reflector{
		Anonymous:      true,
		ExpandedStruct: true,
		LookupComment: func(rt reflect.Type, field string) string {
			if field == "" {
				return inWords(docs[rt.Name()], nil)
			}
			f, _ := rt.FieldByName(field)
			return inWords(docs[rt.Name()+"."+field], &f)
		},
		Mapper: func(rt reflect.Type) *jsonschema.Schema {
			if rt == durationType {
				return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h)([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$|^0$`, Examples: []any{"15s", "30m", "2160h"}}
			}
			return nil
		},
	}
	s := r.Reflect(&Config{})
	s.Title = "stanch.yaml"
	s.Description = "The configuration of Stanch."
	// A secret is exactly one of the two references.
	ref := s.Definitions["Secret"]
	one := uint64(1)
	ref.MinProperties, ref.MaxProperties = &one, &one
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

// generateManual writes one table for each section of the file.
func generateManual(t *testing.T) []byte {
	t.Helper()
	docs := comments(t)
	var b bytes.Buffer
	b.WriteString(`# Configuration

` + "`stanch.yaml`" + ` is strict YAML: unknown or repeated keys, wrong types and bad values are
refused with file, line and column. Fields that are left out have their default.
Relative paths start at the directory of the file. Secrets are never written in the
file: each is a reference to a file (mode 0600) or to an environment variable.

` + "[`deploy/stanch.yaml`](../deploy/stanch.yaml)" + ` is a file to start from, and
` + "[`config.schema.json`](config.schema.json)" + ` lets an editor complete and check it. This page
is made from the comments of ` + "`internal/config/config.go`" + ` by
` + "`go test ./internal/config -update`" + `.

`)
	places := sectionPlaces()
	for _, rt := range configTypes() {
		title := "Top level"
		if rt != configType {
			title = "`" + strings.Join(places[rt], "`, `") + "`"
		}
		fmt.Fprintf(&b, "## %s\n\n", title)
		if rt != configType {
			fmt.Fprintf(&b, "%s\n\n", escapeMarkdown(inWords(docs[rt.Name()], nil)))
		}
		b.WriteString("| field | type | meaning |\n|---|---|---|\n")
		for i := range rt.NumField() {
			f := rt.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key == "-" {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, typeInWords(f.Type), escapeMarkdown(inWords(docs[rt.Name()+"."+f.Name], &f)))
		}
		b.WriteString("\n")
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

func escapeMarkdown(s string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`, "<", "&lt;").Replace(s)
}

func typeInWords(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == secretType:
		return "secret"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeInWords(t.Elem())
	case reflect.Slice:
		return "list of " + typeInWords(t.Elem())
	case reflect.Map:
		return "map of " + typeInWords(t.Elem())
	case reflect.Struct:
		return "section"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "whole number"
	}
	return "text"
}

// sectionPlaces says where each struct type is used.
func sectionPlaces() map[reflect.Type][]string {
	out := map[reflect.Type][]string{}
	var walk func(reflect.Type, string)
	walk = func(t reflect.Type, at string) {
		switch t.Kind() {
		case reflect.Pointer:
			walk(t.Elem(), at)
		case reflect.Slice:
			walk(t.Elem(), at+"[]")
		case reflect.Map:
			walk(t.Elem(), at+".NAME")
		case reflect.Struct:
			if at != "" {
				out[t] = append(out[t], at)
			}
			for i := range t.NumField() {
				key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
				walk(t.Field(i).Type, strings.TrimPrefix(at+"."+key, "."))
			}
		}
	}
	walk(configType, "")
	return out
}

func TestGeneratedFiles(t *testing.T) {
	for _, f := range []struct {
		path string
		want []byte
	}{{schemaFile, generateSchema(t)}, {manualFile, generateManual(t)}} {
		if *update {
			err := os.WriteFile(f.path, f.want, 0o644)
			if err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(f.path)
		if err != nil || !bytes.Equal(got, f.want) {
			t.Errorf("%s is not what the comments in config.go say; run: go test ./internal/config -update (%v)", f.path, err)
		}
	}
}

// Every field is documented, and every value says its default.
func TestEveryFieldIsDocumented(t *testing.T) {
	docs := comments(t)
	for _, rt := range configTypes() {
		if docs[rt.Name()] == "" {
			t.Errorf("type %s has no comment", rt.Name())
		}
		for i := range rt.NumField() {
			f := rt.Field(i)
			key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if key == "-" {
				continue
			}
			jsonKey, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" || key != jsonKey {
				t.Errorf("%s.%s is %q in YAML and %q in JSON", rt.Name(), f.Name, key, jsonKey)
			}
			doc := docs[rt.Name()+"."+f.Name]
			if doc == "" {
				t.Errorf("%s.%s has no comment", rt.Name(), f.Name)
			}
			if f.Type.Kind() == reflect.Struct && f.Type != secretType {
				continue
			}
			if !strings.Contains(doc, "Defaults to") && !strings.Contains(doc, "(default)") && !strings.Contains(doc, "no default") {
				t.Errorf("%s.%s does not say its default: %s", rt.Name(), f.Name, doc)
			}
		}
	}
}

func compileSchema(t *testing.T) *validator.Schema {
	t.Helper()
	b, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	err = c.AddResource("config.schema.json", doc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The schema takes what Load takes, and refuses what an editor can see is wrong.
func TestSchema(t *testing.T) {
	schema := compileSchema(t)
	sample, err := os.ReadFile(sampleFile)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"sample", string(sample), true},
		{"empty", "{}", true},
		{"unknown key", "listn: x", false},
		{"unknown nested key", "log: {levle: info}", false},
		{"wrong type", "pprof: \"yes\"", false},
		{"mode", "policy: {mode: yolo}", false},
		{"rule without mode", "policy: {rules: [{playbook: aws}]}", false},
		{"secret in the file", "database: postgres://x", false},
		{"file and env", "database: {file: a, env: B}", false},
		{"duration", "scan: {timeout: 10m, workers: 3}", true},
		{"no duration", "scan: {timeout: soon}", false},
		{"account number", "providers: {aws: {accounts: [{id: 123, role_arn: x}]}}", false},
		{"account without role", "providers: {aws: {accounts: [{id: \"123456789012\"}]}}", true},
		{"provider", "providers: {github: {owners: [acme], credentials: {token: {env: T}}}}", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			err := yaml.Unmarshal([]byte(tt.text), &v)
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := validator.UnmarshalJSON(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			err = schema.Validate(doc)
			if (err == nil) != tt.ok {
				t.Errorf("schema says %v", err)
			}
			_, err = parse(sampleFile, []byte(tt.text))
			if (err == nil) != tt.ok {
				t.Errorf("Load says %v", err)
			}
		})
	}
}
