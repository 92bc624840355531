package gitwire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"stanch/scanner"
)

// side is what is being handed out: the commits of one tip in one store.
type side struct {
	store   *store
	reader  *reader
	removed bool
	metas   map[string]commit // of the batch, without messages
	fetched map[string]bool   // blobs that were asked for
	absent  int               // objects that the server did not send
	skipped map[string]bool   // blobs left out by the size limit
	tries   int               // fetches that hit the size limit
}

// batch hands out some commits: their messages and people, then their blobs.
func (f *fetcher) batch(ctx context.Context, sd *side, ids []string) error {
	sd.metas = make(map[string]commit, len(ids))
	var known, parents []string
	asked := map[string]bool{}
	err := sd.reader.get(ids, false, func(h header, content io.Reader) error {
		if h.Missing || h.Type != KindCommit {
			sd.absent++
			return nil
		}
		data, err := f.read(h, content)
		if err != nil {
			return err
		}
		c := parseCommit(data)
		c.ID = h.ID
		err = f.emitCommit(c, sd.removed)
		c.Message, c.Headers = nil, nil
		sd.metas[h.ID] = c
		known = append(known, h.ID)
		for _, p := range c.Parents {
			if !asked[p] {
				asked[p] = true
				parents = append(parents, p)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	here := map[string]bool{}
	err = sd.reader.get(parents, true, func(h header, _ io.Reader) error {
		here[h.ID] = h.Type == KindCommit
		return nil
	})
	if err != nil {
		return err
	}
	return f.compare(ctx, sd, f.comparisons(sd, known, here))
}

// comparisons are the lines for git diff-tree: a commit stands for itself and
// its parents; where parents are absent, it is compared with those that are not.
func (f *fetcher) comparisons(sd *side, ids []string, here map[string]bool) []string {
	lines := make([]string, 0, len(ids))
	for _, id := range ids {
		c := sd.metas[id]
		present := make([]string, 0, len(c.Parents))
		for _, p := range c.Parents {
			if here[p] {
				present = append(present, p)
			}
		}
		switch {
		case len(present) == len(c.Parents):
			lines = append(lines, id)
		case len(present) > 0:
			f.note("a parent commit was not on the server: all that differs from the others counts as new")
			// git reads at most 999 bytes of a line
			lines = append(lines, id+" "+strings.Join(present[:min(len(present), 10)], " "))
		case c.Tree != "":
			f.note("a parent commit was not on the server: its whole tree counts as new")
			sd.metas[c.Tree] = c
			lines = append(lines, emptyTree(len(id))+" "+c.Tree)
		}
	}
	return lines
}

// compare runs git diff-tree on the lines and hands out what changed.
func (f *fetcher) compare(ctx context.Context, sd *side, lines []string) error {
	var pending []change
	read := func(r *bufio.Reader) error {
		err := readRaw(r, func(c change) error {
			pending = append(pending, c)
			if len(pending) < changeBatch {
				return nil
			}
			err := f.flush(ctx, sd, pending)
			pending = pending[:0]
			return err
		})
		return err
	}
	stdin := strings.NewReader(strings.Join(lines, "\n") + "\n")
	err := f.session.stream(ctx, sd.store, "compare commits", stdin, read,
		"diff-tree", "--stdin", "-r", "-c", "--root", "--raw", "-z", "--no-abbrev", "--no-renames")
	if err != nil {
		return err
	}
	return f.flush(ctx, sd, pending)
}

// flush fetches the blobs of the changes and hands them out.
func (f *fetcher) flush(ctx context.Context, sd *side, changes []change) error {
	moved := map[string]bool{} // commit and blob whose path was deleted
	for _, c := range changes {
		if c.New == "" {
			for _, old := range c.Olds {
				moved[c.Commit+old] = true
			}
		}
	}
	var wanted []change
	var missing, reads []string
	for _, c := range changes {
		key := c.New + "\x00" + c.Path
		if c.New == "" || f.seen[key] {
			continue
		}
		f.seen[key] = true
		if moved[c.Commit+c.New] {
			c.Olds = []string{c.New}
		}
		wanted = append(wanted, c)
		for _, id := range append([]string{c.New}, c.Olds...) {
			reads = append(reads, id)
			if !sd.fetched[id] {
				sd.fetched[id] = true
				missing = append(missing, id)
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	err := f.fetchBlobs(ctx, sd, missing)
	if err != nil {
		return err
	}
	return f.handOut(sd, wanted, reads)
}

// handOut reads the blobs of the changes in order; reads is the new blob of
// each, then its old ones.
func (f *fetcher) handOut(sd *side, changes []change, reads []string) error {
	at, part := 0, 0
	var data, old []byte
	err := sd.reader.get(reads, false, func(h header, content io.Reader) error {
		c := changes[at]
		switch {
		case h.Missing && sd.skipped[h.ID]:
		case h.Missing && part == 0:
			sd.absent++
		case h.Missing || h.Type != KindBlob:
			f.note("an earlier version of a blob was not on the server: all of the blob counts as new")
		default:
			got, err := f.read(h, content)
			if err != nil {
				return err
			}
			if part == 0 {
				data = got
			} else {
				old = append(append(old, got...), '\n')
			}
		}
		part++
		if part <= len(c.Olds) {
			return nil
		}
		at, part = at+1, 0
		err := f.emitBlob(sd, c, data, bytes.TrimSuffix(old, []byte("\n")))
		data, old = nil, nil
		return err
	})
	return err
}

// fetchBlobs fetches ids in one go. When that is too large it tries the halves,
// so that one huge blob does not hide the others.
func (f *fetcher) fetchBlobs(ctx context.Context, sd *side, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if sd.tries >= 12 {
		sd.skip(ids)
		return nil
	}
	args := append([]string{"fetch"}, fetchFlags...)
	args = append(args, "--filter=blob:none", "--stdin", "origin")
	stdin := strings.NewReader(strings.Join(ids, "\n") + "\n")
	_, err := f.session.remote(ctx, sd.store, "fetch blobs", stdin, args...)
	if err == nil || !errors.Is(err, ErrTooLarge) || context.Cause(ctx) != nil {
		return err
	}
	sd.tries++
	if len(ids) == 1 {
		sd.skip(ids)
		return nil
	}
	err = f.fetchBlobs(ctx, sd, ids[:len(ids)/2])
	if err != nil {
		return err
	}
	return f.fetchBlobs(ctx, sd, ids[len(ids)/2:])
}

func (sd *side) skip(ids []string) {
	if sd.skipped == nil {
		sd.skipped = map[string]bool{}
	}
	for _, id := range ids {
		sd.skipped[id] = true
	}
}

// read takes in one object up to the limit.
func (f *fetcher) read(h header, content io.Reader) ([]byte, error) {
	n := h.Size
	if n > f.limits.BlobBytes {
		n = f.limits.BlobBytes
		f.partial(fmt.Sprintf("%s %s is larger than the limit: its first %d bytes of %d were taken", h.Type, h.ID, n, h.Size))
	}
	data := make([]byte, n)
	_, err := io.ReadFull(content, data)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return data, nil
}

func (f *fetcher) emitBlob(sd *side, c change, data, old []byte) error {
	if data == nil {
		return nil
	}
	place := placeOf(sd.metas[c.Commit], sd.removed)
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
		{PlaceCommitHeader, c.Headers},
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
