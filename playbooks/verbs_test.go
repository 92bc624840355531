package playbooks_test

import (
	"slices"
	"testing"

	"stanch/playbooks"
	"stanch/responder/act/aws"
	actgithub "stanch/responder/act/github"
	"stanch/responder/trail/cloudtrail"
)

// TestVerbsAreWhatDriversOffer: the registry and the drivers name the same verbs.
func TestVerbsAreWhatDriversOffer(t *testing.T) {
	offered := append(aws.Verbs(), cloudtrail.SourceName, actgithub.SourceName)
	var known []string
	for _, v := range playbooks.Verbs() {
		known = append(known, v.Name)
		if v.Undo != "" {
			u, ok := playbooks.LookupVerb(v.Undo)
			if !ok || u.Role != playbooks.RoleUndo {
				t.Errorf("%s is taken back by %s, which is no undo", v.Name, v.Undo)
			}
		}
		if v.Role == playbooks.RoleAct && (!v.Writes || len(v.Bindings) == 0) || v.Does == "" {
			t.Errorf("%s is described incompletely", v.Name)
		}
	}
	slices.Sort(offered)
	if !slices.Equal(known, offered) {
		t.Errorf("registry %q\ndrivers  %q", known, offered)
	}
}
