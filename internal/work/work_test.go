package work_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/internal/work"
)

type noteArgs struct {
	ID string `json:"id"`
}

func (noteArgs) Kind() string { return "note" }

// TestJobs holds the promises of the package on every database: a job follows
// its transaction, runs after commit, is completed by the handler's own
// transaction, survives a panic and is parked when it never succeeds.
func TestJobs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		var mu sync.Mutex
		seen := map[string]int{}
		done := make(chan string, 10)
		parked := make(chan string, 10)
		engine, err := work.New(ctx, db, work.Config{
			Logger: slog.New(slog.DiscardHandler),
			Parked: func(_ context.Context, kind string, args []byte, _ error) { parked <- string(args) },
		}, func(r *work.Registry) {
			work.Handle(r, work.Spec{Queue: work.QueueRespond, Timeout: 5 * time.Second, Tries: 3}, func(ctx context.Context, j work.Job[noteArgs]) error {
				mu.Lock()
				seen[j.Args.ID]++
				n := seen[j.Args.ID]
				mu.Unlock()
				switch {
				case j.Args.ID == "poison":
					return errors.New("never")
				case j.Args.ID == "panics" && n == 1:
					panic("once")
				case j.Args.ID == "later" && n == 1:
					return work.Later(10 * time.Millisecond)
				}
				err := db.Tx(ctx, j.Complete)
				if err != nil {
					return err
				}
				done <- j.Args.ID
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			err := engine.Enqueue(ctx, tx, noteArgs{"rolled-back"}, work.Options{})
			if err != nil {
				t.Error(err)
			}
			return errors.New("roll back")
		})
		for _, id := range []string{"plain", "panics", "later", "poison"} {
			err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
				return engine.Enqueue(ctx, tx, noteArgs{id}, work.Options{})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err = engine.Start(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]bool{}
		for len(got) < 4 {
			select {
			case id := <-done:
				got[id] = true
			case <-parked:
				got["poison"] = true
			case <-ctx.Done():
				t.Fatalf("only %v ended", got)
			}
		}
		err = engine.Stop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		want := map[string]int{"plain": 1, "panics": 2, "later": 2, "poison": 3}
		for id, n := range want {
			if seen[id] != n {
				t.Errorf("%s ran %d times, want %d", id, seen[id], n)
			}
		}
		if seen["rolled-back"] != 0 {
			t.Error("a job of a rolled-back transaction ran")
		}
	})
}
