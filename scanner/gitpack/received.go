package gitpack

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"io"
)

// OpenPackBytes opens a pack in memory, as a server sent it, which must not be
// changed while the Repo is open: it is indexed. hash is the number of bytes in its
// ids. What of the pack cannot be read is told by [Repo.Problems].
func OpenPackBytes(ctx context.Context, data []byte, hash int) (*Repo, error) {
	if !isPack(data, hash) {
		return nil, fmt.Errorf("no pack of version 2 or 3: %w", ErrCorrupt)
	}
	return alone(ctx, &pack{m: mapping{data: data}, data: data, end: len(data) - hash, hash: hash})
}

func alone(ctx context.Context, p *pack) (*Repo, error) {
	r := &Repo{hash: p.hash}
	err := r.indexPack(ctx, p)
	if err != nil {
		p.close()
		return nil, err
	}
	r.packs, r.len = []*pack{p}, p.x.n
	return r, nil
}

// Head reads the first limit bytes of an object and its size. Of an object that
// is a delta all must fit into the reader's limit, else the error is ErrTooLarge.
func (d *Reader) Head(n Number, limit int64) (t Type, size int64, data []byte, err error) {
	defer faults(&err)()
	p, _, pos := d.r.locate(n)
	if p != nil && p.base[pos] == baseNone {
		e, ok := p.entry(p.offset(pos))
		if ok && e.size > uint64(max(limit, 0)) {
			data, err = p.head(e, limit)
			return e.kind, int64(e.size), data, err
		}
	}
	t, data, err = d.read(n, 0)
	return t, int64(len(data)), data[:min(int64(len(data)), max(limit, 0))], err
}

func (p *pack) head(e entry, limit int64) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(p.data[e.at:p.end]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	data, err := io.ReadAll(io.LimitReader(z, limit))
	if err == nil && int64(len(data)) < limit {
		err = errSize
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return data, nil
}

func isPack(data []byte, hash int) bool {
	return len(data) >= packHeader+hash && bytes.HasPrefix(data, []byte("PACK")) && (data[7] == 2 || data[7] == 3) && data[4]|data[5]|data[6] == 0
}
