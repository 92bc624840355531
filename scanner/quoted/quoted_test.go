package quoted

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func texts(src string, ranges []Range) (out []Text) {
	Each([]byte(src), ranges, func(t *Text) bool {
		c := t.Map()
		c.Data = bytes.Clone(t.Data)
		out = append(out, c)
		return true
	})
	return out
}

func TestLiteralsAreReadAsWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"a cell of a notebook", "\"source\": [\n \"key = \\\"abcdef12\\\"\\n\",\n \"last\"\n]", []string{" \"key = \"abcdef12\"\nlast\""}},
		{"JSON in JSON", `{"a": "{\"k\": \"v1v2v3v4v5\"}"}`, []string{`{"a": "{"k": "v1v2v3v4v5"}"`}},
		{"solidus and code points", `"x": "ab\/cd1234\u002Befgh\ud83d\ude00"`, []string{`"x": "ab/cd1234+efgh😀"`}},
		{"what is no escape stays", `re = "\d{4}-abcd\q1234567\u12"`, []string{`re = "\d{4}-abcd\q1234567\u12"`}},
		{"a sum over lines", "k = 'AAAA1234\\n' +\n  'BBBB5678\\n';", []string{"k = 'AAAA1234\nBBBB5678\n'"}},
		{"sign in front", "k = \"AAAA1234\\n\"\n  . \"BBBB5678\\n\";", []string{"k = \"AAAA1234\nBBBB5678\n\""}},
		{"literals in each other's quotes", `f('a"b', "c\td1234567890")`, []string{`f('a"b', "c	d1234567890"`}},
		{"an apostrophe", `don't say "c\td1234567890"`, []string{`don't say "c	d1234567890"`}},
		{"only a newline at its end", `printf("hello 12345678 %d\n", n)`, nil},
		{"nothing like a secret", `printf("hello\tyou there, how are you\n", n)`, nil},
		{"not closed", "x = \"abc\\\"def12345678\n\"", nil},
		{"not joined: other things between", "\"abcdef123\\n\";\n\"ghijk456\\n\"", nil},
		{"two on a line", `"a\"b1234567890", "c\"d1234567890"`, []string{`"a"b1234567890"`, `"a\"b1234567890", "c"d1234567890"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, x := range texts(c.src, Everything([]byte(c.src))) {
				got = append(got, string(x.Data))
				end := 0
				for i, b := range x.Data {
					r := x.Source(i)
					if r.Start < end && r.End != end || r.End > len(c.src) || r.End-r.Start == 1 && c.src[r.Start] != b {
						t.Errorf("byte %d, %q, comes from %v", i, b, r)
					}
					end = r.End
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

// pieces of texts in which literals begin, end and go on.
var pieces = []string{
	"\"", "'", "\\", "\\n", "\\n\"", ",", "+", "\n", "\n", " ", "\\n\",\n \"", "\\\"", "x = \"abc\\tdef12345678\"\n", "\"line12345678\\n\",\n", "plain\n", "\"last1234\"\n", "don't\n", "q\\", "\"a\\nb9876543210\" ",
}

// What does not have to do with a change is what it was: a text in which nothing is
// found needs to be read where it differs.
func TestRunsOfAPartAreThoseOfTheWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	some := func(n int) []byte {
		var b []byte
		for range n {
			b = append(b, pieces[r.IntN(len(pieces))]...)
		}
		return b
	}
	key := func(t Text) string { return fmt.Sprintf("%q", t.Data) }
	for range 20_000 {
		old := some(1 + r.IntN(40))
		from := r.IntN(len(old) + 1)
		to := from + r.IntN(len(old)-from+1)
		add := some(r.IntN(4))
		data := slices.Concat(old[:from], add, old[to:])
		before, after := map[string]bool{}, map[string]bool{}
		for _, x := range texts(string(old), Everything(old)) {
			before[key(x)] = true
		}
		part := texts(string(data), []Range{{from, from + len(add)}})
		for _, x := range part {
			after[key(x)] = true
		}
		whole := texts(string(data), Everything(data))
		n := 0
		for _, x := range whole {
			if n < len(part) && x.Source(0) == part[n].Source(0) {
				if !bytes.Equal(x.Data, part[n].Data) {
					t.Fatalf("%q is %q in a part", x.Data, part[n].Data)
				}
				n++
			} else if !before[key(x)] {
				t.Fatalf("of %q to %q: %q is new and was not seen", old, data, x.Data)
			}
		}
		if n != len(part) {
			t.Fatalf("of %q to %q: a part has %d runs that the whole has not", old, data, len(part)-n)
		}
	}
}

func FuzzEach(f *testing.F) {
	for _, p := range pieces {
		f.Add([]byte(strings.Repeat(p, 3)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		total, last := 0, 0
		Each(data, Everything(data), func(x *Text) bool {
			total += len(x.Data)
			for i := range x.Data {
				r := x.Source(i)
				if r.Start < 0 || r.End > len(data) || r.Start >= r.End {
					t.Fatalf("byte %d comes from %v", i, r)
				}
			}
			end := x.Source(len(x.Data) - 1).End
			if end <= last {
				t.Fatal("runs overlap")
			}
			last = end
			return true
		})
		if total > 12*len(data) {
			t.Errorf("%d bytes of %d", total, len(data))
		}
	})
}
