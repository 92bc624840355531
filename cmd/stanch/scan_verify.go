package main

import (
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"stanch/internal/service"
	"stanch/responder/verdict"
	"stanch/scanner"
	"stanch/scanner/format"
)

// askAtOnce is how many providers' questions are under way at the same time.
const askAtOnce = 8

// verify asks the providers about each credential.
func (r *scanRun) verify(credentials []scanner.Credential) error {
	cfg, err := configFlag{r.cmd.ServiceConfig}.load()
	if err != nil {
		return err
	}
	v, err := service.NewVerifier(cfg)
	if err != nil {
		return openFailure(err)
	}
	defer func() { _ = v.Close() }()
	r.verdicts = make([]format.Verdict, len(credentials))
	var mu sync.Mutex
	var asking errgroup.Group
	asking.SetLimit(askAtOnce)
	for i, c := range credentials {
		asking.Go(func() error {
			got := v.Verify(r.rt.ctx, c)
			mu.Lock()
			defer mu.Unlock()
			r.verdicts[i] = format.Verdict{Outcome: got.Outcome.String(), Reason: got.Reason, Identity: got.Identity, Account: got.Account}
			if got.Outcome == verdict.Error {
				r.unasked++
			}
			return nil
		})
	}
	_ = asking.Wait()
	if r.cmd.Quiet {
		return nil
	}
	outcomes := map[string]int{}
	for _, got := range r.verdicts {
		outcomes[got.Outcome]++
	}
	r.clear()
	fmt.Fprintf(r.rt.stderr, "asked: %d live, %d dead, %d unknown, %d without an answer\n", outcomes["live"], outcomes["dead"], outcomes["unknown"], outcomes["error"])
	return nil
}
