package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// sqliteTx is a transaction on SQLite, as the store hands it out.
type sqliteTx struct{ tx *sql.Tx }

func (t sqliteTx) Exec(ctx context.Context, text string, args ...any) (int64, error) {
	res, err := t.tx.ExecContext(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t sqliteTx) Query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, text, args...)
}

func (t sqliteTx) QueryRow(ctx context.Context, text string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, text, args...)
}

func (t sqliteTx) Postgres() bool { return false }

const schema = `
CREATE TABLE ledger_entries (idx BIGINT PRIMARY KEY, at BIGINT NOT NULL, data BYTEA NOT NULL);
CREATE TABLE ledger_hashes (idx BIGINT PRIMARY KEY, hash BYTEA NOT NULL);
CREATE TABLE ledger_checkpoints (size BIGINT PRIMARY KEY, at BIGINT NOT NULL, note TEXT NOT NULL);`

var start = time.Date(2026, 11, 24, 10, 0, 0, 123456000, time.UTC)

type bundle struct {
	ctx context.Context
	db  *sql.DB
	l   *Ledger
	dir string
	tx  *sql.Tx // when set, everything happens in it
}

func setup(t testing.TB) *bundle {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "t.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(normal)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Exec(schema)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(Options{Dir: dir, Origin: "stanch/test", Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	return &bundle{ctx: context.Background(), db: db, l: l, dir: dir}
}

// do runs f in a transaction; it rolls back when f fails.
func (b *bundle) do(t testing.TB, f func(tx Tx) error) error {
	t.Helper()
	if b.tx != nil {
		return f(sqliteTx{b.tx})
	}
	tx, err := b.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	err = f(sqliteTx{tx})
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	err = tx.Commit()
	if err != nil {
		t.Fatal(err)
	}
	return nil
}

func (b *bundle) must(t testing.TB, f func(tx Tx) error) {
	t.Helper()
	err := b.do(t, f)
	if err != nil {
		t.Fatal(err)
	}
}

// fill appends count entries and signs a checkpoint after every step of them.
func (b *bundle) fill(t testing.TB, count, step int) {
	t.Helper()
	b.must(t, func(tx Tx) error {
		for i := range count {
			_, err := b.l.Append(b.ctx, tx, sample(i))
			if err != nil {
				return err
			}
			if step > 0 && (i+1)%step == 0 {
				_, err = b.l.Checkpoint(b.ctx, tx)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func sample(i int) Entry {
	kinds := []string{"incident.opened", "verdict.reached", "act.done", "approval.granted", "call.made", "scan.done", "service.started", "login.failed"}
	return Entry{
		Time: start.Add(time.Duration(i) * time.Millisecond), Kind: kinds[i%len(kinds)], Incident: fmt.Sprintf("inc-%d", i/8),
		Actor: "stanch", Subject: "AKIAIOSFODNN7EXAMPLE", Outcome: "success",
		Detail: map[string]string{"reason": fmt.Sprintf("because of %d", i), "region": "eu-west-1"},
	}
}

func (b *bundle) verify(t testing.TB, since string) Report {
	t.Helper()
	var r Report
	b.must(t, func(tx Tx) error {
		var err error
		r, err = VerifyDatabase(b.ctx, tx, b.l.VerifierKey(), since)
		return err
	})
	return r
}

func (b *bundle) exec(t testing.TB, text string, args ...any) {
	t.Helper()
	b.must(t, func(tx Tx) error {
		_, err := tx.Exec(b.ctx, text, args...)
		return err
	})
}

func TestAppend_GoldenLeaf(t *testing.T) {
	t.Parallel()
	got, err := Entry{
		Time: start, Kind: "act.done", Incident: "0199", Actor: "stanch", Subject: "AKIAIOSFODNN7EXAMPLE", Outcome: "success",
		Detail: map[string]string{"request_id": "r-1", "action": "deactivate"},
	}.encode(7)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"activity_id":99,"category_uid":7,"class_uid":7001,"type_uid":700199,"severity_id":1,"status_id":1,` +
		`"time":1795514400123,"message":"act.done","metadata":{"version":"1.8.0","product":{"name":"Stanch","vendor_name":"Stanch"},"sequence":7},` +
		`"actor":{"user":{"name":"stanch"}},"command_uid":"0199/AKIAIOSFODNN7EXAMPLE",` +
		`"unmapped":{"at":"2026-11-24T10:00:00.123456Z","kind":"act.done","incident":"0199","actor":"stanch","subject":"AKIAIOSFODNN7EXAMPLE",` +
		`"outcome":"success","detail":{"action":"deactivate","request_id":"r-1"}}}`
	if string(got) != want {
		t.Errorf("leaf:\n got %s\nwant %s", got, want)
	}
}

func TestAppend_ForeignTextIsInertAndScrubbed(t *testing.T) {
	t.Parallel()
	token := "ghp_" + strings.Repeat("aB3", 12)
	got, err := Entry{
		Time: start, Kind: "delivery.refused\r\n", Subject: "ref\x1b[31m\u202egnp", Actor: "a\u2028b",
		Detail: map[string]string{"why\n": "token " + token + " \x00\x7f\u0085", "long": strings.Repeat("x", 5000)},
	}.encode(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{token, "\r", "\n", "\x1b", "\u202e", "\u2028", "\x00", "\x7f", "\u0085", `\u001b`, `\u2028`} {
		if strings.Contains(strings.ReplaceAll(string(got), `\\`, ""), bad) {
			t.Errorf("leaf holds %q: %s", bad, got)
		}
	}
	if len(got) > 4000 {
		t.Errorf("leaf has %d bytes, want the long value capped", len(got))
	}
}

func TestAppend_RefusesWhatCannotBeALeaf(t *testing.T) {
	t.Parallel()
	many := make(map[string]string)
	for i := range maxDetail + 1 {
		many[fmt.Sprint(i)] = "x"
	}
	for name, e := range map[string]Entry{
		"no kind":      {Time: start},
		"many details": {Time: start, Kind: "act.done", Detail: many},
	} {
		_, err := e.encode(0)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAppend_RollsBackWithTheCaller(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, 3, 3)
	refused := errors.New("caller failed")
	err := b.do(t, func(tx Tx) error {
		n, err := b.l.Append(b.ctx, tx, sample(3))
		if err != nil || n != 3 {
			t.Errorf("append = %d, %v; want 3", n, err)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	r := b.verify(t, "")
	if !r.OK || r.Entries != 3 || r.Signed != 3 {
		t.Errorf("after rollback: %+v", r)
	}
	b.must(t, func(tx Tx) error {
		n, err := b.l.Append(b.ctx, tx, sample(3))
		if n != 3 {
			t.Errorf("index = %d, want 3", n)
		}
		return err
	})
}

func TestCheckpoint_OnlyWhenChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.must(t, func(tx Tx) error {
		n, err := b.l.Checkpoint(b.ctx, tx)
		if n != "" {
			t.Errorf("checkpoint of an empty ledger = %q", n)
		}
		return err
	})
	b.fill(t, 5, 0)
	var first, again string
	b.must(t, func(tx Tx) error {
		var err error
		first, err = b.l.Checkpoint(b.ctx, tx)
		if err != nil {
			return err
		}
		again, err = b.l.Checkpoint(b.ctx, tx)
		return err
	})
	if first == "" || first != again || !strings.HasPrefix(first, "stanch/test\n5\n") {
		t.Errorf("first %q, again %q", first, again)
	}
}

func TestCheckpoint_RefusesToSignAForkedTree(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]string{
		"hash changed":     `UPDATE ledger_hashes SET hash = zeroblob(32) WHERE idx = 6`,
		"entries removed":  `DELETE FROM ledger_entries WHERE idx >= 2`,
		"foreign newest":   `UPDATE ledger_checkpoints SET note = 'x'`,
		"everything moved": `UPDATE ledger_hashes SET hash = (SELECT hash FROM ledger_hashes WHERE idx = 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(t, 4, 4)
			b.fill(t, 1, 0)
			b.exec(t, tamper)
			err := b.do(t, func(tx Tx) error {
				_, err := b.l.Checkpoint(b.ctx, tx)
				return err
			})
			if !errors.Is(err, ErrForked) {
				t.Errorf("error = %v, want ErrForked", err)
			}
		})
	}
}

func TestOpen_Keys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := Open(Options{Dir: dir, Origin: "stanch/one"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if a.VerifierKey() != again.VerifierKey() || again.Origin() != "stanch/one" {
		t.Errorf("keys differ: %s, %s", a.VerifierKey(), again.VerifierKey())
	}
	pub, err := ReadPublicKey(filepath.Join(dir, PubFile))
	if err != nil || pub != a.VerifierKey() {
		t.Errorf("public key file = %q, %v; want %q", pub, err, a.VerifierKey())
	}
	info, err := os.Stat(filepath.Join(dir, KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file mode = %v, %v; want 0600", info.Mode(), err)
	}
	_, err = Open(Options{Dir: dir, Origin: "stanch/two"})
	if err == nil || strings.Contains(err.Error(), "PRIVATE") {
		t.Errorf("another origin: %v", err)
	}
	err = os.Chmod(filepath.Join(dir, KeyFile), 0o640)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{Dir: dir})
	if err == nil {
		t.Error("a key that the group can read was accepted")
	}
	for _, origin := range []string{"", "a b", "a+b", "a\nb"} {
		_, err = Open(Options{Dir: t.TempDir(), Origin: origin})
		if err == nil {
			t.Errorf("origin %q was accepted", origin)
		}
	}
}

func TestProve_EveryEntryAndConsistency(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, 21, 7)
	b.must(t, func(tx Tx) error {
		signed, err := Latest(b.ctx, tx)
		if err != nil {
			return err
		}
		for i := range int64(21) {
			data, err := EntryAt(b.ctx, tx, i)
			if err != nil {
				return err
			}
			p, err := Prove(b.ctx, tx, i, 21)
			if err != nil {
				return err
			}
			err = VerifyInclusion(data, p, signed, b.l.VerifierKey())
			if err != nil {
				t.Errorf("entry %d: %v", i, err)
			}
			data[len(data)-3] ^= 1
			err = VerifyInclusion(data, p, signed, b.l.VerifierKey())
			if err == nil {
				t.Errorf("entry %d: a changed entry was proved", i)
			}
		}
		var old string
		err = tx.QueryRow(b.ctx, `SELECT note FROM ledger_checkpoints WHERE size = 7`).Scan(&old)
		if err != nil {
			return err
		}
		proof, err := ProveConsistency(b.ctx, tx, 7, 21)
		if err != nil {
			return err
		}
		err = VerifyConsistency(proof, old, signed, b.l.VerifierKey())
		if err != nil {
			t.Errorf("consistency: %v", err)
		}
		proof[0][0] ^= 1
		err = VerifyConsistency(proof, old, signed, b.l.VerifierKey())
		if err == nil {
			t.Error("a wrong consistency proof was accepted")
		}
		_, err = Prove(b.ctx, tx, 21, 21)
		if err == nil {
			t.Error("an entry beyond the tree was proved")
		}
		return nil
	})
}

func TestVerifyInclusion_ForeignInput(t *testing.T) {
	t.Parallel()
	b, other := setup(t), setup(t)
	b.fill(t, 4, 4)
	b.must(t, func(tx Tx) error {
		signed, err := Latest(b.ctx, tx)
		if err != nil {
			return err
		}
		data, err := EntryAt(b.ctx, tx, 1)
		if err != nil {
			return err
		}
		p, err := Prove(b.ctx, tx, 1, 4)
		if err != nil {
			return err
		}
		wrongSize, wrongIndex, negative := p, p, p
		wrongSize.Size, wrongIndex.Index, negative.Index = 3, 2, -1
		cases := map[string]error{
			"another key":    VerifyInclusion(data, p, signed, other.l.VerifierKey()),
			"no key":         VerifyInclusion(data, p, signed, "x"),
			"changed note":   VerifyInclusion(data, p, strings.Replace(signed, "\n4\n", "\n5\n", 1), b.l.VerifierKey()),
			"wrong size":     VerifyInclusion(data, wrongSize, signed, b.l.VerifierKey()),
			"wrong index":    VerifyInclusion(data, wrongIndex, signed, b.l.VerifierKey()),
			"negative index": VerifyInclusion(data, negative, signed, b.l.VerifierKey()),
		}
		for name, err := range cases {
			if err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
		return nil
	})
}

func BenchmarkAppend(b *testing.B) {
	s := setup(b)
	tx, err := s.db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		_, err := s.l.Append(s.ctx, sqliteTx{tx}, sample(i))
		if err != nil {
			b.Fatal(err)
		}
	}
	_ = tx.Rollback()
}

func BenchmarkAppendCommit(b *testing.B) {
	s := setup(b)
	for i := 0; b.Loop(); i++ {
		s.must(b, func(tx Tx) error {
			_, err := s.l.Append(s.ctx, tx, sample(i))
			return err
		})
	}
}
