package githubapp

import (
	"context"
	"fmt"

	"github.com/google/go-github/v60/github"

	"stanch/internal/secret"
)

// Alert is a secret scanning alert with its secret, which deliveries do not carry
// (permission secret_scanning_alerts: read).
type Alert struct {
	Secret    secret.Value
	Type      string // GitHub's secret type
	Locations []AlertLocation
}

// AlertLocation is a place in a commit that an alert names.
type AlertLocation struct {
	Commit string
	Path   string
	Line   int
	Column int
}

// Alert reads one alert and its locations in commits. Other kinds of location
// (issues, discussions) are left out.
func (a *App) Alert(ctx context.Context, installation int64, owner, repo string, number int64) (Alert, error) {
	if !validOwner(owner) || !validRepo(repo) {
		return Alert{}, fmt.Errorf("read alert: not a GitHub name")
	}
	c, err := a.Client(installation)
	if err != nil {
		return Alert{}, err
	}
	got, _, err := c.SecretScanning.GetAlert(ctx, owner, repo, number)
	if err != nil {
		return Alert{}, Reduce("read alert", err)
	}
	out := Alert{Secret: secret.New(got.GetSecret()), Type: keep(got.GetSecretType(), wordForm())}
	err = pages("read alert locations", func(o github.ListOptions) (*github.Response, error) {
		list, resp, err := c.SecretScanning.ListLocationsForAlert(ctx, owner, repo, number, &o)
		for _, l := range list {
			d := l.GetDetails()
			if l.GetType() != "commit" || d == nil || !hexID(d.GetCommitSHA()) {
				continue
			}
			out.Locations = append(out.Locations, AlertLocation{Commit: d.GetCommitSHA(), Path: keepText(d.GetPath(), 4096), Line: d.GetStartline(), Column: d.GetStartColumn()})
		}
		return resp, err
	})
	if err != nil {
		return Alert{}, err
	}
	return out, nil
}

// hexID reports whether s is an object id, SHA-1 or SHA-256.
func hexID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
