package playbooks

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
)

// Who may perform a call.
const (
	WithLeaked = "leaked"
	WithAdmin  = "admin"
	WithAnyone = "anyone"
)

// Bindings lists every binding.
func Bindings() []string {
	return []string{BindingInValue, BindingInBody, BindingSelf, BindingFact, BindingCandidate}
}

func (l *linter) credential(c *Credential, at []any) {
	if !namePattern().MatchString(c.Kind) {
		l.add("kind", fmt.Sprintf("kind %.60q is no name", c.Kind), "lower-case letters, digits and _", join(at, "kind")...)
	}
	if strings.TrimSpace(c.Title) == "" {
		l.add("title", "title is missing", "what people call this credential", join(at, "title")...)
	}
	if len(c.Rules) == 0 && len(c.GitHubSecretTypes) == 0 {
		l.add("rules", "takes no finding", "name the rule ids whose findings it takes", join(at, "rules")...)
	}
	l.parts(c, at)
	if c.Identify != nil {
		l.identify(c, join(at, "identify"))
	}
	if len(c.Contain) > 0 {
		l.contain(c, at)
	}
	if len(c.Contain) == 0 && len(c.Person) == 0 {
		l.add("person", "nothing is contained and no steps for a person are given", "write the steps under person", join(at, "person")...)
	}
	l.duration(c.Hold, join(at, "hold"))
	if c.Prove != nil {
		p := join(at, "prove")
		if c.Prove.Consecutive < 1 {
			l.add("consecutive", "consecutive is below 1", "how many refusals in a row prove death; 3 is usual", join(p, "consecutive")...)
		}
		l.duration(c.Prove.Interval, join(p, "interval"))
		l.duration(c.Prove.Deadline, join(p, "deadline"))
		if c.Prove.Deadline == 0 {
			l.add("duration", "deadline is missing", "after it people are called", join(p, "deadline")...)
		}
	}
	for i, t := range c.Trail {
		p := join(at, "trail", i)
		l.verb(t.Uses, RoleTrail, join(p, "uses"))
		if len(t.Gaps) == 0 {
			l.add("trail-gaps", "gaps are missing", "say what this source cannot see: plan, retention, delay, kinds of event", join(p, "gaps")...)
		}
	}
	if c.Rotate != nil {
		l.verb(c.Rotate.Uses, RoleRotate, join(at, "rotate", "uses"))
	}
	for i, link := range c.Report.Links {
		if !strings.HasPrefix(link, "https://") {
			l.add("link", "a link is no https URL", "", join(at, "report", "links", i)...)
		}
	}
}

func (l *linter) parts(c *Credential, at []any) {
	if len(c.Parts) == 0 {
		l.add("parts", "parts are missing", "name the values that make up the credential; a single value is called token", join(at, "parts")...)
	}
	seen := map[string]bool{}
	for i, p := range c.Parts {
		if !namePattern().MatchString(p.Name) {
			l.add("parts", fmt.Sprintf("part %.60q is no name", p.Name), "lower-case letters, digits and _", join(at, "parts", i)...)
		}
		if seen[p.Name] {
			l.add("parts", fmt.Sprintf("part %s is named twice", p.Name), "", join(at, "parts", i)...)
		}
		seen[p.Name] = true
	}
}

func (l *linter) identify(c *Credential, at []any) {
	call := c.Identify
	l.with(call.With, join(at, "with"))
	if !l.oneOf(call.Uses, call.Request, at) {
		return
	}
	if call.Uses != "" {
		l.verb(call.Uses, RoleIdentify, join(at, "uses"))
		return
	}
	r := call.Request
	if m := strings.ToUpper(r.Method); m != "GET" && m != "HEAD" && strings.TrimSpace(call.ReadOnly) == "" {
		l.add("identify-writes", fmt.Sprintf("identify sends %.20s", m), "ask with GET or HEAD; where the endpoint only looks the token up, say so in read_only with the reason", join(at, "request", "method")...)
	}
	l.request(c, r, call.With, join(at, "request"))
	l.proof(call.Live, "live", join(at, "live"))
	l.proof(call.Dead, "dead", join(at, "dead"))
	for name, src := range call.Capture {
		if !namePattern().MatchString(name) {
			l.add("capture", fmt.Sprintf("fact %.60q is no name", name), "lower-case letters, digits and _", join(at, "capture", name)...)
		}
		l.expression(src, cel.StringType, join(at, "capture", name))
	}
	for field, name := range map[string]string{"identity": call.Identity, "account": call.Account} {
		_, captured := call.Capture[name]
		if name != "" && !captured {
			l.add("reference", fmt.Sprintf("%s names %.60q, which is not captured", field, name), "capture it", join(at, field)...)
		}
	}
	if call.Identity == "" {
		l.add("live-proof", "identity is missing", "name the captured fact that says who the credential is: live without it is no proof", join(at, "identity")...)
	}
}

// proof checks a live or dead expression: it must look at more than the status,
// since a firewall or a captive portal answers any status.
func (l *linter) proof(src, name string, at []any) {
	if src == "" {
		l.add(name+"-proof", name+" is missing", "the documented answer that proves it, by status and body", at...)
		return
	}
	ast := l.expression(src, cel.BoolType, at)
	if ast == nil {
		return
	}
	if !uses(ast, "body", "headers") {
		l.add(name+"-proof", name+" looks at the status alone", "a firewall answers any status: require a field of the documented body too", at...)
	}
}

func uses(ast *cel.Ast, names ...string) bool {
	found := false
	celast.PostOrderVisit(ast.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		if e.Kind() == celast.IdentKind && slices.Contains(names, e.AsIdent()) {
			found = true
		}
	}))
	return found
}

func (l *linter) expression(src string, want *cel.Type, at []any) *cel.Ast {
	_, ast, err := checkExpr(src, want)
	if err != nil {
		l.add("expression", oneLine(err.Error()), "a CEL expression over status, headers, body, facts, public_id and kind that gives "+want.String(), at...)
		return nil
	}
	return ast
}

func (l *linter) contain(c *Credential, at []any) {
	if c.Identify == nil || c.Prove == nil {
		l.add("prove", "contains without identify and prove", "2xx is not death: say how it is asked and how often", join(at, "contain")...)
	}
	reversibleBefore, level := false, 1
	names := map[string]bool{}
	for i := range c.Contain {
		a, p := &c.Contain[i], join(at, "contain", i)
		if !namePattern().MatchString(a.Name) || names[a.Name] {
			l.add("action", fmt.Sprintf("action %.60q is no name of its own", a.Name), "a short name, once per credential", join(p, "name")...)
		}
		names[a.Name] = true
		if a.Level < level {
			l.add("level", fmt.Sprintf("level %d comes after level %d", a.Level, level), "levels start at 1 and go from the narrowest to the widest", join(p, "level")...)
		}
		level = max(level, a.Level)
		if !a.Reversible && !reversibleBefore && strings.TrimSpace(a.Why) == "" {
			l.add("irreversible-first", "irreversible, and nothing reversible comes before it", "put a reversible act first, or say in why there is none", join(p, "reversible")...)
		}
		reversibleBefore = reversibleBefore || a.Reversible
		l.action(c, a, p)
	}
}

func (l *linter) action(c *Credential, a *Action, at []any) {
	l.with(a.With, join(at, "with"))
	l.duration(a.Settle, join(at, "settle"))
	if strings.TrimSpace(a.Collateral) == "" {
		l.add("collateral", "collateral is missing", "say what else dies; write \"nothing else\" when that is known", join(at, "collateral")...)
	}
	bound := slices.Contains(Bindings(), a.Binding)
	if !bound {
		msg := fmt.Sprintf("binding %.40q is unknown", a.Binding)
		if a.Binding == "" {
			msg = "binding is missing"
		}
		l.add("binding", msg, "how we know that it hits exactly the leaked credential: "+strings.Join(Bindings(), ", "), join(at, "binding")...)
	}
	if a.When != "" {
		ast := l.expression(a.When, cel.BoolType, join(at, "when"))
		if ast != nil && uses(ast, "status", "headers", "body") {
			l.add("expression", "when looks at an answer, and there is none yet", "use facts, public_id and kind", join(at, "when")...)
		}
	}
	l.undo(c, a, at)
	if !l.oneOf(a.Uses, a.Request, at) {
		return
	}
	if a.Uses != "" {
		v, ok := l.verb(a.Uses, RoleAct, join(at, "uses"))
		if !ok {
			return
		}
		if a.Reversible && !v.Reversible() {
			l.add("undo", fmt.Sprintf("%s cannot be taken back", v.Name), "reversible: false", join(at, "reversible")...)
		}
		if bound && !slices.Contains(v.Bindings, a.Binding) {
			l.add("binding", fmt.Sprintf("%s does not bind by %s", v.Name, a.Binding), "one of "+strings.Join(v.Bindings, ", "), join(at, "binding")...)
		}
		return
	}
	l.request(c, a.Request, a.With, join(at, "request"))
	if a.Accepted == "" {
		l.add("accepted", "accepted is missing", "the answer with which the provider takes the act, such as status == 204", join(at, "accepted")...)
	} else {
		l.expression(a.Accepted, cel.BoolType, join(at, "accepted"))
	}
	if bound {
		l.bindingHolds(c, a, at)
	}
}

// undo: a reversible act carries its undo, an irreversible one has none.
func (l *linter) undo(c *Credential, a *Action, at []any) {
	has := a.Undo != "" || a.UndoRequest != nil
	switch {
	case a.Reversible && !has:
		l.add("undo", "reversible without an undo", "name the verb in undo, or write undo_request", join(at, "reversible")...)
	case !a.Reversible && has:
		l.add("undo", "has an undo but is not reversible", "set reversible: true", join(at, "undo")...)
	}
	if a.Undo != "" {
		l.verb(a.Undo, RoleUndo, join(at, "undo"))
		v, ok := LookupVerb(a.Uses)
		if ok && v.Undo != "" && v.Undo != a.Undo {
			l.add("undo", fmt.Sprintf("%s is taken back by %s", v.Name, v.Undo), "", join(at, "undo")...)
		}
	}
	if a.UndoRequest == nil {
		return
	}
	l.request(c, a.UndoRequest, WithAdmin, join(at, "undo_request"))
	a.UndoRequest.templates(func(_ place, path []any, t string) {
		for _, r := range known(t) {
			if r.Scope == ScopePart && !publicPart(c, r.Name) {
				l.add("undo", fmt.Sprintf("undo needs %s, which is destroyed by then", r), "use a fact or a public part", join(join(at, "undo_request"), path...)...)
			}
		}
	})
	if a.UndoAccepted == "" {
		l.add("accepted", "undo_accepted is missing", "the answer with which the provider takes the undo", join(at, "undo_request")...)
	} else {
		l.expression(a.UndoAccepted, cel.BoolType, join(at, "undo_accepted"))
	}
}

// bindingHolds checks that the request really does what its binding says.
func (l *linter) bindingHolds(c *Credential, a *Action, at []any) {
	in := map[place][]Ref{}
	a.Request.templates(func(p place, _ []any, t string) { in[p] = append(in[p], known(t)...) })
	has := func(ok func(Ref) bool, places ...place) bool {
		for _, p := range places {
			if slices.ContainsFunc(in[p], ok) {
				return true
			}
		}
		return false
	}
	secretPart := func(r Ref) bool { return r.Scope == ScopePart && !publicPart(c, r.Name) }
	public := func(r Ref) bool { return r.Scope == ScopePart && publicPart(c, r.Name) }
	fact := func(r Ref) bool { return r.Scope == ScopeFact }
	any := func(Ref) bool { return true }
	var wrong string
	switch a.Binding {
	case BindingInBody:
		if !has(secretPart, placeBody, placePath) {
			wrong = "the credential itself is not in the request"
		}
	case BindingSelf:
		switch {
		case a.With != WithLeaked:
			wrong = "a self endpoint is called with the leaked credential"
		case !has(secretPart, placeAuth):
			wrong = "the leaked credential does not authenticate the request"
		case has(any, placePath, placeBody):
			wrong = "a self endpoint takes no reference in path or body"
		}
	case BindingFact:
		if !has(fact, placePath, placeBody) {
			wrong = "no ${fact.NAME} that identify captured is in path or body"
		}
	case BindingInValue:
		if !has(public, placePath, placeBody) {
			wrong = "no public part of the credential is in path or body"
		}
	case BindingCandidate:
		wrong = "only a verb can compare fingerprints"
	}
	if wrong != "" {
		l.add("binding", fmt.Sprintf("binding %s does not hold: %s", a.Binding, wrong), "change the request or the binding", join(at, "binding")...)
	}
}

func publicPart(c *Credential, name string) bool {
	for _, p := range c.Parts {
		if p.Name == name {
			return p.Public
		}
	}
	return false
}

// known gives the references of a template, none when it is malformed (which
// is reported where the request is checked).
func known(template string) []Ref {
	refs, err := Refs(template)
	if err != nil {
		return nil
	}
	return refs
}
