package structured

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	ruleURL        = "structured-url-password"
	ruleConnection = "structured-connection-string"
	ruleBasic      = "structured-basic-authorization"
	ruleBearer     = "structured-authorization-header"
	ruleCommand    = "structured-command-password"
	ruleSQL        = "structured-sql-password"
)

// How far a URL is read to the left of its "@".
const longestUserinfo = 512

// engines are the schemes of connection strings that name what they open.
var engines = map[string]string{
	"postgres": "postgres", "postgresql": "postgres", "pgsql": "postgres", "psql": "postgres", "pg": "postgres", "cockroachdb": "postgres", "redshift": "postgres", "timescaledb": "postgres", "postgis": "postgres",
	"mysql": "mysql", "mysql2": "mysql", "mariadb": "mysql", "mysqlx": "mysql", "tidb": "mysql", "aurora": "mysql",
	"redis": "redis", "rediss": "redis", "valkey": "redis", "amqp": "rabbitmq", "amqps": "rabbitmq", "mongodb": "mongodb", "mongo": "mongodb",
	"sqlserver": "sqlserver", "mssql": "sqlserver", "oracle": "oracle-database", "clickhouse": "clickhouse", "snowflake": "snowflake", "elasticsearch": "elasticsearch",
	"neo4j": "neo4j", "bolt": "neo4j", "cassandra": "cassandra", "couchbase": "couchbase", "couchbases": "couchbase", "nats": "nats", "kafka": "kafka", "memcached": "memcached", "influxdb": "influxdb",
	"ldap": "ldap", "ldaps": "ldap", "ftp": "ftp", "ftps": "ftp", "sftp": "ssh", "ssh": "ssh", "smtp": "smtp", "smtps": "smtp", "imap": "imap", "imaps": "imap", "pop3": "pop3",
	"mqtt": "mqtt", "mqtts": "mqtt", "db2": "db2", "hive2": "hive", "presto": "presto", "trino": "trino", "vertica": "vertica", "rtsp": "rtsp", "socks5": "proxy", "socks5h": "proxy",
}

// hosts are services whose credentials stand in plain HTTP URLs.
var hosts = []struct{ suffix, provider string }{
	{"github.com", "github"}, {"githubusercontent.com", "github"}, {"ghcr.io", "github"}, {"gitlab.com", "gitlab"}, {"bitbucket.org", "bitbucket"}, {"docker.io", "docker"}, {"dev.azure.com", "azure"}, {"visualstudio.com", "azure"},
	{"azurecr.io", "azure"}, {"pkgs.dev.azure.com", "azure"}, {"pypi.org", "pypi"}, {"npmjs.org", "npm"}, {"npmjs.com", "npm"}, {"jfrog.io", "jfrog"}, {"cloudsmith.io", "cloudsmith"}, {"gemfury.com", "gemfury"}, {"fury.io", "gemfury"},
	{"packagecloud.io", "packagecloud"}, {"quay.io", "quay"}, {"gcr.io", "gcp"}, {"pkg.dev", "gcp"}, {"amazonaws.com", "aws"}, {"cloudinary.com", "cloudinary"}, {"rubygems.org", "rubygems"}, {"nuget.org", "nuget"},
	{"herokuapp.com", "heroku"}, {"heroku.com", "heroku"}, {"mongodb.net", "mongodb"}, {"neon.tech", "neon"}, {"supabase.co", "supabase"}, {"elastic-cloud.com", "elastic"}, {"atlassian.net", "atlassian"}, {"zendesk.com", "zendesk"},
	{"twilio.com", "twilio"}, {"registry.gitlab.com", "gitlab"}, {"codeberg.org", "codeberg"}, {"huggingface.co", "huggingface"}, {"hf.co", "huggingface"}, {"repo.maven.apache.org", "maven"}, {"maven.pkg.github.com", "github"},
}

func providerOfHost(host string) string {
	host = strings.ToLower(host)
	for _, h := range hosts {
		if host == h.suffix || strings.HasSuffix(host, "."+h.suffix) {
			return h.provider
		}
	}
	return ""
}

// urlStop are bytes that end a URL in running text.
var urlStop = func() (t [256]bool) {
	for c := range t {
		t[c] = c <= ' ' || c == 0x7f || strings.IndexByte("\"'`<>", byte(c)) >= 0
	}
	return t
}()

// at looks to the left of an "@". What the one before it saw is not looked at
// again: a text of nothing else takes linear time. It reports whether there is
// anything that could be a URL or a connection string.
func (f *finder) at(at int) bool {
	d := f.data
	i, user := at, -1
	low := max(0, at-longestUserinfo)
	for i > low && !urlStop[d[i-1]] {
		if i <= f.lastAt {
			i, user = f.lastFrom, f.lastUser
			break
		}
		if d[i-1] == '/' && i >= 3 && d[i-2] == '/' && d[i-3] == ':' {
			user = i
			break
		}
		i--
	}
	f.lastAt, f.lastFrom, f.lastUser = at, i, user
	if user >= 0 {
		if at-user <= longestUserinfo {
			f.url(user-3, user, at)
		}
		return true
	}
	i = max(i, low)
	rest := d[at+1:]
	switch {
	case bytes.HasPrefix(rest, []byte("tcp(")), bytes.HasPrefix(rest, []byte("unix(")):
		f.goDSN(i, at)
		return true
	case (f.lastOracle < i || f.lastOracle == 0) && bytes.IndexByte(d[i:at], '/') >= 0:
		n := indexFold(d[i:at], "jdbc:oracle:")
		if n >= 0 {
			f.lastOracle = at
			f.oracle(i+n, at)
			return true
		}
	}
	return false
}

// url reads scheme "://" userinfo "@" host. colon is where "://" stands.
func (f *finder) url(colon, user, at int) {
	d := f.data
	begin := colon
	for begin > 0 && colon-begin < 24 && (word(d[begin-1]) && d[begin-1] != '_' || d[begin-1] == '+' || d[begin-1] == '-') {
		begin--
	}
	scheme := strings.ToLower(string(d[begin:colon]))
	if scheme == "" {
		return
	}
	host, port, end := authority(d, at+1)
	if host == "" || end < len(d) && d[end] == '@' {
		return // the "@" stands in the password: a later one is the right one
	}
	base, _, _ := strings.Cut(scheme, "+")
	provider := engines[base]
	info := d[user:at]
	name, pass, both := bytes.Cut(info, []byte(":"))
	if bytes.ContainsAny(name, "/?#\\[]{}()|^*=,") || bytes.ContainsAny(pass, "\\{}") {
		return
	}
	slash := bytes.IndexAny(pass, "/?#")
	if slash >= 0 && (provider == "" || slash < 6 && digits(pass[:slash])) {
		return
	}
	path, database := d[end:end], ""
	if end < len(d) && d[end] == '/' {
		n := end
		for n < len(d) && n-end < 256 && !urlStop[d[n]] && d[n] != ',' && d[n] != ')' {
			n++
		}
		path = d[end:n]
		database, _, _ = strings.Cut(string(path[1:]), "?")
	}
	h := Hit{
		Rule: ruleURL, Description: "Password in a URL, with the host that it opens.", Provider: provider, Kind: "password",
		Start: user + len(name) + 1, End: at, From: begin, To: end + len(path), Confidence: Medium,
		Parts: map[string]string{"scheme": scheme, "host": host, "port": port, "user": unescape(name)},
	}
	if provider != "" && database != "" && !strings.ContainsAny(database, "/%$") {
		h.Parts["database"] = database
	}
	if provider == "" {
		h.Provider = providerOfHost(host)
	}
	switch {
	case !both && random(string(name)) == 2 && len(name) >= 20 && (strings.HasPrefix(base, "http") || base == "git"):
		h.Start, h.End, h.Kind, h.Part = user, at, "token", "token"
		h.Parts["user"] = ""
		if strings.Contains(host, "sentry") {
			h.Public = "a Sentry DSN, which is made to be published"
		}
	case !both || len(pass) == 0:
		return
	case len(name) >= 20 && slices.Contains([]string{"x-oauth-basic", "x", "oauth2", "X"}, string(pass)):
		h.Start, h.End, h.Kind, h.Part = user, user+len(name), "token", "token"
		h.Parts["user"] = ""
	}
	h.Secret = unescape(d[h.Start:h.End])
	if !utf8.ValidString(h.Secret) || format(h.Secret) || format(string(name)) {
		return
	}
	h.Placeholder = placeholder(h.Secret)
	if h.Placeholder == "" {
		h.Placeholder = placeholderHost(host)
	}
	if h.Placeholder == "" && random(h.Secret) == 0 {
		h.Confidence = Low
	}
	f.local(&h, host)
	f.add(h)
}

// local lowers what opens only the machine on which it is used.
func (f *finder) local(h *Hit, host string) {
	low := strings.ToLower(host)
	switch {
	case low == "localhost" || strings.HasPrefix(low, "127.") || low == "::1" || low == "0.0.0.0" || low == "host.docker.internal" || strings.HasSuffix(low, ".local") || strings.HasSuffix(low, ".localhost"):
		h.Reasons = append(h.Reasons, "the host is the machine itself")
		h.Confidence = Low
	case !strings.Contains(low, ".") && !strings.Contains(low, ":"):
		h.Reasons = append(h.Reasons, "the host is a name of a local network")
		h.Confidence = min(h.Confidence, Low)
	}
	user := h.Parts["user"]
	if h.Placeholder == "" && h.Secret != "" && strings.EqualFold(user, h.Secret) {
		h.Placeholder = "the password is the user's name"
	}
}

func placeholderHost(host string) string {
	low := strings.ToLower(strings.TrimSuffix(host, "."))
	for _, s := range []string{"example.com", "example.org", "example.net", "example", "invalid", "test", "host.com", "domain.com", "foo.com", "bar.com", "acme.com", "mydomain.com", "yourdomain.com", "server.com", "myserver.com", "site.com", "website.com", "company.com"} {
		if low == s || strings.HasSuffix(low, "."+s) {
			return "the host is one that examples use"
		}
	}
	for _, s := range []string{"host", "hostname", "server", "myhost", "my-host", "your-host", "yourhost", "dbhost", "db-host", "domain", "url", "ip", "address", "endpoint", "foo", "bar", "somehost", "some-host", "host1", "hosta"} {
		if low == s {
			return "the host is a word in place of a name"
		}
	}
	if strings.Contains(low, "example") || strings.HasPrefix(low, "your") {
		return "the host is one that examples use"
	}
	return ""
}

// authority reads host and port at i, and gives where they end.
func authority(d []byte, i int) (host, port string, end int) {
	start := i
	if i < len(d) && d[i] == '[' {
		n := bytes.IndexByte(d[i:min(len(d), i+64)], ']')
		if n < 0 {
			return "", "", i
		}
		host, i = string(d[i+1:i+n]), i+n+1
	} else {
		for i < len(d) && i-start < 256 && (word(d[i]) || d[i] == '.' || d[i] == '-') {
			i++
		}
		host = string(d[start:i])
	}
	if i+1 < len(d) && d[i] == ':' && d[i+1] >= '0' && d[i+1] <= '9' {
		n := i + 1
		for n < len(d) && n-i < 7 && d[n] >= '0' && d[n] <= '9' {
			n++
		}
		port, i = string(d[i+1:n]), n
	}
	if host == "" || !word(host[0]) && host[0] != ':' || host[0] == '_' {
		return "", "", i
	}
	return host, port, i
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

func unescape(b []byte) string {
	s, err := url.PathUnescape(string(b))
	if err != nil {
		return string(b)
	}
	return s
}

// format reports a piece of a format string or of a regular expression.
func format(s string) bool {
	for _, p := range []string{"%s", "%v", "%d", "%q", "{}", "[^", ".*", ".+", "\\w", "\\S", "\\s", "[a-z", "[A-Z", "...", "$1", "\" +", "' +", "+\"", "+ "} {
		if strings.Contains(s, p) {
			return true
		}
	}
	n := strings.IndexByte(s, '{')
	if n >= 0 && strings.IndexByte(s[n:], '}') > 0 {
		return true
	}
	return strings.HasPrefix(s, "$") || strings.HasPrefix(s, ":") || strings.HasPrefix(s, "%") && strings.HasSuffix(s, "%")
}

// goDSN reads user:password@tcp(host)/database, as Go's MySQL driver takes it.
func (f *finder) goDSN(from, at int) {
	d := f.data
	name, pass, ok := bytes.Cut(d[from:at], []byte(":"))
	if !ok || len(pass) == 0 || len(name) == 0 || bytes.ContainsAny(name, "(){}[],=/") {
		return
	}
	open := at + 1 + bytes.IndexByte(d[at+1:], '(')
	shut := bytes.IndexByte(d[open:min(len(d), open+256)], ')')
	if shut < 0 {
		return
	}
	host, port, _ := authority(d, open+1)
	h := Hit{
		Rule: ruleConnection, Description: "Password in the connection string of a database.", Provider: "mysql", Kind: "password", Secret: string(pass), Start: at - len(pass), End: at, From: from, To: open + shut + 1,
		Confidence: Medium, Parts: map[string]string{"host": host, "port": port, "user": string(name)}, Placeholder: placeholder(string(pass)),
	}
	if format(h.Secret) || format(string(name)) {
		return
	}
	f.local(&h, host)
	f.add(h)
}

// oracle reads jdbc:oracle:thin:user/password@host.
func (f *finder) oracle(from, at int) {
	s := string(f.data[from:at])
	n := strings.LastIndexByte(s, ':')
	name, pass, ok := strings.Cut(s[n+1:], "/")
	if !ok || name == "" || pass == "" || format(pass) {
		return
	}
	i := at + 1
	for i < len(f.data) && f.data[i] == '/' {
		i++
	}
	host, port, end := authority(f.data, i)
	f.add(Hit{
		Rule: ruleConnection, Description: "Password in the connection string of a database.", Provider: "oracle-database", Kind: "password", Secret: pass, Start: at - len(pass), End: at, From: from, To: end,
		Confidence: Medium, Parts: map[string]string{"host": host, "port": port, "user": name},
	})
}

// connection reads Server=...;User Id=...;Password=..., host=... password=... and
// jdbc:...?user=...&password=...; the pair alone is not enough.
func (f *finder) connection(at int) {
	d := f.data
	from, to := f.line(at)
	eq := at + bytes.IndexByte(d[at:min(to, at+24)], '=')
	if eq < at || eq+1 >= to {
		return
	}
	key := strings.ToLower(strings.Trim(string(d[at:eq]), "; "))
	if key != "password" && key != "pwd" {
		return
	}
	before := byte(' ')
	k := at + bytes.IndexAny(bytes.ToLower(d[at:eq]), "pw")
	if k > from {
		before = d[k-1]
	}
	if word(before) {
		return
	}
	// The string that holds it: to the nearest quotes, which a value may hold too.
	left, right := from, to
	for i := k - 1; i >= from; i-- {
		if d[i] == '"' || d[i] == '`' || d[i] == '\'' && before != ' ' {
			left = i + 1
			break
		}
	}
	i := eq + 1
	for i < to && d[i] == ' ' {
		i++
	}
	var quote byte
	if i < to && (d[i] == '\'' || d[i] == '"' && before == ' ') {
		quote = d[i]
		i++
	}
	end := i
	for end < right && d[end] != '"' && d[end] != '`' && d[end] != '<' {
		c := d[end]
		if quote != 0 && c == quote || quote == 0 && (c == ';' || c == '&' || c == '\'' || c == ' ' && before == ' ' || c == ',' && before == ' ') {
			break
		}
		end++
	}
	v := strings.TrimRight(string(d[i:end]), " \\")
	around := strings.ToLower(string(d[left:min(right, end+512)]))
	if v == "" || len(v) > 200 || format(v) || code(v) && !strings.ContainsAny(around, ";") {
		return
	}
	parts := map[string]string{}
	for part, names := range map[string][]string{
		"host": {"data source=", "datasource=", "server=", "host=", "hostname=", "addr=", "address=", "network address=", "endpoint=", "servername="},
		"user": {"user id=", "userid=", "uid=", "username=", "user=", "user name="}, "database": {"initial catalog=", "database=", "dbname=", "databasename="}, "port": {"port="},
	} {
		for _, n := range names {
			if x := strings.Index(around, n); x >= 0 && (x == 0 || !word(around[x-1])) {
				rest := string(d[left+x+len(n) : min(right, end+512)])
				parts[part] = strings.Trim(rest[:len(rest)-len(strings.TrimLeftFunc(rest, func(r rune) bool { return !strings.ContainsRune(";&'\"` ,\n", r) }))], " ")
				break
			}
		}
	}
	jdbc := strings.Index(around, "jdbc:")
	provider := ""
	if jdbc >= 0 {
		name, rest, _ := strings.Cut(around[jdbc+5:], ":")
		provider = engines[name]
		if n := strings.Index(rest, "//"); n >= 0 {
			h, p, _ := authority([]byte(rest), n+2)
			parts["host"], parts["port"] = h, p
		}
	}
	switch {
	case jdbc >= 0:
	case before == ' ' && !strings.Contains(around, ";") && (parts["host"] == "" || parts["user"] == "" && parts["database"] == ""):
		return
	case parts["host"] == "" && (parts["user"] == "" || !strings.Contains(around, ";")):
		return
	case strings.Contains(around, "dbname="):
		provider = "postgres"
	case strings.Contains(around, "data source=") || strings.Contains(around, "initial catalog=") || strings.Contains(around, "server=tcp:") || strings.Contains(around, "database.windows.net"):
		provider = "sqlserver"
	case strings.Contains(around, "ssl mode=") || strings.Contains(around, "sslmode="):
		provider = "postgres"
	}
	h := Hit{
		Rule: ruleConnection, Description: "Password in the connection string of a database.", Provider: provider, Kind: "password", Secret: v, Start: i, End: i + len(v), From: left, To: end, Confidence: Medium, Parts: parts,
		Placeholder: placeholder(v),
	}
	if h.Placeholder == "" && parts["host"] != "" {
		h.Placeholder = placeholderHost(parts["host"])
	}
	if random(v) == 0 {
		h.Confidence = Low
	}
	f.local(&h, parts["host"])
	f.add(h)
}

// header reads Basic credentials, and what follows Authorization.
func (f *finder) header(at int) {
	d := f.data
	_, to := f.line(at)
	switch {
	case hasFold(d[at:], "basic "):
		start := skipSpace(d, at+6, to)
		end := tokenEnd(d, start, to)
		f.basic(d[start:end], start, end, at)
	default:
		// Authorization: [scheme] value
		i, bearer := at, false
		for i < to && (word(d[i]) || d[i] == '-') {
			i++
		}
		for i < to && strings.IndexByte("\"'` \t])", d[i]) >= 0 {
			i++
		}
		if i >= to || d[i] != ':' && d[i] != '=' && d[i] != ',' {
			return
		}
		i++
		for i < to && strings.IndexByte("=>\"'` \t", d[i]) >= 0 {
			i++
		}
		end := tokenEnd(d, i, to)
		if end < to && d[end] == ' ' && end-i <= 12 && end > i {
			if hasFold(d[i:], "basic ") {
				return // has an anchor of its own
			}
			bearer = hasFold(d[i:], "bearer ")
			i = skipSpace(d, end, to)
			end = tokenEnd(d, i, to)
		}
		s := string(d[i:end])
		switch {
		case bearer && len(s) >= 16 && !code(s) && (random(s) == 2 || strings.HasPrefix(s, "eyJ")):
			f.add(Hit{Rule: ruleBearer, Description: "Bearer token in an Authorization header.", Kind: "bearer_token", Part: "token", Secret: s, Start: i, End: end, From: at, To: end, Confidence: Medium})
		case len(s) >= 20 && random(s) == 2 && !code(s) && strings.ContainsAny(s, "0123456789"):
			f.add(Hit{Rule: ruleBearer, Description: "Token in an Authorization header.", Kind: "authorization_header", Part: "token", Secret: s, Start: i, End: end, From: at, To: end, Confidence: Medium})
		}
	}
}

// basic reads base64 of user:password.
func (f *finder) basic(enc []byte, start, end, at int) bool {
	user, pass, ok := userPassword(enc)
	if !ok || strings.HasPrefix(user, "{") { // JSON in base 64: a part of a JWT
		return false
	}
	h := Hit{
		Rule: ruleBasic, Description: "User and password in a Basic Authorization header.", Kind: "password", Secret: pass, Start: start, End: end, From: at, To: end, Encoded: "base64", Confidence: Medium,
		Parts: map[string]string{"user": user},
	}
	if random(pass) == 0 {
		h.Confidence = Low
	}
	if strings.EqualFold(user, pass) {
		h.Placeholder = "the password is the user's name"
	}
	f.add(h)
	return true
}

func userPassword(enc []byte) (user, pass string, ok bool) {
	s := strings.TrimRight(string(enc), "=")
	if len(s) < 6 || len(s) > 1024 {
		return "", "", false
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		b, err = base64.RawURLEncoding.DecodeString(s)
	}
	if err != nil || !printable(b) {
		return "", "", false
	}
	u, p, ok := bytes.Cut(b, []byte(":"))
	return string(u), string(p), ok && len(p) > 0
}

func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}

func skipSpace(d []byte, i, to int) int {
	for i < to && (d[i] == ' ' || d[i] == '\t') {
		i++
	}
	return i
}

func tokenEnd(d []byte, i, to int) int {
	for i < to && (word(d[i]) || strings.IndexByte(".~+/=-:!@#%^&*$", d[i]) >= 0) {
		i++
	}
	return i
}
