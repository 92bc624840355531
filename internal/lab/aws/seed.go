package labaws

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"stanch/internal/lab/aws/policy"
	"stanch/internal/secret"
)

// Key is a credential of the laboratory. Token is set for sessions alone.
type Key struct {
	ID     string
	Secret secret.Value
	Token  secret.Value
}

// Organisation is what Seed made.
type Organisation struct {
	Account    string
	User       string // "deploy-bot", whose key leaks
	UserARN    string
	Key        Key
	Stanch     Key    // our own bootstrap user's
	RoleARN    string // that the bootstrap user may assume
	ExternalID string // that the role wants
	Bucket     string
	SecretName string
}

// Names that Seed uses.
const (
	SeedUser = "deploy-bot"
	SeedRole = "StanchResponder"
)

// Seed makes the organisation of the demo in the first account: a user with an
// administrator's rights and a key that can leak, a role for the responder that
// trusts our own user with an external id, and that user. All of it is in force
// at once. It may be called once for each account.
func (s *Server) Seed() (*Organisation, error) { return s.SeedAccount(s.primary.id) }

// SeedAccount is Seed for another account. Every account's role trusts the
// bootstrap user of the first account, which must be seeded first.
func (s *Server) SeedAccount(id string) (*Organisation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[id]
	if !ok {
		return nil, fmt.Errorf("seed account %s: it does not exist", id)
	}
	if a.users[SeedUser] != nil {
		return nil, fmt.Errorf("seed account %s: it is seeded already", id)
	}
	o := &Organisation{Account: id, User: SeedUser, ExternalID: "stanch-" + fmt.Sprintf("%08x", s.rng.Uint32()),
		Bucket: "acme-releases-" + id, SecretName: "prod/billing/db"}
	leaked := s.seedUser(a, SeedUser, "/ci/")
	leaked.inline.set("deploy", must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","ec2:*","iam:*","sts:*","secretsmanager:*","cloudtrail:LookupEvents"],"Resource":"*"}]}`, policy.Identity)), time.Time{})
	var err error
	o.Key, err = s.seedKey(a, leaked)
	if err != nil {
		return nil, fmt.Errorf("seed account %s: %w", id, err)
	}
	o.UserARN = leaked.arn()
	reader := s.seedUser(a, "alice", "/")
	reader.attached.set(readOnlyARN, &struct{}{}, time.Time{})
	group := &group{policies: newPolicies(), name: "developers", path: "/", id: uniqueID("AGPA", s.rng), account: a, created: leaked.created}
	group.attached.set(readOnlyARN, &struct{}{}, time.Time{})
	a.groups[group.name] = group
	leaked.groups.set(group.name, &struct{}{}, time.Time{})

	bootstrap := s.primary.users["stanch"]
	if bootstrap == nil {
		if a != s.primary {
			return nil, errors.New("seed account: the first account must be seeded first")
		}
		bootstrap = s.seedUser(a, "stanch", "/")
		bootstrap.inline.set("assume", must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::*:role/`+SeedRole+`"}]}`, policy.Identity)), time.Time{})
		o.Stanch, err = s.seedKey(a, bootstrap)
		if err != nil {
			return nil, fmt.Errorf("seed account %s: %w", id, err)
		}
	}
	r := s.addRole(a, SeedRole, "/")
	r.created = leaked.created
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + bootstrap.arn() +
		`"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"` + o.ExternalID + `"}}}]}`
	r.trust.set(must(policy.Parse(trust, policy.Trust)), time.Time{})
	r.inline.set("responder", must(policy.Parse(responderPolicy, policy.Identity)), time.Time{})
	o.RoleARN = r.arn()

	a.buckets[o.Bucket] = &bucket{created: leaked.created, objects: map[string][]byte{"build/latest.txt": []byte("v1.4.2\n")}}
	a.buckets["acme-customer-exports-"+id] = &bucket{created: leaked.created, objects: map[string][]byte{"2026/10.csv": []byte("id,name\n1,Example\n")}}
	a.secrets[o.SecretName] = storedSecret{
		arn:   "arn:aws:secretsmanager:us-east-1:" + id + ":secret:" + o.SecretName + "-AbCdEf",
		value: secret.New("laboratory-" + strings.ToLower(uniqueID("", s.rng))),
	}
	return o, nil
}

// responderPolicy holds the rights of the Responder, the Investigator and the Rotator
// together, as far as the laboratory has the operations. It can attach AWSDenyAll only.
const responderPolicy = `{"Version":"2012-10-17","Statement":[
{"Sid":"Read","Effect":"Allow","Action":["iam:Get*","iam:List*","cloudtrail:LookupEvents","account:ListRegions"],"Resource":"*"},
{"Sid":"Contain","Effect":"Allow","Action":["iam:UpdateAccessKey","iam:PutUserPolicy","iam:DeleteUserPolicy","iam:DetachUserPolicy","iam:PutUserPermissionsBoundary","iam:DeleteUserPermissionsBoundary","iam:TagUser","iam:UntagUser","iam:DeleteLoginProfile","iam:PutRolePolicy","iam:DeleteRolePolicy","iam:UpdateAssumeRolePolicy"],"Resource":"*"},
{"Sid":"DenyOnly","Effect":"Allow","Action":["iam:AttachUserPolicy","iam:AttachRolePolicy"],"Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/AWSDenyAll"}}},
{"Sid":"Rotate","Effect":"Allow","Action":["iam:CreateAccessKey","iam:DeleteAccessKey"],"Resource":"*"}]}`

func (s *Server) seedUser(a *account, name, path string) *user {
	u := s.addUser(a, name, path)
	u.created = s.opts.Clock().UTC().Add(-200 * 24 * time.Hour).Truncate(time.Second)
	u.alive = newCell(true)
	return u
}

func (s *Server) seedKey(a *account, u *user) (Key, error) {
	k, err := s.addKey(a, u)
	if err != nil {
		return Key{}, err
	}
	k.created = s.opts.Clock().UTC().Add(-90 * 24 * time.Hour).Truncate(time.Second)
	k.status = newCell(statusActive)
	return Key{ID: k.id, Secret: k.secret}, nil
}

// AddUser makes a user in the first account with one inline policy, in force at
// once, and an access key of its own.
func (s *Server) AddUser(name, path, policyText string) (Key, error) {
	d, err := policy.Parse(policyText, policy.Identity)
	if err != nil {
		return Key{}, fmt.Errorf("add user %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.primary.users[fold(name)] != nil {
		return Key{}, fmt.Errorf("add user %s: it exists", name)
	}
	u := s.seedUser(s.primary, name, path)
	u.inline.set("policy", d, time.Time{})
	return s.seedKey(s.primary, u)
}

// AddRootKey makes an access key of an account's root.
func (s *Server) AddRootKey(accountID string) (Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[accountID]
	if !ok {
		return Key{}, fmt.Errorf("add root key: account %s does not exist", accountID)
	}
	return s.seedKey(a, nil)
}

// SetControlPolicy puts a service control policy on an account, subject to the
// enforcement lag; empty text takes it off. It stands beside full access.
func (s *Server) SetControlPolicy(accountID, name, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[accountID]
	if !ok {
		return fmt.Errorf("set control policy: account %s does not exist", accountID)
	}
	effective := s.opts.Clock().UTC().Add(s.draw(s.opts.EnforcementLag))
	if text == "" {
		a.control.set(name, nil, effective)
		return nil
	}
	d, err := policy.Parse(text, policy.Identity)
	if err != nil {
		return fmt.Errorf("set control policy: %w", err)
	}
	a.control.set(name, d, effective)
	return nil
}
