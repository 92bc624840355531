package patch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	goruntime "runtime"
	"strings"
	"sync"
	"time"

	"github.com/gitleaks/go-gitdiff/gitdiff"
	"github.com/zricethezav/gitleaks/v8/report"
	"github.com/zricethezav/gitleaks/v8/sources"
)

// blockBytes is about how much of a stream is taken apart in one go.
const blockBytes = 1 << 20

// block is a piece of a stream that begins with a commit or a file. pre is the
// head of the commit that it goes on with, if it does.
type block struct {
	seq  int
	pre  []byte
	data []byte
}

// Source is where a patch stream comes from; its fields may be empty.
type Source struct {
	Remote *sources.RemoteInfo // for the links
	// Blob opens a file of a commit, to look into archives.
	Blob func(ctx context.Context, commit, path string) (io.ReadCloser, error)
}

// Stream looks at a stream of patches, the output of "git log -p" or "git diff",
// on all cores. It gives how many commits had something to look at. The error
// is that of reading, or ctx's; what was found until then stays.
func (s *Scanner) Stream(ctx context.Context, r io.Reader, src Source) (commits int, err error) {
	blocks := make(chan block)
	seen := make([]map[string]bool, goruntime.GOMAXPROCS(0))
	var running sync.WaitGroup
	for i := range seen {
		seen[i] = map[string]bool{}
		running.Go(func() {
			w := worker{s: s, src: src, commits: seen[i]}
			for b := range blocks {
				if ctx.Err() == nil {
					w.block(ctx, b)
				}
			}
		})
	}
	err = split(ctx, r, blocks)
	close(blocks)
	running.Wait()
	all := map[string]bool{}
	for _, m := range seen {
		for id := range m {
			all[id] = true
		}
	}
	return len(all), errors.Join(err, ctx.Err())
}

// split cuts a stream into blocks.
func split(ctx context.Context, r io.Reader, blocks chan<- block) error {
	var pre, data []byte
	for seq := 0; ; {
		next := make([]byte, len(data)+blockBytes)
		n := copy(next, data)
		m, err := io.ReadFull(r, next[n:])
		data = next[:n+m]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("read patches: %w", err)
		}
		cut := len(data)
		if !last {
			cut = max(bytes.LastIndex(data, []byte("\ncommit ")), bytes.LastIndex(data, []byte("\ndiff --git "))) + 1
		}
		if cut > 0 {
			select {
			case blocks <- block{seq, pre, data[:cut]}:
			case <-ctx.Done():
				return nil // the caller tells
			}
			seq++
			pre = headOf(pre, data[:cut])
		}
		if last {
			return nil
		}
		data = data[cut:]
	}
}

// headOf is the head of the commit that is under way at the end of a block.
func headOf(pre, data []byte) []byte {
	at := bytes.LastIndex(data, []byte("\ncommit ")) + 1
	if at == 0 && !bytes.HasPrefix(data, commitMark) {
		return pre
	}
	data = data[at:]
	end := bytes.Index(data, []byte("\ndiff --git "))
	if end >= 0 {
		data = data[:end+1]
	}
	return bytes.Clone(data)
}

// worker takes blocks apart.
type worker struct {
	s       *Scanner
	src     Source
	commits map[string]bool
	buf     []byte

	pre    []byte // the head of the commit
	known  bool   // info is made
	commit string
	info   *sources.CommitInfo
}

// about reads the commit's head, which is only worth it for a finding. It is
// read as gitleaks reads it, by the parser that gitleaks uses.
func (w *worker) about() *sources.CommitInfo {
	if w.known {
		return w.info
	}
	w.known, w.info = true, nil
	if len(w.pre) == 0 {
		return nil
	}
	h, err := gitdiff.ParsePatchHeader(string(w.pre))
	if err != nil {
		return nil
	}
	w.info = &sources.CommitInfo{
		SHA: h.SHA, Date: h.AuthorDate.UTC().Format(time.RFC3339), Message: h.Message(), Remote: w.src.Remote,
	}
	if h.Author != nil {
		w.info.AuthorName, w.info.AuthorEmail = h.Author.Name, h.Author.Email
	}
	return w.info
}

func (w *worker) begin(pre []byte) {
	w.pre, w.known, w.commit = pre, false, ""
	first, _, _ := bytes.Cut(pre, []byte("\n"))
	rest, ok := strings.CutPrefix(string(first), "commit ")
	if ok {
		w.commit, _, _ = strings.Cut(rest, " ")
	}
}

func (w *worker) block(ctx context.Context, b block) {
	w.begin(b.pre)
	p := parser{data: b.data}
	var found []report.Finding
	size := int64(0)
	for ctx.Err() == nil {
		pre, f, ok := p.nextFile()
		if !ok {
			break
		}
		if len(pre) > 0 && bytes.HasPrefix(pre, commitMark) {
			w.begin(pre)
		}
		if f.deleted {
			continue
		}
		if f.binary {
			if w.s.ArchiveDepth > 0 && w.src.Blob != nil {
				found = append(found, w.archive(ctx, f.name)...)
			}
			continue
		}
		for {
			h, ok := p.nextHunk(w.buf)
			if !ok {
				break
			}
			w.buf = h.added[:0]
			size += int64(len(h.added))
			if w.commit != "" {
				w.commits[w.commit] = true
			}
			found = append(found, w.s.detect(ctx, fragment{text: h.added, path: f.name, commit: w.commit, line: h.line}, w.about)...)
		}
	}
	if p.odd {
		w.s.missed("a part of the patches could not be understood")
	}
	w.s.add(b.seq, size, found)
}

// archive looks into a file that git takes for binary.
func (w *worker) archive(ctx context.Context, path string) []report.Finding {
	if !isArchive(ctx, path) {
		return nil
	}
	blob, err := w.src.Blob(ctx, w.commit, path)
	if err != nil {
		w.s.missed("an archive in the history could not be read")
		return nil
	}
	defer func() { _ = blob.Close() }()
	var out []report.Finding
	inner := &sources.File{Content: blob, Path: path, MaxArchiveDepth: w.s.ArchiveDepth, Config: w.s.Config}
	err = inner.Fragments(ctx, func(f sources.Fragment, err error) error {
		if err != nil {
			w.s.missed("an archive in the history could not be read")
			return nil
		}
		out = append(out, w.s.detect(ctx, fragment{text: []byte(f.Raw), path: f.FilePath, commit: w.commit, line: f.StartLine}, w.about)...)
		return nil
	})
	if err != nil {
		w.s.missed("an archive in the history could not be read")
	}
	return out
}
