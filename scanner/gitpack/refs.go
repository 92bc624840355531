package gitpack

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mostLooseRefs bounds what is remembered of refs in files of their own.
const mostLooseRefs = 1 << 20

// Refs calls yield for HEAD and each ref under refs/, with the object that it
// names. The memory it takes does not depend on the number of packed refs.
// Symbolic refs other than HEAD are what they point to and are not reported.
func (r *Repo) Refs(yield func(name string, id ID) error) error {
	if r.common == "" {
		if r.listed == nil {
			return nil
		}
		return listedRefs(r.listed.reader(), nil, yield)
	}
	_, err := os.Stat(filepath.Join(r.common, "reftable"))
	if err == nil {
		return fmt.Errorf("read refs: %w", ErrRefFormat)
	}
	head, err := readSmall(filepath.Join(r.dir, "HEAD"), 4096)
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	id, ok := ParseID(strings.TrimSpace(string(head)))
	if ok {
		err := yield("HEAD", id)
		if err != nil {
			return err
		}
	}
	loose := map[string]bool{}
	dirs := []string{r.common}
	if r.dir != r.common {
		dirs = append(dirs, r.dir)
	}
	for _, dir := range dirs {
		err = r.looseRefs(dir, loose, yield)
		if err != nil {
			return err
		}
	}
	return r.packedRefs(loose, yield)
}

func (r *Repo) looseRefs(dir string, seen map[string]bool, yield func(string, ID) error) error {
	err := filepath.WalkDir(filepath.Join(dir, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".lock") {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		text, err := readSmall(path, 4096)
		if err != nil {
			return err
		}
		if len(seen) >= mostLooseRefs {
			return errors.New("too many refs that are not packed")
		}
		seen[name] = true
		id, ok := ParseID(strings.TrimSpace(string(text)))
		if !ok {
			return nil // symbolic, or nothing that Git could use
		}
		return yield(name, id)
	})
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	return nil
}

func (r *Repo) packedRefs(loose map[string]bool, yield func(string, ID) error) error {
	f, _, err := openRegular(filepath.Join(r.common, "packed-refs"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	defer func() { _ = f.Close() }()
	return listedRefs(f, loose, yield)
}

// listedRefs reads lines of Git's packed-refs.
func listedRefs(f io.Reader, loose map[string]bool, yield func(string, ID) error) error {
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		hex, name, ok := strings.Cut(lines.Text(), " ")
		if !ok || strings.HasPrefix(hex, "#") || strings.HasPrefix(hex, "^") {
			continue
		}
		id, ok := ParseID(hex)
		if !ok || loose[name] {
			continue
		}
		err := yield(name, id)
		if err != nil {
			return err
		}
	}
	err := lines.Err()
	if err != nil {
		return fmt.Errorf("read refs: %w", err)
	}
	return nil
}

// Shallow gives the commits at which a shallow clone ends: their parents are
// not meant to be there. They are sorted.
func (r *Repo) Shallow() []ID {
	if r.common == "" {
		return nil
	}
	text, err := readSmall(filepath.Join(r.common, "shallow"), 64<<20)
	if err != nil {
		return nil
	}
	var out []ID
	for line := range strings.Lines(string(text)) {
		id, ok := ParseID(strings.TrimSpace(line))
		if ok {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b ID) int { return slices.Compare(a.Bytes(), b.Bytes()) })
	return out
}
