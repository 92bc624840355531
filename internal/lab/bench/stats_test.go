package bench

import (
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	var ds []time.Duration
	for n := 200; n > 0; n-- {
		ds = append(ds, time.Duration(n)*time.Millisecond)
	}
	got := spread(ds)
	if want := (Spread{200, 100, 198, 200}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := spread(nil); got != (Spread{}) {
		t.Errorf("of nothing: got %+v", got)
	}
	if got := spread([]time.Duration{time.Second}); got != (Spread{1, 1000, 1000, 1000}) {
		t.Errorf("of one: got %+v", got)
	}
}
