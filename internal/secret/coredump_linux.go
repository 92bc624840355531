package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps the memory of this process out of core files and out
// of reach of other processes of the same user (no ptrace, no /proc/PID/mem).
// It cannot be taken back by children through the limit, which they inherit;
// a child's own dumpable flag is set anew when it is executed.
func DisableCoreDumps() error {
	err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	if err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("disable core dumps: %w", err)
	}
	return nil
}
