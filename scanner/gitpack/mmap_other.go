//go:build !unix

package gitpack

import (
	"io"
	"os"
)

// mapFile reads a file into memory where files cannot be mapped.
func mapFile(f *os.File, size int) (mapping, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return mapping{data: b}, err
}

func (m mapping) close() {}

func (m mapping) trim() {}

const openFlags = 0

// canGrow says whether a file that still grows can be looked at for little.
const canGrow = false
