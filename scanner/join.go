package scanner

import (
	"cmp"
	"slices"

	"stanch/internal/secret"
	"stanch/scanner/rules"
)

// mostCandidates is how many other values are kept for one part.
const mostCandidates = 20

// Join makes credentials of all the findings of one push or scan, one for each
// (provider, kind, public id or value), in the order of their first finding.
// Suppressed findings and matches without a value are left out. Places are
// scrubbed first (see [Engine.Scrub]).
//
// An AWS access key id is joined with the secret, and for a session the token,
// that is nearest: within 8 lines or 1,024 bytes, then in the same file, then
// in the same push. Each value is given to one id; what else could belong to
// an id is kept in Candidates. An id without a partner is a credential all the
// same. A secret without an id is one of kind "secret_access_key".
//
// Secrets of other providers that need a second part ([families]) take the nearest
// one in the same way, with the others as candidates. A part that is no secret
// then stands in that credential and is none of its own.
func (e *Engine) Join(found []Finding) []Credential {
	found = e.Scrub(found)
	j := joiner{index: map[string]int{}, taken: map[string]bool{}, near: map[string]bool{}}
	for _, f := range found {
		if f.Suppressed != "" || f.Secret.IsZero() {
			continue
		}
		if f.Provider == "aws" {
			switch f.Part {
			case PartAccessKeyID:
				j.ids.add(f)
			case PartSecretAccessKey:
				j.secrets.add(f)
			case PartSessionToken:
				j.tokens.add(f)
			}
		}
	}
	j.pair(&j.secrets, PartSecretAccessKey, func(*value) bool { return true })
	j.pair(&j.tokens, PartSessionToken, func(id *value) bool { return id.findings[0].Kind == "session" })
	j.borrow(found)
	for _, f := range found {
		if f.Suppressed == "" && !f.Secret.IsZero() {
			j.credential(f)
		}
	}
	for i := range j.out {
		finish(&j.out[i])
	}
	return j.out
}

// value is one distinct string with its sightings.
type value struct {
	text     string
	findings []Finding
	parts    map[string]secret.Value
	others   map[string][]secret.Value
	joined   []*value
}

type values struct {
	list []*value
	by   map[string]*value
}

func (v *values) add(f Finding) {
	s := f.Secret.Reveal()
	got, ok := v.by[s]
	if !ok {
		if v.by == nil {
			v.by = map[string]*value{}
		}
		got = &value{text: s, parts: map[string]secret.Value{}, others: map[string][]secret.Value{}}
		v.by[s] = got
		v.list = append(v.list, got)
	}
	got.findings = append(got.findings, f)
}

type joiner struct {
	ids, secrets, tokens values
	taken                map[string]bool // values that became part of an id's credential
	near                 map[string]bool // values that stand in a file with an id
	index                map[string]int
	out                  []Credential
	lent                 map[string]borrowed // parts of other credentials, by provider and value of the primary
	absorbed             map[string]bool     // public parts that became part of a credential
}

// distance between an id and what may be its partner; smaller is nearer.
type distance struct {
	tier  int // 0 in the window, 1 in the same file, 2 in the same push
	lines int
	wrong int // 1 when the partner stands on the side where partners of this file do not
	bytes int
}

func (d distance) compare(o distance) int {
	return cmp.Or(cmp.Compare(d.tier, o.tier), cmp.Compare(d.lines, o.lines), cmp.Compare(d.wrong, o.wrong), cmp.Compare(d.bytes, o.bytes))
}

type pairing struct {
	id, partner *value
	d           distance
}

// fileKey names a file over its history; unitKey one state of it.
type fileKey struct{ repository, path, object string }
type unitKey struct {
	fileKey
	commit string
}

func keyOf(p Place) unitKey {
	k := unitKey{fileKey{p.Repository, p.Path, p.Object}, p.Commit}
	if p.Object == "blob" {
		k.object = ""
	}
	if p.Path == "" && p.Object != "" {
		k.path = p.Commit // the message of a commit is a file of its own
	}
	return k
}

type sighting struct {
	v *value
	f *Finding
}

func (j *joiner) pair(partners *values, part string, wants func(*value) bool) {
	files := map[fileKey][]sighting{}
	for _, p := range partners.list {
		for i := range p.findings {
			k := keyOf(p.findings[i].Place).fileKey
			files[k] = append(files[k], sighting{p, &p.findings[i]})
		}
	}
	for _, s := range files {
		slices.SortStableFunc(s, func(a, b sighting) int { return cmp.Compare(a.f.Offset, b.f.Offset) })
	}
	idFirst := j.idFirst(files)
	best := map[[2]*value]distance{}
	for _, id := range j.ids.list {
		for i := range id.findings {
			f := &id.findings[i]
			k := keyOf(f.Place)
			for _, s := range around(files[k.fileKey], f.Offset) {
				j.near[s.v.text] = true
				if wants(id) {
					note(best, id, s.v, measure(f, s.f, idFirst[k.fileKey]))
				}
			}
		}
		// The rest of the push comes last, in the order of the push.
		n := 0
		for _, p := range partners.list {
			if n >= mostCandidates || !wants(id) {
				break
			}
			if slices.Contains(p.findings[0].Tags, tagNearKeyID) {
				continue // stands by another id
			}
			n++
			note(best, id, p, distance{tier: 2, lines: n})
		}
	}
	all := make([]pairing, 0, len(best))
	for _, id := range j.ids.list {
		for _, p := range partners.list {
			d, ok := best[[2]*value{id, p}]
			if ok {
				all = append(all, pairing{id, p, d})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b pairing) int { return a.d.compare(b.d) })
	used := map[*value]bool{}
	for _, p := range all {
		if used[p.partner] || !p.id.parts[part].IsZero() {
			continue
		}
		used[p.partner] = true
		j.taken[p.partner.text] = true
		p.id.parts[part] = p.partner.findings[0].Secret
		p.id.joined = append(p.id.joined, p.partner)
	}
	for _, p := range all {
		if !p.id.parts[part].Equal(p.partner.findings[0].Secret) && len(p.id.others[part]) < mostCandidates {
			p.id.others[part] = append(p.id.others[part], p.partner.findings[0].Secret)
		}
	}
}

// idFirst says for each file whether an id stands before the first partner.
func (j *joiner) idFirst(files map[fileKey][]sighting) map[fileKey]bool {
	out := map[fileKey]bool{}
	for _, id := range j.ids.list {
		for i := range id.findings {
			k := keyOf(id.findings[i].Place).fileKey
			s := files[k]
			if len(s) > 0 && id.findings[i].Offset < s[0].f.Offset {
				out[k] = true
			}
		}
	}
	return out
}

// around gives the sightings nearest to offset, as many as matter.
func around(s []sighting, offset int) []sighting {
	n, _ := slices.BinarySearchFunc(s, offset, func(s sighting, at int) int { return cmp.Compare(s.f.Offset, at) })
	return s[max(0, n-mostCandidates):min(len(s), n+mostCandidates)]
}

func measure(id, partner *Finding, idFirst bool) distance {
	lines := abs(id.Place.Line - partner.Place.Line)
	size := abs(id.Offset - partner.Offset)
	d := distance{tier: 1, lines: lines, bytes: size}
	if keyOf(id.Place) == keyOf(partner.Place) && (lines <= windowLines || size <= windowBytes) {
		d.tier = 0
	}
	if (id.Offset < partner.Offset) != idFirst {
		d.wrong = 1
	}
	return d
}

func abs(n int) int { return max(n, -n) }

func note(best map[[2]*value]distance, id, partner *value, d distance) {
	k := [2]*value{id, partner}
	old, ok := best[k]
	if !ok || d.compare(old) < 0 {
		best[k] = d
	}
}

// credential files one finding under the credential that it shows.
func (j *joiner) credential(f Finding) {
	s := f.Secret.Reveal()
	if f.Provider == "aws" {
		switch f.Part {
		case PartAccessKeyID:
			j.keyPair(s)
			return
		case PartSecretAccessKey, PartSessionToken:
			if j.taken[s] || j.near[s] || slices.Contains(f.Tags, tagNearKeyID) {
				return // shown with its id, as part or candidate
			}
		}
	}
	if j.absorbed[valueKey(f.Provider, s)] {
		return // shown with the secret that it belongs to
	}
	k := f.Provider + "\x00" + f.Kind + "\x00" + s
	n, ok := j.index[k]
	if !ok {
		n = len(j.out)
		j.index[k] = n
		c := Credential{Provider: f.Provider, Kind: f.Kind, Parts: map[string]secret.Value{f.Part: f.Secret}}
		kind, _ := rules.Of(f.Rule, s)
		if kind.Public {
			c.PublicID = s
		}
		j.complete(&c, f.Provider, s)
		j.out = append(j.out, c)
	}
	j.out[n].Findings = append(j.out[n].Findings, f)
	for part, v := range f.About {
		// Under which name a value is set says nothing about whose it is.
		if v != "" && part != "name" && j.out[n].Parts[part].IsZero() {
			j.out[n].Parts[part] = secret.New(v)
		}
	}
}

func (j *joiner) keyPair(id string) {
	_, ok := j.index["aws\x00"+id]
	if ok {
		return
	}
	j.index["aws\x00"+id] = len(j.out)
	v := j.ids.by[id]
	c := Credential{
		Provider: "aws", Kind: v.findings[0].Kind, PublicID: id,
		Parts: map[string]secret.Value{PartAccessKeyID: v.findings[0].Secret},
	}
	c.Account, _ = rules.AccountID(id)
	for part, s := range v.parts {
		c.Parts[part] = s
	}
	if len(v.others) > 0 {
		c.Candidates = v.others
	}
	c.Findings = append(c.Findings, v.findings...)
	for _, p := range v.joined {
		c.Findings = append(c.Findings, p.findings...)
	}
	j.out = append(j.out, c)
}

// finish drops doubled places and sums up class and confidence: the most
// production-like place counts, and the surest sighting.
func finish(c *Credential) {
	type at struct {
		unitKey
		line, column int
		part         string
	}
	seen := map[at]bool{}
	kept := c.Findings[:0:0]
	for _, f := range c.Findings {
		k := at{keyOf(f.Place), f.Place.Line, f.Place.Column, f.Part}
		if !seen[k] {
			seen[k] = true
			kept = append(kept, f)
		}
	}
	c.Findings = kept
	c.Class, c.Confidence = kept[0].Class, kept[0].Confidence
	for _, f := range kept {
		if classRank(f.Class) > classRank(c.Class) {
			c.Class = f.Class
		}
		if confidenceRank(f.Confidence) > confidenceRank(c.Confidence) {
			c.Confidence = f.Confidence
		}
	}
}

func classRank(c Class) int {
	return slices.Index([]Class{ClassPublic, ClassPlaceholder, ClassExample, ClassDocs, ClassFixture, ClassProduction}, c)
}

func confidenceRank(c Confidence) int {
	return slices.Index([]Confidence{ConfidenceLow, ConfidenceMedium, ConfidenceHigh}, c)
}
