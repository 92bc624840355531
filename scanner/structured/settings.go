package structured

import (
	"bytes"
	"path"
	"strconv"
	"strings"
)

const ruleSetting = "structured-setting"

var (
	settingExt  = set(".env .properties .ini .cfg .conf .config .cnf .toml .yml .yaml .tfvars .envrc .plist .prefs .boto .s3cfg .settings .ovpn .cmd .bat .ftpconfig .credentials .secrets .secret .reg .desktop .service .vars .gradle .ksh .rdp .inf")
	settingBase = set(`.env .envrc .netrc .bashrc .bash_profile .profile .zshrc .zprofile .zshenv .bash_history .zsh_history .gitconfig .s3cfg .boto .my.cnf my.cnf .npmrc .yarnrc .pypirc .esmtprc .msmtprc .fetchmailrc .muttrc
		.ftpconfig .dockercfg credentials settings.xml server.xml context.xml tomcat-users.xml web.config app.config dockerfile containerfile wp-config.php configuration.php localsettings.php local_settings.py settings.py
		secrets.py secret_token.rb secrets.rb devise.rb sftp.json .remote-sync.json robomongo.json logins.json webservers.xml hub proftpdpasswd terraform.tfvars.json local.settings.json hudson.tasks.mailer.xml hub.yml jenkinsfile
		parameters.yml database.yml secrets.yml application.yml env.js env.ts config.php database.php config.inc.php sitemanager.xml recentservers.xml filezilla.xml`)
	settingStem = set("appsettings config configuration settings secrets secret credentials creds env keys application local default production prod staging dev development deployment-config app database db connection connections")
	translated  = set("locale locales i18n l10n lang langs language languages translations translation node_modules vendor openapi swagger crd crds schema schemas")
)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

// settingsFile reports a file that holds settings, by its name.
func settingsFile(name, base string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if translated[part] {
			return false
		}
	}
	ext := path.Ext(base)
	switch {
	case settingBase[base], settingExt[ext]:
		return !strings.Contains(base, "lock") && !strings.HasPrefix(base, "openapi") && !strings.HasPrefix(base, "swagger")
	case strings.HasPrefix(base, ".env"), strings.HasPrefix(base, "dockerfile"), strings.HasPrefix(base, ".") && strings.HasSuffix(base, "rc"), strings.Contains(base, ".env."):
		return true
	case ext == ".json" || ext == ".xml":
		stem, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSuffix(base, ext), "."), ".")
		return settingStem[stem]
	}
	return false
}

// plain reports settings whose passwords may be words: nobody writes prose there.
func (f file) plain() bool {
	return strings.HasPrefix(f.base, ".") && !strings.HasSuffix(f.base, ".yml") && !strings.HasSuffix(f.base, ".yaml") || strings.HasSuffix(f.base, ".env") || settingBase[f.base] && path.Ext(f.base) != ".py" && path.Ext(f.base) != ".js"
}

const (
	notSecret  = iota
	isPassword // may be chosen by a person
	isKey      // is made by a machine
)

// The last words of a name, and what a value under it is.
var lastWords = []struct {
	word string
	what int
}{
	{"password", isPassword}, {"passwd", isPassword}, {"passwort", isPassword}, {"passphrase", isPassword}, {"pwd", isPassword}, {"pass", isPassword},
	{"secret", isKey}, {"token", isKey}, {"apikey", isKey}, {"api_key", isKey}, {"accesskey", isKey}, {"access_key", isKey}, {"secret_key", isKey}, {"secretkey", isKey}, {"private_key", isKey}, {"privatekey", isKey},
	{"auth_key", isKey}, {"authkey", isKey}, {"encryption_key", isKey}, {"encryptionkey", isKey}, {"signing_key", isKey}, {"signingkey", isKey}, {"app_key", isKey}, {"account_key", isKey}, {"accountkey", isKey}, {"master_key", isKey},
	{"credential", isKey}, {"credentials", isKey}, {"license_key", isKey}, {"client_key", isKey}, {"secret_key_base", isKey}, {"secret_base", isKey}, {"salt", isKey}, {"api_token_key", isKey}, {"token_secret", isKey},
	{"secret_access_key", isKey}, {"secret_id", isKey}, {"secure_auth_key", isKey}, {"logged_in_key", isKey}, {"nonce_key", isKey}, {"secret_value", isKey}, {"token_value", isKey}, {"authtoken", isKey},
}

// Before these words a token or key is no secret.
var harmless = []string{
	"public", "next", "page", "pagination", "continuation", "cancellation", "csrf", "xsrf", "start", "end", "eos", "bos", "pad", "unk", "sep", "mask", "cls", "max", "min", "sync", "resume", "primary", "partition", "sort", "foreign",
	"cache", "test", "has", "is", "use", "enable", "no", "show", "forgot", "reset", "change", "hide", "require", "allow", "skip", "with", "existing", "idempotency", "client_request", "design",
}

// secretKey says what a name promises about its value.
func secretKey(name string) (what int, prefix string) {
	s := snake(name)
	for _, w := range lastWords {
		rest, ok := strings.CutSuffix(s, w.word)
		if !ok || rest != "" && !strings.HasSuffix(rest, "_") && w.word != "password" && w.word != "passwd" && w.word != "token" && w.word != "secret" && w.word != "apikey" && w.word != "pwd" {
			continue
		}
		rest = strings.TrimSuffix(rest, "_")
		for _, h := range harmless {
			if rest == h || strings.HasSuffix(rest, "_"+h) || w.what == isKey && strings.HasSuffix(rest, h) && len(h) > 3 {
				return notSecret, ""
			}
		}
		if w.word == "salt" && !strings.HasSuffix(rest, "auth") && !strings.HasSuffix(rest, "logged_in") && !strings.HasSuffix(rest, "nonce") {
			return notSecret, ""
		}
		return w.what, rest
	}
	return notSecret, ""
}

// snake gives fooBar, foo-bar and foo.bar as foo_bar.
func snake(s string) string {
	b := make([]byte, 0, len(s)+4)
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && (lower(s[i-1]) || s[i-1] >= '0' && s[i-1] <= '9') {
				b = append(b, '_')
			}
			c += 'a' - 'A'
		case c == '-' || c == '.' || c == ' ' || c == ':':
			c = '_'
		}
		b = append(b, c)
	}
	return strings.Trim(string(b), "_")
}

// providersOfNames are words in the name of a setting that name what it opens.
var providersOfNames = []struct{ word, provider string }{
	{"postgres", "postgres"}, {"postgresql", "postgres"}, {"pg", "postgres"}, {"mysql", "mysql"}, {"mariadb", "mysql"}, {"redis", "redis"}, {"mongo", "mongodb"}, {"mongodb", "mongodb"}, {"rabbitmq", "rabbitmq"}, {"amqp", "rabbitmq"},
	{"smtp", "smtp"}, {"ldap", "ldap"}, {"elasticsearch", "elasticsearch"}, {"elastic", "elasticsearch"}, {"clickhouse", "clickhouse"}, {"snowflake", "snowflake"}, {"minio", "minio"}, {"keystore", "java-keystore"}, {"truststore", "java-keystore"},
	{"ftp", "ftp"}, {"sftp", "ssh"}, {"ssh", "ssh"}, {"jwt", "jwt"}, {"django", "django"}, {"mssql", "sqlserver"}, {"sa", "sqlserver"}, {"oracle", "oracle-database"}, {"neo4j", "neo4j"}, {"couchdb", "couchdb"}, {"vnc", "vnc"},
}

func providerOfName(prefix string) string {
	for w := range strings.SplitSeq(prefix, "_") {
		for _, p := range providersOfNames {
			if w == p.word {
				return p.provider
			}
		}
	}
	return ""
}

// provider is what a file of settings of this name belongs to.
func (f file) provider() string {
	switch f.base {
	case ".my.cnf", "my.cnf", "wp-config.php":
		return "mysql"
	case ".esmtprc", ".msmtprc", "esmtprc":
		return "smtp"
	}
	return ""
}

func keyByte(c byte) bool { return word(c) || c == '-' || c == '.' }

// setting reads a name, a separator and a value where a word of the name stands.
func (f *finder) setting(at, n int) {
	d := f.data
	from, to := f.line(at)
	k, e := at, min(at+n, to)
	for k > from && at-k < 80 && keyByte(d[k-1]) {
		k--
	}
	if e > at && !keyByte(d[e-1]) {
		e = at
	}
	for e < to && e-at < 80 && keyByte(d[e]) {
		e++
	}
	if k+1 == f.seenName || e <= k {
		return // this name was read for another word in it
	}
	name := string(d[k:e])
	what, prefix := secretKey(name)
	if what == notSecret {
		return
	}
	f.seenName = k + 1
	start, end, ok := value(d, k, e, from, to)
	if !ok {
		start, end, ok = f.below(k, e, to)
	}
	if !ok {
		start, end, ok = wordBehind(d, k, e, from, to)
	}
	if !ok {
		return
	}
	v := string(d[start:end])
	if end == to && strings.HasSuffix(v, `\`) { // goes on on the next line, as in .properties
		start, stop := f.nextLine(end)
		if stop > start {
			v, end = v[:len(v)-1]+string(d[start:stop]), stop
		}
	}
	f.judge(unescaped(v), name, what, prefix, k, start, end, false)
}

// unescaped reads the escapes of JSON, YAML and properties.
func unescaped(v string) string {
	if strings.IndexByte(v, '\\') < 0 {
		return v
	}
	v = strings.NewReplacer(`\'`, `'`, `\/`, `/`, `\:`, `:`, `\=`, `=`, `\#`, `#`, `\!`, `!`, `\ `, ` `, `\$`, `$`).Replace(v)
	s, err := strconv.Unquote(`"` + v + `"`)
	if err == nil {
		return s
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(v)
}

// below reads a value that stands on the line below its name, as YAML has it behind
// "|" and ">". A value of more lines is no password, and keys have rules of their own.
func (f *finder) below(k, e, to int) (start, end int, ok bool) {
	d := f.data
	i := e
	if i < to && (d[i] == '"' || d[i] == '\'') {
		i++
	}
	if i >= to || d[i] != ':' {
		return 0, 0, false
	}
	i = skipSpace(d, i+1, to)
	if i >= to || d[i] != '|' && d[i] != '>' || to-i > 3 {
		return 0, 0, false
	}
	start, end = f.nextLine(to)
	return start, end, end > start && d[start-1] == ' '
}

// nextLine is the line behind the one that ends at to, without the space around it.
func (f *finder) nextLine(to int) (start, end int) {
	d := f.data
	if to < len(d) && d[to] == '\r' {
		to++
	}
	if to+1 >= len(d) || d[to] != '\n' {
		return 0, 0
	}
	_, end = f.line(to + 1)
	start = skipSpace(d, to+1, end)
	for end > start && d[end-1] <= ' ' {
		end--
	}
	return start, end
}

// wordBehind reads NAME VALUE with nothing but space between, as .properties and
// Dockerfiles have it. The value has to be one that a machine made.
func wordBehind(d []byte, k, e, from, to int) (start, end int, ok bool) {
	lead := strings.TrimSpace(strings.ToLower(string(d[from:k])))
	if lead != "" && lead != "env" && lead != "set" && lead != "setenv" {
		return 0, 0, false
	}
	start = skipSpace(d, e, to)
	end = to
	for end > start && d[end-1] <= ' ' {
		end--
	}
	v := d[start:end]
	if start == e || len(v) < 12 || bytes.ContainsAny(v, " \t=:\"'") || random(string(v)) < 2 {
		return 0, 0, false
	}
	return start, end, true
}

// judge files a setting whose value looks like a secret, or like the placeholder
// of one.
func (f *finder) judge(v, name string, what int, prefix string, from, start, end int, defined bool) {
	if len(v) < 6 || len(v) > 512 || reference(v) || format(v) || code(v) || strings.ContainsAny(v, " \t") {
		return
	}
	r := random(v)
	why := placeholder(v)
	confidence := Low
	if r == 2 {
		confidence = Medium
	}
	n := settings
	if defined && r > 0 {
		n = anyFile
	}
	switch {
	case why != "" && (what == isPassword || r > 0):
		confidence = Low
	case why != "":
		return
	case what == isPassword && r == 0 && why == "":
		n = plain
	case what == isKey && (r == 0 || r == 1 && len(v) < 16):
		return
	case strings.EqualFold(snake(v), snake(name)), strings.HasSuffix(strings.ToLower(v), strings.ToLower(name)):
		return
	}
	kind := "password"
	if what == isKey {
		kind = "secret"
		if strings.HasSuffix(snake(name), "token") {
			kind = "token"
		} else if strings.HasSuffix(snake(name), "key") {
			kind = "key"
		}
	}
	h := Hit{
		Rule: ruleSetting, Description: "Setting whose name says that its value is a secret.", Provider: providerOfName(prefix), Kind: kind, Secret: v, Start: start, End: end, From: from, To: end,
		Confidence: confidence, Placeholder: why, Parts: f.neighbours(from, prefix), need: n,
	}
	if h.Parts == nil {
		h.Parts = map[string]string{}
	}
	h.Parts["name"] = name
	if h.Placeholder == "" && strings.EqualFold(h.Parts["user"], v) {
		h.Placeholder = "the password is the user's name"
	}
	f.add(h)
}

// value finds the value of the name d[k:e] in the line d[from:to].
func value(d []byte, k, e, from, to int) (start, end int, ok bool) {
	i := e
	if k > from && d[k-1] == '<' { // <name>value</name>
		n := bytes.IndexByte(d[i:to], '>')
		if n < 0 || n > 64 || d[i+n-1] == '/' {
			return 0, 0, false
		}
		start = i + n + 1
		n = bytes.IndexByte(d[start:to], '<')
		if n <= 0 {
			return 0, 0, false
		}
		return start, start + n, true
	}
	if i < to && (d[i] == '"' || d[i] == '\'') {
		i++
		if i < to && d[i] == ']' {
			i++
		}
	}
	gap := skipSpace(d, i, to)
	if hasFold(d[gap:to], "value=") { // name="password" value="x"
		i = gap + len("value")
	} else {
		i = gap
	}
	if i+1 >= to {
		return 0, 0, false
	}
	switch {
	case d[i] == '=' && d[i+1] == '=', d[i] == ':' && d[i+1] == ':', d[i] == '!':
		return 0, 0, false
	case d[i] == '=' && d[i+1] == '>', d[i] == ':' && d[i+1] == '=', d[i] == '?' && d[i+1] == '=':
		i += 2
	case d[i] == '=' || d[i] == ':':
		i++
	default:
		return 0, 0, false
	}
	i = skipSpace(d, i, to)
	if hasFold(d[i:to], "!!str ") {
		i = skipSpace(d, i+6, to)
	}
	if i >= to {
		return 0, 0, false
	}
	switch q := d[i]; q {
	case '"', '\'', '`':
		start = i + 1
		for j := start; j < to; j++ {
			if d[j] == '\\' && q != '`' {
				j++
				continue
			}
			if d[j] == q {
				return start, j, true
			}
		}
		return 0, 0, false
	case '&': // an anchor of YAML in front of its value
		n := bytes.IndexByte(d[i:to], ' ')
		if n < 2 || n > 64 || bytes.IndexByte(d[i+n:to], '=') >= 0 || !allWord(strings.ReplaceAll(string(d[i+1:i+n]), "-", "_")) {
			return 0, 0, false
		}
		i = skipSpace(d, i+n, to)
		if i >= to || bytes.IndexByte([]byte("\"'|>{[*&!"), d[i]) >= 0 {
			return 0, 0, false
		}
	case '|', '>', '{', '[', '*', '!', '(', '@':
		if i+1 >= to || q == '{' || q == '[' || q == '*' || q == '(' || d[i+1] <= ' ' || d[i+1] == '-' {
			return 0, 0, false
		}
	}
	start, end = i, i
	for end < to && d[end] != '\n' {
		if d[end] == '#' && d[end-1] == ' ' || d[end] == ';' && (end+1 == to || d[end+1] == ' ') || d[end] == ',' && (end+1 == to || d[end+1] == '"' || d[end+1] == ' ') {
			break
		}
		end++
	}
	if bytes.IndexByte(d[from:k], '{') >= 0 { // {user: x, password: y}
		n := bytes.IndexByte(d[start:end], '}')
		if n > 0 && d[start] != '{' && d[start] != '$' {
			end = start + n
		}
	}
	for end > start && (d[end-1] <= ' ' || d[end-1] == ',' || d[end-1] == '"' || d[end-1] == '\'') {
		end--
	}
	return start, end, end > start
}

// neighbours are what identifies a secret and stands near it under names with
// the same beginning: DB_HOST and DB_USER beside DB_PASSWORD.
func (f *finder) neighbours(at int, prefix string) map[string]string {
	d := f.data
	from, to := max(0, at-600), min(len(d), at+600)
	out := map[string]string{}
	for from < to {
		n := bytes.IndexByte(d[from:to], '\n')
		end := to
		if n >= 0 {
			end = from + n
		}
		i := from
		for i < end && strings.IndexByte(" \t\"'-<", d[i]) >= 0 {
			i++
		}
		if hasFold(d[i:end], "export ") {
			i += 7
		}
		k := i
		for i < end && keyByte(d[i]) {
			i++
		}
		if i > k && i-k < 80 {
			part := partOfName(snake(string(d[k:i])), prefix)
			if part != "" && (out[part] == "" || k > at && k-at < 200) {
				start, stop, ok := value(d, k, i, from, end)
				if ok && stop-start < 200 {
					out[part] = string(d[start:stop])
				}
			}
		}
		from = end + 1
	}
	return out
}

func partOfName(name, prefix string) string {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return ""
	}
	switch strings.TrimPrefix(rest, "_") {
	case "user", "username", "user_name", "login", "account", "uid", "userid", "user_id":
		return "user"
	case "host", "hostname", "server", "address", "addr", "endpoint", "hosts", "smtp_server":
		return "host"
	case "url", "uri", "jdbc_url":
		return "url"
	case "database", "db", "dbname", "db_name", "database_name", "name":
		return "database"
	case "port":
		return "port"
	case "client_id", "app_id", "application_id":
		return "client_id"
	}
	return ""
}

// define reads define('NAME', 'value') of PHP.
func (f *finder) define(i int) {
	d := f.data
	_, to := f.line(i)
	name, start := quoted(d, i, to)
	if name == "" {
		return
	}
	at := start
	i = skipSpace(d, start+len(name)+1, to)
	if i >= to || d[i] != ',' {
		return
	}
	v, start := quoted(d, i+1, to)
	if v == "" {
		return
	}
	what, prefix := secretKey(name)
	switch {
	case what == notSecret:
	case what == isKey && strings.ContainsAny(v, " ") && len(v) > 40 && placeholder(v) == "" && (strings.HasSuffix(name, "_KEY") || strings.HasSuffix(name, "_SALT")): // WordPress' salts are of any characters
		if strings.Contains(v, "put your unique") || random(strings.ReplaceAll(v, " ", "x")) == 0 {
			return
		}
		f.add(Hit{Rule: ruleSetting, Description: "Key with which WordPress signs its cookies.", Provider: "wordpress", Kind: "key", Secret: v, Start: start, End: start + len(v), From: at, To: start + len(v), Confidence: Medium, Parts: map[string]string{"name": name}})
	default:
		f.judge(v, name, what, prefix, at, start, start+len(v), true)
		if n := len(f.hits) - 1; n >= 0 && f.hits[n].Start == start {
			for part, key := range map[string]string{"host": "DB_HOST", "user": "DB_USER", "database": "DB_NAME"} {
				if v := f.phpConstant(key); strings.HasPrefix(name, "DB_") && v != "" {
					f.hits[n].Parts[part] = v
				}
			}
			if f.hits[n].Provider == "" && strings.HasPrefix(name, "DB_") {
				f.hits[n].Provider = "mysql"
			}
		}
	}
}

func (f *finder) phpConstant(name string) string {
	for _, q := range []string{"'", "\""} {
		n := bytes.Index(f.data, []byte(q+name+q))
		if n < 0 {
			continue
		}
		_, to := f.line(n)
		i := skipSpace(f.data, n+len(name)+2, to)
		if i < to && f.data[i] == ',' {
			v, _ := quoted(f.data, i+1, to)
			return v
		}
	}
	return ""
}

func quoted(d []byte, i, to int) (string, int) {
	i = skipSpace(d, i, to)
	if i >= to || d[i] != '\'' && d[i] != '"' {
		return "", 0
	}
	for j := i + 1; j < to; j++ {
		if d[j] == '\\' {
			j++
			continue
		}
		if d[j] == d[i] {
			return string(d[i+1 : j]), i + 1
		}
	}
	return "", 0
}
