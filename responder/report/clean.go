package report

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"stanch/internal/lazyregexp"
)

// maxText bounds one string of a report, in bytes.
const maxText = 4096

// masked stands where text looked like a secret.
const masked = "[masked]"

// clean makes everything that v points to fit to be kept: text is valid UTF-8, of
// bounded length and without anything shaped like a secret; times are UTC, to the
// millisecond, and within what RFC 3339 can say; a nil slice is an empty one. It
// copies what it changes, so that the caller's slices and maps stay as they were.
func clean(v any) { cleanValue(reflect.ValueOf(v).Elem()) }

var timeType = reflect.TypeFor[time.Time]()

func cleanValue(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(cleanText(v.String()))
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(cleanTime(v.Interface().(time.Time))))
			return
		}
		for n := range v.NumField() {
			cleanValue(v.Field(n))
		}
	case reflect.Slice:
		out := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(out, v)
		for n := range out.Len() {
			cleanValue(out.Index(n))
		}
		v.Set(out)
	case reflect.Map:
		if v.IsNil() {
			return
		}
		out := reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			key.Set(it.Key())
			value.Set(it.Value())
			cleanValue(key)
			cleanValue(value)
			out.SetMapIndex(key, value)
		}
		v.Set(out)
	}
}

// cleanTime drops times that RFC 3339 cannot write: a commit may claim any date.
func cleanTime(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

func cleanText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > maxText {
		cut := maxText
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = fmt.Sprintf("%s… (%d bytes in all)", s[:cut], len(s))
	}
	return maskSecrets(s)
}

// secretShapes are secrets that can be told by their looks. It is the second
// line: the scanner scrubs first, and no part of an incident is meant to hold one.
var secretShapes = lazyregexp.New(strings.Join([]string{
	`\bgh[pousr]_[A-Za-z0-9]{20,}`,
	`\bgithub_pat_[A-Za-z0-9_]{20,}`,
	`\bglpat-[A-Za-z0-9_-]{16,}`,
	`\bxox[abeprs]-[A-Za-z0-9-]{10,}`,
	`\b[sr]k_live_[A-Za-z0-9]{16,}`,
	`\bnpm_[A-Za-z0-9]{30,}`,
	`\bpypi-[A-Za-z0-9_-]{30,}`,
	`\bsk-[A-Za-z0-9_-]{20,}`,
	`\bAIza[A-Za-z0-9_-]{35}`,
	`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`,
	`-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?`,
	`\bIQoJb3JpZ2lu[A-Za-z0-9/+=]{20,}`,
	`\bFwoGZXIvYXdz[A-Za-z0-9/+=]{20,}`,
}, "|"))

// secretMarks are what every one of secretShapes contains: most text has none of
// them and needs no regular expression.
var secretMarks = []string{
	"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "k_live_", "npm_", "pypi-", "sk-", "AIza", "eyJ", "PRIVATE KEY", "IQoJb3JpZ2lu", "FwoGZXIvYXdz",
}

// keyLike is as long as an AWS secret access key; whether it is one its entropy says.
var keyLike = lazyregexp.New(`[A-Za-z0-9/+]{40,}`)

func maskSecrets(s string) string {
	if len(s) < 20 {
		return s
	}
	for _, m := range secretMarks {
		if strings.Contains(s, m) {
			s = secretShapes().ReplaceAllString(s, masked)
			break
		}
	}
	if len(s) < 40 {
		return s
	}
	return keyLike().ReplaceAllStringFunc(s, func(m string) string {
		for n := 0; n+40 <= len(m); n++ {
			// A slash may be a part of the key or of the path around it.
			begins := n == 0 || m[n-1] == '/'
			ends := n+40 == len(m) || m[n+40] == '/'
			if begins && ends && randomKey(m[n:n+40]) {
				m = m[:n] + masked + m[n+40:]
			}
		}
		return m
	})
}

func randomKey(s string) bool {
	return entropy(s) >= 4.3 && strings.ContainsAny(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") && strings.ContainsAny(s, "0123456789")
}

// entropy is Shannon's, in bits per byte.
func entropy(s string) float64 {
	var n [256]int
	for i := range len(s) {
		n[s[i]]++
	}
	var h float64
	for _, c := range n {
		if c > 0 {
			p := float64(c) / float64(len(s))
			h -= p * math.Log2(p)
		}
	}
	return h
}
