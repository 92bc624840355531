// Package report writes what an incident was, what was done about it, what the
// credential did and what nobody can know, for people who were not there: a
// manager, an auditor, a lawyer, and whoever is on call next.
//
// # What this package promises
//
// [Build] is pure: the same [Input] gives the same [Report], byte for byte. JSON
// is canonical; [Markdown] and [HTML] are made from the Report alone and add no
// fact. Every time names its source. What was only simulated is called so. The
// report never says that nothing was misused: it says what is visible, up to
// when. Foreign text (paths, refs, names, log lines) is inert in every format.
//
// # What it never does
//
// It decides nothing, calls nobody and reads no clock. It holds no secret: it is
// given none, and text that looks like one is masked on the way in.
package report

import "time"

// SchemaID names the version of the JSON format. Fields are only added within
// one version. The schema itself is docs/report.schema.json.
const SchemaID = "stanch-report/1"

// Report is the incident report. Times are UTC; a time that is not known is
// absent. Durations are milliseconds.
type Report struct {
	// Schema is the format's version, always "stanch-report/1".
	Schema string `json:"schema" jsonschema:"const=stanch-report/1"`
	Header Header `json:"header"`
	// Summary is one paragraph of plain text that can be forwarded as it stands.
	Summary string `json:"summary"`
	// Next is what people should do now, the most urgent first.
	Next       []string   `json:"next"`
	Window     Window     `json:"exposure_window"`
	Credential Credential `json:"credential"`
	Response   Response   `json:"response"`
	Trail      Trail      `json:"trail"`
	Limits     Limits     `json:"limits"`
	// Timeline is everything above on one axis of time, oldest first.
	Timeline    []Moment    `json:"timeline"`
	Replacement Replacement `json:"replacement"`
	Clocks      Clocks      `json:"clocks"`
	Cleanup     Cleanup     `json:"cleanup"`
	// Rotate names other secrets and resources that must be treated as exposed too.
	Rotate []RotateNext `json:"rotate_next"`
	// Lessons is what would have prevented this.
	Lessons  []string `json:"lessons"`
	Links    []string `json:"links"`
	Appendix Appendix `json:"appendix"`
}

// Header identifies the report and says how far it can be relied upon.
type Header struct {
	Incident    string    `json:"incident"`
	Title       string    `json:"title"`
	Severity    string    `json:"severity"`
	SeverityWhy string    `json:"severity_why"`
	State       string    `json:"state"`
	StateWhy    string    `json:"state_why"`
	StateAt     time.Time `json:"state_at,omitzero"`
	// Mode is observe, approve or act.
	Mode string `json:"mode"`
	// Simulated is true when every act in this report was only simulated.
	Simulated bool `json:"simulated"`
	// Owner is who answers for the account, as the configuration names them.
	Owner string `json:"owner"`
	// Version counts the reports of this incident from 1.
	Version     int    `json:"version"`
	ToolVersion string `json:"tool_version"`
	// Status is "partial" while evidence can still change the report, else "final".
	Status    string    `json:"status" jsonschema:"enum=partial,enum=final"`
	StatusWhy []string  `json:"status_why"`
	CreatedAt time.Time `json:"created_at"`
	// EvidenceSHA256 is the hash over the lines "NAME SHA256\n" of appendix.custody.
	EvidenceSHA256 string        `json:"evidence_sha256"`
	ClockSources   []ClockSource `json:"clock_sources"`
}

// ClockSource says how far a clock that this report relies on was off.
type ClockSource struct {
	Source string `json:"source"`
	// OffsetMS is that clock minus ours. UncertaintyMS is half the round trip.
	OffsetMS      int64     `json:"offset_ms"`
	UncertaintyMS int64     `json:"uncertainty_ms"`
	At            time.Time `json:"at,omitzero"`
	Note          string    `json:"note,omitempty"`
}

// Window is how long the credential was exposed and alive, and whose time it was.
type Window struct {
	// Points are the moments of the exposure in their order of meaning: authored,
	// committed, public, received, verdict, contained, proved_dead.
	Points []Point `json:"points"`
	// Open is true while nothing has ended the exposure; then TotalMS runs to now.
	Open bool `json:"open"`
	// TotalMS is from public to contained (to the verdict, when it was dead
	// already). Measured is false when one end is not known.
	TotalMS  int64 `json:"total_ms"`
	Measured bool  `json:"measured"`
	// ToProofMS is from contained to proved dead.
	ToProofMS int64 `json:"to_proof_ms"`
	// Shares split TotalMS without remainder.
	Shares []Share `json:"shares"`
}

// Point is one moment of the exposure.
type Point struct {
	Name        string    `json:"name"`
	Title       string    `json:"title"`
	At          time.Time `json:"at,omitzero"`
	Source      string    `json:"source"`
	Uncertainty string    `json:"uncertainty"`
}

// Share is the part of the exposure that one party answers for.
type Share struct {
	Who  string `json:"who" jsonschema:"enum=github,enum=stanch,enum=provider,enum=people"`
	MS   int64  `json:"ms"`
	What string `json:"what"`
}

// Credential is what leaked, without the secret.
type Credential struct {
	Provider   string `json:"provider"`
	Kind       string `json:"kind"`
	Title      string `json:"title"`
	PublicID   string `json:"public_id,omitempty"`
	Account    string `json:"account,omitempty"`
	Identity   string `json:"identity,omitempty"`
	Verdict    string `json:"verdict"`
	VerdictWhy string `json:"verdict_why"`
	// Fingerprint is the first 12 hex digits of a keyed HMAC-SHA256 of the
	// credential: it can be recognised again and not be guessed.
	Fingerprint string `json:"fingerprint"`
	Class       string `json:"class,omitempty"`
	Confidence  string `json:"confidence,omitempty"`
	Facts       []Fact `json:"facts"`
	// Places is where it is exposed, the most public first.
	Places []Place `json:"places"`
}

// Fact is one value that the provider told about the credential.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Place is one repository, and how often the credential stands in it.
type Place struct {
	Repository string    `json:"repository"`
	Visibility string    `json:"visibility"`
	Sightings  int       `json:"sightings"`
	FirstSeen  time.Time `json:"first_seen,omitzero"`
	Refs       []string  `json:"refs"`
}

// Response is what we did.
type Response struct {
	Acts      []Act      `json:"acts"`
	Approvals []Approval `json:"approvals"`
	Hold      Hold       `json:"hold"`
}

// Act is one act on the provider.
type Act struct {
	Name string `json:"name"`
	// State is simulated, running, done, already, failed, person or undone. Only
	// done, already and undone changed or found changed anything at the provider.
	State string    `json:"state"`
	Actor string    `json:"actor"`
	At    time.Time `json:"at,omitzero"`
	// With is whose credential made the call: leaked, admin (ours) or anyone.
	With string `json:"with"`
	// Binding is how we knew that the act hits the leaked credential and no other.
	Binding    string    `json:"binding"`
	BindingWhy string    `json:"binding_why"`
	Result     string    `json:"result"`
	Collateral string    `json:"collateral"`
	Reversible bool      `json:"reversible"`
	Undo       string    `json:"undo,omitempty"`
	UndoneAt   time.Time `json:"undone_at,omitzero"`
	UndoneBy   string    `json:"undone_by,omitempty"`
	RequestIDs []string  `json:"request_ids"`
}

// Approval is a question that was put to people, and the answer.
type Approval struct {
	ID        string    `json:"id"`
	Plan      []string  `json:"plan"`
	AskedAt   time.Time `json:"asked_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Decision is approved, denied, expired or waiting.
	Decision  string    `json:"decision"`
	By        string    `json:"by,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Reason    string    `json:"reason,omitempty"`
}

// Hold is the watch that was kept over the containment.
type Hold struct {
	Until     time.Time  `json:"until,omitzero"`
	Reactions []Reaction `json:"reactions"`
}

// Reaction is something that tried to undo or go round the containment.
type Reaction struct {
	At     time.Time `json:"at"`
	What   string    `json:"what"`
	Answer string    `json:"answer"`
}

// Trail is what the credential did, as far as the provider's logs show. The
// counts leave out our own calls and the provider's.
type Trail struct {
	// Use is "seen" (calls that are not the owner's), "unclear" (calls that could be
	// anyone's), "none_visible" (logs read, nothing else in them) or "unknown"
	// (the logs were not or not wholly read, and show nothing so far).
	Use string `json:"use" jsonschema:"enum=seen,enum=unclear,enum=none_visible,enum=unknown"`
	// AsOf is when the logs were last asked; CompleteUpTo is the time up to which
	// every source has been read and its usual delay has passed.
	AsOf         time.Time `json:"as_of,omitzero"`
	CompleteUpTo time.Time `json:"complete_up_to,omitzero"`
	Complete     bool      `json:"complete"`
	Events       int       `json:"events"`
	ByOrigin     []Count   `json:"by_origin"`
	// FirstUse and LastUse are of calls that are not ours, the provider's or the
	// owner's, since the exposure.
	FirstUse time.Time `json:"first_use,omitzero"`
	LastUse  time.Time `json:"last_use,omitzero"`
	// Outcomes counts those calls.
	Outcomes Outcomes `json:"outcomes"`
	// AfterContainment counts such calls later than the containment.
	AfterContainment Outcomes    `json:"after_containment"`
	Addresses        []Address   `json:"addresses"`
	Services         []Service   `json:"services"`
	Regions          []Region    `json:"regions"`
	Created          []Created   `json:"created"`
	Minted           []Minted    `json:"minted"`
	Techniques       []Technique `json:"techniques"`
	// Calls are the log lines themselves, oldest first, at most 500; Omitted
	// counts the rest, which the hash of trail_events covers.
	Calls   []Call `json:"calls"`
	Omitted int    `json:"omitted"`
}

// Count is a name and how often it occurs.
type Count struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// Outcomes counts calls that the provider allowed, refused, and neither (throttled,
// malformed, about a missing thing).
type Outcomes struct {
	Allowed int `json:"allowed"`
	Denied  int `json:"denied"`
	Failed  int `json:"failed"`
}

// Address is where calls came from after the exposure; Denied is a part of Calls.
type Address struct {
	Address string    `json:"address"`
	Origin  string    `json:"origin"`
	Calls   int       `json:"calls"`
	Denied  int       `json:"denied"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Agents  []string  `json:"user_agents"`
}

// Service is what was asked of one service of the provider.
type Service struct {
	Service  string      `json:"service"`
	Outcomes Outcomes    `json:"outcomes"`
	Worst    string      `json:"worst"`
	Calls    []Operation `json:"operations"`
}

// Operation is one operation of a service. Severity is L, M, H or C.
type Operation struct {
	Operation string   `json:"operation"`
	Severity  string   `json:"severity"`
	Outcomes  Outcomes `json:"outcomes"`
}

// Region is what happened in one region of the provider.
type Region struct {
	Region string `json:"region"`
	Calls  int    `json:"calls"`
	// New is true when no call before the exposure was in this region.
	New bool `json:"new"`
}

// Created is a thing that the credential made or changed, and that may outlive it.
type Created struct {
	Resource string    `json:"resource"`
	By       string    `json:"by"`
	Region   string    `json:"region,omitempty"`
	At       time.Time `json:"at"`
	With     string    `json:"with"`
	Event    string    `json:"event"`
}

// Minted is a credential that grew out of the leaked one: a session or a new key.
type Minted struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	Parent string    `json:"parent"`
	At     time.Time `json:"at"`
	// Proven is false when only the user is the same, not the actor.
	Proven bool `json:"proven"`
	// Calls counts what was done with it.
	Calls int       `json:"calls"`
	Last  time.Time `json:"last,omitzero"`
}

// Technique is an ATT&CK technique that calls match.
type Technique struct {
	ID string `json:"id"`
	// V19 is the id that replaced it in ATT&CK v19, when it did not stay.
	V19        string   `json:"v19,omitempty"`
	Name       string   `json:"name"`
	Tactics    []string `json:"tactics"`
	Severity   string   `json:"severity"`
	Calls      int      `json:"calls"`
	Allowed    int      `json:"allowed"`
	Operations []string `json:"operations"`
}

// Call is one line of the provider's log.
type Call struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Source    string    `json:"source"`
	Service   string    `json:"service"`
	Operation string    `json:"operation"`
	Region    string    `json:"region,omitempty"`
	Actor     string    `json:"actor,omitempty"`
	Used      string    `json:"credential,omitempty"`
	Address   string    `json:"address,omitempty"`
	UserAgent string    `json:"user_agent,omitempty"`
	Denied    bool      `json:"denied"`
	Error     string    `json:"error,omitempty"`
	Severity  string    `json:"severity,omitempty"`
	Origin    string    `json:"origin"`
	OriginWhy string    `json:"origin_why,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	Resources []string  `json:"resources"`
}

// Limits is what the logs cannot tell.
type Limits struct {
	Sources []Source `json:"sources"`
	// Gaps are what no source of this trail can show.
	Gaps []string `json:"gaps"`
}

// Source is one log, as it was asked.
type Source struct {
	Source   string    `json:"source"`
	Scope    string    `json:"scope"`
	From     time.Time `json:"from,omitzero"`
	To       time.Time `json:"to,omitzero"`
	AskedAt  time.Time `json:"asked_at,omitzero"`
	Pages    int       `json:"pages"`
	Events   int       `json:"events"`
	Complete bool      `json:"complete"`
	// DelayMS is how late this log usually shows an event.
	DelayMS int64  `json:"delay_ms"`
	Error   string `json:"error,omitempty"`
}

// Moment is one line of the timeline.
type Moment struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who" jsonschema:"enum=developer,enum=github,enum=stanch,enum=provider,enum=people,enum=caller"`
	What   string    `json:"what"`
	Source string    `json:"source"`
}

// Replacement is the credential that takes the leaked one's place.
type Replacement struct {
	// State is "none" or the state of the replacement.
	State string   `json:"state"`
	Note  string   `json:"note"`
	Steps []string `json:"steps"`
}

// Clocks are the deadlines that other people's rules may set. They are computed,
// never decided: whether a rule applies is for people with legal advice.
type Clocks struct {
	Disclaimer string `json:"disclaimer"`
	// SystemAware is when the service first held the finding; PersonAware is when a
	// person first opened or answered it. Regulators differ on which one counts.
	SystemAware time.Time `json:"system_aware,omitzero"`
	PersonAware time.Time `json:"person_aware,omitzero"`
	Awareness   string    `json:"awareness"`
	Deadlines   []Clock   `json:"deadlines"`
}

// Clock is one deadline, counted from both moments of awareness.
type Clock struct {
	Regime string `json:"regime"`
	What   string `json:"what"`
	Rule   string `json:"rule"`
	// IfSystem counts from SystemAware, IfPerson from PersonAware.
	IfSystem time.Time `json:"if_system,omitzero"`
	IfPerson time.Time `json:"if_person,omitzero"`
	// Condition says when the clock runs at all.
	Condition string `json:"condition"`
}

// Cleanup is what to do about the bytes that are still there.
type Cleanup struct {
	Advice string   `json:"advice"`
	Steps  []string `json:"steps"`
	// StillServed lists where the secret can still be fetched.
	StillServed []Served `json:"still_served"`
}

// Served is one address under which the leaked bytes are still handed out.
type Served struct {
	Repository string `json:"repository"`
	Ref        string `json:"ref"`
	Commit     string `json:"commit"`
	Path       string `json:"path"`
	Why        string `json:"why"`
}

// RotateNext is a secret that the credential read.
type RotateNext struct {
	Resource string    `json:"resource"`
	Kind     string    `json:"kind"`
	Reads    int       `json:"reads"`
	First    time.Time `json:"first,omitzero"`
}

// Appendix is the evidence.
type Appendix struct {
	Sightings []Sighting     `json:"sightings"`
	States    []State        `json:"states"`
	Steps     []Step         `json:"steps"`
	Requests  []Request      `json:"requests"`
	Ledger    LedgerEvidence `json:"ledger"`
	Custody   []Custody      `json:"custody"`
}

// Sighting is one place where the credential stands.
type Sighting struct {
	Repository  string    `json:"repository"`
	Visibility  string    `json:"visibility"`
	Ref         string    `json:"ref"`
	Commit      string    `json:"commit"`
	Object      string    `json:"object"`
	Path        string    `json:"path"`
	Line        int       `json:"line"`
	Column      int       `json:"column"`
	Rule        string    `json:"rule"`
	Part        string    `json:"part"`
	Author      string    `json:"author"`
	AuthorEmail string    `json:"author_email"`
	Committer   string    `json:"committer"`
	Pusher      string    `json:"pusher"`
	AuthoredAt  time.Time `json:"authored_at,omitzero"`
	CommittedAt time.Time `json:"committed_at,omitzero"`
	ExposedAt   time.Time `json:"exposed_at,omitzero"`
	ExposedFrom string    `json:"exposed_from"`
	SeenAt      time.Time `json:"seen_at,omitzero"`
	Delivery    string    `json:"delivery"`
	Removed     bool      `json:"removed"`
}

// State is one entry of the incident's history.
type State struct {
	State  string    `json:"state"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// Step is one durable step of the playbook.
type Step struct {
	Name      string    `json:"name"`
	State     string    `json:"state"`
	Attempts  int       `json:"attempts"`
	StartedAt time.Time `json:"started_at,omitzero"`
	DoneAt    time.Time `json:"done_at,omitzero"`
	Error     string    `json:"error,omitempty"`
}

// Request is one call that we made to the provider.
type Request struct {
	For       string    `json:"for"`
	Operation string    `json:"operation"`
	Host      string    `json:"host"`
	RequestID string    `json:"request_id"`
	Status    int       `json:"status"`
	Error     string    `json:"error,omitempty"`
	At        time.Time `json:"at,omitzero"`
	TookMS    int64     `json:"took_ms"`
	With      string    `json:"with"`
}

// LedgerEvidence ties this report to the tamper-evident ledger.
type LedgerEvidence struct {
	// Entries are the indices of this incident's entries.
	Entries []int64 `json:"entries"`
	// Checkpoint is the signed note of a tree that includes them; "" until signed.
	Checkpoint string `json:"checkpoint"`
	Verify     string `json:"verify"`
}

// Custody is the hash of one body of evidence.
type Custody struct {
	Name   string `json:"name"`
	Items  int    `json:"items"`
	SHA256 string `json:"sha256"`
	// How says which bytes were hashed.
	How string `json:"how"`
}
