package gitpack

import (
	"bytes"
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
)

func TestParseStatement(t *testing.T) {
	c := ParseStatement([]byte("tree " + idA + "\nparent " + idB + "\nparent " + idC + "\n" +
		"author A U Thor <a@x> 1700000000 +0530\ncommitter C <c@x> 1700000001 -0100\n" +
		"gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\nodd header with a secret\n continued\nencoding x\n\nsubject\n\nbody\n"))
	if c.Tree != idA || !slices.Equal(c.Parents, []string{idB, idC}) || c.Author != (scanner.Person{Name: "A U Thor", Email: "a@x"}) || c.Committer.Email != "c@x" {
		t.Errorf("commit: %+v", c)
	}
	if !c.Authored.Equal(time.Unix(1700000000, 0)) || c.Authored.Format("-0700") != "+0530" || c.Committed.Format("-0700") != "-0100" {
		t.Errorf("times: %v %v", c.Authored, c.Committed)
	}
	if string(c.Extra) != "odd header with a secret\n continued\nencoding x\n" || string(c.Message) != "subject\n\nbody\n" {
		t.Errorf("extra %q, message %q", c.Extra, c.Message)
	}
	g := ParseStatement([]byte("object " + idA + "\ntype commit\ntag v1\ntagger T <t@x> 5 +0000\n\nhello\n"))
	if g.Object != idA || g.ObjectType != Commit || g.Author.Email != "t@x" || g.Authored.Unix() != 5 || string(g.Message) != "hello\n" || string(g.Extra) != "tag v1\n" {
		t.Errorf("tag: %+v", g)
	}
	c = ParseStatement([]byte("\nmessage only"))
	if string(c.Message) != "message only" {
		t.Errorf("message %q", c.Message)
	}
	c = ParseStatement([]byte("author no address here\n\nm"))
	if c.Author.Name != "no address here" {
		t.Errorf("author %+v", c.Author)
	}
}

// TestNothingEscapesAStatement hides text where Git does not look.
func TestNothingEscapesAStatement(t *testing.T) {
	for _, head := range []string{
		"tree hidden", "tree " + idA + "\ntree hidden", "parent hidden", "object hidden", "type hidden", "tag hidden", "encoding hidden",
		"author A <a@x> 1 +0000 hidden", "author A <a@x>hidden 1 +0000", "author A <a@x> 1 hidden", "author hidden", "author A <hidden> 1 +0000", "author A <x> <hidden> 1 +0000",
		"author A <a@x> 1 +0000\nauthor hidden", "committer C <c@x> 1 +0000\ncommitter hidden",
		"gpgsig hidden", "gpgsig no armour\n hidden", "hidden", " hidden", "odd\n hidden",
	} {
		s := ParseStatement([]byte(head + "\n\nmessage"))
		all := string(s.Extra) + s.Author.Name + s.Author.Email + s.Committer.Name + s.Committer.Email
		if !strings.Contains(all, "hidden") || string(s.Message) != "message" {
			t.Errorf("%q: %+v", head, s)
		}
	}
}

func TestStatementPerson(t *testing.T) {
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
		s := ParseStatement([]byte("author " + in))
		got := s.Author.Name + "|" + s.Author.Email + "|" + s.Authored.UTC().Format(time.RFC3339)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzParseStatement(f *testing.F) {
	f.Add([]byte("tree " + idA + "\nauthor A <a@x> 1 +0000\ncommitter C <c@x> 1 +0000\ngpgsig -----BEGIN X\n x\n\nm"))
	f.Add([]byte("object " + idA + "\ntype commit\ntag v1\ntagger T <t@x> 99999999999999999999 +0000\n\nm"))
	f.Add([]byte("author <<>> \n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := ParseStatement(data)
		for _, at := range []time.Time{s.Authored, s.Committed} {
			_, err := at.MarshalJSON()
			if err != nil {
				t.Errorf("time: %v", err)
			}
		}
		if !bytes.HasSuffix(data, s.Message) || len(s.Message)+len(s.Extra) > len(data)+1 {
			t.Errorf("%+v is not of %q", s, data)
		}
	})
}
