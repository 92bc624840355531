package scanner

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// assessKey reads a private key in PEM: whether it is encrypted, and whether it
// is one at all.
func assessKey(f *Finding, value string, say func(int, string)) {
	value = strings.ReplaceAll(value, `\n`, "\n")
	head, rest, ok := strings.Cut(value, "-----\n")
	if !ok {
		head, rest, _ = strings.Cut(value, "-----\r\n")
	}
	body, _, _ := strings.Cut(rest, "-----END")
	if strings.Contains(head, "ENCRYPTED") || strings.Contains(body, "Proc-Type: 4,ENCRYPTED") {
		f.Tags = append(f.Tags, "encrypted")
		say(-1, "the key is encrypted with a passphrase")
		return
	}
	raw := strings.Map(func(r rune) rune {
		if r <= ' ' || r == '"' || r == '\'' || r == ',' || r == '+' && strings.Contains(body, "\" +") {
			return -1
		}
		return r
	}, body)
	der, err := base64.StdEncoding.DecodeString(raw)
	switch {
	case raw != "" && strings.Contains(raw, "..."):
		f.Class, f.ClassReason = ClassPlaceholder, "the key is cut short with an ellipsis"
	case err != nil || len(der) == 0:
		say(0, "the key does not decode as it stands")
	case bytes.HasPrefix(der, []byte("openssh-key-v1\x00")):
		cipher := sshString(der[len("openssh-key-v1\x00"):])
		if cipher != "" && cipher != "none" {
			f.Tags = append(f.Tags, "encrypted")
			say(-1, "the key is encrypted with a passphrase ("+cipher+")")
			return
		}
		say(1, "decodes as an OpenSSH key without a passphrase")
	case len(der) > 2 && der[0] == 0x30 && len(der) >= 32:
		say(1, "decodes as a key without a passphrase")
	default:
		say(-1, "does not decode as a key")
	}
}

// sshString is the string at the start of b in SSH's encoding, when it is short.
func sshString(b []byte) string {
	if len(b) < 4 || b[0] != 0 || b[1] != 0 || b[2] != 0 || len(b) < 4+int(b[3]) {
		return ""
	}
	return string(b[4 : 4+int(b[3])])
}

// assessJWT reads what a token says about itself.
// tokenOfJSON reports whether the first two parts of a token are JSON objects, as
// those of a JWT are (RFC 7519, section 7.2).
func tokenOfJSON(value string) bool {
	part := strings.Split(value, ".")
	var object map[string]any
	return len(part) > 2 && decodeSegment(part[0], &object) && decodeSegment(part[1], &object)
}

func assessJWT(f *Finding, value string, say func(int, string)) {
	part := strings.Split(value, ".")
	if len(part) < 2 {
		b, err := base64.StdEncoding.DecodeString(strings.TrimRight(value, "=") + strings.Repeat("=", (4-len(strings.TrimRight(value, "="))%4)%4))
		if err != nil {
			return
		}
		part = strings.Split(string(b), ".")
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub, Role, Name, Ref, Azp string
		Exp                            float64
		Aud                            any
	}
	if len(part) < 2 || !decodeSegment(part[0], &header) || !decodeSegment(part[1], &claims) {
		return
	}
	about := map[string]string{"issuer": claims.Iss, "role": claims.Role, "algorithm": header.Alg, "project": claims.Ref}
	if claims.Exp > 0 && claims.Exp < 1<<33 {
		about["expires"] = time.Unix(int64(claims.Exp), 0).UTC().Format(time.RFC3339)
		say(0, "says that it expires at "+about["expires"])
	} else {
		say(0, "says nothing of an expiry")
	}
	for k, v := range about {
		if v == "" || len(v) > 256 {
			delete(about, k)
		}
	}
	f.About = merge(f.About, about)
	if claims.Iss != "" && len(claims.Iss) <= 256 {
		say(0, "says that it was issued by "+claims.Iss)
	}
	if claims.Role != "" && len(claims.Role) <= 256 {
		say(0, "says that its role is "+claims.Role)
	}
	switch {
	case strings.EqualFold(header.Alg, "none"):
		f.Class, f.ClassReason = ClassPlaceholder, "a token without a signature"
	case claims.Sub == "1234567890" || claims.Name == "John Doe" || claims.Iss == "joe" || strings.Contains(claims.Iss, "example"):
		f.Class, f.ClassReason = ClassPlaceholder, "a token from the documentation of JWT"
	case strings.HasPrefix(claims.Iss, "supabase") && claims.Role == "anon":
		f.Provider, f.Kind = "supabase", "anon_key"
		f.Class, f.ClassReason = ClassPublic, "Supabase's anonymous key, which is made to be published"
	case strings.HasPrefix(claims.Iss, "supabase") && claims.Role == "service_role":
		f.Provider, f.Kind = "supabase", "service_role_key"
		say(1, "Supabase's service role, which passes all row policies")
	case claims.Iss == "kubernetes/serviceaccount" || strings.HasPrefix(claims.Sub, "system:serviceaccount:"):
		f.Provider, f.Kind = "kubernetes", "service_account_token"
	}
}

func decodeSegment(s string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	return err == nil && json.Unmarshal(b, into) == nil
}
