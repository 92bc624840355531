package report

import (
	"fmt"
	"slices"
	"strings"

	"stanch/responder/incident"
)

// cleanup says what to do about the bytes, and where they still are.
func (b *builder) cleanup() Cleanup {
	var c Cleanup
	if b.alive() {
		c.Advice = "Stop the credential first. Taking it out of the history does not take it back: clones, forks, caches and those who watch public pushes have it already."
	} else {
		c.Advice = "Rewriting the history is optional now: the credential is dead, and a dead credential in the history harms nobody. Do not hurry: a rewrite changes every later commit id (also those that this report names as evidence), breaks clones and open pull requests, and reaches no copy that was already made."
	}
	c.Steps = append(c.Steps, b.in.Playbook.Report.Cleanup...)
	repos := map[string]bool{}
	for _, s := range b.in.Sightings {
		why := "the file at this commit, reached from the ref"
		if s.Removed {
			why = "a forced push took it off the ref; GitHub still serves the commit by its id"
		}
		v := Served{Repository: s.Repository, Ref: s.Ref, Commit: s.Commit, Path: s.Path, Why: why}
		if s.Object != "" && s.Object != "blob" {
			v.Path, v.Why = "("+s.Object+")", "the "+s.Object+" itself, not a file; "+why
		}
		if !slices.Contains(c.StillServed, v) {
			c.StillServed = append(c.StillServed, v)
		}
		repos[s.Repository] = true
	}
	for _, r := range sortedKeys(repos) {
		if !strings.Contains(r, "/") || strings.HasPrefix(r, "/") {
			continue
		}
		c.StillServed = append(c.StillServed,
			Served{Repository: r, Ref: "refs/pull/*", Why: "pull requests that contain the commit keep it; only GitHub can remove these refs"},
			Served{Repository: r, Ref: "forks", Why: "every fork made since then keeps it; their owners have to act"},
		)
	}
	if len(repos) > 0 {
		c.Steps = addNew(c.Steps,
			"If the history is rewritten all the same: use `git filter-repo`, tell everybody who has a clone, and ask GitHub Support to remove cached views and pull request refs of the repository.",
		)
	}
	return c
}

// rotateNext lists the secrets that the credential read.
func (b *builder) rotateNext() []RotateNext {
	var out []RotateNext
	for _, r := range b.read.Rotate {
		out = append(out, RotateNext{Resource: r.Secret, Kind: r.Kind, Reads: r.Count, First: r.First})
	}
	return out
}

func (b *builder) replacement() Replacement {
	r := Replacement{State: "none", Note: "Stanch made no replacement for this credential."}
	if b.in.Incident.State == incident.StateNotLive {
		r.Note = "The credential was dead already. Whatever used it has been failing, or has its replacement."
		return r
	}
	r.Steps = append(r.Steps, "Find what used it: a program that fails from the containment on is a user of it.")
	if b.in.Playbook.Rotate != nil && b.in.Playbook.Rotate.Uses != "" {
		r.Steps = append(r.Steps, "Make the new credential once the containment has stayed quiet, deliver it, confirm that it works, then delete the old one.")
	} else {
		r.Steps = append(r.Steps, "Make the new credential at the provider, deliver it, and confirm that it works.")
	}
	r.Steps = append(r.Steps, "Prefer an identity without a stored secret (workload identity, OIDC), so that nothing can leak again.")
	return r
}

// lessons is what would have prevented it.
func (b *builder) lessons() []string {
	var out []string
	onGitHub, public := false, false
	for _, s := range b.in.Sightings {
		onGitHub = onGitHub || s.Delivery != ""
		public = public || s.Visibility == incident.VisibilityPublic
	}
	if onGitHub || public {
		out = append(out, "Push protection refuses a push that holds a known kind of secret. Switch it on for the organisation, bypass by approval only.")
	}
	out = append(out, b.in.Playbook.Report.Lessons...)
	switch b.in.Incident.Provider {
	case "aws":
		out = addNew(out, "A role that is assumed through OIDC gives credentials that end by themselves; an IAM user's access key never does.")
	case "github":
		out = addNew(out, "A fine-grained token with an end date and one repository, or a GitHub App, limits what a leak can reach.")
	}
	return out
}

// next is what people should do now.
func (b *builder) next(r Report) []string {
	i, id := b.in.Incident, shellWord(b.in.Incident.ID)
	var out []string
	if n := r.Trail.AfterContainment.Allowed; n > 0 {
		out = append(out, fmt.Sprintf("Look at this first: %s after the containment, so something of it still works (a session, or a credential that it made). See what the key did.", wereAllowed(n)))
	}
	switch i.State {
	case incident.StateWaiting:
		for _, a := range b.in.Approvals {
			if a.Decision == "" {
				out = append(out, fmt.Sprintf("Decide until %s: `stanch approve %s`, or `stanch deny %s`. It would release: %s.", stamp(a.ExpiresAt), id, id, list(a.Plan)))
			}
		}
	case incident.StatePerson:
		out = append(out, "Stanch cannot go on by itself: "+sentence(r.Header.StateWhy))
		out = append(out, b.in.Playbook.Person...)
	case incident.StateObserved:
		out = append(out, "Nothing was done to the credential: observe mode is on. Contain it by hand, or let Stanch do it by a policy of approve or act for this kind of credential and repository.")
	case incident.StateDenied:
		out = append(out, "The acts were not released, so the credential still works as far as is known. Contain it another way or write down why not.")
	case incident.StateUndone:
		out = append(out, "The acts were taken back, so the credential may work again. Replace it as soon as you can.")
	case incident.StateContained:
		out = append(out, "Wait for the proof: "+b.provider+" has accepted the acts, but whether it refuses the credential is not shown yet.")
	}
	for _, a := range r.Response.Acts {
		switch a.State {
		case "failed":
			out = append(out, fmt.Sprintf("The act %s failed: %s", a.Name, sentence(a.Result)))
		case "person":
			out = append(out, fmt.Sprintf("The act %s needs a person: %s", a.Name, sentence(a.Result)))
		}
	}
	if n := len(r.Trail.Created); n > 0 {
		out = append(out, fmt.Sprintf("Check and remove the %s that it created.", plural(n, "thing", "things")))
	}
	if n := len(r.Trail.Minted); n > 0 {
		out = append(out, fmt.Sprintf("Check the %s that it made; one that is not covered by an act above may still work.", plural(n, "credential", "credentials")))
	}
	if n := len(r.Rotate); n > 0 {
		out = append(out, fmt.Sprintf("Rotate the %s that it read.", plural(n, "other secret", "other secrets")))
	}
	if r.Trail.Use == useUnclear {
		out = append(out, "Ask the owner whether the calls marked unclear are theirs.")
	}
	if r.Trail.Use == useSeen {
		out = append(out, "Give this report to whoever decides on notification; the clocks below are running if those rules apply.")
	}
	if len(r.Limits.Sources) == 0 && len(b.in.Playbook.Trail) == 0 && i.State != incident.StateNotLive {
		out = append(out, "Look for its use at the provider by hand: Stanch can read no log for this kind of credential.")
	}
	for _, a := range r.Response.Acts {
		if a.Undo != "" {
			out = append(out, "If this was a mistake, take it back: `stanch incident undo "+id+"`")
			break
		}
	}
	return out
}

func wereAllowed(n int) string {
	if n == 1 {
		return "1 call was allowed"
	}
	return fmt.Sprintf("%d calls were allowed", n)
}

// sentence ends s with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return "no reason was recorded."
	}
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}
