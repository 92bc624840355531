package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"stanch/internal/lazyregexp"
	"stanch/responder/incident"
)

// validate checks the values that were written; zero values stand for defaults.
func (d *document) validate(c *Config) {
	d.listen("listen", c.Listen)
	d.listen("admin_listen", c.AdminListen)
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "json", "text")
	c.eachSecret(d.secret)
	d.github(c)
	d.keeper(c.Secrets.Keeper)
	d.policy(c.Policy)
	d.guard(c.Guard)
	d.egress(c.Egress)
	for _, name := range sortedKeys(c.Providers) {
		d.provider(c, name, c.Providers[name])
	}
	d.paths(c)
	d.scanAndTrail(c)
}

func (d *document) bad(field, msg, hint string) { d.add(d.at(field), field, msg, hint) }

func (d *document) oneOf(field, got string, allowed ...string) {
	if got == "" {
		return
	}
	for _, a := range allowed {
		if got == a {
			return
		}
	}
	d.bad(field, "is none of "+strings.Join(allowed, ", "), "write one of "+strings.Join(allowed, ", "))
}

func (d *document) listen(field, addr string) {
	if addr == "" {
		return
	}
	host, port, err := net.SplitHostPort(addr)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n > 65535 || strings.ContainsAny(host, "/@ ") {
		d.bad(field, "is not an address", "write HOST:PORT or :PORT, for example 127.0.0.1:8080")
	}
}

// eachSecret visits every secret reference with its field; what visit changes stays
// changed.
func (c *Config) eachSecret(visit func(field string, s *Secret)) {
	visit("database", &c.Database)
	visit("github.private_key", &c.GitHub.PrivateKey)
	visit("github.webhook_secret", &c.GitHub.WebhookSecret)
	visit("github.previous_webhook_secret", &c.GitHub.PreviousWebhookSecret)
	for _, name := range sortedKeys(c.Providers) {
		p, at := c.Providers[name], join("providers", name)
		for _, part := range sortedKeys(p.Credentials) {
			s := p.Credentials[part]
			visit(join(at+".credentials", part), &s)
			p.Credentials[part] = s
		}
		for i := range p.Accounts {
			visit(fmt.Sprintf("%s.accounts[%d].external_id", at, i), &p.Accounts[i].ExternalID)
		}
	}
}

var envName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (d *document) secret(field string, s *Secret) {
	if s.File != "" && s.Env != "" {
		d.bad(field, "has both file and env", "keep one of file and env")
	}
	if s.Env != "" && !envName().MatchString(s.Env) {
		d.bad(field+".env", "is not the name of an environment variable", "write its name alone, for example STANCH_WEBHOOK_SECRET")
	}
	if strings.ContainsAny(s.File, "\n\x00") {
		d.bad(field+".file", "is not a path", "write the path of a file that holds the secret")
	}
}

func (d *document) github(c *Config) {
	d.url("github.api_url", c.GitHub.APIURL, c.Egress.Allow)
	d.url("github.web_url", c.GitHub.WebURL, c.Egress.Allow)
	if c.GitHub.AppID < 0 {
		d.bad("github.app_id", "is negative", "write the App id from the App's settings page")
	}
	for i, p := range c.GitHub.TrustedProxies {
		_, aerr := netip.ParseAddr(p)
		_, perr := netip.ParsePrefix(p)
		if aerr != nil && perr != nil {
			d.bad(fmt.Sprintf("github.trusted_proxies[%d]", i), "is not an address or network", "write for example 10.0.0.7 or 10.0.0.0/8")
		}
	}
}

// url checks an https URL. Plain http is for loopback and for hosts in egress.allow.
func (d *document) url(field, raw string, allow []string) {
	if raw == "" {
		return
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		d.bad(field, "is not a URL", "write https://HOST with a path where it is needed")
	case u.User != nil:
		d.bad(field, "holds a user name or password", "remove everything before @; credentials have fields of their own")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		d.bad(field, "holds a query or fragment", "remove everything from ? or #")
	case u.Scheme == "http" && !isLoopback(u.Hostname()) && !allowed(allow, u):
		d.bad(field, "uses plain http", fmt.Sprintf("use https, or add %s to egress.allow", u.Host))
	}
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && a.IsLoopback())
}

func allowed(allow []string, u *url.URL) bool {
	for _, a := range allow {
		if strings.EqualFold(a, u.Host) || strings.EqualFold(a, u.Hostname()) {
			return true
		}
	}
	return false
}

func (d *document) keeper(raw string) {
	if raw == "" {
		return
	}
	u, err := url.Parse(raw)
	const hint = "write awskms://, gcpkms://, azurekeyvault:// or file:///ABSOLUTE/PATH"
	if err != nil {
		d.bad("secrets.keeper", "is not a URL", hint)
		return
	}
	switch u.Scheme {
	case "awskms", "gcpkms", "azurekeyvault":
	case "file":
		if u.Host != "" || !filepath.IsAbs(filepath.FromSlash(u.Path)) {
			d.bad("secrets.keeper", "is not an absolute path", "write file:/// and the absolute path of the key")
		}
	default:
		d.bad("secrets.keeper", "is not a keeper that is known", hint)
	}
}

var (
	playbookPattern = lazyregexp.New(`^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_.-]*)?$`)
	providerName    = lazyregexp.New(`^[a-z0-9][a-z0-9_-]{0,63}$`)
	partName        = lazyregexp.New(`^[a-z][a-z0-9_]{0,63}$`)
	accountID       = lazyregexp.New(`^[0-9]{12}$`)
	regionName      = lazyregexp.New(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)
	roleARN         = lazyregexp.New(`^arn:(aws(?:-[a-z]+)*):iam::([0-9]{12}):role/[\w+=,.@/-]+$`)
)

var modes = []string{string(incident.ModeObserve), string(incident.ModeApprove), string(incident.ModeAct)}

func (d *document) policy(p Policy) {
	d.oneOf("policy.mode", string(p.Mode), modes...)
	d.oneOf("policy.approval_default", p.ApprovalDefault, "deny", "approve")
	if p.ApprovalTimeout < 0 {
		d.bad("policy.approval_timeout", "is negative", "write how long an approval waits, for example 30m")
	}
	for i, r := range p.Rules {
		at := fmt.Sprintf("policy.rules[%d]", i)
		if r.Mode == "" {
			d.bad(at, "has no mode", "add mode: "+strings.Join(modes, ", mode: or mode: "))
		}
		d.oneOf(at+".mode", string(r.Mode), modes...)
		d.oneOf(at+".visibility", string(r.Visibility), "public", "internal", "private", "unknown")
		if r.Playbook != "" && !playbookPattern().MatchString(r.Playbook) {
			d.bad(at+".playbook", "is not a playbook", "write a provider such as aws, or provider/kind such as aws/access_key")
		}
		d.glob(at+".repository", r.Repository)
		if r.Repository != "" && strings.Count(r.Repository, "/") != 1 {
			d.bad(at+".repository", "does not match owner/name", "write one slash: owner/name, owner/* or */name")
		}
	}
}

func (d *document) glob(field, pattern string) {
	_, err := path.Match(pattern, "")
	if err != nil {
		d.bad(field, "is not a glob", "use * ? and [a-z]; escape others with a backslash")
	}
}

func (d *document) guard(g Guard) {
	for i, p := range g.NeverTouch {
		d.glob(fmt.Sprintf("guard.never_touch[%d]", i), p)
		if strings.TrimSpace(p) == "" {
			d.bad(fmt.Sprintf("guard.never_touch[%d]", i), "is empty", "write a public id, account, ARN, login or fingerprint")
		}
	}
	for i, p := range g.Honeytokens {
		d.glob(fmt.Sprintf("guard.honeytokens[%d]", i), p)
		if strings.TrimSpace(p) == "" {
			d.bad(fmt.Sprintf("guard.honeytokens[%d]", i), "is empty", "write a public id or account")
		}
	}
	if g.MaxActsPerHour < 0 {
		d.bad("guard.max_acts_per_hour", "is negative", "write how many, or use policy.mode: observe to stop all acts")
	}
	if g.MaxVerdictsPerHour < 0 {
		d.bad("guard.max_verdicts_per_hour", "is negative", "write how many")
	}
	d.oneOf("guard.foreign_accounts", g.ForeignAccounts, "report", "identify")
}

func (d *document) egress(e Egress) {
	for i, a := range e.Allow {
		if !validHostPort(a) {
			d.bad(fmt.Sprintf("egress.allow[%d]", i), "is not a host", "write HOST or HOST:PORT, without https://, a path or *")
		}
	}
}

var hostName = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)

func validHostPort(s string) bool {
	host := s
	if h, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
		host = h
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || (len(host) <= 253 && hostName().MatchString(host))
}

func (d *document) provider(c *Config, name string, p Provider) {
	at := join("providers", name)
	if !providerName().MatchString(name) {
		d.bad("providers", fmt.Sprintf("has the name %.80q", name), "use the provider's name in its playbook, such as aws or github")
		return
	}
	d.url(at+".base_url", p.BaseURL, c.Egress.Allow)
	d.url(at+".endpoint_url", p.EndpointURL, c.Egress.Allow)
	for _, part := range sortedKeys(p.Credentials) {
		if !partName().MatchString(part) {
			d.bad(at+".credentials", fmt.Sprintf("has the part %.80q", part), "use part names such as token, access_key_id or secret_access_key")
			continue
		}
		field := at + ".credentials." + part
		if p.Credentials[part].IsZero() {
			d.bad(field, "has neither file nor env", "add file: PATH or env: NAME")
		}
	}
	if p.Region != "" && !regionName().MatchString(p.Region) {
		d.bad(at+".region", "is not a Region", "write a Region such as us-east-1")
	}
	seen := map[string]bool{}
	for i, a := range p.Accounts {
		d.account(fmt.Sprintf("%s.accounts[%d]", at, i), a, seen)
	}
	for i, o := range p.Owners {
		if strings.TrimSpace(o) == "" || strings.ContainsAny(o, "/ \n") {
			d.bad(fmt.Sprintf("%s.owners[%d]", at, i), "is not a login", "write the organisation's or user's login alone")
		}
	}
}

// parseRoleARN gives the partition and account that a role's ARN names.
func parseRoleARN(arn string) (partition, account string, ok bool) {
	m := roleARN().FindStringSubmatch(arn)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

func (d *document) account(at string, a Account, seen map[string]bool) {
	switch {
	case a.ID == "":
		d.bad(at, "has no id", "add id: and the account's twelve digits in quotes")
	case !accountID().MatchString(a.ID):
		d.bad(at+".id", "is not an account id", "write the account's twelve digits in quotes")
	case seen[a.ID]:
		d.bad(at+".id", "is enrolled twice", "remove one of the two")
	}
	seen[a.ID] = true
	partition, account, ok := parseRoleARN(a.RoleARN)
	switch {
	case a.RoleARN == "" && seen["own credentials"]:
		d.bad(at, "is the second account without role_arn: our own credentials are of one account", "add role_arn: arn:aws:iam::ACCOUNT:role/NAME")
	case a.RoleARN == "" && a.ExternalID != Secret{}:
		d.bad(at+".external_id", "is of no use without role_arn", "add role_arn: arn:aws:iam::ACCOUNT:role/NAME, or remove the line")
	case a.RoleARN == "":
		seen["own credentials"] = true
	case !ok:
		d.bad(at+".role_arn", "is not a role's ARN", "write arn:aws:iam::ACCOUNT:role/NAME")
	case accountID().MatchString(a.ID) && account != a.ID:
		d.bad(at+".role_arn", "names another account than id", "use a role of the account itself")
	case a.Partition != "" && a.Partition != partition:
		d.bad(at+".partition", "differs from the partition in role_arn", "write "+partition+", or remove the line")
	}
	for i, r := range a.Regions {
		if !regionName().MatchString(r) {
			d.bad(fmt.Sprintf("%s.regions[%d]", at, i), "is not a Region", "write a Region such as us-east-1")
		}
	}
}

// paths checks that what must exist does.
func (d *document) paths(c *Config) {
	resolve := func(p string) string {
		if filepath.IsAbs(p) {
			return p
		}
		return filepath.Join(filepath.Dir(d.file), p)
	}
	for field, p := range map[string]string{"data_dir": c.DataDir, "playbooks.dir": c.Playbooks.Dir, "scan.rules": c.Scan.Rules} {
		if strings.ContainsAny(p, "\n\x00") {
			d.bad(field, "is not a path", "write a path")
			return
		}
	}
	if c.Playbooks.Dir != "" {
		info, err := os.Stat(resolve(c.Playbooks.Dir))
		if err != nil || !info.IsDir() {
			d.bad("playbooks.dir", "is not a directory", "create it, or remove the line to use the built-in playbooks alone")
		}
	}
	if c.Scan.Rules != "" {
		info, err := os.Stat(resolve(c.Scan.Rules))
		if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
			d.bad("scan.rules", "is not a file or directory", "write the path of a gitleaks TOML file or of a directory of such, or remove the line")
		}
	}
	if c.DataDir != "" {
		info, err := os.Stat(resolve(c.DataDir))
		if err == nil && !info.IsDir() {
			d.bad("data_dir", "is not a directory", "write the path of a directory; it is created when it does not exist")
		}
	}
}

func (d *document) scanAndTrail(c *Config) {
	for _, n := range []struct {
		field string
		value int64
	}{
		{"scan.timeout", int64(c.Scan.Timeout)},
		{"scan.max_pack_bytes", c.Scan.MaxPackBytes},
		{"scan.max_blob_bytes", c.Scan.MaxBlobBytes},
		{"scan.workers", int64(c.Scan.Workers)},
		{"scan.sweep_every", int64(c.Scan.SweepEvery)},
		{"trail.lookback", int64(c.Trail.Lookback)},
		{"ledger.interval", int64(c.Ledger.Interval)},
	} {
		if n.value < 0 {
			d.bad(n.field, "is negative", "write a positive value, or remove the line to have the default")
		}
	}
	for i, p := range c.Trail.Polls {
		field := fmt.Sprintf("trail.polls[%d]", i)
		if p < 0 {
			d.bad(field, "is negative", "polls are times after containment; start with 0s")
		} else if i > 0 && p <= c.Trail.Polls[i-1] {
			d.bad(field, "is not later than the one before it", "list the times in rising order")
		}
	}
	if o := c.Ledger.Origin; strings.ContainsAny(o, "+ \t\r\n") || len(o) > 255 {
		d.bad("ledger.origin", "is not an origin", "write a name without blanks or +, such as stanch.example.org/ledger")
	}
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
