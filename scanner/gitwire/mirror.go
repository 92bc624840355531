package gitwire

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stanch/internal/secret"
	"stanch/scanner/gitpack"
)

// maxRefs is how many refs of a repository are taken: each is sent back as a
// line of the request. maxRefBytes bounds their names and ids together, which lie in
// the temporary store. maxMirrored is how many objects its pack may hold: they take
// about 60 bytes of memory each.
const (
	maxRefs     = 1_000_000
	maxRefBytes = 256 << 20
	maxMirrored = 16 << 20
)

// Remote names a repository as a whole.
type Remote struct {
	URL   string // clone URL, http or https, without user information
	Token secret.Value
}

// Mirror is a repository that was fetched with all of its refs.
type Mirror struct {
	Repo    *gitpack.Repo
	Reasons []string // why it is not the whole, if it is not
	Refs    int
	Objects int
	Bytes   int64 // of the pack

	pack, refs *gitpack.Spill
}

// Close gives everything back. It may be called on a Mirror that has nothing but
// a Repo, too.
func (m *Mirror) Close() {
	if m.Repo != nil {
		m.Repo.Close()
	}
	if m.pack != nil {
		m.pack.Close()
		m.refs.Close()
	}
}

// Clone fetches every ref of a repository with all its objects, in two requests
// after the one that asks for the server's format. What is more than 8 MiB lies in
// files without a name in Limits.TempDir, which are gone with the process. The
// caller closes the Mirror. It holds the repository's bytes, no configuration of
// it; the pack's checksum was verified, and it was indexed in memory. progress,
// which may be nil, is told of the bytes that came, from one goroutine.
// Limits.Timeout is that of the transfer. Errors are those of [Fetch].
func Clone(ctx context.Context, r Remote, l Limits, progress func(received int64)) (*Mirror, error) {
	return Receive(ctx, r, l, progress, nil)
}

// Visit gets an object while its pack still comes: see [gitpack.Arrival].
type Visit func(worker int, o *gitpack.Object, id gitpack.ID) any

// Receive is [Clone], and hands objects to visit, which may be nil, while they
// come. When it fails what was handed out may be of a damaged pack.
func Receive(ctx context.Context, r Remote, l Limits, progress func(received int64), visit Visit) (*Mirror, error) {
	err := checkURL(r.URL)
	if err != nil {
		return nil, err
	}
	l = l.withDefaults()
	m := &Mirror{pack: gitpack.NewSpill(l.TempDir, storePrefix, memoryPack), refs: gitpack.NewSpill(l.TempDir, storePrefix, memoryPack)}
	err = m.receive(ctx, newRemote(r.URL, r.Token, 20), l, progress, visit)
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("fetch repository: %w", err)
	}
	return m, nil
}

func (m *Mirror) receive(ctx context.Context, r *remote, l Limits, progress func(int64), visit Visit) error {
	transfer, cancel := context.WithTimeoutCause(ctx, l.Timeout, ErrTimeout)
	defer cancel()
	a, err := m.transfer(transfer, ctx, r, l, progress, visit)
	if err != nil {
		if cause := context.Cause(transfer); cause != nil {
			err = cause
		}
		return err
	}
	m.Repo, err = a.Finish(ctx, m.refs)
	return err
}

// transfer fetches; what is handed out meanwhile goes by ctx.
func (m *Mirror) transfer(transfer, ctx context.Context, r *remote, l Limits, progress func(int64), visit Visit) (*gitpack.Arrival, error) {
	err := r.format(transfer)
	if err != nil {
		return nil, fmt.Errorf("ask for the format: %w", err)
	}
	wants, err := m.list(transfer, r)
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", err)
	}
	a := gitpack.NewArrival(ctx, m.pack, r.hash, visit)
	if len(wants) == 0 {
		return a, nil
	}
	got, err := r.fetch(transfer, request{wants: wants}, &mirrorSink{m: m, to: a, limit: l.PackBytes, progress: progress})
	if err == nil && !got.sent {
		err = errPacket
	}
	if err != nil {
		a.Stop()
		return nil, err
	}
	return a, nil
}

// list keeps the refs that the server names, as Git's packed-refs, and gives their
// ids, each once.
func (m *Mirror) list(ctx context.Context, r *remote) ([]string, error) {
	var wants []string
	odd, beyond := 0, 0
	err := r.refs(ctx, func(x ref) error {
		switch {
		case x.Name == "HEAD" && plainRef(x.Target): // listed itself
		case x.Name != "HEAD" && !plainRef(x.Name):
			odd++
			return nil
		case m.Refs >= maxRefs || m.refs.Size() >= maxRefBytes:
			beyond++
			return nil
		default:
			if x.Name != "HEAD" {
				m.Refs++
			}
			_, err := m.refs.Write([]byte(x.ID + " " + x.Name + "\n"))
			if err != nil {
				return err
			}
		}
		wants = append(wants, strings.Clone(x.ID)) // not the whole line
		return nil
	})
	if odd > 0 {
		m.Reasons = append(m.Reasons, strconv.Itoa(odd)+" refs have names that Git does not allow")
	}
	if beyond > 0 {
		m.Reasons = append(m.Reasons, fmt.Sprintf("%d refs beyond the first %d", beyond, m.Refs))
	}
	slices.Sort(wants)
	return slices.Compact(wants), err
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

// mirrorSink counts a pack.
type mirrorSink struct {
	m        *Mirror
	to       *gitpack.Arrival
	limit    int64
	progress func(int64)
	told     int64
}

func (s *mirrorSink) begin(objects uint32) error {
	if objects > maxMirrored {
		return fmt.Errorf("%w: pack of %d objects", ErrTooLarge, objects)
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
	return s.to.Write(p)
}
