package patch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/zricethezav/gitleaks/v8/report"
)

// placeOf names a finding whatever the commit.
func placeOf(f *report.Finding) string {
	return fmt.Sprintf("%s:%s:%d", f.File, f.RuleID, f.StartLine)
}

// fingerprint fills in a finding's name.
func fingerprint(f *report.Finding) {
	f.Fingerprint = placeOf(f)
	if f.Commit != "" {
		f.Fingerprint = f.Commit + ":" + f.Fingerprint
	}
}

// ReadIgnore reads fingerprints in the form of a .gitleaksignore file: one a
// line, with or without a commit; # begins a comment. odd are the lines that
// have another form.
func ReadIgnore(r io.Reader) (fingerprints map[string]bool, odd []string, err error) {
	fingerprints = map[string]bool{}
	in := bufio.NewScanner(r)
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.Split(line, ":")
		switch len(part) {
		case 3:
			part[0] = strings.ReplaceAll(part[0], `\`, "/")
		case 4:
			part[1] = strings.ReplaceAll(part[1], `\`, "/")
		default:
			odd = append(odd, line)
		}
		fingerprints[strings.Join(part, ":")] = true
	}
	err = in.Err()
	if err != nil {
		return nil, nil, fmt.Errorf("read fingerprints: %w", err)
	}
	return fingerprints, odd, nil
}

// maxBaseline bounds a report that is read back.
const maxBaseline = 1 << 30

// ReadBaseline reads an earlier JSON report, gitleaks' or ours in that form.
func ReadBaseline(r io.Reader) ([]report.Finding, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBaseline+1))
	if err != nil {
		return nil, fmt.Errorf("read baseline: %w", err)
	}
	if len(data) > maxBaseline {
		return nil, errors.New("read baseline: it is larger than 1 GiB")
	}
	var out []report.Finding
	err = json.Unmarshal(data, &out)
	if err != nil {
		return nil, fmt.Errorf("read baseline: not a JSON report of gitleaks: %w", err)
	}
	return out, nil
}

// isKnown reports whether the baseline holds the finding; all but the
// fingerprint and tags must be the same.
func isKnown(f *report.Finding, redacted bool, baseline []report.Finding) bool {
	for i := range baseline {
		b := &baseline[i]
		if f.RuleID == b.RuleID && f.StartLine == b.StartLine && f.EndLine == b.EndLine &&
			f.StartColumn == b.StartColumn && f.EndColumn == b.EndColumn && f.File == b.File && f.Commit == b.Commit &&
			(redacted || f.Match == b.Match && f.Secret == b.Secret) &&
			f.Description == b.Description && f.Author == b.Author && f.Email == b.Email &&
			f.Date == b.Date && f.Message == b.Message && f.Entropy == b.Entropy {
			return true
		}
	}
	return false
}
