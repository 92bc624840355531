package labaws

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// parse finds the operation and its parameters by the service's protocol. An
// error counts only once the caller is known.
func (c *call) parse(r *http.Request, body []byte) *apiError {
	c.logRegion = c.region
	switch c.service {
	case "cloudtrail", "secretsmanager":
		_, c.operation, _ = strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
			return fail(http.StatusBadRequest, "SerializationException", "content type is not application/x-amz-json-1.1")
		}
		return c.parseJSON(body)
	case "account":
		c.logRegion = GlobalRegion
		switch r.URL.Path {
		case "/listRegions":
			c.operation = "ListRegions"
		default:
			c.operation = strings.TrimPrefix(r.URL.Path, "/")
		}
		return c.parseJSON(body)
	case "s3":
		path := strings.TrimPrefix(r.URL.Path, "/")
		switch {
		case r.Method == http.MethodGet && path == "":
			c.operation = "ListBuckets"
		case r.Method == http.MethodGet && strings.Contains(path, "/"):
			c.operation = "GetObject"
			bucket, key, _ := strings.Cut(path, "/")
			c.path = []string{bucket, key}
		default:
			c.operation = r.Method
		}
		return nil
	}
	if c.service == "iam" || c.region == "aws-global" {
		c.logRegion = GlobalRegion
	}
	var err error
	if r.Method == http.MethodGet {
		c.form = r.URL.Query()
		for k := range c.form {
			if strings.HasPrefix(k, "X-Amz-") {
				c.form.Del(k)
			}
		}
	} else {
		c.form, err = url.ParseQuery(string(body))
	}
	c.operation = c.form.Get("Action")
	if err != nil || c.operation == "" {
		return fail(http.StatusBadRequest, "MissingAction", "The request has no Action or cannot be read.")
	}
	return nil
}

func (c *call) parseJSON(body []byte) *apiError {
	c.json = map[string]any{}
	if len(body) == 0 {
		return nil
	}
	err := json.Unmarshal(body, &c.json)
	if err != nil {
		return fail(http.StatusBadRequest, "SerializationException", "the body is no JSON object")
	}
	return nil
}

// authenticate finds whose credential signed. What it refuses is not logged by
// CloudTrail: the account is not known, or the key is dead.
func (c *call) authenticate(r *http.Request, body []byte, sig signature) *apiError {
	invalid := fail(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	c.who = &principal{keyID: sig.keyID}
	global := sig.region == "aws-global" && (sig.service == "iam" || sig.service == "sts")
	if !slices.Contains(c.s.regions, sig.region) && !global {
		return invalid
	}
	p := &principal{keyID: sig.keyID}
	var secretKey string
	if k, ok := c.s.keys[sig.keyID]; ok {
		if sig.token != "" || k.status.enforced(c.now) != statusActive {
			return invalid
		}
		p.key, p.user, p.account = k, k.user, k.account
		secretKey = k.secret.Reveal()
	} else {
		t, ok := c.s.sessions[sig.keyID]
		if !ok || sig.token == "" || sig.token != t.token.Reveal() {
			return invalid
		}
		p.session, p.user, p.role, p.account = t, t.user, t.role, t.account
		secretKey = t.secret.Reveal()
	}
	if p.user != nil && !p.user.alive.enforced(c.now) {
		return invalid
	}
	refusal := sig.check(r, body, secretKey, c.now)
	if refusal != nil {
		if refusal.code == "SignatureDoesNotMatch" && p.key != nil {
			c.s.wrong[sig.keyID] = c.now
		}
		return refusal
	}
	if c.operation == "GetCallerIdentity" {
		refusal = c.s.staleSecret(sig.keyID, c.now)
		if refusal != nil {
			return refusal
		}
	}
	if p.session != nil && c.now.After(p.session.expires) {
		return fail(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	}
	c.who = p
	if p.key != nil {
		p.key.lastUsed, p.key.lastService, p.key.lastRegion = c.now, c.service, c.region
	}
	if p.role != nil {
		p.role.lastUsed, p.role.lastRegion = c.now, c.region
	}
	return nil
}
