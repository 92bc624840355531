package history

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// Options of [Scan]. Engine must be set.
type Options struct {
	Engine       *scanner.Engine
	Progress     func(Progress) // called at most ten times a second, by one goroutine at a time
	Since        []string       // ids of commits whose history was scanned already; it is left out
	After        time.Time      // commits that were committed before it are left out; zero means none
	Shared       *Shared        // what scans of other repositories found out about objects; may be nil
	MaxBlobBytes int64          // 0 means the engine's limit
	Repository   string         // written to Place.Repository
	Messages     bool           // fill in Finding.CommitMessage
	Unreachable  bool           // also what no ref reaches; its findings have the tag "unreachable"
}

func (o *Options) blobLimit() int64 {
	if o.MaxBlobBytes > 0 {
		return o.MaxBlobBytes
	}
	return o.Engine.MaxBlobBytes()
}

// Progress tells how far a scan is. Total and TotalBlobs are 0 while they are
// not known, Left while there is nothing to estimate it from.
type Progress struct {
	Commits, Total    int
	Blobs, TotalBlobs int
	Bytes             int64
	Elapsed, Left     time.Duration
}

// Rate is the number of bytes looked at in a second.
func (p Progress) Rate() float64 { return float64(p.Bytes) / max(p.Elapsed.Seconds(), 0.001) }

// Result sums up a scan.
type Result struct {
	Partial bool
	Reasons []string // why it is partial
	Commits int
	Blobs   int   // blobs looked at
	Bytes   int64 // in those blobs
	Tags    int

	looked *idSet
}

// Scanned reports whether the blob with this id was looked at.
func (r Result) Scanned(id string) bool {
	x, ok := gitpack.ParseID(id)
	return ok && r.looked != nil && r.looked.has(x)
}

// tagUnreachable marks findings in what no ref reaches.
const tagUnreachable = "unreachable"

// Scan looks at the whole history of the repository at gitDir and hands each
// finding to emit, in the order of history: parents first, and older commits
// first where that leaves a choice. A finding is handed on once for each (path,
// rule, secret), with the first commit that has it: not when the file held the
// same secret before, in any parent, nor when the commit moved it from a file
// that it deletes. Places are not scrubbed yet: see [scanner.Engine.Scrub].
//
// History is what the refs and HEAD reach. What no ref reaches is left out
// unless it is asked for, or commits or trees cannot be read: then everything
// is looked at, and where a blob stands is not known.
//
// When ctx is done the result so far is partial and the error is ctx's. A
// repository that cannot be read at all is an error.
func Scan(ctx context.Context, gitDir string, o Options, emit func(scanner.Finding)) (Result, error) {
	repo, err := gitpack.OpenContext(ctx, gitDir)
	if err != nil {
		return Result{Partial: true, Reasons: []string{"the repository could not be opened"}}, err
	}
	defer repo.Close()
	return ScanRepo(ctx, repo, o, emit)
}

// ScanRepo is [Scan] for a repository that is open already.
func ScanRepo(ctx context.Context, repo *gitpack.Repo, o Options, emit func(scanner.Finding)) (Result, error) {
	return scanRepo(ctx, repo, o, nil, emit)
}

// scanRepo is ScanRepo with what is known already; e may be nil.
func scanRepo(ctx context.Context, repo *gitpack.Repo, o Options, e *early, emit func(scanner.Finding)) (Result, error) {
	s := newScan(repo, o)
	s.out, s.early = func(f scanner.Finding) { emit(f.Judged()) }, e
	stop := s.tell()
	err := s.all(ctx)
	stop()
	if err != nil && ctx.Err() == nil {
		return Result{Partial: true, Reasons: []string{"the refs could not be read"}}, err
	}
	return s.result(ctx), ctx.Err()
}

func newScan(repo *gitpack.Repo, o Options) *scan {
	s := &scan{
		repo: repo, o: o, out: func(scanner.Finding) {}, limit: o.blobLimit(), paths: newPaths(), start: time.Now(),
		facts: make([]fact, repo.Len()), found: map[gitpack.Number]*scanner.Scanned{},
		emitted: map[string]bool{}, told: map[string]bool{}, lost: map[string]int{},
	}
	s.changesLeft.Store(mostChanges)
	return s
}

// fact is what is known of an object.
type fact uint8

const (
	reached fact = 1 << iota // by a commit, or by a ref that names it
	wanted                   // on some path that the rules do not leave out
	scanned
	adrift // to be scanned, though nothing that was read reaches it
	barren // nothing is in it
	cut    // scanned, but not all of it
)

// scan is the state of one Scan.
type scan struct {
	repo  *gitpack.Repo
	o     Options
	early *early // what was looked at before; may be nil
	out   func(scanner.Finding)
	start time.Time
	limit int64

	graph       *graph
	paths       *paths
	changesLeft atomic.Int64
	facts       []fact // by object number
	found       map[gitpack.Number]*scanner.Scanned
	broken      atomic.Bool // commits or trees are missing: look at everything
	partly      bool        // some commits are left out by Options

	pinned    []pin // what refs reach without a commit
	pathFacts []pathFact
	flagged   []bool // commits, by node, whose own text holds a finding

	emitted map[string]bool // path, rule, secret
	told    map[string]bool // names and addresses
	mu      sync.Mutex
	lost    map[string]int // reason -> how many objects, or -1
	res     Result
	count   struct {
		commits, total, blobs, totalBlobs, bytes atomic.Int64
		blobsFrom                                atomic.Int64 // nanoseconds from start
	}
}

func (s *scan) lose(why string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 || s.lost[why] < 0 {
		s.lost[why] = -1
		return
	}
	s.lost[why] += n
}

// open reads commits and refs; its error is of the refs.
func (s *scan) open(ctx context.Context) error {
	for range s.repo.Problems() {
		s.lose("packs could not be read in full", 1)
		s.broken.Store(true)
	}
	var err error
	s.graph, err = readGraph(ctx, s.repo, s.limit)
	if err != nil {
		return err
	}
	return s.refs(ctx)
}

// all does everything; its error is of the refs.
func (s *scan) all(ctx context.Context) error {
	err := s.open(ctx)
	if err != nil {
		return err
	}
	order := s.choose()
	s.count.total.Store(int64(len(order)))
	order, diffs := s.compare(ctx, order)
	s.judgePaths(ctx, diffs)
	s.texts(ctx, order)
	s.scanBlobs(ctx)
	s.past(ctx, order, diffs)
	s.attribute(ctx, order, diffs)
	s.share(ctx, order, diffs)
	return nil
}

// choose decides which commits are scanned, newest first.
func (s *scan) choose() []int32 {
	g := s.graph
	for i := range g.nodes {
		n := &g.nodes[i]
		if !s.o.After.IsZero() && n.time < s.o.After.Unix() {
			n.past = true
			s.partly = true
		}
	}
	since := make(map[int32]bool, len(s.o.Since))
	for _, hex := range s.o.Since {
		id, ok := gitpack.ParseID(hex)
		if !ok {
			continue
		}
		g.reach(g.find(s.repo.Find(id)), func(i int32) bool {
			fresh := !since[i]
			since[i] = true
			g.nodes[i].past = true
			s.partly = true
			return fresh
		})
	}
	order := g.newestFirst()
	for _, i := range order {
		for _, p := range g.nodes[i].parents {
			if p == missingParent {
				s.broken.Store(true)
			}
		}
	}
	return order
}

// tell reports progress until the function that it returns is called.
func (s *scan) tell() (stop func()) {
	if s.o.Progress == nil {
		return func() {}
	}
	done := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.o.Progress(s.progress())
			case <-done:
				s.o.Progress(s.progress())
				return
			}
		}
	})
	return func() {
		close(done)
		running.Wait()
	}
}

func (s *scan) progress() Progress {
	p := Progress{
		Commits: int(s.count.commits.Load()), Total: int(s.count.total.Load()),
		Blobs: int(s.count.blobs.Load()), TotalBlobs: int(s.count.totalBlobs.Load()),
		Bytes: s.count.bytes.Load(), Elapsed: time.Since(s.start),
	}
	took := p.Elapsed - time.Duration(s.count.blobsFrom.Load())
	if p.Blobs > 0 && p.TotalBlobs >= p.Blobs {
		p.Left = time.Duration(float64(took) * float64(p.TotalBlobs-p.Blobs) / float64(p.Blobs))
	}
	return p
}

func (s *scan) result(ctx context.Context) Result {
	r := s.res
	r.Blobs, r.Bytes = int(s.count.blobs.Load()), s.count.bytes.Load()
	for why, n := range s.lost {
		if n < 0 {
			r.Reasons = append(r.Reasons, why)
			continue
		}
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(r.Reasons)
	err := ctx.Err()
	if err != nil {
		r.Reasons = append(r.Reasons, "stopped before the end: "+err.Error())
	}
	r.Partial = len(r.Reasons) > 0
	r.looked = &idSet{size: s.repo.IDSize()}
	for n, f := range s.facts {
		if f&(scanned|barren) != 0 {
			id := s.repo.ID(gitpack.Number(n))
			r.looked.sorted = append(r.looked.sorted, id.Bytes()...)
		}
	}
	r.looked.sort()
	return r
}

// parallel calls do for 0 to n-1 on all processors.
func parallel(ctx context.Context, n int, do func(i int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(n, goruntime.GOMAXPROCS(0)) {
		running.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	running.Wait()
}
