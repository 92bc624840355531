package scanner

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"stanch/internal/lazyregexp"
	"stanch/internal/secret"
	"stanch/scanner/match"
	"stanch/scanner/rules"
)

// A family is a provider whose credentials have more than one part. Parts are
// named as the rules name them, with the kind where the part is just "token".
type family struct {
	secret string   // what takes parts: a part or a kind; "" is any secret of the provider
	takes  []string // the parts or kinds that it needs beside it
	id     string   // the one of them that identifies the credential, if one does
}

// families are what is known of providers with several parts, from their
// documentation; the empty name holds for all.
var families = map[string][]family{
	"": {
		{"client_secret", []string{"client_id"}, "client_id"},
		{"secret_access_key", []string{"access_key_id"}, "access_key_id"},
		{"secret_key", []string{"access_key_id", "access_key", "secret_id", "access_id", "key_id"}, ""},
		{"key_secret", []string{"key_id"}, "key_id"},
		{"app_secret", []string{"app_id", "app_key"}, "app_id"},
		{"consumer_secret", []string{"consumer_key", "client_id"}, ""},
	},
	"alibaba":      {{"", []string{"access_key_id"}, "access_key_id"}},
	"tencent":      {{"", []string{"secret_id"}, "secret_id"}},
	"volcengine":   {{"", []string{"access_key_id"}, "access_key_id"}},
	"naver":        {{"", []string{"access_key_id"}, "access_key_id"}},
	"scaleway":     {{"", []string{"access_key"}, "access_key"}},
	"exoscale":     {{"", []string{"api_key"}, "api_key"}},
	"digitalocean": {{"spaces_secret_key", []string{"access_id", "spaces_access_key"}, ""}},
	"gcp":          {{"hmac_secret", []string{"access_id", "hmac_key_id"}, "access_id"}, {"client_secret", []string{"client_id"}, "client_id"}, {"oauth_refresh_token", []string{"client_id", "client_secret"}, ""}},
	"google":       {{"client_secret", []string{"client_id"}, "client_id"}, {"refresh_token", []string{"client_id", "client_secret"}, ""}},
	"azure":        {{"client_secret", []string{"client_id", "tenant_id"}, ""}, {"storage_account_key", []string{"account_name"}, ""}},
	"twilio":       {{"auth_token", []string{"account_sid"}, "account_sid"}, {"api_key_secret", []string{"key_sid", "account_sid"}, "key_sid"}, {"", []string{"account_sid", "key_sid"}, ""}},
	"datadog":      {{"application_key", []string{"api_key"}, ""}, {"app_key", []string{"api_key"}, ""}},
	"algolia":      {{"", []string{"app_id", "application_id"}, ""}},
	"cloudflare":   {{"global_api_key", []string{"email"}, ""}},
	"plivo":        {{"", []string{"auth_id"}, "auth_id"}},
	"razorpay":     {{"", []string{"key_id"}, "key_id"}},
	"paypal":       {{"", []string{"client_id"}, "client_id"}},
	"salesforce":   {{"", []string{"client_id"}, ""}},
	"shopify":      {{"shared_secret", []string{"api_key", "client_id"}, ""}},
	"mongodb":      {{"atlas_private_key", []string{"public_key", "atlas_public_key"}, ""}},
	"oracle":       {{"", []string{"fingerprint", "user_ocid", "tenancy_ocid"}, "fingerprint"}},
	"twitter":      {{"api_secret", []string{"api_key"}, ""}, {"access_secret", []string{"access_token", "api_key", "api_secret"}, ""}},
	"plaid":        {{"", []string{"client_id"}, "client_id"}},
	"sumologic":    {{"", []string{"access_id"}, "access_id"}},
	"sendbird":     {{"", []string{"access_id"}, "access_id"}},
	"kucoin":       {{"secret_key", []string{"access_token"}, ""}},
	"bittrex":      {{"secret_key", []string{"access_key"}, ""}},
	"confluent":    {{"secret_key", []string{"access_token", "api_key"}, ""}},
	"coinbase":     {{"", []string{"key_id"}, "key_id"}},
	"newrelic":     {{"user_api_key", []string{"user_api_id"}, ""}},
	"slack":        {{"config_access_token", []string{"config_refresh_token"}, ""}},
	"trello":       {{"", []string{"api_key"}, ""}},
	"bitbucket":    {{"client_secret", []string{"client_id"}, "client_id"}},
	"vonage":       {{"", []string{"api_key"}, "api_key"}},
	"mailjet":      {{"", []string{"api_key"}, "api_key"}},
	"cloudinary":   {{"", []string{"api_key", "cloud_name"}, "api_key"}},
}

func asciiLower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func is(f *Finding, name string) bool { return f.Part == name || f.Kind == name }

// takes gives the parts that a finding needs beside it.
func takes(f *Finding) (names []string, id string) {
	if f.Provider == "" || f.Provider == "aws" {
		return nil, ""
	}
	for _, list := range [][]family{families[f.Provider], families[""]} {
		for _, row := range list {
			switch {
			case row.secret != "" && !is(f, row.secret):
			case slices.ContainsFunc(row.takes, func(n string) bool { return is(f, n) }):
			default:
				return row.takes, row.id
			}
		}
	}
	return nil, ""
}

// borrowed are the parts that the value of a credential takes from other
// findings: by the name that its family gives them, nearest first.
type borrowed struct {
	parts map[string][]secret.Value
	id    string
}

func valueKey(provider, value string) string { return provider + "\x00" + value }

// borrow looks for the parts that credentials of several parts need.
func (j *joiner) borrow(found []Finding) {
	j.lent, j.absorbed = map[string]borrowed{}, map[string]bool{}
	byProvider := map[string][]*Finding{}
	for i := range found {
		f := &found[i]
		if f.Provider != "" && f.Provider != "aws" && f.Suppressed == "" && !f.Secret.IsZero() {
			byProvider[f.Provider] = append(byProvider[f.Provider], f)
		}
	}
	for provider, fs := range byProvider {
		for _, f := range fs {
			names, id := takes(f)
			key := valueKey(provider, f.Secret.Reveal())
			if _, ok := j.lent[key]; ok || len(names) == 0 {
				continue
			}
			b := borrowed{map[string][]secret.Value{}, id}
			for _, name := range names {
				b.parts[name] = nearest(f, fs, name)
			}
			j.lent[key] = b
		}
	}
	// A part that is public is shown with what took it; another secret is a
	// credential of its own beside.
	public := map[string]bool{}
	for provider, fs := range byProvider {
		for _, f := range fs {
			if f.Class == ClassPublic {
				public[valueKey(provider, f.Secret.Reveal())] = true
			}
		}
	}
	for key, b := range j.lent {
		provider, _, _ := strings.Cut(key, "\x00")
		for _, vs := range b.parts {
			if len(vs) > 0 && public[valueKey(provider, vs[0].Reveal())] {
				j.absorbed[valueKey(provider, vs[0].Reveal())] = true
			}
		}
	}
}

// nearest gives the values under a name, nearest to f first, at most
// mostCandidates of those around it and in other files.
func nearest(f *Finding, all []*Finding, name string) []secret.Value {
	type at struct {
		v secret.Value
		d distance
	}
	var list []at
	n, elsewhere := 0, 0
	first := true // the part stands in front of the secret, as it mostly does
	for _, g := range all {
		if g == f || !is(g, name) || is(f, name) {
			continue
		}
		n++
		if n > 50*mostCandidates {
			break
		}
		d := distance{tier: 2, lines: elsewhere}
		if keyOf(g.Place).fileKey == keyOf(f.Place).fileKey {
			d = measure(g, f, first)
		} else {
			elsewhere++
		}
		list = append(list, at{g.Secret, d})
	}
	slices.SortStableFunc(list, func(a, b at) int { return a.d.compare(b.d) })
	var out []secret.Value
	for _, a := range list {
		if len(out) > mostCandidates {
			break
		}
		if !slices.ContainsFunc(out, func(v secret.Value) bool { return v.Equal(a.v) }) {
			out = append(out, a.v)
		}
	}
	return out
}

// complete puts the borrowed parts into a credential.
func (j *joiner) complete(c *Credential, provider, value string) {
	b, ok := j.lent[valueKey(provider, value)]
	if !ok {
		return
	}
	for name, vs := range b.parts {
		if len(vs) == 0 {
			continue
		}
		c.Parts[name] = vs[0]
		if name == b.id {
			c.PublicID = vs[0].Reveal()
		}
		if len(vs) > 1 {
			if c.Candidates == nil {
				c.Candidates = map[string][]secret.Value{}
			}
			c.Candidates[name] = vs[1:]
		}
	}
}

// A companion is a part that identifies a credential and is no secret, and that no
// rule looks for by itself: it is read where one of the provider's stands near.
type companion struct {
	part    string
	near    string // a word that must stand in front of it on the line, in lower case; "" for none
	pattern func() *regexp.Regexp
}

const uuid = `[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`

func of(part, near, pattern string) companion {
	return companion{part, near, lazyregexp.New(`(?:^|[^0-9A-Za-z_-])(` + pattern + `)(?:[^0-9A-Za-z_-]|$)`)}
}

// companions by provider. Each is looked for within the window around a finding.
var companions = map[string][]companion{
	"azure":      {of("tenant_id", "tenant", uuid), of("client_id", "client", uuid), of("client_id", "app", uuid), of("subscription_id", "subscription", uuid), of("account_name", "accountname=", `[a-z0-9]{3,24}`), of("host", "", `[a-z0-9-]+\.(?:[a-z0-9-]+\.)?(?:windows\.net|azure\.com|azure-api\.net|azurecr\.io|azuredatabricks\.net|documents\.azure\.com)`)},
	"twilio":     {of("account_sid", "", `AC[0-9a-f]{32}`), of("key_sid", "", `SK[0-9a-f]{32}`)},
	"gcp":        {of("client_id", "", `[0-9]{6,}-[0-9a-z]{32}\.apps\.googleusercontent\.com`), of("client_email", "", `[a-z0-9-]+@[a-z0-9-]+\.iam\.gserviceaccount\.com`)},
	"google":     {of("client_id", "", `[0-9]{6,}-[0-9a-z]{32}\.apps\.googleusercontent\.com`)},
	"algolia":    {of("app_id", "app", `[A-Z0-9]{10}`)},
	"cloudflare": {of("email", "mail", `[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`), of("account_id", "account", `[0-9a-f]{32}`), of("zone_id", "zone", `[0-9a-f]{32}`)},
	"atlassian":  {of("host", "", `[a-z0-9-]+\.atlassian\.net`), of("user", "", `[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`)},
	"shopify":    {of("shop", "", `[a-z0-9-]+\.myshopify\.com`)},
	"salesforce": {of("host", "", `[a-z0-9.-]+\.(?:my\.)?salesforce\.com`)},
	"okta":       {of("host", "", `[a-z0-9-]+\.okta(?:preview|-emea)?\.com`)},
	"auth0":      {of("host", "", `[a-z0-9-]+(?:\.[a-z]{2})?\.auth0\.com`), of("client_id", "client", `[A-Za-z0-9]{32}`)},
	"zendesk":    {of("host", "", `[a-z0-9-]+\.zendesk\.com`), of("user", "", `[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`)},
	"databricks": {of("host", "", `[a-z0-9.-]+\.(?:cloud\.databricks\.com|azuredatabricks\.net|gcp\.databricks\.com)`)},
	"datadog":    {of("site", "", `(?:us3\.|us5\.|ap1\.)?datadoghq\.(?:com|eu)`)},
	"jfrog":      {of("host", "", `[a-z0-9-]+\.jfrog\.io`)},
	"grafana":    {of("host", "", `[a-z0-9-]+\.grafana\.net`)},
	"supabase":   {of("project", "", `[a-z]{20}\.supabase\.co`)},
	"mailgun":    {of("domain", "", `(?:mg|mail|email)\.[a-z0-9-]+\.[a-z.]{2,}|sandbox[0-9a-f]{32}\.mailgun\.org`)},
	"snowflake":  {of("host", "", `[a-z0-9_.-]+\.snowflakecomputing\.com`)},
	"elastic":    {of("host", "", `[a-z0-9.-]+\.(?:es|elastic-cloud)\.(?:io|com)`)},
	"vault":      {of("host", "vault_addr", `https?://[A-Za-z0-9.-]+(?::[0-9]+)?`)},
	"oracle":     {of("user_ocid", "", `ocid1\.user\.oc1\.\.[a-z0-9]{60}`), of("tenancy_ocid", "", `ocid1\.tenancy\.oc1\.\.[a-z0-9]{60}`)},
	"discord":    {of("client_id", "client", `[0-9]{17,20}`)},
	"github":     {of("client_id", "", `Iv1\.[0-9a-f]{16}|Iv23[0-9A-Za-z]{16}`)},
	"telegram":   {of("chat_id", "chat", `-?[0-9]{8,14}`)},
	"braintree":  {of("merchant_id", "merchant", `[0-9a-z]{16}`), of("public_key", "public", `[0-9a-z]{16}`)},
}

// companionsOf reads what stands near a finding and identifies it; nil when
// nothing does. The nearest of each part is taken.
func companionsOf(text []byte, m *match.Match) map[string]string {
	k, typed := rules.Of(m.Rule, m.Secret)
	list := companions[k.Provider]
	if !typed || len(list) == 0 || m.PathOnly {
		return nil
	}
	from, to := window(text, m.SecretAt.Start)
	from, to = max(from, m.SecretAt.Start-mostMatch), min(to, m.SecretAt.Start+mostMatch)
	near := text[from:to]
	var lower []byte
	var out map[string]string
	for _, c := range list {
		if c.part == k.Part || out[c.part] != "" {
			continue
		}
		best, least := "", 1<<30
		for _, at := range c.pattern().FindAllSubmatchIndex(near, 64) {
			start, end := at[2], at[3]
			if c.near != "" {
				if lower == nil {
					lower = asciiLower(near)
				}
				line := max(bytes.LastIndexByte(near[:start], '\n'), start-80, 0)
				if !bytes.Contains(lower[line:start], []byte(c.near)) {
					continue
				}
			}
			d := abs(from + start - m.SecretAt.Start)
			if from+start < m.SecretAt.End && from+end > m.SecretAt.Start || d >= least {
				continue
			}
			best, least = string(near[start:end]), d
		}
		if best != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[c.part] = best
		}
	}
	return out
}
