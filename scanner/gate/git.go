package gate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// safe holds the settings that outrank whatever the repository's own
// configuration says. The repository belongs to the caller, but may have been
// set up by another user (a server's), so that its ownership is not asked for.
var safe = []string{
	"--no-pager", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false",
	"-c", "core.attributesFile=/dev/null", "-c", "diff.external=", "-c", "diff.renameLimit=400", "-c", "diff.renames=true",
	"-c", "core.bigFileThreshold=1m", "-c", "core.quotePath=false", "-c", "protocol.allow=never",
}

func (l *look) git(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{}, safe...), args...)...)
	cmd.Dir, cmd.Env = l.Dir, environment(l.Env)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// stream runs a git command and hands its output to read, which may return
// before the end.
func (l *look) stream(ctx context.Context, what string, stdin io.Reader, read func(*bufio.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := l.git(ctx, args...)
	cmd.Stdin = stdin
	var said bytes.Buffer
	cmd.Stderr = &bounded{buf: &said, left: 2048}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err = cmd.Start()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	readErr := read(bufio.NewReaderSize(stdout, 64<<10))
	if readErr != nil {
		cancel()
	}
	err = cmd.Wait()
	switch {
	case errors.Is(readErr, errEnough):
		return nil
	case readErr != nil:
		return fmt.Errorf("%s: %w", what, readErr)
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case err != nil:
		return fmt.Errorf("%s: %s", what, firstLine(said.String(), err))
	}
	return nil
}

// errEnough ends a stream before its end, without an error.
var errEnough = errors.New("enough")

// firstLine gives a failed command's first words, made inert: git repeats names
// out of the repository.
func firstLine(said string, err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
	if line == "" {
		return err.Error()
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, line)
}

// bounded keeps the start of what is written.
type bounded struct {
	buf  *bytes.Buffer
	left int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.buf.Write(p[:n])
	b.left -= n
	return len(p), nil
}

// object is one answer of git cat-file.
type object struct {
	kind string
	data []byte // cut off at the engine's limit; nil when the object is missing
}

// read asks one git process for all ids, and hands out each answer in that
// order. It counts, and stops with a partial result at the limit of bytes.
func (l *look) read(ctx context.Context, ids []string, each func(object) error) error {
	if len(ids) == 0 {
		return nil
	}
	return l.stream(ctx, "read objects", strings.NewReader(strings.Join(ids, "\n")+"\n"), func(r *bufio.Reader) error {
		for range ids {
			o, err := l.object(r)
			if err != nil {
				return err
			}
			err = each(o)
			if err != nil {
				return err
			}
		}
		return nil
	}, "cat-file", "--batch", "--buffer")
}

func (l *look) object(r *bufio.Reader) (object, error) {
	header, err := readLine(r)
	if err != nil {
		return object{}, err
	}
	f := strings.Split(header, " ")
	if len(f) == 2 && f[1] == "missing" {
		l.partial("an object is missing")
		return object{}, nil
	}
	if len(f) != 3 {
		return object{}, errAnswer
	}
	size, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || size < 0 {
		return object{}, errAnswer
	}
	n := min(size, l.Engine.MaxBlobBytes())
	if n < size {
		l.partial(fmt.Sprintf("an object is over the size limit of %d MiB: only its start was looked at", l.Engine.MaxBlobBytes()>>20))
	}
	l.result.Bytes += n
	if l.result.Bytes > l.Limits.Bytes {
		l.partial(fmt.Sprintf("the limit of %d MiB was reached", l.Limits.Bytes>>20))
		return object{}, errEnough
	}
	data := make([]byte, n)
	_, err = io.ReadFull(r, data)
	if err != nil {
		return object{}, err
	}
	_, err = io.CopyN(io.Discard, r, size-n+1) // and the line feed
	return object{f[1], data}, err
}

var errAnswer = errors.New("unexpected answer of git")

// maxLine bounds one line or field of git's answers, in bytes.
const maxLine = 1 << 20

func readLine(r *bufio.Reader) (string, error) { return readTo(r, '\n') }

// readTo reads to a delimiter, which is left out. An end without one is an error;
// an end before any byte is io.EOF.
func readTo(r *bufio.Reader, delim byte) (string, error) {
	var out []byte
	for {
		part, err := r.ReadSlice(delim)
		out = append(out, part...)
		switch {
		case len(out) > maxLine:
			return "", errAnswer
		case err == nil:
			return string(out[:len(out)-1]), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(out) > 0:
			return "", errAnswer
		default:
			return "", err
		}
	}
}
