package service

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stanch/internal/config"
	"stanch/internal/secret"
	"stanch/internal/version"
	"stanch/playbooks"
	"stanch/responder/act"
	actaws "stanch/responder/act/aws"
	actgithub "stanch/responder/act/github"
	acthttp "stanch/responder/act/http"
	"stanch/responder/act/simulated"
	"stanch/responder/guard/egress"
	"stanch/responder/trail"
	"stanch/responder/trail/cloudtrail"
	"stanch/scanner"
)

// parts are what the responder needs of the providers.
type parts struct {
	drivers    map[string]act.Driver
	simulated  func(act.Driver) act.Driver
	sources    map[string]trail.Source
	principals []string
}

// providers makes the drivers and log sources. Every call of theirs goes through
// one guarded transport.
func (s *Service) providers() (parts, error) {
	client, err := egress.NewClient(egress.Options{Hosts: hosts(s.Playbooks), Allow: s.Config.Egress.Allow})
	if err != nil {
		return parts{}, err
	}
	s.closers = append(s.closers, func() error { client.CloseIdleConnections(); return nil })
	baseURLs := map[string]string{}
	for name, p := range s.Config.Providers {
		if p.BaseURL != "" {
			baseURLs[name] = p.BaseURL
		}
	}
	aws, err := s.awsDriver(client)
	if err != nil {
		return parts{}, err
	}
	s.aws = aws
	out := parts{
		drivers: map[string]act.Driver{
			"http": acthttp.New(acthttp.Options{Client: client, BaseURLs: baseURLs, Admin: s.admin, UserAgent: "stanch/" + version.Version(), Now: s.Now}),
			"aws":  aws,
		},
		simulated:  func(d act.Driver) act.Driver { return simulated.New(d, baseURLs) },
		sources:    map[string]trail.Source{"aws.cloudtrail_lookup": cloudtrail.New(cloudtrail.Options{Accounts: aws, Lookback: s.Config.Trail.Lookback.Std(), Clock: s.Now})},
		principals: aws.Principals(),
	}
	if s.App != nil {
		out.sources[actgithub.SourceName] = auditSource{s}
	}
	return out, nil
}

// checkProviders refuses a provider that no playbook knows, and an address that the
// one dialer would refuse, before anything is stored or sent.
func (s *Service) checkProviders() error {
	policy, err := egress.NewPolicy(hosts(s.Playbooks), s.Config.Egress.Allow)
	if err != nil {
		return err
	}
	var known []string
	for _, p := range s.Playbooks.All() {
		known = append(known, p.Provider)
	}
	slices.Sort(known)
	var bad config.Errors
	for _, name := range slices.Sorted(maps.Keys(s.Config.Providers)) {
		p := s.Config.Providers[name]
		at := "providers." + name
		if !slices.Contains(known, name) {
			bad = append(bad, &config.Error{File: s.Config.Source, Field: at, Msg: "no playbook has this provider",
				Hint: "write one of " + strings.Join(known, ", ") + ", or add its playbook to playbooks.dir"})
		}
		for _, f := range []struct{ field, url string }{{"base_url", p.BaseURL}, {"endpoint_url", p.EndpointURL}} {
			if f.url == "" {
				continue
			}
			u, err := url.Parse(f.url)
			if err == nil {
				err = policy.Check(u)
			}
			if err != nil {
				bad = append(bad, &config.Error{File: s.Config.Source, Field: at + "." + f.field, Msg: err.Error(),
					Hint: "add " + hostPort(u) + " to egress.allow", Err: err})
			}
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// hostPort is how a URL's host stands in egress.allow.
func hostPort(u *url.URL) string {
	switch {
	case u == nil || u.Host == "":
		return "its host"
	case u.Port() == "" && u.Scheme == "http":
		return `"` + u.Host + `:80"`
	}
	return `"` + u.Host + `"`
}

// hosts are those that the playbooks may reach.
func hosts(set *playbooks.Set) []string {
	var out []string
	for _, p := range set.All() {
		out = append(out, p.Hosts...)
	}
	return out
}

// admin resolves our own enrolled credential of a provider.
func (s *Service) admin(_ context.Context, provider string) (map[string]secret.Value, error) {
	return resolveAll(s.Config.Providers[provider].Credentials)
}

func resolveAll(refs map[string]config.Secret) (map[string]secret.Value, error) {
	out := map[string]secret.Value{}
	for name, ref := range refs {
		v, err := ref.Resolve()
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func (s *Service) awsDriver(client *http.Client) (*actaws.Driver, error) {
	p := s.Config.Providers["aws"]
	own, err := resolveAll(p.Credentials)
	if err != nil {
		return nil, fmt.Errorf("providers.aws.credentials: %w", err)
	}
	o := actaws.Options{EndpointURL: p.EndpointURL, Region: p.Region, HTTPClient: client, Clock: s.Now, Logger: s.Log}
	if len(own) > 0 {
		o.Credentials = actaws.StaticCredentials(own[scanner.PartAccessKeyID].Reveal(), own[scanner.PartSecretAccessKey], own[scanner.PartSessionToken])
	}
	for _, a := range p.Accounts {
		external, err := a.ExternalID.Resolve()
		if err != nil {
			return nil, fmt.Errorf("providers.aws.accounts %s: %w", a.ID, err)
		}
		o.Accounts = append(o.Accounts, actaws.Account{
			ID: a.ID, Name: a.Name, Partition: a.Partition, RoleARN: a.RoleARN, ExternalID: external, Regions: a.Regions, Owner: a.Owner,
		})
	}
	return actaws.New(o)
}

// owner names who answers for an enrolled account.
func (s *Service) owner(provider, account string) string {
	for _, a := range s.Config.Providers[provider].Accounts {
		if a.ID == account {
			return a.Owner
		}
	}
	return ""
}
