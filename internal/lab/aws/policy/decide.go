package policy

import "strings"

// Request is one call to be judged.
type Request struct {
	Action   string // "iam:CreateUser"
	Resource string // an ARN or "*"
	// Context holds the condition keys that are present, by lower-case name.
	Context map[string][]string
}

// Stack is every layer that applies to a caller.
type Stack struct {
	Identity []*Document
	// Boundary limits Identity when set.
	Boundary *Document
	// Session limits Identity when HasSession: one of them must allow. A
	// federated session without any session policy may do nothing.
	Session    []*Document
	HasSession bool
	// Control is one entry per level of service control policies.
	Control [][]*Document
}

// Decision is the answer. Why is worded like the tail of AWS's own message.
type Decision struct {
	Allowed bool
	Denied  bool // by an explicit deny, not by the absence of an allow
	Why     string
}

// Decide judges r.
func (s Stack) Decide(r Request) Decision {
	layers := []struct {
		name string
		docs []*Document
	}{
		{"an identity-based policy", s.Identity},
		{"a permissions boundary", []*Document{s.Boundary}},
		{"a session policy", s.Session},
	}
	for _, level := range s.Control {
		layers = append(layers, struct {
			name string
			docs []*Document
		}{"a service control policy", level})
	}
	for _, l := range layers {
		_, denied := judge(l.docs, r)
		if denied {
			return Decision{Denied: true, Why: "with an explicit deny in " + l.name}
		}
	}
	for _, level := range s.Control {
		allowed, _ := judge(level, r)
		if !allowed {
			return missing("service control policy", r)
		}
	}
	if s.Boundary != nil {
		allowed, _ := judge([]*Document{s.Boundary}, r)
		if !allowed {
			return missing("permissions boundary", r)
		}
	}
	if s.HasSession {
		allowed, _ := judge(s.Session, r)
		if !allowed {
			return missing("session policy", r)
		}
	}
	allowed, _ := judge(s.Identity, r)
	if !allowed {
		return missing("identity-based policy", r)
	}
	return Decision{Allowed: true, Why: "allowed by an identity-based policy"}
}

func missing(layer string, r Request) Decision {
	return Decision{Why: "because no " + layer + " allows the " + r.Action + " action"}
}

func judge(docs []*Document, r Request) (allowed, denied bool) {
	for _, d := range docs {
		if d == nil {
			continue
		}
		for i := range d.statements {
			s := &d.statements[i]
			if !s.applies(d, r) {
				continue
			}
			if s.deny {
				return false, true
			}
			allowed = true
		}
	}
	return allowed, false
}

func (s *statement) applies(d *Document, r Request) bool {
	if !s.action.match(func(p string) bool { return glob(strings.ToLower(p), strings.ToLower(r.Action)) }) {
		return false
	}
	if !s.resource.match(func(p string) bool {
		if d.variables {
			var ok bool
			p, ok = expand(p, r.Context)
			if !ok {
				return false
			}
		}
		return matchARN(p, r.Resource)
	}) {
		return false
	}
	for _, c := range s.conditions {
		if !c.holds(d, r.Context) {
			return false
		}
	}
	return true
}

func (p patterns) match(one func(string) bool) bool {
	for _, s := range p.list {
		if one(s) {
			return !p.not
		}
	}
	return p.not
}

// Caller is who asks to assume a role.
type Caller struct {
	ARN     string // of the user, role or session
	RoleARN string // of the role behind an assumed-role session, else empty
	Account string
}

// TrustDecision is a trust policy's answer.
type TrustDecision struct {
	Allowed bool
	Denied  bool
	// Direct is true when the caller itself is named; then, in one account, no
	// identity policy needs to allow. Else its account is named.
	Direct bool
}

// Trusts judges whether a trust policy lets c act.
func (d *Document) Trusts(c Caller, r Request) TrustDecision {
	var out TrustDecision
	for i := range d.statements {
		s := &d.statements[i]
		named, direct := s.names(c)
		if named == s.notPrincipal || !s.applies(d, r) {
			continue
		}
		if s.deny {
			return TrustDecision{Denied: true}
		}
		out.Allowed = true
		out.Direct = out.Direct || direct || s.notPrincipal
	}
	return out
}

func (s *statement) names(c Caller) (named, direct bool) {
	for _, p := range s.principal["AWS"] {
		switch {
		case p == "*", p == c.ARN, c.RoleARN != "" && p == c.RoleARN:
			return true, true
		case p == c.Account, strings.HasPrefix(p, "arn:") && strings.HasSuffix(p, ":iam::"+c.Account+":root"):
			named = true
		}
	}
	return named, false
}
