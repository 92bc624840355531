//go:build unix

package gitpack

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file for reading. Its pages are not memory of ours: the system
// takes them back when it needs to, and [mapping.trim] gives them back.
func mapFile(f *os.File, size int) (mapping, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return mapping{data: b, mapped: err == nil}, err
}

func (m mapping) close() {
	if m.mapped {
		_ = unix.Munmap(m.data)
	}
}

// trim takes the pages that were read out of our resident memory. They stay in
// the system's cache.
func (m mapping) trim() {
	if m.mapped {
		_ = unix.Madvise(m.data, unix.MADV_DONTNEED)
	}
}

const openFlags = unix.O_NONBLOCK // a pipe in a file's place must not make us wait

// canGrow says whether a file that still grows can be looked at for little.
const canGrow = true
