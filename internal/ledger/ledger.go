// Package ledger is the append-only log of everything decided and done.
//
// Entries are leaves of a Merkle tree (RFC 6962, golang.org/x/mod/sumdb/tlog)
// that lives in the same database as the rest, so that an entry commits with
// the act that it records. Signed checkpoints (C2SP tlog-checkpoint) pin the
// tree; the export has the C2SP tlog-tiles layout, which other tools read too.
//
// # What this package promises
//
// [Ledger.Append] takes part in the caller's transaction: either both the entry
// and the caller's rows are there, or neither. [VerifyDatabase] and [VerifyDir]
// need no trust in us, only the public key: they compute every hash again and
// name the first bad entry for a flipped, dropped, inserted, reordered or
// truncated record. No checkpoint is signed over a tree that does not extend
// the one before.
//
// # What it never does
//
// It never changes or removes an entry. It takes no secrets: values are
// scrubbed, escaped and capped on the way in.
//
// # What it cannot see
//
// Entries after the newest checkpoint are held by hashes in the same database
// alone; whoever can write there can change both. Someone who removes the newest
// checkpoints as well as the entries below them is found out only by a
// checkpoint that was kept elsewhere (the since argument), so send checkpoints
// elsewhere.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// lockKey is the PostgreSQL advisory lock that orders appends ("stanch" + 1).
const lockKey = 0x7374616e636801

// Tx is a transaction of the database that holds the ledger. SQL text uses $N
// on every database.
type Tx interface {
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	Query(ctx context.Context, sql string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) *sql.Row
	// Postgres reports whether the database has more than one writer.
	Postgres() bool
}

// Options are what a Ledger needs. Dir is required.
type Options struct {
	// Dir holds ledger.key (mode 0600) and ledger.pub; both are made when missing.
	Dir string
	// Origin names the log in its checkpoints, without spaces and plus signs.
	// Empty takes the name of an existing key. It must not change afterwards.
	Origin string
	// Now is the clock. Defaults to time.Now.
	Now func() time.Time
}

// Ledger appends entries and signs checkpoints. It holds no state of the tree:
// any number of processes may use one database. It is safe for concurrent use.
//
// SQLite has one writer, which is the transaction of the caller. On PostgreSQL
// Append takes an advisory lock that lasts until the caller's transaction ends,
// so append last, and not in a transaction that waits for something slow. The
// transaction must be READ COMMITTED (the default): a snapshot from before the
// lock would number an entry twice, which the primary key refuses.
type Ledger struct {
	signer   note.Signer
	verifier string
	now      func() time.Time
}

// Open loads or makes the signing key and returns a Ledger.
func Open(o Options) (*Ledger, error) {
	signer, verifier, err := openKeys(o.Dir, o.Origin)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Ledger{signer: signer, verifier: verifier, now: o.Now}, nil
}

// VerifierKey is the public key in note format, as in ledger.pub.
func (l *Ledger) VerifierKey() string { return l.verifier }

// Origin is the name of the log.
func (l *Ledger) Origin() string { return l.signer.Name() }

// Append adds e to the tree within tx and returns its index, counted from 0. A
// zero e.Time becomes the present.
func (l *Ledger) Append(ctx context.Context, tx Tx, e Entry) (int64, error) {
	if e.Time.IsZero() {
		e.Time = l.now()
	}
	err := lock(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("append ledger entry: %w", err)
	}
	n, err := entryCount(ctx, tx)
	if err != nil {
		return 0, fmt.Errorf("append ledger entry: %w", err)
	}
	data, err := e.encode(n)
	if err != nil {
		return 0, fmt.Errorf("append ledger entry: %w", err)
	}
	hashes, err := tlog.StoredHashes(n, data, hashReader(ctx, tx))
	if err != nil {
		return 0, fmt.Errorf("append ledger entry: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO ledger_entries (idx, at, data) VALUES ($1, $2, $3)`, n, e.Time.UnixMicro(), data)
	if err != nil {
		return 0, fmt.Errorf("append ledger entry: %w", err)
	}
	first := tlog.StoredHashCount(n)
	for i, h := range hashes {
		_, err = tx.Exec(ctx, `INSERT INTO ledger_hashes (idx, hash) VALUES ($1, $2)`, first+int64(i), h[:])
		if err != nil {
			return 0, fmt.Errorf("append ledger hash: %w", err)
		}
	}
	return n, nil
}

// Lock orders appends where the database has several writers. A transaction that
// locks rows besides takes it first, so that two of them never wait for each
// other; Append takes it anyway.
func (l *Ledger) Lock(ctx context.Context, tx Tx) error { return lock(ctx, tx) }

func lock(ctx context.Context, tx Tx) error {
	if !tx.Postgres() {
		return nil
	}
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(lockKey))
	return err
}

// ErrForked means that the stored tree does not extend the newest checkpoint:
// somebody changed the database. Nothing is signed then.
var ErrForked = errors.New("ledger does not extend its newest checkpoint")

// Checkpoint signs the tree as it stands in tx, stores the note and returns it.
// When nothing was appended since the newest checkpoint it returns that one;
// for an empty ledger it returns "".
func (l *Ledger) Checkpoint(ctx context.Context, tx Tx) (string, error) {
	err := lock(ctx, tx)
	if err != nil {
		return "", fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	size, err := entryCount(ctx, tx)
	if err != nil {
		return "", fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	latest, err := Latest(ctx, tx)
	if err != nil {
		return "", fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	if size == 0 && latest == "" {
		return "", nil
	}
	r := hashReader(ctx, tx)
	if latest != "" {
		old, err := openCheckpoint(latest, l.verifier)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrForked, err)
		}
		if old.Size > size {
			return "", fmt.Errorf("%w: it had %d entries and has %d", ErrForked, old.Size, size)
		}
		if old.Size == size {
			return latest, nil
		}
		err = checkExtends(r, old, size)
		if err != nil {
			return "", err
		}
	}
	root, err := tlog.TreeHash(size, r)
	if err != nil {
		return "", fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: checkpoint{l.Origin(), size, root}.text()}, l.signer)
	if err != nil {
		return "", fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO ledger_checkpoints (size, at, note) VALUES ($1, $2, $3)`,
		size, l.now().UnixMicro(), string(signed))
	if err != nil {
		return "", fmt.Errorf("store ledger checkpoint: %w", err)
	}
	return string(signed), nil
}

func checkExtends(r tlog.HashReader, old checkpoint, size int64) error {
	if old.Size == 0 {
		return nil
	}
	root, err := tlog.TreeHash(size, r)
	if err != nil {
		return fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	proof, err := tlog.ProveTree(size, old.Size, r)
	if err != nil {
		return fmt.Errorf("sign ledger checkpoint: %w", err)
	}
	err = tlog.CheckTree(proof, size, root, old.Size, old.Root)
	if err != nil {
		return fmt.Errorf("%w (%d entries)", ErrForked, old.Size)
	}
	return nil
}

// Latest is the newest stored checkpoint, a signed note, or "" when there is none.
func Latest(ctx context.Context, tx Tx) (string, error) {
	var n string
	err := tx.QueryRow(ctx, `SELECT note FROM ledger_checkpoints ORDER BY size DESC LIMIT 1`).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read ledger checkpoint: %w", err)
	}
	return n, nil
}

// Size is the number of entries, and when the newest checkpoint was signed
// (zero when there is none); both feed the metrics.
func Size(ctx context.Context, tx Tx) (entries int64, checkpointAt time.Time, err error) {
	entries, err = entryCount(ctx, tx)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("measure ledger: %w", err)
	}
	var at sql.NullInt64
	err = tx.QueryRow(ctx, `SELECT MAX(at) FROM ledger_checkpoints`).Scan(&at)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("measure ledger: %w", err)
	}
	if at.Valid {
		checkpointAt = time.UnixMicro(at.Int64).UTC()
	}
	return entries, checkpointAt, nil
}

func entryCount(ctx context.Context, tx Tx) (int64, error) {
	var n int64
	err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_entries`).Scan(&n)
	return n, err
}
