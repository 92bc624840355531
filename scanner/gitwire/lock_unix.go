//go:build unix

package gitwire

import (
	"os"
	"syscall"
)

// lockDir takes the exclusive lock of a directory, or fails when another open
// file has it. The kernel drops it when the process dies.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
