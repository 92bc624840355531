package cloudtrail

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// AWS allows two LookupEvents a second for each account and Region, whoever
// asks. Others may ask too: every throttled answer halves our rate, every other
// one raises it a little.
const (
	fullRate  = rate.Limit(2)
	leastRate = rate.Limit(0.2)
)

type limits struct {
	mu   sync.Mutex
	list map[string]*limit
}

type limit struct {
	mu sync.Mutex
	l  *rate.Limiter
}

func newLimits() *limits { return &limits{list: map[string]*limit{}} }

func (ls *limits) of(account, region string) *limit {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	key := account + "/" + region
	l := ls.list[key]
	if l == nil {
		l = &limit{l: rate.NewLimiter(fullRate, 1)}
		ls.list[key] = l
	}
	return l
}

func (l *limit) wait(ctx context.Context) error { return l.l.Wait(ctx) }

func (l *limit) learn(throttled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.l.Limit()
	if throttled {
		l.l.SetLimit(max(now/2, leastRate))
		return
	}
	l.l.SetLimit(min(now+0.1, fullRate))
}
