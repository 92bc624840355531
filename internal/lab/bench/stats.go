package bench

import (
	"math"
	"slices"
	"time"
)

// Spread is the distribution of a time, in milliseconds.
type Spread struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// spread sorts ds. A percentile is the smallest value that at least that share
// does not exceed.
func spread(ds []time.Duration) Spread {
	if len(ds) == 0 {
		return Spread{}
	}
	slices.Sort(ds)
	at := func(p float64) float64 {
		n := int(math.Ceil(p*float64(len(ds)))) - 1
		return ms(ds[max(0, n)])
	}
	return Spread{Count: len(ds), P50: at(0.50), P99: at(0.99), Max: ms(ds[len(ds)-1])}
}

func ms(d time.Duration) float64 { return math.Round(float64(d)/float64(time.Millisecond)*10) / 10 }
