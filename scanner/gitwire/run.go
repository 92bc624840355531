package gitwire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

const watchInterval = 25 * time.Millisecond

// head keeps the first bytes that are written to it and drops the rest.
type head struct {
	buf   bytes.Buffer
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	if room := h.limit - h.buf.Len(); room > 0 {
		h.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (s *session) command(ctx context.Context, st *store, network bool, args ...string) (*exec.Cmd, *head) {
	cmd := exec.CommandContext(ctx, s.git, args...)
	cmd.Dir = s.root
	cmd.Env = s.environment(st, network)
	cmd.WaitDelay = 2 * time.Second
	ownGroup(cmd)
	stderr := &head{limit: 8 << 10}
	cmd.Stderr = stderr
	return cmd, stderr
}

// remote runs a git command that talks to the server, while the size of the
// session is watched, and returns the first mebibyte of its output.
func (s *session) remote(ctx context.Context, st *store, what string, stdin io.Reader, args ...string) ([]byte, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cmd, stderr := s.command(ctx, st, true, args...)
	stdout := &head{limit: 1 << 20}
	cmd.Stdin, cmd.Stdout = stdin, stdout
	err := cmd.Start()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(done, func() { cancel(ErrTooLarge) })
	}()
	err = cmd.Wait()
	close(done)
	<-watched
	cause := context.Cause(ctx)
	if cause == nil && s.size() > s.limits.PackBytes {
		cause = ErrTooLarge
	}
	switch {
	case cause != nil:
		st.dropUnfinished()
		return nil, fmt.Errorf("%s: %w", what, cause)
	case err != nil:
		st.dropUnfinished()
		return nil, gitFailure(what, stderr.buf.String(), s.auth, err)
	}
	return stdout.buf.Bytes(), nil
}

func (s *session) watch(done <-chan struct{}, exceeded func()) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			if s.size() > s.limits.PackBytes {
				exceeded()
				return
			}
		}
	}
}

// stream runs a git command on the store alone and gives its output to read.
// The command is killed when read returns before the end.
func (s *session) stream(ctx context.Context, st *store, what string, stdin io.Reader, read func(*bufio.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, stderr := s.command(ctx, st, false, args...)
	cmd.Stdin = stdin
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
	if readErr != nil {
		return readErr
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return gitFailure(what, stderr.buf.String(), s.auth, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
