package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"stanch/internal/store"
	"stanch/internal/store/storetest"
)

func TestTx(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		insert := func(guid string) func(context.Context, *store.Tx) error {
			return func(ctx context.Context, tx *store.Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO installations (id, account, state, permissions, updated_at) VALUES ($2, $1, 'active', '{}', $3)`, guid, 7, store.Micros(time.Unix(1, 0)))
				return err
			}
		}
		boom := errors.New("boom")
		err := db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
			err := insert("rolled-back")(ctx, tx)
			if err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("got %v, want boom", err)
		}
		err = db.Tx(ctx, insert("kept"))
		if err != nil {
			t.Fatal(err)
		}
		var account string
		var n int
		err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			return tx.QueryRow(ctx, "SELECT max(account), count(*) FROM installations").Scan(&account, &n)
		})
		if err != nil || n != 1 || account != "kept" {
			t.Fatalf("got %q, %d rows, %v; want one row 'kept'", account, n, err)
		}
		err = db.Migrate(ctx)
		if err != nil {
			t.Fatalf("migrate twice: %v", err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for _, dsn := range []string{"", "mysql://x", "postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=1"} {
		_, err := store.Open(context.Background(), dsn)
		if err == nil {
			t.Fatalf("Open(%q): want an error", dsn)
		}
		if got := err.Error(); len(got) == 0 || strings.Contains(got, "hunter2") {
			t.Fatalf("error shows the password: %s", got)
		}
	}
}
