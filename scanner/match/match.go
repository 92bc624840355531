// Package match finds the matches of gitleaks' rules in bytes.
//
// # What this package promises
//
// The same rules as gitleaks v8.30.1 (and its reading of a user's TOML), with
// gitleaks' own engine, give the same rule, secret and line. What this package
// adds: positions are 1-based and right on every line, the order of matches is
// the same on every run, an input of any size is matched in bounded memory
// with nothing lost at the seams, and a rule file that does not compile is an
// error, never a panic.
//
// # What it never does
//
// It reads no file and no configuration from what it matches, and it does not
// honour a "gitleaks:allow" comment unless it is told to: who leaks a secret
// must not be able to switch the scanner off.
package match

import (
	"bytes"
	"context"
	"sort"
	"strings"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/detect"
	"github.com/zricethezav/gitleaks/v8/logging"
	"github.com/zricethezav/gitleaks/v8/report"
)

// Input is one unit of text. Path decides path rules and path allowlists; it
// may be empty. Data must not change while a Matcher works on it.
type Input struct {
	Data []byte
	Path string
}

// Span is a range of text: offsets in bytes, lines and columns 1-based, columns
// in bytes; EndColumn is the column of the last byte.
type Span struct {
	Start, End                       int
	Line, Column, EndLine, EndColumn int
}

// Match is one match of one rule.
type Match struct {
	Rule        string
	Description string
	Secret      string
	Text        string // the whole match; contains Secret unless it was decoded
	At          Span   // of the whole match; of the encoded text when Decoded
	SecretAt    Span   // of the secret; of the encoded text when Decoded
	Entropy     float32
	Tags        []string
	Decoded     bool // the secret stood in the text in an encoded form
	PathOnly    bool // the path alone matched; Secret is empty
}

// Matcher is what the scanner needs. Match may be called concurrently. It
// returns early, with what it has, when ctx is done.
type Matcher interface {
	Match(ctx context.Context, in Input) []Match
}

// Options of [New].
type Options struct {
	DecodeDepth int  // passes of decoding; 0 means 5, which is gitleaks' default; negative means none
	HonourAllow bool // honour "gitleaks:allow" comments
}

// Sizes of the pieces in which a large input is matched. The overlap is longer
// than any secret that the rules describe (a 16,384 bit RSA key in PEM form is
// 13 KB).
const (
	chunkBytes   = 256 << 10
	overlapBytes = 32 << 10
)

// Gitleaks is gitleaks' engine behind [Matcher].
type Gitleaks struct {
	detector *detect.Detector
	rules    map[string]config.Rule
	chunk    int
	overlap  int
}

func init() {
	// gitleaks logs through a package global; nothing of what it would say
	// (paths, secrets at debug level) belongs in our output.
	logging.Logger = logging.Logger.Level(zerolog.Disabled)
}

// New gives a matcher over cfg, which must not change afterwards.
func New(cfg config.Config, o Options) *Gitleaks {
	d := detect.NewDetector(cfg)
	d.MaxDecodeDepth = o.DecodeDepth
	if o.DecodeDepth == 0 {
		d.MaxDecodeDepth = 5
	}
	if o.DecodeDepth < 0 {
		d.MaxDecodeDepth = 0
	}
	d.IgnoreGitleaksAllow = !o.HonourAllow
	return &Gitleaks{detector: d, rules: cfg.Rules, chunk: chunkBytes, overlap: overlapBytes}
}

// Match implements [Matcher]: matches in order of position, then rule.
func (g *Gitleaks) Match(ctx context.Context, in Input) []Match {
	lines := newLineIndex(in.Data)
	var out []Match
	start := 0
	for first := true; first || start < len(in.Data); first = false {
		end := len(in.Data)
		if end-start > g.chunk {
			end = cut(in.Data, start+g.chunk-g.chunk/8, start+g.chunk)
		}
		next := end
		if end < len(in.Data) {
			next = cut(in.Data, end-g.overlap, end-g.overlap/2)
		}
		for _, m := range g.matchChunk(ctx, in, start, end) {
			// A match that starts in the overlap is the next chunk's: it is whole there.
			if end < len(in.Data) && m.At.Start >= next || m.PathOnly && !first {
				continue
			}
			out = append(out, m)
		}
		if ctx.Err() != nil {
			break
		}
		start = next
	}
	out = settle(out)
	for i := range out {
		if !out[i].PathOnly {
			lines.place(&out[i].At)
			lines.place(&out[i].SecretAt)
		}
	}
	return out
}

// cut finds a place in (from, to] to cut data: after the last newline, else
// after the last byte that no token holds, else to.
func cut(data []byte, from, to int) int {
	i := bytes.LastIndexByte(data[from:to], '\n')
	if i >= 0 {
		return from + i + 1
	}
	i = bytes.LastIndexAny(data[from:to], " \t,;\"'<>(){}[]")
	if i >= 0 {
		return from + i + 1
	}
	return to
}

// settle sorts the matches and drops what the seams doubled: the same match
// again, or the rest of a match that the chunk before holds whole.
func settle(ms []Match) []Match {
	sort.SliceStable(ms, func(i, j int) bool {
		a, b := &ms[i], &ms[j]
		switch {
		case a.PathOnly != b.PathOnly:
			return a.PathOnly
		case a.SecretAt.Start != b.SecretAt.Start:
			return a.SecretAt.Start < b.SecretAt.Start
		case a.SecretAt.End != b.SecretAt.End:
			return a.SecretAt.End > b.SecretAt.End
		case a.Rule != b.Rule:
			return a.Rule < b.Rule
		case a.Secret != b.Secret:
			return a.Secret < b.Secret
		}
		return a.At.Start < b.At.Start
	})
	reach := map[string]Match{}
	out := ms[:0]
	for _, m := range ms {
		p, ok := reach[m.Rule]
		if ok && p.Secret == m.Secret && p.SecretAt == m.SecretAt && p.At == m.At {
			continue
		}
		if ok && !m.Decoded && !p.Decoded && !m.PathOnly && m.At.Start >= p.At.Start && m.At.End <= p.At.End {
			continue // gitleaks' matches of one rule never overlap: this one is from a seam
		}
		if !ok || m.At.End > p.At.End || m.Decoded != p.Decoded {
			reach[m.Rule] = m
		}
		out = append(out, m)
	}
	return out
}

func (g *Gitleaks) matchChunk(ctx context.Context, in Input, start, end int) []Match {
	raw := string(in.Data[start:end])
	found := g.detector.DetectContext(ctx, detect.Fragment{Raw: raw, FilePath: in.Path})
	if len(found) == 0 {
		return nil
	}
	lines := newLineIndex([]byte(raw))
	out := make([]Match, 0, len(found))
	for i := range found {
		m := g.convert(&found[i], raw, lines)
		m.At.Start += start
		m.At.End += start
		m.SecretAt.Start += start
		m.SecretAt.End += start
		out = append(out, m)
	}
	return out
}

// convert turns a finding's lines and columns back to offsets. gitleaks counts
// the newline before a line as its column 1, and leaves the end unset for a
// match that ends on a last line without a newline; both are put right here.
func (g *Gitleaks) convert(f *report.Finding, raw string, lines lineIndex) Match {
	m := Match{
		Rule: f.RuleID, Description: f.Description, Secret: f.Secret, Text: f.Match,
		Entropy: f.Entropy, Tags: append([]string(nil), f.Tags...),
	}
	if f.StartColumn == 0 && f.Secret == "" && strings.HasPrefix(f.Match, "file detected: ") {
		m.PathOnly = true
		one := Span{Line: 1, Column: 1, EndLine: 1, EndColumn: 1}
		m.At, m.SecretAt = one, one
		return m
	}
	for _, t := range f.Tags {
		if strings.HasPrefix(t, "decoded:") {
			m.Decoded = true
		}
	}
	start := clamp(lines.offset(f.StartLine, f.StartColumn), 0, len(raw))
	if m.Decoded {
		end := clamp(lines.offset(f.EndLine, f.EndColumn)+1, 0, len(raw))
		if end <= start {
			end = lineEnd(raw, start)
		}
		m.At = Span{Start: start, End: end}
		m.SecretAt = m.At
		return m
	}
	for start < len(raw) && !strings.HasPrefix(raw[start:], f.Match) && raw[start] == '\n' {
		start++ // gitleaks trims newlines off the match, and not off its position
	}
	m.At = Span{Start: start, End: clamp(start+len(f.Match), start, len(raw))}
	from, to := g.secretIn(f)
	m.SecretAt = Span{Start: clamp(start+from, 0, len(raw)), End: clamp(start+to, 0, len(raw))}
	return m
}

// secretIn is the range of the secret in the match, found as gitleaks found it.
func (g *Gitleaks) secretIn(f *report.Finding) (int, int) {
	r, ok := g.rules[f.RuleID]
	if ok && r.Regex != nil {
		idx := r.Regex.FindStringSubmatchIndex(f.Match)
		for n := 1; 2*n+1 < len(idx); n++ {
			if r.SecretGroup > 0 && n != r.SecretGroup || idx[2*n] < 0 {
				continue
			}
			if f.Match[idx[2*n]:idx[2*n+1]] == f.Secret && f.Secret != "" {
				return idx[2*n], idx[2*n+1]
			}
		}
	}
	i := strings.Index(f.Match, f.Secret)
	if i < 0 {
		return 0, len(f.Match)
	}
	return i, i + len(f.Secret)
}

func lineEnd(raw string, from int) int {
	i := strings.IndexByte(raw[from:], '\n')
	if i < 0 {
		return len(raw)
	}
	return from + i
}

func clamp(v, lo, hi int) int { return max(lo, min(v, hi)) }

// lineIndex holds the offset of every newline.
type lineIndex struct {
	newline []int
	size    int
}

func newLineIndex(data []byte) lineIndex {
	l := lineIndex{size: len(data)}
	for i := 0; ; {
		n := bytes.IndexByte(data[i:], '\n')
		if n < 0 {
			return l
		}
		l.newline = append(l.newline, i+n)
		i += n + 1
	}
}

// offset reads a position as gitleaks writes it: line 0-based; column 1-based
// on the first line, and counted from the newline before it on later ones.
func (l lineIndex) offset(line, column int) int {
	if line <= 0 {
		return column - 1
	}
	return l.newline[min(line, len(l.newline))-1] + column - 1
}

// place fills in lines and columns from the offsets.
func (l lineIndex) place(s *Span) {
	s.Line, s.Column = l.at(s.Start)
	s.EndLine, s.EndColumn = l.at(max(s.Start, s.End-1))
}

func (l lineIndex) at(offset int) (line, column int) {
	n := sort.SearchInts(l.newline, offset)
	if n == 0 {
		return 1, offset + 1
	}
	return n + 1, offset - l.newline[n-1]
}

// IgnoresPath reports whether the rules' own global allowlist leaves a path out
// altogether (vendored code, lock files, images), so that its bytes need not be
// read.
func (g *Gitleaks) IgnoresPath(path string) bool {
	if path == "" {
		return false
	}
	for _, a := range g.detector.Config.Allowlists {
		if a.MatchCondition != config.AllowlistMatchAnd && a.PathAllowed(path) {
			return true
		}
	}
	return false
}
