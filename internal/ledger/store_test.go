package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"stanch/internal/ledger"
	"stanch/internal/store"
	"stanch/internal/store/storetest"
)

// TestStore_ConcurrentAppends lets writers race on the real store: every entry
// must be there once, in an unbroken tree.
func TestStore_ConcurrentAppends(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		dir := t.TempDir()
		l, err := ledger.Open(ledger.Options{Dir: dir, Origin: "stanch/test"})
		if err != nil {
			t.Fatal(err)
		}
		const writers, each = 6, 8
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := make(map[int64]bool)
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
						n, err := l.Append(ctx, tx, ledger.Entry{Kind: "act.done", Actor: fmt.Sprint(w), Subject: fmt.Sprint(i)})
						if err != nil {
							return err
						}
						mu.Lock()
						defer mu.Unlock()
						if seen[n] {
							t.Errorf("index %d was given twice", n)
						}
						seen[n] = true
						if i%3 == 0 {
							_, err = l.Checkpoint(ctx, tx)
						}
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := l.Checkpoint(ctx, tx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			r, err := ledger.VerifyDatabase(ctx, tx, l.VerifierKey(), "")
			if err != nil {
				return err
			}
			if !r.OK || r.Entries != writers*each || r.Signed != writers*each {
				t.Errorf("after the race: %+v", r)
			}
			n, err := ledger.Export(ctx, tx, dir, l.VerifierKey())
			if err != nil || n != writers*each {
				t.Errorf("export: %d, %v", n, err)
			}
			data, p, signed, err := ledger.ProveLatest(ctx, tx, l.VerifierKey(), 5)
			if err != nil {
				return err
			}
			return ledger.VerifyInclusion(data, p, signed, l.VerifierKey())
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := ledger.VerifyDir(ctx, dir, l.VerifierKey(), "")
		if err != nil || !r.OK {
			t.Errorf("export: %+v, %v", r, err)
		}
	})
}
