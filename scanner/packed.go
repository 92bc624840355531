package scanner

import (
	"context"
	"path"
	"strings"

	"stanch/scanner/archive"
)

// ScanAll is [Engine.Scan], and for an archive or a compressed file also what is
// in it: the path of such a finding is "outer.zip!inner/file", its lines and
// offsets are those of the inner file. The reasons say what could not be looked
// at; an archive is then searched as it is, too.
func (e *Engine) ScanAll(ctx context.Context, u Unit) (found []Finding, reasons []string) {
	if e.plain || u.Place.Object != "" && u.Place.Object != "blob" || !archive.Is(u.Data) {
		found, whole := e.scan(ctx, u)
		return found, withReason(nil, whole)
	}
	opened, whole := 0, true
	reasons, _ = archive.Open(ctx, u.Place.Path, u.Data, e.limits(), func(path string, data []byte) error {
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

func (e *Engine) limits() archive.Limits {
	l := archive.Default
	l.Bytes = max(l.Bytes, e.maxBlob)
	return l
}

// inner is a file in an archive whose path is not known.
type inner struct {
	name string // of which outerName is a part
	*Scanned
}

// outerName stands for the path of an archive. No name in one holds it.
const outerName = "\x00"

// packed looks at an archive whose path is not known.
func (e *Engine) packed(ctx context.Context, data []byte) *Scanned {
	s := &Scanned{engine: e, whole: true}
	opened, whole := 0, true
	add := func(name string, data []byte) {
		in := e.scanned(ctx, data, nil, nil, nil)
		whole = whole && len(in.Reasons()) == 0
		if !in.Empty() || e.NamesSecret(name) {
			s.inner = append(s.inner, inner{name, in.Settled()})
		}
	}
	s.left, _ = archive.Open(ctx, outerName, data, e.limits(), func(name string, data []byte) error {
		opened++
		if !e.IgnoresPath(name) {
			add(name, data)
		}
		return ctx.Err()
	})
	if opened == 0 || len(s.left) > 0 {
		add(outerName, data)
	}
	s.left = withReason(s.left, whole)
	if len(s.left)+len(s.inner) == 0 {
		return e.binary
	}
	return s
}

// unpacked gives the findings in an archive at a place.
func (s *Scanned) unpacked(place Place) (out []Finding) {
	if pathOf(place) == "" && place.Object != "" && place.Object != "blob" {
		return nil
	}
	outer := place.Path
	for _, in := range s.inner {
		place.Path = innerPath(outer, in.name)
		if in.name == outerName || !s.engine.IgnoresPath(place.Path) {
			out = append(out, in.At(place)...)
		}
	}
	return out
}

// innerPath gives a name in an archive whose path is known now. A compressed file
// has the name of what it is in, without its extension.
func innerPath(outer, name string) string {
	name = strings.TrimPrefix(name, outerName)
	for strings.HasPrefix(name, "!"+outerName) {
		name = name[len("!"+outerName):]
		base := path.Base(strings.ReplaceAll(outer, "!", "/"))
		outer += "!" + strings.TrimSuffix(base, path.Ext(base))
	}
	return outer + name
}

func withReason(reasons []string, whole bool) []string {
	if whole {
		return reasons
	}
	return append(reasons, leftOut)
}

// ScanChangeAll is [Engine.ScanChange] of all that [Engine.ScanAll] looks at. A
// merge replaces several.
func (e *Engine) ScanChangeAll(ctx context.Context, u Unit, olds ...[]byte) (found []Finding, reasons []string) {
	found, reasons = e.ScanAll(ctx, u)
	var before []Finding
	for _, old := range olds {
		if len(old) > 0 && len(found) > 0 {
			known, _ := e.ScanAll(ctx, Unit{Data: old, Place: u.Place})
			before = append(before, known...)
		}
	}
	return fresh(found, before), reasons
}

// Ignores reports whether a file need not be read, by its path: what
// [Engine.IgnoresPath] says, save for archives, which can hold anything.
func (e *Engine) Ignores(path string) bool {
	return e.IgnoresPath(path) && (e.plain || !archive.Named(path))
}
