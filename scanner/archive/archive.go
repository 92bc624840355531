// Package archive opens what is packed: zip and all that is one (jar, war, apk,
// whl, nupkg, docx, xlsx), tar, 7z, and files under gzip, bzip2, xz and zstd, one
// inside the other.
//
// # What this package promises
//
// [Open] ends within its limits whatever the bytes are: bombs, archives that hold
// themselves, sizes that lie, names that lead elsewhere. What it could not look at
// it names, so that the result can be marked partial.
//
// # What it never does
//
// It writes no file and follows no link; a name in an archive is a label only.
package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Limits bound one call of [Open]. A zero field is that of [Default].
type Limits struct {
	Depth   int           // archives inside archives; a compressed tar is one
	Bytes   int64         // expanded bytes of all files together, compression layers included
	Ratio   int64         // expanded to packed bytes of one stream, once it is over a megabyte
	Entries int           // files, directories and all else that has a header
	Time    time.Duration // from the call on
}

// Default is what a push may cost: enough for the archives that people commit.
var Default = Limits{Depth: 4, Bytes: 64 << 20, Ratio: 100, Entries: 10000, Time: 10 * time.Second}

const (
	ratioFrom  = 1 << 20 // bytes below which any ratio is let pass: a file of zeros is no bomb
	window     = 32 << 20
	longestTag = 300 // bytes of a name in an archive
)

// format is how data is packed.
type format int

const (
	unpacked format = iota
	zipped
	tarred
	gzipped
	bzipped
	xzed
	zstded
	sevened
	foreign // packed in a way that is not read
)

func formatOf(head []byte) format {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipped
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")):
		return gzipped
	case bytes.HasPrefix(head, []byte("BZh")) && len(head) > 9 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return bzipped
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return xzed
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		return zstded
	case len(head) >= 262 && string(head[257:262]) == "ustar":
		return tarred
	case bytes.HasPrefix(head, []byte("7z\xbc\xaf\x27\x1c")):
		return sevened
	case bytes.HasPrefix(head, []byte("Rar!\x1a\x07")):
		return foreign
	}
	return unpacked
}

// Is reports whether data is packed, by its first bytes.
func Is(data []byte) bool { return formatOf(data[:min(len(data), 512)]) != unpacked }

// Named reports whether a path is that of an archive, by its name.
func Named(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".zip", ".jar", ".war", ".ear", ".apk", ".aar", ".whl", ".egg", ".nupkg", ".snupkg", ".docx", ".xlsx", ".pptx", ".odt", ".ods", ".vsix", ".xpi", ".crx", ".ipa", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst", ".crate", ".gem", ".7z":
		return true
	}
	return false
}

// Open calls each with every file in data, in order, and the path "name!inner"
// that says where it is; the bytes are valid during the call only if they are not
// kept. An error of each ends it and is returned. The reasons say what was left
// out; none means that all was seen.
func Open(ctx context.Context, name string, data []byte, l Limits, each func(path string, data []byte) error) (reasons []string, err error) {
	if l.Depth <= 0 {
		l.Depth = Default.Depth
	}
	if l.Bytes <= 0 {
		l.Bytes = Default.Bytes
	}
	if l.Ratio <= 0 {
		l.Ratio = Default.Ratio
	}
	if l.Entries <= 0 {
		l.Entries = Default.Entries
	}
	if l.Time <= 0 {
		l.Time = Default.Time
	}
	ctx, cancel := context.WithTimeout(ctx, l.Time)
	defer cancel()
	o := opener{ctx: ctx, Limits: l, each: each, said: map[string]bool{}}
	err = o.open(name, data, 1)
	if errors.Is(err, errSpent) {
		err = nil
	}
	return o.reasons, err
}

// errSpent ends everything: a limit of the whole call is reached, and said.
var errSpent = errors.New("limit reached")

type opener struct {
	Limits
	ctx     context.Context
	each    func(string, []byte) error
	reasons []string
	said    map[string]bool
}

func (o *opener) say(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !o.said[s] && len(o.reasons) < 20 {
		o.said[s] = true
		o.reasons = append(o.reasons, s)
	}
}

// open opens data, which is packed.
func (o *opener) open(name string, data []byte, depth int) error {
	f := formatOf(data[:min(len(data), 512)])
	switch {
	case f == unpacked:
		return nil
	case depth > o.Depth:
		o.say("archives nested deeper than %d were not opened", o.Depth)
		return nil
	}
	switch f {
	case zipped:
		return o.zip(name, data, depth)
	case tarred:
		return o.tar(name, bytes.NewReader(data), depth)
	case sevened:
		return o.seven(name, data, depth)
	case foreign:
		o.say("an archive in a format that is not read was not opened")
		return nil
	}
	return o.stream(name, f, data, depth)
}

// stream opens one compressed stream, which may hold a tar.
func (o *opener) stream(name string, f format, data []byte, depth int) error {
	var r io.Reader
	var err error
	src := bytes.NewReader(data)
	switch f {
	case gzipped:
		r, err = gzip.NewReader(src)
	case bzipped:
		r = bzip2.NewReader(src)
	case xzed:
		r, err = xz.NewReader(src, window)
	case zstded:
		var d *zstd.Decoder
		d, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window), zstd.WithDecoderMaxMemory(uint64(max(o.Bytes, 1<<20)+window)))
		if err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		o.say("a compressed file is damaged")
		return nil
	}
	limited := &meter{o: o, r: r, packed: int64(len(data)), budget: &o.Bytes}
	br := bufio.NewReaderSize(limited, 4096)
	head, _ := br.Peek(512)
	if formatOf(head) == tarred {
		around := 2*o.Bytes + ratioFrom // its files are counted; this is for what is around them
		limited.budget = &around
		return o.tar(name, br, depth)
	}
	inner, err := io.ReadAll(br)
	if stop := o.failed(err); stop != nil {
		return stop
	}
	base := path.Base(strings.ReplaceAll(name, "!", "/"))
	return o.file(name+"!"+strings.TrimSuffix(base, path.Ext(base)), inner, depth)
}

// file hands a file on, and opens it when it is packed itself.
func (o *opener) file(name string, data []byte, depth int) error {
	if Is(data) {
		return o.open(name, data, depth+1)
	}
	if len(data) == 0 {
		return nil
	}
	return o.each(name, data)
}

// failed turns an error of reading into a reason; only what ends everything is
// given back.
func (o *opener) failed(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, errSpent):
		return err
	case errors.Is(err, errRatio):
		o.say("a file that expands more than %d times was not read to its end", o.Ratio)
	default:
		o.say("an archive is damaged or not all there")
	}
	return nil
}

// entry counts one header, and says when there were enough.
func (o *opener) entry() error {
	o.Entries--
	if o.Entries < 0 {
		o.say("an archive holds more entries than are read")
		return errSpent
	}
	return o.alive()
}

func (o *opener) alive() error {
	err := o.ctx.Err()
	if err == nil {
		return nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		o.say("an archive took longer than %s", o.Time)
	} else {
		o.say("stopped before the end")
	}
	return errSpent
}

var errRatio = errors.New("expands too much")

// meter counts what comes out of a decompressor and ends what is too much.
type meter struct {
	o      *opener
	r      io.Reader
	packed int64 // bytes that went in, at most
	out    int64
	budget *int64
}

func (m *meter) Read(p []byte) (int, error) {
	err := m.o.alive()
	if err != nil {
		return 0, err
	}
	if len(p) > 64<<10 {
		p = p[:64<<10]
	}
	n, err := m.r.Read(p)
	m.out += int64(n)
	*m.budget -= int64(n)
	switch {
	case *m.budget < 0:
		m.o.say("archives hold more bytes than are read")
		return n, errSpent
	case m.out > ratioFrom && m.out/max(m.packed, 1) > m.o.Ratio:
		return n, errRatio
	}
	return n, err
}

func (o *opener) zip(name string, data []byte, depth int) error {
	if bytes.Count(data, []byte("PK\x01\x02")) > o.Entries {
		o.say("an archive holds more entries than are read")
		return nil
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		o.say("an archive is damaged or not all there")
		return nil
	}
	for _, f := range z.File {
		err := o.entry()
		if err != nil {
			return err
		}
		if f.Mode()&^0o777 != 0 { // directories, links, devices
			continue
		}
		if f.Flags&1 != 0 {
			o.say("an archive is encrypted")
			continue
		}
		r, err := f.Open()
		if err != nil {
			o.say("an archive is damaged or packed in a way that is not read")
			continue
		}
		inner, err := io.ReadAll(&meter{o: o, r: r, packed: int64(min(f.CompressedSize64, uint64(len(data)))), budget: &o.Bytes})
		_ = r.Close()
		stop := o.failed(err)
		if stop != nil {
			return stop
		}
		err = o.file(name+"!"+o.label(f.Name), inner, depth)
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *opener) tar(name string, r io.Reader, depth int) error {
	t := tar.NewReader(r)
	for {
		err := o.entry()
		if err != nil {
			return err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return o.failed(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		// A sparse file is zeros that stand nowhere: they count as what they expand to.
		inner, err := io.ReadAll(&meter{o: o, r: t, packed: 1 << 40, budget: &o.Bytes})
		stop := o.failed(err)
		if stop != nil {
			return stop
		}
		err = o.file(name+"!"+o.label(h.Name), inner, depth)
		if err != nil {
			return err
		}
	}
}

// label makes of a name in an archive one that stays in it.
func (o *opener) label(name string) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(strings.ReplaceAll(name, "\\", "/"), "_"))
	clean := strings.TrimPrefix(path.Clean("/"+s), "/")
	if strings.HasPrefix(s, "/") || strings.Contains("/"+s+"/", "/../") {
		o.say("an archive holds names that lead out of it")
	}
	if len(clean) > longestTag {
		o.say("an archive holds names longer than %d bytes", longestTag)
		clean = strings.ToValidUTF8(clean[len(clean)-longestTag:], "_")
	}
	if clean == "" {
		return "_"
	}
	return clean
}
