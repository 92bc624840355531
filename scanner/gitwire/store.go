package gitwire

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const storePrefix = "stanch-wire-"

// Sweep deletes the stores that a crash left in tempDir ("" means os.TempDir)
// and returns how many. Stores of running processes are left alone.
func Sweep(tempDir string) (int, error) {
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	entries, err := os.ReadDir(tempDir)
	if err != nil {
		return 0, fmt.Errorf("sweep temporary stores: %w", err)
	}
	removed := 0
	var failed error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), storePrefix) {
			continue
		}
		path := filepath.Join(tempDir, e.Name())
		lock, err := lockDir(path)
		if err != nil {
			continue // in use
		}
		err = os.RemoveAll(path)
		_ = lock.Close()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("sweep temporary stores: %w", err))
			continue
		}
		removed++
	}
	return removed, failed
}
