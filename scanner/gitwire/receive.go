package gitwire

import (
	"context"
	"fmt"
	"os"

	"stanch/scanner/gitpack"
)

const (
	memoryPack = 8 << 20 // packs up to this size are held in memory
	// maxObjects is how many objects a pack of a push may hold: their index takes
	// about 50 bytes of memory for each.
	maxObjects = 4 << 20
)

// receiver takes one pack: into memory first, then into a file.
type receiver struct {
	scratch *scratch
	limit   int64 // bytes that may come
	objects uint32

	size int64
	mem  []byte
	file *os.File
	name string
}

func (v *receiver) begin(objects uint32) error {
	v.objects = objects
	if objects > maxObjects {
		return fmt.Errorf("%w: pack of %d objects", ErrTooLarge, objects)
	}
	return nil
}

func (v *receiver) Write(p []byte) (int, error) {
	v.size += int64(len(p))
	if v.size > v.limit {
		return 0, ErrTooLarge
	}
	if v.file == nil && len(v.mem)+len(p) <= memoryPack {
		v.mem = append(v.mem, p...)
		return len(p), nil
	}
	if v.file == nil {
		err := v.spill()
		if err != nil {
			return 0, err
		}
	}
	return v.file.Write(p)
}

func (v *receiver) spill() error {
	dir, err := v.scratch.dir()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "pack-")
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	v.file, v.name = f, f.Name()
	_, err = f.Write(v.mem)
	v.mem = nil
	return err
}

// open makes a pack that came whole readable.
func (v *receiver) open(ctx context.Context, hash int) (*gitpack.Repo, error) {
	if v.file == nil {
		return gitpack.OpenPackBytes(ctx, v.mem, hash)
	}
	err := v.file.Close()
	if err != nil {
		return nil, fmt.Errorf("write temporary file: %w", err)
	}
	return gitpack.OpenPack(ctx, v.name, hash)
}

func (v *receiver) close() {
	v.mem = nil
	if v.file != nil {
		_ = v.file.Close()
		_ = os.Remove(v.name)
	}
}

// scratch is a temporary directory that is made when it is first needed.
type scratch struct {
	parent string // "" means os.TempDir
	root   string
	lock   *os.File
}

func (s *scratch) dir() (string, error) {
	if s.root != "" {
		return s.root, nil
	}
	root, err := os.MkdirTemp(s.parent, storePrefix)
	if err != nil {
		return "", fmt.Errorf("make temporary directory: %w", err)
	}
	lock, err := lockDir(root)
	if err != nil {
		_ = os.RemoveAll(root)
		return "", fmt.Errorf("lock temporary directory: %w", err)
	}
	s.root, s.lock = root, lock
	return root, nil
}

func (s *scratch) close() {
	if s.root == "" {
		return
	}
	_ = os.RemoveAll(s.root)
	_ = s.lock.Close()
	s.root = ""
}
