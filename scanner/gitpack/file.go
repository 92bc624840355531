package gitpack

import (
	"fmt"
	"io"
	"io/fs"
	"os"
)

// mapping is a file's content.
type mapping struct {
	data   []byte
	mapped bool
}

// openFile maps a regular file of any size but none.
func openFile(path string) (mapping, error) {
	f, size, err := openRegular(path)
	if err != nil {
		return mapping{}, err
	}
	defer func() { _ = f.Close() }()
	if size == 0 || size != int64(int(size)) {
		return mapping{}, fmt.Errorf("read %s: %w", path, ErrCorrupt)
	}
	m, err := mapFile(f, int(size))
	if err != nil {
		return mapping{}, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

func openRegular(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// readSmall reads a file that has no reason to be large.
func readSmall(path string, limit int64) ([]byte, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, limit))
}
