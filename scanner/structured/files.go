package structured

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// document reads the whole document that an anchor says this is, and reports
// whether it did: source code that speaks of one is none.
func (f *finder) document(what, at int) bool {
	head := bytes.TrimLeft(f.data[:min(len(f.data), 512)], "\xef\xbb\xbf \t\r\n")
	if len(head) > 0 && (head[0] == '{' || head[0] == '[') {
		f.json()
		return true
	}
	i := at
	for i > 0 && (f.data[i-1] == ' ' || f.data[i-1] == '-') {
		i--
	}
	if what == isYAML && (i == 0 || f.data[i-1] == '\n') {
		f.yaml()
		return true
	}
	return false
}

// netrc reads one machine.
func (f *finder) netrc(at int) {
	d := f.data[at:min(len(f.data), at+512)]
	if at > 0 && word(f.data[at-1]) {
		return
	}
	type token struct{ start, end int }
	var ts []token
	for i := 0; i < len(d) && len(ts) < 12; {
		for i < len(d) && d[i] <= ' ' {
			i++
		}
		start := i
		for i < len(d) && d[i] > ' ' {
			i++
		}
		if i > start {
			ts = append(ts, token{start, i})
		}
	}
	host, user := "", ""
	for i := 0; i+1 < len(ts); i += 2 {
		v := string(d[ts[i+1].start:ts[i+1].end])
		switch string(d[ts[i].start:ts[i].end]) {
		case "machine":
			if i > 0 {
				return
			}
			host = v
		case "login", "account":
			user = v
		case "password", "passwd":
			f.add(Hit{
				Rule: "structured-netrc", Description: "Password in a netrc file.", Provider: providerOfHost(host), Kind: "password", Secret: strings.Trim(v, `"`), Start: at + ts[i+1].start, End: at + ts[i+1].end, From: at, Confidence: High,
				Parts: map[string]string{"host": host, "user": user}, Placeholder: placeholderHost(host),
			})
		}
	}
}

// lines calls read with each line and where it starts.
func (f *finder) lines(read func(line []byte, at int)) {
	for at := 0; at < len(f.data); {
		if len(f.hits) >= most {
			f.cut = true
			return
		}
		n := bytes.IndexByte(f.data[at:], '\n')
		end := len(f.data)
		if n >= 0 {
			end = at + n
		}
		read(bytes.TrimRight(f.data[at:end], "\r"), at)
		at = end + 1
	}
}

func (f *finder) pgpass(in int) {
	at, end := f.line(in)
	line := f.data[at:end]
	if len(line) == 0 || line[0] == '#' {
		return
	}
	var part [5]string
	n, start := 0, 0
	for i := 0; i <= len(line); i++ {
		if i < len(line) && line[i] == '\\' && i+1 < len(line) {
			i++
			continue
		}
		if i == len(line) || line[i] == ':' && n < 4 {
			if n == 4 {
				break
			}
			part[n] = strings.ReplaceAll(string(line[start:i]), `\:`, ":")
			n, start = n+1, i+1
		}
	}
	if n != 4 || start >= len(line) {
		return
	}
	v := strings.NewReplacer(`\:`, ":", `\\`, `\`).Replace(string(line[start:]))
	f.add(Hit{
		Rule: "structured-pgpass", Description: "Password in PostgreSQL's password file.", Provider: "postgres", Kind: "password", Secret: v, Start: at + start, End: at + len(line), From: at, Confidence: High,
		Parts: map[string]string{"host": part[0], "port": part[1], "database": part[2], "user": part[3]}, Placeholder: placeholderHost(part[0]),
	})
}

func (f *finder) npmrc(in int) {
	at, end := f.line(in)
	line := f.data[at:end]
	key, v, ok := bytes.Cut(line, []byte("="))
	trimmed := bytes.TrimSpace(key)
	if !ok || len(trimmed) == 0 || trimmed[0] == '#' || trimmed[0] == ';' {
		return
	}
	name := string(trimmed)
	registry := "" // not told
	if rest, ok := strings.CutPrefix(name, "//"); ok {
		n := strings.LastIndex(rest, ":")
		if n < 0 {
			return
		}
		registry, name = rest[:n], rest[n+1:]
	}
	start := at + len(key) + 1
	for len(v) > 0 && (v[0] == ' ' || v[0] == '"') {
		v, start = v[1:], start+1
	}
	v = bytes.TrimRight(v, " \t\"")
	host, _, _ := strings.Cut(registry, "/")
	h := Hit{
		Rule: "structured-npmrc", Description: "Login to an npm registry.", Provider: providerOfHost(host), Kind: "auth_token", Part: "token", Secret: string(v), Start: start, End: start + len(v), From: at, Confidence: High,
		Parts: map[string]string{},
	}
	if registry != "" {
		h.Parts["registry"], h.Placeholder = registry, placeholderHost(host)
	}
	if h.Provider == "" {
		h.Provider = "npm"
	}
	switch name {
	case "_authToken":
	case "_auth":
		user, pass, ok := userPassword(v)
		if ok {
			h.Parts["user"], h.Secret, h.Encoded, h.Part, h.Kind = user, pass, "base64", "password", "password"
		}
	case "_password":
		b, err := base64.StdEncoding.DecodeString(string(v))
		if err == nil && printable(b) {
			h.Secret, h.Encoded = string(b), "base64"
		}
		h.Part, h.Kind = "password", "password"
	default:
		return
	}
	f.add(h)
}

func (f *finder) pypirc() {
	section, repository, user := "", "", ""
	f.lines(func(line []byte, at int) {
		s := strings.TrimSpace(string(line))
		if strings.HasPrefix(s, "[") {
			section, repository, user = strings.Trim(s, "[] "), "", ""
			switch section {
			case "pypi":
				repository = "https://upload.pypi.org/legacy/"
			case "testpypi":
				repository = "https://test.pypi.org/legacy/"
			}
			return
		}
		n := strings.IndexAny(s, ":=")
		if n < 0 {
			return
		}
		v := strings.TrimSpace(s[n+1:])
		switch strings.ToLower(strings.TrimSpace(s[:n])) {
		case "repository":
			repository = v
		case "username":
			user = v
		case "password":
			if v == "" {
				return
			}
			start := at + bytes.LastIndex(line, []byte(v))
			h := Hit{
				Rule: "structured-pypirc", Description: "Login to a Python package index.", Provider: "pypi", Kind: "password", Secret: v, Start: start, End: start + len(v), From: at, Confidence: High,
				Parts: map[string]string{"registry": repository, "user": user, "section": section},
			}
			if repository != "" && !strings.Contains(repository, "pypi.org") {
				h.Provider = "python-index"
			}
			f.add(h)
		}
	})
}

// htpasswd reads one line of a web server's users.
func (f *finder) htpasswd(in int) {
	at, end := f.line(in)
	line := f.data[at:end]
	user, hash, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(hash) < 8 || bytes.ContainsAny(hash, " \t") {
		return
	}
	h := Hit{
		Rule: "structured-htpasswd", Description: "Password of a web server's user.", Kind: "password_hash", Secret: string(hash), Start: at + len(user) + 1, End: at + len(line), From: at, Confidence: Low,
		Parts: map[string]string{"user": string(user)}, Reasons: []string{"the hash of a password, which has to be guessed"},
	}
	f.add(h)
}

// server reads a <server> element of Maven's settings or of FileZilla.
func (f *finder) server(start int) {
	d := f.data
	const open = "<server>"
	to := min(len(d), start+4<<10)
	if n := indexFold(d[start+len(open):to], open); n >= 0 {
		to = start + len(open) + n // elements do not stand in each other
	}
	end := indexFold(d[start:to], "</server>")
	if end < 0 {
		return
	}
	end += start
	id, _, _ := element(d, start, end, "id")
	user, _, _ := element(d, start, end, "username", "user")
	host, _, _ := element(d, start, end, "host")
	for _, name := range []string{"password", "passphrase", "pass"} {
		v, at, tag := element(d, start, end, name)
		if v == "" || strings.HasPrefix(v, "{") {
			continue
		}
		h := Hit{
			Rule: "structured-maven-server", Description: "Login to a server in Maven's settings.", Provider: "maven", Kind: "password", Secret: v, Start: at, End: at + len(v), From: start, To: end, Confidence: High,
			Parts: map[string]string{"server": id, "user": user},
		}
		if host != "" {
			h.Rule, h.Description, h.Provider = "structured-filezilla", "Login to a server in FileZilla's list.", "ftp"
			h.Parts["host"] = host
		}
		if strings.Contains(tag, "base64") {
			b, err := base64.StdEncoding.DecodeString(v)
			if err == nil && printable(b) {
				h.Secret, h.Encoded = string(b), "base64"
			}
		}
		f.add(h)
	}
}

// element gives the text of the first of the named elements between from and to.
func element(d []byte, from, to int, names ...string) (value string, at int, tag string) {
	for _, name := range names {
		n := indexFold(d[from:to], "<"+name)
		if n < 0 {
			continue
		}
		open := from + n + 1 + len(name)
		shut := bytes.IndexByte(d[open:to], '>')
		if shut < 0 || d[open] != '>' && d[open] != ' ' {
			continue
		}
		start := open + shut + 1
		end := bytes.IndexByte(d[start:to], '<')
		if end <= 0 {
			continue
		}
		s := string(d[start : start+end])
		t := strings.TrimSpace(s)
		return t, start + strings.Index(s, t), string(d[open : open+shut])
	}
	return "", 0, ""
}
