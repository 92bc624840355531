// Package playbooks parses, lints and explains playbooks: one YAML file per
// provider that says, as data, how its credentials are identified, contained,
// proved dead and traced.
//
// # What this package promises
//
// A playbook that [Load] returns passed [Lint]: no act without an exact binding,
// none irreversible before a reversible one without a written reason, no
// containment without a proof, no identify that writes, no unknown field, no
// expression that does not type-check. Complaints carry file, line and column.
//
// # What it never does
//
// It knows no HTTP and performs nothing; package responder/act does.
package playbooks

// Playbook is one provider's file.
type Playbook struct {
	Provider string   `yaml:"provider" json:"provider"`
	Title    string   `yaml:"title" json:"title"`
	Hosts    []string `yaml:"hosts" json:"hosts"` // egress: every host that its requests may reach; "*." prefix allowed
	BaseURL  string   `yaml:"base_url,omitempty" json:"base_url,omitempty"`
	// EgressGuard declares that a host is taken out of the leak itself
	// (${part.NAME} as the host of base_url). Such a host is reached only when
	// the operator listed it in egress.allow.
	EgressGuard bool         `yaml:"egress_guard,omitempty" json:"egress_guard,omitempty"`
	Credentials []Credential `yaml:"credentials" json:"credentials"`
	// Source is where it was read from: "embedded:aws.yaml" or a file path.
	Source string `yaml:"-" json:"-"`
}

// Credential is one kind of credential of a provider.
type Credential struct {
	Kind              string   `yaml:"kind" json:"kind"`
	Title             string   `yaml:"title" json:"title"`
	Rules             []string `yaml:"rules,omitempty" json:"rules,omitempty"`                             // gitleaks' and our rule ids
	GitHubSecretTypes []string `yaml:"github_secret_types,omitempty" json:"github_secret_types,omitempty"` // as in secret_scanning_alert
	// Prefixes tell kinds apart that share a rule: the value (of the first part)
	// starts with one of them. Needed when two kinds take the same rule.
	Prefixes []string `yaml:"prefixes,omitempty" json:"prefixes,omitempty"`
	Parts    []Part   `yaml:"parts" json:"parts"`
	Identify *Call    `yaml:"identify,omitempty" json:"identify,omitempty"`
	Contain  []Action `yaml:"contain,omitempty" json:"contain,omitempty"` // in this order
	Hold     Duration `yaml:"hold,omitempty" json:"hold,omitempty"`       // hold-down after containment
	Prove    *Prove   `yaml:"prove,omitempty" json:"prove,omitempty"`
	Trail    []Trail  `yaml:"trail,omitempty" json:"trail,omitempty"`
	Rotate   *Rotate  `yaml:"rotate,omitempty" json:"rotate,omitempty"`
	Report   Notes    `yaml:"report,omitempty" json:"report,omitempty"`
	Person   []string `yaml:"person,omitempty" json:"person,omitempty"` // steps for a human
	// Provider and Hosts are filled in by Load from the file.
	Provider string   `yaml:"-" json:"-"`
	Hosts    []string `yaml:"-" json:"-"`
	BaseURL  string   `yaml:"-" json:"-"`
}

// Part is one value of a credential.
type Part struct {
	Name     string `yaml:"name" json:"name"`
	Required bool   `yaml:"required,omitempty" json:"required,omitempty"` // identify cannot run without it
	Public   bool   `yaml:"public,omitempty" json:"public,omitempty"`     // an identifier, no secret
}

// Call is one question to a provider: either a verb of a driver (Uses) or an
// HTTP request as data, judged by CEL expressions over status (int), headers
// (map of lower-case name to string) and body (decoded JSON, dyn).
type Call struct {
	Uses    string   `yaml:"uses,omitempty" json:"uses,omitempty"`                             // "aws.get_caller_identity"; empty for Request
	With    string   `yaml:"with" json:"with" jsonschema:"enum=leaked,enum=admin,enum=anyone"` // leaked, admin, anyone
	Request *Request `yaml:"request,omitempty" json:"request,omitempty"`
	// ReadOnly is the reason why a request with a method other than GET and HEAD
	// still writes nothing (token introspection, RFC 7662).
	ReadOnly string            `yaml:"read_only,omitempty" json:"read_only,omitempty"`
	Live     string            `yaml:"live,omitempty" json:"live,omitempty"`       // CEL: bool
	Dead     string            `yaml:"dead,omitempty" json:"dead,omitempty"`       // CEL: bool
	Capture  map[string]string `yaml:"capture,omitempty" json:"capture,omitempty"` // fact name -> CEL: string; the allow-list of what is kept
	// Identity and Account name the captured facts that say who it is.
	Identity string `yaml:"identity,omitempty" json:"identity,omitempty"`
	Account  string `yaml:"account,omitempty" json:"account,omitempty"`
	// Judge holds the compiled expressions; filled in by Load or [Compile].
	Judge *CallJudge `yaml:"-" json:"-"`
}

// Request is an HTTP request as data. In Path, Headers, Auth, JSON and Form the
// references ${part.NAME} (leaked), ${fact.NAME} (captured by identify) and
// ${admin.NAME} (our enrolled credential) are replaced, escaped for their place.
type Request struct {
	Method string `yaml:"method" json:"method" jsonschema:"enum=GET,enum=HEAD,enum=POST,enum=PUT,enum=PATCH,enum=DELETE"`
	Path   string `yaml:"path" json:"path"` // appended to base_url; may carry a query
	// BaseURL replaces the playbook's base_url for this request; its host must be
	// in hosts.
	BaseURL string `yaml:"base_url,omitempty" json:"base_url,omitempty"`
	// PathWhy is the reason why a secret must stand in Path (it lands in the
	// provider's access logs).
	PathWhy string            `yaml:"path_why,omitempty" json:"path_why,omitempty"`
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	Auth    *Auth             `yaml:"auth,omitempty" json:"auth,omitempty"`
	JSON    any               `yaml:"json,omitempty" json:"json,omitempty"`
	Form    map[string]string `yaml:"form,omitempty" json:"form,omitempty"`
}

// Auth says how a request authenticates. Exactly one field is set; the values
// are references as in [Request].
type Auth struct {
	Bearer string            `yaml:"bearer,omitempty" json:"bearer,omitempty"`
	Token  string            `yaml:"token,omitempty" json:"token,omitempty"` // "Authorization: token ..."
	Basic  *BasicAuth        `yaml:"basic,omitempty" json:"basic,omitempty"`
	Header map[string]string `yaml:"header,omitempty" json:"header,omitempty"`
}

// BasicAuth is RFC 7617 user and password.
type BasicAuth struct {
	User     string `yaml:"user" json:"user"`
	Password string `yaml:"password" json:"password"`
}

// Action is one containing act.
type Action struct {
	Name       string   `yaml:"name" json:"name"`
	Level      int      `yaml:"level" json:"level"`                                                                                                     // 1 the narrowest
	Uses       string   `yaml:"uses,omitempty" json:"uses,omitempty"`                                                                                   // a driver's verb; empty for Request
	With       string   `yaml:"with" json:"with" jsonschema:"enum=leaked,enum=admin,enum=anyone"`                                                       // leaked, admin, anyone
	Binding    string   `yaml:"binding" json:"binding" jsonschema:"enum=in_value,enum=in_body,enum=self_endpoint,enum=identified,enum=fingerprint_one"` // how we know that it hits exactly the leaked credential
	Reversible bool     `yaml:"reversible" json:"reversible"`
	Why        string   `yaml:"why,omitempty" json:"why,omitempty"`   // reason, when irreversible comes without a reversible act before it
	Undo       string   `yaml:"undo,omitempty" json:"undo,omitempty"` // verb that takes it back; needed when reversible
	Collateral string   `yaml:"collateral" json:"collateral"`         // what else dies
	Settle     Duration `yaml:"settle" json:"settle"`                 // how long until dead is expected
	Request    *Request `yaml:"request,omitempty" json:"request,omitempty"`
	Accepted   string   `yaml:"accepted,omitempty" json:"accepted,omitempty"` // CEL: bool; the provider took it
	When       string   `yaml:"when,omitempty" json:"when,omitempty"`         // CEL over facts (map string->string), public_id, kind: skip unless true
	// UndoRequest takes the act back where Undo names no verb. It may refer to
	// facts and public parts only: the secret is destroyed by then.
	UndoRequest  *Request `yaml:"undo_request,omitempty" json:"undo_request,omitempty"`
	UndoAccepted string   `yaml:"undo_accepted,omitempty" json:"undo_accepted,omitempty"` // CEL: bool
	// Judge holds the compiled expressions; filled in by Load or [Compile].
	Judge *ActionJudge `yaml:"-" json:"-"`
	// Identify is the credential's own identify call and Parts its parts, for a
	// driver that checks before it repeats; filled in by Load or [Compile].
	Identify *Call  `yaml:"-" json:"-"`
	Parts    []Part `yaml:"-" json:"-"`
	// Provider, Hosts and BaseURL are filled in by Load from the file.
	Provider string   `yaml:"-" json:"-"`
	Hosts    []string `yaml:"-" json:"-"`
	BaseURL  string   `yaml:"-" json:"-"`
}

// The bindings: how we know that an act hits exactly the leaked credential.
const (
	BindingInValue   = "in_value"        // the identifier is written in the credential
	BindingInBody    = "in_body"         // the credential itself is sent as the thing to revoke
	BindingSelf      = "self_endpoint"   // the endpoint acts on the credential that authenticates
	BindingFact      = "identified"      // an id that identify found
	BindingCandidate = "fingerprint_one" // exactly one candidate by fingerprint
)

// Prove says how death is proved: identify is repeated until Consecutive
// refusals in a row; after Deadline people are called.
type Prove struct {
	Consecutive int      `yaml:"consecutive" json:"consecutive"`
	Interval    Duration `yaml:"interval" json:"interval"`
	Deadline    Duration `yaml:"deadline" json:"deadline"`
}

// Trail names one log source that is asked what the credential did.
type Trail struct {
	Uses   string            `yaml:"uses" json:"uses"` // "aws.cloudtrail_lookup", "github.org_audit_log"
	Params map[string]string `yaml:"params,omitempty" json:"params,omitempty"`
	Gaps   []string          `yaml:"gaps" json:"gaps"` // what this source cannot see, always told
}

// Rotate says how a replacement is made.
type Rotate struct {
	Uses string `yaml:"uses" json:"uses"`
}

// Notes go into the report.
type Notes struct {
	Cleanup []string `yaml:"cleanup,omitempty" json:"cleanup,omitempty"`
	Lessons []string `yaml:"lessons,omitempty" json:"lessons,omitempty"`
	Links   []string `yaml:"links,omitempty" json:"links,omitempty"`
}
