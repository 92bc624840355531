package main

import (
	"errors"
	"os"

	"stanch/scanner/history"
)

// resumeFile names the file in which an interrupted scan with --state leaves the
// objects that hold nothing. The next one does not look at them again, and finds
// what the whole scan would have found.
func (r *scanRun) resumeFile() string { return r.cmd.State + ".resume" }

// share makes what the repositories of this run have in common, and what the run
// before left when it was interrupted.
func (r *scanRun) share(paths int) {
	switch {
	case r.state != nil:
		var err error
		r.shared, err = history.LoadShared(r.resumeFile(), r.engine.Fingerprint())
		if err != nil { // it saves time, nothing else
			r.shared = history.NewShared(r.engine.Fingerprint())
		}
	case paths > 1:
		r.shared = history.NewShared("")
	}
}

// keepState writes the state, or what the next run can go on with.
func (r *scanRun) keepState() error {
	if r.rt.ctx.Err() != nil {
		return r.shared.Save(r.resumeFile())
	}
	err := r.state.write(r.cmd.State)
	if err != nil {
		return err
	}
	err = os.Remove(r.resumeFile())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
