package match

import (
	"bytes"
	"context"
)

// Candidates are the matches in a text whose path is not known, with what
// depends on the path left open: see [Gitleaks.At]. They hold nothing of the
// text but the matches, and do not change. nil is a text in which nothing was
// seen.
type Candidates struct {
	matches []Match
	words   []*rule // rules that look at a path, and at the text for a keyword, which is there
	data    []byte  // of a text that gitleaks itself has to look at
	seen    sightings
}

// All there is to say of many texts.
var (
	opaque   = &Candidates{seen: sightings{opaque: true}}
	decodes  = &Candidates{seen: sightings{decodes: true, percent: true}}
	percents = &Candidates{seen: sightings{percent: true}}
)

// Candidates looks at a text. When ctx is done it gives what it has, of which
// the caller knows from ctx that it is not all.
func (g *Gitleaks) Candidates(ctx context.Context, data []byte) *Candidates {
	return g.Delta(ctx, data, opaque, 0, nil)
}

// Delta gives just what [Gitleaks.Candidates] gives for data, for less: of the
// bytes that came from another text, which base is of and which was size bytes
// long, only those next to new ones are looked at. The copies are sorted by New
// and do not overlap there.
func (g *Gitleaks) Delta(ctx context.Context, data []byte, base *Candidates, size int, copies []Copy) *Candidates {
	if g.reference || len(data) > g.chunk {
		return g.large(ctx, data)
	}
	s := g.program.newScan(data, "", "")
	defer s.release()
	var seen sightings
	if base != nil {
		seen = base.seen
	}
	seen.size = size
	s.anyPath = true
	kept := sightings{size: -1}
	s.kept = &kept
	s.all(ctx, &seen, copies)
	c := Candidates{seen: kept, words: s.pathWords()}
	switch {
	case s.escalate:
		c.data = bytes.Clone(data)
	case len(s.findings) > 0:
		c.matches = g.finish(data, s.matches(0))
	}
	if c.matches == nil && c.data == nil && c.words == nil && kept.places == nil && kept.rules == nil {
		switch {
		case kept.opaque:
			return opaque
		case kept.decodes:
			return decodes
		case kept.percent:
			return percents
		}
		return nil
	}
	return &c
}

// large is for texts that are matched in pieces.
func (g *Gitleaks) large(ctx context.Context, data []byte) *Candidates {
	if g.reference {
		return &Candidates{data: bytes.Clone(data), seen: sightings{opaque: true}}
	}
	var out []Match
	c := Candidates{seen: sightings{opaque: true}}
	g.pieces(data, func(start, end, next int) bool {
		s := g.program.newScan(data[start:end], "", "")
		defer s.release()
		s.anyPath = true
		s.all(ctx, nil, nil)
		if s.escalate {
			c.data = bytes.Clone(data)
			return false
		}
		for _, m := range s.matches(start) {
			if m.At.Start < next {
				out = append(out, m)
			}
		}
		if start == 0 {
			c.words = s.pathWords()
		}
		return ctx.Err() == nil
	})
	if c.data == nil {
		c.matches = g.finish(data, out)
	}
	return &c
}

// Empty reports whether the text has no match at any path, but for rules that
// look at the path alone.
func (c *Candidates) Empty() bool {
	return c == nil || len(c.matches) == 0 && len(c.words) == 0 && c.data == nil
}

// Unsettled reports whether there can be matches that [Candidates.All] lacks:
// those that a path decides, and those that gitleaks itself has to look for.
func (c *Candidates) Unsettled() bool {
	return c != nil && (len(c.words) > 0 || c.data != nil)
}

// All gives the matches, with nothing decided by path. They must not be changed.
func (c *Candidates) All() []Match {
	if c == nil {
		return nil
	}
	return c.matches
}

// Settled is c without what [Gitleaks.Delta] needs, which is then not to be asked.
func (c *Candidates) Settled() *Candidates {
	if c == nil || len(c.seen.places) == 0 && len(c.seen.rules) == 0 {
		return c
	}
	s := *c
	s.seen = sightings{opaque: true}
	return &s
}

// At gives the matches at a path, in order: what [Gitleaks.Match] gives for the
// text and the path.
func (g *Gitleaks) At(c *Candidates, path string) []Match {
	if c == nil {
		c = &Candidates{}
	}
	if c.data != nil {
		return g.Match(context.Background(), Input{Data: c.data, Path: path})
	}
	p := g.program
	if path != "" && path == p.file {
		return nil
	}
	out := p.pathMatches(path, func(r *rule) bool {
		for _, w := range c.words {
			if w == r {
				return true
			}
		}
		return false
	})
	if len(out)+len(c.matches) == 0 || p.leavesOut(path) {
		return nil
	}
	type answer struct {
		rule *rule
		yes  bool
	}
	var last answer // of one rule are many
	for i := range c.matches {
		m := &c.matches[i]
		if last.rule != m.rule {
			last = answer{m.rule, m.rule.standsAt(path)}
		}
		if !last.yes {
			continue
		}
		stands := true
		for _, a := range m.open {
			stands = stands && !a.paths.match(path)
		}
		if stands {
			out = append(out, *m)
		}
	}
	return unexplained(out)
}

// standsAt reports whether a rule looks at a path.
func (r *rule) standsAt(path string) bool {
	if r.Path != nil && !r.Path.matches(path) {
		return false
	}
	return !r.places || !leftOutAt(r.allowlists, path)
}

// leavesOut reports whether a global allowlist leaves out a path.
func (p *program) leavesOut(path string) bool { return leftOutAt(p.allowlists, path) }

func leftOutAt(lists []*allowlist, path string) bool {
	s := scan{path: path}
	return s.leftOut(lists)
}

// pathMatches gives the matches of rules that look at the path.
func (p *program) pathMatches(path string, keyword func(*rule) bool) (out []Match) {
	if path == "" {
		return nil
	}
	for _, r := range p.pathOnly {
		if !r.path.match(path) || r.places && leftOutAt(r.allowlists, path) || len(r.Keywords) > 0 && !keyword(r) {
			continue
		}
		one := Span{Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
		out = append(out, Match{
			Rule: r.RuleID, Description: r.Description, Text: "file detected: " + path, At: one, SecretAt: one,
			Tags: append([]string(nil), r.Tags...), PathOnly: true, rule: r,
		})
	}
	return out
}

// pathWords gives the rules that look at a path and have a keyword in the text
// as it was given.
func (s *scan) pathWords() (out []*rule) {
	if !s.p.pathWords {
		return nil
	}
	low := bytes.ToLower(s.raw)
	for _, r := range s.p.pathOnly {
		for _, k := range r.Keywords {
			if bytes.Contains(low, bytes.ToLower([]byte(k))) {
				out = append(out, r)
				break
			}
		}
	}
	return out
}

// matches gives what was found, in a text that begins at base of a larger one.
func (s *scan) matches(base int) []Match {
	out := make([]Match, 0, len(s.findings))
	n := len(s.raw)
	for i := range s.findings {
		f := &s.findings[i]
		m := Match{
			Rule: f.rule.RuleID, Description: f.rule.Description, Secret: f.secret, Text: f.match,
			Entropy: float32(shannon([]byte(f.secret))), Tags: f.tags(), Decoded: f.layer != nil,
			rule: f.rule, open: f.open,
		}
		at, secret := extent{f.start, f.start + len(f.match)}, extent{f.start + f.from, f.start + f.to}
		if m.Decoded {
			at = extent{clamp(f.at.start, 0, n), clamp(f.at.end, 0, n)}
			if at.end <= at.start {
				at.end = lineEnd(s.raw, at.start)
			}
			secret = at
		}
		m.At = Span{Start: base + at.start, End: base + at.end}
		m.SecretAt = Span{Start: base + secret.start, End: base + secret.end}
		m.line = base + clamp(f.at.start+1, 0, n)
		out = append(out, m)
	}
	return out
}

// unexplained drops what generic rules found where another rule explains it.
func unexplained(ms []Match) []Match {
	if len(ms) < 2 {
		return ms
	}
	drop := explained(len(ms),
		func(i int) bool { return ms[i].rule != nil && ms[i].rule.generic },
		func(i int) int { return ms[i].line },
		func(i int) string { return ms[i].Secret })
	if drop == nil {
		return ms
	}
	keep := ms[:0]
	for i := range ms {
		if !drop[i] {
			keep = append(keep, ms[i])
		}
	}
	return keep
}
