package scanner

import (
	"maps"
	"slices"
	"strings"

	"stanch/internal/secret"
	"stanch/scanner/match"
	"stanch/scanner/rules"
	"stanch/scanner/structured"
)

// notes are what a text says beside what the rules find in it: the secrets in
// notations of known form, and what comments say about others. nil says nothing.
// It does not change and keeps no part of the text but what it found.
type notes struct {
	spots  []spot
	hints  map[int]string // by offset
	beside map[besideKey]map[string]string
}

// besideKey names a match: what stands beside it depends on its provider.
type besideKey struct {
	at   int
	rule string
}

// spot is a hit with its place in the text.
type spot struct {
	structured.Hit
	secretAt, matchAt Span
	match             secret.Value
}

// leftOut is why a result is partial when a text holds more than is read of it.
const leftOut = "a text with too many credentials or words for them was not read to its end"

// notesAt reads a text whose path is known; whole is false when something was left out.
func notesAt(text []byte, path string) (n *notes, whole bool) {
	hits, whole := structured.Find(path, text)
	return notesOf(text, hits), whole
}

// notesAnywhere reads a text whose path is not known.
func notesAnywhere(text []byte) (*notes, *structured.Seen) {
	hits, seen := structured.Anywhere(text)
	return notesOf(text, hits), seen
}

// notesOfDelta reads a text that is made of pieces of another.
func notesOfDelta(text []byte, base *structured.Seen, copies []Copy) (*notes, *structured.Seen) {
	hits, seen := structured.Delta(text, base, copies)
	return notesOf(text, hits), seen
}

func notesOf(text []byte, hits []structured.Hit) *notes {
	if len(hits) == 0 {
		return nil
	}
	order := make([]int, len(hits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return hits[a].Start - hits[b].Start })
	n := &notes{spots: make([]spot, len(hits))}
	var from, start, last, to lineCounter
	for _, c := range []*lineCounter{&from, &start, &last, &to} {
		c.text = text
	}
	for _, i := range order {
		h := hits[i]
		s := spot{Hit: h}
		s.secretAt.Line, s.secretAt.Column = start.at(h.Start)
		s.secretAt.EndLine, s.secretAt.EndColumn = last.at(h.End - 1)
		s.matchAt.Line, s.matchAt.Column = from.at(h.From)
		s.matchAt.EndLine, s.matchAt.EndColumn = to.at(max(h.From, h.To-1))
		s.match = secret.New(h.Secret)
		if h.Encoded == "" && h.To-h.From <= mostMatch {
			s.match = secret.FromBytes(text[h.From:h.To])
		}
		n.spots[i] = s
	}
	return n
}

// mostMatch bounds what is kept of the notation around a secret.
const mostMatch = 4 << 10

// mostBeside bounds for how many findings of a text it is read what stands beside
// them: a text of nothing but tokens has little to say about each.
const mostBeside = 2000

// about adds what comments say about all that was found.
func (n *notes) about(text []byte, found []match.Match, near near) *notes {
	hints := map[int]string{}
	add := func(at int) {
		if h := hintOf(text, at); h != "" {
			hints[at] = h
		}
	}
	beside := map[besideKey]map[string]string{}
	for i := range found {
		if !found[i].PathOnly {
			add(found[i].SecretAt.Start)
		}
		if i >= mostBeside {
			continue
		}
		if c := companionsOf(text, &found[i]); c != nil {
			beside[besideKey{found[i].SecretAt.Start, found[i].Rule}] = c
		}
	}
	for _, v := range near.values {
		add(v.at)
	}
	if n != nil {
		for i := range n.spots {
			add(n.spots[i].Start)
		}
	}
	switch {
	case len(hints)+len(beside) == 0:
		return n
	case n == nil:
		return &notes{hints: hints, beside: beside}
	}
	return &notes{n.spots, hints, beside}
}

// findings adds what notations hold at a place to what the rules found there. On
// the same string a rule that names a provider wins and takes over what the
// notation says about it; else the notation wins. found is sorted by offset.
func (n *notes) findings(place Place, found []Finding) []Finding {
	if n == nil {
		return found
	}
	for i := range found {
		found[i].About = merge(found[i].About, n.beside[besideKey{found[i].Offset, found[i].Rule}])
	}
	hits := make([]structured.Hit, len(n.spots))
	byStart := make(map[int]*spot, len(n.spots))
	for i := range n.spots {
		hits[i] = n.spots[i].Hit
		byStart[hits[i].Start] = &n.spots[i]
	}
	dropped := make([]bool, len(found))
	var added []Finding
	first := 0
	for _, h := range structured.At(hits, pathOf(place)) {
		for first < len(found) && found[first].end <= h.From && found[first].Offset+mostMatch < h.From {
			first++
		}
		known := false
		for i := first; i < len(found) && i < first+256; i++ {
			f := &found[i]
			if f.Offset >= h.To {
				break
			}
			if f.end <= h.From || dropped[i] {
				continue
			}
			if wins(f, &h) {
				known = true
				f.About = merge(f.About, h.Parts)
				if f.Offset == h.Start && f.end == h.End && strings.Contains(f.Secret.Reveal(), `\`) { // its escapes are read
					f.Secret = secret.New(h.Secret)
				}
				if f.Provider == "" {
					f.Provider, f.Kind = h.Provider, h.Kind
				}
				if f.Part == h.Part && h.Placeholder != "" { // a rule for the same notation
					f.Class, f.ClassReason = ClassPlaceholder, h.Placeholder
				}
			} else if loses(f, &h) {
				dropped[i] = true
			}
		}
		if !known {
			added = append(added, ofHit(&h, byStart[h.Start], place))
		}
	}
	out := found[:0]
	for i, f := range found {
		if !dropped[i] {
			out = append(out, f)
		}
	}
	out = append(out, added...)
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Offset - b.Offset })
	for i := range out {
		out[i].hint = n.hints[out[i].Offset]
	}
	return out
}

// wins reports whether a rule's finding says more about a string than its
// notation does: it names a provider, or the kind of key.
func wins(f *Finding, h *structured.Hit) bool {
	if f.end <= h.Start || f.Offset >= h.End {
		return false
	}
	_, typed := rules.Of(f.Rule, f.Secret.Reveal())
	s := f.Secret.Len()
	switch {
	case f.Rule == "jwt" || f.Rule == "private-key" && h.Kind != "service_account_key" && h.Rule != "structured-kubeconfig" && h.Rule != "structured-putty-key":
		return 2*s >= len(h.Secret)
	case h.Kind == "service_account_key" || h.Rule == "structured-npmrc" && f.Provider == "":
		return false
	case strings.HasPrefix(f.Rule, "aws-secret") && h.Rule != ruleSetting, formRules[f.Rule] && h.Confidence == structured.High && h.Rule != ruleSetting:
		return false
	}
	return typed && 2*s >= len(h.Secret)
}

const ruleSetting = "structured-setting"

// formRules tell a password by the file's form, of which the reader of that form
// knows more: whose it is, and how it is encoded.
var formRules = map[string]bool{"docker-config-auth": true, "npm-legacy-auth": true, "npmrc-password": true, "pypirc-password": true, "pgpass-line": true, "gradle-maven-password": true}

// loses reports whether a finding is explained by the notation.
func loses(f *Finding, h *structured.Hit) bool {
	_, typed := rules.Of(f.Rule, f.Secret.Reveal())
	overlap := f.Offset < h.End && f.end > h.Start
	switch {
	case overlap && (formRules[f.Rule] || slices.Contains(f.Tags, tagNearKeyID)) && h.Confidence == structured.High:
		return true
	case typed:
		return h.Kind == "service_account_key" && f.Rule == "private-key"
	}
	switch f.Rule {
	case "curl-auth-user", "curl-auth-header", "kubernetes-secret-yaml":
		return overlap
	case "private-key":
		return overlap && (h.Kind == "service_account_key" || h.Kind == "private_key")
	}
	return overlap && (strings.Contains(f.Rule, "generic") || h.End-h.Start >= f.end-f.Offset && h.Rule != ruleSetting)
}

// merge gives into with what it lacks of from, neither of them changed.
func merge(into, from map[string]string) map[string]string {
	if len(into) == 0 {
		return from
	}
	out := maps.Clone(into)
	for k, v := range from {
		if out[k] == "" {
			out[k] = v
		}
	}
	return out
}

func ofHit(h *structured.Hit, s *spot, place Place) Finding {
	place.Line, place.Column, place.EndLine, place.EndColumn = s.secretAt.Line, s.secretAt.Column, s.secretAt.EndLine, s.secretAt.EndColumn
	f := Finding{
		Rule: h.Rule, Description: h.Description, Provider: h.Provider, Kind: h.Kind, Part: h.Part, About: h.Parts,
		Secret: secret.New(h.Secret), Match: s.match, MatchAt: s.matchAt, Place: place, Entropy: float32(entropy([]byte(h.Secret))),
		Offset: h.Start, end: h.End, Reasons: slices.Clip(h.Reasons), Confidence: []Confidence{ConfidenceLow, ConfidenceMedium, ConfidenceHigh}[h.Confidence-1],
	}
	if h.Encoded != "" {
		f.Tags = []string{"decoded:" + h.Encoded}
	}
	switch {
	case h.Public != "":
		f.Class, f.ClassReason = ClassPublic, h.Public
	case h.Placeholder != "":
		f.Class, f.ClassReason = ClassPlaceholder, h.Placeholder
	}
	return f
}
