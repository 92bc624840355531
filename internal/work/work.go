// Package work runs durable jobs: River over the database that [store] opened.
//
// # What this package promises
//
// A job that was enqueued in a transaction exists when, and only when, that
// transaction committed. A handler that calls [Job.Complete] in its own last
// transaction is completed by that transaction. A job may run again after a
// crash, so a handler starts with a look at what is already done. A panic ends
// one attempt, not the process.
//
// # What it never does
//
// It holds no secret: arguments are ids.
package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"database/sql"

	"stanch/internal/secret"
	"stanch/internal/store"
)

// The queues. Scanning hostile bytes never holds up a response under way.
const (
	QueueScan    = "scan"    // a push
	QueueBulk    = "bulk"    // whole histories
	QueueRespond = "respond" // steps of incidents that answer at once
	QueueWatch   = "watch"   // holds and proofs, which mostly wait
	QueueTrail   = "trail"   // log sources, bounded by providers' rates
	QueueKeep    = "keep"    // reports, checkpoints, housekeeping
)

// polls is how often a queue looks for jobs on SQLite, where nothing wakes it: the
// shorter the less a step waits for the next, the longer the less an idle service
// takes. River adds up to 10 ms.
var polls = map[string]time.Duration{
	QueueScan: 20 * time.Millisecond, QueueRespond: 10 * time.Millisecond, QueueWatch: 40 * time.Millisecond,
	QueueTrail: 100 * time.Millisecond, QueueKeep: 100 * time.Millisecond, QueueBulk: 250 * time.Millisecond,
}

// Args are a job's arguments; Kind names the handler. They are stored as JSON.
type Args = river.JobArgs

// Options for enqueueing. The zero value runs at once on the handler's queue.
type Options struct {
	At       time.Time // not before
	Priority int       // 1 (first, the default) to 4
	Queue    string    // instead of the handler's
}

// Config of an [Engine].
type Config struct {
	Logger *slog.Logger
	// Workers a queue; a queue that is not named gets 4.
	Workers map[string]int
	// Panicked is told of every recovered panic.
	Panicked func(ctx context.Context, kind string, value any, trace string)
	// Parked is told of every job that is given up.
	Parked func(ctx context.Context, kind string, args []byte, err error)
}

// Registry collects handlers before the engine starts.
type Registry struct {
	workers *river.Workers
	queues  map[string]string // kind -> queue
	tries   map[string]int
	engine  *Engine
	cfg     *Config
}

// Job is one attempt at a job.
type Job[A Args] struct {
	Args    A
	Attempt int // 1 for the first
	Last    bool
	Created time.Time
	job     *river.Job[A]
	engine  *Engine
}

// Spec says how the jobs of one kind are run.
type Spec struct {
	Queue   string
	Timeout time.Duration // of one attempt; needed
	Tries   int           // attempts before it is parked; 0 means 25
}

type worker[A Args] struct {
	river.WorkerDefaults[A]
	spec   Spec
	cfg    *Config
	handle func(context.Context, Job[A]) error
	engine *Engine
}

func (w *worker[A]) Timeout(*river.Job[A]) time.Duration { return w.spec.Timeout }

// Work runs the handler. River keeps the text of errors and panics in the job's
// row: an error's is scrubbed, a panic's value can hold anything and is not kept.
func (w *worker[A]) Work(ctx context.Context, j *river.Job[A]) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if w.cfg.Panicked != nil {
			w.cfg.Panicked(ctx, j.Kind, v, string(debug.Stack()))
		}
		err = errPanic
	}()
	err = w.handle(ctx, Job[A]{Args: j.Args, Attempt: j.Attempt, Last: j.Attempt >= j.MaxAttempts, Created: j.CreatedAt, job: j, engine: w.engine})
	var later *laterError
	if errors.As(err, &later) {
		return river.JobSnooze(later.d)
	}
	if err != nil {
		err = &inertError{err}
	}
	return err
}

var errPanic = errors.New("the handler panicked")

// inertError shows an error's text without what looks like a secret.
type inertError struct{ err error }

func (e *inertError) Error() string { return secret.Inert(e.err.Error(), 2048) }
func (e *inertError) Unwrap() error { return e.err }

func (w *worker[A]) NextRetry(j *river.Job[A]) time.Time {
	d := 200 * time.Millisecond << min(j.Attempt-1, 9)
	return time.Now().Add(min(d, time.Minute))
}

// Handle registers the handler of A's kind. Returning nil completes the job,
// [Later] runs it again without counting, another error counts as a failure and
// is tried again with growing gaps (0.2 s doubling, at most a minute).
func Handle[A Args](r *Registry, spec Spec, handle func(context.Context, Job[A]) error) {
	var a A
	river.AddWorker(r.workers, &worker[A]{spec: spec, cfg: r.cfg, handle: handle, engine: r.engine})
	r.queues[a.Kind()] = spec.Queue
	if spec.Tries > 0 {
		r.tries[a.Kind()] = spec.Tries
	}
}

type laterError struct{ d time.Duration }

func (e *laterError) Error() string { return fmt.Sprintf("again in %s", e.d) }

// Later makes a handler run again after d; it does not count as a failure.
func Later(d time.Duration) error { return &laterError{d} }

// Engine enqueues and runs jobs. It is safe for concurrent use.
type Engine struct {
	db     *store.DB
	queues map[string]string
	tries  map[string]int
	lite   *river.Client[*sql.Tx]
	pg     *river.Client[pgx.Tx]
	node   string        // names this process to the others, on PostgreSQL
	alive  func()        // ends keepAlive; nil before Start and on SQLite
	beaten chan struct{} // closed when keepAlive has ended
}

// longest is the longest attempt that any handler may take; a running job older
// than this belonged to a process that died.
const longest = 15 * time.Minute

// New prepares the engine and its tables. register adds the handlers.
func New(ctx context.Context, db *store.DB, cfg Config, register func(*Registry)) (*Engine, error) {
	e := &Engine{db: db, queues: map[string]string{}, tries: map[string]int{}, node: uuid.NewString()}
	reg := &Registry{workers: river.NewWorkers(), queues: e.queues, tries: e.tries, engine: e, cfg: &cfg}
	register(reg)
	rc := &river.Config{
		ID:                   e.node,
		Workers:              reg.workers,
		Queues:               map[string]river.QueueConfig{},
		FetchCooldown:        5 * time.Millisecond,
		Logger:               cfg.Logger,
		ErrorHandler:         &errorHandler{cfg},
		RescueStuckJobsAfter: longest + time.Minute,
		JobTimeout:           longest,
	}
	for q, poll := range polls {
		n := cfg.Workers[q]
		if n == 0 {
			n = 4
		}
		if db.IsPostgres() {
			poll = time.Second // LISTEN/NOTIFY wakes it
		}
		rc.Queues[q] = river.QueueConfig{MaxWorkers: n, FetchPollInterval: poll}
	}
	if db.IsPostgres() {
		driver := riverpgxv5.New(db.Pool())
		m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: cfg.Logger})
		if err != nil {
			return nil, fmt.Errorf("prepare jobs: %w", err)
		}
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
		if err != nil {
			return nil, fmt.Errorf("prepare jobs: %w", err)
		}
		e.pg, err = river.NewClient(driver, rc)
		if err != nil {
			return nil, fmt.Errorf("prepare jobs: %w", err)
		}
		return e, nil
	}
	driver := riversqlite.New(db.SQL())
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("prepare jobs: %w", err)
	}
	_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return nil, fmt.Errorf("prepare jobs: %w", err)
	}
	e.lite, err = river.NewClient(driver, rc)
	if err != nil {
		return nil, fmt.Errorf("prepare jobs: %w", err)
	}
	return e, nil
}

// Start begins to work. On SQLite the caller must be the only process that works
// (see package service's lock file): jobs that a dead process left running are
// made available at once. On PostgreSQL other processes may work too; the jobs of
// one that died are made available once it has been silent for some seconds.
func (e *Engine) Start(ctx context.Context) error {
	if e.pg != nil {
		err := e.beat(ctx)
		if err != nil {
			return fmt.Errorf("join the work: %w", err)
		}
		err = e.pg.Start(ctx)
		if err != nil {
			return err
		}
		ctx, e.alive = context.WithCancel(context.WithoutCancel(ctx))
		e.beaten = make(chan struct{})
		go func() {
			defer close(e.beaten)
			e.keepAlive(ctx)
		}()
		return nil
	}
	err := e.db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE river_job SET state = 'available' WHERE state = 'running'")
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM river_leader")
		return err
	})
	if err != nil {
		return fmt.Errorf("take over jobs: %w", err)
	}
	return e.lite.Start(ctx)
}

// Stop fetches no more and waits for the attempts under way until ctx ends; then
// they are cancelled and will be run again by the next start.
func (e *Engine) Stop(ctx context.Context) error {
	stop, kill := e.lite.Stop, e.lite.StopAndCancel
	if e.pg != nil {
		stop, kill = e.pg.Stop, e.pg.StopAndCancel
	}
	err := stop(ctx)
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err != nil && errors.Is(err, ctx.Err()) {
		err = kill(hard)
	}
	if e.alive == nil {
		return err
	}
	e.alive()
	<-e.beaten
	e.alive = nil
	if err != nil {
		return err // what still runs is taken over by others
	}
	return e.leave(hard)
}

// Enqueue inserts a job as part of tx.
func (e *Engine) Enqueue(ctx context.Context, tx *store.Tx, a Args, o Options) error {
	queue, ok := e.queues[a.Kind()]
	if !ok {
		return fmt.Errorf("enqueue %s: no handler", a.Kind())
	}
	if o.Queue != "" {
		queue = o.Queue
	}
	opts := &river.InsertOpts{Queue: queue, ScheduledAt: o.At, Priority: o.Priority, MaxAttempts: e.tries[a.Kind()]}
	var err error
	if tx.Postgres() {
		_, err = e.pg.InsertTx(ctx, tx.PG(), a, opts)
	} else {
		_, err = e.lite.InsertTx(ctx, tx.SQLite(), a, opts)
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", a.Kind(), err)
	}
	return nil
}

// Complete marks the job done as part of tx, together with what it wrote.
func (j Job[A]) Complete(ctx context.Context, tx *store.Tx) error {
	var err error
	if tx.Postgres() {
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx.PG(), j.job)
	} else {
		_, err = river.JobCompleteTx[*riversqlite.Driver](ctx, tx.SQLite(), j.job)
	}
	if err != nil {
		return fmt.Errorf("complete %s: %w", j.job.Kind, err)
	}
	return nil
}

// Depth is the state of a queue: jobs that are due, and the age of the oldest.
type Depth struct {
	Due    int64
	Oldest time.Duration
}

// Depths reports what waits in each queue.
func (e *Engine) Depths(ctx context.Context, now time.Time) (map[string]Depth, error) {
	out := map[string]Depth{}
	err := e.db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		rows, err := tx.Query(ctx, "SELECT queue, count(*), min(scheduled_at) FROM river_job WHERE state IN ('available', 'retryable') GROUP BY queue")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var queue string
			var n int64
			var oldest any
			err := rows.Scan(&queue, &n, &oldest)
			if err != nil {
				return err
			}
			out[queue] = Depth{Due: n, Oldest: max(0, now.Sub(asTime(oldest)))}
		}
		return rows.Err()
	})
	return out, err
}

// asTime reads River's timestamp: a time on PostgreSQL, text on SQLite.
func asTime(v any) time.Time {
	switch v := v.(type) {
	case time.Time:
		return v
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05"} {
			t, err := time.Parse(layout, v)
			if err == nil {
				return t
			}
		}
	}
	return time.Now()
}

type errorHandler struct{ cfg Config }

func (h *errorHandler) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	if job.Attempt >= job.MaxAttempts && h.cfg.Parked != nil {
		h.cfg.Parked(ctx, job.Kind, job.EncodedArgs, err)
	}
	return nil
}

func (h *errorHandler) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	if h.cfg.Panicked != nil {
		h.cfg.Panicked(ctx, job.Kind, value, trace)
	}
	if job.Attempt >= job.MaxAttempts && h.cfg.Parked != nil {
		h.cfg.Parked(ctx, job.Kind, job.EncodedArgs, errors.New("panic"))
	}
	return nil
}
