package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the golden reports and the schema anew")

func build(t *testing.T, in Input) Report {
	t.Helper()
	r, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func render(t *testing.T, f func(io.Writer, Report) error, r Report) []byte {
	t.Helper()
	var b bytes.Buffer
	err := f(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	for name, in := range fixtures() {
		t.Run(name, func(t *testing.T) {
			r := build(t, in)
			data, err := JSON(r)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".golden.json", data)
			golden(t, name+".golden.md", render(t, Markdown, r))
			golden(t, name+".golden.html", render(t, HTML, r))
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		err := os.WriteFile(path, got, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for n := range min(len(g), len(w)) {
		if !bytes.Equal(g[n], w[n]) {
			t.Fatalf("%s differs in line %d (run with -update if that is meant)\n got: %.300s\nwant: %.300s", name, n+1, g[n], w[n])
		}
	}
	t.Fatalf("%s has %d lines, want %d", name, len(g), len(w))
}

// A report that was read back from its JSON renders the same: the renderers add
// no fact that the canonical form lacks.
func TestJSONIsCanonical(t *testing.T) {
	for name, in := range fixtures() {
		t.Run(name, func(t *testing.T) {
			r := build(t, in)
			data, err := JSON(r)
			if err != nil {
				t.Fatal(err)
			}
			var back Report
			d := json.NewDecoder(bytes.NewReader(data))
			d.DisallowUnknownFields()
			err = d.Decode(&back)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []func(io.Writer, Report) error{Markdown, HTML} {
				if !bytes.Equal(render(t, f, r), render(t, f, back)) {
					t.Error("a report read back from JSON renders differently")
				}
			}
		})
	}
}
