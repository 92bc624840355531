package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

// Box seals short-lived bytes that may hold a secret nobody has found yet, such as
// the branch name of a push that waits to be scanned. Unlike a [Vault] it calls no
// key keeper, so it can be used while a caller waits. It is safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// NewBox derives a box's key from the instance key (see [LoadOrCreateKey]).
func NewBox(instanceKey []byte) (*Box, error) {
	if len(instanceKey) != KeySize {
		return nil, fmt.Errorf("derive box key: instance key has %d bytes instead of %d", len(instanceKey), KeySize)
	}
	key, err := hkdf.Key(sha256.New, instanceKey, nil, "stanch box v1", 32)
	if err != nil {
		return nil, errors.New("derive box key: HKDF refused")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.New("derive box key: AES refused")
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, errors.New("derive box key: GCM refused")
	}
	return &Box{aead}, nil
}

// Seal encrypts plain; name must be given to [Box.Open] again.
func (b *Box) Seal(name string, plain []byte) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(name))
}

// Open decrypts what [Box.Seal] gave for the same name.
func (b *Box) Open(name string, sealed []byte) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, errors.New("open box: not sealed under this key for this name")
	}
	return plain, nil
}
