package history

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"stanch/scanner"
)

// Options of [Scan]. Engine must be set.
type Options struct {
	Engine       *scanner.Engine
	Progress     func(Progress) // called at most ten times a second, from one goroutine
	Since        []string       // commits whose history was scanned already; it is left out
	MaxBlobBytes int64          // 0 means the engine's limit
	Repository   string         // written to Place.Repository
	Messages     bool           // fill in Finding.CommitMessage
}

// Progress tells how far a scan is. Total is 0 while it is not known.
type Progress struct {
	Commits, Total int
	Blobs          int
	Bytes          int64
	Elapsed        time.Duration
}

// Result sums up a scan.
type Result struct {
	Partial bool
	Reasons []string // why it is partial
	Commits int
	Blobs   int   // blobs looked at
	Bytes   int64 // in those blobs
	Tags    int

	blobs map[string]*object
}

// Scanned reports whether the blob with this id was looked at.
func (r Result) Scanned(id string) bool {
	o := r.blobs[id]
	return o != nil && o.err == nil
}

// Scan looks at the whole history of the repository at gitDir and hands each
// finding to emit, in the order of history, parents first. A finding is handed
// on once for each (path, rule, secret), with the first commit that has it:
// not when the file held the same secret before, in any parent, nor when the
// commit moved it from a file that it deletes. Places are not scrubbed yet:
// see [scanner.Engine.Scrub].
//
// When ctx is done the result so far is partial and the error is ctx's. A
// repository that git cannot read at all is an error.
func Scan(ctx context.Context, gitDir string, o Options, emit func(scanner.Finding)) (Result, error) {
	refs, err := readRefs(ctx, gitDir)
	if err != nil {
		return Result{Partial: true, Reasons: []string{"the refs could not be read"}}, err
	}
	s := &scan{
		gitDir: gitDir, o: o, emit: emit, start: time.Now(),
		blobs: map[string]*object{}, emitted: map[string]bool{}, people: map[string]bool{}, paths: map[string]bool{}, lost: map[string]int{},
	}
	limit := o.MaxBlobBytes
	if limit <= 0 {
		limit = o.Engine.MaxBlobBytes()
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &reader{
		gitDir: gitDir, engine: o.Engine, limit: limit,
		requests: make(chan *object, 4*batchSize), work: make(chan *object), inFlight: semaphore.NewWeighted(inFlightBytes),
	}
	s.requests = r.requests
	var running sync.WaitGroup
	running.Go(func() { r.serve(inner) })
	for range goruntime.GOMAXPROCS(0) {
		running.Go(func() { r.scanBlobs(inner) })
	}
	s.refs(ctx, refs)
	s.walk(ctx)
	close(r.requests)
	running.Wait()
	return s.result(ctx)
}

// scan is the state of one Scan. Fields are used by the goroutine of Scan, but
// for blobs and requests, which the walk uses until it is over.
type scan struct {
	gitDir   string
	o        Options
	emit     func(scanner.Finding)
	start    time.Time
	told     time.Time
	requests chan *object

	blobs   map[string]*object // by id; of blobs on ignored paths there is none
	emitted map[string]bool    // path, rule, secret
	people  map[string]bool
	paths   map[string]bool
	lost    map[string]int // reason -> how many objects
	res     Result
	total   int
	broken  error
}

func (s *scan) result(ctx context.Context) (Result, error) {
	r := s.res
	r.blobs = s.blobs
	for why, n := range s.lost {
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(r.Reasons)
	if s.broken != nil {
		r.Reasons = append(r.Reasons, s.broken.Error())
	}
	err := ctx.Err()
	if err != nil {
		r.Reasons = append(r.Reasons, "stopped before the end: "+err.Error())
	}
	r.Partial = len(r.Reasons) > 0
	return r, err
}

// ask requests an object; scan says that it is a blob to look at.
func (s *scan) ask(ctx context.Context, id, path string, scan bool) *object {
	o := &object{id: id, path: path, scan: scan, done: make(chan struct{})}
	select {
	case s.requests <- o:
	case <-ctx.Done():
		o.err = ctx.Err()
		close(o.done)
	}
	return o
}

// blob requests a blob unless that was done before.
func (s *scan) blob(ctx context.Context, id, path string) *object {
	o := s.blobs[id]
	if o != nil || s.o.Engine.IgnoresPath(path) {
		return o
	}
	o = s.ask(ctx, id, path, true)
	s.blobs[id] = o
	return o
}

// change is one line of a commit's diff against one parent.
type change struct {
	path    string
	new     string // "" when the commit deletes the path
	old     string // "" when the parent has no such path
	newBlob *object
	oldBlob *object
}

type commitJob struct {
	id      string
	commit  *object
	changes []change
}

// walk goes through all commits, parents first, two stages apart: one reads
// diffs and requests objects, the other attributes what was found in them.
func (s *scan) walk(ctx context.Context) {
	tips := []string{"--all"}
	for _, id := range s.o.Since {
		if objectID(id) {
			tips = append(tips, "^"+id)
		}
	}
	if s.o.Progress != nil {
		out, err := output(ctx, s.gitDir, append([]string{"rev-list", "--count"}, tips...)...)
		if err == nil {
			s.total, _ = strconv.Atoi(strings.TrimSpace(string(out)))
		}
	}
	jobs := make(chan commitJob, batchSize)
	failed := make(chan error, 1)
	go func() {
		defer close(jobs)
		failed <- s.diffs(ctx, tips, jobs)
	}()
	for j := range jobs {
		s.attribute(ctx, j)
		s.tell(false)
	}
	err := <-failed
	if err != nil && ctx.Err() == nil {
		s.broken = err
		s.rest(ctx)
	}
	s.tell(true)
}

func (s *scan) tell(last bool) {
	if s.o.Progress == nil || !last && time.Since(s.told) < 100*time.Millisecond {
		return
	}
	s.told = time.Now()
	s.o.Progress(Progress{s.res.Commits, s.total, s.res.Blobs, s.res.Bytes, time.Since(s.start)})
}

// diffs runs "git rev-list | git diff-tree" and sends one job for each commit.
func (s *scan) diffs(ctx context.Context, tips []string, jobs chan<- commitJob) error {
	list := git(ctx, s.gitDir, append([]string{"rev-list", "--topo-order", "--reverse"}, tips...)...)
	diff := git(ctx, s.gitDir, "diff-tree", "--stdin", "--always", "-m", "-r", "--root", "--raw", "-z",
		"--no-renames", "--no-abbrev", "--no-textconv", "--no-ext-diff", "--ignore-submodules=all")
	var listSaid, diffSaid tail
	list.Stderr, diff.Stderr = &listSaid, &diffSaid
	pipe, err := list.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	diff.Stdin = pipe
	out, err := diff.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start git: %w", err)
	}
	err = list.Start()
	if err != nil {
		return listSaid.explain("start git", err)
	}
	err = diff.Start()
	if err != nil {
		_ = list.Process.Kill()
		_ = list.Wait()
		return diffSaid.explain("start git", err)
	}
	_ = pipe.Close() // ours: so that rev-list ends when diff-tree does
	parseErr := s.parseDiffs(ctx, bufio.NewReaderSize(out, 256<<10), jobs)
	if parseErr != nil {
		_ = diff.Process.Kill()
	}
	diffErr := diff.Wait()
	listErr := list.Wait()
	switch {
	case parseErr != nil:
		return parseErr
	case listErr != nil && listSaid.b.Len() > 0:
		return listSaid.explain("list commits", listErr)
	case diffErr != nil:
		return diffSaid.explain("compare trees", diffErr)
	case listErr != nil:
		return listSaid.explain("list commits", listErr)
	}
	return nil
}

// parseDiffs reads: commit id NUL, then ":mode mode old new status" NUL path
// NUL for each change. A merge comes once for each parent.
func (s *scan) parseDiffs(ctx context.Context, r *bufio.Reader, jobs chan<- commitJob) error {
	var job commitJob
	send := func() {
		if job.id == "" {
			return
		}
		select {
		case jobs <- job:
		case <-ctx.Done():
		}
	}
	defer func() { send() }()
	for {
		token, err := r.ReadString(0)
		if errors.Is(err, io.EOF) && token == "" {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("compare trees: %w", err)
		}
		token = token[:len(token)-1]
		if !strings.HasPrefix(token, ":") {
			id := strings.TrimSpace(token)
			if !objectID(id) {
				return errors.New("compare trees: odd answer of git")
			}
			if id != job.id {
				send()
				job = commitJob{id: id, commit: s.ask(ctx, id, "", false)}
			}
			continue
		}
		path, err := r.ReadString(0)
		if err != nil {
			return fmt.Errorf("compare trees: %w", err)
		}
		field := strings.Fields(token)
		if len(field) < 5 || job.id == "" {
			return errors.New("compare trees: odd answer of git")
		}
		c := change{path: path[:len(path)-1]}
		if isBlob(field[0][1:]) {
			c.old = field[2]
			c.oldBlob = s.blob(ctx, c.old, c.path)
		}
		if isBlob(field[1]) {
			c.new = field[3]
			c.newBlob = s.blob(ctx, c.new, c.path)
		}
		if c.old != "" || c.new != "" {
			job.changes = append(job.changes, c)
		}
	}
}

// isBlob tells a file or symbolic link from nothing (000000) and a submodule.
func isBlob(mode string) bool { return mode != "000000" && mode != "160000" }

func objectID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// wait gives what was found in a blob, and accounts for it the first time.
func (s *scan) wait(o *object) []scanner.Finding {
	if o == nil {
		return nil
	}
	<-o.done
	if o.scan {
		o.scan = false // read by this goroutine alone from here on
		s.account(o)
	}
	return o.findings
}

func (s *scan) account(o *object) {
	switch {
	case o.err == nil:
		s.res.Blobs++
		s.res.Bytes += o.size
	case errors.Is(o.err, errTooLarge):
		s.lost["blobs were over the size limit"]++
	case errors.Is(o.err, context.Canceled), errors.Is(o.err, context.DeadlineExceeded):
	case errors.Is(o.err, errMissing):
		s.lost["objects are not in the repository"]++
	default:
		s.lost["objects could not be read"]++
	}
}

// attribute emits what a commit brought.
func (s *scan) attribute(ctx context.Context, j commitJob) {
	<-j.commit.done
	if j.commit.err != nil {
		s.account(j.commit)
	}
	c := parseCommit(j.commit.data)
	place := scanner.Place{
		Repository: s.o.Repository, Commit: j.id,
		Author: c.author, Committer: c.committer, AuthoredAt: c.authored, CommitAt: c.committed,
	}
	message := ""
	if s.o.Messages {
		message = string(c.message)
	}
	s.res.Commits++
	put := func(f scanner.Finding) {
		f.CommitMessage = message
		s.emit(f)
	}
	s.context(ctx, place, c, "commit-message", put)

	before := map[string]map[string]bool{} // path -> rule and secret that a parent's file held
	moved := map[string]bool{}             // the same of files that the commit deletes
	fresh := make([]string, 0, len(j.changes))
	for _, ch := range j.changes {
		for _, f := range s.wait(ch.oldBlob) {
			if ch.new == "" {
				moved[same(f)] = true
				continue
			}
			if before[ch.path] == nil {
				before[ch.path] = map[string]bool{}
			}
			before[ch.path][same(f)] = true
		}
		if ch.new != "" && !s.paths[ch.path] {
			s.paths[ch.path] = true
			fresh = append(fresh, ch.path)
		}
	}
	s.names(ctx, place, "path", fresh, put)
	for _, ch := range j.changes {
		if ch.new == "" || s.o.Engine.IgnoresPath(ch.path) {
			continue
		}
		var now []string
		for _, f := range s.wait(ch.newBlob) {
			k := ch.path + "\x00" + same(f)
			if s.emitted[k] || before[ch.path][same(f)] || moved[same(f)] {
				continue
			}
			now = append(now, k)
			put(at(f, place, ch.path))
		}
		for _, k := range now {
			s.emitted[k] = true
		}
	}
}

// same names a rule and a secret, wherever they stand.
func same(f scanner.Finding) string { return f.Rule + "\x00" + f.Secret.Reveal() }

// at moves a blob's finding to a commit and path.
func at(f scanner.Finding, place scanner.Place, path string) scanner.Finding {
	p := place
	p.Path, p.Object = path, "blob"
	p.Line, p.Column, p.EndLine, p.EndColumn = f.Place.Line, f.Place.Column, f.Place.EndLine, f.Place.EndColumn
	f.Place = p
	return f
}

// context scans what a commit or tag says about itself.
func (s *scan) context(ctx context.Context, place scanner.Place, c commit, object string, put func(scanner.Finding)) {
	units := []struct {
		object string
		data   []byte
		once   bool
	}{
		{object, c.message, false},
		{"author", []byte(c.author.Name + "\n" + c.author.Email), true},
		{"committer", []byte(c.committer.Name + "\n" + c.committer.Email), true},
		{"header", c.extra, false},
	}
	for _, u := range units {
		if len(bytes.TrimSpace(u.data)) == 0 || u.once && s.people[string(u.data)] {
			continue
		}
		if u.once {
			s.people[string(u.data)] = true
		}
		p := place
		p.Object = u.object
		for _, f := range s.o.Engine.Scan(ctx, scanner.Unit{Data: u.data, Place: p}) {
			put(f)
		}
	}
}

// names scans names (paths, refs): typed rules only, since names are full of
// words that generic rules take for keys.
func (s *scan) names(ctx context.Context, place scanner.Place, object string, names []string, put func(scanner.Finding)) {
	if len(names) == 0 {
		return
	}
	place.Object = object
	for _, f := range s.o.Engine.Scan(ctx, scanner.Unit{Data: []byte(strings.Join(names, "\n")), Place: place}) {
		if f.Provider == "" || f.Place.Line > len(names) {
			continue
		}
		name := names[f.Place.Line-1]
		switch object {
		case "path":
			f.Place.Path = name
		default:
			f.Place.Ref = name
		}
		f.Place.Line, f.Place.EndLine, f.MatchAt.Line, f.MatchAt.EndLine = 1, 1, 1, 1
		put(f)
	}
}
