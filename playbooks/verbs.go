package playbooks

import "slices"

// Role says where in a playbook a verb may stand.
type Role string

// The roles of verbs.
const (
	RoleIdentify Role = "identify"
	RoleAct      Role = "act"
	RoleUndo     Role = "undo"
	RoleTrail    Role = "trail"
	RoleRotate   Role = "rotate"
)

// Verb is what a driver in responder/act (or a source in responder/trail)
// offers under the key "uses". The list is the contract between the playbooks
// and those packages: a playbook that names another verb does not load.
type Verb struct {
	Name     string
	Provider string
	Role     Role
	Writes   bool     // changes something at the provider
	Undo     string   // the verb that takes it back; "" when irreversible
	Bindings []string // the bindings that it can honour; acts only
	Facts    []string // facts that it leaves behind for later references
	Does     string   // what it calls, for [Explain]
}

// Reversible reports whether the verb can be taken back.
func (v Verb) Reversible() bool { return v.Undo != "" }

var verbs = []Verb{
	{Name: "aws.get_caller_identity", Provider: "aws", Role: RoleIdentify,
		Facts: []string{"arn", "account", "user_id", "user_name", "principal", "partition", "key_status", "proof"},
		Does:  "sts:GetCallerIdentity"},
	{Name: "aws.deactivate_key", Provider: "aws", Role: RoleAct, Writes: true, Undo: "aws.reactivate_key",
		Bindings: []string{BindingInValue}, Facts: []string{"user_name"},
		Does: "iam:UpdateAccessKey Status=Inactive"},
	{Name: "aws.reactivate_key", Provider: "aws", Role: RoleUndo, Writes: true,
		Does: "iam:UpdateAccessKey Status=Active"},
	{Name: "aws.deny_sessions", Provider: "aws", Role: RoleAct, Writes: true, Undo: "aws.allow_sessions",
		Bindings: []string{BindingInValue, BindingFact}, Facts: []string{"user_name"},
		Does: "iam:PutUserPolicy with a deny on aws:TokenIssueTime before now"},
	{Name: "aws.allow_sessions", Provider: "aws", Role: RoleUndo, Writes: true,
		Does: "iam:DeleteUserPolicy of the deny that was put"},
	{Name: "aws.deny_all", Provider: "aws", Role: RoleAct, Writes: true, Undo: "aws.remove_deny",
		Bindings: []string{BindingInValue, BindingFact}, Facts: []string{"user_name"},
		Does: "iam:PutUserPolicy, iam:AttachUserPolicy and iam:PutUserPermissionsBoundary with layers that deny everything to the user"},
	{Name: "aws.remove_deny", Provider: "aws", Role: RoleUndo, Writes: true,
		Does: "iam: removal of exactly the layers that were put"},
	{Name: "aws.cloudtrail_lookup", Provider: "aws", Role: RoleTrail,
		Does: "cloudtrail:LookupEvents by access key id in every enabled Region"},
	{Name: "github.org_audit_log", Provider: "github", Role: RoleTrail, Facts: []string{FactHashedToken},
		Does: "GET /orgs/{org}/audit-log by hashed_token"},
}

// FactHashedToken is base64(sha256(token)), the name under which GitHub's audit
// log knows a token.
const FactHashedToken = "hashed_token"

// Verbs lists every known verb, sorted by name.
func Verbs() []Verb {
	out := slices.Clone(verbs)
	slices.SortFunc(out, func(a, b Verb) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// LookupVerb finds a verb by its name.
func LookupVerb(name string) (Verb, bool) {
	for _, v := range verbs {
		if v.Name == name {
			return v, true
		}
	}
	return Verb{}, false
}
