package gitwire

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const storePrefix = "stanch-wire-"

// Sweep deletes the temporary files of fetches that still have a name in tempDir
// ("" means os.TempDir) and returns how many: a crash in the instant between the
// making of one and the deletion of its name leaves it, and earlier versions left
// directories.
func Sweep(tempDir string) (int, error) {
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	entries, err := os.ReadDir(tempDir)
	if err != nil {
		return 0, fmt.Errorf("sweep temporary files: %w", err)
	}
	removed := 0
	var failed error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), storePrefix) {
			continue
		}
		err := os.RemoveAll(filepath.Join(tempDir, e.Name()))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("sweep temporary files: %w", err))
			continue
		}
		removed++
	}
	return removed, failed
}
