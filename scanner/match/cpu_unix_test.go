//go:build unix

package match

import (
	"syscall"
	"time"
)

// cpuTime is the processor's time of this process so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	if err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
