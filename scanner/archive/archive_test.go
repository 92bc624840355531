package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

type file struct{ name, text string }

func zipOf(t testing.TB, files ...file) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		x, err := w.Create(f.name)
		if err == nil {
			_, err = x.Write([]byte(f.text))
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

func tarOf(t testing.TB, files ...file) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: int64(len(f.text)), Mode: 0o644, Typeflag: tar.TypeReg}
		if strings.HasPrefix(f.text, "-> ") {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.text[3:], 0
		}
		err := w.WriteHeader(h)
		if err == nil && h.Size > 0 {
			_, err = w.Write([]byte(f.text))
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

func gz(t testing.TB, data []byte) []byte {
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

func zst(t testing.TB, data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func opened(t testing.TB, name string, data []byte, l Limits) (files, reasons []string) {
	reasons, err := Open(context.Background(), name, data, l, func(p string, b []byte) error {
		text := string(b)
		if len(text) > 20 {
			text = fmt.Sprintf("%d bytes", len(text))
		}
		files = append(files, p+"="+text)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return files, reasons
}

// What bzip2 and xz make of "packed\n".
var (
	bz2 = []byte("\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\x5b\xda\x09\xa8\x00\x00\x03\x41\x80\x00\x10\x2e\x08\x40\x00\x20\x00\x31\x0c\x01\x06\x4d\xa3\x1c\x02\x8b\xb9\x22\x9c\x28\x48\x2d\xed\x04\xd4\x00")
	xzs = []byte("\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5\xa3\x01\x00\x06\x70\x61\x63\x6b\x65\x64\x0a\x00\x00\x68\xd0\xaa\xdc\x39\x82\x2a\x42\x00\x01\x1f\x07\x16\x2e\xb8\x73\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a")
)

func TestOpen(t *testing.T) {
	a, b := file{"a/b.env", "one"}, file{"c.txt", "two"}
	for _, c := range []struct {
		name  string
		data  []byte
		want  []string
		named string
	}{
		{"zip", zipOf(t, a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"tar", tarOf(t, a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"tar.gz", gz(t, tarOf(t, a, b)), []string{"x.tgz!a/b.env=one", "x.tgz!c.txt=two"}, "x.tgz"},
		{"tar.zst", zst(t, tarOf(t, a)), []string{"x!a/b.env=one"}, "x"},
		{"gz", gz(t, []byte("one")), []string{"d/x.sql.gz!x.sql=one"}, "d/x.sql.gz"},
		{"bz2", bz2, []string{"x.bz2!x=packed\n"}, "x.bz2"},
		{"xz", xzs, []string{"x.xz!x=packed\n"}, "x.xz"},
		{"7z, copied", sevenOf(t, "\x00", a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"7z, LZMA", sevenOf(t, lzma1, a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"7z, deflated", sevenOf(t, "\x04\x01\x08", a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"7z with a packed header", sevenPacked(t, a, b), []string{"x!a/b.env=one", "x!c.txt=two"}, "x"},
		{"zip in 7z", sevenOf(t, lzma1, file{"z.zip", string(zipOf(t, a))}), []string{"x!z.zip!a/b.env=one"}, "x"},
		{"zip in tar.gz in zip", zipOf(t, file{"t.tgz", string(gz(t, tarOf(t, file{"z.zip", string(zipOf(t, a))})))}), []string{"x!t.tgz!z.zip!a/b.env=one"}, "x"},
		{"links are no files", tarOf(t, file{"l", "-> /etc/passwd"}, b), []string{"x!c.txt=two"}, "x"},
		{"text", []byte("PK is text"), nil, "x"},
	} {
		got, reasons := opened(t, c.named, c.data, Limits{})
		if !slices.Equal(got, c.want) || len(reasons) > 0 {
			t.Errorf("%s: %q %q, want %q", c.name, got, reasons, c.want)
		}
	}
}

func TestWhatIsLeftOutIsNamed(t *testing.T) {
	text := file{"a", "one"}
	nest := func(n int) []byte {
		d := zipOf(t, text)
		for range n {
			d = zipOf(t, file{"n.zip", string(d)})
		}
		return d
	}
	many := make([]file, 50)
	for i := range many {
		many[i] = file{fmt.Sprint(i), "x"}
	}
	zeros := strings.Repeat("\x00", 8<<20)
	for _, c := range []struct {
		name   string
		data   []byte
		limits Limits
		files  int
		reason string
	}{
		{"nested", nest(50), Limits{}, 0, "nested deeper than 4"},
		{"just deep enough", nest(3), Limits{}, 1, ""},
		{"ratio of a zip", zipOf(t, file{"z", zeros}, text), Limits{}, 1 + 1, "expands more than 100 times"},
		{"ratio of a gzip", gz(t, []byte(zeros)), Limits{}, 1, "expands more than 100 times"},
		{"bytes", zipOf(t, file{"z", zeros}, text), Limits{Bytes: 1 << 20, Ratio: 1 << 30}, 0, "more bytes than are read"},
		{"bytes of a compressed tar", gz(t, tarOf(t, file{"z", zeros}, text)), Limits{Bytes: 1 << 20, Ratio: 1 << 30}, 0, "more bytes than are read"},
		{"entries of a zip", zipOf(t, many...), Limits{Entries: 10}, 0, "more entries than are read"},
		{"entries of a tar", tarOf(t, many...), Limits{Entries: 10}, 10, "more entries than are read"},
		{"names", tarOf(t, file{"../../etc/x", "one"}), Limits{}, 1, "names that lead out of it"},
		{"cut", zipOf(t, many...)[:900], Limits{}, 0, "damaged"},
		{"cut gzip", gz(t, []byte(strings.Repeat("a1b2 ", 9)))[:20], Limits{}, 0, "damaged"},
		{"rar", []byte("Rar!\x1a\x07\x01\x00 and so on"), Limits{}, 0, "not read"},
		{"7z that is none", []byte("7z\xbc\xaf\x27\x1c\x00\x04 and so on"), Limits{}, 0, "damaged"},
		{"cut 7z", sevenOf(t, "\x00", text, file{"b", "two"})[:40], Limits{}, 0, "damaged"},
		{"7z with a password", sevenOf(t, "\x06\xf1\x07\x01", text), Limits{}, 0, "encrypted"},
		{"7z packed in a way of its own", sevenOf(t, "\x03\x04\x01", text), Limits{}, 0, "not read"},
		{"bytes of a 7z", sevenOf(t, lzma1, file{"z", zeros}), Limits{Bytes: 1 << 20, Ratio: 1 << 30}, 0, "more bytes than are read"},
		{"entries of a 7z", sevenOf(t, "\x00", many...), Limits{Entries: 10}, 0, "damaged"},
	} {
		got, reasons := opened(t, "x", c.data, c.limits)
		if c.reason == "" && len(reasons) > 0 || !strings.Contains(strings.Join(reasons, "; "), c.reason) {
			t.Errorf("%s: reasons %q, want %q", c.name, reasons, c.reason)
		}
		if c.name != "ratio of a zip" && c.name != "ratio of a gzip" && c.name != "cut gzip" && len(got) != c.files {
			t.Errorf("%s: %q, want %d files", c.name, got, c.files)
		}
		for _, f := range got {
			if strings.Contains(f, "..") {
				t.Errorf("%s: %q", c.name, f)
			}
		}
	}
}

func TestAnErrorOfTheCallerEndsIt(t *testing.T) {
	n := 0
	_, err := Open(context.Background(), "x", zipOf(t, file{"a", "1"}, file{"b", "2"}), Limits{}, func(string, []byte) error { n++; return context.Canceled })
	if err == nil || n != 1 {
		t.Errorf("%v after %d files", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	reasons, err := Open(ctx, "x", zipOf(t, file{"a", "1"}), Limits{}, func(string, []byte) error { return nil })
	if err != nil || len(reasons) != 1 {
		t.Errorf("%v %q", err, reasons)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(zipOf(f, file{"a", "one"}, file{"../b", "two"}))
	f.Add(gz(f, tarOf(f, file{"a", "one"}, file{"l", "-> x"})))
	f.Add(zst(f, []byte("one")))
	f.Add(sevenOf(f, lzma1, file{"a", "one"}, file{"b", "two"}))
	f.Add(sevenPacked(f, file{"a", "one"}))
	f.Add(bz2)
	f.Add(xzs)
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		reasons, err := Open(context.Background(), "x", data, Limits{Bytes: 1 << 20, Entries: 100}, func(p string, b []byte) error {
			total += len(b)
			if !strings.HasPrefix(p, "x!") || strings.Contains(p, "..") && strings.Contains("/"+p+"/", "/../") || strings.ContainsRune(p, 0) {
				t.Errorf("path %q", p)
			}
			return nil
		})
		if err != nil || total > 1<<20+64<<10 {
			t.Errorf("%v, %d bytes, %q", err, total, reasons)
		}
	})
}
