package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"stanch/internal/store"
)

// TestTxTogether runs many transactions at once, some of which fail, panic or are
// cancelled: what succeeded is there, nothing else is.
func TestTxTogether(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "CREATE TABLE x (n BIGINT PRIMARY KEY)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	commits := 0
	db.OnTx(func(point string) {
		if point == "after commit" {
			commits++
		}
	})
	const each = 400
	boom := errors.New("boom")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var wg sync.WaitGroup
	for n := range each {
		put := func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO x (n) VALUES ($1)", n)
			return err
		}
		wg.Go(func() {
			var err error
			switch n % 4 {
			case 0:
				err = db.Tx(ctx, put)
				if err != nil {
					t.Errorf("%d: %v", n, err)
				}
			case 1:
				err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error { return errors.Join(put(ctx, tx), boom) })
				if !errors.Is(err, boom) {
					t.Errorf("%d: got %v, want boom", n, err)
				}
			case 2:
				defer func() {
					if recover() == nil {
						t.Errorf("%d: the panic did not reach the caller", n)
					}
				}()
				_ = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
					_ = put(ctx, tx)
					panic("crash")
				})
			case 3:
				err = db.Tx(gone, put)
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%d: got %v, want a cancelled context", n, err)
				}
			}
		})
	}
	wg.Wait()
	var got []int
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT n FROM x ORDER BY n")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var n int
			err := rows.Scan(&n)
			if err != nil {
				return err
			}
			got = append(got, n)
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != each/4 {
		t.Fatalf("%d rows, want %d", len(got), each/4)
	}
	for k, n := range got {
		if n != 4*k {
			t.Fatalf("row %d is %d, want %d", k, n, 4*k)
		}
	}
	if commits >= each/4 {
		t.Errorf("%d commits for %d transactions: none was shared", commits, each/4)
	}
}

// TestTxCancelledInside shows that a caller who goes away does not take the
// transactions of others with it.
func TestTxCancelledInside(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		cancel()
		_, err := tx.Exec(ctx, "CREATE TABLE x (n BIGINT PRIMARY KEY)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO x (n) VALUES (1)")
		if err == nil {
			return fmt.Errorf("a read wrote")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
