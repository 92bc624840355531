// Package storetest opens throw-away databases for tests: SQLite always, and
// PostgreSQL where STANCH_TEST_POSTGRES holds the URL of a server on which a
// schema of its own may be made.
package storetest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stanch/internal/store"
)

// Each runs fn once for every database that is there, as a subtest.
func Each(t *testing.T, fn func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { fn(t, Open(t, SQLite(t))) })
	if os.Getenv("STANCH_TEST_POSTGRES") != "" {
		t.Run("postgres", func(t *testing.T) { fn(t, Open(t, Postgres(t))) })
	}
}

// SQLite gives the URL of a new file.
func SQLite(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "stanch.db")
}

// Postgres gives the URL of a new schema; it is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	base := os.Getenv("STANCH_TEST_POSTGRES")
	ctx := context.Background()
	admin, err := store.Open(ctx, base)
	if err != nil {
		t.Fatalf("open %s: %v", "STANCH_TEST_POSTGRES", err)
	}
	name := fmt.Sprintf("t%d_%d", os.Getpid(), time.Now().UnixNano())
	exec := func(sql string) {
		err := admin.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Exec(ctx, sql)
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	exec("CREATE SCHEMA " + name)
	t.Cleanup(func() {
		exec("DROP SCHEMA " + name + " CASCADE")
		admin.Close()
	})
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	return base + sep + "search_path=" + url.QueryEscape(name)
}

// Open opens and migrates; the database is closed when the test ends.
func Open(t testing.TB, dsn string) *store.DB {
	t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = db.Migrate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
