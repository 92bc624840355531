package gitwire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// graph holds commits without trees or blobs, to find out which commits a push
// brought when the payload does not say.
type graph struct {
	store *store
	a, b  string
}

// depths is how far back the graph is fetched, step by step, until both tips
// meet; 0 is everything.
func depths(hint int) []int {
	switch {
	case hint < 256:
		return []int{hint + 64, 4096, 0}
	case hint < 4096:
		return []int{2 * 4096, 0}
	}
	return []int{0}
}

// between fetches the graph of two commits until the history that is theirs
// alone is complete.
func (f *fetcher) between(ctx context.Context, a, b string) (*graph, error) {
	if f.graph != nil && f.graph.a == a && f.graph.b == b {
		return f.graph, nil
	}
	st, err := f.nextStore()
	if err != nil {
		return nil, err
	}
	for _, depth := range depths(len(f.push.Commits)) {
		err = f.fetchCommits(ctx, st, depth, a, b)
		if err != nil {
			return nil, err
		}
		if depth == 0 {
			break
		}
		met, err := f.complete(ctx, st, a, b)
		if err != nil {
			return nil, err
		}
		if met {
			break
		}
	}
	f.graph = &graph{store: st, a: a, b: b}
	return f.graph, nil
}

func (f *fetcher) fetchCommits(ctx context.Context, st *store, depth int, tips ...string) error {
	args := append([]string{"fetch"}, fetchFlags...)
	args = append(args, "--filter=tree:0")
	switch {
	case depth > 0:
		args = append(args, "--depth="+strconv.Itoa(depth))
	case fileExists(filepath.Join(st.dir, "shallow")):
		args = append(args, "--unshallow")
	}
	args = append(args, "--stdin", "origin")
	_, err := f.session.remote(ctx, st, "fetch commits", strings.NewReader(strings.Join(tips, "\n")+"\n"), args...)
	return err
}

// complete reports whether no commit that only one of the tips has is cut off.
func (f *fetcher) complete(ctx context.Context, st *store, a, b string) (bool, error) {
	cut, err := readShallow(st)
	if err != nil || len(cut) == 0 {
		return err == nil, err
	}
	met := true
	err = f.revList(ctx, st, func(id string) error {
		met = met && !cut[id]
		return nil
	}, a+"..."+b)
	return met, err
}

func readShallow(st *store) (map[string]bool, error) {
	data, err := os.ReadFile(filepath.Join(st.dir, "shallow"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read shallow boundary: %w", err)
	}
	cut := map[string]bool{}
	for id := range strings.FieldsSeq(string(data)) {
		cut[id] = true
	}
	return cut, nil
}

// revList walks in the store itself, where the shallow boundary counts. It
// cannot reach the network: the remote is taken from it.
func (f *fetcher) revList(ctx context.Context, st *store, fn func(string) error, revs ...string) error {
	local := &store{dir: st.dir, view: st.view}
	err := copyShallow(st)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(filepath.Join(st.view, "shallow")) }()
	read := func(r *bufio.Reader) error {
		s := bufio.NewScanner(r)
		for s.Scan() {
			if !isID(s.Text()) {
				return errors.New("list commits: unexpected answer of git rev-list")
			}
			err := fn(s.Text())
			if err != nil {
				return err
			}
		}
		return s.Err()
	}
	stdin := strings.NewReader(strings.Join(revs, "\n") + "\n")
	return f.session.stream(ctx, local, "list commits", stdin, read, "rev-list", "--topo-order", "--stdin")
}

func copyShallow(st *store) error {
	data, err := os.ReadFile(filepath.Join(st.dir, "shallow"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(st.view, "shallow"), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("list commits: %w", err)
	}
	return nil
}

// collect lists commits oldest first, the newest Limits.Commits at most.
func (f *fetcher) collect(ctx context.Context, st *store, revs ...string) ([]string, error) {
	var ids []string
	dropped := 0
	err := f.revList(ctx, st, func(id string) error {
		if len(ids) >= f.limits.Commits {
			dropped++
			return nil
		}
		ids = append(ids, id)
		return nil
	}, revs...)
	if err != nil {
		return nil, err
	}
	if dropped > 0 {
		f.partial(fmt.Sprintf("%d oldest commits beyond the limit of %d", dropped, f.limits.Commits))
	}
	for i, j := 0, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
	}
	return ids, nil
}

// brought lists the commits that tip has and the push did not find there.
func (f *fetcher) brought(ctx context.Context, tip string) ([]string, error) {
	p := f.push
	if len(p.Commits) > 0 && len(p.Commits) < payloadCommits && !p.Incomplete {
		return p.Commits, nil
	}
	if !isZero(p.Before) {
		ids, err := f.onlyIn(ctx, tip, p.Before)
		if !errors.Is(err, ErrNotFound) {
			return ids, err
		}
		f.note("the tip before the push is gone from the server: the history of the tip after it was taken")
	}
	return f.unlisted(ctx, tip)
}

// onlyIn lists the commits that tip reaches and other does not.
func (f *fetcher) onlyIn(ctx context.Context, tip, other string) ([]string, error) {
	g, err := f.between(ctx, f.tipAfter, f.tipBefore)
	if err != nil {
		return nil, err
	}
	return f.collect(ctx, g.store, tip, "^"+other)
}

// unlisted lists the history of a created ref without that of the default
// branch, whose own pushes are scanned. Other branches are not left out: two
// branches that were created at once would each leave out the other.
func (f *fetcher) unlisted(ctx context.Context, tip string) ([]string, error) {
	st, err := f.nextStore()
	if err != nil {
		return nil, err
	}
	out, err := f.session.remote(ctx, st, "ask for the default branch", nil, "ls-remote", "--symref", "origin", "HEAD")
	if err != nil {
		return nil, err
	}
	name, head := defaultBranch(string(out))
	if name == f.push.Ref || len(head) != len(tip) {
		err = f.fetchCommits(ctx, st, 0, tip)
		if err != nil {
			return nil, err
		}
		return f.collect(ctx, st, tip)
	}
	g, err := f.between(ctx, tip, head)
	if err != nil {
		return nil, err
	}
	return f.collect(ctx, g.store, tip, "^"+head)
}

// defaultBranch reads "ref: refs/heads/NAME\tHEAD\nID\tHEAD\n".
func defaultBranch(out string) (name, id string) {
	for line := range strings.Lines(out) {
		value, ok := strings.CutSuffix(line, "\tHEAD\n")
		if !ok {
			continue
		}
		if ref, symbolic := strings.CutPrefix(value, "ref: "); symbolic {
			name = ref
		} else if isID(value) {
			id = value
		}
	}
	return name, id
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
