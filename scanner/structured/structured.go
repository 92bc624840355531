// Package structured reads credentials out of files and notations whose form is
// known: connection strings, password files of tools, settings, manifests, keys.
// It parses where patterns would guess, and says what stands beside the secret:
// host, user, database, registry.
//
// # What this package promises
//
// [Find] takes time linear in the text and memory bounded by what it finds,
// whatever the text is; where that leaves something out, it says so. A file that
// does not parse yields what was read of it, or nothing. References to a secret that is kept elsewhere (templates,
// environment variables, vaults) are no secrets and are not reported.
// Placeholders are reported with the reason.
//
// # What it never does
//
// It opens no file, follows no include and no alias, and calls nobody.
package structured

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Confidence before the context of the place is looked at.
const (
	Low    = 1
	Medium = 2
	High   = 3
)

// Hit is one secret in a text.
type Hit struct {
	Rule        string
	Description string
	Provider    string // "" when the notation does not say
	Kind        string
	Part        string            // which part of the credential the secret is
	Secret      string            // as it is used: unescaped, decoded
	Start, End  int               // where it stands in the text, escaped or encoded
	From, To    int               // the whole notation around it
	Parts       map[string]string // what identifies it and is no secret: host, user, database ...
	Encoded     string            // "base64" when the text holds it encoded
	Confidence  int
	Placeholder string   // why it is no secret, when it is a placeholder
	Public      string   // why it is public, when it is
	Reasons     []string // more about it

	need need
}

// most bounds the hits of one text; a hostile one could make millions.
const most = 10000

// The line of a hit is read at most so far to each side of what gave it away.
const reach = 2048

// A line is read again for each word in it that gives something away. Texts made
// of such words alone are read until this many times their length is spent.
const linesPerByte = 64

// Find reads one text. The path tells which file it is, and may be empty. whole
// says that nothing was left out for the bounds of this package.
func Find(name string, data []byte) (hits []Hit, whole bool) {
	f := newFinder(data)
	if newFile(name).settings {
		f.run(forSettings(), nil)
	} else {
		f.run(forCode(), nil)
	}
	return At(f.hits, name), !f.cut
}

// At gives those of the hits of [Anywhere] and [Delta] that are ones at a path, in order.
// The hits handed in are not changed.
func At(hits []Hit, name string) []Hit {
	if len(hits) == 0 {
		return nil
	}
	file := newFile(name)
	out := make([]Hit, 0, len(hits))
	for _, h := range hits {
		if !file.has(h.need) {
			continue
		}
		if h.Rule == ruleSetting && h.Provider == "" {
			h.Provider = file.provider()
		}
		out = append(out, h)
	}
	return distinct(out)
}

// need is what a path must say for a hit to be one.
type need uint8

const (
	anyFile  need = iota
	settings      // a file of settings
	plain         // one in which words are passwords
	npmrc         // and so on: a file of that name
	pypirc
	pgpass
	htpasswd
	netrc
	servers
)

// file is what a path says.
type file struct {
	path, base string // in lower case
	settings   bool
}

func newFile(name string) file {
	f := file{path: strings.ToLower(strings.ReplaceAll(name, "\\", "/"))}
	f.base = path.Base(f.path)
	f.settings = settingsFile(f.path, f.base)
	return f
}

func (f file) has(n need) bool {
	b := f.base
	switch n {
	case settings:
		return f.settings
	case plain:
		return f.settings && f.plain()
	case npmrc:
		return strings.HasSuffix(b, "npmrc") || strings.HasSuffix(b, ".yarnrc")
	case pypirc:
		return strings.HasSuffix(b, "pypirc")
	case pgpass:
		return strings.Contains(b, "pgpass")
	case htpasswd:
		return strings.Contains(b, "htpasswd")
	case netrc:
		return strings.Contains(b, "netrc") || strings.Contains(b, "authinfo")
	case servers:
		return b == "settings.xml" || strings.HasSuffix(b, "-settings.xml") || b == "sitemanager.xml" || b == "recentservers.xml" || b == "filezilla.xml"
	}
	return true
}

type finder struct {
	data     []byte
	hits     []Hit
	done     [kinds]bool         // the document was read as one of a kind
	seenName int                 // where the setting that was read last begins, plus one
	need     need                // of the hits that are being added
	tables   map[string][]string // the columns that CREATE TABLE names; nil before they are needed

	// of the last "@": where it is, where its word begins, where its userinfo
	lastAt, lastFrom, lastUser, lastOracle int

	budget int  // bytes of lines that may still be read
	cut    bool // something was left out
}

func newFinder(data []byte) *finder {
	return &finder{data: data, budget: 1<<20 + linesPerByte*len(data), lastAt: -1, lastUser: -1}
}

// add files a hit, when it is one.
func (f *finder) add(h Hit) {
	if h.Secret == "" || h.Start < 0 || h.End > len(f.data) || h.Start >= h.End || reference(h.Secret) {
		return
	}
	if len(f.hits) >= most {
		f.cut = true
		return
	}
	if h.From == 0 && h.To == 0 {
		h.From, h.To = h.Start, h.End
	}
	h.From, h.To = max(0, min(h.From, h.Start)), min(len(f.data), max(h.To, h.End))
	if h.Placeholder == "" && h.Public == "" && !strings.Contains(h.Secret, "PRIVATE KEY") && h.Kind != "private_key" {
		h.Placeholder = placeholder(h.Secret)
	}
	if h.Part == "" {
		h.Part = "password"
	}
	for k, v := range h.Parts {
		if v == "" || reference(v) || len(v) > 512 {
			delete(h.Parts, k)
		}
	}
	if len(h.Parts) == 0 {
		h.Parts = nil
	}
	if h.need == anyFile {
		h.need = f.need
	}
	f.hits = append(f.hits, h)
}

// distinct sorts hits and keeps, of those that overlap, the one that knows most:
// what a file's own format says, then a notation's, then a setting's name.
func distinct(hits []Hit) []Hit {
	slices.SortStableFunc(hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(order(a), order(b)), cmp.Compare(b.End, a.End))
	})
	out := hits[:0]
	for _, h := range hits {
		if n := len(out); n > 0 && h.Start < out[n-1].End {
			if order(h) < order(out[n-1]) {
				out[n-1] = h
			}
			continue
		}
		out = append(out, h)
	}
	return out
}

func order(h Hit) int {
	switch h.Rule {
	case ruleSetting:
		return 3
	case ruleBasic, ruleBearer, ruleCommand, ruleSQL:
		return 2
	case ruleURL, ruleConnection:
		return 1
	}
	return 0
}

// line is the part of the line around at that is within reach.
func (f *finder) line(at int) (from, to int) {
	from, to = at, at
	low, high := max(0, at-reach), min(len(f.data), at+reach)
	for from > low && f.data[from-1] != '\n' {
		from--
	}
	for to < high && f.data[to] != '\n' {
		to++
	}
	f.budget -= to - from
	if to > from && f.data[to-1] == '\r' {
		to--
	}
	return from, to
}
