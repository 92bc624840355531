package scanner

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func zipped(t *testing.T, files map[string]string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{"app/config.env", "app/other.txt"} {
		x, err := w.Create(name)
		if err == nil {
			_, err = x.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestScanAllLooksIntoArchives(t *testing.T) {
	one := zipped(t, map[string]string{"app/config.env": "a\nTOKEN=" + patA + "\n"})
	two := zipped(t, map[string]string{"app/config.env": "a\nTOKEN=" + patA + "\n", "app/other.txt": oauth})
	unit := Unit{Data: two, Place: Place{Path: "build/app.war"}}
	found, reasons := engine().ScanAll(context.Background(), unit)
	if got := rulesOf(found); len(reasons) > 0 || !slices.Equal(got, []string{"github-pat@2:7", "github-oauth@1:1"}) || found[0].Place.Path != "build/app.war!app/config.env" {
		t.Errorf("%v %q %+v", got, reasons, found)
	}
	found, reasons = engine().ScanChangeAll(context.Background(), unit, one)
	if got := rulesOf(found); len(reasons) > 0 || !slices.Equal(got, []string{"github-oauth@1:1"}) {
		t.Errorf("new in it: %v %q", got, reasons)
	}
	cut := Unit{Data: append(slices.Clone(two[:len(two)-30]), "\x00\x00 T="+patA+" \x00"...), Place: unit.Place}
	found, reasons = engine().ScanAll(context.Background(), cut)
	if got := rulesOf(found); len(reasons) == 0 || len(got) == 0 {
		t.Errorf("damaged: %v %q", got, reasons)
	}
	if engine().Ignores("docs/plan.docx") || !engine().Ignores("a.png") {
		t.Error("paths are told apart wrongly")
	}
}

func TestTextThatIsNotReadToItsEndIsPartial(t *testing.T) {
	text := []byte(strings.Repeat("db=postgres://u:"+secretA+"@db.corp.io/x\n", 10_001))
	unit := Unit{Data: text, Place: Place{Path: "a.txt"}}
	found, reasons := engine().ScanAll(context.Background(), unit)
	if len(found) < 10_000 || !slices.Equal(reasons, []string{leftOut}) {
		t.Errorf("%d findings, %q", len(found), reasons)
	}
	_, reasons = engine().ScanChangeAll(context.Background(), unit, []byte("x"))
	if !slices.Equal(reasons, []string{leftOut}) {
		t.Errorf("of a change: %q", reasons)
	}
	_, reasons = engine().ScanAll(context.Background(), Unit{Data: zipped(t, map[string]string{"app/other.txt": string(text)}), Place: Place{Path: "a.zip"}})
	if !slices.Contains(reasons, leftOut) {
		t.Errorf("in an archive: %q", reasons)
	}
	whole := engine().ScanBlob(context.Background(), text)
	delta := engine().ScanDelta(context.Background(), append(slices.Clone(text), 'x'), whole, text, []Copy{{Len: len(text)}})
	few := engine().ScanDelta(context.Background(), text[:1000], whole, text, []Copy{{Len: 1000}})
	binary := engine().ScanBlob(context.Background(), append([]byte{0}, text...))
	if len(whole.Reasons()) == 0 || len(delta.Reasons()) == 0 || len(binary.Reasons()) == 0 || len(few.Reasons()) > 0 {
		t.Errorf("blobs: %q %q %q %q", whole.Reasons(), delta.Reasons(), binary.Reasons(), few.Reasons())
	}
}

func TestBlobThatIsAnArchiveGivesWhatIsInIt(t *testing.T) {
	text := "a\nTOKEN=" + patA + "\n"
	two := zipped(t, map[string]string{"app/config.env": text, "app/other.txt": oauth})
	gz := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, c := range []struct {
		path  string
		data  []byte
		inner string
	}{
		{"build/app.war", two, "build/app.war!app/config.env"},
		{"logs/run.1.log.gz", gz([]byte(text)), "logs/run.1.log.gz!run.1.log"},
		{"x.env.gz.gz", gz(gz([]byte(text))), "x.env.gz.gz!x.env.gz!x.env"},
		{"x.zip.gz", gz(two), "x.zip.gz!x.zip!app/config.env"},
		{"cut.zip", append(slices.Clone(two[:len(two)-30]), "\x00\x00 T="+patA+" \x00"...), "cut.zip"},
	} {
		place := Place{Path: c.path, Object: "blob"}
		want, reasons := engine().ScanAll(context.Background(), Unit{Data: c.data, Place: place})
		for _, s := range []*Scanned{
			engine().ScanBlob(context.Background(), c.data),
			engine().ScanDelta(context.Background(), c.data, engine().ScanBlob(context.Background(), c.data), c.data, []Copy{{Len: len(c.data)}}),
		} {
			got := s.Settled().At(place)
			if !slices.Equal(s.Reasons(), reasons) || !reflect.DeepEqual(got, want) || len(got) == 0 || got[0].Place.Path != c.inner {
				t.Errorf("%s: %v %q, want %v %q; %+v", c.path, rulesOf(got), s.Reasons(), rulesOf(want), reasons, got)
			}
		}
	}
	found, _ := engine().ScanChangeAll(context.Background(), Unit{Data: two, Place: Place{Path: "a.zip"}}, []byte(oauth), zipped(t, map[string]string{"app/config.env": text}))
	if len(found) != 0 {
		t.Errorf("of a merge that brings nothing: %v", rulesOf(found))
	}
}
