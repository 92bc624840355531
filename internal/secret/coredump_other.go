//go:build !linux && !windows

package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps the memory of this process out of core files. The
// limit is inherited by children.
func DisableCoreDumps() error {
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	return nil
}
