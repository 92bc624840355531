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
	"sync"

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

	rule *rule
	line int          // of the match for gitleaks; before finish, the offset that says so
	open []*allowlist // let the match go at the paths that they name
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
	Reference   bool // match with gitleaks' own engine, to compare with
}

// Sizes of the pieces in which a large input is matched. The overlap is longer
// than any secret that the rules describe (a 16,384 bit RSA key in PEM form is
// 13 KB).
const (
	chunkBytes   = 4 << 20
	overlapBytes = 32 << 10
)

// Gitleaks is a [Matcher] with gitleaks' rules.
type Gitleaks struct {
	program   *program
	config    func() config.Config    // what gitleaks itself needs, read when it is needed
	detector  func() *detect.Detector // gitleaks' own engine, made when it is needed
	reference bool
	chunk     int
	overlap   int
}

func init() {
	// gitleaks logs through a package global; nothing of what it would say
	// (paths, secrets at debug level) belongs in our output.
	logging.Logger = logging.Logger.Level(zerolog.Disabled)
}

// New gives a matcher over cfg, which must not change afterwards.
func New(cfg config.Config, o Options) *Gitleaks {
	return newGitleaks(analyse(cfg), func() config.Config { return cfg }, o)
}

func newGitleaks(p *program, cfg func() config.Config, o Options) *Gitleaks {
	depth := o.DecodeDepth
	if depth == 0 {
		depth = 5
	}
	depth = max(depth, 0)
	p.assemble(depth, o.HonourAllow)
	return &Gitleaks{
		program: p,
		config:  cfg,
		detector: sync.OnceValue(func() *detect.Detector {
			d := detect.NewDetector(cfg())
			d.MaxDecodeDepth = depth
			d.IgnoreGitleaksAllow = !o.HonourAllow
			return d
		}),
		reference: o.Reference, chunk: chunkBytes, overlap: overlapBytes,
	}
}

// Match implements [Matcher]: matches in order of position, then rule.
func (g *Gitleaks) Match(ctx context.Context, in Input) []Match {
	if in.Path != "" && in.Path == g.program.file {
		return nil
	}
	var out []Match
	g.pieces(in.Data, func(start, end, next int) bool {
		for _, m := range g.matchChunk(ctx, in, start, end) {
			// A match that starts in the overlap is the next chunk's: it is whole there.
			if m.PathOnly && start == 0 || !m.PathOnly && m.At.Start < next {
				out = append(out, m)
			}
		}
		return ctx.Err() == nil
	})
	return unexplained(g.finish(in.Data, out))
}

// pieces cuts a text into pieces that overlap; next is where the one behind
// begins. A text of ordinary size is one piece.
func (g *Gitleaks) pieces(data []byte, visit func(start, end, next int) bool) {
	start := 0
	for first := true; first || start < len(data); first = false {
		end, next := len(data), len(data)+1
		if end-start > g.chunk {
			end = cut(data, start+g.chunk-g.chunk/8, start+g.chunk)
			next = cut(data, end-g.overlap, end-g.overlap/2)
		}
		if !visit(start, end, next) {
			return
		}
		start = next
	}
}

// finish puts the matches in order and fills in their lines.
func (g *Gitleaks) finish(data []byte, ms []Match) []Match {
	if len(ms) == 0 {
		return nil
	}
	ms = settle(ms)
	lines := lineCounter{text: data}
	for i := range ms {
		if ms[i].PathOnly {
			continue
		}
		ms[i].line, _ = lines.at(clamp(ms[i].line, 0, len(data)))
		lines.place(&ms[i].At)
		lines.place(&ms[i].SecretAt)
	}
	return ms
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

// matchChunk gives the matches in data[start:end], without their lines.
func (g *Gitleaks) matchChunk(ctx context.Context, in Input, start, end int) []Match {
	raw := in.Data[start:end]
	var out []Match
	if !g.reference {
		s := g.program.newScan(raw, in.Path, "")
		defer s.release()
		if start == 0 {
			out = g.program.pathMatches(in.Path, s.hasKeyword)
		}
		s.all(ctx, nil, nil)
		if !s.escalate {
			if s.isAllowed() {
				return nil
			}
			return append(out, s.matches(start)...)
		}
		out = nil
	}
	found := g.Detect(ctx, raw, in.Path, "")
	if len(found) == 0 {
		return nil
	}
	lines := newLineIndex(raw)
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

// Detect gives the findings that gitleaks' own Detect gives for a fragment with
// this text, path and commit; both may be empty. Fields that come from a commit
// (Author, Date, Link and so on) are empty; lines count from 0, as gitleaks
// counts in a fragment. The order is that of the rules' ids. raw is matched as
// one: who has large texts cuts them up, or calls [Gitleaks.Match].
func (g *Gitleaks) Detect(ctx context.Context, raw []byte, path, commit string) []report.Finding {
	if !g.reference {
		found, escalate := g.program.detect(ctx, raw, path, commit)
		if !escalate {
			return found
		}
	}
	//lint:ignore SA1019 Detect of v8.30.1, which is what findings are held to, takes no other type
	return g.detector().DetectContext(ctx, detect.Fragment{Raw: string(raw), FilePath: path, CommitSHA: commit})
}

func clamp(v, lo, hi int) int { return max(lo, min(v, hi)) }

// IgnoresPath reports whether the rules' own global allowlist leaves a path out
// altogether (vendored code, lock files, images), so that its bytes need not be
// read.
func (g *Gitleaks) IgnoresPath(path string) bool {
	if path == "" {
		return false
	}
	for _, a := range g.program.allowlists {
		if !a.and && a.paths != nil && a.paths.match(path) {
			return true
		}
	}
	return false
}
