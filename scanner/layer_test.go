package scanner

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"stanch/scanner/quoted"
)

// pemA is a made-up key of the right form.
var pemA = "-----BEGIN " + "RSA PRIVATE KEY-----\n" + strings.Repeat("MIIEpAIBAAKCAQEAq7Xv9kLm2Zr/8sWn4tB+yHc3sKd6pQfGjT5uEo1iNbVMxRaQ"[:64]+"\n", 6) + "-----END RSA " + "PRIVATE KEY-----\n"

func jsonOf(t *testing.T, v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	err := e.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// notebook is one with a cell of lines and the text that it wrote.
func notebook(t *testing.T, source, output string) string {
	lines := func(s string) []string { return strings.SplitAfter(s, "\n") }
	return jsonOf(t, map[string]any{"nbformat": 4, "cells": []any{map[string]any{
		"cell_type": "code", "source": lines(source),
		"outputs": []any{map[string]any{"output_type": "stream", "name": "stdout", "text": lines(output)}},
	}}})
}

func TestSecretsBetweenEscapesAreFoundWhereTheyStand(t *testing.T) {
	password := "Wn4tB8y" + "Hc3sKd6Qp"
	key40 := "kR7vQ2/Zx9LpT4wB" + "n6/cD1sFh8JgU3eAo5iN+VMq"
	inYAML := "kind: Secret\nstringData:\n  url: postgres://app:" + password + "@db.corp.io/x\n"
	manifest := jsonOf(t, map[string]any{"metadata": map[string]any{"annotations": map[string]any{"last-applied": jsonOf(t, map[string]any{"manifest": inYAML})}}})
	js := `var k=require("x");` + "k.connect(\"postgres://app:" + password + "@db.corp.io/x\");\n\ttoken(\"" + patA + "\")"
	sum := ""
	for line := range strings.Lines(pemA) {
		sum += "  '" + strings.TrimSuffix(line, "\n") + "\\n' +\n"
	}
	for _, c := range []struct {
		name, path, text string
		rule, secret     string
		raw              string // what stands in the text
	}{
		{"token in a cell", "a.ipynb", notebook(t, "import x\napi_key = \""+patA+"\"\n", ""), "github-pat", patA, patA},
		{"key id at the start of a line of one string", "a.json", jsonOf(t, map[string]string{"note": "the key:\n" + idA + "\nis old"}), "aws-access-token", idA, idA},
		{"password in what a cell wrote", "a.ipynb", notebook(t, "x\n", "connected\nto \"mysql://app:"+password+"@db.corp.io/x\"\n"), "URL", password, password},
		{"key in a cell, line by line", "a.ipynb", notebook(t, "k = '''"+pemA+"'''\n", ""), "private-key", strings.TrimSuffix(pemA, "\n"), ""},
		{"key in JSON", "a.json", jsonOf(t, map[string]string{"tls": pemA}), "private-key", strings.TrimSuffix(pemA, "\n"), ""},
		{"key in a sum", "a.js", "const key = \n" + sum + "  '';\n", "private-key", strings.TrimSuffix(pemA, "\n"), ""},
		{"secret with solidus and code points", "a.json", `{"aws_secret_access_key": "` + strings.NewReplacer("/", `\/`, "+", `\u002b`).Replace(key40) + `"}`, "aws-secret-access-key", key40, strings.NewReplacer("/", `\/`, "+", `\u002b`).Replace(key40)},
		{"source map", "dist/app.js.map", jsonOf(t, map[string]any{"version": 3, "sources": []string{"a.js"}, "sourcesContent": []string{js}}), "github-pat", patA, patA},
		{"URL in a source map", "dist/app.js.map", jsonOf(t, map[string]any{"version": 3, "sourcesContent": []string{js}}), "URL", password, password},
		{"literals in literals", "a.json", manifest, "URL", password, password},
		{"Go literal", "a.go", "x := \"{\\\"token\\\":\\\"" + patA + "\\\"}\"\n", "github-pat", patA, patA},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := Place{Path: c.path}
			found := scan(c.path, c.text)
			var hit []Finding
			for _, f := range found {
				if f.Rule == c.rule || c.rule == "URL" && strings.HasSuffix(f.Rule, "-url") {
					hit = append(hit, f)
				}
			}
			if len(hit) != 1 || hit[0].Secret.Reveal() != c.secret {
				t.Fatalf("found %v, %q", rulesOf(found), say(hit))
			}
			f := hit[0]
			lines := lineCounter{text: []byte(c.text)}
			line, column := lines.at(f.Offset)
			endLine, endColumn := lines.at(f.end - 1)
			if p := f.Place; p.Line != line || p.Column != column || p.EndLine != endLine || p.EndColumn != endColumn {
				t.Errorf("at %d:%d to %d:%d, stands at %d:%d to %d:%d", p.Line, p.Column, p.EndLine, p.EndColumn, line, column, endLine, endColumn)
			}
			if raw := c.text[f.Offset:f.end]; c.raw != "" && raw != c.raw {
				t.Errorf("stands at %q, want %q", raw, c.raw)
			}
			if m := f.MatchAt; m.Line > f.Place.Line || m.EndLine < f.Place.EndLine || m.Line == f.Place.Line && m.Column > f.Place.Column {
				t.Errorf("the match is at %+v, the secret at %+v", m, f.Place)
			}
			if got := say(engine().ScanBlob(context.Background(), []byte(c.text)).Settled().At(place)); got != say(found) {
				t.Errorf("as a blob:\n%s\nwant:\n%s", got, say(found))
			}
		})
	}
}

func TestKeysInLiteralsAreReadAsKeys(t *testing.T) {
	found := scan("a.ipynb", notebook(t, "k = '''"+pemA+"'''\n", ""))
	if len(found) != 1 || found[0].Class != ClassProduction || strings.Contains(strings.Join(found[0].Reasons, "; "), "does not decode") {
		t.Errorf("%s", say(found))
	}
}

func TestDeltasOfLiteralsGiveWhatTheWholeGives(t *testing.T) {
	parts := []string{
		"plain\n", "\"key = \\\"" + patA + "\\\"\\n\",\n", "\"x = 12345678\\n\",\n", "\"" + strings.ReplaceAll(pemA, "\n", "\\n\",\n\"") + "\"\n", "\"" + strings.ReplaceAll(pemA, "\n", "\\n") + "\"\n",
		"{\"a\": \"to\\n" + idA + "\\n\"}\n", "\"", "\\n", "'", "\\", "\",\n", "\"postgres:\\/\\/u:" + secretA[:20] + "@h.corp.io\\/x\"\n", strings.Repeat("no interest at all\n", 5), "\n", "\"a\\tb " + secretB + "\\n\"\n",
	}
	r := rand.New(rand.NewPCG(5, 6))
	some := func(n int) (b []byte) {
		for range n {
			b = append(b, parts[r.IntN(len(parts))]...)
		}
		return b
	}
	e, ctx := engine(), context.Background()
	place := Place{Path: "a.ipynb", Object: "blob"}
	seen := 0
	for range 60 {
		old := some(1 + r.IntN(20))
		base := e.ScanBlob(ctx, old)
		for range 4 {
			var data []byte
			var copies []Copy
			for range 1 + r.IntN(4) {
				data = append(data, some(r.IntN(3))...)
				from := r.IntN(len(old) + 1)
				n := r.IntN(len(old) - from + 1)
				if n > 0 {
					copies = append(copies, Copy{Old: from, New: len(data), Len: n})
					data = append(data, old[from:from+n]...)
				}
			}
			s := e.ScanDelta(ctx, data, base, old, copies)
			got, want := s.At(place), e.Scan(ctx, Unit{Data: data, Place: place})
			if say(got) != say(want) {
				t.Fatalf("of %q to %q, %v:\n%s\nwant:\n%s", old, data, copies, say(got), say(want))
			}
			for _, f := range got {
				if strings.Contains(fmt.Sprint(f.Tags), tagEscapes) {
					seen++
				}
			}
			if old, base = data, s; len(old) == 0 {
				break
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d findings of literals: the test looks at nothing", seen)
	}
}

func TestChangedAreTheGapsBetweenCopies(t *testing.T) {
	for _, c := range []struct {
		copies []Copy
		want   []quoted.Range
	}{
		{nil, []quoted.Range{{Start: 0, End: 20}}},
		{[]Copy{{Old: 0, New: 0, Len: 20}}, []quoted.Range{{Start: 20, End: 20}}},
		{[]Copy{{Old: 5, New: 0, Len: 10}, {Old: 30, New: 10, Len: 5}}, []quoted.Range{{Start: 0, End: 0}, {Start: 10, End: 10}, {Start: 15, End: 20}}},
	} {
		if got := changed(c.copies, 20); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%v: %v, want %v", c.copies, got, c.want)
		}
	}
}
