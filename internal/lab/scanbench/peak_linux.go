package scanbench

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// watchMemory gives, once stop is called, the largest resident set that the
// process was seen to have, in MB. Linux' ru_maxrss begins with that of the
// process that forked, so it says nothing of small commands.
func watchMemory(cmd *exec.Cmd) (stop func() float64) {
	quit, got := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		status := fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, highWaterMB(status))
			select {
			case <-quit:
				got <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 {
		close(quit)
		return <-got
	}
}

func highWaterMB(status string) float64 {
	data, err := os.ReadFile(status)
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	var kib float64
	_, err = fmt.Sscan(rest, &kib)
	if err != nil {
		return 0 // it has ended
	}
	return kib * 1024 / 1e6
}
