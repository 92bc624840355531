package scanner

import (
	"context"

	"stanch/scanner/archive"
)

// ScanAll is [Engine.Scan], and for an archive or a compressed file also what is
// in it: the path of such a finding is "outer.zip!inner/file", its lines and
// offsets are those of the inner file. The reasons say what could not be looked
// at; the unit is then searched as it is, too.
func (e *Engine) ScanAll(ctx context.Context, u Unit) (found []Finding, reasons []string) {
	if u.Place.Object != "" && u.Place.Object != "blob" || !archive.Is(u.Data) {
		return e.Scan(ctx, u), nil
	}
	limits := archive.Default
	limits.Bytes = max(limits.Bytes, e.maxBlob)
	opened := 0
	reasons, _ = archive.Open(ctx, u.Place.Path, u.Data, limits, func(path string, data []byte) error {
		opened++
		if e.IgnoresPath(path) {
			return nil
		}
		place := u.Place
		place.Path = path
		found = append(found, e.Scan(ctx, Unit{Data: data, Place: place})...)
		return ctx.Err()
	})
	if opened == 0 || len(reasons) > 0 {
		found = append(found, e.Scan(ctx, u)...)
	}
	return found, reasons
}

// ScanChangeAll is [Engine.ScanChange] of all that [Engine.ScanAll] looks at.
func (e *Engine) ScanChangeAll(ctx context.Context, u Unit, old []byte) (found []Finding, reasons []string) {
	if !archive.Is(u.Data) {
		return e.ScanChange(ctx, u, old), nil
	}
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
