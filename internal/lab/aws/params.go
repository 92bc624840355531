package labaws

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The parameters of a call in the query protocols.

func (c *call) str(name string) string { return c.form.Get(name) }

func (c *call) number(name string, fallback int) int {
	n, err := strconv.Atoi(c.form.Get(name))
	if err != nil {
		return fallback
	}
	return n
}

func (c *call) list(prefix string) []string {
	var out []string
	for i := 1; ; i++ {
		v, ok := c.form[prefix+".member."+strconv.Itoa(i)]
		if !ok {
			return out
		}
		out = append(out, v[0])
	}
}

func (c *call) tags() map[string]string {
	out := map[string]string{}
	for i := 1; ; i++ {
		p := "Tags.member." + strconv.Itoa(i)
		k, ok := c.form[p+".Key"]
		if !ok {
			return out
		}
		out[k[0]] = c.form.Get(p + ".Value")
	}
}

// targetUser is the user that the call names, or its caller when it names none.
func (c *call) targetUser() *user {
	name := c.str("UserName")
	if name == "" {
		if c.who.session == nil || c.who.session.kind == userSession {
			return c.who.user
		}
		return nil
	}
	return c.who.account.users[fold(name)]
}

func (c *call) needUser() (*user, *apiError) {
	u := c.targetUser()
	if u == nil {
		if c.str("UserName") == "" {
			return nil, fail(http.StatusBadRequest, "ValidationError", "Must specify userName when calling with non-User credentials")
		}
		return nil, noSuch("user", c.str("UserName"))
	}
	return u, nil
}

func userResource(c *call) string {
	u := c.targetUser()
	if u != nil {
		return u.arn()
	}
	path := c.str("Path")
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + c.who.account.id + ":user" + path + c.str("UserName")
}

func (c *call) needRole() (*role, *apiError) {
	r, ok := c.who.account.roles[fold(c.str("RoleName"))]
	if !ok {
		return nil, noSuch("role", c.str("RoleName"))
	}
	return r, nil
}

func roleResource(c *call) string {
	r, ok := c.who.account.roles[fold(c.str("RoleName"))]
	if ok {
		return r.arn()
	}
	path := c.str("Path")
	if path == "" {
		path = "/"
	}
	return "arn:aws:iam::" + c.who.account.id + ":role" + path + c.str("RoleName")
}

// page cuts a list to MaxItems (100 unless told) from Marker on. The marker is
// bound to the operation.
func (c *call) page(items []node) (kept, tail []node, refusal *apiError) {
	start := 0
	if m := c.str("Marker"); m != "" {
		raw, err := base64.RawURLEncoding.DecodeString(m)
		var op string
		if err == nil {
			_, err = fmt.Sscanf(string(raw), "%d %s", &start, &op)
		}
		if err != nil || op != c.operation || start < 0 || start > len(items) {
			return nil, nil, fail(http.StatusBadRequest, "ValidationError", "Invalid Marker.")
		}
	}
	most := c.number("MaxItems", 100)
	if most < 1 || most > 1000 {
		return nil, nil, fail(http.StatusBadRequest, "ValidationError", "MaxItems must be between 1 and 1000.")
	}
	end := min(start+most, len(items))
	truncated := end < len(items)
	tail = []node{el("IsTruncated", truncated)}
	if truncated {
		marker := base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf("%d %s", end, c.operation)))
		tail = append(tail, el("Marker", marker))
	}
	return items[start:end], tail, nil
}

func (c *call) listing(name string, items []node) (reply, *apiError) {
	kept, tail, refusal := c.page(items)
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{result: append([]node{members(name, kept)}, tail...)}, nil
}

// logTime is the time format of CloudTrail's responseElements.
func logTime(t time.Time) string { return t.UTC().Format("Jan 2, 2006 3:04:05 PM") }

// logParameters turns the parameters into CloudTrail's requestParameters.
func (c *call) logParameters() any {
	switch {
	case c.json != nil:
		if c.service == "secretsmanager" || c.service == "cloudtrail" {
			out := map[string]any{}
			for k, v := range c.json {
				out[lowerFirst(k)] = v
			}
			return out
		}
		return c.json
	case c.path != nil:
		return map[string]any{"bucketName": c.path[0], "key": c.path[1], "Host": "s3.amazonaws.com"}
	}
	tree := map[string]any{}
	for k, v := range c.form {
		switch k {
		case "Action", "Version", "Password":
			continue
		}
		at := tree
		parts := strings.Split(k, ".")
		for i, p := range parts {
			p = lowerFirst(p)
			if i == len(parts)-1 {
				at[p] = logValue(p, v[0])
				break
			}
			next, ok := at[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[p] = next
			}
			at = next
		}
	}
	if len(tree) == 0 {
		return nil
	}
	return collapse(tree)
}

func logValue(name, v string) any {
	switch name {
	case "durationSeconds", "maxItems", "maxSessionDuration", "minCount", "maxCount":
		n, err := strconv.Atoi(v)
		if err == nil {
			return n
		}
	case "passwordResetRequired":
		return v == "true"
	}
	return v
}

// collapse turns member.1, member.2 (and EC2's bare numbers) into lists.
func collapse(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	if inner, ok := m["member"].(map[string]any); ok && len(m) == 1 {
		m = inner
	}
	var out []any
	for i := 1; ; i++ {
		item, ok := m[strconv.Itoa(i)]
		if !ok {
			break
		}
		out = append(out, collapse(item))
	}
	if len(out) > 0 && len(out) == len(m) {
		return out
	}
	for k, item := range m {
		m[k] = collapse(item)
	}
	return m
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
