package scanner

import (
	"encoding/base64"
	"strings"
	"testing"

	"stanch/internal/secret"
	"stanch/scanner/rules"
)

// What a value gives away of itself, whatever the rule that found it.
func TestClassOfValue(t *testing.T) {
	part := base64.RawURLEncoding.EncodeToString
	header, payload, signature := part([]byte(`{"alg":"HS256","typ":"JWT"}`)), part([]byte(`{"sub":"u7","iat":1790000000}`)), strings.Repeat("kQ7x_", 9)
	for _, c := range []struct {
		name  string
		f     Finding
		value string
		want  Class
	}{
		{"a JWT", Finding{Rule: "jwt"}, header + "." + payload + "." + signature, ""},
		{"a header that is no JSON", Finding{Rule: "jwt"}, header[:9] + header[10:] + "." + payload + "." + signature, ClassPlaceholder},
		{"a payload that is no JSON", Finding{Rule: "jwt"}, header + "." + payload[:9] + payload[10:] + "." + signature, ClassPlaceholder},
		{"one run", Finding{Rule: "groq-api-key"}, "gsk_" + "abcdefghijklmnopqrstuvwxyz", ClassPlaceholder},
		{"runs in turn", Finding{Rule: "groq-api-key"}, "gsk_" + "aBcDeFgHiJkLm" + "1234567890" + "abcdefghijklmnopq", ClassPlaceholder},
		{"a short run", Finding{Rule: "groq-api-key"}, "gsk_" + "abcdefg" + "Zk3vQ9rT1xW8pL5nB2mD7cF4", ""},
		{"a secret of AWS' documentation", Finding{Rule: rules.AWSSecretAccessKey, Provider: "aws", Part: PartSecretAccessKey}, "wJalrXUtnFEMI/K7MDENG" + "/bPxRfiCYNOSUCHKEYX", ClassPlaceholder},
		{"a token of AWS' documentation", Finding{Rule: rules.AWSSessionToken, Provider: "aws", Part: PartSessionToken}, "SAMPLE" + strings.Repeat("Ivy7QwZr4", 14), ClassPlaceholder},
	} {
		c.f.Secret, c.f.Match = secret.New(c.value), secret.New(c.value)
		got, why := classOfValue(&c.f, c.value)
		if got != c.want || (why != "") != (got != "") {
			t.Errorf("%s: %q (%s), want %q", c.name, got, why, c.want)
		}
	}
}
