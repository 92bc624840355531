package githubapp

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is a normalised webhook payload: one of *[Push], *[Public],
// *[Installation], *[InstallationRepositories], *[SecretScanningAlert], *[Ping].
// All of them survive a round trip through JSON (see [Restore]).
type Event interface {
	// Name is the event's name, as in X-GitHub-Event.
	Name() string
	action() string
	installation() int64
}

// The names of the events that are handled.
const (
	EventPush                     = "push"
	EventPublic                   = "public"
	EventInstallation             = "installation"
	EventInstallationRepositories = "installation_repositories"
	EventSecretScanningAlert      = "secret_scanning_alert"
	EventPing                     = "ping"
)

// Handled reports whether an event is decoded and stored. Others are answered 202
// and dropped.
func Handled(event string) bool { return newEvent(event) != nil }

func newEvent(name string) Event {
	switch name {
	case EventPush:
		return &Push{}
	case EventPublic:
		return &Public{}
	case EventInstallation:
		return &Installation{}
	case EventInstallationRepositories:
		return &InstallationRepositories{}
	case EventSecretScanningAlert:
		return &SecretScanningAlert{}
	case EventPing:
		return &Ping{}
	}
	return nil
}

// Restore reads a normalised payload back, as [Delivery].Payload holds it.
func Restore(event string, payload []byte) (Event, error) {
	e := newEvent(event)
	if e == nil {
		return nil, fmt.Errorf("restore event: unknown event %.64q", event)
	}
	err := json.Unmarshal(payload, e)
	if err != nil {
		return nil, fmt.Errorf("restore %s event: %w", event, err)
	}
	return e, nil
}

// Repository is what an event says about a repository. Owner, Name and FullName
// have the form of GitHub names (see [CloneURL]).
type Repository struct {
	ID            int64     `json:"id"`
	FullName      string    `json:"full_name"`
	Owner         string    `json:"owner"`
	Name          string    `json:"name"`
	Private       bool      `json:"private"`
	Visibility    string    `json:"visibility"` // public, internal or private; from Private where GitHub does not say
	DefaultBranch string    `json:"default_branch,omitempty"`
	PushedAt      time.Time `json:"pushed_at,omitzero"`
	Fork          bool      `json:"fork,omitempty"`
	Archived      bool      `json:"archived,omitempty"`
}

// Account is a user, an organisation or a bot.
type Account struct {
	ID    int64  `json:"id,omitempty"`
	Login string `json:"login,omitempty"`
	Type  string `json:"type,omitempty"` // User, Organization, Bot
}

// Commit is a commit that a push lists.
type Commit struct {
	ID        string    `json:"id"`
	Timestamp time.Time `json:"timestamp,omitzero"` // as the commit claims
	Distinct  bool      `json:"distinct,omitempty"` // not on another ref before
}

// MaxListedCommits is how many commits a push payload lists at most
// (https://docs.github.com/en/webhooks/webhook-events-and-payloads#push).
const MaxListedCommits = 2048

// Push is a change of one ref.
type Push struct {
	InstallationID int64      `json:"installation_id,omitempty"`
	Repository     Repository `json:"repository"`
	Ref            string     `json:"ref"` // full ref name
	Before         string     `json:"before"`
	After          string     `json:"after"`
	Created        bool       `json:"created,omitempty"`
	Deleted        bool       `json:"deleted,omitempty"`
	Forced         bool       `json:"forced,omitempty"`
	BaseRef        string     `json:"base_ref,omitempty"`
	Commits        []Commit   `json:"commits,omitempty"` // oldest first
	// Truncated says that Commits does not hold all that the push brought;
	// TruncatedWhy says how that is known.
	Truncated    bool      `json:"truncated,omitempty"`
	TruncatedWhy string    `json:"truncated_why,omitempty"`
	Pusher       string    `json:"pusher,omitempty"` // login
	Sender       Account   `json:"sender,omitzero"`
	HeadCommit   string    `json:"head_commit,omitempty"` // of an annotated tag: the commit it points at
	HeadAt       time.Time `json:"head_at,omitzero"`      // as the head commit claims
}

// Public is a private repository that was published: all of its history is exposed.
type Public struct {
	InstallationID int64      `json:"installation_id,omitempty"`
	Repository     Repository `json:"repository"`
	Sender         Account    `json:"sender,omitzero"`
}

// RepositoryRef is a repository as installation events list it.
type RepositoryRef struct {
	ID       int64  `json:"id"`
	FullName string `json:"full_name"`
	Private  bool   `json:"private,omitempty"`
}

// Installation is a change of the App's installation on an account.
type Installation struct {
	Action              string            `json:"action"` // created, deleted, suspend, unsuspend, new_permissions_accepted
	InstallationID      int64             `json:"installation_id"`
	Account             Account           `json:"account"`
	RepositorySelection string            `json:"repository_selection,omitempty"` // all, selected
	Permissions         map[string]string `json:"permissions,omitempty"`
	Events              []string          `json:"events,omitempty"`
	Repositories        []RepositoryRef   `json:"repositories,omitempty"`
	Sender              Account           `json:"sender,omitzero"`
}

// InstallationRepositories is a change of the repositories of an installation.
type InstallationRepositories struct {
	Action         string          `json:"action"` // added, removed
	InstallationID int64           `json:"installation_id"`
	Account        Account         `json:"account"`
	Added          []RepositoryRef `json:"added,omitempty"`
	Removed        []RepositoryRef `json:"removed,omitempty"`
	Sender         Account         `json:"sender,omitzero"`
}

// SecretScanningAlert is GitHub's own finding. The payload's secret, where it has
// one, is dropped: it is read from the repository like any other.
type SecretScanningAlert struct {
	Action                string     `json:"action"`
	InstallationID        int64      `json:"installation_id,omitempty"`
	Repository            Repository `json:"repository"`
	Number                int64      `json:"number"`
	SecretType            string     `json:"secret_type"`
	SecretTypeDisplayName string     `json:"secret_type_display_name,omitempty"`
	State                 string     `json:"state,omitempty"` // open, resolved
	Resolution            string     `json:"resolution,omitempty"`
	Validity              string     `json:"validity,omitempty"` // active, inactive, unknown
	PubliclyLeaked        bool       `json:"publicly_leaked,omitempty"`
	HTMLURL               string     `json:"html_url,omitempty"`
	CreatedAt             time.Time  `json:"created_at,omitzero"`
	Sender                Account    `json:"sender,omitzero"`
}

// Ping is GitHub's greeting after a webhook was set up.
type Ping struct {
	HookID int64    `json:"hook_id"`
	AppID  int64    `json:"app_id,omitempty"`
	Events []string `json:"events,omitempty"`
}

// Name implements [Event].
func (*Push) Name() string { return EventPush }

// Name implements [Event].
func (*Public) Name() string { return EventPublic }

// Name implements [Event].
func (*Installation) Name() string { return EventInstallation }

// Name implements [Event].
func (*InstallationRepositories) Name() string { return EventInstallationRepositories }

// Name implements [Event].
func (*SecretScanningAlert) Name() string { return EventSecretScanningAlert }

// Name implements [Event].
func (*Ping) Name() string { return EventPing }

func (*Push) action() string                       { return "" }
func (*Public) action() string                     { return "" }
func (e *Installation) action() string             { return e.Action }
func (e *InstallationRepositories) action() string { return e.Action }
func (e *SecretScanningAlert) action() string      { return e.Action }
func (*Ping) action() string                       { return "" }

func (e *Push) installation() int64                     { return e.InstallationID }
func (e *Public) installation() int64                   { return e.InstallationID }
func (e *Installation) installation() int64             { return e.InstallationID }
func (e *InstallationRepositories) installation() int64 { return e.InstallationID }
func (e *SecretScanningAlert) installation() int64      { return e.InstallationID }
func (*Ping) installation() int64                       { return 0 }
