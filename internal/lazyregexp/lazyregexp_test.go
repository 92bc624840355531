package lazyregexp

import (
	"sync"
	"testing"
)

func TestNewCompilesOnceAndLate(t *testing.T) {
	bad := New("(")
	var running sync.WaitGroup
	good := New("^a+$")
	for range 4 {
		running.Go(func() {
			if !good().MatchString("aa") || good().MatchString("b") {
				t.Error("not the expression")
			}
		})
	}
	running.Wait()
	first := good()
	if good() != first {
		t.Error("compiled twice")
	}
	defer func() {
		if recover() == nil {
			t.Error("an expression that does not compile is taken")
		}
	}()
	bad()
}
