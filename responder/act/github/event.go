package actgithub

import (
	"strconv"
	"strings"

	"stanch/responder/trail"
)

// signs gives severity and ATT&CK for actions of the audit log that an intruder
// with a token would use; the longest prefix that fits wins. Names of actions
// are GitHub's ("Audit log events for your organization"), techniques MITRE's.
var signs = []struct {
	prefix    string
	severity  string
	technique []string
	tactic    []string
}{
	{"git.clone", "M", []string{"T1213.003"}, []string{"collection"}},
	{"git.fetch", "M", []string{"T1213.003"}, []string{"collection"}},
	{"git.push", "H", []string{"T1195.002"}, []string{"initial-access"}},
	{"repo.download_zip", "M", []string{"T1213.003"}, []string{"collection"}},
	{"repo.access", "C", []string{"T1567.001"}, []string{"exfiltration"}}, // visibility changed
	{"repo.destroy", "C", []string{"T1485"}, []string{"impact"}},
	{"repo.transfer", "C", []string{"T1567.001"}, []string{"exfiltration"}},
	{"repo.add_member", "H", []string{"T1098"}, []string{"persistence"}},
	{"repo.create_actions_secret", "H", []string{"T1098"}, []string{"persistence"}},
	{"public_key.create", "H", []string{"T1098.004"}, []string{"persistence"}}, // a user's SSH key or a deploy key
	{"hook.create", "H", []string{"T1020"}, []string{"exfiltration"}},
	{"hook.config_changed", "H", []string{"T1020"}, []string{"exfiltration"}},
	{"org.add_member", "H", []string{"T1136.003"}, []string{"persistence"}},
	{"org.invite_member", "H", []string{"T1136.003"}, []string{"persistence"}},
	{"org.update_member", "H", []string{"T1098"}, []string{"privilege-escalation"}},
	{"org.disable_two_factor_requirement", "C", []string{"T1556.006"}, []string{"defense-evasion"}},
	{"org.disable_saml", "C", []string{"T1556"}, []string{"defense-evasion"}},
	{"integration_installation.create", "H", []string{"T1098"}, []string{"persistence"}},
	{"oauth_authorization.create", "H", []string{"T1098"}, []string{"persistence"}},
	{"personal_access_token.", "H", []string{"T1098"}, []string{"persistence"}},
	{"protected_branch.", "H", []string{"T1562"}, []string{"defense-evasion"}},
	{"repository_secret_scanning", "H", []string{"T1562.001"}, []string{"defense-evasion"}},
	{"workflows.", "M", []string{"T1059"}, []string{"execution"}},
	{"repo.register_self_hosted_runner", "H", []string{"T1098"}, []string{"persistence"}},
	{"org.register_self_hosted_runner", "H", []string{"T1098"}, []string{"persistence"}},
	{"api.request", "L", nil, nil},
}

// event translates into the house's model.
func event(e AuditEvent) trail.Event {
	op := clip(e.Action)
	t := trail.Event{
		ID: clip(e.DocumentID), Source: SourceName, Time: e.Time.UTC(), Service: "github.com", Operation: op,
		Actor: clip(e.Actor), Address: clip(e.ActorIP), UserAgent: clip(e.UserAgent), RequestID: clip(e.RequestID),
		Severity: "L", Origin: trail.OriginUnclear,
		Denied:   e.StatusCode == 401 || e.StatusCode == 403 || e.StatusCode == 404,
		ReadOnly: e.OperationType == "access" || e.Method == "GET" || e.Method == "HEAD" || strings.HasPrefix(op, "git.clone") || strings.HasPrefix(op, "git.fetch"),
	}
	if t.ID == "" {
		t.ID = op + "@" + strconv.FormatInt(e.Time.UnixMilli(), 10) + "/" + clip(e.Repo) + clip(e.Path)
	}
	if e.Repo != "" {
		t.Resources = append(t.Resources, clip(e.Repo))
	}
	if e.OperationType == "create" && e.User != "" {
		t.Created = append(t.Created, clip(e.User))
	}
	best := -1
	for _, s := range signs {
		if strings.HasPrefix(op, s.prefix) && len(s.prefix) > best {
			best = len(s.prefix)
			t.Severity, t.Technique, t.Tactic = s.severity, s.technique, s.tactic
		}
	}
	if t.Denied {
		t.Error = strconv.Itoa(e.StatusCode)
	}
	detail := map[string]string{}
	for k, v := range map[string]string{"country": e.Country, "org": e.Org, "transport": e.Transport, "access_type": e.AccessType,
		"scopes": e.Scopes, "user": e.User, "method": e.Method, "path": e.Path} {
		if v != "" {
			detail[k] = clip(v)
		}
	}
	if len(detail) > 0 {
		t.Detail = detail
	}
	return t
}

// clip bounds a value from outside and takes control characters out.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > 512 {
		s = strings.ToValidUTF8(s[:512], "")
	}
	return s
}
