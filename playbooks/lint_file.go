package playbooks

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"stanch/internal/lazyregexp"
)

var (
	namePattern = lazyregexp.New(`^[a-z][a-z0-9_]{0,62}$`)
	// providerPattern also allows what vendors call themselves ("new-relic").
	providerPattern = lazyregexp.New(`^[a-z][a-z0-9_-]{0,62}$`)
	hostPattern     = lazyregexp.New(`^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
)

// playbook checks the top of the file, then each credential.
func (l *linter) playbook() {
	pb := &l.doc.pb
	if !providerPattern().MatchString(pb.Provider) {
		l.add("provider", fmt.Sprintf("provider %.60q is no name", pb.Provider), "lower-case letters, digits, - and _", "provider")
	}
	if strings.TrimSpace(pb.Title) == "" {
		l.add("title", "title is missing", "the vendor's name as people write it", "title")
	}
	for i, h := range pb.Hosts {
		if !hostPattern().MatchString(h) || strings.HasPrefix(h, "*.") && strings.Count(h, ".") < 2 {
			l.add("hosts", fmt.Sprintf("%.80q is no host name", h), `a full lower-case name, or "*.example.com"; no port, no address`, "hosts", i)
		}
	}
	if pb.BaseURL != "" {
		l.baseURL(pb.BaseURL, "base_url")
	}
	if len(pb.Credentials) == 0 {
		l.add("credentials", "no credentials", "describe at least one kind", "credentials")
	}
	kinds := map[string]bool{}
	for i := range pb.Credentials {
		c := &pb.Credentials[i]
		if kinds[c.Kind] {
			l.add("duplicate-kind", fmt.Sprintf("kind %s is described twice", c.Kind), "join the two", "credentials", i, "kind")
		}
		kinds[c.Kind] = true
		l.credential(c, []any{"credentials", i})
	}
	l.sharedRules()
}

// sharedRules: two kinds of one file may share a rule only when prefixes tell
// them apart.
func (l *linter) sharedRules() {
	pb := &l.doc.pb
	for i := range pb.Credentials {
		for j := range i {
			a, b := &pb.Credentials[i], &pb.Credentials[j]
			check := func(field string, x, y []string) {
				for k, id := range x {
					if slices.Contains(y, id) && !disjoint(a.Prefixes, b.Prefixes) {
						l.add("duplicate-rule", fmt.Sprintf("%s is already taken by kind %s", id, b.Kind),
							"give both kinds prefixes that tell them apart", "credentials", i, field, k)
					}
				}
			}
			check("rules", a.Rules, b.Rules)
			check("github_secret_types", a.GitHubSecretTypes, b.GitHubSecretTypes)
		}
	}
}

func disjoint(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	for _, x := range a {
		for _, y := range b {
			if strings.HasPrefix(x, y) || strings.HasPrefix(y, x) {
				return false
			}
		}
	}
	return true
}

// baseURL checks a base URL and, where its host is written out, that the host
// is on the playbook's list.
func (l *linter) baseURL(raw string, path ...any) {
	pb := &l.doc.pb
	refs, err := Refs(raw)
	if err != nil {
		l.add("reference", err.Error(), "write ${part.NAME}", path...)
		return
	}
	if len(refs) > 0 {
		for _, r := range refs {
			if r.Scope == ScopePart && !pb.EgressGuard {
				l.add("leak-host", fmt.Sprintf("the host comes out of the leak (%s)", r), "add egress_guard: true: the operator must list such hosts in egress.allow", path...)
			}
			if r.Scope != ScopePart {
				l.add("leak-host", fmt.Sprintf("%s cannot be a host", r), "only a part that the leak names next to the credential", path...)
			}
		}
		if !regexp.MustCompile(`^https://\$\{part\.[a-z0-9_]+\}(/[A-Za-z0-9._/-]*)?$`).MatchString(raw) {
			l.add("base-url", "a host out of the leak stands alone", "write https://${part.NAME} with a fixed path after it", path...)
		}
		return
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/") {
		l.add("base-url", fmt.Sprintf("%.100q is no base URL", raw), "https://host, no port, no slash at the end", path...)
		return
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Port() != "" {
		l.add("base-url", "base_url names an address or a port", "use the vendor's host name; operators override it in providers.NAME.base_url", path...)
		return
	}
	if !HostAllowed(pb.Hosts, u.Hostname()) {
		l.add("host", fmt.Sprintf("host %s is not in hosts", u.Hostname()), "list every host that is called under hosts", path...)
	}
}

// HostAllowed reports whether a host is on a playbook's list; "*.example.com"
// stands for every name below example.com, and not for example.com itself.
func HostAllowed(hosts []string, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, h := range hosts {
		if suffix, ok := strings.CutPrefix(h, "*"); ok {
			if strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
				return true
			}
			continue
		}
		if h == host {
			return true
		}
	}
	return false
}
