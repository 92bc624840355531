package secret

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DisableCoreDumps keeps the memory of this process out of core files and, save
// from root, out of reach of other processes (ptrace, /proc/PID/mem). Children
// inherit the limit; their own dumpable flag is set anew when they are executed.
// A process that is not dumpable cannot write the uid_map of a child in a new
// user namespace unless it is root, so start such children before.
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
