// Package config reads stanch.yaml.
//
// # What this package promises
//
// The YAML is strict: an unknown or repeated key, a wrong type and a bad value
// are refused with file, line, column and a hint that is an action. The zero
// value of every field works, or [Load] fails with the field's name. What Load
// returns has every default filled in and every path absolute.
//
// # What it never does
//
// It never holds a secret: a secret is a reference to a file or an environment
// variable, read by [Secret.Resolve] when it is needed. It never prints the value
// of a field that refers to one, so a secret that was written into the file by
// mistake does not reach a terminal or a log.
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
	// Database is a postgres:// URL. Defaults to SQLite in DataDir (stanch.db).
	Database Secret `yaml:"database" json:"database,omitzero"`
	// Listen is the address of the webhook endpoint. Defaults to ":8080".
	Listen string `yaml:"listen" json:"listen,omitempty"`
	// AdminListen serves /metrics, /healthz, /readyz and pprof. Defaults to
	// "127.0.0.1:9090". /healthz and /readyz are also on Listen.
	AdminListen string `yaml:"admin_listen" json:"admin_listen,omitempty"`
	// Pprof serves net/http/pprof on AdminListen. Defaults to false.
	Pprof bool `yaml:"pprof" json:"pprof,omitempty"`

	// Log configures the structured log.
	Log Log `yaml:"log" json:"log,omitzero"`
	// GitHub is the App and where GitHub is.
	GitHub GitHub `yaml:"github" json:"github,omitzero"`
	// Secrets says how leaked credentials are sealed.
	Secrets Secrets `yaml:"secrets" json:"secrets,omitzero"`
	// Policy says how far the responder may go on its own.
	Policy Policy `yaml:"policy" json:"policy,omitzero"`
	// Guard holds what must be true before an act.
	Guard Guard `yaml:"guard" json:"guard,omitzero"`
	// Providers are the enrolled providers, by the provider's name in its playbook
	// (aws, github, ...). Defaults to none: everything is reported, nothing is acted on.
	Providers map[string]Provider `yaml:"providers" json:"providers,omitempty"`
	// Egress is the list of hosts that may be reached beyond the playbooks' own.
	Egress Egress `yaml:"egress" json:"egress,omitzero"`
	// Playbooks says where they are.
	Playbooks Playbooks `yaml:"playbooks" json:"playbooks,omitzero"`
	// Scan bounds one scan.
	Scan Scan `yaml:"scan" json:"scan,omitzero"`
	// Trail says when logs are read again.
	Trail Trail `yaml:"trail" json:"trail,omitzero"`
	// Ledger names the log of everything decided and done.
	Ledger Ledger `yaml:"ledger" json:"ledger,omitzero"`

	// Source is the file that it was read from; "" for defaults.
	Source string `yaml:"-" json:"-"`
}

// Secret is a reference to a secret: either a file or an environment variable. The
// value itself is never written in the configuration.
type Secret struct {
	// File is a path whose content, without trailing white space, is the secret. It
	// must not be readable by group or others. A relative path starts at the
	// configuration file's directory. Defaults to none.
	File string `yaml:"file" json:"file,omitempty"`
	// Env is the name of an environment variable that holds the secret. Defaults to
	// none.
	Env string `yaml:"env" json:"env,omitempty"`
}

// Log configures the structured log on standard error.
type Log struct {
	// Level is debug, info, warn or error. Security events are written at every
	// level. Defaults to info.
	Level string `yaml:"level" json:"level,omitempty" jsonschema:"enum=debug,enum=info,enum=warn,enum=error,default=info"`
	// Format is json or text. Defaults to json.
	Format string `yaml:"format" json:"format,omitempty" jsonschema:"enum=json,enum=text,default=json"`
}

// GitHub is the App and where GitHub is.
type GitHub struct {
	// APIURL is the REST root. Defaults to https://api.github.com; on Enterprise
	// Server https://HOST/api/v3.
	APIURL string `yaml:"api_url" json:"api_url,omitempty"`
	// WebURL is where repositories are cloned from. Defaults to https://github.com.
	WebURL string `yaml:"web_url" json:"web_url,omitempty"`
	// AppID is the GitHub App's id. Needed by serve. Defaults to none.
	AppID int64 `yaml:"app_id" json:"app_id,omitempty"`
	// PrivateKey is the App's RSA key in PEM form. Needed by serve. Defaults to none.
	PrivateKey Secret `yaml:"private_key" json:"private_key,omitzero"`
	// WebhookSecret signs deliveries. Needed by serve; at least 8 bytes, better 32. Defaults to
	// none.
	WebhookSecret Secret `yaml:"webhook_secret" json:"webhook_secret,omitzero"`
	// PreviousWebhookSecret is accepted too while the secret is being changed.
	// Defaults to none.
	PreviousWebhookSecret Secret `yaml:"previous_webhook_secret" json:"previous_webhook_secret,omitzero"`
	// TrustedProxies are the addresses or networks (CIDR) of reverse proxies whose
	// X-Forwarded-For is believed when the source of a delivery is recorded.
	// Defaults to none: the address of the connection is recorded.
	TrustedProxies []string `yaml:"trusted_proxies" json:"trusted_proxies,omitempty"`
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
	Mode incident.Mode `yaml:"mode" json:"mode,omitempty" jsonschema:"enum=observe,enum=approve,enum=act,default=observe"`
	// Rules are tried in order; the first that matches decides. Defaults to none.
	Rules []PolicyRule `yaml:"rules" json:"rules,omitempty"`
	// ApprovalTimeout is how long an approval waits. Defaults to 30m.
	ApprovalTimeout Duration `yaml:"approval_timeout" json:"approval_timeout,omitempty"`
	// ApprovalDefault is what happens when it runs out: deny or approve. Defaults to deny.
	ApprovalDefault string `yaml:"approval_default" json:"approval_default,omitempty" jsonschema:"enum=deny,enum=approve,default=deny"`
}

// PolicyRule picks a mode. Empty fields match everything.
type PolicyRule struct {
	// Playbook is a provider, or provider/kind. Defaults to every playbook.
	Playbook string `yaml:"playbook" json:"playbook,omitempty"`
	// Repository is a glob over owner/name, as in Go's path.Match. Defaults to every
	// repository.
	Repository string `yaml:"repository" json:"repository,omitempty"`
	// Visibility of the repository: public, internal, private or unknown. Defaults to
	// every visibility.
	Visibility incident.Visibility `yaml:"visibility" json:"visibility,omitempty" jsonschema:"enum=public,enum=internal,enum=private,enum=unknown"`
	// Mode is what the rule decides: observe, approve or act. It has no default and
	// is required.
	Mode incident.Mode `yaml:"mode" json:"mode" jsonschema:"enum=observe,enum=approve,enum=act"`
}

// Guard holds what must be true before an act.
type Guard struct {
	// NeverTouch lists public ids, accounts, ARNs, logins or fingerprints (globs)
	// that are never acted on. Defaults to none.
	NeverTouch []string `yaml:"never_touch" json:"never_touch,omitempty"`
	// Honeytokens lists public ids or accounts whose use must be reported, never
	// called. Defaults to none.
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
	ForeignAccounts string `yaml:"foreign_accounts" json:"foreign_accounts,omitempty" jsonschema:"enum=report,enum=identify,default=report"`
}

// Provider is one enrolled provider.
type Provider struct {
	// BaseURL replaces the playbook's base_url (private cloud, Enterprise Server,
	// tests). Defaults to the playbook's own.
	BaseURL string `yaml:"base_url" json:"base_url,omitempty"`
	// EndpointURL replaces every AWS service endpoint. Defaults to the SDK's own
	// endpoints.
	EndpointURL string `yaml:"endpoint_url" json:"endpoint_url,omitempty"`
	// Credentials is our own enrolled credential, by part name (AWS:
	// access_key_id, secret_access_key, session_token; GitHub: token). Defaults to
	// none; for AWS the SDK's default chain is then used.
	Credentials map[string]Secret `yaml:"credentials" json:"credentials,omitempty"`
	// Accounts are the AWS accounts that we may act in. Defaults to none.
	Accounts []Account `yaml:"accounts" json:"accounts,omitempty"`
	// Owners are the organisations or logins (GitHub) whose credentials are ours.
	// Defaults to none.
	Owners []string `yaml:"owners" json:"owners,omitempty"`
	// ActOnAnyOwner allows the provider's own finder endpoint for credentials whose
	// owner is not listed. Defaults to false.
	ActOnAnyOwner bool `yaml:"act_on_any_owner" json:"act_on_any_owner,omitempty"`
	// Region is where STS and IAM are called. Defaults to us-east-1.
	Region string `yaml:"region" json:"region,omitempty"`
}

// Account is an enrolled AWS account.
type Account struct {
	// ID is the account's twelve digits, quoted. It has no default and is required.
	ID string `yaml:"id" json:"id" jsonschema:"pattern=^[0-9]{12}$"`
	// Name is shown to people. Defaults to the id.
	Name string `yaml:"name" json:"name,omitempty"`
	// Partition is aws, aws-cn or aws-us-gov. Defaults to the partition in RoleARN, or aws.
	Partition string `yaml:"partition" json:"partition,omitempty"`
	// RoleARN is the role that we assume in the account. Defaults to none: our own
	// credentials act directly, which one account, their own, can do.
	RoleARN string `yaml:"role_arn" json:"role_arn,omitempty"`
	// ExternalID is sent when the role is assumed. Defaults to none.
	ExternalID Secret `yaml:"external_id" json:"external_id,omitzero"`
	// Regions limits the trail. Defaults to the Regions that account:ListRegions says
	// are enabled.
	Regions []string `yaml:"regions" json:"regions,omitempty"`
	// Owner is told in the report. Defaults to none.
	Owner string `yaml:"owner" json:"owner,omitempty"`
}

// Egress is the list of hosts that may be reached beyond the playbooks' own.
type Egress struct {
	// Allow holds host or host:port. Only hosts listed here may have a private or
	// loopback address, a port other than 443, or plain http. Defaults to none.
	Allow []string `yaml:"allow" json:"allow,omitempty"`
}

// Playbooks says where they are.
type Playbooks struct {
	// Dir holds YAML files that replace or add to the embedded ones, by provider.
	// Defaults to none.
	Dir string `yaml:"dir" json:"dir,omitempty"`
}

// Scan bounds one scan.
type Scan struct {
	// Rules is a gitleaks TOML file used beside the built-in rules, or a directory of
	// *.toml files, with *.json files that say what their secrets are. SIGHUP reads
	// them again. Defaults to none.
	Rules string `yaml:"rules" json:"rules,omitempty"`
	// Timeout for the fetch and scan of one push. Defaults to 10m.
	Timeout Duration `yaml:"timeout" json:"timeout,omitempty"`
	// MaxPackBytes bounds what one push may bring. Defaults to 2 GiB.
	MaxPackBytes int64 `yaml:"max_pack_bytes" json:"max_pack_bytes,omitempty"`
	// MaxBlobBytes: larger blobs are scanned up to it and marked partial. Defaults to 32 MiB.
	MaxBlobBytes int64 `yaml:"max_blob_bytes" json:"max_blob_bytes,omitempty"`
	// Workers is how many pushes are fetched and scanned at once. Defaults to four for
	// each CPU, at least 8: a fetch mostly waits.
	Workers int `yaml:"workers" json:"workers,omitempty"`
	// SweepEvery is how often all repositories of each installation are looked at,
	// beside pushes: what no delivery told of is found so. The first sweep opens an
	// incident for every old leak. Defaults to never; 24h is a good choice.
	SweepEvery Duration `yaml:"sweep_every" json:"sweep_every,omitempty"`
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
