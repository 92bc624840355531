package scanner

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"stanch/internal/secret"
)

// made is a finding of a provider's part that stands at a line.
func made(provider, kind, part, value, path string, line int) Finding {
	return Finding{Rule: provider + "-" + part, Provider: provider, Kind: kind, Part: part, Secret: secret.New(value), Place: Place{Path: path, Line: line, Column: 1}, Offset: line * 50, Class: ClassProduction}
}

func shown(cs []Credential) (out []string) {
	for _, c := range cs {
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(c.Parts)) {
			parts = append(parts, k+"="+c.Parts[k].Reveal())
		}
		n := 0
		for _, v := range c.Candidates {
			n += len(v)
		}
		out = append(out, fmt.Sprintf("%s/%s %q %s +%d", c.Provider, c.Kind, c.PublicID, strings.Join(parts, " "), n))
	}
	return out
}

func TestJoinOfProvidersWithSeveralParts(t *testing.T) {
	public := func(f Finding) Finding { f.Class = ClassPublic; return f }
	for _, c := range []struct {
		name  string
		found []Finding
		want  []string
	}{
		{"a client", []Finding{public(made("discord", "client_id", "client_id", "id-1", "a", 1)), made("discord", "client_secret", "client_secret", "secret-1", "a", 2)},
			[]string{`discord/client_secret "id-1" client_id=id-1 client_secret=secret-1 +0`}},
		{"two clients take the nearer id", []Finding{
			public(made("asana", "client_id", "client_id", "id-1", "a", 1)), made("asana", "client_secret", "client_secret", "secret-1", "a", 2),
			public(made("asana", "client_id", "client_id", "id-2", "a", 3)), made("asana", "client_secret", "client_secret", "secret-2", "a", 4),
		}, []string{`asana/client_secret "id-1" client_id=id-1 client_secret=secret-1 +1`, `asana/client_secret "id-2" client_id=id-2 client_secret=secret-2 +1`}},
		{"the file before the push", []Finding{
			public(made("plaid", "client_id", "client_id", "id-b", "b", 1)), public(made("plaid", "client_id", "client_id", "id-a", "a", 900)), made("plaid", "secret_key", "token", "secret", "a", 1),
		}, []string{`plaid/secret_key "id-a" client_id=id-a token=secret +1`, `plaid/client_id "" client_id=id-b +0`}},
		{"no partner", []Finding{made("twilio", "auth_token", "auth_token", "secret", "a", 1)}, []string{`twilio/auth_token "" auth_token=secret +0`}},
		{"a secret partner stays one", []Finding{made("datadog", "application_key", "token", "app", "a", 1), made("datadog", "api_key", "token", "api", "a", 2)},
			[]string{`datadog/application_key "" api_key=api token=app +0`, `datadog/api_key "" token=api +0`}},
		{"another provider's id is none", []Finding{public(made("asana", "client_id", "client_id", "id-1", "a", 1)), made("discord", "client_secret", "client_secret", "secret-1", "a", 2)},
			[]string{`asana/client_id "" client_id=id-1 +0`, `discord/client_secret "" client_secret=secret-1 +0`}},
	} {
		got := shown(engine().Join(c.found))
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, got, c.want)
		}
	}
}

func TestPartsOfAConnectionReachTheCredential(t *testing.T) {
	pw := "Wn4" + "tB8yHc3" + "sKd6"
	cs := engine().Join(scan("src/db.go", `x := "postgres://app:`+pw+`@db.corp.io:5432/sales"`+"\n"))
	if len(cs) != 1 || cs[0].Provider != "postgres" || cs[0].Parts["password"].Reveal() != pw || cs[0].Parts["host"].Reveal() != "db.corp.io" || cs[0].Parts["user"].Reveal() != "app" {
		t.Errorf("%q", shown(cs))
	}
}

func TestWhatStandsBesideAToken(t *testing.T) {
	id := "8a1d2c3b-" + "4e5f-4a7b-9c8d-1f2e3d4c5b6a"
	tenant := "7f6e5d4c-" + "3b2a-4c1d-8e9f-0a1b2c3d4e5f"
	value := "abc8Q~" + "dEfGhIjKlMnOpQrStUvWxYz0123456_-.~"[:31]
	fs := scan("src/app.conf", "AZURE_TENANT_ID="+tenant+"\nAZURE_CLIENT_ID="+id+"\nAZURE_CLIENT_SECRET="+value+"\n")
	for _, f := range fs {
		if f.Provider == "azure" && f.About["tenant_id"] == tenant && f.About["client_id"] == id {
			return
		}
	}
	t.Errorf("%v %+v", rulesOf(fs), fs)
}
