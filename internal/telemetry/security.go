package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"sync"
	"time"

	"stanch/internal/secret"
	"stanch/internal/version"
)

// The names of security events: OWASP's logging vocabulary, and where it has no
// word, our own. An event of another name is written as [Unclassified].
const (
	AuthnLoginSuccess          = "authn_login_success"
	AuthnLoginFail             = "authn_login_fail"
	AuthnLoginFailMax          = "authn_login_fail_max"
	AuthnLoginLock             = "authn_login_lock"
	AuthnLoginSuccessAfterFail = "authn_login_successafterfail"
	AuthnTokenCreated          = "authn_token_created"
	AuthnTokenRevoked          = "authn_token_revoked"
	AuthnTokenReuse            = "authn_token_reuse"
	AuthnTokenDelete           = "authn_token_delete"
	AuthnImpossibleTravel      = "authn_impossible_travel"
	AuthzFail                  = "authz_fail"
	AuthzChange                = "authz_change"
	AuthzAdmin                 = "authz_admin"
	CryptDecryptFail           = "crypt_decrypt_fail"
	CryptEncryptFail           = "crypt_encrypt_fail"
	ExcessRateLimitExceeded    = "excess_rate_limit_exceeded"
	InputValidationFail        = "input_validation_fail"
	InputDiscreteFail          = "input_validation_discrete_fail"
	MaliciousCSRF              = "malicious_csrf"
	MaliciousExcess404         = "malicious_excess_404"
	MaliciousAttackTool        = "malicious_attack_tool"
	MaliciousDirectReference   = "malicious_direct_reference"
	SensitiveRead              = "sensitive_read"
	SensitiveUpdate            = "sensitive_update"
	SensitiveDelete            = "sensitive_delete"
	SysStartup                 = "sys_startup"
	SysShutdown                = "sys_shutdown"
	SysCrash                   = "sys_crash"
	SysMonitorDisabled         = "sys_monitor_disabled"
	WebhookReplayed            = "webhook_replayed"   // ours: an old body under a new delivery id
	WebhookDuplicate           = "webhook_duplicate"  // ours: a delivery id a second time
	LogLevelChanged            = "log_level_changed"  // ours
	LedgerTampered             = "ledger_tampered"    // ours
	BreakerOpened              = "breaker_opened"     // ours
	Unclassified               = "unclassified_event" // ours
)

// classes gives each event its OCSF 1.8.0 class: 3002 Authentication, 3003
// Authorize Session, 6002 Application Lifecycle, 6003 API Activity, 6008
// Application Error, 2004 Detection Finding.
var classes = map[string]int{
	AuthnLoginSuccess: 3002, AuthnLoginFail: 3002, AuthnLoginFailMax: 3002, AuthnLoginLock: 3002,
	AuthnLoginSuccessAfterFail: 3002, AuthnTokenCreated: 3002, AuthnTokenRevoked: 3002, AuthnTokenReuse: 3002,
	AuthnTokenDelete: 3002, AuthnImpossibleTravel: 2004, AuthzFail: 3003, AuthzChange: 3003, AuthzAdmin: 3003,
	CryptDecryptFail: 6008, CryptEncryptFail: 6008, ExcessRateLimitExceeded: 6003, InputValidationFail: 6003,
	InputDiscreteFail: 6003, MaliciousCSRF: 2004, MaliciousExcess404: 2004, MaliciousAttackTool: 2004,
	MaliciousDirectReference: 2004, SensitiveRead: 6003, SensitiveUpdate: 6003, SensitiveDelete: 6003,
	SysStartup: 6002, SysShutdown: 6002, SysCrash: 6008, SysMonitorDisabled: 6002, WebhookReplayed: 6003,
	WebhookDuplicate: 6003, LogLevelChanged: 6002, LedgerTampered: 2004, BreakerOpened: 2004, Unclassified: 6002,
}

// SecurityEvent says who did what to which object, from where, how it went and
// why. No field takes a secret; all are scrubbed, escaped and capped. What a
// foreigner controls goes into Object, Reason and Detail, never into Event.
type SecurityEvent struct {
	Event    string // one of the names above
	Outcome  string // success, failure, refused ...
	Reason   string
	SourceIP string // as the trusted proxies tell it
	User     string
	Delivery string // taken from the context when empty
	Incident string // taken from the context when empty
	Object   string
	Detail   map[string]string
}

// Security writes security events, one JSON object a line. It has no level and
// no sampling. It is safe for concurrent use; a nil Security drops events,
// which tests of other parts use.
type Security struct {
	mu      sync.Mutex
	w       io.Writer
	metrics *Metrics
	now     func() time.Time
	node    string
	version string
}

// NewSecurity writes events to w and counts them in m, which may be nil.
func NewSecurity(w io.Writer, m *Metrics) *Security {
	node, err := os.Hostname()
	if err != nil {
		node = "unknown"
	}
	return &Security{w: w, metrics: m, now: time.Now, node: secret.Inert(node, maxKey), version: version.Version()}
}

// securityLine is what is written. The order of the fields is that of the line.
type securityLine struct {
	Time     string            `json:"time"`
	Stream   string            `json:"stream"`
	Event    string            `json:"event"`
	ClassUID int               `json:"class_uid"`
	Outcome  string            `json:"outcome,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	SourceIP string            `json:"source_ip,omitempty"`
	User     string            `json:"user,omitempty"`
	Object   string            `json:"object,omitempty"`
	Delivery string            `json:"delivery,omitempty"`
	Incident string            `json:"incident,omitempty"`
	Request  string            `json:"request_id,omitempty"`
	Node     string            `json:"node"`
	Version  string            `json:"version"`
	Detail   map[string]string `json:"detail,omitempty"`
}

// maxDetails is how many details of an event are written.
const maxDetails = 24

// Event writes e. It never fails; a line that could not be written is counted
// in stanch_security_events_lost_total.
func (s *Security) Event(ctx context.Context, e SecurityEvent) {
	if s == nil {
		return
	}
	detail := cleanDetail(e.Detail)
	class, known := classes[e.Event]
	if !known {
		if detail == nil {
			detail = make(map[string]string, 1)
		}
		detail["event"] = secret.Inert(e.Event, maxKey)
		e.Event, class = Unclassified, classes[Unclassified]
	}
	line := securityLine{
		Time: s.now().UTC().Format(microseconds), Stream: "security", Event: e.Event, ClassUID: class,
		Outcome: secret.Inert(e.Outcome, maxKey), Reason: secret.Inert(e.Reason, maxValue),
		SourceIP: cleanIP(e.SourceIP), User: secret.Inert(e.User, 256), Object: secret.Inert(e.Object, maxValue),
		Delivery: secret.Inert(or(e.Delivery, field(ctx, KeyDelivery)), 128),
		Incident: secret.Inert(or(e.Incident, field(ctx, KeyIncident)), 128),
		Request:  secret.Inert(field(ctx, KeyRequest), 128),
		Node:     s.node, Version: s.version, Detail: detail,
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(line)
	if err == nil {
		err = s.write(buf.Bytes())
	}
	s.metrics.securityEvent(e.Event, err != nil)
}

// write hands over a whole line in one call.
func (s *Security) write(line []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.w.Write(line)
	return err
}

func cleanDetail(in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		if len(out) == maxDetails {
			out["more"] = "[cut]"
			break
		}
		if sensitive(k) {
			v = secret.Redacted
		}
		out[secret.Inert(k, maxKey)] = secret.Inert(v, maxValue)
	}
	return out
}

func cleanIP(s string) string {
	if s == "" {
		return ""
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return "invalid"
	}
	return addr.Unmap().WithZone("").String()
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
