package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"stanch/playbooks"
	"stanch/responder/incident"
)

// providerName is how people write a provider.
func providerName(p string) string {
	switch p {
	case "aws":
		return "AWS"
	case "github":
		return "GitHub"
	case "gitlab":
		return "GitLab"
	case "gcp":
		return "Google Cloud"
	case "npm", "pypi":
		return p
	case "":
		return "the provider"
	}
	return strings.ToUpper(p[:1]) + p[1:]
}

func bindingWhy(b string) string {
	switch b {
	case playbooks.BindingInValue:
		return "the identifier acted on is written in the leaked credential"
	case playbooks.BindingInBody:
		return "the credential itself was sent as the thing to revoke"
	case playbooks.BindingSelf:
		return "the endpoint acts on the credential that authenticates and on no other"
	case playbooks.BindingFact:
		return "the identifier acted on came from the provider's own answer about this credential"
	case playbooks.BindingCandidate:
		return "exactly one candidate at the provider has this fingerprint"
	}
	return ""
}

func visibility(v incident.Visibility) string {
	if v == "" {
		return string(incident.VisibilityUnknown)
	}
	return string(v)
}

// publicness orders visibilities by how many people can read them.
func publicness(v incident.Visibility) int {
	switch v {
	case incident.VisibilityPublic:
		return 3
	case incident.VisibilityInternal:
		return 2
	case incident.VisibilityPrivate:
		return 1
	}
	return 0
}

// shortPrint is the part of a fingerprint that people compare.
func shortPrint(f string) string {
	if len(f) > 12 {
		return f[:12]
	}
	return f
}

// shellWord quotes s for a POSIX shell when it needs quoting.
func shellWord(s string) string {
	plain := s != "" && !strings.HasPrefix(s, "-")
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./", r) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// stamp writes a time for people, in UTC to the second.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
}

// span writes a duration for people: "850 ms", "2.1 s", "3 min 20 s", "5 h 12 min".
func span(d time.Duration) string {
	if d < 0 {
		return "-" + span(-d)
	}
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 59950*time.Millisecond:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	case d < time.Hour:
		s := int(math.Round(d.Seconds()))
		return units(s/60, "min", s%60, "s")
	case d < 48*time.Hour:
		m := int(math.Round(d.Minutes()))
		return units(m/60, "h", m%60, "min")
	}
	h := int(math.Round(d.Hours()))
	return units(h/24, "d", h%24, "h")
}

func units(a int, au string, b int, bu string) string {
	if b == 0 {
		return fmt.Sprintf("%d %s", a, au)
	}
	return fmt.Sprintf("%d %s %d %s", a, au, b, bu)
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// plural writes "1 call", "3 calls".
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// list joins words as people do: "a, b and c".
func list(words []string) string {
	switch len(words) {
	case 0:
		return ""
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// article is "a" or "an" for the word that follows, good enough for our own nouns.
func article(word string) string {
	if word == "" {
		return "a"
	}
	if strings.ContainsRune("AEIOUaeiou", rune(word[0])) {
		return "an"
	}
	return "a"
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func firstNonZero(ns ...int) int { return cmp.Or(ns...) }
