package labaws

import (
	"net/http"
	"strings"
	"unicode"

	"stanch/internal/lab/aws/policy"
)

// Quotas of inline policies, in characters without white space, summed over the
// entity's policies.
const (
	userInlineQuota  = 2048
	groupInlineQuota = 5120
	roleInlineQuota  = 10240
	attachmentQuota  = 10
)

// holder is a user, role or group in the policy operations, which are alike.
type holder struct {
	policies
	kind  string // "User"
	name  string
	quota int
}

func (c *call) holderOf(kind string) (holder, *apiError) {
	switch kind {
	case "User":
		u, refusal := c.needUser()
		if refusal != nil {
			return holder{}, refusal
		}
		return holder{u.policies, kind, u.name, userInlineQuota}, nil
	case "Role":
		r, refusal := c.needRole()
		if refusal != nil {
			return holder{}, refusal
		}
		return holder{r.policies, kind, r.name, roleInlineQuota}, nil
	}
	g, ok := c.who.account.groups[fold(c.str("GroupName"))]
	if !ok {
		return holder{}, noSuch("group", c.str("GroupName"))
	}
	return holder{g.policies, kind, g.name, groupInlineQuota}, nil
}

func groupResource(c *call) string {
	g, ok := c.who.account.groups[fold(c.str("GroupName"))]
	if ok {
		return g.arn()
	}
	return "arn:aws:iam::" + c.who.account.id + ":group/" + c.str("GroupName")
}

var _ = func() bool {
	for kind, resource := range map[string]func(*call) string{"User": userResource, "Role": roleResource, "Group": groupResource} {
		on := func(run func(*call, holder) (reply, *apiError)) func(*call) (reply, *apiError) {
			return func(c *call) (reply, *apiError) {
				h, refusal := c.holderOf(kind)
				if refusal != nil {
					return reply{}, refusal
				}
				return run(c, h)
			}
		}
		read := func(name string, run func(*call, holder) (reply, *apiError)) {
			add(map[string]operation{"iam:" + name: {action: "iam:" + name, resource: resource, run: on(run)}})
		}
		write := func(name string, run func(*call, holder) (reply, *apiError)) {
			add(map[string]operation{"iam:" + name: {action: "iam:" + name, write: true, resource: resource, run: on(run)}})
		}
		write("Put"+kind+"Policy", putPolicy)
		write("Delete"+kind+"Policy", deletePolicy)
		read("Get"+kind+"Policy", getInlinePolicy)
		read("List"+kind+"Policies", listInlinePolicies)
		write("Attach"+kind+"Policy", attachPolicy)
		write("Detach"+kind+"Policy", detachPolicy)
		read("ListAttached"+kind+"Policies", listAttached)
	}
	return true
}()

var _ = add(map[string]operation{
	"iam:GetPolicy":        {action: "iam:GetPolicy", resource: policyResource, run: getPolicy},
	"iam:GetPolicyVersion": {action: "iam:GetPolicyVersion", resource: policyResource, run: getPolicyVersion},
})

func policyResource(c *call) string { return c.str("PolicyArn") }

func withoutSpace(s string) int {
	n := 0
	for _, r := range s {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

func putPolicy(c *call, h holder) (reply, *apiError) {
	name := c.str("PolicyName")
	if name == "" || len(name) > 128 || strings.ContainsAny(name, " /") {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "The specified value for policyName is invalid.")
	}
	d, refusal := parseDocument(c.str("PolicyDocument"), policy.Identity)
	if refusal != nil {
		return reply{}, refusal
	}
	size := withoutSpace(d.Text)
	for _, other := range h.inline.names() {
		if other != name {
			size += withoutSpace(h.inline.shown(other).Text)
		}
	}
	if size > h.quota {
		return reply{}, fail(http.StatusConflict, "LimitExceeded", "Maximum policy size of %d bytes exceeded for %s %s", h.quota, fold(h.kind), h.name)
	}
	h.inline.set(name, d, c.effective)
	return reply{}, nil
}

func (c *call) noInline(h holder) *apiError {
	return fail(http.StatusNotFound, "NoSuchEntity", "The %s policy with name %s cannot be found.", fold(h.kind), c.str("PolicyName"))
}

func deletePolicy(c *call, h holder) (reply, *apiError) {
	name := c.str("PolicyName")
	if h.inline.shown(name) == nil {
		return reply{}, c.noInline(h)
	}
	h.inline.set(name, nil, c.effective)
	return reply{}, nil
}

func getInlinePolicy(c *call, h holder) (reply, *apiError) {
	d := h.inline.shown(c.str("PolicyName"))
	if d == nil {
		return reply{}, c.noInline(h)
	}
	return reply{result: []node{
		el(h.kind+"Name", h.name), el("PolicyName", c.str("PolicyName")), el("PolicyDocument", encodeDocument(d.Text)),
	}}, nil
}

func listInlinePolicies(c *call, h holder) (reply, *apiError) {
	var items []node
	for _, name := range h.inline.names() {
		items = append(items, el("member", name))
	}
	return c.listing("PolicyNames", items)
}

func (c *call) needManaged() (*managedPolicy, *apiError) {
	m := c.s.policyByARN(c.who.account, c.str("PolicyArn"))
	if m == nil {
		return nil, fail(http.StatusNotFound, "NoSuchEntity", "Policy %s does not exist or is not attachable.", c.str("PolicyArn"))
	}
	return m, nil
}

func attachPolicy(c *call, h holder) (reply, *apiError) {
	m, refusal := c.needManaged()
	if refusal != nil {
		return reply{}, refusal
	}
	if h.attached.shown(m.arn) == nil && len(h.attached.names()) >= attachmentQuota {
		return reply{}, fail(http.StatusConflict, "LimitExceeded", "Cannot exceed quota for PoliciesPer%s: %d", h.kind, attachmentQuota)
	}
	h.attached.set(m.arn, &struct{}{}, c.effective)
	return reply{}, nil
}

func detachPolicy(c *call, h holder) (reply, *apiError) {
	arn := c.str("PolicyArn")
	if h.attached.shown(arn) == nil {
		return reply{}, fail(http.StatusNotFound, "NoSuchEntity", "Policy %s was not found.", arn)
	}
	h.attached.set(arn, nil, c.effective)
	return reply{}, nil
}

func attachedItems(p policies) []node {
	var items []node
	for _, arn := range p.attached.names() {
		items = append(items, el("member", el("PolicyName", arn[strings.LastIndexByte(arn, '/')+1:]), el("PolicyArn", arn)))
	}
	return items
}

func listAttached(c *call, h holder) (reply, *apiError) {
	return c.listing("AttachedPolicies", attachedItems(h.policies))
}

func getPolicy(c *call) (reply, *apiError) {
	m, refusal := c.needManaged()
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{result: []node{el("Policy", el("PolicyName", m.name), el("PolicyId", m.id), el("Arn", m.arn), el("Path", "/"),
		el("DefaultVersionId", "v1"), el("AttachmentCount", c.attachments(m.arn)), el("PermissionsBoundaryUsageCount", 0),
		el("IsAttachable", true), el("Description", m.description), el("CreateDate", m.created), el("UpdateDate", m.created))}}, nil
}

func (c *call) attachments(arn string) int {
	n := 0
	for _, u := range c.who.account.users {
		if u.attached.shown(arn) != nil {
			n++
		}
	}
	for _, r := range c.who.account.roles {
		if r.attached.shown(arn) != nil {
			n++
		}
	}
	return n
}

func versionNode(m *managedPolicy, name string) node {
	return el(name, el("Document", encodeDocument(m.document.Text)), el("VersionId", "v1"),
		el("IsDefaultVersion", true), el("CreateDate", m.created))
}

func getPolicyVersion(c *call) (reply, *apiError) {
	m, refusal := c.needManaged()
	if refusal != nil {
		return reply{}, refusal
	}
	if c.str("VersionId") != "v1" {
		return reply{}, fail(http.StatusNotFound, "NoSuchEntity", "Policy %s version %s does not exist or is not attachable.", m.arn, c.str("VersionId"))
	}
	return reply{result: []node{versionNode(m, "PolicyVersion")}}, nil
}
