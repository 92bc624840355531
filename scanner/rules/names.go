package rules

import (
	_ "embed"
	"strings"
	"sync"
)

//go:embed names.txt
var namesText string

// name is one of names.txt.
type name struct {
	provider string
	ordinary bool // an ordinary word too
}

var names = sync.OnceValue(func() map[string]name {
	m := map[string]name{}
	for line := range strings.Lines(namesText) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		word, ordinary := strings.CutSuffix(f[0], "!")
		n := name{provider: word, ordinary: ordinary}
		if len(f) > 1 {
			n.provider = f[1]
		}
		m[word] = n
	}
	return m
})

// The lengths of names, in bytes.
const (
	shortestName = 3
	longestName  = 24
)

// after are the words that stand after the name of a service in the name of a
// variable that holds its secret.
var after = []string{
	"api", "key", "token", "secret", "access", "auth", "app", "bot", "client", "service", "account", "pass",
	"pat", "pwd", "private", "license", "rest", "webhook", "oauth", "personal", "admin", "user", "project", "org",
}

// Named gives the provider that a text before a secret names: the last service
// of names.txt whose name stands there as a word of its own. It is meant for the
// name of a variable and what is around it; text longer than 256 bytes is looked
// at from its end.
func Named(before string) (provider string, ok bool) {
	if len(before) > 256 {
		before = before[len(before)-256:]
	}
	lower := strings.ToLower(before)
	if len(lower) != len(before) {
		return "", false // letters that change their length are in no name
	}
	list := names()
	for at := len(lower) - shortestName; at >= 0; at-- {
		if !starts(before, at) {
			continue
		}
		for end := min(len(lower), at+longestName); end >= at+shortestName; end-- {
			n, found := list[lower[at:end]]
			if found && ends(before, lower, end, n.ordinary) {
				return n.provider, true
			}
		}
	}
	return "", false
}

// starts reports whether a word can start at i: after what is no letter, or with
// a capital after a small letter.
func starts(s string, i int) bool {
	if i == 0 {
		return true
	}
	p := s[i-1]
	return !letterByte(p) || small(p) && !small(s[i])
}

// ends reports whether a word that ends before i is whole there. An ordinary
// word has to be followed by one that a secret's name goes on with.
func ends(s, lower string, i int, ordinary bool) bool {
	rest := lower[i:]
	if !ordinary && (rest == "" || !letterByte(rest[0]) || small(s[i-1]) && !small(s[i])) {
		return true
	}
	rest = strings.TrimLeft(rest, "_-. ")
	for _, w := range after {
		if strings.HasPrefix(rest, w) {
			return true
		}
	}
	return false
}

func small(c byte) bool { return c >= 'a' && c <= 'z' }

func letterByte(c byte) bool { return small(c) || c >= 'A' && c <= 'Z' }
