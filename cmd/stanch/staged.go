package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"stanch/scanner/format"
	"stanch/scanner/gate"
	"stanch/scanner/history"
)

// staged scans what a commit would add: the blobs of the index that differ from
// HEAD, in the repository that holds the one path.
func (r *scanRun) staged(paths []string) error {
	if len(paths) != 1 || paths[0] == "-" {
		return fail(exitUsage, errors.New("--staged takes one PATH, a directory of the repository"), "run it in the work tree: stanch scan --staged")
	}
	res, err := gate.Staged(r.rt.ctx, gate.Options{Engine: r.engine, Dir: paths[0], Env: os.Environ()})
	if errors.Is(err, exec.ErrNotFound) {
		return fail(exitUsage, errors.New("scan --staged: git is not installed"), "install git")
	}
	if err != nil && r.rt.ctx.Err() == nil {
		return fail(exitUsage, fmt.Errorf("scan --staged: %s", format.Inert(err.Error())), "run it inside the work tree of a Git repository")
	}
	for _, f := range res.Findings {
		r.emit(f)
	}
	r.add("staged changes", history.Result{Partial: res.Partial, Reasons: res.Reasons, Blobs: res.Blobs, Bytes: res.Bytes}, err)
	err = r.finish()
	var f *failure
	if errors.As(err, &f) && f.code == exitFindings && !r.cmd.Quiet {
		f.hints = append(f.hints,
			"take them out of the files and stage these again (git add); a credential belongs in a secret store or in the environment",
			"a false alarm is committed with: git commit --no-verify")
	}
	return err
}
