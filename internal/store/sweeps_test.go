package store_test

import (
	"context"
	"testing"
	"time"

	"stanch/internal/store"
	"stanch/internal/store/storetest"
)

func TestBeginSweep(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		now := time.Unix(1_800_000_000, 0)
		begin := func(what, reference string, after time.Duration, want bool) {
			t.Helper()
			at := now.Add(after)
			err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
				got, err := tx.BeginSweep(ctx, 7, reference, at, at.Add(-time.Hour), at.Add(-4*time.Hour))
				if got != want {
					t.Errorf("%s: %v, want %v", what, got, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		put := func(repository int64, reference string) {
			t.Helper()
			err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
				return tx.PutSwept(ctx, repository, 7, reference, map[string]string{"refs": reference}, now)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		begin("the first", "a", 0, true)
		begin("not due", "b", 59*time.Minute, false)
		begin("due, but nothing is listed yet", "b", 2*time.Hour, false)
		err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return tx.ListedSweep(ctx, 7, "a", 2) })
		if err != nil {
			t.Fatal(err)
		}
		put(1, "a")
		begin("due, but one repository is open", "b", 2*time.Hour, false)
		put(2, "a")
		begin("due and done", "b", 2*time.Hour, true)
		begin("begun by another process just now", "c", 2*time.Hour, false)
		begin("stuck", "c", 6*time.Hour, true)

		known := map[string]string{}
		err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			reference, err := tx.Swept(ctx, 2, &known)
			if reference != "a" || known["refs"] != "a" {
				t.Errorf("swept by %q, known %v", reference, known)
			}
			if err != nil {
				return err
			}
			reference, err = tx.Swept(ctx, 3, &known)
			if reference != "" {
				t.Errorf("a repository that nobody looked at was swept by %q", reference)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
