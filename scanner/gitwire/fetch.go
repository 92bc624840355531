package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"stanch/scanner"
)

const (
	commitBatch = 8192   // commits whose blobs are fetched together
	changeBatch = 20_000 // changed paths that are held at once
	tagDepth    = 8      // tags of tags that are followed
	shortList   = 256    // commits that are still tried when all are too large
	maxReasons  = 50
)

// fetchFlags keep git from doing more than it is asked for.
var fetchFlags = []string{"--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"}

// fetcher is one call of Fetch.
type fetcher struct {
	push    Push
	limits  Limits
	session *session
	each    func(Object) error
	result  Result

	tipAfter, tipBefore string // commits, tags peeled
	graph               *graph
	stores              int
	seen                map[string]bool // blob id and path that were handed out
	unsaid              int             // reasons beyond maxReasons
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
	ids, err := f.onlyIn(ctx, f.tipBefore, f.tipAfter)
	if err != nil {
		return err
	}
	return f.side(ctx, f.tipBefore, ids, true)
}

// peel follows annotated tags from *tip to what they name, hands them out, and
// says what it found: a tree or blob is handed out too.
func (f *fetcher) peel(ctx context.Context, tip *string, removed bool) (string, error) {
	st, err := f.nextStore()
	if err != nil {
		return "", err
	}
	err = f.fetchObjects(ctx, st, "fetch tag", "1", *tip)
	if err != nil {
		return "", err
	}
	r, err := f.session.reader(ctx, st)
	if err != nil {
		return "", err
	}
	defer r.close()
	for range tagDepth {
		var h header
		var t tag
		err = r.get([]string{*tip}, false, func(got header, content io.Reader) error {
			h = got
			if h.Type != KindTag {
				return nil
			}
			data, err := f.read(h, content)
			t = parseTag(data)
			return err
		})
		if err != nil {
			return "", err
		}
		switch {
		case h.Missing:
			return "", fmt.Errorf("fetch tag: %w", ErrNotFound)
		case h.Type == KindBlob:
			sd := &side{store: st, reader: r, removed: removed, fetched: map[string]bool{}}
			return h.Type, f.flush(ctx, sd, []change{{New: *tip, Added: true}})
		case h.Type == "tree":
			sd := &side{store: st, reader: r, removed: removed, fetched: map[string]bool{}}
			return h.Type, f.compare(ctx, sd, []string{emptyTree(len(*tip)) + " " + *tip})
		case h.Type == KindCommit:
			return h.Type, nil
		}
		err = f.emitTag(*tip, t, removed)
		if err != nil {
			return "", err
		}
		if t.Object == "" {
			return "", errors.New("fetch tag: malformed tag object")
		}
		*tip = t.Object
	}
	f.partial("tag of a tag, more than " + strconv.Itoa(tagDepth) + " deep")
	return "", nil
}

func (f *fetcher) emitTag(id string, t tag, removed bool) error {
	place := scanner.Place{Object: PlaceTagMessage, Author: t.Tagger, AuthoredAt: t.Tagged, Removed: removed}
	if t.Type == KindCommit {
		place.Commit = t.Object
	}
	err := f.emit(Object{Kind: KindTag, ID: id, Data: t.Message, Place: place})
	if err != nil {
		return err
	}
	place.Object = PlaceTagger
	return f.emit(Object{Kind: KindTag, ID: id, Data: personText(t.Tagger), Place: place})
}

// emptyTree is the id of the tree without entries, which every git knows.
func emptyTree(idLen int) string {
	if idLen == 64 {
		return "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
	}
	return "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
}

func (f *fetcher) nextStore() (*store, error) {
	f.stores++
	return f.session.newStore("store"+strconv.Itoa(f.stores), len(f.push.After), true)
}

// fetchObjects fetches commits and trees to a depth.
func (f *fetcher) fetchObjects(ctx context.Context, st *store, what, depth, tip string) error {
	args := append([]string{"fetch"}, fetchFlags...)
	args = append(args, "--filter=blob:none", "--depth="+depth, "origin", tip)
	_, err := f.session.remote(ctx, st, what, nil, args...)
	return err
}

// side hands out the commits ids of one side of the push.
func (f *fetcher) side(ctx context.Context, tip string, ids []string, removed bool) error {
	if len(ids) == 0 {
		return nil
	}
	st, err := f.nextStore()
	if err != nil {
		return err
	}
	// Every new commit is at most len(ids) steps from the tip, its parents one more.
	err = f.fetchObjects(ctx, st, "fetch push", strconv.Itoa(len(ids)+1), tip)
	if errors.Is(err, ErrTooLarge) && len(ids) > shortList {
		f.partial(fmt.Sprintf("size limit reached: only the newest %d of %d commits were looked at", shortList, len(ids)))
		ids = ids[len(ids)-shortList:]
		err = f.fetchObjects(ctx, st, "fetch push", strconv.Itoa(len(ids)+1), tip)
	}
	if errors.Is(err, ErrTooLarge) {
		f.partial("size limit reached before any commit was read")
		return nil
	}
	if err != nil {
		return err
	}
	sd := &side{store: st, removed: removed, fetched: map[string]bool{}}
	sd.reader, err = f.session.reader(ctx, st)
	if err != nil {
		return err
	}
	defer func() { sd.reader.close() }()
	for start := 0; start < len(ids); start += commitBatch {
		err = f.batch(ctx, sd, ids[start:min(start+commitBatch, len(ids))])
		if err != nil {
			return err
		}
	}
	if sd.absent > 0 {
		f.partial(fmt.Sprintf("%d objects were not on the server", sd.absent))
	}
	if len(sd.skipped) > 0 {
		f.partial(fmt.Sprintf("size limit reached: %d blobs were not fetched", len(sd.skipped)))
	}
	return nil
}
