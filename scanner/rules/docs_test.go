package rules_test

import (
	"net/url"
	"testing"

	"stanch/scanner/rules"
)

// Every address is one of a provider that a rule speaks of, and can be opened as it is.
func TestDocs(t *testing.T) {
	seen := map[string]bool{}
	for _, id := range rules.IDs() {
		k, _ := rules.Of(id, "")
		address := rules.Docs(k.Provider)
		if address == "" || seen[k.Provider] {
			continue
		}
		seen[k.Provider] = true
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" {
			t.Errorf("%s: %q is no address: %v", k.Provider, address, err)
		}
	}
	if len(seen) != rules.DocsKnown() {
		t.Errorf("%d providers have a rule, and %d an address", len(seen), rules.DocsKnown())
	}
	if got := rules.Docs("nobody"); got != "" {
		t.Errorf("nobody writes at %q", got)
	}
}
