package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// maxBundle bounds what is read as one file of an export: a full entry bundle.
const maxBundle = tileWidth * (2 + maxLeaf)

// maxCheckpointFiles bounds how many kept checkpoints are looked at.
const maxCheckpointFiles = 1 << 20

// dirSource is an exported ledger as [verify] reads it. The directory is
// foreign: it is opened as an os.Root, which no link leaves, and every file is
// bounded.
type dirSource struct {
	root *os.Root
	size int64 // as the newest properly signed checkpoint says
	kept []storedCheckpoint
	tile map[int]loadedTile // newest tile by level
	more bool               // entries were found beyond the size
}

type loadedTile struct {
	n    int64
	data []byte
}

func openDir(dir, publicKey string) (*dirSource, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open exported ledger: %w", err)
	}
	s := &dirSource{root: root, tile: make(map[int]loadedTile)}
	err = s.load(publicKey)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return s, nil
}

func (s *dirSource) Close() error { return s.root.Close() }

func (s *dirSource) load(publicKey string) error {
	b, err := s.read("checkpoint", maxNote)
	if err != nil {
		return fmt.Errorf("open exported ledger: %w", err)
	}
	s.kept = append(s.kept, storedCheckpoint{-1, string(b), "the file checkpoint"})
	names, err := s.list("checkpoints")
	if err != nil {
		return fmt.Errorf("open exported ledger: %w", err)
	}
	for _, name := range names {
		size, err := strconv.ParseInt(name, 10, 64)
		if err != nil || size < 0 {
			continue // not one of ours, pins nothing
		}
		b, err := s.read("checkpoints/"+name, maxNote)
		if err != nil {
			return fmt.Errorf("open exported ledger: %w", err)
		}
		if string(b) == s.kept[0].note {
			continue
		}
		s.kept = append(s.kept, storedCheckpoint{size, string(b), fmt.Sprintf("checkpoint of size %d", size)})
	}
	for _, k := range s.kept {
		c, err := openCheckpoint(k.note, publicKey)
		if err == nil {
			s.size = max(s.size, c.Size)
		}
	}
	return nil
}

func (s *dirSource) list(name string) ([]string, error) {
	d, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(maxCheckpointFiles)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// read reads a file of at most limit bytes.
func (s *dirSource) read(name string, limit int64) ([]byte, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is too large", name)
	}
	return b, nil
}

func (s *dirSource) checkpoints(context.Context) ([]storedCheckpoint, error) { return s.kept, nil }

// entries returns the bundle that begins at from, as far as it can be read.
func (s *dirSource) entries(_ context.Context, from int64) ([]Record, error) {
	if from >= s.size || from%tileWidth != 0 {
		return nil, nil // a bundle that broke off ends the walk
	}
	width := int(min(s.size-from, tileWidth))
	b, err := s.read(bundlePath(from/tileWidth, width), maxBundle)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read exported entries: %w", err)
	}
	var out []Record
	for len(b) >= 2 && len(out) < width {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return out, nil
		}
		out = append(out, Record{Index: from + int64(len(out)), Data: b[2 : 2+n], at: noTime})
		b = b[2+n:]
	}
	s.more = s.more || len(out) == width && len(b) > 0
	return out, nil
}

// stored finds a hash in the tiles, which keep every eighth level.
func (s *dirSource) stored(_ context.Context, level int, n int64) (tlog.Hash, presence, error) {
	if level%tileHeight != 0 {
		return tlog.Hash{}, elsewhere, nil
	}
	l := level / tileHeight
	t, ok := s.tile[l]
	if !ok || t.n != n/tileWidth {
		width := int(min(s.size>>level-n/tileWidth*tileWidth, tileWidth))
		path := tilePath(tlog.Tile{H: tileHeight, L: l, N: n / tileWidth, W: width})
		data, err := s.read(path, tileWidth*tlog.HashSize)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(err.Error(), "is too large") {
			return tlog.Hash{}, missing, fmt.Errorf("read exported tile: %w", err)
		}
		t = loadedTile{n / tileWidth, data}
		s.tile[l] = t
	}
	at := n % tileWidth * tlog.HashSize
	if at+tlog.HashSize > int64(len(t.data)) {
		return tlog.Hash{}, missing, nil
	}
	return tlog.Hash(t.data[at : at+tlog.HashSize]), present, nil
}

func (s *dirSource) surplus(int64) bool { return s.more }
