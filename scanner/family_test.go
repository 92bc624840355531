package scanner

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// say writes all of some findings.
func say(fs []Finding) string {
	var b strings.Builder
	for _, f := range fs {
		fmt.Fprintf(&b, "%+v %q %q\n", f, f.Secret.Reveal(), f.Match.Reveal())
	}
	return b.String()
}

// Parts of files, in all orders: each file is a delta of the one before.
func TestChainOfDeltasGivesWhatScanGives(t *testing.T) {
	e := engine()
	ctx := context.Background()
	parts := []string{
		"nothing\n", strings.Repeat("plain text of no interest\n", 30), "id = " + idA + "\n", "x," + secretA + "\n", secretB + "\n",
		"aws_secret_access_key=" + secretC + "\n", "token=" + patA + " # here\n", "password = 'x9Kq7Zw3Lm5Rt8Yb2'\n", "\x00\x01", "id " + idS + "," + secretB + "\n",
	}
	places := []Place{{Path: "src/a.py"}, {Path: "tests/a_test.py"}, {Path: "go.sum"}, {Path: "a.p12"}, {Path: "README.md", Object: "blob"}, {Object: "commit-message"}}
	var old []byte
	base := e.ScanBlob(ctx, old)
	starts := map[int]int{} // part -> where it stands in old
	for n := range 200 {
		var data []byte
		var copies []Copy
		now := map[int]int{}
		for k := range parts {
			part := (n*7 + k*3) % len(parts)
			if (n>>(k%6))&1 == 0 || part == 8 && n%16 != 0 {
				continue
			}
			now[part] = len(data)
			at, ok := starts[part]
			if ok && n%5 > 0 {
				copies = append(copies, Copy{Old: at, New: len(data), Len: len(parts[part])})
			}
			data = append(data, parts[part]...)
		}
		s := e.ScanDelta(ctx, data, base, old, copies)
		for _, p := range places {
			got, want := say(s.At(p)), say(e.Scan(ctx, Unit{Data: data, Place: p}))
			if got != want {
				t.Fatalf("step %d at %+v:\n%s\nwant:\n%s", n, p, got, want)
			}
			if s.Empty() && want != "" && !e.NamesSecret(p.Path) {
				t.Errorf("step %d: empty, with findings", n)
			}
			if say(s.Settled().At(p)) != want {
				t.Errorf("step %d: settling lost something", n)
			}
		}
		old, base, starts = data, s, now
	}
}

func TestScannedBlobGivesWhatScanGives(t *testing.T) {
	old := []byte("first\nid = " + idA + "\nlast\n")
	data := []byte("first\nid = " + idB + "\nlast\n")
	e := engine()
	base := e.ScanBlob(context.Background(), old)
	s := e.ScanDelta(context.Background(), data, base, old, []Copy{{Old: 0, New: 0, Len: 11}, {Old: 31, New: 31, Len: 6}})
	for _, path := range []string{"src/app.conf", "docs/readme.md", "go.sum"} {
		got, want := s.At(Place{Path: path}), scan(path, string(data))
		if !slices.Equal(rulesOf(got), rulesOf(want)) {
			t.Errorf("%s: got %v, want %v", path, rulesOf(got), rulesOf(want))
		}
	}
	if !e.NamesSecret("keys/store.p12") || e.NamesSecret("main.go") {
		t.Error("paths are told apart wrongly")
	}
}
