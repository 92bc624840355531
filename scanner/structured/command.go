package structured

import (
	"bytes"
	"strings"
)

// command reads passwords that stand in command lines.
func (f *finder) command(at int, word string) {
	d := f.data
	_, to := f.line(at)
	line := d[at:to]
	switch word {
	case "sshpass":
		f.option(at, line, Medium, "ssh", " -p ", " -p", " --password=")
	case "mysql ", "mysqldump ", "mysqladmin ":
		f.option(at, line, Medium, "mysql", " -p", " --password=")
	case "docker login":
		f.option(at, line, Medium, "docker", " -p ", " --password ", " --password=", " -p=")
	case "redis-cli":
		f.option(at, line, Medium, "redis", " -a ", " --pass ")
	case "-password":
		f.flag(at, to)
	case "-passin ", "-passout ":
		f.option(at, line, Low, "", " pass:")
	case "pgpassword":
		f.option(at, line, Medium, "postgres", "=")
	case "net use ":
		fields := strings.Fields(string(line))
		for i, s := range fields {
			if strings.HasPrefix(s, "\\\\") && i+1 < len(fields) && !strings.HasPrefix(fields[i+1], "/") && fields[i+1] != "*" {
				f.commandHit(at, bytes.Index(line, []byte(" "+fields[i+1]))+1+at, fields[i+1], Medium, "")
			}
		}
	case "convertto-securestring":
		rest := line[len(word):]
		if indexFold(rest, "-asplaintext") < 0 {
			return
		}
		for _, q := range []byte{'"', '\''} {
			n := bytes.IndexByte(rest, q)
			if n < 0 {
				continue
			}
			m := bytes.IndexByte(rest[n+1:], q)
			if m > 0 {
				f.commandHit(at, at+len(word)+n+1, string(rest[n+1:n+1+m]), Medium, "")
				return
			}
		}
	}
}

// curl reads the login that curl is given: -u user:password, -H with a header of a
// known name has a reader of its own.
func (f *finder) curl(at int) {
	_, to := f.line(at)
	line := f.data[at:to]
	for _, o := range []string{" -u ", " --user ", " --user=", " -u", " --proxy-user ", " -U "} {
		n := bytes.Index(line, []byte(o))
		if n < 0 {
			continue
		}
		v, start := argument(line, n+len(o))
		user, pass, ok := strings.Cut(v, ":")
		if !ok || len(pass) < 4 || format(pass) || format(user) || strings.HasPrefix(pass, "//") {
			continue
		}
		h := Hit{
			Rule: ruleCommand, Description: "Password in a command line.", Kind: "password", Secret: pass, Start: at + start + len(user) + 1, End: at + start + len(v), From: at, To: at + start + len(v), Confidence: Medium, Parts: map[string]string{"user": user},
		}
		for _, scheme := range []string{"https://", "http://"} {
			if n := bytes.Index(line, []byte(scheme)); n >= 0 {
				host, _, _ := authority(line, n+len(scheme))
				h.Parts["host"], h.Provider, h.Placeholder = host, providerOfHost(host), placeholderHost(host)
				break
			}
		}
		if random(pass) == 0 {
			h.Confidence = Low
		}
		f.add(h)
		return
	}
}

// login reads the arguments of getConnection("url", "user", "password").
func (f *finder) login(i int) {
	d := f.data
	_, to := f.line(i)
	var arg [3]string
	start := 0
	for n := range arg {
		arg[n], start = quoted(d, i, to)
		if arg[n] == "" {
			return
		}
		i = skipSpace(d, start+len(arg[n])+1, to)
		if n < 2 && (i >= to || d[i] != ',') {
			return
		}
		i++
	}
	rest, ok := strings.CutPrefix(arg[0], "jdbc:")
	if !ok || format(arg[2]) {
		return
	}
	name, rest, _ := strings.Cut(rest, ":")
	h := Hit{
		Rule: ruleConnection, Description: "Password in the connection string of a database.", Provider: engines[name], Kind: "password", Secret: arg[2], Start: start, End: start + len(arg[2]), From: start, Confidence: Medium,
		Parts: map[string]string{"user": arg[1]},
	}
	if n := strings.Index(rest, "//"); n >= 0 {
		h.Parts["host"], h.Parts["port"], _ = authority([]byte(rest), n+2)
		h.Placeholder = placeholderHost(h.Parts["host"])
	}
	if random(arg[2]) == 0 {
		h.Confidence = Low
	}
	f.local(&h, h.Parts["host"])
	f.add(h)
}

// option reads the value behind the first of the options that stands in line.
func (f *finder) option(at int, line []byte, confidence int, provider string, options ...string) {
	for _, o := range options {
		n := bytes.Index(line, []byte(o))
		if n < 0 {
			continue
		}
		v, start := argument(line, n+len(o))
		if v == "" || strings.HasPrefix(v, "-") {
			continue
		}
		f.commandHit(at, at+start, v, confidence, provider)
		return
	}
}

// flag reads --password VALUE and --password=VALUE of any command.
func (f *finder) flag(at, to int) {
	i := at + len("-password")
	if i >= to || f.data[i] != '=' && f.data[i] != ' ' {
		return
	}
	v, start := argument(f.data[:to], i+1)
	if len(v) >= 6 && !strings.HasPrefix(v, "-") && random(v) >= 1 && !code(v) {
		f.commandHit(at, start, v, Low, "")
	}
}

func argument(line []byte, i int) (string, int) {
	for i < len(line) && line[i] == ' ' {
		i++
	}
	if i < len(line) && (line[i] == '"' || line[i] == '\'') {
		n := bytes.IndexByte(line[i+1:], line[i])
		if n > 0 {
			return string(line[i+1 : i+1+n]), i + 1
		}
		return "", i
	}
	start := i
	for i < len(line) && !urlStop[line[i]] && line[i] != ';' && line[i] != '|' && line[i] != ')' && line[i] != '\\' {
		i++
	}
	return string(line[start:i]), start
}

func (f *finder) commandHit(at, start int, v string, confidence int, provider string) {
	if len(v) < 4 || format(v) || code(v) || plainWord(v) && !strings.ContainsAny(v, "0123456789") && len(v) < 8 {
		return
	}
	if random(v) == 0 {
		confidence = Low
	}
	f.add(Hit{Rule: ruleCommand, Description: "Password in a command line.", Provider: provider, Kind: "password", Secret: v, Start: start, End: start + len(v), From: at, To: start + len(v), Confidence: confidence})
}

// sql reads the password of CREATE USER, ALTER USER and GRANT.
func (f *finder) sql(at int) {
	d := f.data
	from, to := f.line(at)
	rest := d[at:to]
	provider := "postgres"
	if hasFold(rest, "identified") {
		provider = "mysql"
		n := indexFold(rest[:min(len(rest), 96)], " by ")
		if n < 0 {
			return
		}
		rest = rest[n+4:]
	} else {
		n := indexFold(rest, "password")
		rest = rest[n+len("password"):]
	}
	hashed := false
	rest = bytes.TrimLeft(rest, " \t")
	if hasFold(rest, "password ") {
		hashed = true
		rest = bytes.TrimLeft(rest[len("password "):], " ")
	}
	if len(rest) < 3 || rest[0] != '\'' && rest[0] != '"' {
		return
	}
	n := bytes.IndexByte(rest[1:], rest[0])
	if n <= 0 {
		return
	}
	v := string(rest[1 : 1+n])
	start := to - len(rest) + 1
	user := ""
	lead := d[from:at]
	for _, w := range []string{"user ", "role ", "login ", "to "} {
		n := indexFold(lead, w)
		if n < 0 {
			continue
		}
		fields := strings.Fields(string(lead[n+len(w):]))
		if len(fields) > 3 && strings.EqualFold(fields[0], "if") {
			fields = fields[3:]
		}
		if len(fields) > 0 {
			user, _, _ = strings.Cut(fields[0], "@")
			user = strings.Trim(user, "'\"`[];")
			break
		}
	}
	if format(v) || user == "" || code(v) {
		return
	}
	h := Hit{
		Rule: ruleSQL, Description: "Password of a database user in SQL.", Provider: provider, Kind: "password", Secret: v, Start: start, End: start + len(v), From: from, To: start + len(v) + 1, Confidence: Medium,
		Parts: map[string]string{"user": user},
	}
	if hashed || strings.HasPrefix(v, "*") && len(v) == 41 || strings.HasPrefix(v, "md5") && len(v) == 35 || strings.HasPrefix(v, "SCRAM-SHA-256$") {
		h.Kind, h.Confidence = "password_hash", Low
		h.Reasons = []string{"the hash of a password, which has to be guessed"}
	}
	if strings.EqualFold(user, v) {
		h.Placeholder = "the password is the user's name"
	}
	f.add(h)
}

// putty reads a PuTTY private key.
func (f *finder) putty(at int) {
	d := f.data[at:min(len(f.data), at+32<<10)]
	n := bytes.Index(d, []byte("Private-Lines:"))
	if n < 0 {
		return
	}
	end := bytes.Index(d[n:], []byte("Private-MAC:"))
	first := bytes.IndexByte(d[n:], '\n')
	if end < 0 || first < 0 || first > end {
		return
	}
	lines := bytes.TrimRight(d[n+first+1:n+end], "\r\n")
	if len(lines) < 32 {
		return
	}
	h := Hit{
		Rule: "structured-putty-key", Description: "PuTTY private key.", Kind: "private_key", Part: "token", Secret: string(lines), Start: at + n + first + 1, End: at + n + first + 1 + len(lines), From: at, To: at + n + end, Confidence: High,
		Parts: map[string]string{"comment": lineOf(d, "Comment: ")},
	}
	if e := lineOf(d, "Encryption: "); e != "none" {
		h.Confidence = Low
		h.Reasons = []string{"the key is encrypted with a passphrase (" + e + ")"}
	}
	f.add(h)
}

func lineOf(d []byte, name string) string {
	n := bytes.Index(d, []byte(name))
	if n < 0 {
		return ""
	}
	rest := d[n+len(name):]
	m := bytes.IndexByte(rest, '\n')
	if m < 0 || m > 200 {
		return ""
	}
	return strings.TrimSpace(string(rest[:m]))
}
