package labaws

import (
	"net/http"

	"stanch/internal/secret"
)

var _ = add(map[string]operation{
	"iam:CreateAccessKey":      {action: "iam:CreateAccessKey", write: true, resource: userResource, run: createAccessKey},
	"iam:UpdateAccessKey":      {action: "iam:UpdateAccessKey", write: true, resource: userResource, run: updateAccessKey},
	"iam:DeleteAccessKey":      {action: "iam:DeleteAccessKey", write: true, resource: userResource, run: deleteAccessKey},
	"iam:ListAccessKeys":       {action: "iam:ListAccessKeys", resource: userResource, run: listAccessKeys},
	"iam:GetAccessKeyLastUsed": {action: "iam:GetAccessKeyLastUsed", run: getAccessKeyLastUsed, resource: keyResource},
})

const keysPerUser = 2

func createAccessKey(c *call) (reply, *apiError) {
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	if len(u.keys) >= keysPerUser {
		return reply{}, fail(http.StatusConflict, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: %d", keysPerUser)
	}
	k, err := c.s.addKey(u.account, u)
	if err != nil {
		return reply{}, fail(http.StatusInternalServerError, "ServiceFailure", "%v", err)
	}
	k.created = c.now
	c.setKeyStatus(k, statusActive)
	return reply{
		result: []node{el("AccessKey", el("UserName", u.name), el("AccessKeyId", k.id), el("Status", statusActive),
			el("SecretAccessKey", k.secret.Reveal()), el("CreateDate", k.created))},
		elements: map[string]any{"accessKey": map[string]any{
			"userName": u.name, "accessKeyId": k.id, "status": statusActive, "createDate": logTime(k.created),
		}},
	}, nil
}

// addKey makes a key without a status; the account's root owns it when u is nil.
func (s *Server) addKey(a *account, u *user) (*accessKey, error) {
	id, err := newKeyID("AKIA", a.id, s.rng)
	if err != nil {
		return nil, err
	}
	k := &accessKey{id: id, secret: secret.New(newSecretKey(s.rng)), user: u, account: a}
	s.keys[id] = k
	if u != nil {
		u.keys = append(u.keys, k)
	}
	return k, nil
}

// ownedKey finds the key among the named user's, or among the root's for root.
func (c *call) ownedKey() (*accessKey, *apiError) {
	id := c.str("AccessKeyId")
	gone := fail(http.StatusNotFound, "NoSuchEntity", "The Access Key with id %s cannot be found", id)
	if c.who.root() && c.str("UserName") == "" {
		k, ok := c.s.keys[id]
		if !ok || k.user != nil || k.account != c.who.account || k.status.shown() == "" {
			return nil, gone
		}
		return k, nil
	}
	u, refusal := c.needUser()
	if refusal != nil {
		return nil, refusal
	}
	for _, k := range u.keys {
		if k.id == id {
			return k, nil
		}
	}
	return nil, gone
}

func updateAccessKey(c *call) (reply, *apiError) {
	status := c.str("Status")
	if status != statusActive && status != statusInactive {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "Status must be Active or Inactive.")
	}
	k, refusal := c.ownedKey()
	if refusal != nil {
		return reply{}, refusal
	}
	c.setKeyStatus(k, status)
	return reply{}, nil
}

func deleteAccessKey(c *call) (reply, *apiError) {
	k, refusal := c.ownedKey()
	if refusal != nil {
		return reply{}, refusal
	}
	c.setKeyStatus(k, "")
	if k.user != nil {
		var rest []*accessKey
		for _, other := range k.user.keys {
			if other != k {
				rest = append(rest, other)
			}
		}
		k.user.keys = rest
	}
	return reply{}, nil
}

func listAccessKeys(c *call) (reply, *apiError) {
	var items []node
	if c.who.root() && c.str("UserName") == "" {
		for _, k := range c.s.keys {
			if k.user == nil && k.account == c.who.account && k.status.shown() != "" {
				items = append(items, keyNode(k))
			}
		}
		return c.listing("AccessKeyMetadata", items)
	}
	u, refusal := c.needUser()
	if refusal != nil {
		return reply{}, refusal
	}
	for _, k := range u.keys {
		items = append(items, keyNode(k))
	}
	return c.listing("AccessKeyMetadata", items)
}

func keyNode(k *accessKey) node {
	name := ""
	if k.user != nil {
		name = k.user.name
	}
	return el("member", el("UserName", name), el("AccessKeyId", k.id), el("Status", k.status.shown()), el("CreateDate", k.created))
}

func (c *call) lookupKey() *accessKey {
	k, ok := c.s.keys[c.str("AccessKeyId")]
	if !ok || k.account != c.who.account || k.status.shown() == "" {
		return nil
	}
	return k
}

func keyResource(c *call) string {
	k := c.lookupKey()
	if k == nil || k.user == nil {
		return "*"
	}
	return k.user.arn()
}

// getAccessKeyLastUsed refuses an id that this account does not have as if the
// permission were missing.
func getAccessKeyLastUsed(c *call) (reply, *apiError) {
	k := c.lookupKey()
	if k == nil {
		return reply{}, c.denied("iam:GetAccessKeyLastUsed", "*", "")
	}
	used := []node{el("ServiceName", "N/A"), el("Region", "N/A")}
	if !k.lastUsed.IsZero() {
		used = []node{el("LastUsedDate", k.lastUsed), el("ServiceName", k.lastService), el("Region", k.lastRegion)}
	}
	result := []node{el("AccessKeyLastUsed", used)}
	if k.user != nil {
		result = append(result, el("UserName", k.user.name))
	}
	return reply{result: result}, nil
}
