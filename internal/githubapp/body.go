package githubapp

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// freeBody is how much of a body is read without asking the shared budget, in
// bytes. Nearly all of GitHub's deliveries are smaller.
const freeBody = 64 << 10

// readBody reads at most MaxBytes within BodyTimeout. release gives the memory
// back to the budget; it is never nil.
func (h *Webhook) readBody(w http.ResponseWriter, r *http.Request) (body []byte, release func(), refusal *Refusal) {
	var taken int64
	release = func() {
		if taken > 0 {
			h.budget.Release(taken)
			taken = 0
		}
	}
	rc := http.NewResponseController(w)
	// Not every ResponseWriter has deadlines (a test's recorder has not).
	_ = rc.SetReadDeadline(time.Now().Add(h.o.BodyTimeout))
	defer func() {
		if refusal == nil {
			// Left in place, it would cancel the request's context later.
			_ = rc.SetReadDeadline(time.Time{})
		}
	}()
	src := http.MaxBytesReader(w, r.Body, h.o.MaxBytes)
	size := int64(freeBody)
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength+1)
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			next := h.nextSize(int64(cap(buf)), r.ContentLength)
			if !h.budget.TryAcquire(next) {
				return nil, release, &Refusal{Reason: ReasonBusy, Status: http.StatusServiceUnavailable}
			}
			grown := make([]byte, len(buf), next)
			copy(grown, buf)
			release()
			buf, taken = grown, next
		}
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return buf, release, nil
		default:
			return nil, release, bodyRefusal(err)
		}
	}
}

// nextSize grows fourfold, or at once to a declared length; one byte more than the
// limit, so that the reader can say that it was passed.
func (h *Webhook) nextSize(size, declared int64) int64 {
	next := size * 4
	if declared >= size {
		next = declared + 1
	}
	return min(next, h.o.MaxBytes+1)
}

func bodyRefusal(err error) *Refusal {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &Refusal{Reason: ReasonTooLarge, Status: http.StatusRequestEntityTooLarge}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Refusal{Reason: ReasonSlowBody, Status: http.StatusRequestTimeout}
	}
	return &Refusal{Reason: ReasonBrokenBody, Status: http.StatusBadRequest}
}

// A sender that is still writing when the connection closes never reads why it was
// refused. drain takes what it sends, for a while and up to a size, to nowhere.
const (
	drainBytes = 64 << 20
	drainTime  = 5 * time.Second
)

func drain(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	if rc.SetReadDeadline(time.Now().Add(drainTime)) != nil {
		return // no deadline, no waiting
	}
	_, _ = io.CopyN(io.Discard, r.Body, drainBytes)
}
