package act_test

import (
	"context"
	"fmt"

	"stanch/internal/githubapp"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/secret"
)

// mint takes an installation token as a running App would; the laboratory may
// fail now and then.
func mint(ctx context.Context, lab *labgithub.Server, app *labgithub.App, in *labgithub.Installation) (string, error) {
	a, err := githubapp.New(githubapp.Options{APIURL: lab.APIURL(), WebURL: lab.URL(), AppID: app.ID, PrivateKey: secret.FromBytes(app.PrivateKeyPEM)})
	if err != nil {
		return "", err
	}
	for range 20 {
		var v secret.Value
		v, err = a.CloneToken(ctx, in.ID, "acme", "shop")
		if err == nil {
			return v.Reveal(), nil
		}
	}
	return "", fmt.Errorf("mint token: %w", err)
}
