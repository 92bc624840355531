package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// KeySize is the length in bytes of the keys that this package makes.
const KeySize = 32

// maxKeyFile bounds what is read as a key file.
const maxKeyFile = 64 << 10

// KeyError is a key file that must not or cannot be used. Its text holds the
// path and never a byte of the file.
type KeyError struct {
	Path    string
	Problem string
	Fix     string // an action for a person
	Err     error  // the cause, when there is one
}

func (e *KeyError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("use key file %s: %s: %v", e.Path, e.Problem, e.Err)
	}
	return fmt.Sprintf("use key file %s: %s", e.Path, e.Problem)
}

// Unwrap gives the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// Hint is what a person can do about it.
func (e *KeyError) Hint() string { return e.Fix }

// LoadOrCreateKey returns the KeySize bytes in the file at path. A missing file
// is made with random bytes and mode 0600; of several processes that do so at
// once one wins and all return its key. The caller clears the result.
func LoadOrCreateKey(path string) ([]byte, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	fresh := make([]byte, KeySize)
	_, err = rand.Read(fresh)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	err = CreateKeyFile(path, fresh)
	if errors.Is(err, fs.ErrExist) {
		clear(fresh)
		return loadKey(path)
	}
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

func loadKey(path string) ([]byte, error) {
	b, err := ReadKeyFile(path)
	if err != nil {
		return nil, err
	}
	if len(b) != KeySize {
		n := len(b)
		clear(b)
		return nil, &KeyError{
			Path: path, Problem: fmt.Sprintf("has %d bytes instead of %d", n, KeySize),
			Fix: "restore the key from a backup; a key file holds raw bytes, not text",
		}
	}
	return b, nil
}

// ReadKeyFile reads a key file and refuses one that anyone but its owner can
// read or write. The error wraps fs.ErrNotExist for a missing file.
func ReadKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &KeyError{Path: path, Problem: "cannot be opened", Fix: "check the path and its owner", Err: cause(err)}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &KeyError{Path: path, Problem: "cannot be examined", Fix: "check the path and its owner", Err: cause(err)}
	}
	if !info.Mode().IsRegular() {
		return nil, &KeyError{Path: path, Problem: "is not a regular file", Fix: "name a file that holds the key"}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, &KeyError{
			Path: path, Problem: fmt.Sprintf("is open to other users (mode %04o)", info.Mode().Perm()),
			Fix: "run: chmod 600 " + path,
		}
	}
	if info.Size() > maxKeyFile {
		return nil, &KeyError{Path: path, Problem: "is too large for a key", Fix: "name a file that holds the key"}
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, &KeyError{Path: path, Problem: "cannot be read", Fix: "check the disk", Err: cause(err)}
	}
	return b, nil
}

// CreateKeyFile writes data to a new file with mode 0600, whole or not at all.
// The error wraps fs.ErrExist when the file is there already.
func CreateKeyFile(path string, data []byte) error {
	return createFile(path, data, 0o600)
}

func createFile(path string, data []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return &KeyError{Path: path, Problem: "cannot be created", Fix: "make the directory and give it to the user that runs stanch", Err: cause(err)}
	}
	defer os.Remove(tmp.Name())
	err = errors.Join(tmp.Chmod(mode), writeAll(tmp, data), tmp.Sync(), tmp.Close())
	if err != nil {
		return &KeyError{Path: path, Problem: "cannot be written", Fix: "check the disk", Err: cause(err)}
	}
	err = os.Link(tmp.Name(), path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links: exclusive creation is the next best.
		err = writeExclusive(path, data, mode)
	}
	if err != nil {
		return &KeyError{Path: path, Problem: "cannot be created", Fix: "check the path and its owner", Err: cause(err)}
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	_ = dir.Sync() // not every system can; the file itself is on disk
	_ = dir.Close()
	return nil
}

func writeExclusive(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = errors.Join(writeAll(f, data), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func writeAll(f *os.File, data []byte) error {
	_, err := f.Write(data)
	return err
}

// cause strips the path from a *fs.PathError: KeyError names it already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
