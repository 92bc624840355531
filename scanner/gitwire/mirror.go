package gitwire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"stanch/internal/secret"
	"stanch/scanner/gitpack"
)

// maxRefs is how many refs of a repository are taken: each is sent back as a
// line of the request.
const maxRefs = 1_000_000

// Remote names a repository as a whole.
type Remote struct {
	URL   string // clone URL, http or https, without user information
	Token secret.Value
}

// Mirror is a repository that was fetched with all of its refs.
type Mirror struct {
	Dir     string        // a bare Git directory with packed refs and one pack without an index
	Repo    *gitpack.Repo // the same, open
	Reasons []string      // why it is not the whole, if it is not
	Refs    int
	Objects int
	Bytes   int64 // of the pack

	scratch scratch
}

// Close deletes the directory; after a crash [Sweep] does.
func (m *Mirror) Close() {
	if m.Repo != nil {
		m.Repo.Close()
	}
	m.scratch.close()
}

// Clone fetches every ref of a repository with all its objects into a bare
// directory in Limits.TempDir, in two requests after the one that asks for the
// server's format. The caller closes the Mirror. It holds the repository's
// bytes, no configuration of it; the pack's checksum was verified and it was
// indexed in memory. progress, which may be nil, is told of the bytes that came,
// from one goroutine. Errors are those of [Fetch].
func Clone(ctx context.Context, r Remote, l Limits, progress func(received int64)) (*Mirror, error) {
	err := checkURL(r.URL)
	if err != nil {
		return nil, err
	}
	l = l.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, l.Timeout, ErrTimeout)
	defer cancel()
	m := &Mirror{scratch: scratch{parent: l.TempDir}}
	err = m.fetch(ctx, newRemote(r.URL, r.Token, 20), l, progress)
	if err == nil {
		m.Repo, err = gitpack.OpenContext(ctx, m.Dir)
	}
	if err != nil {
		m.Close()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("fetch repository: %w", err)
	}
	return m, nil
}

func (m *Mirror) fetch(ctx context.Context, r *remote, l Limits, progress func(int64)) error {
	err := r.format(ctx)
	if err != nil {
		return fmt.Errorf("ask for the format: %w", err)
	}
	root, err := m.scratch.dir()
	if err != nil {
		return err
	}
	m.Dir = filepath.Join(root, "mirror.git")
	packs := filepath.Join(m.Dir, "objects", "pack")
	for _, d := range []string{packs, filepath.Join(m.Dir, "refs")} {
		err = os.MkdirAll(d, 0o700)
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	config := "[core]\n\tbare = true\n\trepositoryFormatVersion = 0\n"
	if r.hash == 32 {
		config = "[core]\n\tbare = true\n\trepositoryFormatVersion = 1\n[extensions]\n\tobjectFormat = sha256\n"
	}
	err = os.WriteFile(filepath.Join(m.Dir, "config"), []byte(config), 0o600)
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	wants, err := m.list(ctx, r)
	if err != nil {
		return fmt.Errorf("list refs: %w", err)
	}
	if len(wants) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(packs, "pack-received.pack"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make pack file: %w", err)
	}
	sink := &mirrorSink{m: m, w: bufio.NewWriterSize(f, 1<<20), limit: l.PackBytes, progress: progress}
	got, err := r.fetch(ctx, request{wants: wants}, sink)
	err = errors.Join(err, sink.w.Flush(), f.Close())
	if err == nil && !got.sent {
		err = errPacket
	}
	return err
}

// list writes the refs that the server names and gives their ids, each once.
func (m *Mirror) list(ctx context.Context, r *remote) ([]string, error) {
	f, err := os.OpenFile(filepath.Join(m.Dir, "packed-refs"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := bufio.NewWriterSize(f, 64<<10)
	head := "ref: refs/heads/main\n"
	ids := map[gitpack.ID]struct{}{}
	var wants []string
	odd, beyond := 0, 0
	err = r.refs(ctx, func(x ref) error {
		switch {
		case x.Name == "HEAD" && plainRef(x.Target):
			head = "ref: " + x.Target + "\n"
		case x.Name == "HEAD":
			head = x.ID + "\n"
		case !plainRef(x.Name):
			odd++
			return nil
		case m.Refs >= maxRefs:
			beyond++
			return nil
		default:
			m.Refs++
			_, _ = w.WriteString(x.ID + " " + x.Name + "\n")
		}
		id, _ := gitpack.ParseID(x.ID)
		if _, ok := ids[id]; !ok {
			ids[id] = struct{}{}
			wants = append(wants, x.ID)
		}
		return nil
	})
	err = errors.Join(err, w.Flush(), f.Close())
	if err == nil {
		err = os.WriteFile(filepath.Join(m.Dir, "HEAD"), []byte(head), 0o600)
	}
	if odd > 0 {
		m.Reasons = append(m.Reasons, strconv.Itoa(odd)+" refs have names that Git does not allow")
	}
	if beyond > 0 {
		m.Reasons = append(m.Reasons, fmt.Sprintf("%d refs beyond the limit of %d", beyond, maxRefs))
	}
	return wants, err
}

// plainRef reports whether a name can stand in a line of packed-refs.
func plainRef(name string) bool {
	if !strings.HasPrefix(name, "refs/") {
		return false
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] == 0x7f {
			return false
		}
	}
	return true
}

// mirrorSink writes a pack to a file.
type mirrorSink struct {
	m        *Mirror
	w        *bufio.Writer
	limit    int64
	progress func(int64)
	told     int64
}

func (s *mirrorSink) begin(objects uint32) error {
	if objects > math.MaxInt32 {
		return ErrTooLarge
	}
	s.m.Objects = int(objects)
	return nil
}

func (s *mirrorSink) Write(p []byte) (int, error) {
	s.m.Bytes += int64(len(p))
	if s.m.Bytes > s.limit {
		return 0, ErrTooLarge
	}
	if s.progress != nil && s.m.Bytes-s.told >= 1<<20 {
		s.told = s.m.Bytes
		s.progress(s.told)
	}
	return s.w.Write(p)
}
