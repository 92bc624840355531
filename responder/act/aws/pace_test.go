package aws

import (
	"testing"
	"time"
)

// TestHoldPace shows that quiet holds share the account's rate and that a fought
// one does not wait for them.
func TestHoldPace(t *testing.T) {
	a := &account{}
	h := &hold{t: target{account: a}}
	for _, c := range []struct {
		holds int64
		want  time.Duration
	}{{1, 250 * time.Millisecond}, {10, 250 * time.Millisecond}, {40, time.Second}, {150, 2 * time.Second}} {
		a.holds.Store(c.holds)
		got := h.pace()
		if got != c.want {
			t.Errorf("%d holds: a round every %s, want %s", c.holds, got, c.want)
		}
	}
	h.raised.Store(true)
	got := h.pace()
	if got != holdPeriod {
		t.Errorf("a fought hold has a round every %s, want %s", got, holdPeriod)
	}
}
