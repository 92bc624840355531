// Package gitpack reads the object store of a Git repository in process: packs,
// loose objects and alternates, of SHA-1 and SHA-256 repositories.
//
// # What this package promises
//
// A pack, an index or a loose object is never trusted: what is wrong in one
// gives an error for the objects concerned, no panic, no endless loop and no
// memory beyond the limits that were set. A [Repo.Walk] hands out each object
// of a kind once, rebuilt along its deltas, whatever number of packs holds it.
//
// # What it never does
//
// It runs no program, writes nothing, follows no replace refs or grafts, and
// reads nothing of a repository's configuration but the format of its objects
// and refs. It does not check that an object's bytes hash to its id (like
// git cat-file), except where it makes the ids itself, for a pack without an
// index; that uses plain SHA-1, not Git's variant that detects collisions.
package gitpack

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ID names an object: 20 bytes of SHA-1 or 32 of SHA-256. IDs are comparable;
// the zero ID names nothing.
type ID struct {
	sum  [32]byte
	size uint8
}

// ParseID reads an id in lower-case hexadecimal.
func ParseID(s string) (ID, bool) {
	var id ID
	if len(s) != 40 && len(s) != 64 {
		return id, false
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return id, false
		}
	}
	n, err := hex.Decode(id.sum[:], []byte(s))
	id.size = uint8(n)
	return id, err == nil
}

// RawID makes an id of its bytes, of which there must be 20 or 32.
func RawID(b []byte) ID {
	var id ID
	if len(b) == 20 || len(b) == 32 {
		id.size = uint8(copy(id.sum[:], b))
	}
	return id
}

// String gives the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id.sum[:id.size]) }

// Bytes gives the 20 or 32 bytes of the id.
func (id *ID) Bytes() []byte { return id.sum[:id.size] }

// IsZero reports whether the id names nothing.
func (id ID) IsZero() bool { return id.size == 0 }

// Type is the type of an object.
type Type uint8

// The types of objects, with the numbers that packs use.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4

	offsetDelta Type = 6
	refDelta    Type = 7
)

// String gives the name that Git uses.
func (t Type) String() string {
	switch t {
	case Commit:
		return "commit"
	case Tree:
		return "tree"
	case Blob:
		return "blob"
	case Tag:
		return "tag"
	}
	return fmt.Sprintf("type %d", uint8(t))
}

func typeOf(name string) Type {
	for t := Commit; t <= Tag; t++ {
		if t.String() == name {
			return t
		}
	}
	return 0
}

// What can be wrong with an object.
var (
	ErrMissing  = errors.New("object is missing")
	ErrCorrupt  = errors.New("object is corrupt")
	ErrTooLarge = errors.New("object is over the size limit")
)

// Number is a dense number of an object in a [Repo], from 0 to Repo.Len()-1,
// valid as long as the Repo is open. An object that several packs hold has
// several; [Repo.Find] gives the one that stands for all.
type Number int32

// None is no number.
const None Number = -1
