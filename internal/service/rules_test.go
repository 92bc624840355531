package service_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stanch/internal/config"
	"stanch/internal/service"
	"stanch/scanner"
)

func TestReadRulesFollowsTheDirectory(t *testing.T) {
	s := &service.Service{Config: &config.Config{}}
	s.Config.Scan.Rules = t.TempDir()
	put := func(name, text string) {
		t.Helper()
		err := os.WriteFile(filepath.Join(s.Config.Scan.Rules, name), []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	value := "corp" + "-" + strings.Repeat("Zq4", 7)
	provider := func() string {
		for _, f := range s.Scanner().Scan(context.Background(), scanner.Unit{Data: []byte("x: " + value + "\n")}) {
			if f.Rule == "corp-badge" {
				return f.Provider
			}
		}
		return "not found"
	}
	put("a.toml", "# none yet\n")
	err := s.ReadRules()
	if err != nil {
		t.Fatal(err)
	}
	before := s.Scanner().Fingerprint()
	if got := provider(); got != "not found" {
		t.Fatalf("%s before there is a rule", got)
	}
	put("b.toml", "[[rules]]\nid = \"corp-badge\"\nregex = 'corp-[A-Za-z0-9]{21}'\nkeywords = [\"corp-\"]\n")
	put("b.json", `{"corp-badge": {"provider": "corp", "kind": "badge", "part": "token"}}`)
	err = s.ReadRules()
	if err != nil {
		t.Fatal(err)
	}
	if got := provider(); got != "corp" {
		t.Errorf("%s with the rule", got)
	}
	after := s.Scanner().Fingerprint()
	if after == before {
		t.Error("the fingerprint does not tell")
	}
	put("c.toml", "[[rules]]\nid = \"broken\"\nregex = '('\n")
	err = s.ReadRules()
	if err == nil || s.Scanner().Fingerprint() != after || provider() != "corp" {
		t.Errorf("a broken rule: %v, %s", err, provider())
	}
}
