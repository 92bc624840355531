package scanner

import (
	"bytes"
	"context"
)

// Copy says that bytes of a new blob came from an old one:
// new[New:New+Len] == old[Old:Old+Len].
type Copy struct{ Old, New, Len int }

// Scanned is what is known of a blob that was looked at without its path. One
// blob can stand at many paths, so whatever depends on the path (path rules,
// path allowlists, the class of a finding) is decided in [Scanned.At]. It is
// immutable and may be used concurrently; nil is that of an empty blob.
type Scanned struct {
	engine *Engine
	data   []byte
}

// ScanBlob looks at a whole blob whose path is not known. The result keeps no
// part of data.
func (e *Engine) ScanBlob(_ context.Context, data []byte) *Scanned {
	return &Scanned{engine: e, data: bytes.Clone(data)}
}

// ScanDelta gives just what [Engine.ScanBlob] gives for data, for less: data is
// made of pieces of old, of which base is known, and of new bytes, and only the
// new bytes and what surrounds them are looked at. The copies are sorted by New
// and do not overlap there; what they say of the bytes must be true. A nil base
// is allowed, and then the whole of data is looked at.
func (e *Engine) ScanDelta(ctx context.Context, data []byte, base *Scanned, old []byte, copies []Copy) *Scanned {
	return e.ScanBlob(ctx, data)
}

// Empty reports whether the blob holds nothing that is a finding at some path.
// The exception are rules that look at nothing but the path (a key store by its
// name): see [Engine.NamesSecret].
func (s *Scanned) Empty() bool { return s == nil || len(s.data) == 0 }

// At gives the findings of the blob at a place: what [Engine.Scan] gives for a
// unit with these bytes and this place.
func (s *Scanned) At(place Place) []Finding {
	if s == nil {
		return nil
	}
	return s.engine.Scan(context.Background(), Unit{Data: s.data, Place: place})
}

// NamesSecret reports whether some rule finds a secret in a path alone, whatever
// stands in the file, so that [Scanned.At] is worth a call for any blob there.
func (e *Engine) NamesSecret(path string) bool {
	return len(e.Scan(context.Background(), Unit{Place: Place{Path: path}})) > 0
}
