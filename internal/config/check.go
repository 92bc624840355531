package config

import (
	"encoding"
	"fmt"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"stanch/internal/lazyregexp"
)

var (
	configType   = reflect.TypeFor[Config]()
	secretType   = reflect.TypeFor[Secret]()
	durationType = reflect.TypeFor[Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// check walks the YAML beside the Go types, so that every message can name the
// field in the words of the file instead of Go's.
func (d *document) check(n ast.Node, t reflect.Type, field string) {
	if n == nil || n.Type() == ast.NullType {
		tk := tokenOf(n)
		d.add(tk, field, "has no value", "give it a value, or remove the line to have the default")
		return
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textType) {
		d.checkDuration(n, field)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		d.checkStruct(n, t, field)
	case reflect.Map:
		for _, kv := range d.entries(n, t, field) {
			d.check(kv.Value, t.Elem(), join(field, keyText(kv)))
		}
	case reflect.Slice:
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			d.wrong(n, field, "a list", "put each item on its own line after \"- \"")
			return
		}
		for i, v := range seq.Values {
			d.check(v, t.Elem(), fmt.Sprintf("%s[%d]", field, i))
		}
	case reflect.String:
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
			d.wrong(n, field, "text", "put the value in double quotes")
		default:
			d.wrong(n, field, "text", "write one value after the colon")
		}
	case reflect.Bool:
		if _, ok := n.(*ast.BoolNode); !ok {
			d.wrong(n, field, "true or false", "write true or false, without quotes")
		}
	case reflect.Int, reflect.Int64:
		d.checkInt(n, t, field)
	default:
		d.add(tokenOf(n), field, "cannot be set", "remove it")
	}
}

func (d *document) checkInt(n ast.Node, t reflect.Type, field string) {
	in, ok := n.(*ast.IntegerNode)
	if !ok {
		d.wrong(n, field, "a whole number", "write digits, without quotes, units or a decimal point")
		return
	}
	_, err := strconv.ParseInt(strings.TrimPrefix(fmt.Sprint(in.Value), "+"), 10, t.Bits())
	if err != nil {
		d.add(tokenOf(n), field, "is out of range", "write a smaller number")
	}
}

func (d *document) checkDuration(n ast.Node, field string) {
	const hint = "write a duration as in Go, for example 15s, 30m or 2160h"
	s, ok := n.(*ast.StringNode)
	if !ok {
		d.wrong(n, field, "a duration", hint)
		return
	}
	var v Duration
	err := v.UnmarshalText([]byte(s.Value))
	if err != nil {
		d.add(tokenOf(n), field, "is not a duration", hint)
	}
}

func (d *document) checkStruct(n ast.Node, t reflect.Type, field string) {
	names := fieldNames(t)
	for _, kv := range d.entries(n, t, field) {
		key := keyText(kv)
		f, ok := names[key]
		if !ok {
			d.add(kv.Key.GetToken(), join(field, key), "unknown field", unknownHint(key, names, t))
			continue
		}
		d.check(kv.Value, f.Type, join(field, key))
	}
}

// entries gives the pairs of a mapping; a repeated or non-text key is an error.
func (d *document) entries(n ast.Node, t reflect.Type, field string) []*ast.MappingValueNode {
	var pairs []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		pairs = m.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{m}
	default:
		hint := "write its fields indented under it"
		if t == secretType {
			hint = "a secret is never written in this file: write file: PATH or env: NAME under it"
		}
		d.wrong(n, field, "fields of its own", hint)
		return nil
	}
	seen := map[string]bool{}
	var out []*ast.MappingValueNode
	for _, kv := range pairs {
		if _, ok := kv.Key.(*ast.StringNode); !ok {
			d.add(kv.Key.GetToken(), field, "has a key that is not plain text", "write the key as a plain word, or in quotes")
			continue
		}
		key := keyText(kv)
		if seen[key] {
			d.add(kv.Key.GetToken(), join(field, key), "is written twice", "remove one of the two")
			continue
		}
		seen[key] = true
		out = append(out, kv)
	}
	return out
}

func (d *document) wrong(n ast.Node, field, want, hint string) {
	got := "something else"
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		got = "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		got = "a number"
	case *ast.BoolNode:
		got = "true or false"
	case *ast.SequenceNode:
		got = "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		got = "fields"
	}
	if field == "" {
		d.add(tokenOf(n), field, fmt.Sprintf("the file holds %s, not fields", got), "see docs/configuration.md for the fields")
		return
	}
	d.add(tokenOf(n), field, fmt.Sprintf("must be %s, not %s", want, got), hint)
}

// tokenOf gives the first token of a node; a mapping's own token is its colon.
func tokenOf(n ast.Node) *token.Token {
	switch m := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		if len(m.Values) > 0 && (m.Start == nil || m.Start.Type != token.MappingStartType) {
			return m.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return m.Key.GetToken()
	}
	return n.GetToken()
}

func keyText(kv *ast.MappingValueNode) string {
	if s, ok := kv.Key.(*ast.StringNode); ok {
		return s.Value
	}
	return ""
}

// fieldNames gives the fields of a struct by their name in the file.
func fieldNames(t reflect.Type) map[string]reflect.StructField {
	out := map[string]reflect.StructField{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			out[name] = f
		}
	}
	return out
}

func unknownHint(key string, names map[string]reflect.StructField, t reflect.Type) string {
	if t == secretType {
		return "a secret is never written in this file: use file: PATH or env: NAME"
	}
	best, distance := "", 3
	all := make([]string, 0, len(names))
	for name := range names {
		all = append(all, name)
	}
	sort.Strings(all)
	for _, name := range all {
		if n := editDistance(strings.ToLower(key), name); n < distance {
			best, distance = name, n
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %s?", best)
	}
	return "known here: " + strings.Join(all, ", ")
}

// editDistance is Levenshtein's, for short names; long ones are far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}

// join appends a key to a field's path. Keys come from the file: one that is no
// plain name is quoted, and cut when long.
func join(field, key string) string {
	if len(key) > 60 {
		key = key[:60] + "..."
	}
	if strings.ContainsFunc(key, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-')
	}) || key == "" {
		key = strconv.QuoteToASCII(key)
	}
	if field == "" {
		return key
	}
	return field + "." + key
}

var fieldPart = lazyregexp.New(`"(?:[^"\\]|\\.)*"|[^.\[\]]+`)

// splitField takes apart what join and the list indices put together.
func splitField(field string) []string {
	parts := fieldPart().FindAllString(field, -1)
	for i, p := range parts {
		if plain, err := strconv.Unquote(p); err == nil {
			parts[i] = plain
		}
	}
	return parts
}

// underSecret reports whether the field is a secret reference or inside one.
func underSecret(field string) bool {
	t := configType
	for _, part := range splitField(field) {
		if t == secretType {
			return true
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := fieldNames(t)[part]
			if !ok {
				return false
			}
			t = f.Type
		case reflect.Map, reflect.Slice:
			t = t.Elem()
		}
	}
	return t == secretType
}

// at finds the node of a field ("policy.rules[0].mode"), or the nearest above it.
func (d *document) at(field string) *token.Token {
	n := d.node
	last := tokenOf(n)
	for _, part := range splitField(field) {
		switch m := n.(type) {
		case *ast.SequenceNode:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(m.Values) {
				return last
			}
			n = m.Values[i]
		case *ast.MappingNode:
			n = childOf(m.Values, part)
		case *ast.MappingValueNode:
			n = childOf([]*ast.MappingValueNode{m}, part)
		default:
			return last
		}
		if n == nil {
			return last
		}
		last = tokenOf(n)
	}
	return last
}

func childOf(pairs []*ast.MappingValueNode, key string) ast.Node {
	for _, kv := range pairs {
		if keyText(kv) == key {
			return kv.Value
		}
	}
	return nil
}
