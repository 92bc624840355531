package github

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// HeaderSourceIP lets a client of the laboratory, such as the demo's attacker,
// say which address its requests come from.
const HeaderSourceIP = "X-Lab-Source-IP"

// AuditEvent is one event of an organisation's audit log.
type AuditEvent struct {
	At          time.Time
	ID          string
	Org         *Account // nil: of no organisation
	Action      string
	Actor       *Account
	HashedToken string
	Access      string // programmatic_access_type
	Scopes      string
	IP          string
	UserAgent   string
	Method      string
	Path        string
	Repo        *Repo
}

func sourceIP(r *http.Request) string {
	if said := net.ParseIP(r.Header.Get(HeaderSourceIP)); said != nil {
		return said.String()
	}
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	return ip
}

// recordUse writes what a token did into the log of each organisation that it
// concerns: the repository's owner, or those that the token's owner belongs to.
func (s *Server) recordUse(r *http.Request, t *token, action string, repo *Repo) {
	ip := sourceIP(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := AuditEvent{
		At: s.now(), Action: action, Actor: t.owner, HashedToken: HashedToken(t.value), Access: t.access(),
		Scopes: strings.Join(t.scopes, ","), IP: ip, UserAgent: r.UserAgent(), Method: r.Method, Path: r.URL.Path, Repo: repo,
	}
	if t.install != nil && !strings.HasPrefix(action, "git.") {
		return // Apps' own API requests are not in the log
	}
	found := false
	for _, a := range s.accounts {
		member := a.members[strings.ToLower(t.owner.Login)] || a == t.owner
		if a.Type != "Organization" || repo != nil && repo.Owner != a || repo == nil && !member {
			continue
		}
		e.Org, e.ID, found = a, uuid.NewString(), true
		s.audit = append(s.audit, e)
	}
	if !found {
		e.ID = uuid.NewString()
		s.audit = append(s.audit, e)
	}
}

// TokenUses returns what a token did, in any organisation or none, oldest first.
func (s *Server) TokenUses(value string) []AuditEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []AuditEvent
	for _, e := range s.audit {
		if e.HashedToken == HashedToken(value) {
			out = append(out, e)
		}
	}
	return out
}

// getAuditLog is GET /orgs/{org}/audit-log of GitHub Enterprise Cloud; on any
// other plan the path does not exist.
func (s *Server) getAuditLog(c *call) {
	const doc = "/orgs/orgs#get-the-audit-log-for-an-organization"
	s.mu.Lock()
	defer s.mu.Unlock()
	org := s.accounts[strings.ToLower(c.r.PathValue("org"))]
	if org == nil || org.Type != "Organization" || org.Plan != PlanEnterprise || !mayAudit(c.from, org) {
		c.fail(404, "Not Found", doc)
		return
	}
	q := c.r.URL.Query()
	match, err := auditPhrase(q.Get("phrase"))
	if err != nil {
		c.fail(422, err.Error(), doc)
		return
	}
	var hits []AuditEvent
	for _, e := range s.audit {
		git := strings.HasPrefix(e.Action, "git.")
		include := q.Get("include")
		if e.Org != org || s.now().Sub(e.At) < s.opts.AuditLag || git && include != "git" && include != "all" || !git && include == "git" {
			continue
		}
		if match(e) {
			hits = append(hits, e)
		}
	}
	if q.Get("order") != "asc" {
		slices.Reverse(hits)
	}
	out := []map[string]any{}
	for _, e := range auditPage(c, hits) {
		out = append(out, auditObject(e))
	}
	c.json(200, out)
}

func mayAudit(from caller, org *Account) bool {
	if from.tok == nil {
		return false
	}
	if in := from.tok.install; in != nil {
		return in.Account == org && from.tok.permissions["organization_administration"] != ""
	}
	owner := org.members[strings.ToLower(from.tok.owner.Login)]
	if from.tok.kind == KindClassic || from.tok.kind == KindOAuth {
		return owner && hasScope(from.tok.scopes, "read:audit_log", "admin:org")
	}
	return owner
}

// auditPhrase reads the search syntax: qualifiers, quoted or not, all of which
// must hold.
func auditPhrase(phrase string) (func(AuditEvent) bool, error) {
	var tests []func(AuditEvent) bool
	for rest := strings.TrimSpace(phrase); rest != ""; rest = strings.TrimSpace(rest) {
		key, after, ok := strings.Cut(rest, ":")
		if !ok || key == "" || strings.ContainsAny(key, " \"") {
			return nil, fmt.Errorf("invalid search phrase")
		}
		var value string
		if strings.HasPrefix(after, `"`) {
			value, rest, ok = strings.Cut(after[1:], `"`)
			if !ok {
				return nil, fmt.Errorf("invalid search phrase")
			}
		} else {
			value, rest, _ = strings.Cut(after, " ")
		}
		test, err := auditTest(key, value)
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return func(e AuditEvent) bool {
		for _, t := range tests {
			if !t(e) {
				return false
			}
		}
		return true
	}, nil
}

func auditTest(key, value string) (func(AuditEvent) bool, error) {
	switch key {
	case "hashed_token":
		return func(e AuditEvent) bool { return e.HashedToken == value }, nil
	case "action":
		return func(e AuditEvent) bool { return e.Action == value || strings.HasPrefix(e.Action, value+".") }, nil
	case "actor":
		return func(e AuditEvent) bool { return strings.EqualFold(e.Actor.Login, value) }, nil
	case "created":
		return createdTest(value)
	}
	return nil, fmt.Errorf("unknown search qualifier")
}

func createdTest(value string) (func(AuditEvent) bool, error) {
	for _, op := range []string{">=", "<=", ">", "<", ""} {
		date, ok := strings.CutPrefix(value, op)
		if !ok {
			continue
		}
		at, err := time.Parse(time.RFC3339, date)
		day := err != nil
		if day {
			at, err = time.Parse("2006-01-02", date)
		}
		if err != nil {
			return nil, fmt.Errorf("invalid date in search phrase")
		}
		return func(e AuditEvent) bool {
			switch op {
			case ">=":
				return !e.At.Before(at)
			case "<=":
				return !e.At.After(at)
			case ">":
				return e.At.After(at)
			case "<":
				return e.At.Before(at)
			}
			return day && e.At.Format("2006-01-02") == date || e.At.Equal(at)
		}, nil
	}
	return nil, fmt.Errorf("invalid date in search phrase")
}

// auditPage cuts by cursor, 30 events or per_page, and writes the Link header.
func auditPage(c *call, hits []AuditEvent) []AuditEvent {
	q := c.r.URL.Query()
	per, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || per < 1 {
		per = 30
	}
	per = min(per, 100)
	start := 0
	if after := q.Get("after"); after != "" {
		start = slices.IndexFunc(hits, func(e AuditEvent) bool { return e.ID == after }) + 1
	}
	end := min(start+per, len(hits))
	if end < len(hits) && end > start {
		q.Set("after", hits[end-1].ID)
		q.Del("before")
		c.w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?%s>; rel="next"`, c.r.Host, c.r.URL.Path, q.Encode()))
	}
	return hits[start:end]
}

func auditObject(e AuditEvent) map[string]any {
	m := map[string]any{
		"@timestamp": e.At.UnixMilli(), "_document_id": e.ID, "created_at": e.At.UnixMilli(), "action": e.Action,
		"actor": e.Actor.Login, "actor_id": e.Actor.ID, "user": e.Actor.Login, "user_id": e.Actor.ID,
		"org": e.Org.Login, "org_id": e.Org.ID, "actor_ip": e.IP, "user_agent": e.UserAgent, "hashed_token": e.HashedToken,
		"programmatic_access_type": e.Access, "token_scopes": e.Scopes, "operation_type": "access",
	}
	if e.Action == "api.request" {
		m["request_method"], m["url_path"] = e.Method, e.Path
	}
	if e.Repo != nil {
		m["repo"], m["repository"], m["repository_public"] = e.Repo.FullName(), e.Repo.FullName(), !e.Repo.Private
		m["transport_protocol"], m["transport_protocol_name"] = 1, "http"
	}
	return m
}
