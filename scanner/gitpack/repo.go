package gitpack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Repo is an open repository. Its methods may be used concurrently, but not
// after Close.
type Repo struct {
	dir     string // of HEAD
	common  string // of refs and objects: another one in a linked work tree
	hash    int
	packs   []*pack
	loose   []looseStore
	len     int
	laid    sync.Once
	bad     []error
	listed  *Spill       // refs of a repository that came from elsewhere
	arrived []Number     // by position in the pack that came
	mapped  atomic.Int64 // bytes of packs that may be in memory
}

// Limits of what a repository can make us follow.
const (
	mostAlternates = 64
	mostPacks      = 10_000
	smallFile      = 1 << 20 // of configuration and lists of alternates
)

// ErrRefFormat says that the refs are kept in a form that is not read here.
var ErrRefFormat = errors.New("the refs are kept in a reftable, which is not supported")

// Open opens the repository whose Git directory is gitDir. See [OpenContext].
func Open(gitDir string) (*Repo, error) { return OpenContext(context.Background(), gitDir) }

// OpenContext opens the repository whose Git directory is gitDir. A pack that
// has no index (or none that can be read) is indexed in memory, which takes a
// look at all of its bytes; nothing else is read yet. Packs that cannot be read
// are left out: see [Repo.Problems].
func OpenContext(ctx context.Context, gitDir string) (*Repo, error) {
	r := &Repo{dir: gitDir, common: gitDir, hash: 20}
	text, err := readSmall(filepath.Join(gitDir, "commondir"), 4096)
	if err == nil {
		r.common = strings.TrimSpace(string(text))
		if !filepath.IsAbs(r.common) {
			r.common = filepath.Join(gitDir, r.common)
		}
	}
	objects := filepath.Join(r.common, "objects")
	info, err := os.Stat(objects)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open repository: %s is no directory", objects)
	}
	config, err := readSmall(filepath.Join(r.common, "config"), smallFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	format, refs := formats(string(config))
	switch format {
	case "", "sha1":
	case "sha256":
		r.hash = 32
	default:
		return nil, fmt.Errorf("open repository: unknown format of objects %.20q", format)
	}
	if refs != "" && refs != "files" {
		return nil, fmt.Errorf("open repository: %w", ErrRefFormat)
	}
	var unindexed []*pack
	for _, dir := range objectDirs(objects) {
		unindexed = append(unindexed, r.openPacks(filepath.Join(dir, "pack"))...)
		r.loose = append(r.loose, listLoose(dir, r.hash))
	}
	for _, p := range unindexed {
		err := r.indexPack(ctx, p)
		if err != nil {
			p.close()
			if ctx.Err() != nil {
				r.Close()
				return nil, ctx.Err()
			}
			r.bad = append(r.bad, err)
			continue
		}
		r.packs = append(r.packs, p)
	}
	total := 0
	for _, p := range r.packs {
		p.first = Number(total)
		total += p.x.n
	}
	for i := range r.loose {
		r.loose[i].first = Number(total)
		total += r.loose[i].count()
	}
	if total > 1<<31-1 {
		r.Close()
		return nil, errors.New("open repository: more than 2,147,483,647 objects")
	}
	r.len = total
	return r, nil
}

// Close gives the files back. Bytes that the Repo handed out stay valid.
func (r *Repo) Close() {
	for _, p := range r.packs {
		p.close()
	}
	r.packs, r.loose, r.len = nil, nil, 0
}

// Problems tells which packs could not be read.
func (r *Repo) Problems() []error { return slices.Clone(r.bad) }

// Len is the number of object numbers.
func (r *Repo) Len() int { return r.len }

// IDSize is the number of bytes in an id: 20 or 32.
func (r *Repo) IDSize() int { return r.hash }

// Arrived gives the number of the object at a position in the pack of an
// [Arrival], or None.
func (r *Repo) Arrived(position Number) Number {
	if position < 0 || int(position) >= len(r.arrived) {
		return None
	}
	return r.arrived[position]
}

// Bytes is the size of all packs.
func (r *Repo) Bytes() int64 {
	n := int64(0)
	for _, p := range r.packs {
		n += int64(len(p.data))
	}
	return n
}

// formats reads how a repository's configuration says that objects and refs are
// kept. Includes are not followed: Git does not for these either.
func formats(config string) (objects, refs string) {
	section := ""
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		head, ok := strings.CutPrefix(line, "[")
		if ok {
			section, line, _ = strings.Cut(head, "]")
			section, line = strings.ToLower(strings.TrimSpace(section)), strings.TrimSpace(line)
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section != "extensions" {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		value, _, _ = strings.Cut(value, "#")
		value = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "objectformat":
			objects = value
		case "refstorage":
			refs = value
		}
	}
	return objects, refs
}

// objectDirs gives a directory of objects and the alternates of it and of those.
func objectDirs(first string) []string {
	dirs := []string{first}
	for i := 0; i < len(dirs); i++ {
		text, err := readSmall(filepath.Join(dirs[i], "info", "alternates"), smallFile)
		if err != nil {
			continue
		}
		for s := bufio.NewScanner(strings.NewReader(string(text))); s.Scan(); {
			path := s.Text()
			if path == "" || strings.HasPrefix(path, "#") {
				continue
			}
			if !filepath.IsAbs(path) {
				path = filepath.Join(dirs[i], path)
			}
			path = filepath.Clean(path)
			if len(dirs) < mostAlternates && !slices.Contains(dirs, path) {
				dirs = append(dirs, path)
			}
		}
	}
	return dirs
}

// openPacks opens the packs of a directory and returns those without an index.
func (r *Repo) openPacks(dir string) (unindexed []*pack) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			r.bad = append(r.bad, fmt.Errorf("list packs: %w", err))
		}
		return nil
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pack")
		if !ok || !strings.HasPrefix(name, "pack-") {
			continue
		}
		if len(r.packs)+len(unindexed) >= mostPacks {
			r.bad = append(r.bad, fmt.Errorf("more than %d packs", mostPacks))
			return unindexed
		}
		p, err := openPack(filepath.Join(dir, e.Name()), r.hash)
		if err != nil {
			r.bad = append(r.bad, err)
			continue
		}
		p.x, err = openIndex(filepath.Join(dir, name+".idx"), r.hash)
		if err != nil {
			unindexed = append(unindexed, p)
			continue
		}
		r.packs = append(r.packs, p)
	}
	return unindexed
}

// layout looks at the heads of all entries, once.
func (r *Repo) layout() {
	r.laid.Do(func() {
		for _, p := range r.packs {
			p.layout()
		}
		for i := range r.loose {
			r.loose[i].layout()
		}
		r.elsewhere()
	})
}

// elsewhere finds the types of deltas whose base is not in their own pack. Such
// packs are not supposed to be on disk, but a received one can be like that.
func (r *Repo) elsewhere() {
	for _, p := range r.packs {
		found := false
		for pos, b := range p.base {
			if b != baseElsewhere {
				continue
			}
			e, ok := p.entry(p.offset(pos))
			if !ok {
				continue
			}
			n := r.Find(RawID(e.ref))
			if n != None {
				p.kind[pos] = r.kind(n)
				found = true
			}
		}
		if found {
			p.kinds()
		}
	}
}

// Find gives the number of an object, or None.
func (r *Repo) Find(id ID) Number { return r.FindRaw(id.sum[:id.size]) }

// FindRaw is Find for the bytes of an id.
func (r *Repo) FindRaw(id []byte) Number {
	if len(id) != r.hash {
		return None
	}
	for _, p := range r.packs {
		i := p.x.find(id)
		if i >= 0 {
			return p.first + Number(i)
		}
	}
	for i := range r.loose {
		s := &r.loose[i]
		j := s.find(id)
		if j >= 0 {
			return s.first + Number(j)
		}
	}
	return None
}

// ID gives the id of an object.
func (r *Repo) ID(n Number) ID {
	p, s, i := r.locate(n)
	switch {
	case p != nil:
		return RawID(p.x.id(i))
	case s != nil:
		return RawID(s.id(i))
	}
	return ID{}
}

// Type gives the type of an object, 0 when that cannot be known.
func (r *Repo) Type(n Number) Type {
	r.layout()
	return r.kind(n)
}

func (r *Repo) kind(n Number) Type {
	p, s, i := r.locate(n)
	switch {
	case p != nil:
		return p.kind[i]
	case s != nil:
		return s.kind[i]
	}
	return 0
}

// locate tells in which pack or directory an object is, and where there.
func (r *Repo) locate(n Number) (*pack, *looseStore, int) {
	if n < 0 || int(n) >= r.len {
		return nil, nil, 0
	}
	i := sort.Search(len(r.packs), func(i int) bool { return r.packs[i].first > n }) - 1
	if i >= 0 && int(n-r.packs[i].first) < r.packs[i].x.n {
		return r.packs[i], nil, int(n - r.packs[i].first)
	}
	for i := range r.loose {
		s := &r.loose[i]
		if n >= s.first && int(n-s.first) < s.count() {
			return nil, s, int(n - s.first)
		}
	}
	return nil, nil, 0
}
