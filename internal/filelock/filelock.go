//go:build unix

// Package filelock lets one process at a time work on a file or directory.
//
// # What this package promises
//
// A lock is taken at once or refused. The kernel gives it back when the process
// that holds it ends, however it ends, so nothing has to be cleaned up.
//
// # What it never does
//
// It never waits, and it removes no lock file: one that was removed while
// another process opens it would let two of them in.
package filelock

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrHeld means that another process holds the lock.
var ErrHeld = errors.New("locked by another process")

// Take takes the exclusive lock of the file at path, which is made with mode 0600
// where there is none. Closing the file gives the lock back.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrHeld
	}
	return nil, fmt.Errorf("take lock: %w", err)
}
