package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Report is the result of a verification.
type Report struct {
	OK      bool   `json:"ok"`
	Origin  string `json:"origin"`
	Entries int64  `json:"entries"` // that are there
	Signed  int64  `json:"signed"`  // covered by a valid checkpoint; later ones are held by hashes alone
	Root    string `json:"root"`    // RFC 6962 root over all entries that are there, base64
	// Checkpoints is how many signed checkpoints were checked.
	Checkpoints int `json:"checkpoints"`
	// FirstBad is the index of the first entry that is wrong or missing.
	FirstBad *int64 `json:"first_bad_entry,omitempty"`
	// LastBad is set when the checkpoints only bound the place: the first bad entry
	// is one of FirstBad to LastBad.
	LastBad  *int64    `json:"last_bad_entry,omitempty"`
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is one thing that is wrong.
type Problem struct {
	Entry int64  `json:"entry"` // index, -1 when it is about a checkpoint alone
	Text  string `json:"text"`
}

func (r *Report) bad(entry int64, format string, args ...any) {
	r.OK = false
	r.Problems = append(r.Problems, Problem{entry, fmt.Sprintf(format, args...)})
	if entry >= 0 && (r.FirstBad == nil || entry < *r.FirstBad) {
		r.FirstBad = &entry
		r.LastBad = nil
	}
}

// VerifyDatabase checks the ledger in a database, offline, with the public key
// alone. since is a checkpoint (signed note) that was kept elsewhere, or "".
// The error is about reading; what is wrong with the ledger is in the Report.
// Entries that are appended meanwhile are left out.
func VerifyDatabase(ctx context.Context, tx Tx, publicKey, since string) (Report, error) {
	s, err := openDatabase(ctx, tx)
	if err != nil {
		return Report{}, err
	}
	return verify(ctx, s, publicKey, since)
}

// VerifyDir checks an exported directory in the same way.
func VerifyDir(ctx context.Context, dir, publicKey, since string) (Report, error) {
	s, err := openDir(dir, publicKey)
	if err != nil {
		return Report{}, err
	}
	defer s.Close()
	return verify(ctx, s, publicKey, since)
}

// noTime marks a record whose source keeps no time beside it.
const noTime = -2

// presence says what a source knows of a stored hash.
type presence int

const (
	missing   presence = iota // it should be there and is not
	present                   // it is there
	elsewhere                 // this source keeps no such hash
)

// source is a ledger that is being verified.
type source interface {
	checkpoints(ctx context.Context) ([]storedCheckpoint, error)
	// entries returns the next entries from index on, none at the end.
	entries(ctx context.Context, from int64) ([]Record, error)
	stored(ctx context.Context, level int, n int64) (tlog.Hash, presence, error)
	// surplus reports that there are hashes beyond n entries.
	surplus(n int64) bool
}

type storedCheckpoint struct {
	size int64  // as stored beside the note; -1 when only the note says it
	note string // signed
	name string // for people
}

// pinned is a tree that must appear on the way.
type pinned struct {
	checkpoint
	name string
}

// verify reads every entry once, in order, computes the tree as it grows and
// holds it against stored hashes and every signed checkpoint.
func verify(ctx context.Context, s source, publicKey, since string) (Report, error) {
	r := Report{OK: true}
	pins, err := pins(ctx, &r, s, publicKey, since)
	if err != nil {
		return r, err
	}
	w := walk{r: &r, s: s, pins: pins, suspect: -1}
	err = w.run(ctx)
	if err != nil {
		return r, err
	}
	return r, nil
}

// pins opens the checkpoints; those that are not properly signed are problems
// and pin nothing.
func pins(ctx context.Context, r *Report, s source, publicKey, since string) ([]pinned, error) {
	stored, err := s.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	var out []pinned
	if since != "" {
		c, err := openCheckpoint(since, publicKey)
		if err != nil {
			return nil, fmt.Errorf("use the checkpoint that was kept: %w", err)
		}
		out = append(out, pinned{c, "the checkpoint that was kept elsewhere"})
	}
	for _, sc := range stored {
		c, err := openCheckpoint(sc.note, publicKey)
		if err != nil {
			r.bad(-1, "%s: %v", sc.name, err)
			continue
		}
		if sc.size >= 0 && c.Size != sc.size {
			r.bad(-1, "%s: the note says %d entries", sc.name, c.Size)
		}
		r.Checkpoints++
		r.Origin = c.Origin
		out = append(out, pinned{c, sc.name})
	}
	slices.SortStableFunc(out, func(a, b pinned) int { return int(min(max(a.Size-b.Size, -1), 1)) })
	return out, nil
}

// walk is the state of one pass over the entries.
type walk struct {
	r       *Report
	s       source
	pins    []pinned // those not yet reached, by size
	edge    []tlog.Hash
	levels  []int // of edge
	n       int64 // entries seen
	good    int64 // size of the newest tree that a checkpoint confirmed
	suspect int64 // first entry that differs from its stored hash, until a checkpoint decides; -1 for none
	stop    bool
}

func (w *walk) run(ctx context.Context) error {
	err := w.reach()
	if err != nil {
		return err
	}
	for !w.stop {
		err := ctx.Err()
		if err != nil {
			return err
		}
		batch, err := w.s.entries(ctx, w.n)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			break
		}
		for _, rec := range batch {
			if rec.Index != w.n {
				w.r.bad(w.n, "entry %d is missing", w.n)
				w.stop = true
				break
			}
			err = w.add(ctx, rec)
			if err != nil {
				return err
			}
			if w.stop {
				break
			}
		}
	}
	return w.finish()
}

// add takes one entry into the tree.
func (w *walk) add(ctx context.Context, rec Record) error {
	w.checkContent(rec)
	h := tlog.RecordHash(rec.Data)
	level, n := 0, rec.Index
	for {
		stored, p, err := w.s.stored(ctx, level, n)
		if err != nil {
			return err
		}
		if p != elsewhere && (p == missing || stored != h) && w.suspect < 0 {
			// An inner hash over good leaves is named by the entry that completed it.
			w.suspect = rec.Index
		}
		if n&1 == 0 {
			break
		}
		last := len(w.edge) - 1
		h = tlog.NodeHash(w.edge[last], h)
		w.edge, w.levels = w.edge[:last], w.levels[:last]
		level, n = level+1, n>>1
	}
	w.edge, w.levels = append(w.edge, h), append(w.levels, level)
	w.n++
	return w.reach()
}

// checkContent compares what an entry says of itself with where it stands.
func (w *walk) checkContent(rec Record) {
	var l struct {
		Metadata struct {
			Sequence *int64 `json:"sequence"`
		} `json:"metadata"`
		Unmapped struct {
			At string `json:"at"`
		} `json:"unmapped"`
	}
	err := json.Unmarshal(rec.Data, &l)
	switch {
	case err != nil || l.Metadata.Sequence == nil:
		w.r.bad(rec.Index, "entry %d is malformed", rec.Index)
	case *l.Metadata.Sequence != rec.Index:
		w.r.bad(rec.Index, "entry %d says that it is entry %d", rec.Index, *l.Metadata.Sequence)
	case rec.at != noTime:
		at, err := time.Parse(microseconds, l.Unmapped.At)
		if err != nil || at.UnixMicro() != rec.at {
			w.r.bad(rec.Index, "entry %d: the stored time is not the entry's", rec.Index)
		}
	}
}

// reach compares the tree of the first w.n entries with the checkpoints of that size.
func (w *walk) reach() error {
	for len(w.pins) > 0 && w.pins[0].Size == w.n {
		p := w.pins[0]
		w.pins = w.pins[1:]
		root := w.root()
		if root == p.Root {
			if w.suspect >= 0 {
				w.r.bad(w.suspect, "entry %d is as it was signed, but a hash stored with it was changed", w.suspect)
				w.suspect = -1
			}
			w.good, w.r.Signed = w.n, w.n
			continue
		}
		w.stop = true
		if w.suspect >= 0 {
			w.blame()
			continue
		}
		last := w.n - 1
		if w.r.FirstBad != nil && *w.r.FirstBad >= w.good {
			last = *w.r.FirstBad
		}
		w.r.bad(w.good, "%s: the entries %d to %d are not those that were signed", p.name, w.good, w.n-1)
		if *w.r.FirstBad == w.good && last > w.good {
			w.r.LastBad = &last
		}
	}
	return nil
}

func (w *walk) blame() {
	w.r.bad(w.suspect, "entry %d was changed: it does not match the hash stored with it", w.suspect)
	w.suspect = -1
}

// finish looks at what is missing at the end.
func (w *walk) finish() error {
	w.r.Entries = w.n
	root := w.root()
	w.r.Root = root.String()
	if w.suspect >= 0 {
		w.blame()
	}
	if w.stop {
		return nil
	}
	if len(w.pins) > 0 {
		newest := w.pins[len(w.pins)-1]
		w.r.bad(w.n, "entry %d is missing: %s has %d entries, the ledger %d", w.n, newest.name, newest.Size, w.n)
		return nil
	}
	if w.s.surplus(w.n) {
		w.r.bad(w.n, "entry %d does not fit: something is stored beyond the last entry", w.n)
	}
	return nil
}

// root is the RFC 6962 root of the first w.n entries.
func (w *walk) root() tlog.Hash {
	if len(w.edge) == 0 {
		h, err := tlog.TreeHash(0, nil)
		if err != nil {
			return tlog.Hash{}
		}
		return h
	}
	h := w.edge[len(w.edge)-1]
	for i := len(w.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(w.edge[i], h)
	}
	return h
}
