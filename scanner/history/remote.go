package history

import (
	"context"

	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// ScanRemote is [Scan] for a repository on a server, of which nothing is kept:
// its pack is fetched into a temporary file within the limits and read from
// there, without an index on disk. received, which may be nil, is told of the
// bytes of the pack that came so far; then Options.Progress tells of the scan.
// Errors of the fetch are those of [gitwire.Clone].
func ScanRemote(ctx context.Context, r gitwire.Remote, l gitwire.Limits, o Options, received func(int64), emit func(scanner.Finding)) (Result, error) {
	m, err := gitwire.Clone(ctx, r, l, received)
	if err != nil {
		return Result{Partial: true, Reasons: []string{"the repository could not be fetched"}}, err
	}
	defer m.Close()
	res, err := ScanRepo(ctx, m.Repo, o, emit)
	if len(m.Reasons) > 0 {
		res.Partial, res.Reasons = true, append(res.Reasons, m.Reasons...)
	}
	return res, err
}
