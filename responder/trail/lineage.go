package trail

import (
	"slices"
	"strings"
	"time"
)

// Edge says that one credential or principal made another.
type Edge struct {
	From   string    `json:"from"` // public id of a credential, or a principal
	To     string    `json:"to"`
	Kind   string    `json:"kind"` // session, access_key, user, role, login_profile, service_credential, console_session
	At     time.Time `json:"at"`
	Event  string    `json:"event"`  // id of the event that shows it
	Proven bool      `json:"proven"` // false: same user, not proved to be the same actor
	Origin string    `json:"origin"`
}

// Lineage is what grew out of one credential.
type Lineage struct {
	Root  string `json:"root"`
	Edges []Edge `json:"edges"`
}

// Descend gives the transitive closure of what root made, oldest first. The
// console sessions of users inside it are listed as not proven.
func Descend(root string, events []Event) Lineage {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int { return a.Time.Compare(b.Time) })
	var all []Edge
	for _, e := range sorted {
		all = append(all, edges(e)...)
	}
	l := Lineage{Root: root}
	inside := map[string]bool{root: true}
	taken := make([]bool, len(all))
	for changed := true; changed; {
		changed = false
		for i, edge := range all {
			if taken[i] || !inside[edge.From] {
				continue
			}
			taken[i], changed = true, true
			inside[edge.To] = true
		}
	}
	seen := map[[3]string]bool{}
	for i, edge := range all {
		key := [3]string{edge.From, edge.To, edge.Kind}
		if taken[i] && !seen[key] {
			seen[key] = true
			l.Edges = append(l.Edges, edge)
		}
	}
	return l
}

// Inside reports whether a credential or principal grew out of the root, or is it.
func (l Lineage) Inside(id string) bool {
	if id == l.Root {
		return true
	}
	return slices.ContainsFunc(l.Edges, func(e Edge) bool { return e.To == id })
}

// Credentials lists the public ids of credentials that grew out of the root and
// have a trail of their own.
func (l Lineage) Credentials() []string {
	var out []string
	for _, e := range l.Edges {
		if e.Kind == "session" || e.Kind == "access_key" || e.Kind == "console_session" {
			out = addUnique(out, e.To)
		}
	}
	return out
}

func edges(e Event) []Edge {
	if e.Denied || e.Error != "" {
		return nil
	}
	var out []Edge
	add := func(from, to, kind string, proven bool) {
		if from != "" && to != "" && from != to {
			out = append(out, Edge{From: from, To: to, Kind: kind, At: e.Time, Event: e.ID, Proven: proven, Origin: e.Origin})
		}
	}
	op := BareOperation(e.Operation)
	user := principalKey(e.Detail["account"], "user", e.Detail["user_name"])
	switch {
	case op == "CreateAccessKey":
		add(e.Credential, e.Minted, "access_key", true)
		add(user, e.Minted, "access_key", true)
	case op == "CreateUser":
		add(e.Credential, user, "user", true)
	case op == "CreateRole":
		add(e.Credential, principalKey(e.Detail["account"], "role", e.Detail["role_name"]), "role", true)
	case op == "CreateLoginProfile" || op == "UpdateLoginProfile":
		add(e.Credential, user, "login_profile", true)
	case op == "CreateServiceSpecificCredential" || op == "ResetServiceSpecificCredential":
		add(e.Credential, e.Minted, "service_credential", true)
	case e.Minted != "":
		add(e.Credential, e.Minted, "session", true)
	}
	if e.Detail["from_console"] == "true" && strings.HasPrefix(e.Credential, "ASIA") {
		add(principalKey(e.Detail["account"], "user", e.Detail["actor_name"]), e.Credential, "console_session", false)
	}
	return out
}

// principalKey names an IAM principal in the graph; IAM's names are unique in an
// account without regard to case, and an event need not hold the ARN.
func principalKey(account, kind, name string) string {
	if name == "" {
		return ""
	}
	return kind + ":" + account + "/" + strings.ToLower(name)
}
