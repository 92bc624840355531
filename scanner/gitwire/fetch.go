package gitwire

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strconv"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

const (
	commitBatch = 2048      // commits that are fetched with one request
	changeBatch = 20_000    // changed paths that are held at once
	maxPaths    = 1_000_000 // changed paths of a push that are looked at
	tagDepth    = 8         // tags of tags that are followed
	shortList   = 256       // commits that are still tried when all are too large
	maxReasons  = 50
	maxAlone    = 16       // objects that are asked for one by one
	readCache   = 16 << 20 // bytes of objects that are remembered while a pack is read
)

// fetcher is one call of Fetch.
type fetcher struct {
	push   Push
	limits Limits
	remote *remote
	each   func(Object) error
	result Result

	tipAfter, tipBefore string // commits, tags peeled
	seed                maphash.Seed
	seen                map[uint64]struct{} // blob id and path that were handed out
	alone               int                 // requests for one object
	unsaid              int                 // reasons beyond maxReasons
}

func (f *fetcher) note(reason string) {
	if len(f.result.Reasons) >= maxReasons {
		f.unsaid++
		return
	}
	f.result.Reasons = append(f.result.Reasons, reason)
}

func (f *fetcher) partial(reason string) {
	f.result.Partial = true
	f.note(reason)
}

func (f *fetcher) more() []string {
	if f.unsaid == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d more reasons", f.unsaid)}
}

func (f *fetcher) emit(o Object) error {
	o.Place.Repository, o.Place.Ref = f.push.Repository, f.push.Ref
	f.result.Bytes += int64(len(o.Data))
	if o.Kind == KindBlob {
		f.result.Blobs++
	}
	err := f.each(o)
	if err != nil {
		return callbackError{err}
	}
	return nil
}

// objects is a pack that came.
type objects struct {
	*gitpack.Repo
	*gitpack.Reader
	pack *receiver
}

func (o *objects) close() {
	o.Repo.Close()
	o.pack.spill.Close()
}

// find gives the number of an object that is of the type, or None.
func (o *objects) find(id string, t gitpack.Type) gitpack.Number {
	parsed, ok := gitpack.ParseID(id)
	if !ok {
		return gitpack.None
	}
	n := o.Find(parsed)
	if n != gitpack.None && o.Type(n) != t {
		return gitpack.None
	}
	return n
}

// get fetches a pack and makes it readable; nil when the server sent none. The
// size of what was taken counts against Limits.PackBytes for the whole of Fetch.
func (f *fetcher) get(ctx context.Context, what string, q request) (*objects, fetched, error) {
	v := newReceiver(f.limits.TempDir, f.limits.PackBytes-f.remote.received)
	got, err := f.remote.fetch(ctx, q, v)
	if err != nil || !got.sent {
		v.spill.Close()
		if err != nil {
			err = fmt.Errorf("%s: %w", what, err)
		}
		return nil, got, err
	}
	f.remote.received += v.spill.Size()
	r, err := v.open(ctx, f.remote.hash)
	if err != nil {
		v.spill.Close()
		return nil, got, fmt.Errorf("%s: %w", what, err)
	}
	if len(r.Problems()) > 0 {
		f.partial("a pack that the server sent was damaged: objects are missing")
	}
	return &objects{r, r.NewReader(readCache, max(4*f.limits.BlobBytes, 64<<20)), v}, got, nil
}

func (f *fetcher) run(ctx context.Context) error {
	if f.push.Ref != "" {
		err := f.emit(Object{Kind: KindRef, Data: []byte(f.push.Ref), Place: scanner.Place{Object: PlaceRefName}})
		if err != nil {
			return err
		}
	}
	f.tipAfter, f.tipBefore = f.push.After, f.push.Before
	if f.push.Tag {
		kind, err := f.peel(ctx, &f.tipAfter, false)
		if err != nil || kind != KindCommit {
			return err
		}
	}
	ids, err := f.brought(ctx, f.tipAfter)
	if err != nil {
		return err
	}
	err = f.side(ctx, f.tipAfter, ids, false)
	if err != nil {
		return err
	}
	return f.removed(ctx)
}

// removed hands out what a forced push took off the ref. It cannot fail the
// fetch: the server may have dropped it already.
func (f *fetcher) removed(ctx context.Context) error {
	if !f.push.Forced || isZero(f.push.Before) {
		return nil
	}
	err := f.removedSide(ctx)
	var cb callbackError
	switch {
	case err == nil:
		f.result.RemovedSide = true
		return nil
	case errors.As(err, &cb) || context.Cause(ctx) != nil:
		return err
	}
	f.note("removed side of the forced push: " + err.Error())
	return nil
}

func (f *fetcher) removedSide(ctx context.Context) error {
	if f.push.Tag {
		kind, err := f.peel(ctx, &f.tipBefore, true)
		if err != nil || kind != KindCommit {
			return err
		}
	}
	ids, _, err := f.list(ctx, f.tipBefore, f.tipAfter)
	if err != nil {
		return err
	}
	return f.side(ctx, f.tipBefore, ids, true)
}

// peel follows annotated tags from *tip to what they name, hands them out, and
// says what it found: a tree or blob is handed out too.
func (f *fetcher) peel(ctx context.Context, tip *string, removed bool) (string, error) {
	o, _, err := f.get(ctx, "fetch tag", request{wants: []string{*tip}, depth: 1, filter: "tree:0"})
	if err != nil {
		return "", err
	}
	if o == nil {
		return "", fmt.Errorf("fetch tag: %w", ErrNotFound)
	}
	defer o.close()
	want := gitpack.Type(0)
	for range tagDepth {
		n := o.find(*tip, gitpack.Tag)
		if n == gitpack.None {
			return f.peeled(ctx, o, *tip, want, removed)
		}
		data, err := f.read(o, n)
		if err != nil {
			return "", err
		}
		t := gitpack.ParseStatement(data)
		err = f.emitTag(*tip, t, removed)
		if err != nil {
			return "", err
		}
		if len(t.Object) != len(*tip) {
			return "", errors.New("fetch tag: malformed tag object")
		}
		*tip, want = t.Object, t.ObjectType
	}
	f.partial("tag of a tag, more than " + strconv.Itoa(tagDepth) + " deep")
	return "", nil
}

// peeled looks at what a tag names; want is what the tag says of it.
func (f *fetcher) peeled(ctx context.Context, o *objects, id string, want gitpack.Type, removed bool) (string, error) {
	if o.find(id, gitpack.Commit) != gitpack.None {
		return KindCommit, nil
	}
	sd := &side{removed: removed}
	if o.find(id, gitpack.Blob) != gitpack.None || want == gitpack.Blob {
		sd.changes = []change{{New: id, Added: true}}
		err := f.flush(ctx, sd)
		f.sum(sd)
		return KindBlob, err
	}
	trees, _, err := f.get(ctx, "fetch tag", request{wants: []string{id}, filter: "blob:none"})
	if err != nil {
		return "", err
	}
	if trees == nil || trees.find(id, gitpack.Tree) == gitpack.None {
		return "", fmt.Errorf("fetch tag: %w", ErrNotFound)
	}
	defer trees.close()
	sd.objects = trees
	err = f.compare(ctx, sd, commit{}, id, nil)
	if err == nil {
		err = f.flush(ctx, sd)
	}
	f.sum(sd)
	return "tree", err
}

func (f *fetcher) emitTag(id string, t gitpack.Statement, removed bool) error {
	place := scanner.Place{Author: t.Author, AuthoredAt: t.Authored, Removed: removed}
	if t.ObjectType == gitpack.Commit {
		place.Commit = t.Object
	}
	parts := []struct {
		object string
		data   []byte
	}{
		{PlaceTagMessage, t.Message},
		{PlaceTagger, personText(t.Author)},
		{PlaceTagHeader, t.Extra},
	}
	for _, p := range parts {
		place.Object = p.object
		err := f.emit(Object{Kind: KindTag, ID: id, Data: p.data, Place: place})
		if err != nil {
			return err
		}
	}
	return nil
}

// read takes in one object up to the limit.
func (f *fetcher) read(o *objects, n gitpack.Number) ([]byte, error) {
	t, size, data, err := o.Head(n, f.limits.BlobBytes)
	if err != nil {
		return nil, fmt.Errorf("read objects: %w", err)
	}
	if int64(len(data)) < size {
		f.partial(fmt.Sprintf("%s %s is larger than the limit: its first %d bytes of %d were taken", t, o.ID(n), len(data), size))
	}
	return data, nil
}
