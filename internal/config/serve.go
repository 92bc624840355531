package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"stanch/internal/secret"
)

// DatabaseURL resolves the database: the postgres:// URL that was referred to, or
// sqlite: and the file in DataDir.
func (c *Config) DatabaseURL() (secret.Value, error) {
	if c.Database.IsZero() {
		return secret.New("sqlite:" + filepath.Join(c.DataDir, "stanch.db")), nil
	}
	v, err := c.Database.Resolve()
	if err != nil {
		return secret.Value{}, inField(err, c.Source, "database")
	}
	u, err := url.Parse(v.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") || u.Hostname() == "" && u.Query().Get("host") == "" {
		// A host parameter names a Unix socket's directory, as libpq has it.
		// The cause is left out: it quotes the URL, which holds a password.
		return secret.Value{}, &Error{File: c.Source, Field: "database", Msg: "does not refer to a postgres:// URL", Hint: "write postgres://USER:PASSWORD@HOST/NAME to the file or variable, or remove database to use SQLite"}
	}
	return v, nil
}

// minWebhookSecret is the shortest webhook secret that is accepted, in bytes.
const minWebhookSecret = 8

// ServeSecrets are the resolved secrets that the service cannot start without.
type ServeSecrets struct {
	PrivateKey secret.Value
	Webhook    []secret.Value // the current one first
}

// ServeSecrets checks that everything serve needs is there, and resolves it. All
// that is missing is told at once.
func (c *Config) ServeSecrets() (ServeSecrets, error) {
	var out ServeSecrets
	var errs Errors
	missing := func(field, hint string) {
		errs = append(errs, &Error{File: c.Source, Field: field, Msg: "is needed by serve", Hint: hint})
	}
	resolve := func(field string, s Secret) secret.Value {
		v, err := s.Resolve()
		if err != nil {
			errs = append(errs, inField(err, c.Source, field))
		}
		return v
	}
	if c.GitHub.AppID == 0 {
		missing("github.app_id", "write the App id from the App's settings page")
	}
	if c.GitHub.PrivateKey.IsZero() {
		missing("github.private_key", "generate a private key on the App's settings page and refer to it with file:")
	}
	if c.GitHub.WebhookSecret.IsZero() {
		missing("github.webhook_secret", "make one with: openssl rand -hex 32; set it on the App's settings page too")
	}
	out.PrivateKey = resolve("github.private_key", c.GitHub.PrivateKey)
	for _, w := range []struct {
		field string
		ref   Secret
	}{
		{"github.webhook_secret", c.GitHub.WebhookSecret},
		{"github.previous_webhook_secret", c.GitHub.PreviousWebhookSecret},
	} {
		v := resolve(w.field, w.ref)
		if v.IsZero() {
			continue
		}
		if v.Len() < minWebhookSecret {
			errs = append(errs, &Error{File: c.Source, Field: w.field, Msg: fmt.Sprintf("is shorter than %d bytes", minWebhookSecret), Hint: "make one with: openssl rand -hex 32; set it on the App's settings page too"})
			continue
		}
		out.Webhook = append(out.Webhook, v)
	}
	if len(errs) > 0 {
		return ServeSecrets{}, errs
	}
	return out, nil
}

// inField says which field an error of Resolve is about.
func inField(err error, file, field string) *Error {
	problems := Problems(err)
	if len(problems) == 0 {
		return &Error{File: file, Field: field, Msg: strings.TrimSpace(err.Error())}
	}
	e := *problems[0]
	e.File, e.Field = file, field
	return &e
}
