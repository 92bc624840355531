package scanner

import (
	"context"
	"slices"
	"testing"
)

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
