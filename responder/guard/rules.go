package guard

import (
	"slices"
	"strings"

	"stanch/internal/config"
	"stanch/responder/incident"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// owned reports whether the credential belongs to what the operator enrolled.
func (g *Guard) owned(in Input) bool {
	p, enrolled := g.providers[in.Provider]
	if !enrolled {
		return false
	}
	if in.Provider == "aws" {
		return in.Account != "" && slices.ContainsFunc(p.Accounts, func(a config.Account) bool { return a.ID == in.Account })
	}
	return slices.ContainsFunc(p.Owners, func(o string) bool {
		return o != "" && (strings.EqualFold(o, in.Account) || strings.EqualFold(o, in.Identity))
	})
}

func (g *Guard) ownership(in Input) Reason {
	switch {
	case g.owned(in):
		return ok(Ownership, "%s is enrolled", who(in))
	case in.Provider != "aws" && g.providers[in.Provider].ActOnAnyOwner && in.Identity != "":
		return ok(Ownership, "%s is not ours, and act_on_any_owner opens the provider's own finder endpoint", who(in))
	case in.Account == "" && in.Identity == "":
		return no(Ownership, "whose credential this is, is not known")
	default:
		return no(Ownership, "%s is not enrolled", who(in))
	}
}

// mayAskOwner is ownership as far as it is known before the provider is asked.
func (g *Guard) mayAskOwner(in Input) Reason {
	if in.Provider != "aws" {
		return ok(Ownership, "the owner shows when the provider is asked")
	}
	switch {
	case g.owned(in):
		return ok(Ownership, "%s is enrolled", who(in))
	case g.cfg.ForeignAccounts == "identify":
		return ok(Ownership, "%s is not enrolled, and foreign_accounts says identify", who(in))
	default:
		return no(Ownership, "%s is not enrolled, and the owner of a foreign account would see the question in its log", who(in))
	}
}

func who(in Input) string {
	what := map[string]string{"aws": "account"}[in.Provider]
	if what == "" {
		what = "owner"
	}
	name := in.Account
	if name == "" {
		name = in.Identity
	}
	if name == "" {
		return "an unknown " + what
	}
	return what + " " + name
}

func (g *Guard) neverTouch(in Input) Reason {
	for _, pattern := range g.cfg.NeverTouch {
		for _, x := range []string{in.PublicID, in.Account, in.Identity, in.Fingerprint} {
			if glob(pattern, x) {
				return no(NeverTouch, "never_touch lists it (%s)", pattern)
			}
		}
	}
	return ok(NeverTouch, "not on the never-touch list")
}

// documentation: keys that vendors print in their manuals, and placeholders.
func (g *Guard) documentation(in Input) Reason {
	switch {
	case strings.HasSuffix(in.PublicID, "EXAMPLE"), slices.Contains(in.Rules, "aws-documentation-key"):
		return no(Documentation, "a key of the provider's documentation")
	case in.Class == scanner.ClassPlaceholder:
		return no(Documentation, "a placeholder")
	case in.Class == scanner.ClassPublic:
		return no(Documentation, "material that is public on purpose")
	}
	return ok(Documentation, "no documentation or test key")
}

// canary: a call would alert the canary's owner, so its hit is reported instead.
func (g *Guard) canary(in Input) Reason {
	for _, pattern := range g.cfg.Honeytokens {
		if glob(pattern, in.PublicID) || glob(pattern, in.Account) || glob(pattern, in.Identity) {
			return no(Canary, "a honeytoken of ours (%s): its leak is reported, it is not called", pattern)
		}
	}
	if in.Provider == "aws" {
		if slices.Contains(canaryAccounts, in.Account) {
			return no(Canary, "account %s is known to issue canary keys: a call would alert its owner", in.Account)
		}
		if strings.Contains(strings.ToLower(in.Identity), "canarytokens.com@@") {
			return no(Canary, "the identity has the shape of a canary token")
		}
	}
	return ok(Canary, "no known canary")
}

func (g *Guard) verdict(in Input) Reason {
	switch {
	case in.Verdict == verdict.Live:
		return ok(Verdict, "the provider accepts the credential")
	case in.Verdict == verdict.Dead:
		return no(Verdict, "the provider already refuses the credential")
	case in.Provider == "aws" && in.KeyActive && in.Complete && g.owned(in):
		return ok(Verdict, "our own role finds exactly this key, active")
	case in.Verdict == verdict.Error:
		return no(Verdict, "the provider gave no usable answer yet")
	default:
		return no(Verdict, "it is not proved that the credential lives")
	}
}

func (g *Guard) class(in Input) Reason {
	switch in.Class {
	case scanner.ClassFixture, scanner.ClassDocs, scanner.ClassExample:
		if g.cfg.ActOnFixtures != nil && !*g.cfg.ActOnFixtures {
			return no(Class, "found in %s, and act_on_fixtures is off", in.Class)
		}
		if in.Verdict != verdict.Live {
			return no(Class, "found in %s, so only a live verdict counts", in.Class)
		}
	case scanner.ClassPlaceholder, scanner.ClassPublic:
		return no(Class, "found as %s", in.Class)
	}
	return ok(Class, "the place does not speak against it")
}

func (g *Guard) breaker(in Input) Reason {
	if in.Counts == nil {
		return no(Breaker, "how much was done in the last hour is not known")
	}
	n, err := in.Counts.Acts(in.Provider, in.Account)
	switch {
	case err != nil || n < 0:
		return no(Breaker, "how much was done in the last hour cannot be read")
	case n >= g.cfg.MaxActsPerHour:
		return no(Breaker, "%d acts in the last hour for %s, the limit is %d: only what can be taken back goes on", n, who(in), g.cfg.MaxActsPerHour)
	}
	return ok(Breaker, "%d of %d acts in the last hour", n, g.cfg.MaxActsPerHour)
}

// budgetShare: one repository or one pusher may use half of a provider's budget,
// so that a flood from one place leaves room for a real leak from another.
const budgetShare = 2

func (g *Guard) budget(in Input) Reason {
	if in.Counts == nil {
		return no(Budget, "how often the provider was asked in the last hour is not known")
	}
	check := func(limit int, repository, pusher, words string) (Reason, bool) {
		n, err := in.Counts.Verdicts(in.Provider, repository, pusher)
		if err != nil || n < 0 {
			return no(Budget, "how often the provider was asked in the last hour cannot be read"), true
		}
		if n >= limit {
			return no(Budget, "%d questions in the last hour %s, the limit is %d", n, words, limit), true
		}
		return Reason{}, false
	}
	r, over := check(g.cfg.MaxVerdictsPerHour, "", "", "to this provider")
	if over {
		return r
	}
	share := max(1, g.cfg.MaxVerdictsPerHour/budgetShare)
	for _, s := range in.Sightings {
		if s.Repository != "" {
			r, over = check(share, s.Repository, "", "for one repository")
		}
		if !over && s.Pusher != "" {
			r, over = check(share, "", s.Pusher, "for one pusher")
		}
		if !over {
			return ok(Budget, "within the hour's budget") // one sighting within its budget is enough
		}
	}
	if over {
		return r
	}
	return ok(Budget, "within the hour's budget")
}

func (g *Guard) approval(in Input, mode incident.Mode) Reason {
	switch mode {
	case incident.ModeAct:
		return ok(Approval, "policy acts by itself")
	case incident.ModeApprove:
		a := in.Approval
		switch {
		case a.Decision == "approved" && a.IncidentID == in.IncidentID && a.By != "":
			return ok(Approval, "approved by %s", a.By)
		case a.Decision == "denied":
			return no(Approval, "denied by %s", a.By)
		case a.Decision == "expired":
			return no(Approval, "nobody decided in time")
		case a.Decision != "":
			return no(Approval, "the approval is not for this incident")
		}
		return no(Approval, "a person has to approve")
	default:
		return no(Approval, "policy only observes")
	}
}

// canaryAccounts are AWS accounts that are known to issue canary keys: Thinkst
// Canary's own and look-alikes, as published in the lists of TruffleHog and
// Kingfisher (2026).
var canaryAccounts = []string{
	"052310077262", "171436882533", "266735846894", "534261010715", "595918472158", "717712589309", "730335385048",
	"819147034852", "893192397702", "992382622183",
	"044858866125", "251535659677", "344043088457", "351906852752", "390477818340", "426127672474", "427150556519",
	"439872796651", "445142720921", "465867158099", "637958123769", "693412236332", "732624840810", "735421457923",
	"959235150393", "982842642351",
	"528757803018", "538784191382", "729780141977",
}

// glob matches without regard to case; * stands for any run of characters,
// slashes and colons included (an ARN has both), ? for one. An empty value
// matches nothing.
func glob(pattern, value string) bool {
	if pattern == "" || value == "" {
		return false
	}
	p, s := []rune(strings.ToLower(pattern)), []rune(strings.ToLower(value))
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
