package playbooks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zricethezav/gitleaks/v8/config"

	"stanch/internal/secret"
	"stanch/scanner/rules"
)

func load(t *testing.T) *Set {
	t.Helper()
	s, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEmbedded(t *testing.T) {
	s := load(t)
	c, ok := s.ByKind("aws", "access_key")
	if !ok || c.Hold.Std() != 15*time.Second || c.Prove.Interval.Std() != 500*time.Millisecond || len(c.Contain) != 2 ||
		!c.Contain[0].Reversible || c.Contain[0].Identify != c.Identify || c.Provider != "aws" {
		t.Fatalf("%+v", c)
	}
	c, ok = s.ByKind("github", "personal_access_token")
	if !ok || c.Contain[0].Why == "" || c.Contain[0].BaseURL != "https://api.github.com" || c.Contain[0].Hosts[0] != "api.github.com" {
		t.Fatalf("%+v", c)
	}
	if _, ok := s.ByKind("github", "nope"); ok {
		t.Error("found a kind that is not there")
	}
}

func TestByValue(t *testing.T) {
	s := load(t)
	cases := []struct{ rule, value, kind string }{
		{"aws-access-token", "AKIAQNZGKIQY56JQ7WML", "access_key"},
		{"aws-access-token", "ASIAQNZGKIQY56JQ7WML", "session"},
		{"aws-access-token", "A3TXQNZGKIQY56JQ7WML", ""},
		{"github-app-token", "ghs_x", "app_installation_token"},
		{"github-app-token", "ghu_x", "app_user_token"},
		{"github-pat", "ghp_x", "personal_access_token"},
		{"no-such-rule", "x", ""},
	}
	for _, c := range cases {
		got, ok := s.ByRuleValue(c.rule, secret.New(c.value))
		if got.Kind != c.kind || ok != (c.kind != "") {
			t.Errorf("%s %s: %q", c.rule, c.value, got.Kind)
		}
	}
	if c, ok := s.ByRule("github-oauth"); !ok || c.Kind != "oauth_token" {
		t.Errorf("%+v", c)
	}
	for value, kind := range map[string]string{"ghp_x": "personal_access_token", "github_pat_x": "fine_grained_token", "": "personal_access_token"} {
		if c, _ := s.ByGitHubSecretType("github_personal_access_token", secret.New(value)); c.Kind != kind {
			t.Errorf("%q: %s", value, c.Kind)
		}
	}
	if c, _ := s.ByGitHubSecretType("aws_secret_access_key", secret.Value{}); c.Kind != "secret_access_key" {
		t.Errorf("%+v", c)
	}
}

// TestRulesExist: each rule that a playbook takes is one of gitleaks' or ours,
// and the scanner names the kind as the playbook does.
func TestRulesExist(t *testing.T) {
	for _, pb := range load(t).All() {
		for _, c := range pb.Credentials {
			for _, r := range c.Rules {
				if !strings.Contains(config.DefaultConfig, `id = "`+r+`"`) && !strings.Contains(string(rules.Extra()), `id = "`+r+`"`) {
					t.Errorf("%s/%s: rule %s does not exist", pb.Provider, c.Kind, r)
				}
			}
		}
	}
	for _, id := range rules.IDs() {
		k, _ := rules.Of(id, "")
		if k.Provider != "aws" && k.Provider != "github" {
			continue
		}
		if _, ok := load(t).ByKind(k.Provider, k.Kind); !ok {
			t.Logf("no playbook yet for %s/%s (rule %s)", k.Provider, k.Kind, id)
		}
	}
}

func TestDirectoryReplacesByProvider(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile("testdata/lint/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	write("corp.yaml", string(good))
	write("mine.yml", strings.Replace(strings.Replace(string(good), "provider: corp", "provider: github", 1), "corp-admin-key", "github-pat", 1))
	write("notes.txt", "no playbook")
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, pb := range s.All() {
		got = append(got, pb.Provider+"="+filepath.Base(pb.Source))
	}
	if want := []string{"aws=embedded:aws.yaml", "corp=corp.yaml", "github=mine.yml"}; !slices.Equal(got, want) {
		t.Fatalf("%q", got)
	}
	if _, ok := s.ByKind("github", "oauth_token"); ok {
		t.Error("the replaced file is still in effect")
	}
	write("bad.yaml", strings.Replace(string(good), "binding: identified", "binding: hope", 1))
	_, err = Load(dir)
	var bad *Error
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "bad.yaml:31:") {
		t.Fatalf("%v", err)
	}
	_, err = Load(filepath.Join(dir, "nowhere"))
	if err == nil {
		t.Error("a directory that is not there was accepted")
	}
}

func TestProgramsAreConcurrentAndBounded(t *testing.T) {
	c, _ := load(t).ByKind("github", "personal_access_token")
	j := c.Identify.Judge
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			r := Response{Status: 200, Body: map[string]any{"login": "x", "id": int64(i + 1), "type": "User"}}
			ok, err := j.Live.Bool(context.Background(), r)
			if err != nil || !ok {
				t.Errorf("%v %v", ok, err)
			}
			if id, err := j.Capture["user_id"].String(context.Background(), r); err != nil || id == "" {
				t.Errorf("%q %v", id, err)
			}
		})
	}
	wg.Wait()
	for _, body := range []any{nil, "x", []any{}, map[string]any{}, map[string]any{"login": true}} {
		ok, err := j.Live.Bool(context.Background(), Response{Status: 200, Body: body})
		if ok || err == nil {
			t.Errorf("%v: %v %v", body, ok, err)
		}
	}
	costly := &Credential{Contain: []Action{{Name: "a", When: `[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, a+b+c+d+e >= 0)))))`}}}
	err := Compile(costly)
	if err != nil {
		t.Fatal(err)
	}
	_, err = costly.Contain[0].Applies(context.Background(), nil, "", "")
	if err == nil {
		t.Error("an expression without bound was evaluated to its end")
	}
}

func TestListAndExplain(t *testing.T) {
	rows := load(t).List()
	find := func(kind string) Row {
		i := slices.IndexFunc(rows, func(r Row) bool { return r.Kind == kind })
		if i < 0 {
			t.Fatalf("no row for %s", kind)
		}
		r := rows[i]
		r.Title = ""
		return r
	}
	want := []Row{
		{Provider: "aws", Kind: "access_key", Identify: true, Contain: true, Reversible: true, Trail: true, By: "admin"},
		{Provider: "aws", Kind: "session", Identify: true, Trail: true, By: "person"},
		{Provider: "github", Kind: "oauth_token", Identify: true, Contain: true, Trail: true, By: "anyone"},
		{Provider: "github", Kind: "app_installation_token", Identify: true, Contain: true, Trail: true, By: "leaked"},
		{Provider: "github", Kind: "app_refresh_token", By: "person"},
	}
	for _, w := range want {
		if got := find(w.Kind); got != w {
			t.Errorf("%+v, want %+v", got, w)
		}
	}
	var b strings.Builder
	for _, pb := range load(t).All() {
		for _, c := range pb.Credentials {
			err := Explain(&b, c)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range []string{"POST https://api.github.com/credentials/revoke, with no credential (anyone may)", "iam:UpdateAccessKey Status=Inactive, with our own enrolled credential",
		"taken back by iam:UpdateAccessKey Status=Active", "cannot be taken back: GitHub offers no reversible act", "hold       for 15s", "until 3 refusals in a row"} {
		if !strings.Contains(b.String(), s) {
			t.Errorf("explain does not say %q", s)
		}
	}
}

func TestRefs(t *testing.T) {
	for tpl, want := range map[string]int{"": 0, "x": 0, "$x": 0, "${part.a}/${fact.b_1}": 2, "${admin.token}": 1} {
		got, err := Refs(tpl)
		if err != nil || len(got) != want {
			t.Errorf("%q: %v %v", tpl, got, err)
		}
	}
	for _, tpl := range []string{"${", "${}", "${x}", "${part}", "${part.}", "${part.A}", "${env.HOME}", "${part.a", "${part.a}${"} {
		_, err := Refs(tpl)
		if err == nil {
			t.Errorf("%q accepted", tpl)
		}
	}
	// A value that looks like a reference is not expanded again.
	got, err := Expand("a${part.x}b", func(Ref) (string, error) { return "${part.y}", nil })
	if err != nil || got != "a${part.y}b" {
		t.Errorf("%q %v", got, err)
	}
}

func TestDuration(t *testing.T) {
	var d Duration
	for _, s := range []string{"", "15", "x", "1 s"} {
		if d.UnmarshalText([]byte(s)) == nil {
			t.Errorf("%q accepted", s)
		}
	}
	err := d.UnmarshalText([]byte("1m30s"))
	b, _ := d.MarshalText()
	if err != nil || string(b) != "1m30s" {
		t.Errorf("%s %v", b, err)
	}
}
