package main

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// heapBytes is what a scan's heap may take before the collector works harder than
// it does by itself: so a scan of a history of up to 100 MB of packs stays under
// 256 MB, with the program and the mapped parts of packs.
const heapBytes = 170 << 20

// boundMemory bounds the memory of a scan until stop is called. More than
// heapBytes in use is no reason to collect all the time: then the bound is half as
// much again as that. The operator's GOMEMLIMIT goes before.
func boundMemory() (stop func()) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	before := debug.SetMemoryLimit(heapBytes)
	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				metrics.Read(live)
				use := int64(live[0].Value.Uint64())
				debug.SetMemoryLimit(max(heapBytes, use+use/2))
			}
		}
	})
	return func() {
		close(quit)
		running.Wait()
		debug.SetMemoryLimit(before)
	}
}
