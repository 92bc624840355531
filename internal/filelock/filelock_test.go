//go:build unix

package filelock

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Take(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(path)
	if !errors.Is(err, ErrHeld) {
		t.Errorf("a lock that is held: %v", err)
	}
	err = first.Close()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Take(path)
	if err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	_ = second.Close()
	_, err = Take(filepath.Join(path, "nowhere"))
	if err == nil || errors.Is(err, ErrHeld) {
		t.Errorf("a directory that is none: %v", err)
	}
}
