package githubapp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Limits on what GitHub may answer, in bytes.
const (
	maxAnswer      = 64 << 20
	maxErrorAnswer = 64 << 10
)

// edge is the last transport before the network. It sends nothing to another host
// than the API's (the layers above would add a token to a redirect's request), gives
// each attempt a fresh body, and bounds answers.
type edge struct {
	next http.RoundTripper
	host string
}

var errOtherHost = errors.New("github redirects to another host")

// RoundTrip implements http.RoundTripper.
func (e *edge) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != e.host {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errOtherHost
	}
	if req.GetBody != nil {
		// The rate limiter sends the same request again, with its body used up.
		body, err := req.GetBody()
		if err != nil {
			return nil, fmt.Errorf("github request body: %w", err)
		}
		if req.Body != nil {
			req.Body.Close()
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
	resp, err := e.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
		return resp, nil
	}
	// Error answers are read here: the token refresh above does not close them.
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorAnswer))
	resp.Body.Close()
	if err != nil {
		b = nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, nil
}

var errLongAnswer = errors.New("github's answer is too long")

type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongAnswer
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// timeLimit bounds a request from its first wait to the end of its answer. It is
// http.Client's Timeout without its goroutine, which go-github leaves behind for
// every error answer: it replaces the body that would have to be closed.
type timeLimit struct {
	next  http.RoundTripper
	limit time.Duration
}

// RoundTrip implements http.RoundTripper.
func (t *timeLimit) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), t.limit)
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil || resp.StatusCode >= 300 { // edge has read the body of an error answer
		cancel()
		return resp, err
	}
	resp.Body = &cancelBody{ReadCloser: resp.Body, cancel: cancel}
	return resp, nil
}

type cancelBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *cancelBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}
