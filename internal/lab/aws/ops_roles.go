package labaws

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"stanch/internal/lab/aws/policy"
)

var _ = add(map[string]operation{
	"iam:CreateRole":             {action: "iam:CreateRole", write: true, resource: roleResource, run: createRole},
	"iam:GetRole":                {action: "iam:GetRole", resource: roleResource, run: getRole},
	"iam:ListRoles":              {action: "iam:ListRoles", resource: inAccount("role/"), run: listRoles},
	"iam:DeleteRole":             {action: "iam:DeleteRole", write: true, resource: roleResource, run: deleteRole},
	"iam:UpdateAssumeRolePolicy": {action: "iam:UpdateAssumeRolePolicy", write: true, resource: roleResource, run: updateTrust},
	"iam:GetAccountAuthorizationDetails": {action: "iam:GetAccountAuthorizationDetails",
		run: getAccountAuthorizationDetails},
})

func roleNode(r *role, full bool) node {
	n := el("Role", el("Path", r.path), el("RoleName", r.name), el("RoleId", r.id), el("Arn", r.arn()), el("CreateDate", r.created),
		el("AssumeRolePolicyDocument", encodeDocument(r.trust.shown().Text)), el("MaxSessionDuration", int(r.maxSession/time.Second)))
	if full {
		n.kids = append(n.kids, boundaryNode(r.boundary.shown())...)
		n.kids = append(n.kids, tagNodes(r.tags)...)
		n.kids = append(n.kids, roleUsed(r))
	}
	return n
}

func roleUsed(r *role) node {
	if r.lastUsed.IsZero() {
		return el("RoleLastUsed")
	}
	return el("RoleLastUsed", el("LastUsedDate", r.lastUsed), el("Region", r.lastRegion))
}

func (c *call) trustDocument(text string) (*policy.Document, *apiError) {
	d, refusal := parseDocument(text, policy.Trust)
	if refusal != nil {
		return nil, refusal
	}
	for _, p := range d.Principals() {
		parts := strings.Split(p, ":")
		if p == "*" || len(parts) != 6 || parts[4] != c.who.account.id {
			continue
		}
		name := parts[5][strings.LastIndexByte(parts[5], '/')+1:]
		known := parts[5] == "root"
		switch {
		case strings.HasPrefix(parts[5], "user/"):
			known = c.who.account.users[fold(name)] != nil
		case strings.HasPrefix(parts[5], "role/"):
			known = c.who.account.roles[fold(name)] != nil
		}
		if !known {
			return nil, fail(http.StatusBadRequest, "MalformedPolicyDocument", "Invalid principal in policy: \"AWS\":\"%s\"", p)
		}
	}
	return d, nil
}

func createRole(c *call) (reply, *apiError) {
	name, path, refusal := c.newEntity("RoleName")
	if refusal != nil {
		return reply{}, refusal
	}
	if c.who.account.roles[fold(name)] != nil {
		return reply{}, fail(http.StatusConflict, "EntityAlreadyExists", "Role with name %s already exists.", name)
	}
	d, refusal := c.trustDocument(c.str("AssumeRolePolicyDocument"))
	if refusal != nil {
		return reply{}, refusal
	}
	boundary, refusal := c.boundaryParameter()
	if refusal != nil {
		return reply{}, refusal
	}
	longest := c.number("MaxSessionDuration", 3600)
	if longest < 3600 || longest > 43200 {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "MaxSessionDuration must be between 3600 and 43200.")
	}
	r := c.s.addRole(c.who.account, name, path)
	r.created = c.now
	r.maxSession = time.Duration(longest) * time.Second
	r.trust.set(denyNobody, time.Time{})
	r.trust.set(d, c.effective)
	r.boundary.set(boundary, c.effective)
	for k, v := range c.tags() {
		r.tags.set(k, &v, c.effective)
	}
	return reply{result: []node{roleNode(r, true)}, elements: map[string]any{"role": map[string]any{
		"path": r.path, "arn": r.arn(), "roleId": r.id, "roleName": r.name, "createDate": logTime(r.created),
		"assumeRolePolicyDocument": encodeDocument(d.Text),
	}}}, nil
}

// denyNobody trusts nobody: what a new role enforces until its trust takes effect.
var denyNobody = must(policy.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}}`, policy.Trust))

func must(d *policy.Document, err error) *policy.Document {
	if err != nil {
		panic(err)
	}
	return d
}

func (s *Server) addRole(a *account, name, path string) *role {
	r := &role{
		policies: newPolicies(), account: a, name: name, path: path, id: uniqueID("AROA", s.rng),
		tags: cells[string]{}, maxSession: time.Hour,
	}
	a.roles[fold(name)] = r
	return r
}

func getRole(c *call) (reply, *apiError) {
	r, refusal := c.needRole()
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{result: []node{roleNode(r, true)}}, nil
}

func listRoles(c *call) (reply, *apiError) {
	var items []node
	for _, name := range slices.Sorted(maps.Keys(c.who.account.roles)) {
		r := c.who.account.roles[name]
		if strings.HasPrefix(r.path, c.str("PathPrefix")) {
			items = append(items, roleNode(r, false))
		}
	}
	return c.listing("Roles", items)
}

func deleteRole(c *call) (reply, *apiError) {
	r, refusal := c.needRole()
	if refusal != nil {
		return reply{}, refusal
	}
	if len(r.inline.names())+len(r.attached.names()) > 0 {
		return reply{}, fail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	delete(r.account.roles, fold(r.name))
	return reply{}, nil
}

func updateTrust(c *call) (reply, *apiError) {
	r, refusal := c.needRole()
	if refusal != nil {
		return reply{}, refusal
	}
	d, refusal := c.trustDocument(c.str("PolicyDocument"))
	if refusal != nil {
		return reply{}, refusal
	}
	r.trust.set(d, c.effective)
	return reply{}, nil
}

func inlineItems(p policies) []node {
	var items []node
	for _, name := range p.inline.names() {
		items = append(items, el("member", el("PolicyName", name), el("PolicyDocument", encodeDocument(p.inline.shown(name).Text))))
	}
	return items
}

// getAccountAuthorizationDetails pages over users, groups, roles and policies in
// this order, as one list.
func getAccountAuthorizationDetails(c *call) (reply, *apiError) {
	filter := c.list("Filter")
	wants := func(kind string) bool { return len(filter) == 0 || slices.Contains(filter, kind) }
	a := c.who.account
	var items []node
	if wants("User") {
		for _, name := range slices.Sorted(maps.Keys(a.users)) {
			items = append(items, userDetail(a.users[name]))
		}
	}
	if wants("Group") {
		for _, name := range slices.Sorted(maps.Keys(a.groups)) {
			g := a.groups[name]
			n := groupNode(g)
			n.name = "GroupDetailList"
			n.kids = append(n.kids, members("GroupPolicyList", inlineItems(g.policies)), members("AttachedManagedPolicies", attachedItems(g.policies)))
			items = append(items, n)
		}
	}
	if wants("Role") {
		for _, name := range slices.Sorted(maps.Keys(a.roles)) {
			r := a.roles[name]
			n := roleNode(r, true)
			n.name = "RoleDetailList"
			n.kids = append(n.kids, members("RolePolicyList", inlineItems(r.policies)), members("AttachedManagedPolicies", attachedItems(r.policies)))
			items = append(items, n)
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(managed)) {
		if wants("AWSManagedPolicy") && c.attachments(arn) > 0 {
			items = append(items, policyDetail(managed[arn]))
		}
	}
	for _, arn := range slices.Sorted(maps.Keys(a.policies)) {
		if wants("LocalManagedPolicy") {
			items = append(items, policyDetail(a.policies[arn]))
		}
	}
	kept, tail, refusal := c.page(items)
	if refusal != nil {
		return reply{}, refusal
	}
	lists := map[string][]node{}
	for _, n := range kept {
		lists[n.name] = append(lists[n.name], n)
	}
	var result []node
	for _, name := range []string{"UserDetailList", "GroupDetailList", "RoleDetailList", "Policies"} {
		result = append(result, members(name, lists[name]))
	}
	return reply{result: append(result, tail...)}, nil
}

func userDetail(u *user) node {
	n := userNode(u, true)
	n.name = "UserDetailList"
	var groups []node
	for _, g := range u.groups.names() {
		if g, ok := u.account.groups[g]; ok {
			groups = append(groups, el("member", g.name))
		}
	}
	n.kids = append(n.kids, members("UserPolicyList", inlineItems(u.policies)), members("GroupList", groups),
		members("AttachedManagedPolicies", attachedItems(u.policies)))
	return n
}

func policyDetail(m *managedPolicy) node {
	version := versionNode(m, "member")
	return el("Policies", el("PolicyName", m.name), el("PolicyId", m.id), el("Arn", m.arn), el("Path", "/"),
		el("DefaultVersionId", "v1"), el("IsAttachable", true), el("CreateDate", m.created), el("UpdateDate", m.created),
		members("PolicyVersionList", []node{version}))
}
