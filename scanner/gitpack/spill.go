package gitpack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
)

// Spill keeps bytes that come from elsewhere: in memory while they are few, then
// in a temporary file that has no name, so that it is gone when it is closed or
// the process dies (where the system does not let an open file be deleted, when it
// is closed). One goroutine writes; all methods may be used beside it.
type Spill struct {
	dir, prefix string
	memory      int

	mu   sync.Mutex
	mem  []byte
	file *os.File
	name string // of a file that could not be deleted yet
	size int64
}

// NewSpill makes a Spill that holds up to memory bytes in memory. A file gets a
// name that begins with prefix, in dir ("" means os.TempDir).
func NewSpill(dir, prefix string, memory int) *Spill {
	return &Spill{dir: dir, prefix: prefix, memory: memory}
}

// Write appends p.
func (s *Spill) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && len(s.mem)+len(p) <= s.memory {
		s.mem = append(s.mem, p...) // what was handed out before stays what it is
		s.size += int64(len(p))
		return len(p), nil
	}
	if s.file == nil {
		err := s.open()
		if err != nil {
			return 0, err
		}
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	return n, err
}

func (s *Spill) open() error {
	f, err := os.CreateTemp(s.dir, s.prefix)
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	if os.Remove(f.Name()) != nil {
		s.name = f.Name()
	}
	s.file = f
	_, err = f.Write(s.mem)
	s.mem = nil
	if err != nil {
		return fmt.Errorf("write temporary file: %w", err)
	}
	return nil
}

// Size is the number of bytes that were written.
func (s *Spill) Size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// view gives the first n bytes.
func (s *Spill) view(n int64) (mapping, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return mapping{data: s.mem[:n:n]}, nil
	}
	return mapFile(s.file, int(n))
}

// reader reads all from the start.
func (s *Spill) reader() io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return bytes.NewReader(s.mem)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

// Close gives everything back but what a [Repo] still has mapped.
func (s *Spill) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mem = nil
	if s.file != nil {
		_ = s.file.Close()
	}
	if s.name != "" {
		_ = os.Remove(s.name)
	}
}
