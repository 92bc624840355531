package scanner

import (
	"context"

	"stanch/scanner/archive"
)

// ScanAll is [Engine.Scan], and for an archive or a compressed file also what is
// in it: the path of such a finding is "outer.zip!inner/file", its lines and
// offsets are those of the inner file. The reasons say what could not be looked
// at; an archive is then searched as it is, too.
func (e *Engine) ScanAll(ctx context.Context, u Unit) (found []Finding, reasons []string) {
	if u.Place.Object != "" && u.Place.Object != "blob" || !archive.Is(u.Data) {
		found, whole := e.scan(ctx, u)
		return found, withReason(nil, whole)
	}
	limits := archive.Default
	limits.Bytes = max(limits.Bytes, e.maxBlob)
	opened, whole := 0, true
	reasons, _ = archive.Open(ctx, u.Place.Path, u.Data, limits, func(path string, data []byte) error {
		opened++
		if e.IgnoresPath(path) {
			return nil
		}
		place := u.Place
		place.Path = path
		more, all := e.scan(ctx, Unit{Data: data, Place: place})
		found, whole = append(found, more...), whole && all
		return ctx.Err()
	})
	if opened == 0 || len(reasons) > 0 {
		more, all := e.scan(ctx, u)
		found, whole = append(found, more...), whole && all
	}
	return found, withReason(reasons, whole)
}

func withReason(reasons []string, whole bool) []string {
	if whole {
		return reasons
	}
	return append(reasons, leftOut)
}

// ScanChangeAll is [Engine.ScanChange] of all that [Engine.ScanAll] looks at.
func (e *Engine) ScanChangeAll(ctx context.Context, u Unit, old []byte) (found []Finding, reasons []string) {
	found, reasons = e.ScanAll(ctx, u)
	if len(old) == 0 || len(found) == 0 {
		return found, reasons
	}
	before, _ := e.ScanAll(ctx, Unit{Data: old, Place: u.Place})
	return fresh(found, before), reasons
}

// Ignores reports whether a file need not be read, by its path: what
// [Engine.IgnoresPath] says, save for archives, which can hold anything.
func (e *Engine) Ignores(path string) bool { return e.IgnoresPath(path) && !archive.Named(path) }
