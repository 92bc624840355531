package act_test

import (
	"context"
	"strings"
	"testing"
	"time"

	labaws "stanch/internal/lab/aws"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/secret"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/act/acttest"
	actaws "stanch/responder/act/aws"
	acthttp "stanch/responder/act/http"
	"stanch/responder/guard/egress"
	"stanch/scanner"
)

func book(t *testing.T, provider, kind string) playbooks.Credential {
	t.Helper()
	set, err := playbooks.Load("")
	if err != nil {
		t.Fatal(err)
	}
	c, ok := set.ByKind(provider, kind)
	if !ok {
		t.Fatalf("no playbook for %s/%s", provider, kind)
	}
	return c
}

// TestConformance runs the suite for every kind that the built-in playbooks contain
// by API. A kind without a provider here fails, so that none is forgotten.
func TestConformance(t *testing.T) {
	set, err := playbooks.Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range set.All() {
		for _, c := range p.Credentials {
			if len(c.Contain) == 0 {
				continue
			}
			t.Run(p.Provider+"/"+c.Kind, func(t *testing.T) {
				fresh, ok := providers[p.Provider+"/"+c.Kind]
				if !ok {
					t.Fatal("no laboratory for this kind")
				}
				acttest.Run(t, fresh)
			})
		}
	}
}

var providers = map[string]func(*testing.T) acttest.Provider{
	"aws/access_key": awsKey,
	"github/personal_access_token": func(t *testing.T) acttest.Provider {
		return githubToken(t, "personal_access_token", labgithub.KindClassic)
	},
	"github/fine_grained_token": func(t *testing.T) acttest.Provider {
		return githubToken(t, "fine_grained_token", labgithub.KindFineGrained)
	},
	"github/oauth_token":    func(t *testing.T) acttest.Provider { return githubToken(t, "oauth_token", labgithub.KindOAuth) },
	"github/app_user_token": func(t *testing.T) acttest.Provider { return githubToken(t, "app_user_token", labgithub.KindAppUser) },
	"github/app_installation_token": func(t *testing.T) acttest.Provider {
		return githubToken(t, "app_installation_token", "")
	},
}

func awsKey(t *testing.T) acttest.Provider {
	lab, err := labaws.Start(labaws.Options{Seed: 3, Misbehave: true, EnforcementLag: &labaws.Span{Max: 300 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lab.Close() })
	org, err := lab.Seed()
	if err != nil {
		t.Fatal(err)
	}
	d, err := actaws.New(actaws.Options{
		EndpointURL: lab.URL, Credentials: actaws.StaticCredentials(org.Stanch.ID, org.Stanch.Secret, secret.Value{}),
		Accounts: []actaws.Account{{ID: org.Account, RoleARN: org.RoleARN, ExternalID: secret.New(org.ExternalID)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return acttest.Provider{
		Driver: d, Credential: book(t, "aws", "access_key"), Settle: time.Second,
		Subject: act.Subject{
			IncidentID: "test", Provider: "aws", Kind: "access_key", PublicID: org.Key.ID, Account: org.Account, Facts: map[string]string{}, ExposedAt: time.Now(),
			Parts: map[string]secret.Value{scanner.PartAccessKeyID: secret.New(org.Key.ID), scanner.PartSecretAccessKey: org.Key.Secret},
		},
		Changes: func() int {
			return lab.CountTransitions(org.Key.ID, "Active", "Inactive") + lab.CountTransitions(org.Key.ID, "Inactive", "Active")
		},
	}
}

func githubToken(t *testing.T, kind, labKind string) acttest.Provider {
	lab, err := labgithub.Start(labgithub.Options{Seed: 3, Misbehave: true, RevokeLag: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lab.Close)
	_, err = lab.CreateUser("dana")
	if err != nil {
		t.Fatal(err)
	}
	var token string
	if labKind == "" {
		token = installationToken(t, lab)
	} else {
		token, err = lab.CreateToken("dana", labKind, "repo")
		if err != nil {
			t.Fatal(err)
		}
	}
	client, err := egress.NewClient(egress.Options{Allow: []string{strings.TrimPrefix(lab.URL(), "http://")}})
	if err != nil {
		t.Fatal(err)
	}
	return acttest.Provider{
		Driver:     acthttp.New(acthttp.Options{Client: client, BaseURLs: map[string]string{"github": lab.APIURL()}}),
		Credential: book(t, "github", kind), Settle: time.Second,
		Subject: act.Subject{
			IncidentID: "test", Provider: "github", Kind: kind, Facts: map[string]string{}, ExposedAt: time.Now(),
			Parts: map[string]secret.Value{scanner.PartToken: secret.New(token)},
		},
		Changes: func() int {
			st := lab.TokenState(token)
			if labKind == "" && !st.Alive {
				return 1
			}
			return st.Accepted
		},
	}
}

func installationToken(t *testing.T, lab *labgithub.Server) string {
	_, err := lab.CreateOrg("acme", labgithub.PlanEnterprise, "dana")
	if err != nil {
		t.Fatal(err)
	}
	_, err = lab.CreateRepo("acme", "shop", true)
	if err != nil {
		t.Fatal(err)
	}
	app, err := lab.CreateApp(labgithub.AppOptions{Name: "bot", Owner: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := lab.Install(app.ID, "acme")
	if err != nil {
		t.Fatal(err)
	}
	token, err := mint(context.Background(), lab, app, in)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
