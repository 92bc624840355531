package ledger

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof shows that one entry is in the tree of a checkpoint.
type Proof struct {
	Index  int64       `json:"index"`  // of the entry, from 0
	Size   int64       `json:"size"`   // of the tree
	Hashes []tlog.Hash `json:"hashes"` // RFC 6962 audit path, base64
}

// Prove makes the proof that entry index is in the tree of the first size entries.
func Prove(ctx context.Context, tx Tx, index, size int64) (Proof, error) {
	if index < 0 || index >= size {
		return Proof{}, fmt.Errorf("prove ledger entry: no entry %d in a tree of %d", index, size)
	}
	hashes, err := tlog.ProveRecord(size, index, hashReader(ctx, tx))
	if err != nil {
		return Proof{}, fmt.Errorf("prove ledger entry %d: %w", index, err)
	}
	return Proof{index, size, hashes}, nil
}

// ProveLatest gives the exact bytes of entry index with its proof in the newest
// checkpoint, which it returns too. [ErrUnsigned] when no checkpoint covers it yet.
func ProveLatest(ctx context.Context, tx Tx, publicKey string, index int64) (entry []byte, p Proof, signed string, err error) {
	entry, err = EntryAt(ctx, tx, index)
	if err != nil {
		return nil, Proof{}, "", err
	}
	signed, err = Latest(ctx, tx)
	if err != nil {
		return nil, Proof{}, "", err
	}
	if signed == "" {
		return nil, Proof{}, "", ErrUnsigned
	}
	c, err := openCheckpoint(signed, publicKey)
	if err != nil {
		return nil, Proof{}, "", err
	}
	if index >= c.Size {
		return nil, Proof{}, "", ErrUnsigned
	}
	p, err = Prove(ctx, tx, index, c.Size)
	if err != nil {
		return nil, Proof{}, "", err
	}
	return entry, p, signed, nil
}

// ProveConsistency makes the proof that the tree of newSize entries extends the
// one of oldSize.
func ProveConsistency(ctx context.Context, tx Tx, oldSize, newSize int64) ([]tlog.Hash, error) {
	if oldSize <= 0 || oldSize > newSize {
		return nil, fmt.Errorf("prove ledger consistency: no way from %d to %d entries", oldSize, newSize)
	}
	proof, err := tlog.ProveTree(newSize, oldSize, hashReader(ctx, tx))
	if err != nil {
		return nil, fmt.Errorf("prove ledger consistency: %w", err)
	}
	return proof, nil
}

// VerifyInclusion checks offline that the exact bytes of an entry are in the
// tree that a checkpoint (a signed note) pins, under a public key in note format.
func VerifyInclusion(entry []byte, p Proof, checkpointNote, publicKey string) error {
	c, err := openCheckpoint(checkpointNote, publicKey)
	if err != nil {
		return err
	}
	if p.Size != c.Size {
		return fmt.Errorf("verify ledger entry: the proof is for %d entries, the checkpoint for %d", p.Size, c.Size)
	}
	if p.Index < 0 || p.Index >= p.Size {
		return fmt.Errorf("verify ledger entry: no entry %d in a tree of %d", p.Index, p.Size)
	}
	err = tlog.CheckRecord(p.Hashes, p.Size, c.Root, p.Index, tlog.RecordHash(entry))
	if err != nil {
		return fmt.Errorf("verify ledger entry %d: it is not in the checkpoint's tree", p.Index)
	}
	return nil
}

// VerifyConsistency checks offline that the tree of one checkpoint extends that
// of an older one.
func VerifyConsistency(proof []tlog.Hash, oldNote, newNote, publicKey string) error {
	older, err := openCheckpoint(oldNote, publicKey)
	if err != nil {
		return err
	}
	newer, err := openCheckpoint(newNote, publicKey)
	if err != nil {
		return err
	}
	err = tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root)
	if err != nil {
		return fmt.Errorf("verify ledger consistency: the tree of %d entries does not extend that of %d", newer.Size, older.Size)
	}
	return nil
}

// checkpoint is the content of a C2SP tlog-checkpoint.
type checkpoint struct {
	Origin string
	Size   int64
	Root   tlog.Hash
}

func (c checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// maxNote bounds a signed note in bytes.
const maxNote = 16 << 10

// ErrCheckpoint means that a checkpoint cannot be used: it is malformed, or not
// signed by the public key that was given.
var ErrCheckpoint = errors.New("unusable checkpoint")

// openCheckpoint checks the signature and reads the note.
func openCheckpoint(signed, publicKey string) (checkpoint, error) {
	v, err := note.NewVerifier(strings.TrimSpace(publicKey))
	if err != nil {
		return checkpoint{}, fmt.Errorf("%w: the public key is not in note format", ErrCheckpoint)
	}
	if len(signed) > maxNote {
		return checkpoint{}, fmt.Errorf("%w: it is too long", ErrCheckpoint)
	}
	n, err := note.Open([]byte(signed), note.VerifierList(v))
	if err != nil {
		return checkpoint{}, fmt.Errorf("%w: it is not signed by this public key", ErrCheckpoint)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) < 4 {
		return checkpoint{}, fmt.Errorf("%w: it is malformed", ErrCheckpoint)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return checkpoint{}, fmt.Errorf("%w: its size is malformed", ErrCheckpoint)
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return checkpoint{}, fmt.Errorf("%w: its root is malformed", ErrCheckpoint)
	}
	if lines[0] != v.Name() {
		return checkpoint{}, fmt.Errorf("%w: it is of another log", ErrCheckpoint)
	}
	return checkpoint{lines[0], size, tlog.Hash(root)}, nil
}
