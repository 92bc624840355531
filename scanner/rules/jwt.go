package rules

import (
	"strings"
	"time"
)

// Claims are what the parts of a JWT say that can be read by anyone.
type Claims struct {
	Algorithm string
	Issuer    string
	Subject   string
	Role      string    // as Supabase and PostgREST use it
	Project   string    // of Supabase: "ref"
	Expires   time.Time // zero when it does not say
}

// JWT reads header and payload of a JSON Web Token without checking its
// signature. It is false for what is no JWT. Source: RFC 7519.
func JWT(token string) (Claims, bool) {
	if len(token) > 16<<10 {
		return Claims{}, false
	}
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return Claims{}, false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var payload struct {
		Iss  any     `json:"iss"`
		Sub  any     `json:"sub"`
		Role any     `json:"role"`
		Ref  any     `json:"ref"`
		Exp  float64 `json:"exp"`
	}
	if !decodeJSON(part[0], &header) || !decodeJSON(part[1], &payload) || header.Alg == "" {
		return Claims{}, false
	}
	c := Claims{Algorithm: header.Alg}
	c.Issuer, _ = payload.Iss.(string)
	c.Subject, _ = payload.Sub.(string)
	c.Role, _ = payload.Role.(string)
	c.Project, _ = payload.Ref.(string)
	c.Expires = unixTime(payload.Exp)
	return c, true
}

// unixTime is the zero time for what is no plausible count of seconds.
func unixTime(s float64) time.Time {
	if s <= 0 || s >= 1<<33 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
