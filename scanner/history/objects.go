package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sync/semaphore"

	"stanch/scanner"
)

// Sizes of the reader: requests written to git at once (well below what a pipe
// holds, so that neither side can block the other), and bytes of blobs that are
// read and not yet scanned.
const (
	batchSize     = 64
	inFlightBytes = 128 << 20
)

var (
	errMissing  = errors.New("object is missing")
	errTooLarge = errors.New("object is over the size limit")
)

// object is one Git object that was asked for. Its fields may be read after
// done is closed.
type object struct {
	id       string
	path     string // where a blob was first seen; decides path rules
	scan     bool   // a blob to be scanned; else the bytes are kept in data
	done     chan struct{}
	kind     string
	data     []byte
	size     int64
	findings []scanner.Finding
	err      error
}

// reader fetches objects through one git process and scans blobs on workers.
type reader struct {
	gitDir   string
	engine   *scanner.Engine
	limit    int64
	requests chan *object
	inFlight *semaphore.Weighted
	work     chan *object
	cat      *catFile
	deaths   int // of git, over one object each
}

// mostDeaths is how often git is started anew before a repository counts as
// beyond reading.
const mostDeaths = 100

// serve answers requests until the channel is closed or ctx is done; every
// object that was sent is done afterwards.
func (r *reader) serve(ctx context.Context) {
	defer func() {
		close(r.work)
		if r.cat != nil {
			r.cat.close()
		}
	}()
	for o := range r.requests {
		batch := []*object{o}
	more:
		for len(batch) < batchSize {
			select {
			case o, ok := <-r.requests:
				if !ok {
					break more
				}
				batch = append(batch, o)
			default:
				break more
			}
		}
		for len(batch) > 0 {
			batch = batch[r.batch(ctx, batch):]
		}
	}
}

// batch asks for all of batch and gives how many were answered: fewer when git
// died over an object, which is then the last of the answered.
func (r *reader) batch(ctx context.Context, batch []*object) int {
	if r.cat == nil {
		if r.deaths > mostDeaths {
			return r.failed(batch, len(batch), errors.New("git died too often"))
		}
		cat, err := newCatFile(ctx, r.gitDir)
		if err != nil {
			return r.failed(batch, len(batch), err)
		}
		r.cat = cat
	}
	var ask strings.Builder
	for _, o := range batch {
		ask.WriteString(o.id)
		ask.WriteByte('\n')
	}
	_, err := io.WriteString(r.cat.in, ask.String())
	if err != nil {
		err = firstError(r.cat.close(), err)
		r.cat = nil
		r.deaths++
		return r.failed(batch, 1, err)
	}
	for i, o := range batch {
		err := r.read(ctx, o)
		if err == nil {
			continue
		}
		died := r.cat.close()
		r.cat = nil
		r.deaths++
		if ctx.Err() != nil {
			return i + r.failed(batch[i:], len(batch)-i, ctx.Err())
		}
		return i + r.failed(batch[i:], 1, firstError(died, err))
	}
	return len(batch)
}

// firstError is the first of two errors that is one.
func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func (r *reader) failed(batch []*object, n int, err error) int {
	for _, o := range batch[:n] {
		o.err = err
		close(o.done)
	}
	return n
}

// read takes one answer. An error means that git is of no more use.
func (r *reader) read(ctx context.Context, o *object) error {
	header, err := r.cat.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	field := strings.Fields(header)
	if len(field) < 3 {
		o.err = errMissing
		close(o.done)
		return nil
	}
	o.kind = field[1]
	o.size, err = strconv.ParseInt(field[2], 10, 64)
	if err != nil {
		return fmt.Errorf("read object: odd answer of git: %w", err)
	}
	if o.size > r.limit {
		_, err = io.CopyN(io.Discard, r.cat.out, o.size+1)
		if err != nil {
			return fmt.Errorf("read object: %w", err)
		}
		o.err = errTooLarge
		close(o.done)
		return nil
	}
	weight := min(max(o.size, 1), inFlightBytes)
	err = r.inFlight.Acquire(ctx, weight)
	if err != nil {
		return err
	}
	o.data = make([]byte, o.size)
	_, err = io.ReadFull(r.cat.out, o.data)
	if err == nil {
		_, err = r.cat.out.Discard(1)
	}
	if err != nil {
		r.inFlight.Release(weight)
		return fmt.Errorf("read object: %w", err)
	}
	if !o.scan {
		r.inFlight.Release(weight)
		close(o.done)
		return nil
	}
	r.work <- o
	return nil
}

// scanBlobs is one worker.
func (r *reader) scanBlobs(ctx context.Context) {
	for o := range r.work {
		weight := min(max(o.size, 1), inFlightBytes)
		if o.kind == "blob" {
			o.findings = r.engine.Scan(ctx, scanner.Unit{Data: o.data, Place: scanner.Place{Path: o.path, Object: "blob"}})
		}
		if ctx.Err() != nil {
			o.err = ctx.Err()
		}
		o.data = nil
		r.inFlight.Release(weight)
		close(o.done)
	}
}

// catFile is a running "git cat-file --batch".
type catFile struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said *tail
}

func newCatFile(ctx context.Context, gitDir string) (*catFile, error) {
	c := &catFile{cmd: git(ctx, gitDir, "cat-file", "--batch"), said: &tail{}}
	c.cmd.Stderr = c.said
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start git: %w", err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start git: %w", err)
	}
	c.in, c.out = in, bufio.NewReaderSize(out, 256<<10)
	err = c.cmd.Start()
	if err != nil {
		return nil, c.said.explain("start git", err)
	}
	return c, nil
}

// close ends the process; the error is what it died of, if it did.
func (c *catFile) close() error {
	_ = c.in.Close()
	_, _ = io.Copy(io.Discard, c.out)
	err := c.cmd.Wait()
	if err != nil {
		return c.said.explain("read object", err)
	}
	return nil
}
