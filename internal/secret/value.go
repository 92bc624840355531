// Package secret holds what was leaked without letting it out again.
//
// # What this package promises
//
// A [Value] prints as [redacted] in every fmt verb, in encoding/json, in
// encoding.TextMarshaler, in encoding/gob and in log/slog. The bytes are
// reachable by [Value.Reveal] alone, so that one search finds every place
// that uses them. At rest a credential is sealed under a key of its own
// (see [Vault]); deleting that key destroys it, in backups too.
//
// # What it never does
//
// It never writes a secret, a prefix of one or a plain hash of one. Where a
// credential must be recognised again it is known by a keyed fingerprint.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
)

// Redacted is what every formatter and encoder shows in place of a secret.
const Redacted = "[redacted]"

// Value is a secret. The zero Value is empty. It must not be compared with ==;
// use [Value.Equal]. A Value may be copied and used concurrently until Destroy.
type Value struct {
	box *box
}

// box keeps the bytes two pointers away. Where a Value stands in an unexported
// field fmt cannot call its methods, and for a verb that does not fit a pointer
// (%s, %q) it prints what the pointer points to: then another address.
type box struct {
	b *[]byte
}

// New copies s into a Value.
func New(s string) Value {
	b := []byte(s)
	return Value{&box{&b}}
}

// FromBytes copies b into a Value; the caller may zero b afterwards.
func FromBytes(b []byte) Value {
	c := append([]byte(nil), b...)
	return Value{&box{&c}}
}

// bytes is the secret itself, not a copy; nil when there is none.
func (v Value) bytes() []byte {
	if v.box == nil {
		return nil
	}
	return *v.box.b
}

// Reveal returns the secret. The result must not be stored or logged.
func (v Value) Reveal() string { return string(v.bytes()) }

// IsZero reports whether there is no secret (never set, empty or destroyed).
func (v Value) IsZero() bool { return v.Len() == 0 }

// Len is the length of the secret in bytes.
func (v Value) Len() int { return len(v.bytes()) }

// Equal compares in constant time for equal lengths.
func (v Value) Equal(o Value) bool {
	if v.Len() != o.Len() {
		return false
	}
	if v.Len() == 0 {
		return true
	}
	return subtle.ConstantTimeCompare(v.bytes(), o.bytes()) == 1
}

// Destroy zeroes the bytes in place, best effort: copies that the runtime or
// Reveal made are out of reach.
func (v Value) Destroy() {
	if v.box == nil {
		return
	}
	clear(*v.box.b)
	*v.box.b = nil
}

// String implements fmt.Stringer; it never shows the secret.
func (v Value) String() string { return Redacted }

// GoString implements fmt.GoStringer; it never shows the secret.
func (v Value) GoString() string { return Redacted }

// Format implements fmt.Formatter, so that no verb (%x, %q, %d ...) shows the secret.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// MarshalJSON writes the redaction.
func (v Value) MarshalJSON() ([]byte, error) { return json.Marshal(Redacted) }

// MarshalText writes the redaction (encoding/xml, YAML encoders, map keys).
func (v Value) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalBinary refuses: a secret is sealed, never encoded.
func (v Value) MarshalBinary() ([]byte, error) {
	return nil, errors.New("secret value cannot be encoded")
}

// GobEncode refuses: a secret is sealed, never encoded.
func (v Value) GobEncode() ([]byte, error) { return v.MarshalBinary() }

// LogValue implements slog.LogValuer; it never shows the secret.
func (v Value) LogValue() slog.Value { return slog.StringValue(Redacted) }
