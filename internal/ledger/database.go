package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// page is how many entries are read at once.
const page = 512

// hashReader reads stored hashes of the tree within tx.
func hashReader(ctx context.Context, tx Tx) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		return readHashes(ctx, tx, indexes)
	})
}

func readHashes(ctx context.Context, tx Tx, indexes []int64) ([]tlog.Hash, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	var text strings.Builder
	text.WriteString(`SELECT idx, hash FROM ledger_hashes WHERE idx IN (`)
	args := make([]any, len(indexes))
	for i, x := range indexes {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteString("$" + strconv.Itoa(i+1))
		args[i] = x
	}
	text.WriteByte(')')
	rows, err := tx.Query(ctx, text.String(), args...)
	if err != nil {
		return nil, fmt.Errorf("read ledger hashes: %w", err)
	}
	found, err := scanHashes(rows)
	if err != nil {
		return nil, err
	}
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := found[x]
		if !ok {
			return nil, fmt.Errorf("read ledger hashes: hash %d is missing", x)
		}
		out[i] = h
	}
	return out, nil
}

// scanHashes drains rows. A hash of the wrong length is as good as missing.
func scanHashes(rows *sql.Rows) (map[int64]tlog.Hash, error) {
	defer rows.Close()
	found := make(map[int64]tlog.Hash)
	for rows.Next() {
		var idx int64
		var b []byte
		err := rows.Scan(&idx, &b)
		if err != nil {
			return nil, fmt.Errorf("read ledger hashes: %w", err)
		}
		if len(b) == tlog.HashSize {
			found[idx] = tlog.Hash(b)
		}
	}
	err := rows.Err()
	if err != nil {
		return nil, fmt.Errorf("read ledger hashes: %w", err)
	}
	return found, nil
}

// Record is one stored entry.
type Record struct {
	Index int64
	Data  []byte // the exact bytes that were hashed
	at    int64  // microseconds, from its own column; -1 when unreadable
}

// Read returns up to limit entries (at most 512) from index on, in order.
func Read(ctx context.Context, tx Tx, from int64, limit int) ([]Record, error) {
	rows, err := tx.Query(ctx, `SELECT idx, at, data FROM ledger_entries WHERE idx >= $1 ORDER BY idx LIMIT $2`,
		from, int64(min(limit, page)))
	if err != nil {
		return nil, fmt.Errorf("read ledger entries: %w", err)
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		r := Record{at: -1}
		var at any // SQLite keeps whatever an intruder wrote
		err = rows.Scan(&r.Index, &at, &r.Data)
		if err != nil {
			return nil, fmt.Errorf("read ledger entries: %w", err)
		}
		n, ok := at.(int64)
		if ok {
			r.at = n
		}
		out = append(out, r)
	}
	err = rows.Err()
	if err != nil {
		return nil, fmt.Errorf("read ledger entries: %w", err)
	}
	return out, nil
}

// databaseSource is the ledger in a database as [verify] reads it. Pages are
// read whole, since PostgreSQL has one open query a connection.
type databaseSource struct {
	tx     Tx
	kept   []storedCheckpoint
	size   int64 // entries when it was opened
	hashes int64 // hashes when it was opened
	cache  map[int64]tlog.Hash
	until  int64 // hashes below it are in the cache or missing
}

// openDatabase reads the checkpoints before it counts the entries, so that a
// ledger that grows meanwhile has at least the entries that they sign.
func openDatabase(ctx context.Context, tx Tx) (*databaseSource, error) {
	s := &databaseSource{tx: tx}
	var err error
	s.kept, err = readCheckpoints(ctx, tx)
	if err != nil {
		return nil, err
	}
	err = tx.QueryRow(ctx, `SELECT COALESCE((SELECT MAX(idx) + 1 FROM ledger_entries), 0),
		COALESCE((SELECT MAX(idx) + 1 FROM ledger_hashes), 0)`).Scan(&s.size, &s.hashes)
	if err != nil {
		return nil, fmt.Errorf("measure ledger: %w", err)
	}
	return s, nil
}

func (s *databaseSource) checkpoints(context.Context) ([]storedCheckpoint, error) { return s.kept, nil }

func readCheckpoints(ctx context.Context, tx Tx) ([]storedCheckpoint, error) {
	rows, err := tx.Query(ctx, `SELECT size, note FROM ledger_checkpoints ORDER BY size`)
	if err != nil {
		return nil, fmt.Errorf("read ledger checkpoints: %w", err)
	}
	defer rows.Close()
	var out []storedCheckpoint
	for rows.Next() {
		var c storedCheckpoint
		err = rows.Scan(&c.size, &c.note)
		if err != nil {
			return nil, fmt.Errorf("read ledger checkpoints: %w", err)
		}
		c.name = fmt.Sprintf("checkpoint of size %d", c.size)
		out = append(out, c)
	}
	err = rows.Err()
	if err != nil {
		return nil, fmt.Errorf("read ledger checkpoints: %w", err)
	}
	return out, nil
}

func (s *databaseSource) entries(ctx context.Context, from int64) ([]Record, error) {
	got, err := Read(ctx, s.tx, from, page)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		if r.Index >= s.size {
			return got[:i], nil // appended while we read
		}
	}
	return got, nil
}

// stored finds the hash at level and n; every one is stored in a database.
func (s *databaseSource) stored(ctx context.Context, level int, n int64) (tlog.Hash, presence, error) {
	idx := tlog.StoredHashIndex(level, n)
	if idx >= s.until {
		rows, err := s.tx.Query(ctx, `SELECT idx, hash FROM ledger_hashes WHERE idx >= $1 AND idx < $2`, idx, idx+2*page)
		if err != nil {
			return tlog.Hash{}, missing, fmt.Errorf("read ledger hashes: %w", err)
		}
		s.cache, err = scanHashes(rows)
		if err != nil {
			return tlog.Hash{}, missing, err
		}
		s.until = idx + 2*page
	}
	h, ok := s.cache[idx]
	if !ok {
		return tlog.Hash{}, missing, nil
	}
	return h, present, nil
}

// surplus says that hashes exist for entries that do not.
func (s *databaseSource) surplus(n int64) bool { return s.hashes > tlog.StoredHashCount(n) }

// EntryAt returns the exact bytes of one entry; sql.ErrNoRows when there is none.
func EntryAt(ctx context.Context, tx Tx, index int64) ([]byte, error) {
	var b []byte
	err := tx.QueryRow(ctx, `SELECT data FROM ledger_entries WHERE idx = $1`, index).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read ledger entry %d: %w", index, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger entry %d: %w", index, err)
	}
	return b, nil
}
