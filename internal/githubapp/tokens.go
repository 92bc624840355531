package githubapp

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/google/go-github/v60/github"

	"stanch/internal/secret"
)

// tokenMargin is how long before its end a cached token is no longer given out:
// a fetch that starts with it must be able to end with it.
const tokenMargin = 5 * time.Minute

// maxTokens bounds the cache of clone tokens.
const maxTokens = 4096

type tokenKey struct {
	installation int64
	repository   string // owner/name in lower case
}

// cloneToken is one entry of the cache; its lock is held while the token is asked
// for, so that many pushes to one repository ask once.
type cloneToken struct {
	mu      sync.Mutex
	value   secret.Value
	expires time.Time
}

func (t *cloneToken) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value.Destroy()
	t.expires = time.Time{}
}

// CloneToken gives a token that can read the contents of one repository and nothing
// else. It is cached until five minutes before it ends. The caller may destroy it.
func (a *App) CloneToken(ctx context.Context, installation int64, owner, repo string) (secret.Value, error) {
	const op = "make clone token"
	if installation <= 0 {
		return secret.Value{}, errors.New(op + ": no installation id")
	}
	if !validOwner(owner) || !validRepo(repo) {
		return secret.Value{}, errors.New(op + ": not a GitHub name")
	}
	t := a.tokenEntry(tokenKey{installation, strings.ToLower(owner + "/" + repo)})
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.value.IsZero() && a.o.Clock().Before(t.expires.Add(-tokenMargin)) {
		return secret.New(t.value.Reveal()), nil
	}
	got, _, err := a.asApp.Apps.CreateInstallationToken(ctx, installation, &github.InstallationTokenOptions{
		Repositories: []string{repo},
		Permissions:  &github.InstallationPermissions{Contents: github.String("read")},
	})
	if err != nil {
		return secret.Value{}, Reduce(op, err)
	}
	if got.GetToken() == "" {
		return secret.Value{}, errors.New(op + ": github gave no token")
	}
	for _, r := range got.Repositories {
		// The request names the repository alone; the owner is the installation's.
		if !strings.EqualFold(r.GetFullName(), owner+"/"+repo) {
			return secret.Value{}, errors.New(op + ": the installation belongs to another owner")
		}
	}
	t.value.Destroy()
	t.value, t.expires = secret.New(got.GetToken()), got.GetExpiresAt().Time
	return secret.New(t.value.Reveal()), nil
}

// tokenEntry finds or makes a cache entry; a full cache loses what has expired, and
// else an entry that nobody is using.
func (a *App) tokenEntry(k tokenKey) *cloneToken {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t, ok := a.tokens[k]; ok {
		return t
	}
	if len(a.tokens) >= maxTokens {
		now, freed := a.o.Clock(), 0
		for key, t := range a.tokens {
			if !t.mu.TryLock() {
				continue
			}
			if freed == 0 || !now.Before(t.expires) {
				t.value.Destroy()
				delete(a.tokens, key)
				freed++
			}
			t.mu.Unlock()
		}
	}
	t := &cloneToken{}
	a.tokens[k] = t
	return t
}
