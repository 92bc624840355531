package service_test

import (
	"context"
	"encoding/gob"
	"fmt"
	"os"
	"os/signal"
	"path"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"stanch/internal/config"
	"stanch/internal/service"
)

// crashEnv names the order file of a child; a test binary that has it is a service.
const crashEnv = "STANCH_TEST_CRASH_CHILD"

// TestMain lets the test binary be the service that the crash test kills.
func TestMain(m *testing.M) {
	if order := os.Getenv(crashEnv); order != "" {
		err := crashChild(order)
		if err != nil {
			fmt.Fprintln(os.Stderr, "crash child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashOrder is what the parent tells a child.
type crashOrder struct {
	Config *config.Config
	KillAt int    // the point of a transaction at which it kills itself; 0 for none
	Trace  string // where it writes each point as it passes it, one a line
}

// crashChild serves as "stanch serve" does, until SIGTERM or the ordered point.
func crashChild(orderFile string) error {
	f, err := os.Open(orderFile)
	if err != nil {
		return err
	}
	var o crashOrder
	err = gob.NewDecoder(f).Decode(&o)
	f.Close()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	svc, err := service.Open(ctx, o.Config, service.Options{})
	if err != nil {
		return err
	}
	trace, err := os.OpenFile(o.Trace, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	n := 0
	svc.DB.OnTx(func(point string) {
		mu.Lock()
		defer mu.Unlock()
		n++
		fmt.Fprintf(trace, "%s %s\n", point, txOwner())
		if n == o.KillAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing more happens in this process
		}
	})
	l, err := svc.Listen()
	if err != nil {
		return err
	}
	err = svc.Serve(ctx, l)
	if err != nil {
		return err
	}
	return svc.Close()
}

// txOwner names the function whose transaction this is.
func txOwner() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		name := path.Base(f.Function)
		skip := strings.HasPrefix(name, "store.") || strings.HasSuffix(strings.TrimSuffix(name, ".func1"), ".write")
		if strings.HasPrefix(f.Function, "stanch/") && !skip {
			return strings.NewReplacer("(*", "", ")", "").Replace(name)
		}
		if !more {
			return "a group of transactions" // that SQLite commits together
		}
	}
}
