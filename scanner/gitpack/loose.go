package gitpack

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// looseStore holds the ids of the loose objects in one directory of objects.
type looseStore struct {
	dir   string
	hash  int
	ids   []byte // sorted
	first Number
	kind  []Type // made by layout
}

func listLoose(dir string, hash int) looseStore {
	s := looseStore{dir: dir, hash: hash}
	for b := range 256 { // ascending, so that all ids are
		prefix := hex.EncodeToString([]byte{byte(b)})
		entries, err := os.ReadDir(filepath.Join(dir, prefix))
		if err != nil {
			continue // most are not there
		}
		for _, e := range entries { // sorted by name
			id, ok := ParseID(prefix + e.Name())
			if ok && int(id.size) == hash {
				s.ids = append(s.ids, id.Bytes()...)
			}
		}
	}
	s.ids = slices.Clip(s.ids)
	return s
}

func (s *looseStore) count() int { return len(s.ids) / s.hash }

func (s *looseStore) id(i int) []byte { return s.ids[i*s.hash : (i+1)*s.hash] }

func (s *looseStore) find(id []byte) int {
	lo, hi := 0, s.count()
	for lo < hi {
		mid := (lo + hi) / 2
		switch c := bytes.Compare(s.id(mid), id); {
		case c == 0:
			return mid
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return -1
}

// layout reads the type of each object.
func (s *looseStore) layout() {
	s.kind = make([]Type, s.count())
	for i := range s.kind {
		s.kind[i], _, _, _ = s.read(i, -1)
	}
}

// read gives an object of at most limit bytes; with a negative limit its type
// and size alone. The data has room for dstSlack bytes more.
func (s *looseStore) read(i int, limit int64) (Type, int64, []byte, error) {
	name := hex.EncodeToString(s.id(i))
	f, _, err := openRegular(filepath.Join(s.dir, name[:2], name[2:]))
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil, ErrMissing // since it was listed: packed or pruned
	}
	if err != nil {
		return 0, 0, nil, err
	}
	defer func() { _ = f.Close() }()
	z, err := zlib.NewReader(f)
	if err != nil {
		return 0, 0, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	defer func() { _ = z.Close() }()
	var head [32]byte // "commit 12345\x00", then the first bytes
	n, err := io.ReadFull(z, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, 0, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	text, start, ok := bytes.Cut(head[:n], []byte{0})
	name, digits, space := strings.Cut(string(text), " ")
	size, err := strconv.ParseInt(digits, 10, 64)
	kind := typeOf(name)
	if !ok || !space || err != nil || size < 0 || kind == 0 {
		return 0, 0, nil, ErrCorrupt
	}
	switch {
	case limit < 0:
		return kind, size, nil, nil
	case size > limit:
		return kind, size, nil, ErrTooLarge
	case int64(len(start)) > size:
		return kind, size, nil, ErrCorrupt
	}
	data := bytes.NewBuffer(make([]byte, 0, min(size, 1<<20)+dstSlack))
	data.Write(start)
	_, err = io.Copy(data, io.LimitReader(z, size-int64(len(start))+1))
	if err != nil {
		return kind, size, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if int64(data.Len()) != size {
		return kind, size, nil, ErrCorrupt
	}
	return kind, size, data.Bytes(), nil
}
