package history

import (
	"context"

	"stanch/scanner"
	"stanch/scanner/gitwire"
)

// ScanRemote is [Scan] for a repository on a server, of which nothing is kept: its
// blobs and commits are looked at while its pack comes, within the limits; then
// what they are is learnt from its trees. received, which may be nil, is told of
// the bytes of the pack that came so far; then Options.Progress tells of the scan.
// Errors of the fetch are those of [gitwire.Clone].
func ScanRemote(ctx context.Context, r gitwire.Remote, l gitwire.Limits, o Options, received func(int64), emit func(scanner.Finding)) (Result, error) {
	e := newEarly(ctx, o)
	m, err := gitwire.Receive(ctx, r, l, received, e.visit)
	if err != nil {
		return Result{Partial: true, Reasons: []string{"the repository could not be fetched"}}, err
	}
	defer m.Close()
	e.settle(m.Repo)
	res, err := scanRepo(ctx, m.Repo, o, e, emit)
	if len(m.Reasons) > 0 {
		res.Partial, res.Reasons = true, append(res.Reasons, m.Reasons...)
	}
	return res, err
}
