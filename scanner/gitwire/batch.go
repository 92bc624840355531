package gitwire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// reader is a running git cat-file that answers for one store. It is used by
// one goroutine.
type reader struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	in     io.WriteCloser
	out    *bufio.Reader
}

// header is one answer of git cat-file --batch.
type header struct {
	ID, Type string
	Size     int64
	Missing  bool
}

var errBatch = errors.New("read objects: unexpected answer of git cat-file")

func (s *session) reader(ctx context.Context, st *store) (*reader, error) {
	ctx, cancel := context.WithCancel(ctx)
	cmd, _ := s.command(ctx, st, false, "cat-file", "--batch-command", "--buffer")
	in, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read objects: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read objects: %w", err)
	}
	err = cmd.Start()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read objects: %w", err)
	}
	return &reader{cmd: cmd, cancel: cancel, in: in, out: bufio.NewReaderSize(out, 64<<10)}, nil
}

func (r *reader) close() {
	r.cancel()
	_ = r.in.Close()
	_ = r.cmd.Wait()
}

// get asks for the ids in order. fn gets each answer and a reader of exactly
// its content, which it need not read to the end. For info only the header comes.
func (r *reader) get(ids []string, info bool, fn func(header, io.Reader) error) error {
	verb := "contents "
	if info {
		verb = "info "
	}
	written := make(chan error, 1)
	go func() { written <- r.ask(verb, ids) }()
	err := r.answers(len(ids), info, fn)
	if err != nil {
		r.cancel() // lets the writer go; the reader is of no more use
	}
	werr := <-written
	if err != nil {
		return err
	}
	if werr != nil {
		return fmt.Errorf("read objects: %w", werr)
	}
	return nil
}

func (r *reader) ask(verb string, ids []string) error {
	w := bufio.NewWriterSize(r.in, 32<<10)
	for _, id := range ids {
		_, _ = w.WriteString(verb)
		_, _ = w.WriteString(id)
		_ = w.WriteByte('\n')
	}
	_, _ = w.WriteString("flush\n")
	return w.Flush()
}

func (r *reader) answers(n int, info bool, fn func(header, io.Reader) error) error {
	for range n {
		h, err := readHeader(r.out)
		if err != nil {
			return err
		}
		if h.Missing || info {
			err = fn(h, strings.NewReader(""))
			if err != nil {
				return err
			}
			continue
		}
		content := &io.LimitedReader{R: r.out, N: h.Size}
		err = fn(h, content)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, content)
		if err != nil {
			return fmt.Errorf("read objects: %w", err)
		}
		end, err := r.out.ReadByte()
		if err != nil || content.N != 0 || end != '\n' {
			return errBatch
		}
	}
	return nil
}

// readHeader reads "ID TYPE SIZE\n" or "ID missing\n".
func readHeader(r *bufio.Reader) (header, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return header{}, errBatch
	}
	fields := strings.Split(strings.TrimSuffix(string(line), "\n"), " ")
	if !isID(fields[0]) {
		return header{}, errBatch
	}
	if len(fields) == 2 && fields[1] == "missing" {
		return header{ID: fields[0], Missing: true}, nil
	}
	if len(fields) != 3 {
		return header{}, errBatch
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size < 0 {
		return header{}, errBatch
	}
	switch fields[1] {
	case "blob", "commit", "tag", "tree":
		return header{ID: fields[0], Type: fields[1], Size: size}, nil
	}
	return header{}, errBatch
}
