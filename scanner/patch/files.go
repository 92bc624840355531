package patch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"sync"

	"github.com/h2non/filetype"
	"github.com/mholt/archives"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"
)

// largest is the size above which a file is read piece by piece.
const largest = 16 << 20

// target is a file to look at.
type target struct {
	seq     int
	path    string
	symlink string
	size    int64
}

// Files looks at a file, or all files below a directory, on all cores. The
// error is ctx's, or that of the directory itself; what cannot be read below it
// makes the result partial.
func (s *Scanner) Files(ctx context.Context, root string) error {
	targets := make(chan target, 256)
	var running sync.WaitGroup
	for range goruntime.GOMAXPROCS(0) {
		running.Go(func() {
			var buf []byte
			for t := range targets {
				if ctx.Err() == nil {
					buf = s.file(ctx, t, buf)
				}
			}
		})
	}
	err := s.walk(ctx, root, targets)
	close(targets)
	running.Wait()
	return errors.Join(err, ctx.Err())
}

func (s *Scanner) walk(ctx context.Context, root string, targets chan<- target) error {
	seq := 0
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return filepath.SkipAll
		}
		if err != nil {
			if path == root {
				return err
			}
			s.missed("some directories could not be read")
			if errors.Is(err, fs.ErrPermission) {
				return filepath.SkipDir
			}
			return nil
		}
		if s.leftOut(path) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		t := target{seq: seq, path: path}
		info, err := d.Info()
		if err != nil {
			s.missed("some files could not be read")
			return nil
		}
		t.size = info.Size()
		switch {
		case t.size == 0 || s.MaxMegabytes > 0 && t.size > int64(s.MaxMegabytes)*1_000_000:
			return nil
		case d.Type() == fs.ModeSymlink:
			if !s.FollowSymlinks {
				return nil
			}
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				return nil
			}
			to, err := os.Stat(real)
			if err != nil || !to.Mode().IsRegular() {
				return nil
			}
			t.path, t.symlink, t.size = real, path, to.Size()
		case !d.Type().IsRegular():
			return nil
		}
		seq++
		targets <- t
		return nil
	})
}

// leftOut reports whether a global allowlist names a path. Those that ask for
// something else besides count as well, as they do with gitleaks.
func (s *Scanner) leftOut(path string) bool {
	if s.Matcher.IgnoresPath(path) {
		return true
	}
	for _, a := range s.Config.Allowlists {
		if a.MatchCondition != 0 && a.PathAllowed(path) {
			return true
		}
	}
	return false
}

// isArchive reports whether a path has the name of an archive or of a
// compressed file.
func isArchive(ctx context.Context, path string) bool {
	f, _, err := archives.Identify(ctx, path, nil)
	return err == nil && f != nil
}

// file looks at one file. buf may be used, and what is to be used next is given
// back.
func (s *Scanner) file(ctx context.Context, t target, buf []byte) []byte {
	archive := isArchive(ctx, t.path)
	if archive && s.ArchiveDepth < 1 {
		return buf
	}
	f, err := os.Open(t.path)
	if err != nil {
		s.missed("some files could not be read")
		return buf
	}
	defer func() { _ = f.Close() }()
	var found []report.Finding
	size := int64(0)
	look := func(text []byte, path string, line int) {
		size += int64(len(text))
		found = append(found, s.detect(ctx, fragment{text: text, path: path, symlink: t.symlink, line: line}, noCommit)...)
	}
	if archive || t.size > largest {
		s.read(ctx, &sources.File{Content: f, Path: t.path, Symlink: t.symlink, Config: s.Config, MaxArchiveDepth: s.ArchiveDepth}, look)
	} else {
		if int64(cap(buf)) < t.size+1 {
			buf = make([]byte, t.size+t.size/2+1)
		}
		n, err := io.ReadFull(f, buf[:t.size])
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			s.missed("some files could not be read")
		}
		pieces(buf[:n], func(text []byte, line int) { look(text, t.path, line) })
	}
	s.add(t.seq, size, found)
	return buf
}

// read lets gitleaks itself read a file.
func (s *Scanner) read(ctx context.Context, f *sources.File, look func(text []byte, path string, line int)) {
	err := f.Fragments(ctx, func(f sources.Fragment, err error) error {
		if err != nil {
			s.missed("some files could not be read")
			return nil
		}
		look([]byte(f.Raw), f.FilePath, f.StartLine)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.missed("some files could not be read")
	}
}

// Reader looks at what comes from r; it has no name.
func (s *Scanner) Reader(ctx context.Context, r io.Reader) error {
	var found []report.Finding
	size := int64(0)
	s.read(ctx, &sources.File{Content: r, MaxArchiveDepth: s.ArchiveDepth}, func(text []byte, path string, line int) {
		size += int64(len(text))
		found = append(found, s.detect(ctx, fragment{text: text, path: path, line: line}, noCommit)...)
	})
	s.add(0, size, found)
	return ctx.Err()
}

// Sizes of gitleaks' reading: of one read, of the buffer behind it, and how far
// it goes on to find an empty line.
const (
	pieceBytes = 100_000
	aheadBytes = 4096
	safeBytes  = 25_000
)

// pieces cuts a file the way gitleaks does. It reads through a small buffer, so
// that what it read ahead in search of an empty line becomes a piece of its own.
// A file that is of a binary type is left from there on.
func pieces(data []byte, look func(text []byte, line int)) {
	lines := 0
	pos, buffered := 0, 0 // buffered: bytes from pos that are in the buffer
	for pos < len(data) {
		n := buffered
		if n == 0 {
			n = min(pieceBytes, len(data)-pos)
		}
		buffered -= min(buffered, n)
		end := pos + n
		if lines == 0 {
			kind, err := filetype.Match(data[pos:end])
			if err != nil || kind.MIME.Type == "application" {
				return
			}
		}
		end, buffered = safeEnd(data, pos, end, buffered)
		text := data[pos:end]
		look(text, lines+1)
		lines += bytes.Count(text, []byte("\n"))
		pos = end
	}
}

// safeEnd goes on from end to behind the next two newlines with nothing but
// white space between them, or as far as gitleaks goes.
func safeEnd(data []byte, pos, end, buffered int) (int, int) {
	newlines := 0
	for i := end - 1; i >= pos && white(data[i]); i-- {
		if data[i] == '\n' {
			newlines++
			if newlines == 2 {
				return end, buffered
			}
		}
	}
	newlines = 0
	start := end
	for {
		switch c := data[end-1]; {
		case c == '\n':
			newlines++
			if newlines == 2 {
				return end, buffered
			}
		case !white(c):
			newlines = 0
		}
		if end-start >= safeBytes || end == len(data) {
			return end, buffered
		}
		if buffered == 0 {
			buffered = min(aheadBytes, len(data)-end)
		}
		end++
		buffered--
	}
}

func white(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
