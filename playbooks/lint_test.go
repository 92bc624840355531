package playbooks

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var wantComment = regexp.MustCompile(`# want: ([a-z -]+)$`)

// TestLintGolden: each file of testdata/lint marks the lines at fault with
// "# want: RULE ..."; a file without a mark has no problem.
func TestLintGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/lint/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for i, line := range strings.Split(string(b), "\n") {
				if m := wantComment.FindStringSubmatch(line); m != nil {
					for _, rule := range strings.Fields(m[1]) {
						want = append(want, fmt.Sprintf("%d %s", i+1, rule))
					}
				}
			}
			for _, p := range Lint(b, name) {
				got = append(got, fmt.Sprintf("%d %s", p.Line, p.Rule))
				if p.Column < 1 || p.Message == "" || p.File != name || !strings.HasPrefix(p.String(), name+":") {
					t.Errorf("incomplete problem %+v", p)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("got  %q\nwant %q", got, want)
				for _, p := range Lint(b, name) {
					t.Log(p, "|", p.Hint)
				}
			}
		})
	}
}

// TestEveryRuleHasAGoldenFile: a rule that no file shows is a rule nobody saw fail.
func TestEveryRuleHasAGoldenFile(t *testing.T) {
	shown := map[string]bool{"duplicate-provider": true} // between files, see TestLintAll
	files, err := filepath.Glob("testdata/lint/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range Lint(b, name) {
			shown[p.Rule] = true
		}
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?:l\.add\(|bad\([a-zA-Z.()]+, |bad\(nil, )"([a-z-]+)"`)
	n := 0
	for _, src := range sources {
		b, err := os.ReadFile(src)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range rule.FindAllStringSubmatch(string(b), -1) {
			n++
			if !shown[m[1]] {
				t.Errorf("%s: no golden file shows rule %s", src, m[1])
			}
		}
	}
	if n < 40 {
		t.Errorf("found only %d places that complain", n)
	}
}

func TestLintAll(t *testing.T) {
	a := "provider: a\ntitle: A\nhosts: []\ncredentials:\n  - kind: k\n    title: K\n    rules: [r1]\n    parts: [{name: token}]\n    person: [ask]\n"
	b := strings.Replace(a, "provider: a", "provider: b", 1)
	got := LintAll([]File{{"a.yaml", []byte(a)}, {"b.yaml", []byte(b)}})
	if len(got) != 1 || got[0].Rule != "duplicate-rule" || got[0].File != "b.yaml" || got[0].Line != 7 || !strings.Contains(got[0].Message, "a.yaml") {
		t.Fatalf("%v", got)
	}
	got = LintAll([]File{{"a.yaml", []byte(a)}, {"c.yaml", []byte(a)}})
	if len(got) != 2 || got[0].Rule != "duplicate-provider" {
		t.Fatalf("%v", got)
	}
}

// FuzzLint: any file gives problems or none, never a panic, and one without
// problems compiles.
func FuzzLint(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "testdata/lint/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b)
		}
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("provider: !!binary x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, problems := lintFile(b, "f.yaml")
		for _, p := range problems {
			if p.Line < 1 || p.Column < 0 || p.Rule == "" || p.Message == "" || strings.ContainsAny(p.Message, "\n") {
				t.Errorf("bad problem %+v", p)
			}
		}
		if doc == nil || len(problems) > 0 {
			return
		}
		for i := range doc.pb.Credentials {
			err := Compile(&doc.pb.Credentials[i])
			if err != nil {
				t.Errorf("linted and does not compile: %v", err)
			}
		}
	})
}
