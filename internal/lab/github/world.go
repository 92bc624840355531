package github

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"stanch/internal/lazyregexp"
)

// PlanEnterprise is the plan whose organisations have an audit log by API.
const PlanEnterprise = "enterprise"

// Account is a user or an organisation.
type Account struct {
	ID       int64
	Login    string
	Type     string // User or Organization
	Email    string
	Password string // for git push; empty for organisations
	Plan     string
	members  map[string]bool // logins in lower case
	created  time.Time
}

// Repo is a repository.
type Repo struct {
	ID            int64
	Owner         *Account
	Name          string
	Private       bool
	DefaultBranch string
	Dir           string // the bare repository itself, for direct preparation
	CloneURL      string
	created       time.Time
	pushed        time.Time
	push          sync.Mutex // one receive-pack at a time
}

// FullName is owner/name.
func (r *Repo) FullName() string { return r.Owner.Login + "/" + r.Name }

// App is a GitHub App and its secrets.
type App struct {
	ID            int64
	Slug          string
	ClientID      string
	PrivateKeyPEM []byte
	WebhookSecret string
	WebhookURL    string
	HookID        int64
	Permissions   map[string]string
	owner         *Account
	key           *rsa.PrivateKey
	created       time.Time
}

// Installation is an App on an account.
type Installation struct {
	ID        int64
	App       *App
	Account   *Account
	Selected  map[int64]bool // repositories; nil means all
	Suspended time.Time
	created   time.Time
}

var validName = lazyregexp.New(`^[A-Za-z0-9._-]{1,100}$`)

// CreateUser makes a user with a password for git.
func (s *Server) CreateUser(login string) (*Account, error) {
	return s.createAccount(login, "User", "")
}

// CreateOrg makes an organisation; the members may push to and own it.
func (s *Server) CreateOrg(login, plan string, members ...string) (*Account, error) {
	return s.createAccount(login, "Organization", plan, members...)
}

func (s *Server) createAccount(login, kind, plan string, members ...string) (*Account, error) {
	if !validName().MatchString(login) {
		return nil, errors.New("create account: invalid login")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(login)
	if s.accounts[key] != nil {
		return nil, fmt.Errorf("create account: %q exists", login)
	}
	a := &Account{ID: s.nextID(), Login: login, Type: kind, Plan: plan, members: map[string]bool{}, created: s.now()}
	if kind == "User" {
		a.Email = fmt.Sprintf("%d+%s@users.noreply.github.example", a.ID, login)
		a.Password = randomText(s.rng, 24)
	}
	for _, m := range members {
		a.members[strings.ToLower(m)] = true
	}
	s.accounts[key] = a
	return a, nil
}

// CreateRepo makes an empty repository whose default branch is main.
func (s *Server) CreateRepo(owner, name string, private bool) (*Repo, error) {
	if !validName().MatchString(name) || strings.HasSuffix(name, ".git") || strings.Trim(name, ".") == "" {
		return nil, errors.New("create repository: invalid name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.accounts[strings.ToLower(owner)]
	if account == nil {
		return nil, fmt.Errorf("create repository: no account %q", owner)
	}
	r := &Repo{ID: s.nextID(), Owner: account, Name: name, Private: private, DefaultBranch: "main", created: s.now(), pushed: s.now()}
	key := strings.ToLower(r.FullName())
	if s.repos[key] != nil {
		return nil, fmt.Errorf("create repository: %s exists", r.FullName())
	}
	r.Dir = filepath.Join(s.dir, account.Login, name+".git")
	r.CloneURL = s.url + "/" + r.FullName() + ".git"
	err := initRepo(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("create repository: %w", err)
	}
	s.repos[key] = r
	return r, nil
}

func initRepo(dir string) error {
	err := os.MkdirAll(filepath.Dir(dir), 0o700)
	if err != nil {
		return err
	}
	cmd := exec.Command("git", "init", "--quiet", "--bare", "--initial-branch=main", "--template=", dir)
	cmd.Env = serverEnvironment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("git init: %w: %s", err, out)
	}
	config, err := os.OpenFile(filepath.Join(dir, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = config.WriteString(repoConfig)
	return errors.Join(err, config.Close())
}

// repoConfig allows what GitHub allows: pushes, partial clones, objects by id.
const repoConfig = `[http]
	receivepack = true
[uploadpack]
	allowFilter = true
	allowAnySHA1InWant = true
[receive]
	autogc = false
[gc]
	auto = 0
`

// serverEnvironment is what the laboratory's own git commands get.
func serverEnvironment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "LC_ALL=C",
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
}

// AppOptions describes an App. Permissions default to contents and metadata: read.
type AppOptions struct {
	Name        string
	Owner       string
	WebhookURL  string // may be set later with SetWebhook
	Permissions map[string]string
}

// CreateApp makes an App with a fresh RSA key and webhook secret.
func (s *Server) CreateApp(o AppOptions) (*App, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("create App: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := s.accounts[strings.ToLower(o.Owner)]
	if owner == nil {
		return nil, fmt.Errorf("create App: no account %q", o.Owner)
	}
	perms := map[string]string{"contents": "read", "metadata": "read"}
	if o.Permissions != nil {
		perms = maps.Clone(o.Permissions)
		perms["metadata"] = "read"
	}
	a := &App{
		ID: s.nextID(), Slug: strings.ToLower(o.Name), ClientID: "Iv23" + randomText(s.rng, 16),
		PrivateKeyPEM: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		WebhookSecret: randomText(s.rng, 40), WebhookURL: o.WebhookURL, HookID: s.nextID(), Permissions: perms,
		owner: owner, key: key, created: s.now(),
	}
	s.apps[a.ID] = a
	return a, nil
}

// SetWebhook sets the URL that an App's deliveries go to; "" drops them.
func (s *Server) SetWebhook(appID int64, url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[appID]; a != nil {
		a.WebhookURL = url
	}
}

// Install installs an App on an account, for the named repositories or for all
// when none is named, and delivers the installation event.
func (s *Server) Install(appID int64, account string, repos ...string) (*Installation, error) {
	s.mu.Lock()
	app, acc := s.apps[appID], s.accounts[strings.ToLower(account)]
	if app == nil || acc == nil {
		s.mu.Unlock()
		return nil, errors.New("install App: no such App or account")
	}
	in := &Installation{ID: s.nextID(), App: app, Account: acc, created: s.now()}
	for _, name := range repos {
		r := s.repos[strings.ToLower(acc.Login+"/"+name)]
		if r == nil {
			s.mu.Unlock()
			return nil, fmt.Errorf("install App: no repository %q", name)
		}
		if in.Selected == nil {
			in.Selected = map[int64]bool{}
		}
		in.Selected[r.ID] = true
	}
	s.installs[in.ID] = in
	s.mu.Unlock()
	s.SendInstallation(in, "created")
	return in, nil
}

// covers wants s.mu.
func (in *Installation) covers(r *Repo) bool {
	return r.Owner == in.Account && (in.Selected == nil || in.Selected[r.ID])
}

// reposOf wants s.mu.
func (s *Server) reposOf(in *Installation) []*Repo {
	var out []*Repo
	for _, r := range s.repos {
		if in.covers(r) {
			out = append(out, r)
		}
	}
	sortByID(out)
	return out
}

// canWrite wants s.mu.
func (r *Repo) canWrite(a *Account) bool {
	return a != nil && (a == r.Owner || r.Owner.members[strings.ToLower(a.Login)])
}

func nodeID(kind string, id int64) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "0%d:%s%d", len(kind), kind, id))
}
