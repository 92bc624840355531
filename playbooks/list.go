package playbooks

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Row is one kind of credential in a list, as people and tools read it.
type Row struct {
	Provider   string `json:"provider"`
	Kind       string `json:"kind"`
	Title      string `json:"title"`
	Identify   bool   `json:"identify"`   // the provider is asked whether it lives
	Contain    bool   `json:"contain"`    // contained by API
	Reversible bool   `json:"reversible"` // the first act can be taken back
	Trail      bool   `json:"trail"`      // a log is read for what it did
	Rotate     bool   `json:"rotate"`     // a replacement is made
	By         string `json:"by"`         // who performs the first act: leaked, admin, anyone; person when there is none
}

// List gives a row for each kind, by provider, in the order of its file.
func (s *Set) List() []Row {
	var out []Row
	for _, pb := range s.playbooks {
		for _, c := range pb.Credentials {
			r := Row{Provider: pb.Provider, Kind: c.Kind, Title: c.Title, Identify: c.Identify != nil,
				Contain: len(c.Contain) > 0, Trail: len(c.Trail) > 0, Rotate: c.Rotate != nil, By: "person"}
			if r.Contain {
				r.By, r.Reversible = c.Contain[0].With, c.Contain[0].Reversible
			}
			out = append(out, r)
		}
	}
	return out
}

// Explain writes what a playbook would call, in which order, with whose
// credential, and what it would do to whom. It calls nobody.
func Explain(w io.Writer, c Credential) error {
	e := &explainer{w: w}
	e.line("%s/%s: %s", c.Provider, c.Kind, c.Title)
	e.line("")
	if c.Identify == nil {
		e.line("identify   nobody is asked; the verdict stays unknown")
	} else {
		e.line("identify   %s, with %s", e.call(c.Identify.Uses, c.Identify.Request, c), who(c.Identify.With))
		if c.Identify.Live != "" {
			e.line("           live when %s", c.Identify.Live)
			e.line("           dead when %s", c.Identify.Dead)
		}
		if len(c.Identify.Capture) > 0 {
			e.line("           keeps %s", strings.Join(sortedKeys(c.Identify.Capture), ", "))
		}
	}
	for _, a := range c.Contain {
		e.line("contain %d  %s: %s, with %s", a.Level, a.Name, e.call(a.Uses, a.Request, c), who(a.With))
		if a.When != "" {
			e.line("           only when %s", a.When)
		}
		e.line("           hits exactly this credential because %s", bindingWords(a.Binding))
		e.line("           also stops: %s", a.Collateral)
		if a.Reversible {
			e.line("           taken back by %s", e.call(a.Undo, a.UndoRequest, c))
		} else {
			e.line("           cannot be taken back: %s", cmp.Or(a.Why, "a reversible act comes first"))
		}
	}
	if c.Hold > 0 {
		e.line("hold       for %s against whoever undoes it", c.Hold)
	}
	if c.Prove != nil {
		e.line("prove      identify again every %s until %d refusals in a row; after %s people are called", c.Prove.Interval, c.Prove.Consecutive, c.Prove.Deadline)
	}
	for _, t := range c.Trail {
		e.line("trail      %s", e.call(t.Uses, nil, c))
		for _, g := range t.Gaps {
			e.line("           cannot see: %s", g)
		}
	}
	for i, p := range c.Person {
		label := ""
		if i == 0 {
			label = "person"
		}
		e.line("%-10s %s", label, p)
	}
	return e.err
}

type explainer struct {
	w   io.Writer
	err error
}

func (e *explainer) line(format string, args ...any) {
	if e.err != nil {
		return
	}
	_, e.err = fmt.Fprintf(e.w, format+"\n", args...)
}

func (e *explainer) call(uses string, r *Request, c Credential) string {
	if v, ok := LookupVerb(uses); ok {
		return v.Does
	}
	if r == nil {
		return uses
	}
	base := cmp.Or(r.BaseURL, c.BaseURL)
	return r.Method + " " + base + r.Path
}

func who(with string) string {
	switch with {
	case WithLeaked:
		return "the leaked credential itself"
	case WithAdmin:
		return "our own enrolled credential"
	default:
		return "no credential (anyone may)"
	}
}

func bindingWords(b string) string {
	switch b {
	case BindingInValue:
		return "its identifier is written in it"
	case BindingInBody:
		return "the credential itself is what is sent"
	case BindingSelf:
		return "the endpoint acts on what authenticates"
	case BindingFact:
		return "identify found its id"
	default:
		return "exactly one candidate has its fingerprint"
	}
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
