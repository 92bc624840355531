package main

import (
	"context"
	"io"
	"os"
)

// interruptible reads from r until ctx ends. What blocks in a read, a terminal or
// a pipe that nobody writes to, would otherwise hold the process against Ctrl-C.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

type readResult struct {
	data []byte
	err  error
}

func (i interruptible) Read(p []byte) (int, error) {
	got := make(chan readResult, 1)
	go func() {
		b := make([]byte, len(p)) // the caller's buffer is the caller's again once we return
		n, err := i.r.Read(b)
		got <- readResult{b[:n], err}
	}()
	select {
	case res := <-got:
		n := copy(p, res.data)
		clear(res.data)
		return n, res.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}

// openFile opens a file for reading, or gives up when ctx ends: opening a named
// pipe waits for its writer.
func openFile(ctx context.Context, path string) (io.ReadCloser, error) {
	type opened struct {
		f   *os.File
		err error
	}
	got := make(chan opened, 1)
	go func() {
		f, err := os.Open(path)
		got <- opened{f, err}
	}()
	select {
	case o := <-got:
		if o.err != nil {
			return nil, o.err
		}
		info, err := o.f.Stat()
		if err == nil && info.Mode().IsRegular() {
			return o.f, nil
		}
		return struct {
			io.Reader
			io.Closer
		}{interruptible{ctx, o.f}, o.f}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
