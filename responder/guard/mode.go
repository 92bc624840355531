package guard

import (
	"path"
	"strings"

	"stanch/internal/config"
	"stanch/responder/incident"
)

// ModeFor gives policy's mode for one sighting: the first rule that matches, else
// the policy's own, else observe. A rule whose pattern is malformed gives
// observe, since nobody can tell what it was meant to hold back.
func ModeFor(policy config.Policy, provider, kind, repository string, visibility incident.Visibility) incident.Mode {
	for _, r := range policy.Rules {
		if r.Playbook != "" && r.Playbook != provider && r.Playbook != provider+"/"+kind {
			continue
		}
		if r.Visibility != "" && r.Visibility != visibility {
			continue
		}
		if r.Repository != "" {
			match, err := path.Match(strings.ToLower(r.Repository), strings.ToLower(repository))
			if err != nil {
				return incident.ModeObserve
			}
			if !match {
				continue
			}
		}
		return valid(r.Mode)
	}
	return valid(policy.Mode)
}

func valid(m incident.Mode) incident.Mode {
	switch m {
	case incident.ModeAct, incident.ModeApprove:
		return m
	}
	return incident.ModeObserve
}

// ModeForAll gives the mode of a credential that was seen at several places: that
// of the most exposed one (public, then internal, private, unknown), since that
// is where an attacker reads it. Among equally exposed places the most
// restrictive counts, so that one repository's rule cannot widen another's.
func ModeForAll(policy config.Policy, provider, kind string, sightings []Sighting) incident.Mode {
	if len(sightings) == 0 {
		return ModeFor(policy, provider, kind, "", incident.VisibilityUnknown)
	}
	best, mode := -1, incident.ModeObserve
	for _, s := range sightings {
		v := s.Visibility
		if v == "" {
			v = incident.VisibilityUnknown
		}
		m := ModeFor(policy, provider, kind, s.Repository, v)
		switch e := exposure(v); {
		case e > best:
			best, mode = e, m
		case e == best && reach(m) < reach(mode):
			mode = m
		}
	}
	return mode
}

func exposure(v incident.Visibility) int {
	switch v {
	case incident.VisibilityPublic:
		return 3
	case incident.VisibilityInternal:
		return 2
	case incident.VisibilityPrivate:
		return 1
	}
	return 0
}

func reach(m incident.Mode) int {
	switch m {
	case incident.ModeAct:
		return 2
	case incident.ModeApprove:
		return 1
	}
	return 0
}

// Mode is the mode of an input: what was asked for, else policy's.
func (g *Guard) Mode(in Input) incident.Mode {
	if in.Mode != "" {
		return valid(in.Mode)
	}
	return ModeForAll(g.policy, in.Provider, in.Kind, in.Sightings)
}
