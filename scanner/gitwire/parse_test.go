package gitwire

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"stanch/scanner"
)

const (
	idA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	idC = "cccccccccccccccccccccccccccccccccccccccc"
)

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
