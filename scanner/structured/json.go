package structured

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
)

// The bounds of a JSON document that is read.
const (
	jsonDepth = 100
	jsonNodes = 1 << 20
)

// text is a string of a document and where it stands, between its quotes.
type text struct {
	key        string
	start, end int
}

// object is a JSON object: its strings, and the objects in it, arrays included.
type object struct {
	strings []text
	kids    []kid
}

type kid struct {
	key string
	o   *object
}

func (o *object) get(d []byte, key string) string {
	t, ok := o.find(key)
	if !ok {
		return ""
	}
	return unquote(d[t.start:t.end])
}

func (o *object) find(key string) (text, bool) {
	for _, t := range o.strings {
		if t.key == key {
			return t, true
		}
	}
	return text{}, false
}

func (o *object) kid(key string) *object {
	for _, k := range o.kids {
		if k.key == key {
			return k.o
		}
	}
	return nil
}

func unquote(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(string(b), `\/`, `/`) + `"`)
	if err != nil {
		return string(b)
	}
	return s
}

// jsonReader reads JSON, and what looks like it: comments and trailing commas
// are let pass, and what is not understood ends the reading.
type jsonReader struct {
	d     []byte
	i     int
	nodes int
	cut   bool
}

// readJSON reads a document; whole is false when it is beyond the bounds.
func readJSON(d []byte) (root *object, whole bool) {
	r := jsonReader{d: d}
	root = &object{}
	r.value(root, "", 0)
	return root, !r.cut
}

func (r *jsonReader) space() {
	for r.i < len(r.d) {
		c := r.d[r.i]
		switch {
		case c <= ' ' || c == ',' || c == 0xef || c == 0xbb || c == 0xbf:
			r.i++
		case c == '/' && r.i+1 < len(r.d) && r.d[r.i+1] == '/':
			n := bytes.IndexByte(r.d[r.i:], '\n')
			if n < 0 {
				r.i = len(r.d)
				return
			}
			r.i += n
		default:
			return
		}
	}
}

// value reads one value into its parent; false ends the reading.
func (r *jsonReader) value(into *object, key string, depth int) bool {
	r.space()
	r.nodes++
	if depth > jsonDepth || r.nodes > jsonNodes {
		r.cut = true
	}
	if r.i >= len(r.d) || r.cut {
		return false
	}
	switch c := r.d[r.i]; c {
	case '"':
		start, end, ok := r.str()
		if !ok {
			return false
		}
		into.strings = append(into.strings, text{key, start, end})
		return true
	case '{', '[':
		r.i++
		o := &object{}
		into.kids = append(into.kids, kid{key, o})
		return r.members(o, c, depth)
	}
	for r.i < len(r.d) && strings.IndexByte(",]} \n\r\t\"{[", r.d[r.i]) < 0 {
		r.i++
	}
	return true
}

func (r *jsonReader) members(o *object, opened byte, depth int) bool {
	for {
		r.space()
		if r.i >= len(r.d) {
			return false
		}
		c := r.d[r.i]
		if c == '}' || c == ']' {
			r.i++
			return true
		}
		key := ""
		if opened == '{' {
			start, end, ok := r.str()
			if !ok {
				return false
			}
			key = unquote(r.d[start:end])
			r.space()
			if r.i >= len(r.d) || r.d[r.i] != ':' {
				return false
			}
			r.i++
		} else if c == ':' {
			return false
		}
		if !r.value(o, key, depth+1) {
			return false
		}
	}
}

func (r *jsonReader) str() (start, end int, ok bool) {
	if r.i >= len(r.d) || r.d[r.i] != '"' {
		return 0, 0, false
	}
	start = r.i + 1
	for i := start; i < len(r.d); i++ {
		switch r.d[i] {
		case '\\':
			i++
		case '"':
			r.i = i + 1
			return start, i, true
		}
	}
	return 0, 0, false
}

// walk visits an object and all in it, with the objects and keys that lead to it.
func walk(o *object, up []step, visit func(o *object, up []step)) {
	visit(o, up)
	for _, k := range o.kids {
		walk(k.o, append(up, step{k.key, o}), visit)
	}
}

type step struct {
	key    string
	parent *object
}

// json reads what the known kinds of objects hold.
func (f *finder) json() {
	root, whole := readJSON(f.data)
	f.cut = f.cut || !whole
	walk(root, nil, func(o *object, up []step) {
		if len(f.hits) >= most {
			f.cut = true
			return
		}
		f.serviceAccount(o)
		f.jwk(o)
		f.tink(o)
		f.dockerAuths(o, 0, 0)
		if len(up) == 0 && len(o.kids) == 1 && o.kids[0].o.kid("auths") == nil { // the older form is the map of registries itself
			f.dockerAuths(&object{kids: []kid{{"auths", o.kids[0].o}}}, 0, 0)
		}
		if o.get(f.data, "kind") == "Secret" {
			f.secretJSON(o)
		}
		f.state(o, up)
		f.output(o, up)
	})
}

func (f *finder) serviceAccount(o *object) {
	d := f.data
	key, ok := o.find("private_key")
	email := o.get(d, "client_email")
	if !ok || email == "" || !has(d[key.start:key.end], "PRIVATE KEY") {
		return
	}
	f.add(Hit{
		Rule: "structured-gcp-service-account", Description: "Key of a Google Cloud service account.", Provider: "gcp", Kind: "service_account_key", Part: "private_key", Secret: unquote(d[key.start:key.end]), Start: key.start, End: key.end, Confidence: High,
		Parts: map[string]string{"client_email": email, "private_key_id": o.get(d, "private_key_id"), "project_id": o.get(d, "project_id"), "client_id": o.get(d, "client_id")},
	})
}

func (f *finder) jwk(o *object) {
	d := f.data
	kty := o.get(d, "kty")
	name := "d"
	if kty == "oct" {
		name = "k"
	}
	t, ok := o.find(name)
	if kty == "" || !ok || t.end-t.start < 16 {
		return
	}
	f.add(Hit{
		Rule: "structured-jwk", Description: "Private or symmetric key as a JSON Web Key.", Kind: "private_key", Part: "token", Secret: string(d[t.start:t.end]), Start: t.start, End: t.end, Confidence: High,
		Parts: map[string]string{"key_id": o.get(d, "kid"), "type": kty, "algorithm": o.get(d, "alg")},
	})
}

func (f *finder) tink(o *object) {
	d := f.data
	t, ok := o.find("value")
	url := o.get(d, "typeUrl")
	material := o.get(d, "keyMaterialType")
	if !ok || !strings.HasPrefix(url, "type.googleapis.com/google.crypto.tink") || material == "ASYMMETRIC_PUBLIC" || material == "REMOTE" {
		return
	}
	f.add(Hit{
		Rule: "structured-tink-keyset", Description: "Key in a Tink keyset in clear text.", Kind: "private_key", Part: "token", Secret: string(d[t.start:t.end]), Start: t.start, End: t.end, Confidence: High, Parts: map[string]string{"type": url},
	})
}

// dockerAuths reads the registries of a Docker configuration. With an end, the
// document was encoded and stands there in the text.
func (f *finder) dockerAuths(o *object, start, end int) {
	f.dockerAuthsOf(f.data, o, start, end)
}

func (f *finder) dockerAuthsOf(d []byte, o *object, start, end int) {
	auths := o.kid("auths")
	if auths == nil {
		return
	}
	for _, r := range auths.kids {
		registry := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(r.key, "https://"), "http://"), "/")
		registry = strings.TrimSuffix(strings.TrimSuffix(registry, "/v1"), "/v2")
		host, _, _ := strings.Cut(registry, "/")
		h := Hit{
			Rule: "structured-docker-auth", Description: "Login to a container registry.", Provider: providerOfHost(host), Kind: "password", Confidence: High,
			Parts: map[string]string{"registry": registry, "user": r.o.get(d, "username"), "email": r.o.get(d, "email")},
		}
		if h.Provider == "" {
			h.Provider = "docker"
		}
		for _, name := range []string{"auth", "password", "identitytoken", "registrytoken"} {
			t, ok := r.o.find(name)
			if !ok || t.end == t.start {
				continue
			}
			h.Secret, h.Start, h.End, h.Encoded = unquote(d[t.start:t.end]), t.start, t.end, ""
			if name == "auth" {
				user, pass, ok := userPassword([]byte(h.Secret))
				if !ok {
					continue
				}
				h.Parts["user"], h.Secret, h.Encoded = user, pass, "base64"
			}
			if end > 0 {
				h.Start, h.End, h.Encoded = start, end, "base64"
			}
			h.Placeholder = placeholderHost(host)
			f.add(h)
			break
		}
	}
}

func (f *finder) secretJSON(o *object) {
	name := ""
	if m := o.kid("metadata"); m != nil {
		name = m.get(f.data, "name")
	}
	for _, part := range []string{"data", "stringData"} {
		k := o.kid(part)
		if k == nil {
			continue
		}
		for _, t := range k.strings {
			f.kubernetes(name, t.key, unquote(f.data[t.start:t.end]), t.start, t.end, part == "data")
		}
	}
}

// kubernetes files one entry of a Secret.
func (f *finder) kubernetes(name, key, v string, start, end int, encoded bool) {
	h := Hit{
		Rule: "structured-kubernetes-secret", Description: "Value in a Kubernetes Secret.", Kind: "kubernetes_secret", Secret: v, Start: start, End: end, Confidence: Medium, Parts: map[string]string{"secret": name, "key": key},
	}
	if encoded {
		s := strings.Join(strings.Fields(v), "")
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(b) == 0 {
			return
		}
		h.Encoded = "base64"
		if printable(b) {
			h.Secret = string(b)
		}
	}
	if key == ".dockerconfigjson" || key == ".dockercfg" {
		inner := []byte(h.Secret)
		if root, _ := readJSON(inner); len(root.kids) > 0 {
			f.dockerAuthsOf(inner, root.kids[0].o, start, end)
		}
		return
	}
	k := snake(key)
	switch {
	case strings.Contains(h.Secret, "PRIVATE KEY-----"):
		h.Kind, h.Confidence = "private_key", High
	case strings.Contains(h.Secret, "BEGIN CERTIFICATE"), strings.Contains(h.Secret, "BEGIN PUBLIC KEY"), strings.HasPrefix(h.Secret, "ssh-rsa "), strings.HasPrefix(h.Secret, "ssh-ed25519 "), strings.HasSuffix(key, ".crt"):
		h.Public = "a certificate or public key"
	case identifying(k):
		return
	case len(h.Secret) < 6:
		return
	case random(h.Secret) == 0:
		what, _ := secretKey(key)
		if what == notSecret || strings.ContainsAny(h.Secret, "\n") || code(h.Secret) {
			return
		}
		h.Confidence = Low
	}
	f.add(h)
}

func identifying(k string) bool {
	for _, s := range []string{"username", "user", "host", "hostname", "port", "database", "dbname", "email", "url", "uri", "name", "region", "bucket", "endpoint", "namespace", "type", "enabled", "version", "id", "path", "client_id", "tenant_id", "server"} {
		if k == s || strings.HasSuffix(k, "_"+s) && s != "uri" && s != "url" && s != "name" {
			return true
		}
	}
	return false
}

// sensitive are the attributes of Terraform's resources that hold secrets.
var sensitive = set(`password master_password admin_password administrator_login_password secret secret_string secret_key private_key private_key_pem private_key_openssh token access_token auth_token client_secret api_key
	primary_access_key secondary_access_key primary_connection_string secondary_connection_string primary_key secondary_key ses_smtp_password_v4 encrypted_secret result bcrypt_hash client_key kube_config_raw
	primary_shared_key secondary_shared_key connection_string application_secret value plaintext secret_data secret_binary storage_account_access_key passphrase key_data master_user_password`)

// output reads an output of a Terraform state whose name says that it is a secret.
func (f *finder) output(o *object, up []step) {
	if len(up) < 2 || up[len(up)-2].key != "outputs" && up[len(up)-1].key != "outputs" {
		return
	}
	name := up[len(up)-1].key
	t, ok := o.find("value")
	what, _ := secretKey(name)
	if !ok || what == notSecret || o.get(f.data, "type") != "string" {
		return
	}
	v := unquote(f.data[t.start:t.end])
	if len(v) < 6 || strings.HasPrefix(v, "arn:") || random(v) == 0 {
		return
	}
	f.add(Hit{
		Rule: "structured-terraform-state", Description: "Secret in a Terraform state, which holds them in clear text.", Kind: "terraform_value", Secret: v, Start: t.start, End: t.end, Confidence: Medium, Parts: map[string]string{"output": name},
	})
}

// state reads the attributes of Terraform's resources.
func (f *finder) state(o *object, up []step) {
	if len(up) < 4 || up[len(up)-1].key != "attributes" {
		return
	}
	d := f.data
	var resource *object
	for i := len(up) - 1; i >= 0 && i >= len(up)-5; i-- {
		if up[i].parent.get(d, "type") != "" {
			resource = up[i].parent
			break
		}
	}
	if resource == nil {
		return
	}
	kind := resource.get(d, "type")
	if resource.get(d, "mode") == "data" && !strings.Contains(kind, "secret") {
		kind = "data." + kind
	}
	for _, t := range o.strings {
		v := unquote(d[t.start:t.end])
		if !sensitive[t.key] || len(v) < 6 || strings.HasPrefix(v, "arn:") {
			continue
		}
		switch t.key {
		case "value", "result", "plaintext":
			if !strings.Contains(kind, "password") && !strings.Contains(kind, "secret") && !strings.Contains(kind, "ssm_parameter") && kind != "random_string" && kind != "github_actions_secret" {
				continue
			}
		case "primary_key", "secondary_key":
			if random(v) < 2 {
				continue
			}
		case "secret", "token":
			if kind == "aws_iam_access_key" {
				continue // the typed rule names it better
			}
		}
		h := Hit{
			Rule: "structured-terraform-state", Description: "Secret in a Terraform state, which holds them in clear text.", Kind: "terraform_value", Secret: v, Start: t.start, End: t.end, Confidence: Medium,
			Parts: map[string]string{"resource": kind, "name": resource.get(d, "name"), "attribute": t.key, "host": o.get(d, "address"), "user": o.get(d, "username"), "id": o.get(d, "id")},
		}
		if strings.Contains(v, "PRIVATE KEY") {
			h.Kind = "private_key"
		}
		if h.Parts["id"] == v {
			delete(h.Parts, "id")
		}
		f.add(h)
	}
}
