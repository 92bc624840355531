package match

import (
	"bytes"
	"math"

	"github.com/zricethezav/gitleaks/v8/report"
)

// promising finds the secret in a match, unless the text of the match alone says
// that nothing comes of it. What is asked here and in judge is what gitleaks
// asks; the order is another one, cheap questions first, since any no is the
// end.
func (s *scan) promising(r *rule, text []byte, m extent) (secret extent, ok bool) {
	lo, hi := m.start, m.end
	for lo < hi && text[lo] == '\n' {
		lo++
	}
	for hi > lo && text[hi-1] == '\n' {
		hi--
	}
	secret, ok = secretOf(r, text[lo:hi])
	if !ok {
		return extent{}, false
	}
	secret = extent{lo + secret.start, lo + secret.end}
	if r.Entropy != 0 && shannon(text[secret.start:secret.end]) <= r.Entropy {
		return extent{}, false
	}
	key := s.p.memo.key(aboutMatch, r, text[lo:hi])
	excused, known := s.p.memo.get(key)
	if !known {
		c := claim{match: string(text[lo:hi]), secret: string(text[secret.start:secret.end])}
		excused = s.excused(r, &c, (*allowlist).byText)
		s.p.memo.put(key, excused)
	}
	return secret, !excused
}

// secretOf is the secret in a match, whose newlines at both ends are gone; not
// ok when the rule's group is not in its expression.
func secretOf(r *rule, match []byte) (secret extent, ok bool) {
	whole := extent{0, len(match)}
	if r.groups == 0 && r.SecretGroup == 0 {
		return whole, true
	}
	groups := r.Regex.get().FindSubmatchIndex(match)
	if len(groups) < 4 {
		return whole, true
	}
	if g := r.SecretGroup; g > 0 {
		switch {
		case len(groups)/2 <= g:
			return whole, false
		case groups[2*g] < 0:
			return extent{}, true
		}
		return extent{groups[2*g], groups[2*g+1]}, true
	}
	for g := 1; g < len(groups)/2; g++ {
		if groups[2*g] < groups[2*g+1] {
			return extent{groups[2*g], groups[2*g+1]}, true
		}
	}
	return whole, true
}

// judge makes a finding of a promising match, unless something around it speaks
// against that.
func (s *scan) judge(r *rule, m, secret extent) {
	var segments []segment
	if s.layer != nil {
		segments = overlapping(s.layer.segments, m)
		if len(segments) == 0 {
			return // this was found before it was decoded
		}
	}
	text := bytes.Trim(s.cur[m.start:m.end], "\n")
	if (!r.implied || s.odd != nil) && len(r.Keywords) > 0 && !r.keywordIn(text) && !s.hasKeyword(r) {
		return
	}
	lead := 0
	for lead < m.end-m.start && s.cur[m.start+lead] == '\n' {
		lead++
	}
	f := finding{rule: r, match: string(text)}
	f.from, f.to = secret.start-m.start-lead, secret.end-m.start-lead
	if f.from >= 0 && f.to <= len(f.match) {
		f.secret = f.match[f.from:f.to]
	} else {
		f.from, f.to = 0, 0 // the rule's group took no part in the match
	}
	f.start = m.start + lead
	c := claim{match: f.match, secret: f.secret}
	if segments == nil {
		m.end = m.start + len(text)
		f.at = m
	} else {
		f.layer = s.layer
		for i := range segments {
			f.kinds |= segments[i].kinds
		}
		c.line = s.decodedLine(segments)
		f.at = toOriginal(segments, s.layer.below, m)
	}
	if r.byLine {
		var place report.Finding
		line := s.locate(&place, f.at)
		if segments == nil {
			c.line = line
		}
		if s.p.honour && bytes.Contains(s.raw[line.start:line.end], []byte(allowComment)) {
			return
		}
	}
	if s.anyPath {
		f.open = s.leftOpen(r, &c)
	}
	if s.excused(r, &c, func(a *allowlist) bool { return !a.byText() }) {
		return
	}
	s.findings = append(s.findings, f)
}

// leftOpen gives the allowlists that let a finding go but for its path, which is
// not known.
func (s *scan) leftOpen(r *rule, c *claim) (out []*allowlist) {
	for _, lists := range [][]*allowlist{s.p.allowlists, r.allowlists} {
		for _, a := range lists {
			if a.and && len(a.Paths) > 0 && s.excusesBut(a, c) {
				out = append(out, a)
			}
		}
	}
	return out
}

// report writes a finding as gitleaks does.
func (s *scan) report(f *finding) report.Finding {
	out := report.Finding{
		Commit: s.commit, RuleID: f.rule.RuleID, Description: f.rule.Description, File: s.path,
		Match: f.match, Secret: f.secret, Entropy: float32(shannon([]byte(f.secret))), Tags: f.tags(),
	}
	line := s.locate(&out, f.at)
	out.Line = string(s.raw[line.start:line.end])
	return out
}

func (f *finding) tags() []string {
	out := append([]string(nil), f.rule.Tags...)
	if f.layer != nil {
		out = append(out, tags(f.kinds, f.layer.depth)...)
	}
	return out
}

// byText reports whether an allowlist asks for nothing but the secret and the
// match.
func (a *allowlist) byText() bool {
	return a.RegexTarget != "line" && (!a.and || len(a.Paths) == 0 && len(a.Commits) == 0)
}

// excused asks the allowlists of which which is true.
func (s *scan) excused(r *rule, c *claim, which func(*allowlist) bool) bool {
	for _, lists := range [][]*allowlist{s.p.allowlists, r.allowlists} {
		for _, a := range lists {
			if which(a) && s.excuses(a, c) {
				return true
			}
		}
	}
	return false
}

const allowComment = "gitleaks:allow"

// claim is a finding before the allowlists; line is a range of the text of the
// pass, which is not the text as it was given when something was decoded.
type claim struct {
	match, secret string
	line          extent
}

// lineKey names an answer about a line, which is the same for all findings on it.
type lineKey struct {
	list  *allowlist
	layer *layer
	line  extent
}

func (s byteSet) holdsAll(b []byte) bool {
	for _, c := range b {
		if !s.has(c) {
			return false
		}
	}
	return true
}

// drops reports whether a finding of r with this secret is dropped for the
// secret alone. A no may be wrong; a yes may not.
func (p *program) drops(r *rule, secret []byte) bool {
	if len(secret) == 0 || !ascii(secret) {
		return false
	}
	for _, a := range r.allowlists {
		if !a.only.empty() && a.only.holdsAll(secret) {
			return true
		}
	}
	if r.Entropy != 0 && shannon(secret) <= r.Entropy {
		return true
	}
	key := p.memo.key(aboutSecret, r, secret)
	yes, known := p.memo.get(key)
	if !known {
		yes = p.dropsText(r, string(secret))
		p.memo.put(key, yes)
	}
	return yes
}

func (p *program) dropsText(r *rule, text string) bool {
	for _, lists := range [][]*allowlist{p.allowlists, r.allowlists} {
		for _, a := range lists {
			if a.and {
				continue
			}
			if len(a.StopWords) > 0 {
				if a.stops(text) {
					return true
				}
			}
			if a.RegexTarget == "" && len(a.Regexes) > 0 && a.regexAllowed(text) {
				return true
			}
		}
	}
	return false
}

// excuses reports whether an allowlist lets a finding go.
func (s *scan) excuses(a *allowlist, c *claim) bool {
	if a.and {
		return (len(a.Paths) == 0 || s.pathIn(a)) && s.excusesBut(a, c)
	}
	if len(a.StopWords) > 0 {
		if a.stops(c.secret) {
			return true
		}
	}
	return len(a.Regexes) > 0 && s.regexAllows(a, c)
}

// excusesBut is excuses, but for the path, of an allowlist all of whose
// conditions must hold.
func (s *scan) excusesBut(a *allowlist, c *claim) bool {
	if len(a.Commits) > 0 {
		if !a.commitAllowed(s.commit) {
			return false
		}
	}
	if len(a.StopWords) > 0 {
		if !a.stops(c.secret) {
			return false
		}
	}
	return len(a.Regexes) == 0 || s.regexAllows(a, c)
}

func (s *scan) regexAllows(a *allowlist, c *claim) bool {
	switch a.RegexTarget {
	case "match":
		return a.regexAllowed(c.match)
	case "line":
		key := lineKey{a, s.layer, c.line}
		yes, known := s.verdict[key]
		if !known {
			text := s.raw
			if s.layer != nil {
				text = s.cur
			}
			yes = a.regexAllowed(string(text[c.line.start:c.line.end]))
			if s.verdict == nil {
				s.verdict = map[lineKey]bool{}
			}
			s.verdict[key] = yes
		}
		return yes
	}
	return a.regexAllowed(c.secret)
}

// pathIn reports whether the path of this text is in an allowlist.
func (s *scan) pathIn(a *allowlist) bool {
	if s.path == "" {
		return false
	}
	yes, known := s.paths[a]
	if !known {
		yes = a.paths.match(s.path)
		if s.paths == nil {
			s.paths = map[*allowlist]bool{}
		}
		s.paths[a] = yes
	}
	return yes
}

// leftOut reports whether one of the allowlists leaves out this path or commit
// whatever is found.
func (s *scan) leftOut(lists []*allowlist) bool {
	if s.path == "" && s.commit == "" {
		return false
	}
	for _, a := range lists {
		commit := a.commitAllowed(s.commit)
		if !a.and {
			if commit || len(a.Paths) > 0 && s.pathIn(a) {
				return true
			}
			continue
		}
		if len(a.Regexes) > 0 || len(a.StopWords) > 0 {
			continue
		}
		if (len(a.Commits) == 0 || commit) && (len(a.Paths) == 0 || s.pathIn(a)) {
			return true
		}
	}
	return false
}

// decodedLine is the line of what was decoded, in the text of this pass, with
// the newline before it.
func (s *scan) decodedLine(segments []segment) extent {
	d := segments[0].decoded
	for i := range segments {
		d = d.merge(segments[i].decoded)
	}
	line := extent{0, len(s.cur)}
	i := bytes.LastIndexByte(s.cur[:min(d.start+1, len(s.cur))], '\n')
	if i >= 0 {
		line.start = i
	}
	i = bytes.IndexByte(s.cur[d.end:], '\n')
	if i >= 0 {
		line.end = d.end + i
	}
	return line
}

// shannon is gitleaks' entropy: counted in runes, over the length in bytes. It
// adds up in the order of the runes, where gitleaks' order is random.
func shannon(b []byte) (entropy float64) {
	if len(b) == 0 {
		return 0
	}
	inverse := 1.0 / float64(len(b))
	if ascii(b) {
		var count [128]int32
		for _, c := range b {
			count[c]++
		}
		for _, n := range count {
			if n > 0 {
				freq := float64(n) * inverse
				entropy -= freq * math.Log2(freq)
			}
		}
		return entropy
	}
	return shannonRunes(string(b), inverse)
}
