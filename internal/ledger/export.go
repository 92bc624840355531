package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is fixed by C2SP tlog-tiles.
const tileHeight = 8

// tileWidth is how many hashes or entries a full tile holds.
const tileWidth = 1 << tileHeight

// ErrUnsigned means that no checkpoint covers what was asked for yet.
var ErrUnsigned = errors.New("no signed checkpoint covers this yet")

// Export writes the ledger as the newest checkpoint pins it to dir, in the C2SP
// tlog-tiles layout: checkpoint, tile/LEVEL/..., tile/entries/.... Beside it,
// checkpoints/SIZE holds every checkpoint. It returns how many entries it wrote.
// Files are replaced whole, the checkpoint last, so that a reader of an earlier
// export in the same place is never ahead of its tiles.
func Export(ctx context.Context, tx Tx, dir, publicKey string) (int64, error) {
	signed, err := Latest(ctx, tx)
	if err != nil {
		return 0, err
	}
	if signed == "" {
		return 0, ErrUnsigned
	}
	c, err := openCheckpoint(signed, publicKey)
	if err != nil {
		return 0, fmt.Errorf("export ledger: %w", err)
	}
	e := exporter{ctx, tx, dir}
	err = e.tiles(c.Size)
	if err != nil {
		return 0, fmt.Errorf("export ledger: %w", err)
	}
	err = e.bundles(c.Size)
	if err != nil {
		return 0, fmt.Errorf("export ledger: %w", err)
	}
	err = e.checkpoints()
	if err != nil {
		return 0, fmt.Errorf("export ledger: %w", err)
	}
	err = e.write("checkpoint", []byte(signed))
	if err != nil {
		return 0, fmt.Errorf("export ledger: %w", err)
	}
	return c.Size, nil
}

type exporter struct {
	ctx context.Context
	tx  Tx
	dir string
}

func (e exporter) write(name string, data []byte) error {
	path := filepath.Join(e.dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

func (e exporter) tiles(size int64) error {
	r := hashReader(e.ctx, e.tx)
	for _, t := range tlog.NewTiles(tileHeight, 0, size) {
		data, err := tlog.ReadTileData(t, r)
		if err != nil {
			return err
		}
		err = e.write(tilePath(t), data)
		if err != nil {
			return err
		}
	}
	return nil
}

func (e exporter) bundles(size int64) error {
	for first := int64(0); first < size; first += tileWidth {
		width := min(size-first, tileWidth)
		records, err := Read(e.ctx, e.tx, first, int(width))
		if err != nil {
			return err
		}
		if int64(len(records)) != width {
			return fmt.Errorf("entries %d to %d are not all there; run 'stanch ledger verify'", first, first+width-1)
		}
		var bundle []byte
		for i, rec := range records {
			if rec.Index != first+int64(i) || len(rec.Data) > maxLeaf {
				return fmt.Errorf("entry %d is bad; run 'stanch ledger verify'", first+int64(i))
			}
			bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(rec.Data)))
			bundle = append(bundle, rec.Data...)
		}
		err = e.write(bundlePath(first/tileWidth, int(width)), bundle)
		if err != nil {
			return err
		}
	}
	return nil
}

func (e exporter) checkpoints() error {
	all, err := readCheckpoints(e.ctx, e.tx)
	if err != nil {
		return err
	}
	for _, c := range all {
		err = e.write("checkpoints/"+strconv.FormatInt(c.size, 10), []byte(c.note))
		if err != nil {
			return err
		}
	}
	return nil
}

// tilePath is tlog's path without the height, as in tlog-tiles.
func tilePath(t tlog.Tile) string {
	return strings.Replace(t.Path(), fmt.Sprintf("tile/%d/", tileHeight), "tile/", 1)
}

// bundlePath is where the entries of the n-th level-0 tile are.
func bundlePath(n int64, width int) string {
	p := tilePath(tlog.Tile{H: tileHeight, L: -1, N: n, W: width})
	return strings.Replace(p, "tile/data/", "tile/entries/", 1)
}
