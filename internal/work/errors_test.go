package work_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"stanch/internal/store"
	"stanch/internal/store/storetest"
	"stanch/internal/work"
)

// TestErrorsHoldNoSecret: what a handler fails or panics with is kept without what
// looks like a secret; a panic's value is not kept at all.
func TestErrorsHoldNoSecret(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		const token, value = "ghp_1A2b3C4d5E6f7G8h9I0j1K2l3M4n5O6p7Q8r", "any value of a repository"
		done, panicked := make(chan bool, 1), make(chan string, 1)
		engine, err := work.New(ctx, db, work.Config{
			Logger: slog.New(slog.DiscardHandler), Panicked: func(_ context.Context, kind string, _ any, trace string) { panicked <- kind + trace },
		}, func(r *work.Registry) {
			work.Handle(r, work.Spec{Queue: work.QueueRespond, Timeout: 5 * time.Second}, func(ctx context.Context, j work.Job[noteArgs]) error {
				switch j.Attempt {
				case 1:
					return errors.New("the provider said " + token)
				case 2:
					panic(value)
				}
				err := db.Tx(ctx, j.Complete)
				done <- true
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			return engine.Enqueue(ctx, tx, noteArgs{"fails"}, work.Options{})
		})
		if err == nil {
			err = engine.Start(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatal("the job never ended")
		}
		err = engine.Stop(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if trace := <-panicked; !strings.HasPrefix(trace, "note") || !strings.Contains(trace, "errors_test.go") || strings.Contains(trace, value) {
			t.Errorf("panic was told as %q", trace)
		}
		var kept string
		err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT CAST(errors AS TEXT) FROM river_job").Scan(&kept)
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(kept, "the provider said") || !strings.Contains(kept, "panicked") {
			t.Errorf("kept: %s", kept)
		}
		if strings.Contains(kept, token) || strings.Contains(kept, value) {
			t.Errorf("kept a secret: %s", kept)
		}
	})
}
