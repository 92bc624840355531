package secret

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
	texttemplate "text/template"

	"github.com/goccy/go-yaml"
)

const canary = "wJalrXUtnFEMI/K7MDENG&<bPxRfiCY>\"canary\n"

// leaks reports whether out shows the canary, plain or escaped or as numbers.
func leaks(out string) bool {
	for _, form := range []string{
		canary[:12], "wJalrXUtnFEMI", fmt.Sprintf("%x", canary[:8]), fmt.Sprintf("%X", canary[:8]),
		strings.Trim(fmt.Sprint([]byte(canary[:6])), "[]"), fmt.Sprintf("%#x", canary[0]) + ", ", "d0phbHJYVX", // base64
	} {
		if strings.Contains(out, form) {
			return true
		}
	}
	return false
}

type holder struct {
	Public  string
	V       Value
	P       *Value
	M       map[string]Value
	S       []Value
	Any     any
	Inner   *holder
	private Value // fmt cannot call methods of what it may not see
}

func newHolder(v Value) holder {
	return holder{
		Public: "public", V: v, P: &v, M: map[string]Value{"k": v}, S: []Value{v}, Any: v, private: v,
		Inner: &holder{Public: "inner", V: v, private: v},
	}
}

var verbs = []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%p", "%T", "%w", "%10s", "%-5.3q", "%+d"}

func TestValue_Formatters(t *testing.T) {
	t.Parallel()
	v := New(canary)
	h := newHolder(v)
	for _, x := range []any{v, &v, h, &h, []Value{v}, map[string]Value{"k": v}, map[string]*Value{"k": &v}, [1]Value{v}, struct{ x Value }{v}, struct{ x any }{v}} {
		for _, verb := range verbs {
			out := fmt.Sprintf(verb, x)
			if leaks(out) {
				t.Errorf("%s of %T: %s", verb, x, out)
			}
		}
		for name, out := range map[string]string{
			"Sprint": fmt.Sprint(x), "Sprintln": fmt.Sprintln(x), "Errorf": fmt.Errorf("x %v", x).Error(),
			"Join": errors.Join(errors.New("a"), fmt.Errorf("%w: %v", errors.ErrUnsupported, x)).Error(),
		} {
			if leaks(out) {
				t.Errorf("%s of %T: %s", name, x, out)
			}
		}
	}
	if got := fmt.Sprintf("%s %v %x %d %#v %q", v, v, v, v, v, v); got != strings.TrimSpace(strings.Repeat(Redacted+" ", 6)) {
		t.Errorf("verbs: %s", got)
	}
	if v.String() != Redacted || v.GoString() != Redacted {
		t.Errorf("String %s, GoString %s", v.String(), v.GoString())
	}
}

func TestValue_Encoders(t *testing.T) {
	t.Parallel()
	v := New(canary)
	h := newHolder(v)
	type xmlHolder struct {
		A Value `xml:"a,attr"`
		V Value
		P *Value
		S []Value
	}
	encoders := map[string]func() ([]byte, error){
		"json":         func() ([]byte, error) { return json.Marshal(h) },
		"json indent":  func() ([]byte, error) { return json.MarshalIndent(&h, "", " ") },
		"json map key": func() ([]byte, error) { return json.Marshal(map[Value]int{v: 1}) },
		"xml":          func() ([]byte, error) { return xml.Marshal(xmlHolder{v, v, &v, []Value{v}}) },
		"yaml":         func() ([]byte, error) { return yaml.Marshal(h) },
		"yaml json":    func() ([]byte, error) { return yaml.MarshalWithOptions(&h, yaml.UseJSONMarshaler()) },
		"yaml value":   func() ([]byte, error) { return yaml.Marshal(map[string]any{"a": v, "b": &v, "c": []Value{v}}) },
	}
	for name, encode := range encoders {
		out, err := encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if leaks(string(out)) || !strings.Contains(string(out), "[redacted]") {
			t.Errorf("%s: %s", name, out)
		}
	}
	for _, x := range []any{v, &v, struct{ V Value }{v}, map[string]Value{"k": v}} {
		var out bytes.Buffer
		err := gob.NewEncoder(&out).Encode(x)
		if err == nil {
			t.Errorf("gob of %T was encoded", x)
		}
		if leaks(out.String()) || leaks(fmt.Sprint(err)) {
			t.Errorf("gob of %T: %q, %v", x, out.String(), err)
		}
	}
	_, err := v.MarshalBinary()
	if err == nil || leaks(err.Error()) {
		t.Errorf("binary: %v", err)
	}
}

func TestValue_Logs(t *testing.T) {
	t.Parallel()
	v := New(canary)
	h := newHolder(v)
	var out bytes.Buffer
	for _, l := range []*slog.Logger{
		slog.New(slog.NewJSONHandler(&out, nil)), slog.New(slog.NewTextHandler(&out, nil)),
	} {
		l.With("with", v).WithGroup("g").Info("m", "v", v, "p", &v, "any", slog.AnyValue(h), "holder", h, "list", []Value{v},
			"map", map[string]Value{"k": v}, "err", fmt.Errorf("x: %v", v), slog.Group("inner", "v", v))
	}
	std := log.New(&out, "", 0)
	std.Println(v, h)
	std.Printf("%v %x", &h, v)
	if leaks(out.String()) || strings.Count(out.String(), Redacted) < 10 {
		t.Errorf("logs: %s", out.String())
	}
}

func TestValue_PanicsAndTemplates(t *testing.T) {
	t.Parallel()
	v := New(canary)
	func() {
		defer func() {
			out := fmt.Sprint(recover())
			if leaks(out) || !strings.Contains(out, Redacted) {
				t.Errorf("panic: %s", out)
			}
		}()
		panic(v)
	}()
	const text = `{{.V}} {{.P}} {{.M}} {{.S}} {{printf "%x %s %d" .V .P .M}} {{.}} {{index .M "k"}} {{with .Inner}}{{.V}}{{end}}`
	const html = text + `<a href="/?q={{.V}}" title="{{.V}}" onclick="f({{.V}}, {{.M}})">x</a><script>var x = {{.}}; var y = {{.V}};</script><style>a{b:{{.V}}}</style>`
	var out bytes.Buffer
	err := texttemplate.Must(texttemplate.New("t").Parse(text)).Execute(&out, newHolder(v))
	if err != nil {
		t.Error(err)
	}
	err = htmltemplate.Must(htmltemplate.New("h").Parse(html)).Execute(&out, newHolder(v))
	if err != nil {
		t.Error(err)
	}
	if leaks(out.String()) || !strings.Contains(out.String(), Redacted) {
		t.Errorf("templates: %s", out.String())
	}
}

func TestValue_Behaviour(t *testing.T) {
	t.Parallel()
	v, same, other := New("abc"), FromBytes([]byte("abc")), New("abd")
	if v.Reveal() != "abc" || v.Len() != 3 || v.IsZero() {
		t.Errorf("%q, %d, %v", v.Reveal(), v.Len(), v.IsZero())
	}
	if !v.Equal(same) || v.Equal(other) || v.Equal(New("abcd")) || v.Equal(Value{}) || !(Value{}).Equal(New("")) {
		t.Error("Equal is wrong")
	}
	src := []byte("abc")
	copied := FromBytes(src)
	src[0] = 'x'
	if copied.Reveal() != "abc" {
		t.Error("FromBytes keeps the caller's bytes")
	}
	alias := v
	inner := v.bytes()
	v.Destroy()
	if !v.IsZero() || !alias.IsZero() || alias.Reveal() != "" || !bytes.Equal(inner, []byte{0, 0, 0}) {
		t.Errorf("after Destroy: %q, bytes %v", alias.Reveal(), inner)
	}
	v.Destroy()
	(Value{}).Destroy()
	if (Value{}).Reveal() != "" || (Value{}).Len() != 0 {
		t.Error("the zero Value is not empty")
	}
	for _, empty := range []Value{{}, New("")} {
		if got := fmt.Sprint(empty); got != Redacted {
			t.Errorf("an empty value prints %q, which tells that it is empty", got)
		}
	}
}

func TestValue_ConcurrentUse(t *testing.T) {
	t.Parallel()
	v := New(canary)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if v.Reveal() != canary || !v.Equal(v) || leaks(fmt.Sprint(v)) {
					t.Error("a concurrent reader saw something else")
				}
			}
		})
	}
	wg.Wait()
}
