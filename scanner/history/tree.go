package history

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"stanch/scanner"
)

// TreeOptions of [Tree], [WorkTree] and [File]. Engine must be set.
type TreeOptions struct {
	Engine   *scanner.Engine
	MaxBytes int64                // of one file; 0 means the engine's limit
	Known    func(id string) bool // blob ids that need not be looked at again; may be nil
	Show     func(path string) string
	// Show turns a path relative to the root into the one written to findings;
	// nil leaves it. Classes and allowlists always go by the relative path.
}

// Tree scans all files below root, in the order of their paths. Symbolic links
// are not followed; .git directories, devices and pipes are left out. A file
// that cannot be read makes the result partial.
func Tree(ctx context.Context, root string, o TreeOptions, emit func(scanner.Finding)) (Result, error) {
	var res Result
	files := make(chan string, 64)
	var walkErr error
	go func() {
		defer close(files)
		walkErr = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil && path == root {
				return err
			}
			rel, relErr := filepath.Rel(root, path)
			if relErr != nil {
				return relErr
			}
			switch {
			case err != nil:
				rel = "\x00" + rel // cannot be listed
			case d.IsDir() && d.Name() == ".git" && path != root:
				return filepath.SkipDir
			case d.Name() == ".git" && path != root, !d.Type().IsRegular():
				return nil
			}
			select {
			case files <- rel:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	scanFiles(ctx, root, files, o, emit, &res)
	err := walkErr
	if err != nil && ctx.Err() == nil {
		return res, fmt.Errorf("read directory: %w", err)
	}
	return res, ctx.Err()
}

// WorkTree scans the files of a work tree that Git tracks or would let be
// added: not what the repository's own ignore rules leave out.
func WorkTree(ctx context.Context, root, gitDir string, o TreeOptions, emit func(scanner.Finding)) (Result, error) {
	cmd := git(ctx, gitDir, "--work-tree="+root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Run()
	if err != nil && ctx.Err() == nil {
		res, err := Tree(ctx, root, o, emit) // the index cannot be read: look at everything
		return res, err
	}
	var res Result
	files := make(chan string, 64)
	go func() {
		defer close(files)
		last := ""
		for name := range strings.SplitSeq(out.String(), "\x00") {
			rel := filepath.FromSlash(name)
			if name == "" || name == last || strings.HasSuffix(name, "/") || !filepath.IsLocal(rel) {
				continue // a nested repository ends in a slash; it is its own
			}
			last = name
			info, err := os.Lstat(filepath.Join(root, rel))
			if err != nil || !info.Mode().IsRegular() {
				continue // deleted, a link, a submodule
			}
			select {
			case files <- rel:
			case <-ctx.Done():
				return
			}
		}
	}()
	scanFiles(ctx, root, files, o, emit, &res)
	return res, ctx.Err()
}

// File scans one file, whatever it is called.
func File(ctx context.Context, path string, o TreeOptions, emit func(scanner.Finding)) (Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = f.Close() }()
	return Stream(ctx, f, filepath.ToSlash(path), o, emit)
}

// Stream scans what r gives, up to the size limit.
func Stream(ctx context.Context, r io.Reader, path string, o TreeOptions, emit func(scanner.Finding)) (Result, error) {
	var res Result
	limit := o.limit()
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return res, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		data = data[:limit]
		res.Partial, res.Reasons = true, []string{fmt.Sprintf("only the first %d bytes of the input were looked at", limit)}
	}
	found, left := o.Engine.ScanAll(ctx, scanner.Unit{Data: data, Place: scanner.Place{Path: path}})
	for _, f := range found {
		emit(f)
	}
	res.Reasons = append(res.Reasons, left...)
	res.Partial = len(res.Reasons) > 0
	res.Blobs, res.Bytes = 1, int64(len(data))
	return res, ctx.Err()
}

func (o TreeOptions) limit() int64 {
	if o.MaxBytes > 0 {
		return o.MaxBytes
	}
	return o.Engine.MaxBlobBytes()
}

var errTooLarge = errors.New("file is over the size limit")

// fileResult is one scanned file.
type fileResult struct {
	rel   string
	found []scanner.Finding
	size  int64
	known bool
	left  []string // what of an archive could not be looked at
	err   error
}

// scanFiles scans on all processors and emits in the order of files.
func scanFiles(ctx context.Context, root string, files <-chan string, o TreeOptions, emit func(scanner.Finding), res *Result) {
	workers := goruntime.GOMAXPROCS(0)
	queue := make(chan chan fileResult, workers*4)
	slots := make(chan struct{}, workers)
	go func() {
		defer close(queue)
		for rel := range files {
			done := make(chan fileResult, 1)
			queue <- done
			slots <- struct{}{}
			go func() {
				defer func() { <-slots }()
				done <- scanFile(ctx, root, rel, o)
			}()
		}
	}()
	lost := map[string]int{}
	for done := range queue {
		r := <-done
		switch {
		case r.err == nil:
		case errors.Is(r.err, errTooLarge):
			lost["files were over the size limit"]++
			continue
		case ctx.Err() != nil:
			continue
		default:
			lost["files could not be read"]++
			continue
		}
		if r.known {
			continue
		}
		res.Blobs++
		res.Bytes += r.size
		for _, why := range r.left {
			lost["times "+why]++
		}
		for _, f := range r.found {
			if o.Show != nil {
				f.Place.Path = o.Show(r.rel) + strings.TrimPrefix(f.Place.Path, r.rel) // and what is in an archive
			}
			emit(f)
		}
	}
	for why, n := range lost {
		res.Reasons = append(res.Reasons, fmt.Sprintf("%d %s", n, why))
	}
	if ctx.Err() != nil {
		res.Reasons = append(res.Reasons, "stopped before the end: "+ctx.Err().Error())
	}
	res.Partial = len(res.Reasons) > 0
}

func scanFile(ctx context.Context, root, rel string, o TreeOptions) fileResult {
	r := fileResult{rel: filepath.ToSlash(rel)}
	if strings.HasPrefix(rel, "\x00") {
		r.err = fs.ErrPermission
		return r
	}
	if ctx.Err() != nil {
		r.err = ctx.Err()
		return r
	}
	if o.Engine.Ignores(r.rel) {
		r.known = true
		return r
	}
	f, err := openRegular(filepath.Join(root, rel))
	if err != nil {
		r.err = err
		return r
	}
	defer func() { _ = f.Close() }()
	limit := o.limit()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		r.err = err
		return r
	case int64(len(data)) > limit:
		r.err = errTooLarge
		return r
	case o.Known != nil && (o.Known(blobID(sha1.New(), data)) || o.Known(blobID(sha256.New(), data))):
		r.known = true
		return r
	}
	r.size = int64(len(data))
	r.found, r.left = o.Engine.ScanAll(ctx, scanner.Unit{Data: data, Place: scanner.Place{Path: r.rel}})
	r.err = ctx.Err()
	return r
}

// openRegular opens a file without following a link and without waiting on a
// pipe: what the walk saw may have been replaced since.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrInvalid
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// blobID is the name that Git gives to data.
func blobID(h hash.Hash, data []byte) string {
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
