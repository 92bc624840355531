package githubapp

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// Need is a permission of the App, with its reason.
type Need struct {
	Permission string // GitHub's name of it in the API
	Access     string // read
	Reason     string
	Optional   bool // Stanch works without it, and does less
}

// Needed lists every permission that Stanch uses; all of them only read.
func Needed() []Need {
	return []Need{
		{"contents", "read", "receive pushes and fetch exactly the objects that they brought", false},
		{"metadata", "read", "see which repositories exist and whether they are public; GitHub requires it of every App", false},
		{"secret_scanning_alerts", "read", "hear of what GitHub's own scanner finds and join it to the same incident", true},
		{"organization_administration", "read", "search the organisation's audit log for what a leaked token did (GitHub Enterprise Cloud)", true},
	}
}

// NeededEvent is an event that the App must be subscribed to, with its reason.
type NeededEvent struct {
	Event    string
	Reason   string
	Optional bool
}

// NeededEvents lists the events to subscribe to. GitHub sends installation,
// installation_repositories and ping without subscription.
func NeededEvents() []NeededEvent {
	return []NeededEvent{
		{EventPush, "scan what was pushed", false},
		{EventPublic, "scan the history of a repository that was made public", false},
		{EventSecretScanningAlert, "hear of what GitHub's own scanner finds", true},
	}
}

// about is the App as GitHub describes it to itself.
type about struct {
	Slug        string            `json:"slug"`
	Permissions map[string]string `json:"permissions"`
	Events      []string          `json:"events"`
}

func (a *App) about(ctx context.Context) (about, http.Header, error) {
	const op = "read the app"
	req, err := a.asApp.NewRequest(http.MethodGet, "app", nil)
	if err != nil {
		return about{}, nil, Reduce(op, err)
	}
	var out about
	resp, err := a.asApp.Do(ctx, req, &out)
	if err != nil {
		return about{}, nil, Reduce(op, err)
	}
	return out, resp.Header, nil
}

// Permissions gives what the App was granted and the events that it is subscribed to.
func (a *App) Permissions(ctx context.Context) (granted map[string]string, events []string, err error) {
	got, _, err := a.about(ctx)
	if err != nil {
		return nil, nil, err
	}
	return got.Permissions, got.Events, nil
}

// Health is what [App.Check] found.
type Health struct {
	Slug string
	// MissingPermissions and MissingEvents are needed and not there; optional ones too.
	MissingPermissions []Need
	MissingEvents      []NeededEvent
	// Excess are permissions that Stanch has no use for, with their access.
	Excess map[string]string
	// ClockSkew is GitHub's clock less ours, to the second; 0 when it did not tell.
	// Beyond a minute GitHub refuses the App's tokens.
	ClockSkew time.Duration
}

// Check compares what the App was granted with what is needed.
func (a *App) Check(ctx context.Context) (Health, error) {
	got, head, err := a.about(ctx)
	if err != nil {
		return Health{}, err
	}
	h := Health{Slug: keep(got.Slug, wordForm()), Excess: map[string]string{}}
	for k, v := range got.Permissions {
		if wordForm().MatchString(k) && wordForm().MatchString(v) {
			h.Excess[k] = v
		}
	}
	for _, n := range Needed() {
		switch got.Permissions[n.Permission] {
		case "":
			h.MissingPermissions = append(h.MissingPermissions, n)
		case n.Access:
			delete(h.Excess, n.Permission)
		}
	}
	for _, n := range NeededEvents() {
		if !slices.Contains(got.Events, n.Event) {
			h.MissingEvents = append(h.MissingEvents, n)
		}
	}
	date, err := http.ParseTime(head.Get("Date"))
	if err == nil {
		h.ClockSkew = date.Sub(a.o.Clock()).Round(time.Second)
	}
	return h, nil
}
