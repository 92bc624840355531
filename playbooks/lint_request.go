package playbooks

import (
	"fmt"
	"slices"
	"strings"
)

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}

// ownHeaders are set by the driver, or would change where the request goes.
var ownHeaders = []string{"host", "content-length", "transfer-encoding", "connection", "authorization", "cookie", "proxy-authorization", "user-agent"}

func (l *linter) with(with string, at []any) {
	if with != WithLeaked && with != WithAdmin && with != WithAnyone {
		l.add("with", fmt.Sprintf("with %.40q is unknown", with), "leaked, admin or anyone", at...)
	}
}

func (l *linter) duration(d Duration, at []any) {
	if d < 0 {
		l.add("duration", fmt.Sprintf("%s is negative", d), "a duration such as 15s", at...)
	}
}

// oneOf: a call is a verb or a request, not both and not neither.
func (l *linter) oneOf(uses string, r *Request, at []any) bool {
	if (uses != "") == (r != nil) {
		l.add("call", "want exactly one of uses and request", "", at...)
		return false
	}
	return true
}

// verb checks that a verb is known, stands in its place and belongs to this
// provider.
func (l *linter) verb(name string, role Role, at []any) (Verb, bool) {
	v, ok := LookupVerb(name)
	if !ok {
		var names []string
		for _, k := range Verbs() {
			if k.Role == role {
				names = append(names, k.Name)
			}
		}
		hint := "known here: " + strings.Join(names, ", ")
		if len(names) == 0 {
			hint = "no driver offers a verb here"
		}
		l.add("verb", fmt.Sprintf("verb %.60q is unknown", name), hint, at...)
		return v, false
	}
	if v.Role != role {
		if role == RoleIdentify && v.Writes {
			l.add("identify-writes", fmt.Sprintf("%s writes at the provider", name), "identify only reads", at...)
		} else {
			l.add("verb", fmt.Sprintf("%s is a verb for %s, not for %s", name, v.Role, role), "", at...)
		}
		return v, false
	}
	if v.Provider != l.doc.pb.Provider {
		l.add("verb", fmt.Sprintf("%s belongs to provider %s", name, v.Provider), "", at...)
		return v, false
	}
	return v, true
}

func (l *linter) request(c *Credential, r *Request, with string, at []any) {
	if !slices.Contains(methods, r.Method) {
		l.add("method", fmt.Sprintf("method %.20q is unknown", r.Method), strings.Join(methods, ", "), join(at, "method")...)
	}
	if !strings.HasPrefix(r.Path, "/") || strings.HasPrefix(r.Path, "//") || strings.ContainsAny(r.Path, " \t\r\n#\\") || strings.Contains(r.Path, "/../") {
		l.add("path", fmt.Sprintf("%.80q is no path", r.Path), "start with one slash; no spaces, fragments or ..", join(at, "path")...)
	}
	if r.BaseURL != "" {
		l.baseURL(r.BaseURL, join(at, "base_url")...)
	} else if l.doc.pb.BaseURL == "" {
		l.add("host", "the request has no host", "set base_url at the top of the file", at...)
	}
	if r.JSON != nil && len(r.Form) > 0 {
		l.add("call", "want at most one of json and form", "", at...)
	}
	for k := range r.Headers {
		if slices.Contains(ownHeaders, strings.ToLower(k)) {
			l.add("auth", fmt.Sprintf("header %.40s is not for playbooks", k), "use auth; the rest is set by the driver", join(at, "headers", k)...)
		}
	}
	l.auth(r.Auth, with, join(at, "auth"))
	leaked, admin := false, false
	r.templates(func(p place, path []any, t string) {
		where := join(at, path...)
		refs, err := Refs(t)
		if err != nil {
			l.add("reference", err.Error(), "write ${part.NAME}, ${fact.NAME} or ${admin.NAME}", where...)
			return
		}
		for _, ref := range refs {
			leaked = leaked || p == placeAuth && ref.Scope == ScopePart
			admin = admin || ref.Scope == ScopeAdmin
			l.reference(c, r, ref, p, with, where)
		}
	})
	if with == WithLeaked && !leaked {
		l.add("with", "with is leaked, but no part of the leak authenticates", "put ${part.NAME} under auth", join(at, "auth")...)
	}
	if with == WithAdmin && !admin {
		l.add("with", "with is admin, but our own credential is not used", "put ${admin.NAME} under auth", join(at, "auth")...)
	}
}

func (l *linter) reference(c *Credential, r *Request, ref Ref, p place, with string, at []any) {
	switch ref.Scope {
	case ScopePart:
		i := slices.IndexFunc(c.Parts, func(x Part) bool { return x.Name == ref.Name })
		if i < 0 {
			l.add("reference", fmt.Sprintf("%s: there is no such part", ref), "name it under parts", at...)
			return
		}
		if p == placeAuth && with != WithLeaked {
			l.add("with", fmt.Sprintf("%s authenticates, but with is %s", ref, with), "with: leaked", at...)
		}
		if p == placePath && !c.Parts[i].Public && strings.TrimSpace(r.PathWhy) == "" {
			l.add("secret-in-path", fmt.Sprintf("%s is a secret and would land in logs", ref), "send it in the body or a header; where the provider wants it in the path, say why in path_why", at...)
		}
	case ScopeFact:
		if !slices.Contains(factsOf(c), ref.Name) {
			l.add("reference", fmt.Sprintf("%s: identify captures no such fact", ref), "capture it", at...)
		}
	case ScopeAdmin:
		if with != WithAdmin {
			l.add("with", fmt.Sprintf("%s is used, but with is %s", ref, with), "with: admin", at...)
		}
		if p == placePath {
			l.add("secret-in-path", fmt.Sprintf("%s would land in logs", ref), "send it under auth", at...)
		}
	}
}

// factsOf lists what is known after identify.
func factsOf(c *Credential) []string {
	var out []string
	if c.Identify == nil {
		return nil
	}
	for name := range c.Identify.Capture {
		out = append(out, name)
	}
	if v, ok := LookupVerb(c.Identify.Uses); ok {
		out = append(out, v.Facts...)
	}
	return out
}

func (l *linter) auth(a *Auth, with string, at []any) {
	if a == nil {
		if with == WithLeaked || with == WithAdmin {
			l.add("auth", "auth is missing", "bearer, token, basic or header", at...)
		}
		return
	}
	n := 0
	for _, set := range []bool{a.Bearer != "", a.Token != "", a.Basic != nil, len(a.Header) > 0} {
		if set {
			n++
		}
	}
	if n != 1 {
		l.add("auth", "want exactly one of bearer, token, basic and header", "", at...)
	}
	if with == WithAnyone {
		l.add("auth", "with is anyone, and yet the request authenticates", "leave auth out", at...)
	}
	for k := range a.Header {
		if lk := strings.ToLower(k); lk != "authorization" && slices.Contains(ownHeaders, lk) {
			l.add("auth", fmt.Sprintf("header %.40s cannot authenticate", k), "", join(at, "header", k)...)
		}
	}
}
