package secret

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"
)

// maxParts and maxPart bound what a sealed credential may hold.
const (
	maxParts = 64
	maxPart  = 1 << 20 // bytes
)

// Vault seals credentials at rest. Each incident has a Tink AES256-GCM key of
// its own, which is stored wrapped by the keeper (a local key file or a cloud
// KMS). Both are bound to the incident's id, so that a row cannot be swapped
// for another. Deleting the wrapped key destroys the credential, also in
// backups that were made after it. A Vault is safe for concurrent use.
type Vault struct {
	keeper *secrets.Keeper
}

// KeeperError is a keeper URL that cannot be used. Its text never repeats the
// URL: somebody may have written a key into it.
type KeeperError struct {
	Problem string
	Fix     string
	Err     error
}

func (e *KeeperError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("open keeper: %s: %v", e.Problem, e.Err)
	}
	return "open keeper: " + e.Problem
}

// Unwrap gives the cause.
func (e *KeeperError) Unwrap() error { return e.Err }

// Hint is what a person can do about it.
func (e *KeeperError) Hint() string { return e.Fix }

// OpenVault opens the keeper at a URL: file:///path of a 32-byte key (mode
// 0600), awskms://, gcpkms:// or azurekeyvault://. With createIfMissing a
// missing key file is made; a KMS key never is. base64key:// is refused: a key
// in the configuration is a secret in the configuration. The key services are
// known where stanch/internal/secret/kms is imported.
func OpenVault(ctx context.Context, keeperURL string, createIfMissing bool) (*Vault, error) {
	u, err := url.Parse(keeperURL)
	if err != nil {
		return nil, &KeeperError{Problem: "the keeper is not a URL", Fix: "write it like file:///var/lib/stanch/seal.key or awskms://alias/stanch?region=eu-west-1"}
	}
	switch u.Scheme {
	case "file":
		return openFileVault(u, createIfMissing)
	case "awskms", "gcpkms", "azurekeyvault":
		k, err := secrets.OpenKeeper(ctx, keeperURL)
		if err != nil {
			return nil, &KeeperError{
				Problem: "the key service at " + u.Scheme + ":// was not accepted",
				Fix:     "check the key's name and region against https://gocloud.dev/howto/secrets/",
				Err:     errors.New(strings.ReplaceAll(err.Error(), keeperURL, u.Scheme+"://...")),
			}
		}
		return &Vault{k}, nil
	case localsecrets.Scheme:
		return nil, &KeeperError{
			Problem: "base64key:// puts the key itself into the configuration",
			Fix:     "put the 32 raw bytes into a file of mode 0600 and write file:///path/to/it",
		}
	default:
		return nil, &KeeperError{
			Problem: "unknown kind of keeper",
			Fix:     "use file:///path, awskms://, gcpkms:// or azurekeyvault://",
		}
	}
}

func openFileVault(u *url.URL, createIfMissing bool) (*Vault, error) {
	if (u.Host != "" && u.Host != "localhost") || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") || u.RawQuery != "" {
		return nil, &KeeperError{Problem: "a key file needs an absolute path", Fix: "write it with three slashes: file:///var/lib/stanch/seal.key"}
	}
	load := loadKey
	if createIfMissing {
		load = LoadOrCreateKey
	}
	key, err := load(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &KeeperError{Problem: "the key file is missing", Fix: "restore it from a backup; without it what was sealed cannot be opened", Err: err}
	}
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return &Vault{localsecrets.NewKeeper([KeySize]byte(key))}, nil
}

// Close releases the keeper. The Vault must not be used afterwards.
func (v *Vault) Close() error { return v.keeper.Close() }

// Check wraps and unwraps a throw-away key, to prove that the keeper answers.
func (v *Vault) Check(ctx context.Context) error {
	wrapped, sealed, err := v.Seal(ctx, "check", map[string]Value{"check": New("check")})
	if err != nil {
		return err
	}
	_, err = v.Open(ctx, "check", wrapped, sealed)
	return err
}

// Seal encrypts the parts of a credential under a fresh key. It returns the key,
// wrapped by the keeper, and the ciphertext; both are needed to open it.
func (v *Vault) Seal(ctx context.Context, incidentID string, parts map[string]Value) (wrappedKey, ciphertext []byte, err error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, nil, fmt.Errorf("make sealing key: %w", err)
	}
	var wrapped bytes.Buffer
	err = handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&wrapped), keeperAEAD{v.keeper}, boundTo(incidentID, "wrapped_key"))
	if err != nil {
		return nil, nil, fmt.Errorf("wrap sealing key: %w", err)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, nil, fmt.Errorf("use sealing key: %w", err)
	}
	plain, err := encodeParts(parts)
	if err != nil {
		return nil, nil, err
	}
	defer clear(plain)
	ciphertext, err = primitive.Encrypt(plain, boundTo(incidentID, "sealed"))
	if err != nil {
		return nil, nil, fmt.Errorf("seal credential: %w", err)
	}
	return wrapped.Bytes(), ciphertext, nil
}

// Open decrypts what Seal made for the same incident. It fails for the
// ciphertext or key of another incident, another keeper and any changed byte.
func (v *Vault) Open(ctx context.Context, incidentID string, wrappedKey, ciphertext []byte) (map[string]Value, error) {
	if len(wrappedKey) == 0 {
		return nil, ErrShredded
	}
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(wrappedKey)), keeperAEAD{v.keeper}, boundTo(incidentID, "wrapped_key"))
	if err != nil {
		return nil, fmt.Errorf("unwrap sealing key: %w", err)
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, fmt.Errorf("use sealing key: %w", err)
	}
	plain, err := primitive.Decrypt(ciphertext, boundTo(incidentID, "sealed"))
	if err != nil {
		return nil, errors.New("open sealed credential: it was changed or belongs to another incident")
	}
	defer clear(plain)
	return decodeParts(plain)
}

// ErrShredded means that the wrapped key was deleted: the credential is gone
// for good, as it should be after containment.
var ErrShredded = errors.New("sealed credential was destroyed")

// keeperAEAD lets Tink wrap keys with a keeper. Keepers know no associated
// data, so its hash travels inside what they encrypt and is compared on the way
// back.
type keeperAEAD struct {
	keeper *secrets.Keeper
}

func (k keeperAEAD) EncryptWithContext(ctx context.Context, plaintext, associatedData []byte) ([]byte, error) {
	sum := sha256.Sum256(associatedData)
	buf := make([]byte, 0, len(sum)+len(plaintext))
	buf = append(append(buf, sum[:]...), plaintext...)
	defer clear(buf)
	return k.keeper.Encrypt(ctx, buf)
}

func (k keeperAEAD) DecryptWithContext(ctx context.Context, ciphertext, associatedData []byte) ([]byte, error) {
	buf, err := k.keeper.Decrypt(ctx, ciphertext)
	if err != nil {
		return nil, err
	}
	defer clear(buf)
	sum := sha256.Sum256(associatedData)
	if len(buf) < len(sum) || subtle.ConstantTimeCompare(buf[:len(sum)], sum[:]) != 1 {
		return nil, errors.New("key belongs to another incident")
	}
	return bytes.Clone(buf[len(sum):]), nil
}

// boundTo is the associated data of one column of one incident's row.
func boundTo(incidentID, column string) []byte {
	return fmt.Appendf(nil, "stanch sealed credential v1\x00%s\x00%d\x00%s", column, len(incidentID), incidentID)
}

var errEncoding = errors.New("open sealed credential: malformed content")

// encodeParts writes name and value of each part with their lengths, into one
// buffer of the right size, so that no copies are left behind by growth.
func encodeParts(parts map[string]Value) ([]byte, error) {
	if len(parts) > maxParts {
		return nil, fmt.Errorf("seal credential: %d parts, more than %d", len(parts), maxParts)
	}
	size := binary.MaxVarintLen64
	for name, v := range parts {
		if len(name) > maxPart || v.Len() > maxPart {
			return nil, fmt.Errorf("seal credential: a part has more than %d bytes", maxPart)
		}
		size += 2*binary.MaxVarintLen64 + len(name) + v.Len()
	}
	buf := make([]byte, 0, size)
	buf = binary.AppendUvarint(buf, uint64(len(parts)))
	for name, v := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(name)))
		buf = append(buf, name...)
		buf = binary.AppendUvarint(buf, uint64(v.Len()))
		buf = append(buf, v.bytes()...)
	}
	return buf, nil
}

func decodeParts(b []byte) (map[string]Value, error) {
	n, b, ok := uvarint(b, maxParts)
	if !ok {
		return nil, errEncoding
	}
	parts := make(map[string]Value, n)
	for range n {
		var name, value []byte
		name, b, ok = field(b)
		if !ok {
			return nil, errEncoding
		}
		value, b, ok = field(b)
		if !ok {
			return nil, errEncoding
		}
		_, twice := parts[string(name)]
		if twice {
			return nil, errEncoding
		}
		parts[string(name)] = FromBytes(value)
	}
	if len(b) != 0 {
		return nil, errEncoding
	}
	return parts, nil
}

func field(b []byte) (value, rest []byte, ok bool) {
	n, b, ok := uvarint(b, maxPart)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

func uvarint(b []byte, limit uint64) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > limit {
		return 0, nil, false
	}
	return n, b[size:], true
}
