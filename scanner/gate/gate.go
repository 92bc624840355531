// Package gate looks at what is about to enter a Git repository: the index
// before a commit, and the objects of a push before a server takes them.
//
// # What this package promises
//
// [Received] looks at every commit, tag and blob that a push would add, at the
// names of its refs and files, and at nothing that the repository's refs reach
// already. [Staged] looks at the blobs of the index that differ from HEAD. A
// changed file counts with what is new in it: a secret that its parents had
// already is not told again. What could not be looked at makes the result
// partial, with the reason; the caller decides what that means.
//
// # What it never does
//
// It runs git's plumbing alone: no hook, filter, textconv, external diff, pager,
// lazy fetch or other program that a configuration could name. It changes
// nothing, and reads no rule or exception from what it looks at.
package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// Limits bounds one look. The zero value of each field means its default.
type Limits struct {
	Objects int           // commits, trees, blobs and tags that are new; defaults to 1,000,000
	Bytes   int64         // of blobs, commits and tags together; defaults to 2 GiB
	Timeout time.Duration // defaults to 2 minutes
}

func (l Limits) withDefaults() Limits {
	if l.Objects <= 0 {
		l.Objects = 1_000_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 2 << 30
	}
	if l.Timeout <= 0 {
		l.Timeout = 2 * time.Minute
	}
	return l
}

// Options of [Received] and [Staged]. Engine must be set.
type Options struct {
	Engine *scanner.Engine
	Dir    string   // working directory of git; "" is that of the process
	Env    []string // of the process; of its GIT_ variables those that say where the repository, its index and its objects lie are handed on
	Limits Limits
}

// Result says what was looked at. Findings in commits and tags come before
// those in files, older ones first, and are not scrubbed yet: see [scanner.Engine.Scrub].
type Result struct {
	Findings []scanner.Finding
	Commits  int
	Blobs    int
	Bytes    int64
	Partial  bool
	Reasons  []string // why it is partial; holds no repository content
}

// errTimeout is the cause of a context that [Limits.Timeout] ended.
var errTimeout = errors.New("time limit reached")

// change is one path that a commit, or the index, changed against all of its
// parents.
type change struct {
	commit string // "" for the index
	path   string // raw bytes, as the tree has them
	id     string // of the blob
	olds   []string
}

// look is one call of Received or Staged.
type look struct {
	Options
	result  Result
	repo    string // copied to each place
	ref     string
	changes []change
	objects []string // commits and tags, in the order in which they are told

	mu      sync.Mutex
	found   map[int][]scanner.Finding // of objects by index, of changes by len(objects) + index
	commits map[string]scanner.Place  // what a commit says of its author and time
}

func newLook(o Options) *look {
	o.Limits = o.Limits.withDefaults()
	return &look{Options: o, found: map[int][]scanner.Finding{}, commits: map[string]scanner.Place{}}
}

func (l *look) partial(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Partial = true
	if !slices.Contains(l.result.Reasons, reason) {
		l.result.Reasons = append(l.result.Reasons, reason)
	}
}

// end turns an error of a time limit into a partial result.
func (l *look) end(ctx context.Context, err error) (Result, error) {
	if err != nil && errors.Is(context.Cause(ctx), errTimeout) {
		l.partial(fmt.Sprintf("the time limit of %s was reached", l.Limits.Timeout))
		err = nil
	}
	return l.result, err
}

// job is one object whose bytes are to be scanned.
type job struct {
	kind  string
	data  []byte
	index []int // of what it belongs to in objects or changes
}

// run reads and scans all objects and changes.
func (l *look) run(ctx context.Context) error {
	var ids []string
	where := map[string][]int{} // blob id to changes
	ids = append(ids, l.objects...)
	for i, c := range l.changes {
		if l.Engine.Ignores(c.path) || slices.Contains(c.olds, c.id) {
			continue
		}
		if where[c.id] == nil {
			ids = append(ids, c.id)
		}
		where[c.id] = append(where[c.id], i)
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				l.scan(ctx, j)
			}
		})
	}
	at := 0
	err := l.read(ctx, ids, func(o object) error {
		j := job{kind: o.kind, data: o.data, index: []int{at}}
		if at >= len(l.objects) {
			j.index = where[ids[at]]
		}
		at++
		select {
		case jobs <- j:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(jobs)
	workers.Wait()
	if err != nil {
		return err
	}
	l.paths(ctx)
	err = l.compare(ctx)
	if err != nil {
		return err
	}
	for i := range len(l.objects) + len(l.changes) {
		for _, f := range l.found[i] {
			if p, ok := l.commits[f.Place.Commit]; ok {
				f.Place.Author, f.Place.AuthoredAt = p.Author, p.AuthoredAt
				f.Place.Committer, f.Place.CommitAt = p.Committer, p.CommitAt
			}
			l.result.Findings = append(l.result.Findings, f)
		}
	}
	return ctx.Err()
}

func (l *look) keep(i int, found []scanner.Finding) {
	if len(found) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.found[i] = append(l.found[i], found...)
}

func (l *look) place(c change) scanner.Place {
	return scanner.Place{Repository: l.repo, Ref: l.ref, Commit: c.commit, Path: c.path, Object: "blob"}
}

// scan looks at one object as a whole.
func (l *look) scan(ctx context.Context, j job) {
	switch j.kind {
	case "commit", "tag":
		l.header(ctx, j)
	case "blob":
		s := l.Engine.ScanBlob(ctx, j.data)
		for _, why := range s.Reasons() {
			l.partial(why)
		}
		for _, i := range j.index {
			c := l.changes[i]
			if s.Empty() && !l.Engine.NamesSecret(c.path) {
				continue
			}
			l.keep(len(l.objects)+i, s.At(l.place(c)))
		}
	}
}

// header looks at what a commit or tag says: its message, people, and headers
// that Git does not know.
func (l *look) header(ctx context.Context, j job) {
	h := gitpack.ParseStatement(j.data)
	place := scanner.Place{Repository: l.repo, Ref: l.ref, Author: h.Author, AuthoredAt: h.Authored, Committer: h.Committer, CommitAt: h.Committed}
	names := [3]string{"tag-message", "tagger", "tag-header"}
	if j.kind == "commit" {
		place.Commit = l.objects[j.index[0]]
		names = [3]string{"commit-message", "author", "commit-header"}
		l.mu.Lock()
		l.commits[place.Commit] = place
		l.mu.Unlock()
	}
	unit := func(object string, data []byte) {
		if len(data) == 0 {
			return
		}
		place.Object = object
		l.keep(j.index[0], l.Engine.Scan(ctx, scanner.Unit{Data: data, Place: place}))
	}
	unit(names[0], h.Message)
	unit(names[1], []byte(h.Author.Name+" "+h.Author.Email))
	if h.Committer != h.Author && h.Committer != (scanner.Person{}) {
		unit("committer", []byte(h.Committer.Name+" "+h.Committer.Email))
	}
	unit(names[2], h.Extra)
}

// paths looks at the names of files that are new.
func (l *look) paths(ctx context.Context) {
	seen := map[string]bool{}
	for i, c := range l.changes {
		if len(c.olds) > 0 || seen[c.path] || ctx.Err() != nil {
			continue
		}
		seen[c.path] = true
		place := l.place(c)
		place.Object = "path"
		l.keep(len(l.objects)+i, l.Engine.Scan(ctx, scanner.Unit{Data: []byte(c.path), Place: place}))
	}
}

// compare leaves of the findings in changed files those that are new there.
func (l *look) compare(ctx context.Context) error {
	var hot []int
	var ids []string
	for i, c := range l.changes {
		if len(c.olds) > 0 && len(l.found[len(l.objects)+i]) > 0 {
			hot = append(hot, i)
			ids = append(append(ids, c.id), c.olds...)
		}
	}
	if len(hot) == 0 {
		return nil
	}
	var group [][]byte
	return l.read(ctx, ids, func(o object) error {
		c := l.changes[hot[0]]
		group = append(group, o.data)
		if len(group) < 1+len(c.olds) {
			return nil
		}
		l.found[len(l.objects)+hot[0]], _ = l.Engine.ScanChangeAll(ctx, scanner.Unit{Data: group[0], Place: l.place(c)}, group[1:]...)
		hot, group = hot[1:], nil
		return nil
	})
}

// handedOn are the variables of git's own environment that say where things
// lie. All others (a pager, an editor, a proxy, tracing, configuration) stay out.
var handedOn = []string{
	"GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY",
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE", "GIT_PREFIX",
}

func environment(from []string) []string {
	env := []string{
		"LC_ALL=C", "HOME=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=none", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_GRAFT_FILE=/dev/null", "GIT_OPTIONAL_LOCKS=0",
	}
	for _, e := range from {
		name, _, _ := strings.Cut(e, "=")
		if name == "PATH" || slices.Contains(handedOn, name) {
			env = append(env, e)
		}
	}
	return env
}
