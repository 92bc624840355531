// Package gitwire fetches exactly the objects that a push brought, over Git's
// own protocol, and hands them out one by one.
//
// # What this package promises
//
// [Fetch] hands out every commit message, author, committer, tag message, ref
// name, path and new blob of a push, each with the [scanner.Place] where it
// stands, or the [Result] says that it is partial and why. A blob is new when
// no parent of its commit has it at that path; the parents' blobs come along
// as [Object.Old], so that what was there before can be told from what is new.
// A forced push has a removed side, which stays readable on the server for
// anyone who knows the id: it is fetched too while the server still gives it.
//
// Memory is bounded by [Limits] (one blob and its old sides at a time, packs of
// 8 MiB, and about 50 bytes for each object of a larger one), disk by
// Limits.PackBytes, time by Limits.Timeout. Larger packs are kept in a file while
// they are read; nothing else touches the disk. The file has no name, so that it is
// gone when Fetch returns, or the process dies.
//
// # How it asks
//
// It speaks version 2 of Git's protocol over HTTP itself and runs no program. An
// ordinary push takes two requests: the listed commits by their ids, with depth 2
// and without blobs, which gives exactly those commits, their parents and the
// trees of both; then the blobs that differ and those that they replace. A push
// that lists no commits, or too many, takes one request more, for the commits that
// the tip has and the tip before has not. The capabilities of the server are not
// asked for: a server that knows no filters says so and is asked without.
//
// # What it never does
//
// It never checks anything out, runs no program, reads no configuration, and
// follows no redirect, since that would send our token along. The token is in
// the header of requests alone. It goes by no proxy.
//
// What comes is hostile: lengths are checked before they are believed, a pack's
// checksum is verified, ids are computed from the objects' bytes, and what is
// malformed in a commit, tag or tree is skipped or taken as text, never refused,
// since a refusal would give a leak a place to hide.
package gitwire

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/url"
	"slices"
	"strings"
	"time"

	"stanch/internal/secret"
	"stanch/scanner"
)

// payloadCommits is the most commits that a push payload lists; a list of that
// length is taken as cut off. Source: docs.github.com, webhook events, push.
const payloadCommits = 2048

// Push says what to fetch, as the payload of the push said it.
type Push struct {
	URL        string       // clone URL, http or https, without user information
	Repository string       // owner/name, copied to each Place
	Ref        string       // full ref name
	Before     string       // tip before, all zeros when the ref was created
	After      string       // tip after, all zeros when the ref was deleted
	Commits    []string     // ids that the payload lists, oldest first; empty when unknown
	Incomplete bool         // Commits is known to be cut off (2,048 entries imply it)
	Forced     bool         // Before is not an ancestor of After
	Created    bool         // the ref did not exist
	Deleted    bool         // the ref is gone: nothing to fetch
	Tag        bool         // the ref is a tag (refs/tags/ implies it)
	Token      secret.Value // installation token, sent as x-access-token; empty for a public repository
}

// Limits bounds one fetch. The zero value of each field means its default.
type Limits struct {
	PackBytes int64         // what may lie in the temporary store; defaults to 2 GiB
	BlobBytes int64         // larger objects are handed out up to it; defaults to 32 MiB
	Commits   int           // newest commits looked at on each side; defaults to 250,000
	Timeout   time.Duration // defaults to 10 minutes
	TempDir   string        // where the store is made; defaults to os.TempDir
}

func (l Limits) withDefaults() Limits {
	if l.PackBytes <= 0 {
		l.PackBytes = 2 << 30
	}
	if l.BlobBytes <= 0 {
		l.BlobBytes = 32 << 20
	}
	if l.Commits <= 0 {
		l.Commits = 250_000
	}
	if l.Timeout <= 0 {
		l.Timeout = 10 * time.Minute
	}
	return l
}

// The kinds of an [Object].
const (
	KindBlob   = "blob"
	KindCommit = "commit"
	KindTag    = "tag"
	KindRef    = "ref"
	KindPath   = "path"
)

// The values of [scanner.Place.Object] that this package sets.
const (
	PlaceBlob          = "blob"
	PlaceCommitMessage = "commit-message"
	PlaceCommitHeader  = "commit-header" // headers that Git itself does not know
	PlaceAuthor        = "author"
	PlaceCommitter     = "committer"
	PlaceTagMessage    = "tag-message"
	PlaceTagHeader     = "tag-header" // the tag's own name, and what Git does not know
	PlaceTagger        = "tagger"
	PlaceRefName       = "ref-name"
	PlacePath          = "path"
)

// Object is one piece of what the push brought. Data and Old are valid until
// the callback returns.
type Object struct {
	Kind  string
	Place scanner.Place // line and column are unset
	ID    string        // object id; empty for ref names and paths
	Data  []byte
	Old   []byte // what stood there before: the parents' blobs, joined by a line feed
}

// Result says how much was handed out.
type Result struct {
	Partial     bool     // something that the push brought was not handed out
	Reasons     []string // why, and what else is worth noting; holds no repository content
	Commits     int      // commits handed out, both sides
	Blobs       int      // blobs handed out, both sides
	Bytes       int64    // bytes handed out
	RemovedSide bool     // the removed side of a forced push was fetched
}

// Fetch fetches what p brought and calls each for every object, oldest commit
// first, the removed side last. An error of each stops the fetch and is returned
// as it is. Limits that were hit give a partial Result, not an error, unless
// nothing could be handed out at all. Errors wrap [ErrNotFound], [ErrRefused],
// [ErrMoved], [ErrTooLarge] or [ErrTimeout] where that is known; all others are
// worth a retry.
func Fetch(ctx context.Context, p Push, l Limits, each func(Object) error) (Result, error) {
	err := p.check()
	if err != nil {
		return Result{}, err
	}
	if p.Deleted || isZero(p.After) {
		return Result{}, nil
	}
	l = l.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, ErrTimeout)
	defer cancel()
	f := &fetcher{
		push: p, limits: l, remote: newRemote(p.URL, p.Token, len(p.After)/2), each: each,
		seed: maphash.MakeSeed(), seen: map[uint64]struct{}{},
	}
	err = f.run(ctx)
	return f.finish(ctx, err)
}

func (p *Push) check() error {
	err := checkURL(p.URL)
	if err != nil {
		return err
	}
	p.Tag = p.Tag || strings.HasPrefix(p.Ref, "refs/tags/")
	p.Commits = slices.Clone(p.Commits)
	if p.Before == "" {
		p.Before = strings.Repeat("0", len(p.After))
	}
	for _, id := range append([]string{p.Before, p.After}, p.Commits...) {
		if !isID(id) || len(id) != len(p.After) {
			return errors.New("check push: object id is not hexadecimal of one length")
		}
	}
	return nil
}

func checkURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return errors.New("check clone URL: malformed")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Opaque != "" {
		return errors.New("check clone URL: neither http nor https")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("check clone URL: user information, query or fragment")
	}
	for _, r := range raw {
		if r <= ' ' || r >= 0x7f {
			return errors.New("check clone URL: control or non-ASCII character")
		}
	}
	return nil
}

// isID reports whether s is a full SHA-1 or SHA-256 object id.
func isID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isZero(id string) bool { return strings.Trim(id, "0") == "" }

// callbackError carries an error of the caller's function through untouched.
type callbackError struct{ err error }

func (e callbackError) Error() string { return e.err.Error() }

func (f *fetcher) finish(ctx context.Context, err error) (Result, error) {
	f.result.Reasons = append(f.result.Reasons, f.more()...)
	if err == nil {
		return f.result, nil
	}
	var cb callbackError
	if errors.As(err, &cb) {
		return f.result, cb.err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("fetch push: %w", cause)
	}
	limit := errors.Is(err, ErrTooLarge) || errors.Is(err, ErrTimeout)
	if limit && f.result.Commits+f.result.Blobs > 0 {
		f.result.Partial = true
		f.result.Reasons = append(f.result.Reasons, err.Error())
		return f.result, nil
	}
	return f.result, err
}
