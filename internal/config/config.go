// Package config reads stanch.yaml: strict YAML, unknown keys refused with line
// and column, secrets only by file or environment reference.
//
// The zero value of every field works, or [Load] fails with the field's name.
package config

import (
	"time"

	"stanch/responder/incident"
)

// Config is the whole of stanch.yaml.
type Config struct {
	// DataDir holds the database, keys, reports and the lock file. Created with
	// mode 0700. Defaults to "./stanch-data".
	DataDir string `yaml:"data_dir" json:"data_dir,omitempty"`
	// Database is a postgres:// URL. Defaults to SQLite in DataDir.
	Database Secret `yaml:"database" json:"database,omitzero"`
	// Listen is the address of the webhook endpoint. Defaults to ":8080".
	Listen string `yaml:"listen" json:"listen,omitempty"`
	// AdminListen serves /metrics, /healthz, /readyz and pprof. Defaults to
	// "127.0.0.1:9090". /healthz and /readyz are also on Listen.
	AdminListen string `yaml:"admin_listen" json:"admin_listen,omitempty"`
	// Pprof serves net/http/pprof on AdminListen. Defaults to false.
	Pprof bool `yaml:"pprof" json:"pprof,omitempty"`

	Log       Log                 `yaml:"log" json:"log,omitzero"`
	GitHub    GitHub              `yaml:"github" json:"github,omitzero"`
	Secrets   Secrets             `yaml:"secrets" json:"secrets,omitzero"`
	Policy    Policy              `yaml:"policy" json:"policy,omitzero"`
	Guard     Guard               `yaml:"guard" json:"guard,omitzero"`
	Providers map[string]Provider `yaml:"providers" json:"providers,omitempty"`
	Egress    Egress              `yaml:"egress" json:"egress,omitzero"`
	Playbooks Playbooks           `yaml:"playbooks" json:"playbooks,omitzero"`
	Scan      Scan                `yaml:"scan" json:"scan,omitzero"`
	Trail     Trail               `yaml:"trail" json:"trail,omitzero"`
	Ledger    Ledger              `yaml:"ledger" json:"ledger,omitzero"`

	// Source is the file that it was read from; "" for defaults.
	Source string `yaml:"-" json:"-"`
}

// Secret is a reference to a secret: exactly one of File and Env. The value
// itself is never written in the configuration.
type Secret struct {
	// File is a path whose content, without trailing white space, is the secret.
	File string `yaml:"file" json:"file,omitempty"`
	// Env is the name of an environment variable that holds the secret.
	Env string `yaml:"env" json:"env,omitempty"`
}

// Log configures the structured log on standard error.
type Log struct {
	// Level is debug, info, warn or error. Security events are written at every
	// level. Defaults to info.
	Level string `yaml:"level" json:"level,omitempty"`
	// Format is json or text. Defaults to json.
	Format string `yaml:"format" json:"format,omitempty"`
}

// GitHub is the App and where GitHub is.
type GitHub struct {
	// APIURL is the REST root. Defaults to https://api.github.com; on Enterprise
	// Server https://HOST/api/v3.
	APIURL string `yaml:"api_url" json:"api_url,omitempty"`
	// WebURL is where repositories are cloned from. Defaults to https://github.com.
	WebURL string `yaml:"web_url" json:"web_url,omitempty"`
	// AppID is the GitHub App's id. Needed by serve.
	AppID int64 `yaml:"app_id" json:"app_id,omitempty"`
	// PrivateKey is the App's RSA key in PEM form.
	PrivateKey Secret `yaml:"private_key" json:"private_key,omitzero"`
	// WebhookSecret signs deliveries. Needed by serve.
	WebhookSecret Secret `yaml:"webhook_secret" json:"webhook_secret,omitzero"`
	// PreviousWebhookSecret is accepted too while the secret is being changed.
	PreviousWebhookSecret Secret `yaml:"previous_webhook_secret" json:"previous_webhook_secret,omitzero"`
}

// Secrets says how leaked credentials are sealed while a step needs them.
type Secrets struct {
	// Keeper is a gocloud.dev/secrets URL: awskms://, gcpkms://, azurekeyvault://,
	// or file:///path of a local 32-byte key. Defaults to file://DATA_DIR/seal.key,
	// created with mode 0600.
	Keeper string `yaml:"keeper" json:"keeper,omitempty"`
}

// Policy says how far the responder may go on its own.
type Policy struct {
	// Mode is used where no rule matches. Defaults to observe.
	Mode incident.Mode `yaml:"mode" json:"mode,omitempty"`
	// Rules are tried in order; the first that matches decides.
	Rules []PolicyRule `yaml:"rules" json:"rules,omitempty"`
	// ApprovalTimeout is how long an approval waits. Defaults to 30m.
	ApprovalTimeout Duration `yaml:"approval_timeout" json:"approval_timeout,omitempty"`
	// ApprovalDefault is what happens when it runs out: deny or approve. Defaults to deny.
	ApprovalDefault string `yaml:"approval_default" json:"approval_default,omitempty"`
}

// PolicyRule picks a mode. Empty fields match everything.
type PolicyRule struct {
	Playbook   string              `yaml:"playbook" json:"playbook,omitempty"`     // provider, or provider/kind
	Repository string              `yaml:"repository" json:"repository,omitempty"` // glob over owner/name, as path.Match
	Visibility incident.Visibility `yaml:"visibility" json:"visibility,omitempty"`
	Mode       incident.Mode       `yaml:"mode" json:"mode"`
}

// Guard holds what must be true before an act.
type Guard struct {
	// NeverTouch lists public ids, accounts, ARNs, logins or fingerprints (globs)
	// that are never acted on.
	NeverTouch []string `yaml:"never_touch" json:"never_touch,omitempty"`
	// Honeytokens lists public ids or accounts whose use must be reported, never called.
	Honeytokens []string `yaml:"honeytokens" json:"honeytokens,omitempty"`
	// MaxActsPerHour stops irreversible acts beyond it, for each provider account.
	// Defaults to 20.
	MaxActsPerHour int `yaml:"max_acts_per_hour" json:"max_acts_per_hour,omitempty"`
	// MaxVerdictsPerHour bounds identify calls for each provider. Defaults to 600.
	MaxVerdictsPerHour int `yaml:"max_verdicts_per_hour" json:"max_verdicts_per_hour,omitempty"`
	// ActOnFixtures allows acts on findings in tests, documentation and examples
	// once they are proved live. Defaults to true: a live key is a live key.
	ActOnFixtures *bool `yaml:"act_on_fixtures" json:"act_on_fixtures,omitempty"`
	// ForeignAccounts says what to do with credentials of accounts that are not
	// enrolled: report (default) or identify.
	ForeignAccounts string `yaml:"foreign_accounts" json:"foreign_accounts,omitempty"`
}

// Provider is one enrolled provider.
type Provider struct {
	// BaseURL replaces the playbook's base_url (private cloud, Enterprise Server, tests).
	BaseURL string `yaml:"base_url" json:"base_url,omitempty"`
	// EndpointURL replaces every AWS service endpoint.
	EndpointURL string `yaml:"endpoint_url" json:"endpoint_url,omitempty"`
	// Credentials is our own enrolled credential, by part name (AWS:
	// access_key_id, secret_access_key, session_token; GitHub: token). For AWS,
	// without it, the SDK's default chain is used.
	Credentials map[string]Secret `yaml:"credentials" json:"credentials,omitempty"`
	// Accounts are the AWS accounts that we may act in.
	Accounts []Account `yaml:"accounts" json:"accounts,omitempty"`
	// Owners are the organisations or logins (GitHub) whose credentials are ours.
	Owners []string `yaml:"owners" json:"owners,omitempty"`
	// ActOnAnyOwner allows the provider's own finder endpoint for credentials whose
	// owner is not listed. Defaults to false.
	ActOnAnyOwner bool `yaml:"act_on_any_owner" json:"act_on_any_owner,omitempty"`
	// Region is where STS and IAM are called. Defaults to us-east-1.
	Region string `yaml:"region" json:"region,omitempty"`
}

// Account is an enrolled AWS account.
type Account struct {
	ID         string `yaml:"id" json:"id"`
	Name       string `yaml:"name" json:"name,omitempty"`
	Partition  string `yaml:"partition" json:"partition,omitempty"` // defaults to aws
	RoleARN    string `yaml:"role_arn" json:"role_arn"`
	ExternalID Secret `yaml:"external_id" json:"external_id,omitzero"`
	// Regions limits the trail; empty asks account:ListRegions.
	Regions []string `yaml:"regions" json:"regions,omitempty"`
	// Owner is told in the report.
	Owner string `yaml:"owner" json:"owner,omitempty"`
}

// Egress is the list of hosts that may be reached beyond the playbooks' own.
type Egress struct {
	// Allow holds host or host:port. Only hosts listed here may have a private or
	// loopback address, a port other than 443, or plain http.
	Allow []string `yaml:"allow" json:"allow,omitempty"`
}

// Playbooks says where they are.
type Playbooks struct {
	// Dir holds YAML files that replace or add to the embedded ones, by provider.
	Dir string `yaml:"dir" json:"dir,omitempty"`
}

// Scan bounds one scan.
type Scan struct {
	// Rules is a gitleaks TOML file used beside the built-in rules.
	Rules string `yaml:"rules" json:"rules,omitempty"`
	// Timeout for the fetch and scan of one push. Defaults to 10m.
	Timeout Duration `yaml:"timeout" json:"timeout,omitempty"`
	// MaxPackBytes bounds what one push may bring. Defaults to 2 GiB.
	MaxPackBytes int64 `yaml:"max_pack_bytes" json:"max_pack_bytes,omitempty"`
	// MaxBlobBytes: larger blobs are scanned up to it and marked partial. Defaults to 32 MiB.
	MaxBlobBytes int64 `yaml:"max_blob_bytes" json:"max_blob_bytes,omitempty"`
	// Workers is how many pushes are scanned at once. Defaults to the number of CPUs.
	Workers int `yaml:"workers" json:"workers,omitempty"`
}

// Trail says when logs are read again.
type Trail struct {
	// Polls are the times after containment at which the trail is read again; the
	// report is final after the last. Defaults to 0s, 2m, 5m, 10m, 15m, 30m, 60m.
	Polls []Duration `yaml:"polls" json:"polls,omitempty"`
	// Lookback is how far before exposure the trail starts. Defaults to 2160h (90 days).
	Lookback Duration `yaml:"lookback" json:"lookback,omitempty"`
}

// Ledger names the log.
type Ledger struct {
	// Origin is the checkpoint's origin line. Defaults to "stanch/" and the host's name.
	Origin string `yaml:"origin" json:"origin,omitempty"`
	// Interval between signed checkpoints. Defaults to 10s.
	Interval Duration `yaml:"interval" json:"interval,omitempty"`
}

// Duration is a time.Duration written as in Go ("15s").
type Duration time.Duration
