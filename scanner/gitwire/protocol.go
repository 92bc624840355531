package gitwire

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// request is a fetch command of protocol version 2. Source: gitprotocol-v2.
type request struct {
	wants, haves []string
	depth        int    // commits in a line from each want; 0 is all
	filter       string // what the server leaves out
	ask          bool   // let the server say whether it knows the haves
}

// fetched is what came back.
type fetched struct {
	acked bool // the server knows one of the haves
	sent  bool // it sent a pack
}

func (r *remote) command(name string) []byte {
	b := appendPacket(nil, "command="+name)
	b = appendPacket(b, "agent=git/stanch")
	if r.hash == 32 {
		b = appendPacket(b, "object-format=sha256")
	}
	return append(b, "0001"...)
}

func (r *remote) encode(q request) []byte {
	b := r.command("fetch")
	b = appendPacket(b, "ofs-delta")
	b = appendPacket(b, "no-progress")
	if q.filter != "" && !r.noFilter {
		b = appendPacket(b, "filter "+q.filter)
	}
	if q.depth > 0 {
		b = appendPacket(b, "deepen "+strconv.Itoa(q.depth))
	}
	b = slices.Grow(b, (len(q.wants)+len(q.haves))*(2*r.hash+10)+9)
	for _, id := range q.wants {
		b = appendPacket(b, "want "+id)
	}
	for _, id := range q.haves {
		b = appendPacket(b, "have "+id)
	}
	if !q.ask {
		b = appendPacket(b, "done")
	}
	return append(b, "0000"...)
}

// fetch asks for objects and writes the pack that comes to sink, which sees the
// whole of it or an error comes. A server that knows no filters is asked without.
func (r *remote) fetch(ctx context.Context, q request, sink packSink) (fetched, error) {
	got, err := r.fetchOnce(ctx, q, sink)
	if errors.Is(err, errArgument) && q.filter != "" && !r.noFilter {
		r.noFilter = true
		got, err = r.fetchOnce(ctx, q, sink)
	}
	return got, err
}

func (r *remote) fetchOnce(ctx context.Context, q request, sink packSink) (fetched, error) {
	a, err := r.post(ctx, r.encode(q))
	if err != nil {
		return fetched{}, err
	}
	defer a.Close()
	return r.read(a, sink)
}

// read reads the sections of an answer.
func (r *remote) read(a *answer, sink packSink) (got fetched, err error) {
	for {
		kind, section, err := a.line()
		if err != nil {
			return got, err
		}
		if kind != packetData {
			return got, errPacket
		}
		switch section {
		case "packfile":
			got.sent = true
			err = r.pack(a, sink)
			a.whole = err == nil
			return got, err
		case "acknowledgments", "shallow-info", "wanted-refs":
		default:
			return got, errPacket
		}
		more, err := got.section(a)
		if err != nil || !more {
			a.whole = err == nil
			return got, err
		}
	}
}

// section reads what comes before the pack; more is false when no pack comes.
func (g *fetched) section(a *answer) (more bool, err error) {
	for {
		kind, text, err := a.line()
		if err != nil {
			return false, err
		}
		switch kind {
		case packetDelim:
			return true, nil
		case packetFlush, packetEnd:
			return false, nil
		}
		g.acked = g.acked || strings.HasPrefix(text, "ACK ")
	}
}

// packSink takes a pack.
type packSink interface {
	// begin is told how many objects the pack holds.
	begin(objects uint32) error
	Write(p []byte) (int, error)
}

// pack reads the packets of a pack and checks its form and checksum.
func (r *remote) pack(a *answer, sink packSink) error {
	c := &packCheck{hash: sha1.New()}
	if r.hash == 32 {
		c.hash = sha256.New()
	}
	for {
		kind, payload, err := a.next()
		if err != nil {
			return err
		}
		if kind != packetData {
			return c.finish()
		}
		if len(payload) == 0 {
			return errPacket
		}
		text := payload[1:]
		switch payload[0] {
		case 1:
			err = c.take(text, sink)
			if err != nil {
				return err
			}
		case 2: // progress
		case 3:
			return serverError(string(text))
		default:
			return errPacket
		}
	}
}

var errPack = errors.New("pack is malformed")

// packCheck checks a pack's head and the checksum at its end.
type packCheck struct {
	hash hash.Hash
	head []byte
	tail []byte // the last bytes, which may be the checksum
	room [64]byte
}

func (c *packCheck) take(p []byte, sink packSink) error {
	if len(c.head) < 12 {
		n := min(12-len(c.head), len(p))
		c.head = append(c.head, p[:n]...)
		if len(c.head) == 12 {
			version := binary.BigEndian.Uint32(c.head[4:])
			if string(c.head[:4]) != "PACK" || version < 2 || version > 3 {
				return errPack
			}
			err := sink.begin(binary.BigEndian.Uint32(c.head[8:]))
			if err != nil {
				return err
			}
			_, err = sink.Write(c.head)
			if err != nil {
				return err
			}
			c.hash.Write(c.head)
		}
		p = p[n:]
	}
	if len(p) == 0 {
		return nil
	}
	size := c.hash.Size()
	if keep := size - len(p); keep > 0 { // the rest of the tail stays the tail
		drop := max(0, len(c.tail)-keep)
		c.hash.Write(c.tail[:drop])
		c.tail = append(append(c.room[:0], c.tail[drop:]...), p...)
	} else {
		c.hash.Write(c.tail)
		c.hash.Write(p[:len(p)-size])
		c.tail = append(c.room[:0], p[len(p)-size:]...)
	}
	_, err := sink.Write(p)
	return err
}

func (c *packCheck) finish() error {
	if len(c.head) < 12 || len(c.tail) < c.hash.Size() {
		return fmt.Errorf("%w: cut short", errPack)
	}
	if string(c.hash.Sum(nil)) != string(c.tail) {
		return fmt.Errorf("%w: its checksum differs", errPack)
	}
	return nil
}

// ref is a line of ls-refs.
type ref struct {
	Name, ID string
	Target   string // of a symbolic ref
	Peeled   string // what an annotated tag names
}

// refs lists the refs whose names begin with one of the prefixes, or all, and
// calls fn for each as they come.
func (r *remote) refs(ctx context.Context, fn func(ref) error, prefixes ...string) error {
	b := r.command("ls-refs")
	b = appendPacket(b, "symrefs")
	for _, p := range prefixes {
		b = appendPacket(b, "ref-prefix "+p)
	}
	a, err := r.post(ctx, append(b, "0000"...))
	if err != nil {
		return err
	}
	defer a.Close()
	for {
		kind, text, err := a.line()
		if err != nil {
			return err
		}
		if kind != packetData {
			a.whole = true
			return nil
		}
		f, ok := parseRef(text)
		if !ok {
			return errPacket
		}
		if f.ID == "unborn" {
			continue
		}
		if len(f.ID) != 2*r.hash {
			return errPacket
		}
		err = fn(f)
		if err != nil {
			return err
		}
	}
}

// parseRef reads "ID NAME[ symref-target:NAME][ peeled:ID]".
func parseRef(text string) (ref, bool) {
	id, rest, ok := strings.Cut(text, " ")
	name, rest, _ := strings.Cut(rest, " ")
	f := ref{Name: name, ID: id}
	if !ok || name == "" || !isID(id) && id != "unborn" {
		return ref{}, false
	}
	for attribute := range strings.FieldsSeq(rest) {
		key, value, _ := strings.Cut(attribute, ":")
		switch key {
		case "symref-target":
			f.Target = value
		case "peeled":
			if !isID(value) {
				return ref{}, false
			}
			f.Peeled = value
		}
	}
	return f, true
}

// format asks the server which ids it uses: it tells in its advertisement.
func (r *remote) format(ctx context.Context) error {
	a, err := r.send(ctx, http.MethodGet, "/info/refs?service=git-upload-pack", nil, "application/x-git-upload-pack-advertisement")
	if err != nil {
		return err
	}
	defer a.Close()
	version, formats := false, "sha1"
	for {
		kind, text, err := a.line()
		if err != nil {
			return err
		}
		switch {
		case kind == packetData && strings.HasPrefix(text, "# service="):
		case kind == packetData && text == "version 2":
			version = true
		case kind == packetData && !version, kind != packetData && kind != packetFlush:
			return ErrProtocol
		case kind == packetData:
			key, value, _ := strings.Cut(text, "=")
			if key == "object-format" {
				formats = value
			}
		case version:
			return r.use(formats)
		}
	}
}

func (r *remote) use(format string) error {
	switch format {
	case "sha1":
		r.hash = 20
	case "sha256":
		r.hash = 32
	default:
		return fmt.Errorf("unknown object format %s", printable(format, 20))
	}
	return nil
}
