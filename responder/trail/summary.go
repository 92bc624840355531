package trail

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Summary is what a report says about a trail. Lists are sorted; times that are
// not known are left out.
type Summary struct {
	// Used says whether anyone but the owner used the credential after exposure:
	// yes, no or unknown. It is "no" only when every scope was read to its end.
	Used      string    `json:"used"`
	Statement string    `json:"statement"` // the same as one sentence with its limits
	AsOf      time.Time `json:"as_of"`
	Complete  bool      `json:"complete"` // every scope was read to its last page

	Events         int `json:"events"`
	AttackerEvents int `json:"attacker_events"`
	UnclearEvents  int `json:"unclear_events"`
	OwnerEvents    int `json:"owner_events"`
	OurEvents      int `json:"our_events"`
	ProviderEvents int `json:"provider_events"`

	FirstAttack time.Time `json:"first_attack,omitzero"`
	LastAttack  time.Time `json:"last_attack,omitzero"`
	// LastAllowed is the last call of an attacker that the provider allowed.
	LastAllowed time.Time `json:"last_allowed,omitzero"`
	// RefusedAfterContainment counts calls that were refused after containment.
	RefusedAfterContainment int `json:"refused_after_containment"`
	// AllowedAfterContainment counts an attacker's calls that were allowed after it.
	AllowedAfterContainment int `json:"allowed_after_containment"`

	Addresses []AddressUse `json:"addresses"`
	Services  []ServiceUse `json:"services"`
	Regions   []RegionUse  `json:"regions"`
	Created   []Created    `json:"created"`
	Sessions  []Session    `json:"sessions"`
	Attack    []AttackUse  `json:"attack"`
	Rotate    []Rotate     `json:"rotate_next"`
	Timeline  []Minute     `json:"timeline"`
	Gaps      []string     `json:"gaps"`
	Coverage  []Coverage   `json:"coverage"`
}

// AddressUse is one source address after exposure, ours and the provider's left out.
type AddressUse struct {
	Address string    `json:"address"`
	Origin  string    `json:"origin"` // the gravest of its events
	Count   int       `json:"count"`
	Denied  int       `json:"denied"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Agents  []string  `json:"agents"` // as logged, at most 10
}

// ServiceUse counts an attacker's and unclear calls by service.
type ServiceUse struct {
	Service    string         `json:"service"`
	Allowed    int            `json:"allowed"`
	Denied     int            `json:"denied"`
	Failed     int            `json:"failed"` // neither: throttled, missing, malformed
	Operations []OperationUse `json:"operations"`
}

// OperationUse is one operation of a service.
type OperationUse struct {
	Operation string `json:"operation"`
	Severity  string `json:"severity"`
	Allowed   int    `json:"allowed"`
	Denied    int    `json:"denied"`
	Failed    int    `json:"failed"`
}

// RegionUse counts calls by Region. Global services log in one Region whatever
// the caller's; they are left out of New.
type RegionUse struct {
	Region string `json:"region"`
	Count  int    `json:"count"`
	New    bool   `json:"new"` // the credential was not used there before exposure
}

// Created is a thing that an attacker, or someone unclear, made or changed.
type Created struct {
	What      string    `json:"what"` // ARN or id
	Operation string    `json:"operation"`
	Region    string    `json:"region,omitempty"`
	At        time.Time `json:"at"`
	By        string    `json:"by"` // public id of the credential
	Origin    string    `json:"origin"`
	Event     string    `json:"event"`
}

// Session is a credential that grew out of the leaked one.
type Session struct {
	ID     string    `json:"id"`
	Kind   string    `json:"kind"`
	From   string    `json:"from"`
	At     time.Time `json:"at"`
	Proven bool      `json:"proven"`
	Origin string    `json:"origin"`
	Events int       `json:"events"` // calls made with it
	Last   time.Time `json:"last,omitzero"`
}

// AttackUse is one ATT&CK technique that was seen.
type AttackUse struct {
	Technique  string   `json:"technique"`
	V19        string   `json:"v19,omitempty"`
	Name       string   `json:"name"`
	Tactics    []string `json:"tactics"`
	Severity   string   `json:"severity"` // the gravest
	Count      int      `json:"count"`
	Allowed    int      `json:"allowed"`
	Operations []string `json:"operations"`
}

// Rotate is a secret that was read and has to be replaced.
type Rotate struct {
	Secret string    `json:"secret"` // its name or ARN
	Kind   string    `json:"kind"`   // secret, parameter
	Count  int       `json:"count"`
	First  time.Time `json:"first"`
}

// Minute is one bucket of the picture of a timeline; empty minutes are left out.
type Minute struct {
	At       time.Time `json:"at"`
	Attacker int       `json:"attacker"`
	Unclear  int       `json:"unclear"`
	Owner    int       `json:"owner"`
	Ours     int       `json:"ours"`
	Denied   int       `json:"denied"` // of all but ours
}

// maxMinutes bounds the timeline; the newest are kept.
const maxMinutes = 2880

// Summarise condenses classified events. Lineage starts at every credential that
// was not itself made inside the trail. exposure and contained may be zero.
func Summarise(events []Event, coverage []Coverage, exposure, contained time.Time) Summary {
	sorted := slices.Clone(events)
	slices.SortStableFunc(sorted, func(a, b Event) int { return a.Time.Compare(b.Time) })
	s := Summary{Events: len(sorted), Coverage: coverage, Complete: len(coverage) > 0}
	for _, c := range coverage {
		s.Complete = s.Complete && c.Complete && c.Error == ""
		s.Gaps = addUnique(s.Gaps, c.Gaps...)
		if !c.Complete {
			s.Gaps = addUnique(s.Gaps, c.Source+" in "+c.Scope+" was not read to its end: "+cmp.Or(c.Error, "more pages"))
		}
		if c.AskedAt.After(s.AsOf) {
			s.AsOf = c.AskedAt
		}
	}
	a := newSumming(exposure, contained)
	for _, e := range sorted {
		a.add(&s, e)
	}
	a.finish(&s, sorted)
	s.state(exposure)
	return s
}

func (s *Summary) state(exposure time.Time) {
	asOf := s.AsOf.UTC().Format(time.RFC3339)
	if s.AsOf.IsZero() {
		asOf = "an unknown time"
	}
	switch {
	case s.AttackerEvents > 0:
		s.Used = "yes"
		s.Statement = "used by someone else, as of " + asOf
	case !s.Complete:
		s.Used = "unknown"
		s.Statement = "no misuse visible as of " + asOf + ", but the trail is not complete"
	case s.UnclearEvents > 0:
		s.Used = "unknown"
		s.Statement = "used after exposure as of " + asOf + ", and the trail does not tell by whom"
	default:
		s.Used = "no"
		s.Statement = "none visible as of " + asOf + "; every source was read to its end, within the limits named below"
	}
	if exposure.IsZero() {
		s.Gaps = addUnique(s.Gaps, "the time of exposure is not known, so earlier use is not told apart from later use")
	}
}

type summing struct {
	exposure, contained time.Time
	addresses           map[string]*AddressUse
	services            map[string]map[string]*OperationUse
	regions             map[string]int
	regionsBefore       map[string]bool
	attack              map[string]*AttackUse
	rotate              map[string]*Rotate
	minutes             map[int64]*Minute
	uses                map[string]*Session
	minted              map[string]bool
}

func newSumming(exposure, contained time.Time) *summing {
	return &summing{exposure: exposure, contained: contained,
		addresses: map[string]*AddressUse{}, services: map[string]map[string]*OperationUse{}, regions: map[string]int{},
		regionsBefore: map[string]bool{}, attack: map[string]*AttackUse{}, rotate: map[string]*Rotate{}, minutes: map[int64]*Minute{},
		uses: map[string]*Session{}, minted: map[string]bool{}}
}

func (a *summing) add(s *Summary, e Event) {
	a.minute(e)
	if e.Minted != "" {
		a.minted[e.Minted] = true
	}
	if e.Credential != "" {
		u := a.uses[e.Credential]
		if u == nil {
			u = &Session{}
			a.uses[e.Credential] = u
		}
		u.Events++
		u.Last = e.Time
	}
	switch e.Origin {
	case OriginOurs:
		s.OurEvents++
		return
	case OriginProvider:
		s.ProviderEvents++
		return
	case OriginOwner:
		s.OwnerEvents++
	case OriginAttacker:
		s.AttackerEvents++
		if s.FirstAttack.IsZero() {
			s.FirstAttack = e.Time
		}
		s.LastAttack = e.Time
		if e.Error == "" && !e.Denied {
			s.LastAllowed = e.Time
		}
	default:
		s.UnclearEvents++
	}
	if !a.exposure.IsZero() && e.Time.Before(a.exposure) {
		a.regionsBefore[e.Region] = true
		return
	}
	if !a.contained.IsZero() && e.Time.After(a.contained) {
		if e.Denied {
			s.RefusedAfterContainment++
		} else if e.Origin == OriginAttacker && e.Error == "" {
			s.AllowedAfterContainment++
		}
	}
	a.address(e)
	if e.Origin == OriginOwner {
		return
	}
	a.operation(e)
	a.techniques(e)
	if e.Region != "" && !isGlobal(e.Service) {
		a.regions[e.Region]++
	}
	if e.Error != "" || e.Denied {
		return
	}
	for _, what := range e.Created {
		s.Created = append(s.Created, Created{What: what, Operation: e.Operation, Region: e.Region, At: e.Time, By: e.Credential, Origin: e.Origin, Event: e.ID})
	}
	a.secrets(e)
}

func (a *summing) minute(e Event) {
	at := e.Time.UTC().Truncate(time.Minute)
	m := a.minutes[at.Unix()]
	if m == nil {
		m = &Minute{At: at}
		a.minutes[at.Unix()] = m
	}
	switch e.Origin {
	case OriginAttacker:
		m.Attacker++
	case OriginOurs, OriginProvider:
		m.Ours++
		return
	case OriginOwner:
		m.Owner++
	default:
		m.Unclear++
	}
	m.Denied += btoi(e.Denied)
}

var originRank = map[string]int{OriginAttacker: 3, OriginUnclear: 2, OriginOwner: 1}

func (a *summing) address(e Event) {
	u := a.addresses[e.Address]
	if u == nil {
		u = &AddressUse{Address: cmp.Or(e.Address, "not logged"), First: e.Time, Origin: e.Origin}
		a.addresses[e.Address] = u
	}
	u.Count++
	u.Denied += btoi(e.Denied)
	u.Last = e.Time
	if originRank[e.Origin] > originRank[u.Origin] {
		u.Origin = e.Origin
	}
	if len(u.Agents) < 10 {
		u.Agents = addUnique(u.Agents, e.UserAgent)
	}
}

func (a *summing) operation(e Event) {
	ops := a.services[e.Service]
	if ops == nil {
		ops = map[string]*OperationUse{}
		a.services[e.Service] = ops
	}
	name := BareOperation(e.Operation)
	o := ops[name]
	if o == nil {
		o = &OperationUse{Operation: name, Severity: e.Severity}
		ops[name] = o
	}
	if severityRank(e.Severity) > severityRank(o.Severity) {
		o.Severity = e.Severity
	}
	switch {
	case e.Denied:
		o.Denied++
	case e.Error != "":
		o.Failed++
	default:
		o.Allowed++
	}
}

func (a *summing) techniques(e Event) {
	for _, id := range e.Technique {
		u := a.attack[id]
		if u == nil {
			q, _ := FindTechnique(id)
			u = &AttackUse{Technique: id, V19: q.V19, Name: q.Name, Severity: e.Severity, Tactics: q.Tactics}
			a.attack[id] = u
		}
		u.Count++
		u.Allowed += btoi(!e.Denied && e.Error == "")
		u.Operations = addUnique(u.Operations, BareOperation(e.Operation))
		if severityRank(e.Severity) > severityRank(u.Severity) {
			u.Severity = e.Severity
		}
	}
}

// secrets notes what has to be rotated because its value was read.
func (a *summing) secrets(e Event) {
	kind := ""
	switch BareOperation(e.Operation) {
	case "GetSecretValue", "BatchGetSecretValue":
		kind = "secret"
	case "GetParameter", "GetParameters", "GetParametersByPath":
		kind = "parameter"
	default:
		return
	}
	names := e.Resources
	if len(names) == 0 {
		names = []string{"not named in the log (event " + e.ID + ")"}
	}
	for _, n := range names {
		r := a.rotate[n]
		if r == nil {
			r = &Rotate{Secret: n, Kind: kind, First: e.Time}
			a.rotate[n] = r
		}
		r.Count++
	}
}

func (a *summing) finish(s *Summary, sorted []Event) {
	for _, u := range a.addresses {
		s.Addresses = append(s.Addresses, *u)
	}
	slices.SortFunc(s.Addresses, func(x, y AddressUse) int {
		return cmp.Or(originRank[y.Origin]-originRank[x.Origin], x.First.Compare(y.First), strings.Compare(x.Address, y.Address))
	})
	for service, ops := range a.services {
		u := ServiceUse{Service: service}
		for _, o := range ops {
			u.Allowed, u.Denied, u.Failed = u.Allowed+o.Allowed, u.Denied+o.Denied, u.Failed+o.Failed
			u.Operations = append(u.Operations, *o)
		}
		slices.SortFunc(u.Operations, func(x, y OperationUse) int {
			return cmp.Or(severityRank(y.Severity)-severityRank(x.Severity), strings.Compare(x.Operation, y.Operation))
		})
		s.Services = append(s.Services, u)
	}
	slices.SortFunc(s.Services, func(x, y ServiceUse) int { return strings.Compare(x.Service, y.Service) })
	for region, n := range a.regions {
		s.Regions = append(s.Regions, RegionUse{Region: region, Count: n, New: !a.exposure.IsZero() && !a.regionsBefore[region]})
	}
	slices.SortFunc(s.Regions, func(x, y RegionUse) int { return cmp.Or(y.Count-x.Count, strings.Compare(x.Region, y.Region)) })
	for _, u := range a.attack {
		s.Attack = append(s.Attack, *u)
	}
	slices.SortFunc(s.Attack, func(x, y AttackUse) int {
		return cmp.Or(severityRank(y.Severity)-severityRank(x.Severity), y.Count-x.Count, strings.Compare(x.Technique, y.Technique))
	})
	for _, r := range a.rotate {
		s.Rotate = append(s.Rotate, *r)
	}
	slices.SortFunc(s.Rotate, func(x, y Rotate) int { return cmp.Or(x.First.Compare(y.First), strings.Compare(x.Secret, y.Secret)) })
	for _, m := range a.minutes {
		s.Timeline = append(s.Timeline, *m)
	}
	slices.SortFunc(s.Timeline, func(x, y Minute) int { return x.At.Compare(y.At) })
	if n := len(s.Timeline); n > maxMinutes {
		s.Timeline = s.Timeline[n-maxMinutes:]
	}
	a.sessions(s, sorted)
}

// sessions lists what grew out of every credential that was not itself made in the trail.
func (a *summing) sessions(s *Summary, sorted []Event) {
	seen := map[string]bool{}
	for _, e := range sorted {
		root := e.Credential
		if root == "" || a.minted[root] || seen["root "+root] {
			continue
		}
		seen["root "+root] = true
		for _, edge := range Descend(root, sorted).Edges {
			switch edge.Kind {
			case "session", "access_key", "console_session", "service_credential":
			default:
				continue
			}
			if seen[edge.To] || edge.At.Before(a.exposure) {
				continue
			}
			seen[edge.To] = true
			n := Session{ID: edge.To, Kind: edge.Kind, From: edge.From, At: edge.At, Proven: edge.Proven, Origin: edge.Origin}
			if u := a.uses[edge.To]; u != nil {
				n.Events, n.Last = u.Events, u.Last
			}
			s.Sessions = append(s.Sessions, n)
		}
	}
	slices.SortStableFunc(s.Sessions, func(x, y Session) int { return x.At.Compare(y.At) })
}

// isGlobal reports whether a service logs in one Region whatever the caller's.
func isGlobal(service string) bool {
	switch strings.TrimSuffix(service, ".amazonaws.com") {
	case "iam", "organizations", "cloudfront", "route53", "route53domains", "account", "signin":
		return true
	}
	return false
}
