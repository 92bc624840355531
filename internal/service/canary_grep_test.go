package service_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// canaries looks for many planted secrets in all the forms in which a program
// writes text.
type canaries struct {
	planted []string
	where   map[string]string // how it was planted
	needles map[[8]byte][]needle
}

type needle struct{ text, secret, form string }

func newCanaries() *canaries {
	return &canaries{where: map[string]string{}, needles: map[[8]byte][]needle{}}
}

// plant remembers a secret and gives it back.
func (c *canaries) plant(secret, how string) string {
	if _, ok := c.where[secret]; ok {
		return secret
	}
	c.planted = append(c.planted, secret)
	c.where[secret] = how
	done := map[string]bool{}
	add := func(form, text string) {
		if len(text) < 12 || done[text] {
			return
		}
		done[text] = true
		key := [8]byte([]byte(text))
		c.needles[key] = append(c.needles[key], needle{text, secret, form})
	}
	add("plain", secret)
	if len(secret) >= 32 { // a piece is a leak too
		add("first half", secret[:len(secret)/2])
		add("second half", secret[len(secret)/2:])
	}
	add("hex", hex.EncodeToString([]byte(secret)))
	add("HEX", strings.ToUpper(hex.EncodeToString([]byte(secret))))
	add("query", url.QueryEscape(secret))
	add("path", url.PathEscape(secret))
	quoted, _ := json.Marshal(secret)
	add("json", strings.Trim(string(quoted), `"`))
	add("quoted", strings.Trim(fmt.Sprintf("%q", secret), `"`))
	for shift := range 3 {
		padded := append(make([]byte, shift), secret...)
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			add(fmt.Sprintf("%s+%d", name, shift), enc.EncodeToString(padded)[(shift*8+5)/6:len(padded)*8/6])
		}
	}
	return secret
}

// hits lists the secrets in data, each with its form, without showing it.
func (c *canaries) hits(data []byte) []string {
	var out []string
	seen := map[string]bool{}
	for i := 0; i+8 <= len(data); i++ {
		for _, n := range c.needles[[8]byte(data[i:])] {
			if i+len(n.text) > len(data) || string(data[i:i+len(n.text)]) != n.text {
				continue
			}
			from := max(0, i-60)
			hit := fmt.Sprintf("%s, planted as %s, after %q", n.form, c.where[n.secret], data[from:i])
			key := n.form + c.where[n.secret]
			if !seen[key] {
				seen[key] = true
				out = append(out, hit)
			}
		}
	}
	return out
}
