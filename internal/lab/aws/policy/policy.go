// Package policy judges AWS IAM policy documents for the AWS laboratory.
//
// # What this package promises
//
// It follows the evaluation order that AWS documents: an explicit deny in any
// layer wins; then every layer that is present (service control policies,
// boundary, session policy) must allow; then the identity's own policies must
// allow. Its verdicts are compared with an independent engine in a test.
//
// # What it never does
//
// It reads no policy leniently: an element or a condition operator that it does
// not know makes the document malformed instead of being passed over.
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind says where a document is used; the grammar differs.
type Kind int

// The kinds of document.
const (
	Identity Kind = iota // identity policies, boundaries, session and service control policies
	Trust                // a role's trust policy: Principal instead of Resource
)

// Document is a parsed policy. It is immutable.
type Document struct {
	Text       string
	variables  bool // version 2012-10-17: policy variables are replaced
	statements []statement
}

type statement struct {
	deny         bool
	action       patterns
	resource     patterns
	principal    map[string][]string
	notPrincipal bool
	conditions   []condition
}

// patterns is a list, inverted for NotAction, NotResource.
type patterns struct {
	not  bool
	list []string
}

type oneOrMany []string

func (l *oneOrMany) UnmarshalJSON(b []byte) error {
	var one any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err := d.Decode(&one)
	if err != nil {
		return err
	}
	many, isList := one.([]any)
	if !isList {
		many = []any{one}
	}
	for _, v := range many {
		switch v := v.(type) {
		case string:
			*l = append(*l, v)
		case bool:
			*l = append(*l, fmt.Sprint(v))
		case json.Number:
			*l = append(*l, v.String())
		default:
			return errors.New("value is neither text, number nor true or false")
		}
	}
	return nil
}

type rawStatement struct {
	Sid          string
	Effect       string
	Action       *oneOrMany
	NotAction    *oneOrMany
	Resource     *oneOrMany
	NotResource  *oneOrMany
	Principal    json.RawMessage
	NotPrincipal json.RawMessage
	Condition    map[string]map[string]oneOrMany
}

type rawDocument struct {
	Version   string
	ID        string `json:"Id"`
	Statement json.RawMessage
}

// Parse reads a document strictly. The error says what is malformed.
func Parse(text string, kind Kind) (*Document, error) {
	var raw rawDocument
	err := strict([]byte(text), &raw)
	if err != nil {
		return nil, fmt.Errorf("parse policy: %w", err)
	}
	if raw.Version != "" && raw.Version != "2012-10-17" && raw.Version != "2008-10-17" {
		return nil, fmt.Errorf("parse policy: unknown version %q", raw.Version)
	}
	var list []rawStatement
	trimmed := bytes.TrimSpace(raw.Statement)
	switch {
	case len(trimmed) == 0:
		return nil, errors.New("parse policy: no statement")
	case trimmed[0] == '[':
		err = strict(trimmed, &list)
	default:
		list = make([]rawStatement, 1)
		err = strict(trimmed, &list[0])
	}
	if err != nil {
		return nil, fmt.Errorf("parse statement: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("parse policy: no statement")
	}
	doc := &Document{Text: text, variables: raw.Version == "2012-10-17"}
	for i := range list {
		s, err := list[i].compile(kind)
		if err != nil {
			return nil, fmt.Errorf("parse statement %d: %w", i, err)
		}
		doc.statements = append(doc.statements, s)
	}
	return doc, nil
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err != nil {
		return err
	}
	if d.More() {
		return errors.New("text after the end")
	}
	return nil
}

func (r *rawStatement) compile(kind Kind) (statement, error) {
	var s statement
	switch r.Effect {
	case "Allow":
	case "Deny":
		s.deny = true
	default:
		return s, fmt.Errorf("effect %q is neither Allow nor Deny", r.Effect)
	}
	var err error
	s.action, err = either("Action", r.Action, r.NotAction)
	if err != nil {
		return s, err
	}
	for _, a := range s.action.list {
		if a != "*" && !strings.Contains(a, ":") {
			return s, fmt.Errorf("action %q names no service", a)
		}
	}
	if kind == Trust {
		if r.Resource != nil || r.NotResource != nil {
			return s, errors.New("a trust policy has no resource")
		}
		s.resource = patterns{list: []string{"*"}}
		err = s.readPrincipal(r)
	} else {
		if r.Principal != nil || r.NotPrincipal != nil {
			return s, errors.New("an identity policy has no principal")
		}
		s.resource, err = either("Resource", r.Resource, r.NotResource)
	}
	if err != nil {
		return s, err
	}
	for op, keys := range r.Condition {
		for key, values := range keys {
			c, err := newCondition(op, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

func either(name string, yes, no *oneOrMany) (patterns, error) {
	switch {
	case yes != nil && no != nil:
		return patterns{}, fmt.Errorf("both %s and Not%s", name, name)
	case yes != nil:
		return patterns{list: *yes}, nil
	case no != nil:
		return patterns{not: true, list: *no}, nil
	}
	return patterns{}, fmt.Errorf("no %s", name)
}

func (s *statement) readPrincipal(r *rawStatement) error {
	raw := r.Principal
	if r.NotPrincipal != nil {
		if raw != nil {
			return errors.New("both Principal and NotPrincipal")
		}
		s.notPrincipal = true
		raw = r.NotPrincipal
	}
	if raw == nil {
		return errors.New("a trust policy needs a principal")
	}
	var star string
	err := json.Unmarshal(raw, &star)
	if err == nil {
		if star != "*" {
			return fmt.Errorf("principal %q", star)
		}
		s.principal = map[string][]string{"AWS": {"*"}}
		return nil
	}
	var m map[string]oneOrMany
	err = json.Unmarshal(raw, &m)
	if err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	s.principal = make(map[string][]string)
	for k, v := range m {
		switch k {
		case "AWS", "Service", "Federated", "CanonicalUser":
			s.principal[k] = v
		default:
			return fmt.Errorf("principal of kind %q", k)
		}
	}
	return nil
}

// Principals lists the AWS principals that a trust policy's Allow statements name.
func (d *Document) Principals() []string {
	var out []string
	for _, s := range d.statements {
		if !s.deny {
			out = append(out, s.principal["AWS"]...)
		}
	}
	return out
}
