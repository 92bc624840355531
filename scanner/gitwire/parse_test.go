package gitwire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"stanch/scanner"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccccccccccccccccccc"
	id0 = "0000000000000000000000000000000000000000"
)

func TestReadRaw(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want []change
		bad  bool
	}{
		"nothing":   {in: ""},
		"added":     {in: idA + "\x00:000000 100644 " + id0 + " " + idB + " A\x00p\nq\x00", want: []change{{Commit: idA, Path: "p\nq", New: idB, Added: true}}},
		"modified":  {in: idA + "\x00:100644 100755 " + idB + " " + idC + " M\x00:p\x00", want: []change{{Commit: idA, Path: ":p", New: idC, Olds: []string{idB}}}},
		"deleted":   {in: idA + "\x00:100644 000000 " + idB + " " + id0 + " D\x00p\x00", want: []change{{Commit: idA, Path: "p", Olds: []string{idB}}}},
		"merge":     {in: idA + "\x00::100644 100644 100644 " + idB + " " + idB + " " + idC + " MM\x00p\x00", want: []change{{Commit: idA, Path: "p", New: idC, Olds: []string{idB}}}},
		"submodule": {in: idA + "\x00:000000 160000 " + id0 + " " + idB + " A\x00p\x00", want: []change{{Commit: idA, Path: "p", Added: true}}},
		"two trees": {in: idB + " " + idA + "\n:000000 100644 " + id0 + " " + idC + " A\x00p\x00", want: []change{{Commit: idA, Path: "p", New: idC, Added: true}}},
		"cut off":   {in: idA + "\x00:000000 100644 " + id0 + " " + idB + " A\x00p", bad: true},
		"no header": {in: ":000000 100644 " + id0 + " " + idB + " A\x00p\x00", bad: true},
		"short id":  {in: idA + "\x00:000000 100644 00 " + idB + " A\x00p\x00", bad: true},
		"no path":   {in: idA + "\x00:000000 100644 " + id0 + " " + idB + " A\x00", bad: true},
		"not an id": {in: "--option\x00", bad: true},
		"fields":    {in: idA + "\x00::000000 100644 " + id0 + " " + idB + " A\x00p\x00", bad: true},
	} {
		var got []change
		err := readRaw(bufio.NewReader(strings.NewReader(c.in)), func(c change) error {
			got = append(got, c)
			return nil
		})
		if (err != nil) != c.bad {
			t.Errorf("%s: %v", name, err)
		}
		same := slices.EqualFunc(got, c.want, func(a, b change) bool {
			return a.Commit == b.Commit && a.Path == b.Path && a.New == b.New && a.Added == b.Added && slices.Equal(a.Olds, b.Olds)
		})
		if !c.bad && !same {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestReadHeader(t *testing.T) {
	for in, want := range map[string]header{
		idA + " blob 12\n":             {ID: idA, Type: "blob", Size: 12},
		idA + " missing\n":             {ID: idA, Missing: true},
		idA + " blob -1\n":             {},
		idA + " blob 1 2\n":            {},
		idA + " ambiguous\n":           {},
		idA + " weird 1\n":             {},
		"x missing\n":                  {},
		idA + " blob 1":                {},
		strings.Repeat("a", 5000) + "": {},
	} {
		got, err := readHeader(bufio.NewReader(strings.NewReader(in)))
		if got != want || (err == nil) != (want.ID != "") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestParseCommit(t *testing.T) {
	c := parseCommit([]byte("tree " + idA + "\nparent " + idB + "\nparent " + idC + "\n" +
		"author A U Thor <a@x> 1700000000 +0530\ncommitter C <c@x> 1700000001 -0100\n" +
		"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\nodd header with a secret\n continued\nencoding x\n\nsubject\n\nbody\n"))
	if c.Tree != idA || !slices.Equal(c.Parents, []string{idB, idC}) || c.Author != (scanner.Person{Name: "A U Thor", Email: "a@x"}) || c.Committer.Email != "c@x" {
		t.Errorf("commit: %+v", c)
	}
	if !c.Authored.Equal(time.Unix(1700000000, 0)) || c.Authored.Format("-0700") != "+0530" || c.Committed.Format("-0700") != "-0100" {
		t.Errorf("times: %v %v", c.Authored, c.Committed)
	}
	if string(c.Headers) != "odd header with a secret\n continued\nencoding x\n" || string(c.Message) != "subject\n\nbody\n" {
		t.Errorf("headers %q, message %q", c.Headers, c.Message)
	}
	c = parseCommit([]byte("\nmessage only"))
	if string(c.Message) != "message only" {
		t.Errorf("message %q", c.Message)
	}
	c = parseCommit([]byte("author no address here\n\nm"))
	if c.Author.Name != "no address here" {
		t.Errorf("author %+v", c.Author)
	}
}

func TestParsePerson(t *testing.T) {
	for in, want := range map[string]string{
		"A <a@x> 1 +0000":                   "A|a@x|1970-01-01T00:00:01Z",
		"<a@x> 1 +0000":                     "|a@x|1970-01-01T00:00:01Z",
		"A <b <c> 1 +9999":                  "A|b <c|1970-01-01T00:00:01Z",
		"A <a@x>":                           "A|a@x|0001-01-01T00:00:00Z",
		"A <a@x> 99999999999999999999 +0":   "A|a@x|0001-01-01T00:00:00Z",
		"A <a@x> 253402300800 +0000":        "A|a@x|0001-01-01T00:00:00Z",
		"A <a@x> -5 +0000":                  "A|a@x|0001-01-01T00:00:00Z",
		"x> <y":                             "x> <y||0001-01-01T00:00:00Z",
		"A \x1b[31m<script>a@x</script> 1 ": "A \x1b[31m|script>a@x</script|1970-01-01T00:00:01Z",
	} {
		p, at := parsePerson(in)
		if got := p.Name + "|" + p.Email + "|" + at.UTC().Format(time.RFC3339); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestParseTag(t *testing.T) {
	g := parseTag([]byte("object " + idA + "\ntype commit\ntag v1\ntagger T <t@x> 5 +0000\n\nhello\n"))
	if g.Object != idA || g.Type != "commit" || g.Tagger.Email != "t@x" || g.Tagged.Unix() != 5 || string(g.Message) != "hello\n" {
		t.Errorf("tag: %+v", g)
	}
}

func TestErrorsAreTold(t *testing.T) {
	for text, want := range map[string]error{
		"fatal: unable to access 'https://h/': The requested URL returned error: 403":    ErrRefused,
		"fatal: Authentication failed for 'https://h/'":                                  ErrRefused,
		"remote: Repository not found.\nfatal: repository 'https://h/' not found":        ErrNotFound,
		"fatal: remote error: upload-pack: not our ref " + idA:                           ErrNotFound,
		"fatal: unable to access 'https://h/': The requested URL returned error: 301":    ErrMoved,
		"fatal: unable to access 'https://h/': Could not resolve host: h":                nil,
		"fatal: unable to access 'https://h/': The requested URL returned error: 503":    nil,
		"fatal: could not read Username for 'https://h': terminal prompts have been off": ErrRefused,
	} {
		err := gitFailure("fetch push", text, "", errors.New("exit status 128"))
		for _, sentinel := range []error{ErrRefused, ErrNotFound, ErrMoved, ErrTooLarge, ErrTimeout} {
			if errors.Is(err, sentinel) != (sentinel == want) {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func FuzzReadRaw(f *testing.F) {
	f.Add([]byte(idA + "\x00:000000 100644 " + id0 + " " + idB + " A\x00p\x00"))
	f.Add([]byte(idA + "\x00::100644 100644 100644 " + idB + " " + idB + " " + idC + " MM\x00p\x00"))
	f.Add([]byte(idB + " " + idA + "\n:000000 100644 " + id0 + " " + idC + " A\x00p\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = readRaw(bufio.NewReader(bytes.NewReader(data)), func(c change) error {
			if !isID(c.Commit) || c.New != "" && !isID(c.New) || c.Path == "" || strings.ContainsRune(c.Path, 0) {
				t.Errorf("change: %+v", c)
			}
			for _, o := range c.Olds {
				if !isID(o) || isZero(o) {
					t.Errorf("old: %q", o)
				}
			}
			return nil
		})
	})
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(idA+" blob 3\nabc\n"+idB+" missing\n"), 2)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		r := &reader{out: bufio.NewReader(bytes.NewReader(data)), cancel: func() {}}
		_ = r.answers(max(0, min(n, 10)), false, func(h header, content io.Reader) error {
			got, _ := io.ReadAll(io.LimitReader(content, 1<<20))
			if int64(len(got)) > h.Size || !isID(h.ID) {
				t.Errorf("%+v: %d bytes", h, len(got))
			}
			return nil
		})
	})
}

func FuzzParseObject(f *testing.F) {
	f.Add([]byte("tree " + idA + "\nauthor A <a@x> 1 +0000\ncommitter C <c@x> 1 +0000\n\nm"))
	f.Add([]byte("object " + idA + "\ntype commit\ntagger T <t@x> 1 +0000\n\nm"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, g := parseCommit(data), parseTag(data)
		for _, at := range []time.Time{c.Authored, c.Committed, g.Tagged} {
			_, err := at.MarshalJSON()
			if err != nil {
				t.Errorf("time: %v", err)
			}
		}
		if !bytes.HasSuffix(data, c.Message) {
			t.Errorf("message %q is not of %q", c.Message, data)
		}
	})
}

// BenchmarkFetch is one push of one commit in a repository of 2,000 commits.
func BenchmarkFetch(b *testing.B) {
	f := newFixture(b)
	_, last := f.importCommits(2000, "refs/heads/main")
	parent := f.gitIn(f.repo.Dir, "", "rev-parse", last+"^")
	p := Push{URL: f.repo.CloneURL, Repository: "mona/shop", Ref: "refs/heads/main", Before: parent, After: last, Commits: []string{last}}
	dir := b.TempDir()
	for b.Loop() {
		res, err := Fetch(context.Background(), p, Limits{TempDir: dir}, func(Object) error { return nil })
		if err != nil || res.Blobs != 1 {
			b.Fatalf("%+v, %v", res, err)
		}
	}
}
