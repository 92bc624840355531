package gitwire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"stanch/internal/secret"
)

// stalled is how long a server may send nothing. Git's own upload-pack sends a
// sign of life every 5 seconds while it works (uploadpack.keepAlive).
const stalled = 60 * time.Second

var errStalled = errors.New("the server sent nothing for " + stalled.String())

// transport keeps connections to Git hosts, so that the second request of a
// push needs no new handshake. It goes by no proxy and asks for no compression:
// packs are compressed, and a compressed answer could grow without bound.
var transport = &http.Transport{
	DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
	TLSHandshakeTimeout:    10 * time.Second,
	ForceAttemptHTTP2:      true,
	DisableCompression:     true,
	MaxIdleConnsPerHost:    32,
	IdleConnTimeout:        30 * time.Second,
	MaxResponseHeaderBytes: 64 << 10,
}

// remote is one repository on a server. It is used by one goroutine.
type remote struct {
	http *http.Client
	url  string
	auth string // value of the header Authorization, or ""
	hash int    // bytes of an object id: 20 or 32

	requests int
	received int64 // bytes of all packs that were taken
	noFilter bool  // the server cannot leave blobs or trees out
}

func newRemote(url string, token secret.Value, hash int) *remote {
	r := &remote{url: strings.TrimSuffix(url, "/"), hash: hash}
	r.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if !token.IsZero() {
		r.auth = "Basic " + base64.StdEncoding.EncodeToString([]byte("x-access-token:"+token.Reveal()))
	}
	return r
}

// answer is the body of an answer. Close must be called.
type answer struct {
	*packets
	body   io.Closer
	cancel context.CancelCauseFunc
	timer  *time.Timer
	whole  bool // all that was expected has been read
}

func (a *answer) Close() {
	if a.whole { // a body that was read to its end leaves the connection for the next request
		_, _ = io.CopyN(io.Discard, a.r, 512)
	}
	a.timer.Stop()
	a.cancel(nil)
	_ = a.body.Close()
}

// live resets a timer at each read.
type live struct {
	r     io.Reader
	timer *time.Timer
	ctx   context.Context
}

func (l *live) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	l.timer.Reset(stalled)
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(l.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// post sends a command of protocol version 2.
func (r *remote) post(ctx context.Context, command []byte) (*answer, error) {
	return r.send(ctx, http.MethodPost, "/git-upload-pack", bytes.NewReader(command), "application/x-git-upload-pack-result")
}

func (r *remote) send(ctx context.Context, method, path string, body io.Reader, mediaType string) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stalled, func() { cancel(errStalled) })
	fail := func(err error) (*answer, error) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		timer.Stop()
		cancel(nil)
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, body)
	if err != nil {
		return fail(err)
	}
	req.Header.Set("User-Agent", "git/stanch") // GitHub answers Git on agents that begin like this
	req.Header.Set("Git-Protocol", "version=2")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	}
	req.Header.Set("Accept", mediaType)
	if r.auth != "" {
		req.Header.Set("Authorization", r.auth)
	}
	r.requests++
	resp, err := r.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return fail(statusError(resp.StatusCode, resp.Header))
	}
	if got, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); got != mediaType {
		_ = resp.Body.Close()
		return fail(fmt.Errorf("%w: it answered with another media type", ErrProtocol))
	}
	return &answer{packets: newPackets(&live{resp.Body, timer, ctx}), body: resp.Body, cancel: cancel, timer: timer}, nil
}
