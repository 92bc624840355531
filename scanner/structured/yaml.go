package structured

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// entry is a scalar of a YAML document.
type entry struct {
	path       string // keys from the top, each followed by "/"; an item of a list is "-/"
	key        string
	value      string
	start, end int
}

// The bounds of a YAML document that is read. Aliases are not followed: what
// they stand for is found where it stands.
const (
	yamlDepth   = 40
	yamlEntries = 100000
)

// yaml reads block mappings and scalars line by line: all that manifests and
// kubeconfigs are made of.
func (f *finder) yaml() {
	d := f.data
	for at := 0; at < len(d); {
		if len(f.hits) >= most {
			f.cut = true
			return
		}
		end := len(d)
		for i := at; i < len(d); {
			n := bytes.IndexByte(d[i:], '\n')
			if n < 0 {
				break
			}
			i += n + 1
			if bytes.HasPrefix(d[i:], []byte("---")) {
				end = i
				break
			}
		}
		f.manifest(at, end)
		at = end
		if at < len(d) {
			n := bytes.IndexByte(d[at:], '\n')
			if n < 0 {
				return
			}
			at += n + 1
		}
	}
}

func (f *finder) manifest(from, to int) {
	if indexFold(f.data[from:to], "kind:") < 0 {
		return
	}
	entries, whole := readYAML(f.data, from, to)
	f.cut = f.cut || !whole
	secrets := map[string]*manifestSecret{} // by path
	var order []*manifestSecret
	config := false
	for _, e := range entries {
		switch {
		case e.key != "kind":
		case e.value == "Secret" && secrets[e.path] == nil:
			secrets[e.path] = &manifestSecret{}
			order = append(order, secrets[e.path])
		case e.value == "Config" && !config:
			config = true
			f.kubeconfig(entries)
		}
	}
	if len(order) == 0 {
		return
	}
	for i := 0; i < len(entries); {
		j := i + 1
		for j < len(entries) && entries[j].path == entries[i].path {
			j++
		}
		path := entries[i].path
		if parent, ok := strings.CutSuffix(path, "metadata/"); ok && secrets[parent] != nil {
			for _, e := range entries[i:j] {
				if e.key == "name" {
					secrets[parent].name = e.value
				}
			}
		}
		if parent, ok := strings.CutSuffix(path, "stringData/"); ok && secrets[parent] != nil {
			secrets[parent].plain = append(secrets[parent].plain, entries[i:j]...)
		} else if parent, ok := strings.CutSuffix(path, "data/"); ok && secrets[parent] != nil {
			secrets[parent].data = append(secrets[parent].data, entries[i:j]...)
		}
		for n := 0; ; n++ {
			at := strings.Index(path[n:], "sops/")
			if at < 0 {
				break
			}
			n += at
			if s := secrets[path[:n]]; s != nil {
				s.sealed = true
			}
		}
		i = j
	}
	for _, s := range order {
		if s.sealed {
			continue
		}
		for _, e := range s.data {
			f.kubernetes(s.name, e.key, e.value, e.start, e.end, true)
		}
		for _, e := range s.plain {
			f.kubernetes(s.name, e.key, e.value, e.start, e.end, false)
		}
	}
}

// manifestSecret is a Secret of Kubernetes in a document.
type manifestSecret struct {
	name        string
	data, plain []entry
	sealed      bool // its values are encrypted
}

func (f *finder) kubeconfig(entries []entry) {
	server := ""
	for _, e := range entries {
		if strings.HasSuffix(e.path, "cluster/") && e.key == "server" && server == "" {
			server = e.value
		}
	}
	user := ""
	for i, e := range entries {
		if strings.HasPrefix(e.path, "users/") && e.key == "name" {
			user = e.value
		}
		if !strings.HasPrefix(e.path, "users/") || !strings.Contains(e.path, "user/") {
			continue
		}
		if user == "" { // the name can stand behind the user
			for _, later := range entries[i:min(len(entries), i+20)] {
				if strings.HasPrefix(later.path, "users/") && later.key == "name" {
					user = later.value
					break
				}
			}
		}
		h := Hit{
			Rule: "structured-kubeconfig", Description: "Access to a Kubernetes cluster in a kubeconfig.", Provider: "kubernetes", Secret: e.value, Start: e.start, End: e.end, Confidence: High,
			Parts: map[string]string{"server": server, "user": user},
		}
		switch e.key {
		case "token":
			h.Kind, h.Part = "token", "token"
		case "password":
			h.Kind = "password"
		case "client-key-data":
			h.Kind, h.Part = "private_key", "private_key"
			b, err := base64.StdEncoding.DecodeString(e.value)
			if err != nil {
				continue
			}
			if printable(b) {
				h.Secret, h.Encoded = string(b), "base64"
			}
		default:
			continue
		}
		f.add(h)
	}
}

// readYAML gives the scalars of d[from:to]; whole is false when there are more.
func readYAML(d []byte, from, to int) (out []entry, whole bool) {
	type level struct {
		indent int
		path   string
	}
	stack := []level{{-1, ""}}
	pending := "" // a key whose value is what is indented below it
	pendingIndent := -1
	for at := from; at < to; {
		if len(out) >= yamlEntries {
			return out, false
		}
		end := to
		n := bytes.IndexByte(d[at:to], '\n')
		if n >= 0 {
			end = at + n
		}
		next := end + 1
		i := at
		for i < end && d[i] == ' ' {
			i++
		}
		if i >= end || d[i] == '#' || d[i] == '\r' || d[i] == '%' {
			at = next
			continue
		}
		indent := i - at
		if pending != "" {
			if indent > pendingIndent || indent == pendingIndent && d[i] == '-' {
				if len(stack) < yamlDepth {
					parent := stack[len(stack)-1]
					stack = append(stack, level{pendingIndent, parent.path + pending + "/"})
				}
			}
			pending = ""
		}
		dash := d[i] == '-' && i+1 < end && d[i+1] == ' '
		for len(stack) > 1 && (stack[len(stack)-1].indent > indent || stack[len(stack)-1].indent == indent && !(dash && !strings.HasSuffix(stack[len(stack)-1].path, "-/"))) {
			stack = stack[:len(stack)-1]
		}
		for i+1 < end && d[i] == '-' && d[i+1] == ' ' && len(stack) < yamlDepth {
			stack = append(stack, level{i - at, stack[len(stack)-1].path + "-/"})
			i += 2
			for i < end && d[i] == ' ' {
				i++
			}
			indent = i - at
		}
		key, v := yamlKey(d, i, end)
		if key == "" {
			at = next
			continue
		}
		start := v
		for start < end && (d[start] == ' ' || d[start] == '\t') {
			start++
		}
		stop := end
		for stop > start && d[stop-1] <= ' ' {
			stop--
		}
		path := stack[len(stack)-1].path
		switch {
		case start == stop || d[start] == '#':
			pending, pendingIndent = key, indent
		case d[start] == '|' || d[start] == '>':
			text, first, last, after := yamlBlock(d, next, to, indent)
			if text != "" {
				out = append(out, entry{path, key, text, first, last})
			}
			next = after
		case d[start] == '"' || d[start] == '\'':
			n := bytes.LastIndexByte(d[start+1:stop], d[start])
			if n > 0 {
				s := string(d[start+1 : start+1+n])
				if d[start] == '"' {
					s = unquote(d[start+1 : start+1+n])
				}
				out = append(out, entry{path, key, s, start + 1, start + 1 + n})
			}
		case d[start] == '&' || d[start] == '*' || d[start] == '{' || d[start] == '[':
		case d[start] == '!' && !bytes.HasPrefix(d[start:], []byte("!!")):
		default:
			if d[start] == '!' {
				n := bytes.IndexByte(d[start:stop], ' ')
				if n < 0 {
					break
				}
				start += n + 1
			}
			if n := bytes.Index(d[start:stop], []byte(" #")); n >= 0 {
				stop = start + n
			}
			if stop > start {
				out = append(out, entry{path, key, string(d[start:stop]), start, stop})
			}
		}
		at = next
	}
	return out, true
}

// yamlKey reads the key at i, and gives where its value begins.
func yamlKey(d []byte, i, end int) (string, int) {
	if i < end && (d[i] == '"' || d[i] == '\'') {
		n := bytes.IndexByte(d[i+1:end], d[i])
		if n < 0 || i+n+2 >= end || d[i+n+2] != ':' {
			return "", 0
		}
		return string(d[i+1 : i+1+n]), i + n + 3
	}
	for k := i; k < end && k-i < 256; k++ {
		if d[k] == ':' && (k+1 == end || d[k+1] <= ' ') {
			return string(d[i:k]), k + 1
		}
		if d[k] == ' ' && k+1 < end && d[k+1] == '#' {
			return "", 0
		}
	}
	return "", 0
}

// yamlBlock reads the lines below a "|" or ">" that are indented deeper.
func yamlBlock(d []byte, at, to, indent int) (text string, start, end, next int) {
	var b strings.Builder
	start = -1
	margin := -1
	for at < to {
		stop := to
		n := bytes.IndexByte(d[at:to], '\n')
		if n >= 0 {
			stop = at + n
		}
		i := at
		for i < stop && d[i] == ' ' {
			i++
		}
		if i < stop && d[i] != '\r' {
			if i-at <= indent {
				break
			}
			if margin < 0 {
				margin, start = i-at, i
			}
			line := bytes.TrimRight(d[at+min(margin, i-at):stop], "\r")
			b.Write(line)
			end = at + min(margin, i-at) + len(line)
		}
		b.WriteByte('\n')
		at = stop + 1
	}
	if start < 0 {
		return "", 0, 0, at
	}
	return strings.TrimRight(b.String(), "\n"), start, end, at
}
