package history

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"stanch/scanner/gitpack"
)

// mostStateObjects is how many objects a state remembers. What comes after is
// not remembered, and so is scanned again.
const mostStateObjects = 20_000_000

// state is the set of objects that scans have dealt with, of any number of
// repositories. It may be used concurrently. It takes 20 bytes for each object (32
// in SHA-256 repositories), in memory and in its file.
type state struct {
	mu   sync.Mutex
	key  [sha256.Size]byte
	sets [2]idSet // of 20 and of 32 bytes
}

var stateMagic = []byte("stanch scan state 1\n")

// newState makes an empty state. The key says what is looked for (the version,
// the rules): a state that was written under another key is of no use, since
// new rules find something in old objects.
func newState(key string) *state {
	return &state{key: sha256.Sum256([]byte(key)), sets: [2]idSet{{size: 20}, {size: 32}}}
}

// loadState reads the state in a file. It is empty when there is no such file,
// or the file was written under another key. A damaged file is an error.
func loadState(path, key string) (*state, error) {
	s := newState(key)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read scan state: %w", err)
	}
	defer func() { _ = f.Close() }()
	err = s.read(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read scan state %s: %w", path, err)
	}
	return s, nil
}

var errState = errors.New("the file is damaged")

func (s *state) read(r io.Reader) error {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	head := make([]byte, len(stateMagic)+sha256.Size)
	_, err := io.ReadFull(in, head)
	if err != nil || !bytes.HasPrefix(head, stateMagic) {
		return errState
	}
	if !bytes.Equal(head[len(stateMagic):], s.key[:]) {
		return nil
	}
	sets := [2]idSet{{size: 20}, {size: 32}}
	for i := range sets {
		var count [8]byte
		_, err = io.ReadFull(in, count[:])
		n := binary.BigEndian.Uint64(count[:])
		if err != nil || n > mostStateObjects {
			return errState
		}
		var b bytes.Buffer // grows with what is there, not with what is claimed
		_, err = io.CopyN(&b, in, int64(n)*int64(sets[i].size))
		if err != nil {
			return errState
		}
		sets[i].sorted = b.Bytes()
		if !sets[i].inOrder() {
			return errState
		}
	}
	want := sum.Sum(nil)
	got := make([]byte, len(want))
	_, err = io.ReadFull(r, got)
	if err != nil || !bytes.Equal(got, want) {
		return errState
	}
	s.sets = sets
	return nil
}

// Save writes the state to a file that its owner alone may read, in one step:
// after a crash the file is the old one or the new one.
func (s *state) Save(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := os.CreateTemp(filepath.Dir(path), ".scan-state-*")
	if err != nil {
		return fmt.Errorf("write scan state: %w", err)
	}
	err = s.write(f)
	if err == nil {
		err = f.Sync()
	}
	closeErr := f.Close()
	if err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write scan state: %w", err)
	}
	return nil
}

func (s *state) write(f io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<20)
	_, _ = out.Write(stateMagic)
	_, _ = out.Write(s.key[:])
	for i := range s.sets {
		s.sets[i].settle()
		_, _ = out.Write(binary.BigEndian.AppendUint64(nil, uint64(s.sets[i].len())))
		_, _ = out.Write(s.sets[i].sorted)
	}
	err := out.Flush()
	if err != nil {
		return err
	}
	_, err = f.Write(sum.Sum(nil))
	return err
}

// Has reports whether an object was dealt with.
func (s *state) Has(id gitpack.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id)
	return set != nil && set.has(id)
}

// Add notes that an object was dealt with.
func (s *state) Add(id gitpack.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set(id)
	if set != nil && s.sets[0].len()+s.sets[1].len() < mostStateObjects {
		set.add(id)
	}
}

// Len is the number of objects that were dealt with.
func (s *state) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.sets {
		s.sets[i].settle()
	}
	return s.sets[0].len() + s.sets[1].len()
}

func (s *state) set(id gitpack.ID) *idSet {
	for i := range s.sets {
		if s.sets[i].size == len(id.Bytes()) {
			return &s.sets[i]
		}
	}
	return nil
}

// idSet is a set of ids of one size: a sorted list, and what came since it was
// sorted last.
type idSet struct {
	size   int
	sorted []byte
	fresh  map[gitpack.ID]struct{}
}

func (s *idSet) len() int { return len(s.sorted)/s.size + len(s.fresh) }

func (s *idSet) has(id gitpack.ID) bool {
	_, ok := s.fresh[id]
	if ok || len(id.Bytes()) != s.size {
		return ok
	}
	n := len(s.sorted) / s.size
	i := sort.Search(n, func(i int) bool { return bytes.Compare(s.sorted[i*s.size:(i+1)*s.size], id.Bytes()) >= 0 })
	return i < n && bytes.Equal(s.sorted[i*s.size:(i+1)*s.size], id.Bytes())
}

func (s *idSet) add(id gitpack.ID) {
	if s.has(id) {
		return
	}
	if s.fresh == nil {
		s.fresh = map[gitpack.ID]struct{}{}
	}
	s.fresh[id] = struct{}{}
	if len(s.fresh) > max(1<<16, len(s.sorted)/s.size/8) {
		s.settle()
	}
}

// settle merges what came since into the sorted list.
func (s *idSet) settle() {
	if len(s.fresh) == 0 {
		return
	}
	ids := make([]gitpack.ID, 0, len(s.fresh))
	for id := range s.fresh {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b gitpack.ID) int { return bytes.Compare(a.Bytes(), b.Bytes()) })
	merged := make([]byte, 0, len(s.sorted)+len(ids)*s.size)
	old := s.sorted
	for _, id := range ids {
		for len(old) > 0 && bytes.Compare(old[:s.size], id.Bytes()) < 0 {
			merged = append(merged, old[:s.size]...)
			old = old[s.size:]
		}
		merged = append(merged, id.Bytes()...)
	}
	s.sorted, s.fresh = append(merged, old...), nil
}

// sort puts a list that was filled in any order in order.
func (s *idSet) sort() { sort.Sort(byID(*s)) }

func (s *idSet) inOrder() bool {
	for i := s.size; i < len(s.sorted); i += s.size {
		if bytes.Compare(s.sorted[i-s.size:i], s.sorted[i:i+s.size]) >= 0 {
			return false
		}
	}
	return true
}

type byID idSet

func (s byID) Len() int { return len(s.sorted) / s.size }
func (s byID) Less(i, j int) bool {
	return bytes.Compare(s.sorted[i*s.size:(i+1)*s.size], s.sorted[j*s.size:(j+1)*s.size]) < 0
}
func (s byID) Swap(i, j int) {
	var t [32]byte
	a, b := s.sorted[i*s.size:(i+1)*s.size], s.sorted[j*s.size:(j+1)*s.size]
	copy(t[:], a)
	copy(a, b)
	copy(b, t[:s.size])
}
