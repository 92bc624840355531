package labaws

import (
	"net/http"
	"strconv"
	"time"

	"stanch/internal/lab/aws/policy"
)

// operation is one API operation of the laboratory.
type operation struct {
	action   string // policy action; empty for one that needs no permission and cannot be denied
	lenient  bool   // allowed unless explicitly denied (GetSessionToken)
	trust    bool   // run itself judges, with a trust policy (AssumeRole)
	write    bool   // an IAM write: refused with conflicts by misbehaviour, not read-only in CloudTrail
	resource func(*call) string
	run      func(*call) (reply, *apiError)
}

// operations is filled by the files that hold them; keys are "service:Operation".
var operations = map[string]operation{}

// add registers operations while the package initialises.
func add(ops map[string]operation) bool {
	for k, v := range ops {
		operations[k] = v
	}
	return true
}

func (c *call) authorize(op operation) *apiError {
	c.resource = "*"
	if op.resource != nil {
		c.resource = op.resource(c)
	}
	refusal := c.sessionForbids()
	if refusal != nil {
		return refusal
	}
	if op.action == "" || op.trust {
		return nil
	}
	d := c.judge(op.action, c.resource)
	if d.Allowed || (op.lenient && !d.Denied) {
		return nil
	}
	return c.denied(op.action, c.resource, d.Why)
}

func (c *call) denied(action, resource, why string) *apiError {
	message := "User: " + c.who.arn() + " is not authorized to perform: " + action
	if resource != "*" {
		message += " on resource: " + resource
	}
	if why != "" {
		message += " " + why
	}
	if c.service == "ec2" {
		message = "You are not authorized to perform this operation. " + message
	}
	return fail(http.StatusForbidden, "AccessDenied", "%s", message)
}

// sessionForbids holds what no policy can give to a session: without MFA a
// GetSessionToken session has no IAM and little STS, a federated one never.
func (c *call) sessionForbids() *apiError {
	t := c.who.session
	if t == nil || t.kind == roleSession {
		return nil
	}
	sts := c.service == "sts" && c.operation != "GetCallerIdentity"
	if t.kind == userSession && c.operation == "AssumeRole" {
		sts = false
	}
	if c.service == "iam" || sts {
		return fail(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid")
	}
	return nil
}

// judge evaluates what is enforced now, not what the control plane shows.
func (c *call) judge(action, resource string) policy.Decision {
	if c.who.root() {
		stack := policy.Stack{Identity: []*policy.Document{managed[adminARN].document}, Control: c.control()}
		return stack.Decide(policy.Request{Action: action, Resource: resource, Context: c.context(resource)})
	}
	return c.stack().Decide(policy.Request{Action: action, Resource: resource, Context: c.context(resource)})
}

func (c *call) control() [][]*policy.Document {
	var out [][]*policy.Document
	for _, d := range c.who.account.control.enforced(c.now) {
		// Each policy here only denies: like FullAWSAccess attached beside it.
		out = append(out, []*policy.Document{managed[adminARN].document, &d})
	}
	return out
}

func (c *call) stack() policy.Stack {
	p := c.who
	s := policy.Stack{Control: c.control()}
	boundary := ""
	switch {
	case p.role != nil:
		s.Identity = c.enforcedPolicies(p.account, p.role.policies)
		boundary = p.role.boundary.enforced(c.now)
	default:
		s.Identity = c.enforcedPolicies(p.account, p.user.policies)
		for name := range p.user.groups.enforced(c.now) {
			g, ok := p.account.groups[name]
			if ok {
				s.Identity = append(s.Identity, c.enforcedPolicies(p.account, g.policies)...)
			}
		}
		boundary = p.user.boundary.enforced(c.now)
	}
	if m := c.s.policyByARN(p.account, boundary); m != nil {
		s.Boundary = m.document
	}
	if p.session != nil {
		s.Session, s.HasSession = p.session.limits, p.session.limited
	}
	return s
}

func (c *call) enforcedPolicies(a *account, p policies) []*policy.Document {
	var out []*policy.Document
	for _, d := range p.inline.enforced(c.now) {
		out = append(out, &d)
	}
	for arn := range p.attached.enforced(c.now) {
		if m := c.s.policyByARN(a, arn); m != nil {
			out = append(out, m.document)
		}
	}
	return out
}

func (s *Server) policyByARN(a *account, arn string) *managedPolicy {
	if m, ok := managed[arn]; ok {
		return m
	}
	return a.policies[arn]
}

// context is the condition keys of this request. A key that AWS does not set is
// absent: aws:TokenIssueTime for a long-term key, aws:username for a role.
func (c *call) context(resource string) map[string][]string {
	p := c.who
	x := map[string][]string{
		"aws:currenttime":      {c.now.Format(time.RFC3339)},
		"aws:epochtime":        {strconv.FormatInt(c.now.Unix(), 10)},
		"aws:securetransport":  {"true"}, // as if over TLS
		"aws:sourceip":         {c.sourceIP},
		"aws:useragent":        {c.userAgent},
		"aws:requestedregion":  {c.logRegion},
		"aws:principalarn":     {c.principalARN()},
		"aws:principalaccount": {p.account.id},
		"aws:userid":           {p.userID()},
		"aws:principaltype":    {c.principalType()},
	}
	if p.user != nil && (p.session == nil || p.session.kind == userSession) {
		x["aws:username"] = []string{p.user.name}
	}
	if p.session != nil {
		x["aws:tokenissuetime"] = []string{p.session.issued.UTC().Format(time.RFC3339)}
		x["aws:multifactorauthpresent"] = []string{"false"}
	}
	var tags cells[string]
	switch {
	case p.role != nil:
		tags = p.role.tags
	case p.user != nil:
		tags = p.user.tags
	}
	for k, v := range tags.enforced(c.now) {
		x["aws:principaltag/"+fold(k)] = []string{v}
	}
	if c.service == "iam" && resource != "*" {
		if u := c.targetUser(); u != nil && u.arn() == resource {
			for k, v := range u.tags.enforced(c.now) {
				x["iam:resourcetag/"+fold(k)] = []string{v}
				x["aws:resourcetag/"+fold(k)] = []string{v}
			}
		}
	}
	if c.service == "iam" {
		if arn := c.form.Get("PolicyArn"); arn != "" {
			x["iam:policyarn"] = []string{arn}
		}
		if arn := c.form.Get("PermissionsBoundary"); arn != "" {
			x["iam:permissionsboundary"] = []string{arn}
		}
	}
	for k, v := range c.extra {
		x[k] = v
	}
	return x
}

// principalARN is aws:PrincipalArn: for a role session the role's own ARN.
func (c *call) principalARN() string {
	if c.who.role != nil {
		return c.who.role.arn()
	}
	return c.who.arn()
}

func (c *call) principalType() string {
	switch {
	case c.who.role != nil:
		return "AssumedRole"
	case c.who.session != nil && c.who.session.kind == federatedSession:
		return "FederatedUser"
	case c.who.root():
		return "Account"
	}
	return "User"
}
