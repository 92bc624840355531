// Package patch looks at a repository or a directory the way gitleaks v8.30.1
// does, so that a report can be compared finding for finding: of a history the
// added lines of each hunk of "git log -p -U0", of a file pieces of about
// 100,000 bytes.
//
// # What this package promises
//
// The findings are those that gitleaks' own sources and Detect give, with the
// same fields and fingerprints, whatever the number of cores; only their order
// is another one: that of the log, or of the paths. Where gitleaks stops in the
// middle without a word (a message of git on standard error, a patch that its
// parser does not like), this package goes on.
//
// # What it never does
//
// It runs no command that the scanned repository names (external diffs, text
// conversion), and honours nothing that stands in what is scanned unless the
// caller hands it over.
//
// What gitleaks' view leaves out (merges, keys whose first line did not change)
// is found by package history.
package patch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/zricethezav/gitleaks/v8/config"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"

	"stanch/scanner/match"
)

// Scanner looks at sources. Its methods may be called one after another, and
// Findings between them.
type Scanner struct {
	Matcher *match.Gitleaks
	Config  *config.Config // what the Matcher was made of

	// MaxMegabytes is the size, in units of 1,000,000 bytes, over which text is
	// not matched and a file is not read; 0 means no limit.
	MaxMegabytes int
	// ArchiveDepth is how many archives within each other are opened; 0 means none.
	ArchiveDepth int
	// FollowSymlinks scans files that symbolic links point to.
	FollowSymlinks bool
	// Skip names files that are not looked at: the operator's own configuration
	// and baseline.
	Skip []string
	// Redact is the percentage of each secret that is blanked out; 0 shows it.
	Redact uint
	// Ignore are fingerprints (see [ReadIgnore]), Baseline the findings of an
	// earlier report; both are left out.
	Ignore   map[string]bool
	Baseline []report.Finding

	mu      sync.Mutex
	found   []batch
	count   int
	bytes   int64
	reasons []string
}

// batch are findings that belong together, in order.
type batch struct {
	seq      int
	findings []report.Finding
}

// mostFindings bounds memory on input that is made to match everywhere.
const mostFindings = 1_000_000

var errTooMany = errors.New("there are more than 1,000,000 findings")

// Findings are those of all sources so far, in order.
func (s *Scanner) Findings() []report.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.found, func(a, b batch) int { return a.seq - b.seq })
	out := make([]report.Finding, 0, s.count)
	for _, b := range s.found {
		out = append(out, b.findings...)
	}
	return out
}

// Bytes is how much text was looked at so far.
func (s *Scanner) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Reasons tell why the result is partial, if it is.
func (s *Scanner) Reasons() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reasons)
}

// missed notes a reason, once.
func (s *Scanner) missed(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reasons) < 100 && !slices.Contains(s.reasons, why) {
		s.reasons = append(s.reasons, why)
	}
}

func (s *Scanner) add(seq int, bytes int64, found []report.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += bytes
	if len(found) == 0 {
		return
	}
	if s.count+len(found) > mostFindings {
		if !slices.Contains(s.reasons, errTooMany.Error()) {
			s.reasons = append(s.reasons, errTooMany.Error())
		}
		return
	}
	s.count += len(found)
	s.found = append(s.found, batch{seq, found})
}

// fragment is one text that gitleaks would hand to Detect.
type fragment struct {
	text    []byte
	path    string
	symlink string
	commit  string
	line    int // of its first line
}

// detect gives the findings of a fragment. about adds what a commit says.
func (s *Scanner) detect(ctx context.Context, f fragment, about func() *sources.CommitInfo) []report.Finding {
	if f.path != "" && slices.Contains(s.Skip, f.path) {
		return nil
	}
	found := s.Matcher.Detect(ctx, f.text, f.path, f.commit)
	if len(found) == 0 {
		return nil
	}
	large := s.MaxMegabytes > 0 && len(f.text)/1_000_000 > s.MaxMegabytes
	out := found[:0]
	for _, r := range found {
		byPath := r.StartColumn == 0 && r.Secret == "" && strings.HasPrefix(r.Match, "file detected: ")
		if large && !byPath {
			continue
		}
		if !byPath {
			r.StartLine += f.line
			r.EndLine += f.line
		}
		r.SymlinkFile = f.symlink
		if r.Tags == nil {
			r.Tags = []string{}
		}
		if info := about(); info != nil {
			r.Author, r.Email, r.Date, r.Message = info.AuthorName, info.AuthorEmail, info.Date, info.Message
			r.Link = link(info.Remote, &r)
		}
		if s.Redact > 0 {
			r.Redact(s.Redact)
		}
		fingerprint(&r)
		if s.Ignore[r.Fingerprint] || s.Ignore[placeOf(&r)] || isKnown(&r, s.Redact > 0, s.Baseline) {
			continue
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b report.Finding) int {
		switch {
		case a.StartLine != b.StartLine:
			return a.StartLine - b.StartLine
		case a.StartColumn != b.StartColumn:
			return a.StartColumn - b.StartColumn
		}
		return strings.Compare(a.RuleID, b.RuleID)
	})
	return out
}

func noCommit() *sources.CommitInfo { return nil }
