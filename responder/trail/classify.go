package trail

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Context is what Classify knows besides the events.
type Context struct {
	Credential  string          // public id of the leaked credential
	ExposedAt   time.Time       // zero when unknown: then nothing counts as before exposure
	ContainedAt time.Time       // zero while not contained
	OurRequests map[string]bool // ids of requests that we made
	// OurPrincipals are the ARNs of our own roles. An event by a session of one
	// is ours: no holder of the leaked credential can be that principal.
	OurPrincipals []string
}

// ourAgent is the AppID that our clients put into their user agent. Anyone can
// send it, so on its own it proves nothing.
const ourAgent = "app/stanch"

// Classify fills in severity, technique, tactic and origin of every event, in
// place, and raises severities for combinations of events. Events may come in
// any order; the result does not depend on it. Classify may be run again when
// more events have arrived.
func Classify(events []Event, c Context) {
	table := attack()
	base := newBaseline(events, c)
	stats := addressStats(events, c)
	for i := range events {
		e := &events[i]
		table.label(e)
		e.Origin, e.OriginWhy = origin(*e, c, base, stats[e.Address])
	}
	spread(events, c, base)
	combine(events, c)
}

func origin(e Event, c Context, base baseline, st *addressStat) (string, string) {
	switch {
	case e.RequestID != "" && c.OurRequests[e.RequestID]:
		return OriginOurs, "request id is one of ours"
	case byOurPrincipal(e.Actor, c.OurPrincipals):
		return OriginOurs, "made by our own role"
	case isQuarantine(e):
		return OriginProvider, "AWS attached its quarantine policy"
	case isServiceAddress(e.Address) || e.Detail["invoked_by"] != "":
		return OriginProvider, "made by a service on behalf of the principal"
	case !c.ExposedAt.IsZero() && e.Time.Before(c.ExposedAt):
		return OriginOwner, "before exposure"
	}
	agent := agentFamily(e.UserAgent)
	sign := strongSign(e, st)
	if base.events == 0 {
		if sign != "" {
			return OriginAttacker, "after exposure, " + sign + "; no earlier use to compare with"
		}
		return OriginUnclear, "after exposure; no earlier use of the credential to compare with"
	}
	newNet, newAgent := !base.knowsNetwork(e.Address), !base.agents[agent]
	switch {
	case newNet && newAgent:
		return OriginAttacker, "after exposure, from a network and with an agent that were never seen before it"
	case newNet && sign != "":
		return OriginAttacker, "after exposure, from a network that was never seen before it, " + sign
	case newNet:
		return OriginUnclear, "after exposure, from a network that was never seen before it, with a known agent"
	case newAgent && sign != "":
		return OriginUnclear, "after exposure, from a known network with an agent that was never seen before it, " + sign
	case newAgent:
		return OriginUnclear, "after exposure, from a known network with an agent that was never seen before it"
	}
	why := "network and agent as before exposure"
	if strings.Contains(e.UserAgent, ourAgent) {
		why += "; its agent names us, but we made no such request"
	}
	return OriginOwner, why
}

// strongSign names the strongest sign of an attacker that an event carries, or
// "". Severity alone counts only for events of H and C.
func strongSign(e Event, st *addressStat) string {
	tool := scannerAgent(e.UserAgent)
	switch {
	case tool != "":
		return "with the agent of " + tool
	case strings.Contains(e.UserAgent, ourAgent):
		return "with an agent that claims to be us"
	case st != nil && st.burst >= 10:
		return fmt.Sprintf("with %d different operations within a minute", st.burst)
	case st != nil && st.events >= 5 && st.denied*10 >= st.events*3:
		return fmt.Sprintf("with %d of %d calls denied", st.denied, st.events)
	case severityRank(e.Severity) >= severityRank(SeverityHigh):
		return "with a call that a thief would make (" + BareOperation(e.Operation) + ")"
	}
	return ""
}

// spread carries the origin attacker along addresses and minted credentials.
func spread(events []Event, c Context, base baseline) {
	after := func(e Event) bool {
		return (e.Origin == OriginUnclear || e.Origin == OriginOwner) && (c.ExposedAt.IsZero() || !e.Time.Before(c.ExposedAt))
	}
	for range 8 { // depth of minting that is followed; each round is linear
		addresses, minted := map[string]bool{}, map[string]string{}
		for _, e := range events {
			if e.Origin != OriginAttacker {
				continue
			}
			if !base.knowsNetwork(e.Address) && e.Address != "" {
				addresses[e.Address] = true
			}
			if e.Minted != "" && !e.Denied {
				minted[e.Minted] = BareOperation(e.Operation)
			}
		}
		changed := false
		for i := range events {
			e := &events[i]
			if !after(*e) {
				continue
			}
			if how := minted[e.Credential]; how != "" {
				e.Origin, e.OriginWhy, changed = OriginAttacker, "with a credential that an attacker made by "+how, true
			} else if addresses[e.Address] {
				e.Origin, e.OriginWhy, changed = OriginAttacker, "from an address that an attacker used after exposure", true
			}
		}
		if !changed {
			return
		}
	}
}

type baseline struct {
	events   int
	networks map[netip.Prefix]bool
	agents   map[string]bool
}

func newBaseline(events []Event, c Context) baseline {
	b := baseline{networks: map[netip.Prefix]bool{}, agents: map[string]bool{}}
	if c.ExposedAt.IsZero() {
		return b
	}
	for _, e := range events {
		if !e.Time.Before(c.ExposedAt) || c.OurRequests[e.RequestID] || isServiceAddress(e.Address) || e.Detail["invoked_by"] != "" {
			continue
		}
		b.events++
		b.agents[agentFamily(e.UserAgent)] = true
		net, ok := networkOf(e.Address)
		if ok {
			b.networks[net] = true
		}
	}
	return b
}

func (b baseline) knowsNetwork(address string) bool {
	net, ok := networkOf(address)
	return ok && b.networks[net]
}

// networkOf is the /24 or /48 of an address.
func networkOf(address string) (netip.Prefix, bool) {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}, false
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	return p, err == nil
}

type addressStat struct{ events, denied, burst int }

// addressStats counts for every address its events after exposure and the
// greatest number of different operations within 60 seconds.
func addressStats(events []Event, c Context) map[string]*addressStat {
	type call struct {
		at time.Time
		op string
	}
	calls := map[string][]call{}
	stats := map[string]*addressStat{}
	for _, e := range events {
		if e.Address == "" || c.OurRequests[e.RequestID] || e.Time.Before(c.ExposedAt) {
			continue
		}
		st := stats[e.Address]
		if st == nil {
			st = &addressStat{}
			stats[e.Address] = st
		}
		st.events++
		st.denied += btoi(e.Denied)
		calls[e.Address] = append(calls[e.Address], call{e.Time, e.Service + ":" + e.Operation})
	}
	for address, list := range calls {
		slices.SortFunc(list, func(a, b call) int { return a.at.Compare(b.at) })
		window, from := map[string]int{}, 0
		for _, k := range list {
			window[k.op]++
			for k.at.Sub(list[from].at) > time.Minute {
				window[list[from].op]--
				if window[list[from].op] == 0 {
					delete(window, list[from].op)
				}
				from++
			}
			stats[address].burst = max(stats[address].burst, len(window))
		}
	}
	return stats
}

// scannerAgents are tools whose agents a leaked key's owner rarely sends.
var scannerAgents = []string{"trufflehog", "s3 browser", "pacu", "kali", "parrot", "pentoo", "cloudfox", "scoutsuite", "prowler", "python-requests", "stratus-red-team", "nuclei", "gitleaks", "keyhacks"}

func scannerAgent(agent string) string {
	low := strings.ToLower(agent)
	for _, s := range scannerAgents {
		if strings.Contains(low, s) {
			return s
		}
	}
	return ""
}

// agentFamily strips versions, so that an update is no new agent: product, SDK
// language and operating system stay.
func agentFamily(agent string) string {
	var keep []string
	for i, f := range strings.Fields(strings.ToLower(agent)) {
		name, rest, _ := strings.Cut(f, "/")
		name = strings.Trim(name, "[]()")
		switch {
		case i == 0:
			keep = append(keep, name)
		case name == "os" || name == "lang" || name == "app":
			rest, _, _ = strings.Cut(rest, "#")
			keep = append(keep, name+"/"+rest)
		}
	}
	return strings.Join(keep, " ")
}

func isServiceAddress(address string) bool {
	return strings.HasSuffix(address, ".amazonaws.com") || address == "AWS Internal"
}

// quarantinePolicy is the common beginning of the names of AWS's quarantine policies, V1 to V4.
const quarantinePolicy = "AWSCompromisedKeyQuarantine"

func isQuarantine(e Event) bool {
	return e.Operation == "AttachUserPolicy" && strings.Contains(e.Detail["policy_arn"], "::aws:policy/"+quarantinePolicy)
}

// byOurPrincipal reports whether an actor ARN is one of ours: the role itself or
// a session of it.
func byOurPrincipal(actor string, ours []string) bool {
	if actor == "" {
		return false
	}
	for _, p := range ours {
		if p == "" {
			continue
		}
		if actor == p {
			return true
		}
		f := strings.SplitN(p, ":", 6) // arn:aws:iam::ACCOUNT:role/path/NAME
		if len(f) != 6 || !strings.HasPrefix(f[5], "role/") {
			continue
		}
		name := f[5][strings.LastIndex(f[5], "/")+1:]
		if strings.HasPrefix(actor, f[0]+":"+f[1]+":sts::"+f[4]+":assumed-role/"+name+"/") {
			return true
		}
	}
	return false
}

// IsDenied reports whether an error code means that the call was not allowed.
// Services use several words for it; throttling and missing things are none.
func IsDenied(code string) bool {
	code = strings.TrimPrefix(code, "Client.")
	switch code {
	case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "Unauthorized",
		"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException",
		"SignatureDoesNotMatch", "InvalidAccessKeyId", "AuthFailure", "NotAuthorizedException", "AllAccessDisabled", "OptInRequired":
		return true
	}
	return strings.HasPrefix(code, "AccessDenied") || strings.HasSuffix(code, "NotAuthorized")
}
