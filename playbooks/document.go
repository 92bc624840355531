package playbooks

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFileBytes bounds a playbook file; the longest of ours is under 20 KB.
const maxFileBytes = 1 << 20

// document is a parsed file that can still say where each value stands.
type document struct {
	name string
	root ast.Node
	pb   Playbook
}

// parse reads one file strictly: plain YAML (no anchors, aliases, tags, merge
// keys, second documents), no unknown fields, no duplicate keys. The document
// is nil when the file cannot be read as a playbook at all.
func parse(file []byte, name string) (doc *document, problems []Problem) {
	bad := func(tk *token.Token, rule, message, hint string) {
		p := Problem{File: name, Line: 1, Column: 1, Rule: rule, Message: message, Hint: hint}
		if tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
		}
		problems = append(problems, p)
	}
	// The YAML library panics on some malformed input; a playbook that does
	// that is malformed.
	defer func() {
		if r := recover(); r != nil {
			doc = nil
			bad(nil, "yaml", "file cannot be parsed", "write plain YAML")
		}
	}()
	if len(file) > maxFileBytes {
		bad(nil, "yaml", fmt.Sprintf("file is larger than %d bytes", maxFileBytes), "split it by provider")
		return nil, problems
	}
	f, err := parser.ParseBytes(file, 0)
	if err != nil {
		tk, msg := yamlError(err)
		bad(tk, "yaml", msg, "")
		return nil, problems
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		bad(nil, "yaml", "want exactly one YAML document", "one file describes one provider")
		return nil, problems
	}
	root := f.Docs[0].Body
	plain := true
	ast.Walk(visitor(func(n ast.Node) {
		switch n.(type) {
		case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
			plain = false
			bad(n.GetToken(), "plain-yaml", "anchors, aliases, tags and merge keys are not allowed", "write the value out, so that each line can be reviewed by itself")
		}
	}), root)
	if !plain {
		return nil, problems
	}
	unknown(root, reflect.TypeFor[Playbook](), func(tk *token.Token, key string, known []string) {
		hint := ""
		if near := nearest(key, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		bad(tk, "unknown-field", fmt.Sprintf("unknown field %.60q", key), hint)
	})
	n := len(problems)
	durations(root, reflect.TypeFor[Playbook](), func(tk *token.Token, err error) {
		bad(tk, "yaml", err.Error(), "")
	})
	if len(problems) > n {
		return nil, problems
	}
	doc = &document{name: name, root: root}
	err = yaml.NodeToValue(root, &doc.pb)
	if err != nil {
		tk, msg := yamlError(err)
		bad(tk, "yaml", msg, "")
		return nil, problems
	}
	return doc, problems
}

func yamlError(err error) (*token.Token, string) {
	var e yaml.Error
	if errors.As(err, &e) {
		return e.GetToken(), oneLine(e.GetMessage())
	}
	return nil, oneLine(err.Error())
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return s
}

type visitor func(ast.Node)

func (v visitor) Visit(n ast.Node) ast.Visitor { v(n); return v }

// unknown reports every key of a mapping that the struct t does not have.
func unknown(n ast.Node, t reflect.Type, report func(*token.Token, string, []string)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		if seq, ok := n.(*ast.SequenceNode); ok {
			for _, v := range seq.Values {
				unknown(v, t.Elem(), report)
			}
		}
	case reflect.Struct:
		fields := map[string]reflect.Type{}
		var names []string
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name == "" || name == "-" {
				continue
			}
			fields[name] = t.Field(i).Type
			names = append(names, name)
		}
		if len(names) == 0 {
			return
		}
		for _, kv := range entries(n) {
			key := keyText(kv)
			ft, ok := fields[key]
			if !ok {
				report(kv.Key.GetToken(), key, names)
				continue
			}
			unknown(kv.Value, ft, report)
		}
	}
}

// durations reports every duration that cannot be read: the YAML library gives
// no place for what a text unmarshaler refuses.
func durations(n ast.Node, t reflect.Type, report func(*token.Token, error)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Duration]():
		tk := n.GetToken()
		if tk == nil {
			return
		}
		var d Duration
		err := d.UnmarshalText([]byte(tk.Value))
		if err != nil {
			report(tk, err)
		}
	case t.Kind() == reflect.Slice:
		if seq, ok := n.(*ast.SequenceNode); ok {
			for _, v := range seq.Values {
				durations(v, t.Elem(), report)
			}
		}
	case t.Kind() == reflect.Struct:
		for _, kv := range entries(n) {
			for i := range t.NumField() {
				name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
				if name != "-" && name == keyText(kv) {
					durations(kv.Value, t.Field(i).Type, report)
				}
			}
		}
	}
}

func entries(n ast.Node) []*ast.MappingValueNode {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

func keyText(kv *ast.MappingValueNode) string {
	if s, ok := kv.Key.(*ast.StringNode); ok {
		return s.Value
	}
	if tk := kv.Key.GetToken(); tk != nil {
		return tk.Value
	}
	return ""
}

// pos gives the line and column of the value at path (keys and indexes), or of
// the deepest ancestor that exists.
func (d *document) pos(path ...any) (line, column int) {
	line, column = 1, 1
	set := func(tk *token.Token) {
		if tk != nil && tk.Position != nil {
			line, column = tk.Position.Line, tk.Position.Column
		}
	}
	n := d.root
	for _, step := range path {
		var next ast.Node
		switch step := step.(type) {
		case string:
			for _, kv := range entries(n) {
				if keyText(kv) == step {
					set(kv.Key.GetToken())
					next = kv.Value
				}
			}
		case int:
			if seq, ok := n.(*ast.SequenceNode); ok && step < len(seq.Values) {
				next = seq.Values[step]
				if kvs := entries(next); len(kvs) > 0 {
					set(kvs[0].Key.GetToken())
				} else {
					set(next.GetToken())
				}
			}
		}
		if next == nil {
			return line, column
		}
		n = next
	}
	return line, column
}

// nearest gives the known name within two edits of s, or "".
func nearest(s string, known []string) string {
	best, dist := "", 3
	for _, k := range known {
		if d := editDistance(s, k); d < dist {
			best, dist = k, d
		}
	}
	return best
}

func editDistance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 99
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := prev
			if a[i-1] != b[j-1] {
				cost = 1 + slices.Min([]int{prev, row[j], row[j-1]})
			}
			prev, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
