package history

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stanch/scanner"
	"stanch/scanner/gitpack"
	"stanch/scanner/gitwire"
)

// held lets the first bytes of an answer through, and the rest when it may.
type held struct {
	http.ResponseWriter
	left int
	may  <-chan struct{}
}

func (h *held) Write(p []byte) (int, error) {
	h.left -= len(p)
	if h.left < 0 {
		select {
		case <-h.may:
		case <-time.After(time.Minute): // the test fails
		}
	}
	return h.ResponseWriter.Write(p)
}

// serve offers a repository over HTTP; of each answer first bytes come at once, the
// rest when may is closed.
func serve(t *testing.T, gitDir string, first int, may <-chan struct{}) string {
	t.Helper()
	core, err := exec.Command("git", "--exec-path").Output()
	must(t, err)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(core)), "git-http-backend"), Env: []string{
			"GIT_PROJECT_ROOT=" + gitDir, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"), "GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent",
		}}
		h.ServeHTTP(&held{w, first, may}, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// largeHistory writes a history whose pack is some 16 MB: files of noise, one file
// in many versions that tokens come to and go from, keys that are replaced between
// the same lines, a merge that brings something, and names.
func largeHistory(t *testing.T, format string, tagged bool) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir()}
	r.git("init", "-q", "-b", "main", "--object-format="+format)
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		const set = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _"
		b := make([]byte, n)
		for i := range b {
			b[i] = set[random.IntN(len(set))]
			if i%60 == 59 {
				b[i] = '\n'
			}
		}
		return string(b)
	}
	var in bytes.Buffer
	mark := 0
	commit := func(branch, message, more string, files map[string]string) {
		mark++
		fmt.Fprintf(&in, "commit refs/heads/%s\nmark :%d\ncommitter Carl <carl@example.com> %d +0000\ndata %d\n%s\n%s", branch, mark, 1_700_000_000+60*mark, len(message), message, more)
		for _, name := range slices.Sorted(func(yield func(string) bool) {
			for n := range files {
				if !yield(n) {
					return
				}
			}
		}) {
			fmt.Fprintf(&in, "M 100644 inline %s\ndata %d\n%s\n", name, len(files[name]), files[name])
		}
	}
	lines := strings.SplitAfter(noise(30_000), "\n")
	for i := range 240 {
		at := random.IntN(len(lines))
		lines[at] = noise(60)
		if i%20 == 3 {
			lines[at] = "token = " + tok(i) + "\n"
		}
		files := map[string]string{"conf/settings.txt": strings.Join(lines, ""), "keys/" + fmt.Sprint(i%3) + ".pem": "-----BEGIN RSA PRIVATE KEY-----\n" + noise(900) + "-----END RSA PRIVATE KEY-----\n"}
		if i%5 == 0 {
			files[fmt.Sprintf("noise/%d.txt", i)] = noise(400_000)
		}
		message := "change"
		if i == 100 {
			message = "with " + tok(500)
		}
		commit("main", message, "", files)
	}
	commit("side", "side", "", map[string]string{"side.txt": "nothing"})
	commit("side", "merge", "merge refs/heads/main\n", map[string]string{"merged.txt": "key " + tok(501)})
	cmd := exec.Command("git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Stdin = r.dir, &in
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.dir, "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("fast-import: %v\n%s", err, out)
	}
	if tagged {
		r.git("tag", "-a", "-m", "with "+tok(502), "v1", "main")
	}
	return r
}

// summary is what is compared of findings.
func summary(fs []scanner.Finding) (out []string) {
	for _, f := range fs {
		out = append(out, fmt.Sprintf("%s %s %+v", f.Rule, f.Secret.Reveal(), f.Place))
	}
	slices.Sort(out)
	return out
}

// TestRemoteIsScannedWhileItArrives lets a server send the end of a pack only when
// blobs were looked at, and wants the findings of the repository on disk.
func TestRemoteIsScannedWhileItArrives(t *testing.T) {
	if testing.Short() {
		t.Skip("scans a pack of 16 MB")
	}
	for name, c := range map[string]struct {
		format string
		tagged bool
	}{"families together": {"sha1", true}, "families scattered, SHA-256": {"sha256", false}} {
		t.Run(name, func(t *testing.T) {
			r := largeHistory(t, c.format, c.tagged)
			want, wantRes := r.scan(Options{})
			may := make(chan struct{})
			url := serve(t, filepath.Join(r.dir, ".git"), 12<<20, may)
			o := Options{Engine: engine()}
			e := newEarly(context.Background(), o)
			temp := t.TempDir()
			var once sync.Once
			var during int
			m, err := gitwire.Receive(context.Background(), gitwire.Remote{URL: url}, gitwire.Limits{TempDir: temp}, nil, func(worker int, o *gitpack.Object, id gitpack.ID) any {
				if o.Type == gitpack.Blob {
					once.Do(func() {
						left, _ := os.ReadDir(temp)
						during = len(left)
						close(may)
					})
				}
				return e.visit(worker, o, id)
			})
			must(t, err)
			defer m.Close()
			select {
			case <-may:
			default:
				t.Error("no blob was handed out before the pack was there")
			}
			if during != 0 {
				t.Errorf("%d files with a name lay on disk", during)
			}
			e.settle(m.Repo)
			var got []scanner.Finding
			res, err := scanRepo(context.Background(), m.Repo, o, e, func(f scanner.Finding) { got = append(got, f) })
			must(t, err)
			if len(want) < 50 || !slices.Equal(summary(got), summary(want)) {
				t.Errorf("%d findings, %d on disk", len(got), len(want))
			}
			if res.Partial || res.Blobs != wantRes.Blobs || res.Bytes != wantRes.Bytes || res.Commits != wantRes.Commits || res.Tags != wantRes.Tags {
				t.Errorf("result %+v, on disk %+v", res, wantRes)
			}
		})
	}
}

// TestRemoteFails cuts a pack off: nothing stays, and nothing hangs.
func TestRemoteFails(t *testing.T) {
	r := newRepo(t)
	r.write("a.txt", "token="+tok(1))
	r.commit("one")
	backend := serve(t, filepath.Join(r.dir, ".git"), 1<<30, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		proxy, err := http.NewRequest(req.Method, backend+req.URL.String(), req.Body)
		if err != nil {
			return
		}
		proxy.Header = req.Header
		resp, err := http.DefaultClient.Do(proxy)
		if err != nil {
			return
		}
		defer func() { _ = resp.Body.Close() }()
		var b bytes.Buffer
		_, _ = b.ReadFrom(resp.Body)
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		data := b.Bytes()
		if i := bytes.Index(data, []byte("PACK")); i >= 0 {
			data = data[:i+40]
		}
		_, _ = w.Write(data)
	}))
	defer srv.Close()
	temp := t.TempDir()
	res, err := ScanRemote(context.Background(), gitwire.Remote{URL: srv.URL}, gitwire.Limits{TempDir: temp}, Options{Engine: engine()}, nil, func(scanner.Finding) {})
	if err == nil || !res.Partial {
		t.Errorf("a pack that is cut off: %+v", res)
	}
	left, _ := os.ReadDir(temp)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	http.DefaultClient.CloseIdleConnections()
}
