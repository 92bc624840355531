package ledger

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"stanch/internal/secret"
)

// The names of the key files in the data directory.
const (
	KeyFile = "ledger.key" // private, note format, mode 0600
	PubFile = "ledger.pub" // public, note format; give it to auditors
)

// openKeys loads the signing key of dir or makes one named origin.
func openKeys(dir, origin string) (note.Signer, string, error) {
	path := filepath.Join(dir, KeyFile)
	text, err := secret.ReadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeKey(path, origin)
	}
	if err != nil {
		return nil, "", fmt.Errorf("open ledger key: %w", err)
	}
	defer clear(text)
	private := strings.TrimSpace(string(text))
	signer, err := note.NewSigner(private)
	if err != nil {
		return nil, "", fmt.Errorf("open ledger key: %s is not a signing key", path)
	}
	verifier, err := verifierOf(signer.Name(), private)
	if err != nil {
		return nil, "", fmt.Errorf("open ledger key: %w", err)
	}
	if origin != "" && signer.Name() != origin {
		return nil, "", fmt.Errorf("open ledger key: the key is for origin %q, the configuration says %q", signer.Name(), origin)
	}
	err = writePub(filepath.Join(dir, PubFile), verifier)
	if err != nil {
		return nil, "", fmt.Errorf("write ledger public key: %w", err)
	}
	return signer, verifier, nil
}

func makeKey(path, origin string) ([]byte, error) {
	if origin == "" || len(origin) > maxName || strings.ContainsAny(origin, "+ \t\r\n") {
		return nil, fmt.Errorf("make key: origin %q must be a name without spaces and plus signs", origin)
	}
	private, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	err = secret.CreateKeyFile(path, []byte(private+"\n"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return secret.ReadKeyFile(path) // another process may have been faster
}

// verifierOf derives the public key from PRIVATE+KEY+name+hash+base64(alg, seed).
func verifierOf(name, private string) (string, error) {
	fields := strings.SplitN(private, "+", 5)
	if len(fields) != 5 {
		return "", errors.New("key is malformed")
	}
	raw, err := base64.StdEncoding.DecodeString(fields[4])
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", errors.New("key is malformed")
	}
	defer clear(raw)
	public, ok := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	if !ok {
		return "", errors.New("key is malformed")
	}
	return note.NewEd25519VerifierKey(name, public)
}

// writePub keeps the public key beside the private one.
func writePub(path, verifier string) error {
	want := verifier + "\n"
	have, err := os.ReadFile(path)
	if err == nil && string(have) == want {
		return nil
	}
	return writeFile(path, []byte(want))
}

// ReadPublicKey reads a verifier key in note format from a file.
func ReadPublicKey(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read ledger public key: %w", err)
	}
	key := strings.TrimSpace(string(b))
	_, err = note.NewVerifier(key)
	if err != nil {
		return "", fmt.Errorf("read ledger public key: %s is not a public key in note format", path)
	}
	return key, nil
}

// writeFile replaces path whole or not at all.
func writeFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Sync(), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
