package match

import (
	"bytes"
	"strings"

	"github.com/zricethezav/gitleaks/v8/report"
)

// convert turns a finding's lines and columns back to offsets. gitleaks counts
// the newline before a line as its column 1, and leaves the end unset for a
// match that ends on a last line without a newline; both are put right here.
func (g *Gitleaks) convert(f *report.Finding, raw []byte, lines lineIndex) Match {
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
	for start < len(raw) && raw[start] == '\n' && !hasPrefix(raw[start:], f.Match) {
		start++ // gitleaks trims newlines off the match, and not off its position
	}
	m.At = Span{Start: start, End: clamp(start+len(f.Match), start, len(raw))}
	from, to := g.secretIn(f)
	m.SecretAt = Span{Start: clamp(start+from, 0, len(raw)), End: clamp(start+to, 0, len(raw))}
	return m
}

// secretIn is the range of the secret in the match, found as gitleaks found it.
func (g *Gitleaks) secretIn(f *report.Finding) (int, int) {
	r, ok := g.config().Rules[f.RuleID]
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

func lineEnd(raw []byte, from int) int {
	i := bytes.IndexByte(raw[from:], '\n')
	if i < 0 {
		return len(raw)
	}
	return from + i
}

func hasPrefix(b []byte, s string) bool { return len(b) >= len(s) && string(b[:len(s)]) == s }
