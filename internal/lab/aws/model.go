package labaws

import (
	"strings"
	"time"

	"stanch/internal/lab/aws/policy"
	"stanch/internal/secret"
)

const (
	statusActive   = "Active"
	statusInactive = "Inactive"
)

type account struct {
	id       string
	users    map[string]*user
	roles    map[string]*role
	groups   map[string]*group
	policies map[string]*managedPolicy // customer managed, by ARN
	control  cells[policy.Document]    // service control policies by name
	buckets  map[string]*bucket
	secrets  map[string]storedSecret
	machines map[string][]machine // by Region
	shards   map[string]*shard    // CloudTrail, by Region
}

type policies struct {
	inline   cells[policy.Document]
	attached cells[struct{}] // by ARN
}

func newPolicies() policies {
	return policies{inline: cells[policy.Document]{}, attached: cells[struct{}]{}}
}

type user struct {
	policies
	account  *account
	name     string
	path     string
	id       string
	created  time.Time
	alive    cell[bool]
	boundary cell[string] // ARN, empty for none
	tags     cells[string]
	groups   cells[struct{}]
	keys     []*accessKey
	login    *loginProfile
}

func (u *user) arn() string { return "arn:aws:iam::" + u.account.id + ":user" + u.path + u.name }

type loginProfile struct {
	created time.Time
	reset   bool
}

type group struct {
	policies
	name, path, id string
	account        *account
	created        time.Time
}

func (g *group) arn() string { return "arn:aws:iam::" + g.account.id + ":group" + g.path + g.name }

type role struct {
	policies
	account    *account
	name       string
	path       string
	id         string
	created    time.Time
	trust      cell[*policy.Document]
	boundary   cell[string]
	maxSession time.Duration
	tags       cells[string]
	lastUsed   time.Time
	lastRegion string
}

func (r *role) arn() string { return "arn:aws:iam::" + r.account.id + ":role" + r.path + r.name }

type managedPolicy struct {
	arn, name, id, description string
	created                    time.Time
	document                   *policy.Document
}

type accessKey struct {
	id      string
	secret  secret.Value
	user    *user // nil for the account's root
	account *account
	created time.Time
	status  cell[string] // Active, Inactive, empty when deleted

	lastUsed    time.Time
	lastService string
	lastRegion  string
}

type sessionKind int

const (
	userSession      sessionKind = iota + 1 // GetSessionToken
	federatedSession                        // GetFederationToken
	roleSession                             // AssumeRole
)

type session struct {
	kind    sessionKind
	id      string
	secret  secret.Value
	token   secret.Value
	account *account
	user    *user // userSession, federatedSession
	role    *role // roleSession
	name    string
	issued  time.Time
	expires time.Time
	limits  []*policy.Document // session policies
	limited bool
}

type bucket struct {
	created time.Time
	objects map[string][]byte
}

type storedSecret struct {
	arn   string
	value secret.Value
}

type machine struct {
	id, kind, image string
	started         time.Time
}

// principal is who signed a request.
type principal struct {
	keyID   string
	account *account
	key     *accessKey // long-term
	session *session   // temporary
	user    *user
	role    *role
}

func (p *principal) root() bool { return p.user == nil && p.role == nil }

func (p *principal) arn() string {
	switch {
	case p.session != nil && p.session.kind == roleSession:
		return "arn:aws:sts::" + p.account.id + ":assumed-role/" + p.role.name + "/" + p.session.name
	case p.session != nil && p.session.kind == federatedSession:
		return "arn:aws:sts::" + p.account.id + ":federated-user/" + p.session.name
	case p.root():
		return "arn:aws:iam::" + p.account.id + ":root"
	}
	return p.user.arn()
}

// userID is aws:userid and what GetCallerIdentity returns.
func (p *principal) userID() string {
	switch {
	case p.session != nil && p.session.kind == roleSession:
		return p.role.id + ":" + p.session.name
	case p.session != nil && p.session.kind == federatedSession:
		return p.account.id + ":" + p.session.name
	case p.root():
		return p.account.id
	}
	return p.user.id
}

func (s *Server) newAccount(id string) *account {
	a := &account{
		id: id, users: map[string]*user{}, roles: map[string]*role{}, groups: map[string]*group{},
		policies: map[string]*managedPolicy{}, control: cells[policy.Document]{},
		buckets: map[string]*bucket{}, secrets: map[string]storedSecret{},
		machines: map[string][]machine{}, shards: map[string]*shard{},
	}
	for _, r := range s.regions {
		a.shards[r] = &shard{}
	}
	return a
}

// names of IAM entities are unique without regard to case.
func fold(name string) string { return strings.ToLower(name) }
