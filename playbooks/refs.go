package playbooks

import (
	"fmt"
	"strings"

	"stanch/internal/lazyregexp"
)

// Scope says where the value of a reference comes from.
type Scope string

// The scopes of references.
const (
	ScopePart  Scope = "part"  // ${part.NAME}: a part of the leaked credential
	ScopeFact  Scope = "fact"  // ${fact.NAME}: captured by identify
	ScopeAdmin Scope = "admin" // ${admin.NAME}: our own enrolled credential
)

// Ref is one reference in a template.
type Ref struct {
	Scope Scope
	Name  string
}

// String writes it as in a playbook.
func (r Ref) String() string { return "${" + string(r.Scope) + "." + r.Name + "}" }

var refPattern = lazyregexp.New(`\$\{([^}]*)\}`)
var refName = lazyregexp.New(`^(part|fact|admin)\.([a-z][a-z0-9_]*)$`)

// Refs lists the references in a template, in order. Anything else after "${"
// is an error.
func Refs(template string) ([]Ref, error) {
	var out []Ref
	for _, m := range refPattern().FindAllStringSubmatch(template, -1) {
		n := refName().FindStringSubmatch(m[1])
		if n == nil {
			return nil, fmt.Errorf("%.60q is no reference", m[0])
		}
		out = append(out, Ref{Scope(n[1]), n[2]})
	}
	if strings.Contains(refPattern().ReplaceAllString(template, ""), "${") {
		return nil, fmt.Errorf("%.60q has a reference that does not end", template)
	}
	return out, nil
}

// Expand replaces the references in a template by what value gives for them.
// The caller's value function escapes for the place.
func Expand(template string, value func(Ref) (string, error)) (string, error) {
	_, err := Refs(template)
	if err != nil {
		return "", err
	}
	var failed error
	out := refPattern().ReplaceAllStringFunc(template, func(m string) string {
		n := refName().FindStringSubmatch(m[2 : len(m)-1])
		v, err := value(Ref{Scope(n[1]), n[2]})
		if err != nil && failed == nil {
			failed = err
		}
		return v
	})
	if failed != nil {
		return "", failed
	}
	return out, nil
}

// place is where in a request a template stands.
type place string

const (
	placePath   place = "path"
	placeBase   place = "base_url"
	placeHeader place = "headers"
	placeAuth   place = "auth"
	placeBody   place = "body"
)

// templates calls f for every template of a request with its YAML path.
func (r *Request) templates(f func(p place, path []any, template string)) {
	f(placePath, []any{"path"}, r.Path)
	if r.BaseURL != "" {
		f(placeBase, []any{"base_url"}, r.BaseURL)
	}
	for k, v := range r.Headers {
		f(placeHeader, []any{"headers", k}, v)
	}
	if a := r.Auth; a != nil {
		if a.Bearer != "" {
			f(placeAuth, []any{"auth", "bearer"}, a.Bearer)
		}
		if a.Token != "" {
			f(placeAuth, []any{"auth", "token"}, a.Token)
		}
		if a.Basic != nil {
			f(placeAuth, []any{"auth", "basic", "user"}, a.Basic.User)
			f(placeAuth, []any{"auth", "basic", "password"}, a.Basic.Password)
		}
		for k, v := range a.Header {
			f(placeAuth, []any{"auth", "header", k}, v)
		}
	}
	for k, v := range r.Form {
		f(placeBody, []any{"form", k}, v)
	}
	walkJSON(r.JSON, []any{"json"}, func(path []any, s string) { f(placeBody, path, s) })
}

func walkJSON(v any, path []any, f func([]any, string)) {
	at := func(k any) []any { return append(append([]any(nil), path...), k) }
	switch v := v.(type) {
	case string:
		f(path, v)
	case []any:
		for i, e := range v {
			walkJSON(e, at(i), f)
		}
	case map[string]any:
		for k, e := range v {
			walkJSON(e, at(k), f)
		}
	}
}

// Refs lists every reference of a request.
func (r *Request) Refs() []Ref {
	var out []Ref
	r.templates(func(_ place, _ []any, t string) { out = append(out, known(t)...) })
	return out
}
