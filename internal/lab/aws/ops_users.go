package labaws

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"stanch/internal/lab/aws/policy"
	"stanch/internal/lazyregexp"
)

var _ = add(map[string]operation{
	"iam:GetUser":                       {action: "iam:GetUser", resource: userResource, run: getUser},
	"iam:ListUsers":                     {action: "iam:ListUsers", resource: inAccount("user/"), run: listUsers},
	"iam:CreateUser":                    {action: "iam:CreateUser", write: true, resource: userResource, run: createUser},
	"iam:DeleteUser":                    {action: "iam:DeleteUser", write: true, resource: userResource, run: deleteUser},
	"iam:PutUserPermissionsBoundary":    {action: "iam:PutUserPermissionsBoundary", write: true, resource: userResource, run: putBoundary},
	"iam:DeleteUserPermissionsBoundary": {action: "iam:DeleteUserPermissionsBoundary", write: true, resource: userResource, run: deleteBoundary},
	"iam:ListGroupsForUser":             {action: "iam:ListGroupsForUser", resource: userResource, run: listGroupsForUser},
	"iam:CreateLoginProfile":            {action: "iam:CreateLoginProfile", write: true, resource: userResource, run: createLoginProfile},
	"iam:GetLoginProfile":               {action: "iam:GetLoginProfile", resource: userResource, run: getLoginProfile},
	"iam:DeleteLoginProfile":            {action: "iam:DeleteLoginProfile", write: true, resource: userResource, run: deleteLoginProfile},
	"iam:ListMFADevices":                {action: "iam:ListMFADevices", resource: userResource, run: emptyList("MFADevices")},
	"iam:ListServiceSpecificCredentials": {action: "iam:ListServiceSpecificCredentials", resource: userResource,
		run: emptyList("ServiceSpecificCredentials")},
	"iam:ListSSHPublicKeys":       {action: "iam:ListSSHPublicKeys", resource: userResource, run: emptyList("SSHPublicKeys")},
	"iam:ListSigningCertificates": {action: "iam:ListSigningCertificates", resource: userResource, run: emptyList("Certificates")},
	"iam:ListUserTags":            {action: "iam:ListUserTags", resource: userResource, run: listUserTags},
	"iam:TagUser":                 {action: "iam:TagUser", write: true, resource: userResource, run: tagUser},
	"iam:UntagUser":               {action: "iam:UntagUser", write: true, resource: userResource, run: untagUser},
})

func inAccount(what string) func(*call) string {
	return func(c *call) string { return "arn:aws:iam::" + c.who.account.id + ":" + what }
}

// userNode is what ListUsers shows; full adds boundary and tags as GetUser does.
func userNode(u *user, full bool) node {
	n := el("User", el("Path", u.path), el("UserName", u.name), el("UserId", u.id), el("Arn", u.arn()), el("CreateDate", u.created))
	if full {
		n.kids = append(n.kids, boundaryNode(u.boundary.shown())...)
		n.kids = append(n.kids, tagNodes(u.tags)...)
	}
	return n
}

func boundaryNode(arn string) []node {
	if arn == "" {
		return nil
	}
	return []node{el("PermissionsBoundary", el("PermissionsBoundaryType", "Policy"), el("PermissionsBoundaryArn", arn))}
}

func tagNodes(tags cells[string]) []node {
	names := tags.names()
	if len(names) == 0 {
		return nil
	}
	return []node{members("Tags", tagItems(tags))}
}

func tagItems(tags cells[string]) []node {
	var items []node
	for _, k := range tags.names() {
		items = append(items, el("member", el("Key", k), el("Value", *tags.shown(k))))
	}
	return items
}

func getUser(c *call) (reply, *apiError) {
	if c.who.root() && c.str("UserName") == "" {
		return reply{result: []node{el("User", el("UserId", c.who.account.id), el("Arn", c.who.arn()), el("CreateDate", c.now))}}, nil
	}
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{result: []node{userNode(u, true)}}, nil
}

func listUsers(c *call) (reply, *apiError) {
	var items []node
	for _, name := range slices.Sorted(maps.Keys(c.who.account.users)) {
		u := c.who.account.users[name]
		if strings.HasPrefix(u.path, c.str("PathPrefix")) {
			items = append(items, userNode(u, false))
		}
	}
	return c.listing("Users", items)
}

var (
	entityName = lazyregexp.New(`^[\w+=,.@-]{1,64}$`)
	entityPath = lazyregexp.New(`^/([!-~]+/)?$`)
)

func (c *call) newEntity(nameKey string) (name, path string, refusal *apiError) {
	name, path = c.str(nameKey), c.str("Path")
	if path == "" {
		path = "/"
	}
	if !entityName().MatchString(name) || !entityPath().MatchString(path) {
		return "", "", fail(http.StatusBadRequest, "ValidationError", "The specified value for %s or path is invalid.", lowerFirst(nameKey))
	}
	return name, path, nil
}

func createUser(c *call) (reply, *apiError) {
	name, path, refusal := c.newEntity("UserName")
	if refusal != nil {
		return reply{}, refusal
	}
	if c.who.account.users[fold(name)] != nil {
		return reply{}, fail(http.StatusConflict, "EntityAlreadyExists", "User with name %s already exists.", name)
	}
	boundary, refusal := c.boundaryParameter()
	if refusal != nil {
		return reply{}, refusal
	}
	u := c.s.addUser(c.who.account, name, path)
	u.created = c.now
	u.alive.set(true, c.effective)
	u.boundary.set(boundary, c.effective)
	for k, v := range c.tags() {
		u.tags.set(k, &v, c.effective)
	}
	return reply{result: []node{userNode(u, true)}, elements: map[string]any{"user": map[string]any{
		"path": u.path, "arn": u.arn(), "userId": u.id, "userName": u.name, "createDate": logTime(u.created),
	}}}, nil
}

func (s *Server) addUser(a *account, name, path string) *user {
	u := &user{
		policies: newPolicies(), account: a, name: name, path: path, id: uniqueID("AIDA", s.rng),
		tags: cells[string]{}, groups: cells[struct{}]{},
	}
	a.users[fold(name)] = u
	return u
}

func deleteUser(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	what := ""
	switch {
	case len(u.keys) > 0:
		what = "delete access keys"
	case len(u.inline.names()) > 0:
		what = "delete policies"
	case len(u.attached.names()) > 0:
		what = "detach all policies"
	case len(u.groups.names()) > 0:
		what = "remove users from group"
	case u.login != nil:
		what = "delete login profile"
	}
	if what != "" {
		return reply{}, fail(http.StatusConflict, "DeleteConflict", "Cannot delete entity, must %s first.", what)
	}
	u.alive.set(false, c.effective)
	delete(u.account.users, fold(u.name))
	return reply{}, nil
}

func (c *call) boundaryParameter() (string, *apiError) {
	arn := c.str("PermissionsBoundary")
	if arn != "" && c.s.policyByARN(c.who.account, arn) == nil {
		return "", fail(http.StatusNotFound, "NoSuchEntity", "Scope ARN: %s does not exist or is not attachable.", arn)
	}
	return arn, nil
}

func putBoundary(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	arn, refusal := c.boundaryParameter()
	if refusal != nil {
		return reply{}, refusal
	}
	if arn == "" {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "PermissionsBoundary is missing.")
	}
	u.boundary.set(arn, c.effective)
	return reply{}, nil
}

func deleteBoundary(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	if u.boundary.shown() == "" {
		return reply{}, fail(http.StatusNotFound, "NoSuchEntity", "User with name %s has no permissions boundary.", u.name)
	}
	u.boundary.set("", c.effective)
	return reply{}, nil
}

func groupNode(g *group) node {
	return el("Group", el("Path", g.path), el("GroupName", g.name), el("GroupId", g.id), el("Arn", g.arn()), el("CreateDate", g.created))
}

func listGroupsForUser(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	var items []node
	for _, name := range u.groups.names() {
		if g, ok := u.account.groups[name]; ok {
			items = append(items, groupNode(g))
		}
	}
	return c.listing("Groups", items)
}

func loginNode(u *user) node {
	return el("LoginProfile", el("UserName", u.name), el("CreateDate", u.login.created), el("PasswordResetRequired", u.login.reset))
}

func createLoginProfile(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	switch {
	case refusal != nil:
		return reply{}, refusal
	case u.login != nil:
		return reply{}, fail(http.StatusConflict, "EntityAlreadyExists", "Login Profile for user %s already exists.", u.name)
	case len(c.str("Password")) < 8:
		return reply{}, fail(http.StatusBadRequest, "PasswordPolicyViolation", "Password should have a minimum length of 8")
	}
	u.login = &loginProfile{created: c.now, reset: c.str("PasswordResetRequired") == "true"}
	return reply{result: []node{loginNode(u)}, elements: map[string]any{"loginProfile": map[string]any{
		"userName": u.name, "createDate": logTime(c.now), "passwordResetRequired": u.login.reset,
	}}}, nil
}

func getLoginProfile(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	switch {
	case refusal != nil:
		return reply{}, refusal
	case u.login == nil:
		return reply{}, fail(http.StatusNotFound, "NoSuchEntity", "Login Profile for User %s cannot be found.", u.name)
	}
	return reply{result: []node{loginNode(u)}}, nil
}

func deleteLoginProfile(c *call) (reply, *apiError) {
	r, refusal := getLoginProfile(c)
	if refusal != nil {
		return r, refusal
	}
	c.targetUser().login = nil
	return reply{}, nil
}

// emptyList answers for the things that a laboratory user never has.
func emptyList(name string) func(*call) (reply, *apiError) {
	return func(c *call) (reply, *apiError) {
		_, refusal := c.needUser()
		if refusal != nil {
			return reply{}, refusal
		}
		return c.listing(name, nil)
	}
}

func listUserTags(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	return c.listing("Tags", tagItems(u.tags))
}

const tagsPerEntity = 50

func tagUser(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	tags := c.tags()
	after := u.tags.names()
	for k := range tags {
		if !slices.Contains(after, k) {
			after = append(after, k)
		}
	}
	if len(after) > tagsPerEntity {
		return reply{}, fail(http.StatusConflict, "LimitExceeded", "The number of tags has reached the maximum limit.")
	}
	for k, v := range tags {
		u.tags.set(k, &v, c.effective)
	}
	return reply{}, nil
}

func untagUser(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	for _, k := range c.list("TagKeys") {
		u.tags.set(k, nil, c.effective)
	}
	return reply{}, nil
}

func parseDocument(text string, kind policy.Kind) (*policy.Document, *apiError) {
	d, err := policy.Parse(text, kind)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "MalformedPolicyDocument", "%v", err)
	}
	return d, nil
}
