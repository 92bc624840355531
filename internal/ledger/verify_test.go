package ledger

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func TestVerify_Good(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ count, step int }{{0, 0}, {1, 1}, {2, 0}, {7, 3}, {16, 16}, {600, 250}} {
		b := setup(t)
		b.fill(t, c.count, c.step)
		r := b.verify(t, "")
		signed := 0
		if c.step > 0 {
			signed = c.count / c.step * c.step
		}
		if !r.OK || r.FirstBad != nil || r.Entries != int64(c.count) || r.Signed != int64(signed) {
			t.Errorf("%d entries, a checkpoint each %d: %+v", c.count, c.step, r)
		}
		if c.count > 0 {
			b.must(t, func(tx Tx) error {
				want, err := tlog.TreeHash(int64(c.count), hashReader(b.ctx, tx))
				if err != nil {
					return err
				}
				if r.Root != want.String() {
					t.Errorf("%d entries: root %s, want %s", c.count, r.Root, want)
				}
				return nil
			})
		}
	}
}

// wantBad checks that the first bad entry was named.
func wantBad(t *testing.T, what string, r Report, first int64) {
	t.Helper()
	if r.OK || r.FirstBad == nil || *r.FirstBad != first || r.LastBad != nil {
		got := "none"
		if r.FirstBad != nil {
			got = fmt.Sprint(*r.FirstBad)
		}
		t.Errorf("%s: first bad entry %s, want %d: %+v", what, got, first, r)
	}
}

// swap exchanges what two rows hold, whatever they hold.
func (b *bundle) swap(t testing.TB, i, j int64) {
	t.Helper()
	b.exec(t, `UPDATE ledger_entries SET idx = -1 WHERE idx = $1`, i)
	b.exec(t, `UPDATE ledger_entries SET idx = $1 WHERE idx = $2`, i, j)
	b.exec(t, `UPDATE ledger_entries SET idx = $1 WHERE idx = -1`, j)
}

// flip changes one bit of one byte of an entry.
func (b *bundle) flip(t testing.TB, rnd *rand.Rand, i int64) {
	t.Helper()
	var data []byte
	err := b.tx.QueryRow(`SELECT data FROM ledger_entries WHERE idx = $1`, i).Scan(&data)
	if err != nil {
		t.Fatal(err)
	}
	data[rnd.IntN(len(data))] ^= 1 << rnd.IntN(8)
	b.exec(t, `UPDATE ledger_entries SET data = $1 WHERE idx = $2`, data, i)
}

// TestVerify_AnyMutationIsNamed changes a ledger in every way at random places
// and wants the first bad entry by its index.
func TestVerify_AnyMutationIsNamed(t *testing.T) {
	t.Parallel()
	const seeds = 800
	b := setup(t)
	const count, step = 37, 10 // 7 entries are not signed yet
	b.fill(t, count, step)
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		i := rnd.Int64N(count)
		what := ""
		var err error
		b.tx, err = b.db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		switch rnd.IntN(8) {
		case 0:
			what = "flip"
			b.flip(t, rnd, i)
		case 1:
			what = "drop"
			b.exec(t, `DELETE FROM ledger_entries WHERE idx = $1`, i)
		case 2:
			what = "drop and close the gap"
			b.exec(t, `DELETE FROM ledger_entries WHERE idx = $1`, i)
			for k := i + 1; k < count; k++ {
				b.exec(t, `UPDATE ledger_entries SET idx = $1 WHERE idx = $2`, k-1, k)
			}
		case 3:
			what = "reorder"
			j := (i + 1 + rnd.Int64N(count-1)) % count
			b.swap(t, i, j)
			i = min(i, j)
		case 4:
			what = "truncate"
			b.exec(t, `DELETE FROM ledger_entries WHERE idx >= $1`, i)
		case 5:
			what = "truncate with hashes"
			i = rnd.Int64N(count / step * step) // what is not signed yet cannot be missed
			b.exec(t, `DELETE FROM ledger_entries WHERE idx >= $1`, i)
			b.exec(t, `DELETE FROM ledger_hashes WHERE idx >= $1`, tlog.StoredHashCount(i))
		case 6:
			what = "insert"
			for k := int64(count - 1); k >= i; k-- {
				b.exec(t, `UPDATE ledger_entries SET idx = $1 WHERE idx = $2`, k+1, k)
			}
			b.exec(t, `INSERT INTO ledger_entries (idx, at, data) SELECT $1, at, data FROM ledger_entries WHERE idx = $2`, i, (i+2)%count)
		case 7:
			what = "time"
			b.exec(t, `UPDATE ledger_entries SET at = at + 1 WHERE idx = $1`, i)
		}
		wantBad(t, fmt.Sprintf("seed %d: %s at %d", seed, what, i), b.verify(t, ""), i)
		err = b.tx.Rollback()
		if err != nil {
			t.Fatal(err)
		}
		b.tx = nil
	}
	if r := b.verify(t, ""); !r.OK {
		t.Fatalf("restored ledger: %+v", r)
	}
}

// An intruder who knows the format computes every stored hash again; without the
// key the checkpoints still bound the place.
func TestVerify_RewrittenHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, 30, 10)
	rewrite(t, b, 14)
	r := b.verify(t, "")
	if r.OK || r.FirstBad == nil || *r.FirstBad != 10 || r.LastBad == nil || *r.LastBad != 19 || r.Signed != 10 {
		t.Errorf("rewritten entry 14: %+v", r)
	}
}

// rewrite changes the outcome of one entry and all hashes above it.
func rewrite(t *testing.T, b *bundle, i int64) {
	t.Helper()
	b.exec(t, `UPDATE ledger_entries SET data = CAST(replace(CAST(data AS TEXT), '"outcome":"success"', '"outcome":"failure"') AS BLOB) WHERE idx = $1`, i)
	b.must(t, func(tx Tx) error {
		_, err := tx.Exec(b.ctx, `DELETE FROM ledger_hashes`)
		if err != nil {
			return err
		}
		all, err := Read(b.ctx, tx, 0, page)
		if err != nil {
			return err
		}
		for _, rec := range all {
			hashes, err := tlog.StoredHashes(rec.Index, rec.Data, hashReader(b.ctx, tx))
			if err != nil {
				return err
			}
			for k, h := range hashes {
				_, err = tx.Exec(b.ctx, `INSERT INTO ledger_hashes (idx, hash) VALUES ($1, $2)`, tlog.StoredHashCount(rec.Index)+int64(k), h[:])
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func TestVerify_SinceFindsWhatTheDatabaseAloneCannotShow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, 20, 10)
	var kept string
	b.must(t, func(tx Tx) error {
		var err error
		kept, err = Latest(b.ctx, tx)
		return err
	})
	if r := b.verify(t, kept); !r.OK || r.Signed != 20 {
		t.Fatalf("good ledger since its own checkpoint: %+v", r)
	}
	b.exec(t, `DELETE FROM ledger_entries WHERE idx >= 13; DELETE FROM ledger_checkpoints WHERE size > 10`)
	b.exec(t, `DELETE FROM ledger_hashes WHERE idx >= $1`, tlog.StoredHashCount(13))
	if r := b.verify(t, ""); !r.OK {
		t.Fatalf("a truncation with its checkpoints cannot be seen from inside, yet: %+v", r)
	}
	wantBad(t, "truncated since", b.verify(t, kept), 13)

	forged := setup(t) // another key, so another log
	forged.fill(t, 20, 10)
	b.must(t, func(tx Tx) error {
		_, err := VerifyDatabase(b.ctx, tx, forged.l.VerifierKey(), kept)
		if err == nil {
			t.Error("a checkpoint of another key was used")
		}
		return nil
	})
}

func TestVerify_Checkpoints(t *testing.T) {
	t.Parallel()
	for name, tamper := range map[string]string{
		"note changed":       `UPDATE ledger_checkpoints SET note = replace(note, 'stanch/test', 'stanch/tesT') WHERE size = 10`,
		"signature cut":      `UPDATE ledger_checkpoints SET note = substr(note, 1, length(note) - 4) WHERE size = 20`,
		"size column":        `UPDATE ledger_checkpoints SET size = 21 WHERE size = 20`,
		"two exchanged":      `UPDATE ledger_checkpoints SET note = (SELECT note FROM ledger_checkpoints WHERE size = 10) WHERE size = 20`,
		"no note":            `UPDATE ledger_checkpoints SET note = '' WHERE size = 10`,
		"a very long note":   `UPDATE ledger_checkpoints SET note = hex(zeroblob(100000)) WHERE size = 10`,
		"hash of the leaf 3": `UPDATE ledger_hashes SET hash = zeroblob(32) WHERE idx = 4`,
		"hash cut":           `UPDATE ledger_hashes SET hash = substr(hash, 1, 31) WHERE idx = 4`,
		"hash gone":          `DELETE FROM ledger_hashes WHERE idx = 4`,
		"hash too many":      `INSERT INTO ledger_hashes (idx, hash) VALUES (1000, zeroblob(32))`,
		"text as data":       `UPDATE ledger_entries SET data = 'x' WHERE idx = 3`,
		"text as time":       `UPDATE ledger_entries SET at = 'x' WHERE idx = 3`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(t, 20, 10)
			b.exec(t, tamper)
			r := b.verify(t, "")
			if r.OK || len(r.Problems) == 0 {
				t.Errorf("not seen: %+v", r)
			}
			if strings.HasPrefix(name, "hash of") && (*r.FirstBad != 3 || !strings.Contains(r.Problems[0].Text, "is as it was signed")) {
				t.Errorf("a bad hash over a good entry: %+v", r)
			}
		})
	}
}

func TestVerify_WhileItGrows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, 10, 10)
	b.must(t, func(tx Tx) error {
		s, err := openDatabase(b.ctx, tx)
		if err != nil {
			return err
		}
		for i := range 5 {
			_, err = b.l.Append(b.ctx, tx, sample(i))
			if err != nil {
				return err
			}
		}
		_, err = b.l.Checkpoint(b.ctx, tx)
		if err != nil {
			return err
		}
		r, err := verify(b.ctx, s, b.l.VerifierKey(), "")
		if err != nil {
			return err
		}
		if !r.OK || r.Entries != 10 {
			t.Errorf("entries appended meanwhile: %+v", r)
		}
		return nil
	})
}

func (b *bundle) export(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(b.dir, "export")
	err := os.MkdirAll(dir, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	b.must(t, func(tx Tx) error {
		_, err := Export(b.ctx, tx, dir, b.l.VerifierKey())
		return err
	})
	return dir
}

func (b *bundle) verifyDir(t testing.TB, dir string) Report {
	t.Helper()
	r, err := VerifyDir(context.Background(), dir, b.l.VerifierKey(), "")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestExport_VerifiesAtEverySize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	size := 0
	for _, more := range []int{1, 2, 252, 1, 1, 255, 1, 300} {
		b.fill(t, more, more)
		size += more
		dir := b.export(t) // over the one before
		r := b.verifyDir(t, dir)
		if !r.OK || r.Entries != int64(size) || r.Signed != int64(size) {
			t.Errorf("export of %d: %+v", size, r)
		}
	}
	for _, path := range []string{"checkpoint", "tile/0/000", "tile/0/002", "tile/0/003.p/45", "tile/1/000.p/3", "tile/entries/000", "tile/entries/003.p/45"} {
		_, err := os.Stat(filepath.Join(b.dir, "export", path))
		if err != nil {
			t.Error(err)
		}
	}
}

// TestExport_AnyMutationIsNamed changes one entry of an export, or its files.
func TestExport_AnyMutationIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const count = 300
	b.fill(t, count, 100)
	dir := b.export(t)
	paths := []string{"tile/entries/000", "tile/entries/001.p/44"}
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		i := rnd.IntN(count)
		path := filepath.Join(dir, paths[i/tileWidth])
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		entries := split(good)
		k := i % tileWidth
		what, first := "", i
		switch rnd.IntN(6) {
		case 0:
			what = "flip"
			entries[k] = append([]byte(nil), entries[k]...)
			entries[k][rnd.IntN(len(entries[k]))] ^= 1 << rnd.IntN(8)
		case 1:
			what = "drop"
			entries = append(entries[:k:k], entries[k+1:]...)
		case 2:
			what = "reorder"
			j := (k + 1 + rnd.IntN(len(entries)-1)) % len(entries)
			entries[k], entries[j] = entries[j], entries[k]
			first = i - k + min(k, j)
		case 3:
			what = "truncate"
			entries = entries[:k]
		case 4:
			what = "insert"
			entries = append(entries[:k:k], append([][]byte{entries[(k+3)%len(entries)]}, entries[k:]...)...)
		case 5:
			what = "file gone"
			entries, first = nil, i-k
		}
		if entries == nil {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, join(entries), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		wantBad(t, fmt.Sprintf("seed %d: %s at %d", seed, what, i), b.verifyDir(t, dir), int64(first))
		err = os.WriteFile(path, good, 0o644)
		if err != nil {
			t.Fatal(err)
		}
	}
	if r := b.verifyDir(t, dir); !r.OK {
		t.Fatalf("restored export: %+v", r)
	}
}

func split(bundle []byte) [][]byte {
	var out [][]byte
	for len(bundle) > 0 {
		n := int(binary.BigEndian.Uint16(bundle))
		out = append(out, bundle[2:2+n])
		bundle = bundle[2+n:]
	}
	return out
}

func join(entries [][]byte) []byte {
	var out []byte
	for _, e := range entries {
		out = binary.BigEndian.AppendUint16(out, uint16(len(e)))
		out = append(out, e...)
	}
	return out
}

func TestExport_OtherDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"tile flipped":       func(d string) error { return flipFile(filepath.Join(d, "tile/0/000"), 100) },
		"upper tile flipped": func(d string) error { return flipFile(filepath.Join(d, "tile/1/000.p/1"), 5) },
		"tile gone":          func(d string) error { return os.Remove(filepath.Join(d, "tile/0/001.p/44")) },
		"tile cut":           func(d string) error { return os.Truncate(filepath.Join(d, "tile/0/000"), 64) },
		"huge tile":          func(d string) error { return os.Truncate(filepath.Join(d, "tile/0/000"), 1<<30) },
		"checkpoint flipped": func(d string) error { return flipFile(filepath.Join(d, "checkpoint"), 40) },
		"old one flipped":    func(d string) error { return flipFile(filepath.Join(d, "checkpoints/100"), 40) },
		"one entry too many": func(d string) error {
			path := filepath.Join(d, "tile/entries/001.p/44")
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, append(b, 0, 1, 'x'), 0o644)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(t, 300, 100)
			dir := b.export(t)
			err := damage(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r := b.verifyDir(t, dir); r.OK {
				t.Errorf("not seen: %+v", r)
			}
		})
	}
	b := setup(t)
	_, err := VerifyDir(b.ctx, t.TempDir(), b.l.VerifierKey(), "")
	if err == nil {
		t.Error("an empty directory was verified")
	}
	b.must(t, func(tx Tx) error {
		_, err := Export(b.ctx, tx, t.TempDir(), b.l.VerifierKey())
		if err == nil {
			t.Error("a ledger without a checkpoint was exported")
		}
		return nil
	})
}

func flipFile(path string, at int) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[at] ^= 1
	return os.WriteFile(path, b, 0o644)
}

func FuzzOpenCheckpoint(f *testing.F) {
	b := setup(f)
	b.fill(f, 3, 3)
	b.must(f, func(tx Tx) error {
		n, err := Latest(b.ctx, tx)
		f.Add(n)
		return err
	})
	f.Add("stanch/test\n3\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := openCheckpoint(text, b.l.VerifierKey())
		if err == nil && (c.Size != 3 || c.Origin != "stanch/test") {
			t.Errorf("a foreign note was taken: %+v", c)
		}
	})
}

func BenchmarkVerify10k(b *testing.B) {
	s := setup(b)
	s.fill(b, 10_000, 1000)
	for b.Loop() {
		if r := s.verify(b, ""); !r.OK {
			b.Fatal(r)
		}
	}
}
