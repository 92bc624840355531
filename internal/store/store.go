// Package store keeps everything durable: SQLite in one file, or PostgreSQL,
// behind one schema and one set of queries.
//
// # What this package promises
//
// What a transaction wrote is on disk when [DB.Tx] returns nil (SQLite: WAL with
// synchronous FULL; PostgreSQL: its own default). One SQL text with $N
// parameters serves both; times are microseconds since 1970 UTC.
//
// # What it never does
//
// It decides nothing and it never sees a secret that is not sealed.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"stanch/internal/lazyregexp"
)

//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open database. It is safe for concurrent use.
type DB struct {
	sql   *sql.DB       // on SQLite the one connection that writes
	reads *sql.DB       // on SQLite connections that only read; else the same as sql
	pool  *pgxpool.Pool // nil on SQLite
	path  string        // of the SQLite file
	onTx  func(point string)
	group group // of transactions that commit together; SQLite
}

// OnTx sets a function that [DB.Tx] calls with "before commit" and "after commit"
// around every commit. It is for tests that kill the process at
// such points; a service has none. Set it before the database is used.
func (db *DB) OnTx(fn func(point string)) { db.onTx = fn }

func (db *DB) at(point string) {
	if db.onTx != nil {
		db.onTx(point)
	}
}

// Tx runs SQL, inside a transaction of [DB.Tx] or without one in [DB.Read].
type Tx struct {
	q      querier
	sqlite *sql.Tx
	pg     pgx.Tx
	isPG   bool
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Open opens "sqlite:PATH" or a postgres:// URL. It does not migrate; see [DB.Migrate].
func Open(ctx context.Context, dsn string) (*DB, error) {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		return openSQLite(ctx, path)
	}
	u, err := url.Parse(dsn)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("open database: want sqlite:PATH or a postgres:// URL")
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx's error text holds the whole URL with its password.
		return nil, errors.New("open database: the postgres URL does not parse")
	}
	if cfg.MaxConns < 16 {
		cfg.MaxConns = 16
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database: connect to %s:%d: %w", cfg.ConnConfig.Host, cfg.ConnConfig.Port, err)
	}
	db := &DB{sql: stdlib.OpenDBFromPool(pool), pool: pool}
	db.reads = db.sql
	err = db.Ping(ctx)
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("open database: connect to %s:%d: %w", cfg.ConnConfig.Host, cfg.ConnConfig.Port, err)
	}
	return db, nil
}

// readers bounds the connections that read a SQLite file.
const readers = 4

// openSQLite opens one connection that writes and some that read. SQLite has one
// writer; connections that wait for each other's lock poll for it, with growing
// gaps and no order, while those that wait for the one connection are woken.
func openSQLite(ctx context.Context, path string) (*DB, error) {
	open := func(connections int, pragmas ...string) (*sql.DB, error) {
		q := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{"busy_timeout(10000)", "foreign_keys(1)"}, pragmas...)}
		d, err := openKeeping("file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode())
		if err != nil {
			return nil, fmt.Errorf("open database %s: %w", path, err)
		}
		d.SetMaxOpenConns(connections)
		d.SetMaxIdleConns(connections)
		err = d.PingContext(ctx)
		if err != nil {
			d.Close()
			return nil, fmt.Errorf("open database %s: %w", path, err)
		}
		return d, nil
	}
	w, err := open(1, "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(1)")
	if err != nil {
		return nil, err
	}
	r, err := open(readers, "query_only(1)")
	if err != nil {
		w.Close()
		return nil, err
	}
	return &DB{sql: w, reads: r, path: path}, nil
}

// Close closes the database; work under way is waited for.
func (db *DB) Close() error {
	err := db.sql.Close()
	if db.reads != db.sql {
		err = errors.Join(err, db.reads.Close())
	}
	if db.pool != nil {
		db.pool.Close()
	}
	return err
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.sql.PingContext(ctx) }

// IsPostgres reports which database this is.
func (db *DB) IsPostgres() bool { return db.pool != nil }

// SQL gives the handle to the jobs engine.
func (db *DB) SQL() *sql.DB { return db.sql }

// Pool gives the pool to the jobs engine; nil on SQLite.
func (db *DB) Pool() *pgxpool.Pool { return db.pool }

// Migrate brings the schema up to date. Concurrent calls are safe on both databases.
func (db *DB) Migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	dialect := goose.DialectSQLite3
	if db.IsPostgres() {
		dialect = goose.DialectPostgres
		unlock, err := db.lockMigration(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	p, err := goose.NewProvider(dialect, db.sql, sub)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	_, err = p.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	return nil
}

// migrationLock is the key of the advisory lock that serialises migrations.
const migrationLock = 0x5374616e6368

func (db *DB) lockMigration(ctx context.Context) (func(), error) {
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock migration: %w", err)
	}
	_, err = conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("lock migration: %w", err)
	}
	return func() {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(migrationLock))
		conn.Close()
	}, nil
}

// Tx runs fn in one transaction: all of it or nothing. On SQLite the
// transaction is the only writer from its start, and transactions that wait for
// the writer commit together (see [group]); once fn runs, ctx does not end it. fn
// must not call outside.
func (db *DB) Tx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if db.pool != nil {
		return db.txPostgres(ctx, fn)
	}
	return db.group.tx(ctx, db, fn)
}

// txPostgres begins on the raw pgx connection, so that the jobs engine (pgx.Tx)
// and our queries (database/sql) share one transaction.
func (db *DB) txPostgres(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	conn, err := db.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer conn.Close()
	var pgtx pgx.Tx
	err = conn.Raw(func(dc any) error {
		var err error
		pgtx, err = dc.(*stdlib.Conn).Conn().Begin(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer pgtx.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // after Commit it is a no-op
	err = fn(ctx, &Tx{q: conn, pg: pgtx, isPG: true})
	if err != nil {
		return err
	}
	db.at("before commit")
	err = pgtx.Commit(ctx)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	db.at("after commit")
	return nil
}

// Read runs fn without a transaction, for queries that need none. On SQLite it
// does not wait for the writer.
func (db *DB) Read(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	return fn(ctx, &Tx{q: db.reads, isPG: db.pool != nil})
}

// Postgres reports whether the transaction is on PostgreSQL.
func (t *Tx) Postgres() bool { return t.isPG }

// PG is the transaction for the jobs engine; nil on SQLite.
func (t *Tx) PG() pgx.Tx { return t.pg }

// SQLite is the transaction for the jobs engine; nil on PostgreSQL.
func (t *Tx) SQLite() *sql.Tx { return t.sqlite }

// Exec runs a statement and gives the number of rows that it changed.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	r, err := t.q.ExecContext(ctx, t.bind(query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// Query runs a query; the caller closes the rows.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.q.QueryContext(ctx, t.bind(query), args...)
}

// QueryRow runs a query that gives at most one row.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.q.QueryRowContext(ctx, t.bind(query), args...)
}

var dollar = lazyregexp.New(`\$([0-9]+)`)

// bind turns $N into SQLite's ?N, so that parameters bind by number there too.
func (t *Tx) bind(query string) string {
	if t.isPG {
		return query
	}
	return dollar().ReplaceAllString(query, "?$1")
}

// Micros is how times are stored; the zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time reads what [Micros] wrote.
func Time(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
