package labaws

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"stanch/internal/lab/aws/policy"
	"stanch/internal/lazyregexp"
	"stanch/internal/secret"
)

var _ = add(map[string]operation{
	"sts:GetCallerIdentity": {run: getCallerIdentity},
	"sts:GetSessionToken":   {action: "sts:GetSessionToken", lenient: true, run: getSessionToken},
	"sts:GetFederationToken": {action: "sts:GetFederationToken", run: getFederationToken, resource: func(c *call) string {
		return "arn:aws:sts::" + c.who.account.id + ":federated-user/" + c.str("Name")
	}},
	"sts:GetAccessKeyInfo": {action: "sts:GetAccessKeyInfo", run: getAccessKeyInfo},
	"sts:AssumeRole":       {action: "sts:AssumeRole", trust: true, resource: func(c *call) string { return c.str("RoleArn") }, run: assumeRole},
})

func getCallerIdentity(c *call) (reply, *apiError) {
	return reply{result: []node{
		el("Arn", c.who.arn()), el("UserId", c.who.userID()), el("Account", c.who.account.id),
	}}, nil
}

func getAccessKeyInfo(c *call) (reply, *apiError) {
	id := c.str("AccessKeyId")
	if k, ok := c.s.keys[id]; ok {
		return reply{result: []node{el("Account", k.account.id)}}, nil
	}
	a, err := AccountOfKey(id)
	if err != nil {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "The access key id is not known.")
	}
	return reply{result: []node{el("Account", a)}}, nil
}

// duration reads DurationSeconds between 900 s and longest.
func (c *call) duration(fallback, longest time.Duration) (time.Duration, *apiError) {
	d := time.Duration(c.number("DurationSeconds", int(fallback/time.Second))) * time.Second
	if d < 15*time.Minute || d > longest {
		return 0, fail(http.StatusBadRequest, "ValidationError",
			"The requested DurationSeconds exceeds the MaxSessionDuration set for this role, or is below 900.")
	}
	return d, nil
}

func getSessionToken(c *call) (reply, *apiError) {
	if c.who.session != nil {
		return reply{}, c.denied("sts:GetSessionToken", "*", "")
	}
	longest := 36 * time.Hour
	if c.who.root() {
		longest = time.Hour
	}
	d, refusal := c.duration(min(12*time.Hour, longest), longest)
	if refusal != nil {
		return reply{}, refusal
	}
	t, refusal := c.newSession(&session{kind: userSession, user: c.who.user, account: c.who.account}, d)
	if refusal != nil {
		return reply{}, refusal
	}
	return reply{result: []node{t.credentials()}, elements: map[string]any{"credentials": t.logged()}}, nil
}

var sessionName = lazyregexp.New(`^[\w+=,.@-]{2,64}$`)

func getFederationToken(c *call) (reply, *apiError) {
	if c.who.session != nil || c.who.root() {
		return reply{}, fail(http.StatusForbidden, "AccessDenied", "Cannot call GetFederationToken with session or root credentials")
	}
	name := c.str("Name")
	if !sessionName().MatchString(name) || len(name) > 32 {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "Name must be 2 to 32 of the allowed characters.")
	}
	d, refusal := c.duration(12*time.Hour, 36*time.Hour)
	if refusal != nil {
		return reply{}, refusal
	}
	t := &session{kind: federatedSession, user: c.who.user, account: c.who.account, name: name, limited: true}
	t.limits, _, refusal = c.sessionPolicies()
	if refusal != nil {
		return reply{}, refusal
	}
	t, refusal = c.newSession(t, d)
	if refusal != nil {
		return reply{}, refusal
	}
	arn := "arn:aws:sts::" + c.who.account.id + ":federated-user/" + name
	id := c.who.account.id + ":" + name
	return reply{
		result: []node{t.credentials(), el("FederatedUser", el("Arn", arn), el("FederatedUserId", id)), el("PackedPolicySize", 4)},
		elements: map[string]any{
			"credentials":      t.logged(),
			"federatedUser":    map[string]any{"arn": arn, "federatedUserId": id},
			"packedPolicySize": 4,
		},
	}, nil
}

func (c *call) sessionPolicies() (docs []*policy.Document, given bool, refusal *apiError) {
	if text := c.str("Policy"); text != "" {
		d, err := policy.Parse(text, policy.Identity)
		if err != nil {
			return nil, false, fail(http.StatusBadRequest, "MalformedPolicyDocument", "%v", err)
		}
		docs, given = append(docs, d), true
	}
	for i := range 10 {
		arn := c.form.Get("PolicyArns.member." + strconv.Itoa(i+1) + ".arn")
		if arn == "" {
			break
		}
		m := c.s.policyByARN(c.who.account, arn)
		if m == nil {
			return nil, false, noSuch("policy", arn)
		}
		docs, given = append(docs, m.document), true
	}
	return docs, given, nil
}

func assumeRole(c *call) (reply, *apiError) {
	arn := c.str("RoleArn")
	name := c.str("RoleSessionName")
	if !sessionName().MatchString(name) {
		return reply{}, fail(http.StatusBadRequest, "ValidationError", "RoleSessionName must be 2 to 64 of the allowed characters.")
	}
	if c.who.root() {
		return reply{}, fail(http.StatusForbidden, "AccessDenied", "Roles may not be assumed by root accounts.")
	}
	c.extra = map[string][]string{"sts:rolesessionname": {name}}
	if id := c.str("ExternalId"); id != "" {
		c.extra["sts:externalid"] = []string{id}
	}
	r := c.s.roleByARN(arn)
	own := c.judge("sts:AssumeRole", arn)
	if r == nil {
		// Like AWS: a role that is not there looks like one that does not trust.
		return reply{}, c.denied("sts:AssumeRole", arn, "")
	}
	caller := policy.Caller{ARN: c.who.arn(), Account: c.who.account.id}
	if c.who.role != nil {
		caller.RoleARN = c.who.role.arn()
	}
	answer := r.trust.enforced(c.now).Trusts(caller, policy.Request{Action: "sts:AssumeRole", Resource: arn, Context: c.context(arn)})
	sameAccount := r.account == c.who.account
	switch {
	case answer.Denied, own.Denied, !answer.Allowed:
		return reply{}, c.denied("sts:AssumeRole", arn, "")
	case !own.Allowed && !(sameAccount && answer.Direct):
		return reply{}, c.denied("sts:AssumeRole", arn, own.Why)
	}
	longest := r.maxSession
	chained := c.who.session != nil && c.who.session.kind == roleSession
	if chained {
		longest = time.Hour
	}
	d, refusal := c.duration(time.Hour, longest)
	if refusal != nil {
		return reply{}, refusal
	}
	t := &session{kind: roleSession, role: r, account: r.account, name: name}
	t.limits, t.limited, refusal = c.sessionPolicies()
	if refusal != nil {
		return reply{}, refusal
	}
	t, refusal = c.newSession(t, d)
	if refusal != nil {
		return reply{}, refusal
	}
	sessionARN := "arn:aws:sts::" + r.account.id + ":assumed-role/" + r.name + "/" + name
	return reply{
		result: []node{t.credentials(), el("AssumedRoleUser", el("Arn", sessionARN), el("AssumedRoleId", r.id+":"+name))},
		elements: map[string]any{
			"credentials":     t.logged(),
			"assumedRoleUser": map[string]any{"arn": sessionARN, "assumedRoleId": r.id + ":" + name},
		},
	}, nil
}

func (s *Server) roleByARN(arn string) *role {
	parts := strings.Split(arn, ":")
	if len(parts) != 6 {
		return nil
	}
	a, ok := s.accounts[parts[4]]
	if !ok {
		return nil
	}
	name := parts[5][strings.LastIndexByte(parts[5], '/')+1:]
	r, ok := a.roles[fold(name)]
	if !ok || r.arn() != arn {
		return nil
	}
	return r
}

// newSession makes the credentials. Their issue time is whole seconds, as AWS's
// is; a session works at once, without lag.
func (c *call) newSession(t *session, d time.Duration) (*session, *apiError) {
	id, err := newKeyID("ASIA", t.account.id, c.s.rng)
	if err != nil {
		return nil, fail(http.StatusInternalServerError, "ServiceFailure", "%v", err)
	}
	t.id = id
	t.secret = secret.New(newSecretKey(c.s.rng))
	t.token = secret.New(newToken(c.s.rng))
	t.issued = c.now.Truncate(time.Second)
	t.expires = t.issued.Add(d)
	t.limits = slices.Clip(t.limits)
	c.s.sessions[id] = t
	return t, nil
}

func (t *session) credentials() node {
	return el("Credentials", el("AccessKeyId", t.id), el("SecretAccessKey", t.secret.Reveal()),
		el("SessionToken", t.token.Reveal()), el("Expiration", t.expires))
}

// logged is what CloudTrail shows of new credentials: the token in clear, as the
// real one does, and never the secret key.
func (t *session) logged() map[string]any {
	return map[string]any{
		"accessKeyId": t.id, "sessionToken": t.token.Reveal(),
		"expiration": t.expires.UTC().Format("Jan 2, 2006, 3:04:05 PM"),
	}
}
