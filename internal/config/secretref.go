package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"stanch/internal/secret"
)

// maxSecretFile bounds a secret file, in bytes: an RSA key in PEM form is under 4 KiB.
const maxSecretFile = 64 << 10

// IsZero reports whether no reference was given. encoding/json's omitzero uses it.
func (s Secret) IsZero() bool { return s.File == "" && s.Env == "" }

// Resolve reads the secret. A reference that was not given resolves to the zero
// value and no error; whoever needs the secret says so. Errors are [*Error] with a
// hint, and never hold any part of the secret.
func (s Secret) Resolve() (secret.Value, error) {
	switch {
	case s.File != "" && s.Env != "":
		return secret.Value{}, &Error{Msg: "secret has both file and env", Hint: "keep one of file and env"}
	case s.File != "":
		return readSecretFile(s.File)
	case s.Env != "":
		return readSecretEnv(s.Env)
	}
	return secret.Value{}, nil
}

func readSecretEnv(name string) (secret.Value, error) {
	v := strings.TrimRight(os.Getenv(name), " \t\r\n")
	if v == "" {
		return secret.Value{}, &Error{
			Msg:  fmt.Sprintf("environment variable %s is not set or empty", name),
			Hint: fmt.Sprintf("set %s in the environment of stanch, or use file instead of env", name),
		}
	}
	return secret.New(v), nil
}

func readSecretFile(path string) (secret.Value, error) {
	// Stat first: opening a FIFO would block until someone writes.
	info, err := os.Stat(path)
	if err == nil {
		err = checkSecretFile(info)
	}
	if err != nil {
		return secret.Value{}, secretFileError(path, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return secret.Value{}, secretFileError(path, err)
	}
	defer f.Close()
	// The handle that is read is the one that is judged, whatever the path is by now.
	info, err = f.Stat()
	if err == nil {
		err = checkSecretFile(info)
	}
	if err != nil {
		return secret.Value{}, secretFileError(path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	defer clear(b)
	if err != nil {
		return secret.Value{}, secretFileError(path, err)
	}
	if len(b) > maxSecretFile {
		return secret.Value{}, secretFileError(path, errLarge)
	}
	end := len(b)
	for end > 0 && strings.IndexByte(" \t\r\n", b[end-1]) >= 0 {
		end--
	}
	if end == 0 {
		return secret.Value{}, secretFileError(path, errEmpty)
	}
	return secret.FromBytes(b[:end]), nil
}

var (
	errEmpty   = errors.New("is empty")
	errLarge   = fmt.Errorf("is larger than %d bytes", maxSecretFile)
	errRegular = errors.New("is not a regular file")
)

type openModeError struct{ mode fs.FileMode }

func (e openModeError) Error() string {
	return fmt.Sprintf("can be read by others than its owner (mode %04o)", e.mode.Perm())
}

func checkSecretFile(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errRegular
	}
	if info.Mode().Perm()&0o077 != 0 {
		return openModeError{info.Mode()}
	}
	return nil
}

func secretFileError(path string, err error) error {
	e := &Error{Err: err}
	var mode openModeError
	var pathErr *fs.PathError
	switch {
	case errors.As(err, &mode):
		e.Msg, e.Hint = fmt.Sprintf("secret file %s %v", path, err), fmt.Sprintf("run: chmod 600 %s", path)
	case errors.Is(err, fs.ErrNotExist):
		e.Msg, e.Hint = fmt.Sprintf("secret file %s does not exist", path), "write the secret to that file with mode 0600, or use env"
	case errors.As(err, &pathErr):
		e.Msg, e.Hint = fmt.Sprintf("read secret file %s: %v", path, pathErr.Err), "make it readable for the user that runs stanch, and for nobody else"
	default:
		e.Msg, e.Hint = fmt.Sprintf("secret file %s %v", path, err), "write the secret, and nothing else, to that file"
	}
	return e
}
