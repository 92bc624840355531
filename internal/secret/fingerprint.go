package secret

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
)

// Fingerprinter names credentials without holding them: the same credential
// has the same fingerprint in one instance, and without the instance's key a
// fingerprint cannot be compared with guesses. It is safe for concurrent use.
type Fingerprinter struct {
	key []byte
}

// NewFingerprinter derives a fingerprint key from the instance key, which must
// have KeySize bytes (see [LoadOrCreateKey]); the caller may clear it afterwards.
func NewFingerprinter(instanceKey []byte) (*Fingerprinter, error) {
	if len(instanceKey) != KeySize {
		return nil, fmt.Errorf("derive fingerprint key: instance key has %d bytes instead of %d", len(instanceKey), KeySize)
	}
	key, err := hkdf.Key(sha256.New, instanceKey, nil, "stanch fingerprint v1", sha256.Size)
	if err != nil {
		return nil, errors.New("derive fingerprint key: HKDF refused")
	}
	return &Fingerprinter{key}, nil
}

// Fingerprint is the HMAC-SHA256 in hex (64 digits) over provider, kind, the
// public identifier and the given parts, each with its length, so that no two
// different lists collide. Give id alone where the credential has one (an AWS
// access key id): the same key is then recognised with and without its secret.
// Otherwise give "" and the part that identifies it.
func (f *Fingerprinter) Fingerprint(provider, kind, id string, parts ...Value) string {
	m := hmac.New(sha256.New, f.key)
	writeField(m, []byte(provider))
	writeField(m, []byte(kind))
	writeField(m, []byte(id))
	for _, p := range parts {
		writeField(m, p.bytes())
	}
	return hex.EncodeToString(m.Sum(nil))
}

func writeField(h hash.Hash, b []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(b)))
	h.Write(n[:])
	h.Write(b)
}
