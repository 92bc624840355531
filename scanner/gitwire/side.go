package gitwire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// side is what is being handed out: the commits of one tip.
type side struct {
	tip     string
	removed bool
	objects *objects // commits and trees of the batch
	changes []change // not handed out yet
	paths   int      // changes so far
	full    bool     // maxPaths was reached
	absent  int      // objects that the server did not send
	skipped map[string]bool
	tries   int // fetches that hit the size limit
}

// commit is a commit with its id.
type commit struct {
	ID string
	gitpack.Statement
}

// side hands out the commits ids of one side of the push.
func (f *fetcher) side(ctx context.Context, tip string, ids []string, removed bool) error {
	sd := &side{tip: tip, removed: removed}
	defer f.sum(sd)
	for start := 0; start < len(ids); start += commitBatch {
		batch := ids[start:min(start+commitBatch, len(ids))]
		err := f.batch(ctx, sd, batch, len(ids)-start)
		if errors.Is(err, ErrTooLarge) && context.Cause(ctx) == nil && len(ids)-start > shortList {
			f.partial(fmt.Sprintf("size limit reached: only the newest %d of %d commits were looked at", shortList, len(ids)-start))
			err = f.batch(ctx, sd, ids[len(ids)-shortList:], shortList)
			start = len(ids)
		}
		if errors.Is(err, ErrTooLarge) && context.Cause(ctx) == nil {
			f.partial(fmt.Sprintf("size limit reached: %d commits were not looked at", min(len(ids)-start, shortList)))
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sum says what of a side is missing.
func (f *fetcher) sum(sd *side) {
	if sd.absent > 0 {
		f.partial(fmt.Sprintf("%d objects were not on the server", sd.absent))
	}
	if len(sd.skipped) > 0 {
		f.partial(fmt.Sprintf("size limit reached: %d blobs were not fetched", len(sd.skipped)))
	}
}

// batch hands out some commits: their messages and people, then their blobs. The
// tip is within depth commits of them.
func (f *fetcher) batch(ctx context.Context, sd *side, ids []string, depth int) error {
	// Each commit and its parents, with their trees, whatever lies between them.
	q := request{wants: ids, depth: 2, filter: "blob:none"}
	o, _, err := f.get(ctx, "fetch push", q)
	if errors.Is(err, ErrNotFound) && (len(ids) > 1 || ids[0] != sd.tip) {
		// One of the listed commits is not there: take those that the tip has.
		q.wants, q.depth = []string{sd.tip}, depth+1
		o, _, err = f.get(ctx, "fetch push", q)
	}
	if err != nil {
		return err
	}
	if o == nil {
		return fmt.Errorf("fetch push: %w", ErrNotFound)
	}
	defer o.close()
	sd.objects = o
	commits := make([]commit, 0, len(ids))
	for _, id := range ids {
		c, ok, err := f.commit(o, id)
		if err != nil {
			return err
		}
		if !ok {
			sd.absent++
			continue
		}
		err = f.emitCommit(c, sd.removed)
		if err != nil {
			return err
		}
		c.Message, c.Extra = nil, nil
		commits = append(commits, c)
	}
	for _, c := range commits {
		err := f.changed(ctx, sd, c)
		if err != nil {
			return err
		}
		if len(sd.changes) >= changeBatch {
			err = f.flush(ctx, sd)
			if err != nil {
				return err
			}
		}
	}
	return f.flush(ctx, sd)
}

func (f *fetcher) commit(o *objects, id string) (commit, bool, error) {
	n := o.find(id, gitpack.Commit)
	if n == gitpack.None {
		return commit{}, false, nil
	}
	data, err := f.read(o, n)
	if err != nil {
		return commit{}, false, err
	}
	return commit{id, gitpack.ParseStatement(data)}, true, nil
}

// changed finds what a commit changed against its parents. Where parents are
// absent, it is compared with those that are not.
func (f *fetcher) changed(ctx context.Context, sd *side, c commit) error {
	if c.Tree == "" {
		return nil
	}
	var olds []string
	for _, id := range c.Parents {
		p, ok, err := f.commit(sd.objects, id)
		if err != nil {
			return err
		}
		if ok && p.Tree != "" {
			olds = append(olds, p.Tree)
		}
	}
	switch {
	case len(olds) == len(c.Parents):
	case len(olds) > 0:
		f.note("a parent commit was not on the server: all that differs from the others counts as new")
	default:
		f.note("a parent commit was not on the server: its whole tree counts as new")
	}
	return f.compare(ctx, sd, c, c.Tree, olds)
}

// flush fetches the blobs of the changes and hands them out.
func (f *fetcher) flush(ctx context.Context, sd *side) error {
	moved := map[string]bool{} // commit and blob whose path was deleted
	for _, c := range sd.changes {
		if c.New == "" {
			for _, old := range c.Olds {
				moved[c.Commit.ID+old] = true
			}
		}
	}
	var wanted []change
	var ids []string
	asked := map[string]bool{}
	for _, c := range sd.changes {
		if c.New == "" || f.known(c) {
			continue
		}
		if moved[c.Commit.ID+c.New] {
			c.Olds = []string{c.New}
		}
		wanted = append(wanted, c)
		for _, id := range append([]string{c.New}, c.Olds...) {
			if !asked[id] {
				asked[id] = true
				ids = append(ids, id)
			}
		}
	}
	sd.changes = sd.changes[:0]
	return f.blobs(ctx, sd, wanted, ids)
}

// known reports whether a blob was handed out at this path before, and
// remembers it.
func (f *fetcher) known(c change) bool {
	var h maphash.Hash
	h.SetSeed(f.seed)
	_, _ = h.WriteString(c.New)
	_, _ = h.WriteString(c.Path)
	key := h.Sum64()
	_, ok := f.seen[key]
	f.seen[key] = struct{}{}
	return ok
}

// blobs fetches the blobs ids in one go and hands out the changes. When that is
// too large it tries the halves, so that one huge blob does not hide the others.
func (f *fetcher) blobs(ctx context.Context, sd *side, changes []change, ids []string) error {
	packs, err := f.blobPacks(ctx, sd, nil, ids)
	defer func() {
		for _, p := range packs {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	for _, c := range changes {
		err := f.handOut(ctx, sd, packs, c)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fetcher) blobPacks(ctx context.Context, sd *side, packs []*objects, ids []string) ([]*objects, error) {
	if len(ids) == 0 {
		return packs, nil
	}
	if sd.tries >= 12 {
		sd.skip(ids)
		return packs, nil
	}
	o, _, err := f.get(ctx, "fetch blobs", request{wants: ids, filter: "blob:none"})
	if err == nil && o != nil {
		packs = append(packs, o)
	}
	if err == nil || !errors.Is(err, ErrTooLarge) || context.Cause(ctx) != nil {
		return packs, err
	}
	sd.tries++
	if len(ids) == 1 {
		sd.skip(ids)
		return packs, nil
	}
	packs, err = f.blobPacks(ctx, sd, packs, ids[:len(ids)/2])
	if err != nil {
		return packs, err
	}
	return f.blobPacks(ctx, sd, packs, ids[len(ids)/2:])
}

func (sd *side) skip(ids []string) {
	if sd.skipped == nil {
		sd.skipped = map[string]bool{}
	}
	for _, id := range ids {
		sd.skipped[id] = true
	}
}

// handOut reads the blobs of one change.
func (f *fetcher) handOut(ctx context.Context, sd *side, packs []*objects, c change) error {
	data, ok, err := f.blob(ctx, packs, c.New)
	if err != nil {
		return err
	}
	if !ok {
		if !sd.skipped[c.New] {
			sd.absent++
		}
		return nil
	}
	var old []byte
	for _, id := range c.Olds {
		got, ok, err := f.blob(ctx, packs, id)
		if err != nil {
			return err
		}
		if ok {
			old = append(append(old, got...), '\n')
		} else if !sd.skipped[id] {
			f.note("an earlier version of a blob was not on the server: all of the blob counts as new")
		}
	}
	return f.emitBlob(sd, c, data, bytes.TrimSuffix(old, []byte("\n")))
}

// blob reads a blob up to the limit. One that is a delta of something too large
// is fetched once more alone, when the server cannot send it as a delta.
func (f *fetcher) blob(ctx context.Context, packs []*objects, id string) ([]byte, bool, error) {
	for _, o := range packs {
		n := o.find(id, gitpack.Blob)
		if n == gitpack.None {
			continue
		}
		data, err := f.read(o, n)
		if err == nil {
			return data, true, nil
		}
		break
	}
	if len(packs) == 0 || f.alone >= maxAlone {
		return nil, false, nil
	}
	f.alone++
	o, _, err := f.get(ctx, "fetch blob", request{wants: []string{id}, filter: "blob:none"})
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotFound) || err == nil && o == nil {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer o.close()
	n := o.find(id, gitpack.Blob)
	if n == gitpack.None {
		return nil, false, nil
	}
	data, err := f.read(o, n)
	return data, err == nil, err
}

func (f *fetcher) emitBlob(sd *side, c change, data, old []byte) error {
	place := placeOf(c.Commit, sd.removed)
	place.Path = c.Path
	if c.Added && c.Path != "" {
		place.Object = PlacePath
		err := f.emit(Object{Kind: KindPath, Data: []byte(c.Path), Place: place})
		if err != nil {
			return err
		}
	}
	place.Object = PlaceBlob
	return f.emit(Object{Kind: KindBlob, ID: c.New, Data: data, Old: old, Place: place})
}

func (f *fetcher) emitCommit(c commit, removed bool) error {
	f.result.Commits++
	place := placeOf(c, removed)
	parts := []struct {
		object string
		data   []byte
	}{
		{PlaceCommitMessage, c.Message},
		{PlaceCommitHeader, c.Extra},
		{PlaceAuthor, personText(c.Author)},
		{PlaceCommitter, personText(c.Committer)},
	}
	for _, p := range parts {
		if len(p.data) == 0 || p.object == PlaceCommitter && c.Committer == c.Author {
			continue
		}
		place.Object = p.object
		err := f.emit(Object{Kind: KindCommit, ID: c.ID, Data: p.data, Place: place})
		if err != nil {
			return err
		}
	}
	return nil
}

func placeOf(c commit, removed bool) scanner.Place {
	return scanner.Place{Commit: c.ID, Author: c.Author, Committer: c.Committer, AuthoredAt: c.Authored, CommitAt: c.Committed, Removed: removed}
}

func personText(p scanner.Person) []byte {
	if p.Email == "" {
		return []byte(p.Name)
	}
	return []byte(p.Name + " <" + p.Email + ">")
}
