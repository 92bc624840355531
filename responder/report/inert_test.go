package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"golang.org/x/net/html"
)

// shape is the elements and attribute names of a page, without any text: what
// foreign text must not be able to change.
func shape(t *testing.T, page []byte) map[string]int {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for n := range doc.Descendants() {
		if n.Type == html.CommentNode {
			out["comment"]++
		}
		if n.Type != html.ElementNode {
			continue
		}
		key := n.Namespace + ":" + n.Data
		for _, a := range n.Attr {
			key += " " + a.Key
		}
		out[key]++
	}
	return out
}

// The same incident with plain words instead of hostile ones has the same kinds
// of elements with the same attributes: none comes from foreign text.
func TestHTMLHostileTextMakesNoElement(t *testing.T) {
	hostilePage := render(t, HTML, build(t, hostile()))
	in := hostile()
	for n := range in.Sightings {
		in.Sightings[n].AuthoredAt = t0
	}
	plain, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := json.Marshal(hostileText)
	if err != nil {
		t.Fatal(err)
	}
	in = Input{}
	err = json.Unmarshal(bytes.ReplaceAll(plain, bytes.Trim(quoted, `"`), []byte("plain words/here")), &in)
	if err != nil {
		t.Fatal(err)
	}
	got, want := shape(t, hostilePage), shape(t, render(t, HTML, build(t, in)))
	for key := range got {
		if want[key] == 0 {
			t.Errorf("element %q exists with hostile text only", key)
		}
	}
	for _, name := range []string{":script", "svg:script", ":iframe", ":img", ":object", ":embed", ":form", ":link", ":base"} {
		for key := range got {
			if strings.HasPrefix(key, name+" ") || key == name {
				t.Errorf("page has a %s element", key)
			}
		}
	}
}

func TestHTMLLoadsAndRunsNothing(t *testing.T) {
	for name, in := range fixtures() {
		page := render(t, HTML, build(t, in))
		doc, err := html.Parse(bytes.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		policy, styles, ids := "", "", map[string]int{}
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			if n.Data == "style" {
				styles += n.FirstChild.Data
			}
			for _, a := range n.Attr {
				switch {
				case a.Key == "id":
					ids[a.Val]++
				case a.Key == "content" && strings.Contains(a.Val, "default-src"):
					policy = a.Val
				case a.Key == "href" && !strings.HasPrefix(a.Val, "#"):
					t.Errorf("%s: link to %q leaves the page", name, a.Val)
				case a.Key == "style", strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "action":
					t.Errorf("%s: element %s has attribute %s", name, n.Data, a.Key)
				case a.Key == "fill" && !strings.HasPrefix(a.Val, "url(#"):
					t.Errorf("%s: fill %q", name, a.Val)
				}
			}
		}
		hash := sha256.Sum256([]byte(styles))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'"
		if policy != want {
			t.Errorf("%s: policy\n got %s\nwant %s", name, policy, want)
		}
		for id, n := range ids {
			if n > 1 {
				t.Errorf("%s: id %q is used %d times", name, id, n)
			}
		}
	}
}

// Tables name their columns, links lead somewhere, and there is one h1.
func TestHTMLIsUsableWithoutEyes(t *testing.T) {
	doc, err := html.Parse(bytes.NewReader(render(t, HTML, build(t, fixtures()["aws_attacker"]))))
	if err != nil {
		t.Fatal(err)
	}
	ids, links, h1, level := map[string]bool{}, []string{}, 0, 1
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
		}
		if attr["id"] != "" {
			ids[attr["id"]] = true
		}
		if strings.HasPrefix(attr["href"], "#") {
			links = append(links, attr["href"][1:])
		}
		if attr["aria-labelledby"] != "" {
			links = append(links, attr["aria-labelledby"])
		}
		switch n.Data {
		case "th":
			if attr["scope"] == "" {
				t.Error("a table header has no scope")
			}
		case "svg":
			if attr["role"] != "img" || len(attr["aria-label"]) < 40 {
				t.Errorf("the picture has no text: %q", attr["aria-label"])
			}
		case "h1":
			h1++
		case "h2", "h3":
			next := int(n.Data[1] - '0')
			if next > level+1 {
				t.Errorf("heading %s follows level %d", n.Data, level)
			}
			level = next
		}
	}
	if h1 != 1 {
		t.Errorf("page has %d h1, want 1", h1)
	}
	for _, l := range links {
		if !ids[l] {
			t.Errorf("nothing has the id %q", l)
		}
	}
}

// In the Markdown all foreign text is code; nothing of it is a link, an image,
// HTML, emphasis, a heading or a list of its own.
func TestMarkdownHostileTextIsInert(t *testing.T) {
	for name, in := range fixtures() {
		md := render(t, Markdown, build(t, in))
		doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(md))
		headings := map[string]bool{}
		err := ast.Walk(doc, func(n ast.Node, in bool) (ast.WalkStatus, error) {
			if !in {
				return ast.WalkContinue, nil
			}
			switch n := n.(type) {
			case *ast.Link, *ast.Image, *ast.AutoLink, *ast.RawHTML, *ast.HTMLBlock, *ast.FencedCodeBlock, *ast.ThematicBreak:
				t.Errorf("%s: markdown has a %s", name, n.Kind())
			case *ast.Emphasis:
				if n.Level != 2 { // our own bold phrases
					t.Errorf("%s: markdown has emphasis", name)
				}
			case *ast.Heading:
				headings[string(n.Lines().Value(md))] = true
			case *ast.Text:
				s := string(n.Segment.Value(md))
				if n.Parent().Kind() != ast.KindCodeSpan && loose.MatchString(s) {
					t.Errorf("%s: outside code: %.200q", name, s)
				}
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if headings["head"] || headings["owned"] {
			t.Errorf("%s: foreign text became a heading", name)
		}
		for _, line := range bytes.Split(md, []byte("\n")) {
			if bytes.HasPrefix(line, []byte("| ")) && bytes.Contains(line, []byte("``")) {
				t.Errorf("%s: a code span of a table may be cut: %.200q", name, line)
			}
		}
	}
}

// loose is what some renderer makes a link, a mention or markup of.
var loose = regexp.MustCompile("@|://|www\\.|javascript:|[<>`\\[\\]*_|]|\\.\\./")

// No format lets through a character that cannot be seen or that moves others.
func TestNothingInvisible(t *testing.T) {
	for name, in := range fixtures() {
		r := build(t, in)
		data, err := JSON(r)
		if err != nil {
			t.Fatal(err)
		}
		outputs := map[string][]byte{"json": data, "markdown": render(t, Markdown, r), "html": render(t, HTML, r)}
		for format, out := range outputs {
			if !utf8.Valid(out) {
				t.Errorf("%s %s is not UTF-8", name, format)
			}
			for _, c := range string(out) {
				if c != '\n' && c != '\u00a0' && invisible(c) {
					t.Errorf("%s %s holds %U", name, format, c)
					break
				}
			}
		}
		if bytes.ContainsAny(data, "<>&") {
			t.Errorf("%s: JSON holds a character that is markup inside HTML", name)
		}
	}
}

func TestSecretsAreMasked(t *testing.T) {
	secrets := []string{
		"ghp_" + strings.Repeat("aB3x", 9), "github_pat_" + strings.Repeat("aB3x", 12),
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYzK9qT2mW5v", "xoxb-" + strings.Repeat("12ab", 6),
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU",
		"-----BEGIN RSA PRIVATE KEY-----MIIEow/x9-----END RSA PRIVATE KEY-----",
		"IQoJb3JpZ2luX2VjEJr" + strings.Repeat("A1b/", 20),
	}
	for _, secret := range secrets {
		in := hostile()
		in.Sightings[0].Path = "x/" + secret + "/y"
		in.Actions[0].Detail = "the value is " + secret
		in.Steps[0].Error = secret
		in.Incident.Facts["note"] = secret
		in.Events[0].Error = secret
		in.Events[0].Detail = map[string]string{"k": secret}
		in.Coverage[0].Error = "got " + secret
		r := build(t, in)
		data, err := JSON(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, out := range [][]byte{data, render(t, Markdown, r), render(t, HTML, r)} {
			if bytes.Contains(out, []byte(secret)) {
				t.Errorf("a secret like %.8s… is in the report", secret)
			}
		}
	}
	for _, innocent := range []string{"4f1c2d3e4b5a69788796a5b4c3d2e1f001122334", "arn:aws:iam::111122223333:user/deploy-bot", "src/main/java/com/example/app/Main", "AKIAQWERTYUIOPASDFGH"} {
		if got := maskSecrets(innocent); got != innocent {
			t.Errorf("maskSecrets(%q) = %q", innocent, got)
		}
	}
}

// FuzzForeignText holds the two ways in which text reaches Markdown and HTML.
func FuzzForeignText(f *testing.F) {
	f.Add(hostileText)
	f.Add("a`b`c `d")
	f.Add("1. x")
	f.Add("- ``` ~~~ ***")
	f.Add("http://x|y\\|z\\`")
	f.Fuzz(func(t *testing.T, s string) {
		md := "| a | b |\n| --- | --- |\n| " + prose(s) + " | " + code(s) + " |\n\n" + prose(s) + "\n"
		doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader([]byte(md)))
		for b := doc.FirstChild(); b != nil; b = b.NextSibling() {
			if k := b.Kind(); k != ast.KindParagraph && k != east.KindTable {
				t.Fatalf("%q became a %s: %q", s, k, md)
			}
		}
		err := ast.Walk(doc, func(n ast.Node, in bool) (ast.WalkStatus, error) {
			switch n.Kind() {
			case ast.KindLink, ast.KindImage, ast.KindAutoLink, ast.KindRawHTML, ast.KindHTMLBlock, ast.KindEmphasis, ast.KindList, ast.KindHeading, ast.KindFencedCodeBlock:
				t.Fatalf("%q became a %s: %q", s, n.Kind(), md)
			}
			return ast.WalkContinue, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range md {
			if c != '\n' && invisible(c) {
				t.Fatalf("%q holds %U", s, c)
			}
		}
	})
}

func TestWriteErrors(t *testing.T) {
	r := build(t, awsBase())
	for _, f := range []func(io.Writer, Report) error{Markdown, HTML} {
		err := f(brokenWriter{}, r)
		if err == nil {
			t.Error("a failed write is not reported")
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
