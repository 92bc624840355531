package gitwire

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"stanch/internal/secret"
	"stanch/scanner/gitpack"
)

func TestPacketLines(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"0006a\n0000":         "0:a 1:",
		"0005a00010004000200": "0:a 2: 0: 3: !",
		"0003":                "!",
		"fff1":                "!",
		"00g0":                "!",
		"0009ab":              "!",
		"":                    "!",
		"000CERR no!!0000":    "!server says: no!!",
		"000eERR a\x1b[31m":   "!server says: a?[31m",
	} {
		p := newPackets(strings.NewReader(in))
		var got []string
		for {
			kind, text, err := p.line()
			if err != nil {
				if strings.HasPrefix(err.Error(), "server says") {
					got = append(got, "!"+err.Error())
				} else {
					got = append(got, "!")
				}
				break
			}
			got = append(got, fmt.Sprintf("%d:%s", kind, text))
			if kind == packetFlush {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestRequestText holds the requests to what gitprotocol-v2 says.
func TestRequestText(t *testing.T) {
	t.Parallel()
	r := newRemote("https://h/a/b.git/", secret.Value{}, 20)
	got := string(r.encode(request{wants: []string{idA}, haves: []string{idB}, depth: 2, filter: "blob:none"}))
	want := "0012command=fetch\n0015agent=git/stanch\n0001000eofs-delta\n0010no-progress\n0015filter blob:none\n000ddeepen 2\n" +
		"0032want " + idA + "\n0032have " + idB + "\n0009done\n0000"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.hash, r.noFilter = 32, true
	got = string(r.encode(request{wants: []string{idA}, filter: "tree:0", ask: true}))
	if !strings.Contains(got, "0019object-format=sha256\n0001") || strings.Contains(got, "filter") || strings.Contains(got, "done") {
		t.Errorf("got %q", got)
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]ref{
		idA + " HEAD symref-target:refs/heads/main": {Name: "HEAD", ID: idA, Target: "refs/heads/main"},
		idA + " refs/tags/v1 peeled:" + idB:         {Name: "refs/tags/v1", ID: idA, Peeled: idB},
		"unborn HEAD symref-target:refs/heads/x":    {Name: "HEAD", ID: "unborn", Target: "refs/heads/x"},
		idA:                                         {},
		idA + " ":                                   {},
		"xyz refs/heads/a":                          {},
		idA + " x peeled:--help":                    {},
	} {
		got, ok := parseRef(in)
		if got != want || ok != (want.Name != "") {
			t.Errorf("%q: %+v, %v", in, got, ok)
		}
	}
}

func TestStatusIsTold(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{301: ErrMoved, 302: ErrMoved, 307: ErrMoved, 308: ErrMoved, 401: ErrRefused, 403: ErrRefused, 404: ErrNotFound, 410: ErrNotFound, 429: nil, 500: nil, 503: nil} {
		err := statusError(status, nil)
		for _, sentinel := range []error{ErrRefused, ErrNotFound, ErrMoved, ErrTooLarge, ErrTimeout} {
			if errors.Is(err, sentinel) != (sentinel == want) {
				t.Errorf("%d: %v", status, err)
			}
		}
	}
}

// answering is a server that gives the same answer to every request.
func answering(t *testing.T, mediaType, body string) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/a/b.git"
}

// band gives text as packets of a side band.
func band(n byte, text string) string {
	var b strings.Builder
	for len(text) > 0 {
		part := text[:min(len(text), 1000)]
		text = text[len(part):]
		fmt.Fprintf(&b, "%04x%c%s", len(part)+5, n, part)
	}
	return b.String()
}

func packOf(objects uint32, body string) string {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), objects)
	b = append(b, body...)
	sum := sha1.Sum(b)
	return string(append(b, sum[:]...))
}

// TestHostileAnswers has a server say what none should: each is an error or a
// partial result, and nothing is left behind.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	const result = "application/x-git-upload-pack-result"
	good := "000dpackfile\n" + band(1, packOf(0, "")) + "0000"
	token := "ghs_" + strings.Repeat("canary", 5)
	for name, c := range map[string]struct {
		mediaType, body string
		want            error
		partial         bool
	}{
		"no objects":          {result, good, nil, true},
		"another media type":  {"text/html", good, ErrProtocol, false},
		"old protocol":        {result, "0008NAK\n" + packOf(0, ""), errPacket, false},
		"nothing":             {result, "", io.ErrUnexpectedEOF, false},
		"cut short":           {result, good[:len(good)-4], io.ErrUnexpectedEOF, false},
		"checksum":            {result, "000dpackfile\n" + band(1, packOf(0, "")[:31]+"x") + "0000", errPack, false},
		"no pack":             {result, "000dpackfile\n" + band(1, "no pack at all, but long enough for one") + "0000", errPack, false},
		"head alone":          {result, "000dpackfile\n" + band(1, "PACK") + "0000", errPack, false},
		"too many objects":    {result, "000dpackfile\n" + band(1, packOf(1<<31, "")) + "0000", nil, true},
		"objects that are no": {result, "000dpackfile\n" + band(1, packOf(5, "")) + "0000", gitpack.ErrCorrupt, false},
		"bad band":            {result, "000dpackfile\n0006\x09x0000", errPacket, false},
		"empty band":          {result, "000dpackfile\n00040000", errPacket, false},
		"fatal band":          {result, "000dpackfile\n" + band(2, "counting") + band(3, "oom \x07") + "0000", nil, false},
		"not our ref":         {result, string(appendPacket(nil, "ERR upload-pack: not our ref "+idA)), ErrNotFound, false},
		"odd section":         {result, "000apasta\n0000", errPacket, false},
	} {
		dir := t.TempDir()
		p := Push{URL: answering(t, c.mediaType, c.body), After: idA, Commits: []string{idA}, Token: secret.New(token)}
		res, err := Fetch(context.Background(), p, Limits{TempDir: dir}, func(Object) error { return nil })
		switch {
		case c.partial:
			if err != nil || !res.Partial {
				t.Errorf("%s: %+v, %v", name, res, err)
			}
		case err == nil || c.want != nil && !errors.Is(err, c.want):
			t.Errorf("%s: %+v, %v, want %v", name, res, err, c.want)
		case strings.Contains(err.Error(), "canary") || strings.ContainsRune(err.Error(), 7):
			t.Errorf("%s: %q", name, err)
		}
		left, _ := os.ReadDir(dir)
		if len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

// TestServerWithoutFilters is asked again without.
func TestServerWithoutFilters(t *testing.T) {
	t.Parallel()
	var asked []bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		filter := bytes.Contains(body, []byte("filter "))
		asked = append(asked, filter)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		if filter {
			text := "ERR unexpected line: 'filter blob:none'"
			fmt.Fprintf(w, "%04x%s", len(text)+4, text)
			return
		}
		_, _ = io.WriteString(w, "000dpackfile\n"+band(1, packOf(0, ""))+"0000")
	}))
	defer srv.Close()
	_, err := Fetch(context.Background(), Push{URL: srv.URL + "/a/b.git", After: idA, Commits: []string{idA}}, Limits{TempDir: t.TempDir()}, func(Object) error { return nil })
	if err != nil || len(asked) != 2 || !asked[0] || asked[1] {
		t.Errorf("asked %v: %v", asked, err)
	}
}

// TestHostileRefs has a server list what is no list of refs.
func TestHostileRefs(t *testing.T) {
	t.Parallel()
	advertised := "000eversion 2\n0000"
	for name, c := range map[string]struct {
		refs   string
		err    bool
		reason string
	}{
		"version 1":  {refs: "", err: true},
		"line feeds": {refs: string(appendPacket(nil, idA+" refs/heads/a\nrefs/heads/b")) + "0000", reason: "1 refs have names that Git does not allow"},
		"other hash": {refs: string(appendPacket(nil, strings.Repeat("a", 64)+" refs/heads/a")) + "0000", err: true},
		"no name":    {refs: string(appendPacket(nil, idA)) + "0000", err: true},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
				if name == "version 1" {
					_, _ = io.WriteString(w, string(appendPacket(nil, idA+" HEAD\x00multi_ack"))+"0000")
					return
				}
				_, _ = io.WriteString(w, advertised)
				return
			}
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			body, _ := io.ReadAll(r.Body)
			if bytes.Contains(body, []byte("ls-refs")) {
				_, _ = io.WriteString(w, c.refs)
				return
			}
			_, _ = io.WriteString(w, "000dpackfile\n"+band(1, packOf(0, ""))+"0000")
		}))
		m, err := Clone(context.Background(), Remote{URL: srv.URL + "/a/b.git"}, Limits{TempDir: t.TempDir()}, nil)
		if (err != nil) != c.err || name == "version 1" && !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if strings.Join(m.Reasons, "|") != c.reason {
				t.Errorf("%s: reasons %q", name, m.Reasons)
			}
			m.Close()
		}
		srv.Close()
	}
}

func TestParseTree(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("\x01", 20)
	for in, want := range map[string]string{
		"100644 a\x00" + id:                         "a true",
		"40000 d\x00" + id + "0120000 l\x00" + id:   "d/ l true",
		"160000 sub\x00" + id + "100644 z\x00" + id: "z true",
		"100644 a\x00" + id[:19]:                    "false",
		"100644 a":                                  "false",
		"10x644 a\x00" + id:                         "false",
		" a\x00" + id:                               "false",
		"100644 a\x00" + id + "junk":                "a false",
		"100644 ../../etc\x00" + id:                 "../../etc true",
		"100644 \x00" + id:                          "true",
	} {
		entries, whole := parseTree([]byte(in), 20)
		var got []string
		for _, e := range entries {
			if e.tree {
				e.name += "/"
			}
			got = append(got, e.name)
		}
		got = append(got, fmt.Sprint(whole))
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte("000dpackfile\n" + band(1, packOf(0, "")) + "0000"))
	f.Add([]byte("0014acknowledgments\n0031ACK " + idA + "\n0009ready0001000dpackfile\n" + band(2, "x") + band(1, packOf(1, "")) + "0002"))
	f.Add([]byte("0011shallow-info\n0035shallow " + idA + "0001"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &remote{hash: 20}
		a := &answer{packets: newPackets(bytes.NewReader(data))}
		v := newReceiver(t.TempDir(), 1<<20)
		defer v.spill.Close()
		got, err := r.read(a, v)
		if err == nil && got.sent && v.spill.Size() < 12 {
			t.Errorf("took %d bytes", v.spill.Size())
		}
		if v.spill.Size() > int64(len(data)) {
			t.Errorf("%d bytes of %d", v.spill.Size(), len(data))
		}
	})
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00" + strings.Repeat("\x01", 20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _ := parseTree(data, 20)
		for _, e := range entries {
			if e.name == "" || strings.ContainsRune(e.name, 0) || e.id.IsZero() {
				t.Errorf("entry %+v", e)
			}
		}
		_, _ = parseRef(string(data))
	})
}

func TestBusyServer(t *testing.T) {
	t.Parallel()
	for after, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-1": 0, "99999999": 0, "soon": 0} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		t.Cleanup(srv.Close)
		err := Refs(context.Background(), Remote{URL: srv.URL + "/a/b.git"}, Limits{}, func(string, string) error { return nil })
		var busy *BusyError
		if !errors.As(err, &busy) || busy.Status != 429 || busy.After != want {
			t.Errorf("Retry-After %q: %v, %+v", after, err, busy)
		}
	}
}
