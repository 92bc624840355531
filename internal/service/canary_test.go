package service_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stanch/internal/config"
	labgithub "stanch/internal/lab/github"
	"stanch/internal/ledger"
	"stanch/internal/service"
	"stanch/internal/store"
	"stanch/responder/incident"
	"stanch/responder/report"
)

// canaryFarm makes secrets and the files that leak them.
type canaryFarm struct {
	*world
	c   *canaries
	rng *mrand.Rand
}

const (
	alnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	base32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

func (f *canaryFarm) text(alphabet string, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[f.rng.IntN(len(alphabet))]
	}
	return string(out)
}

// foreignPair is a key pair of an account that nobody enrolled.
func (f *canaryFarm) foreignPair(how string) string {
	id, key := "AKIAI"+f.text(base32, 15), f.c.plant(f.text(alnum+"/+", 40), how)
	return "AWS_ACCESS_KEY_ID=" + id + "\nAWS_SECRET_ACCESS_KEY=" + key + "\n"
}

// pair is a live key pair of the enrolled account.
func (f *canaryFarm) pair(how string) string {
	k, err := f.aws.AddUser("bot-"+strings.ToLower(f.text(alnum, 10)), "/", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
	if err != nil {
		f.t.Fatal(err)
	}
	return "AWS_ACCESS_KEY_ID=" + k.ID + "\nAWS_SECRET_ACCESS_KEY=" + f.c.plant(k.Secret.Reveal(), how) + "\n"
}

var tokenKinds = []string{labgithub.KindClassic, labgithub.KindFineGrained, labgithub.KindOAuth, labgithub.KindAppUser, labgithub.KindAppRefresh}

// token is a live GitHub token.
func (f *canaryFarm) token(kind, how string) string {
	v, err := f.gh.CreateToken("dana", kind, "repo")
	if err != nil {
		f.t.Fatal(err)
	}
	return f.c.plant(v, how+" ("+kind+")")
}

// privateKey is a PEM block; its canaries are lines of it.
func (f *canaryFarm) privateKey(how string) string {
	k, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // a small one is quick and is as secret
	if err != nil {
		f.t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
	lines := strings.Split(text, "\n")
	for _, n := range []int{2, 5, 9} {
		f.c.plant(lines[n], how)
	}
	return text
}

// files leaks n secrets of each usual kind in the trees of one commit.
func (f *canaryFarm) files(n int) map[string]string {
	out := map[string]string{}
	for k := range n {
		dir := fmt.Sprintf("svc%02d/", k)
		out[dir+"foreign.env"] = f.foreignPair("a foreign AWS key in a file")
		out[dir+"token.sh"] = "curl -H 'Authorization: token " + f.token(tokenKinds[k%len(tokenKinds)], "a token in a file") + "' https://api.github.com/user\n"
		out[dir+"settings.py"] = "payment_api_key = \"" + f.c.plant(f.text(alnum, 40), "a generic secret in a file") + "\"\n"
		out[dir+"encoded.txt"] = "Authorization: Basic " + encodeBasic("x:"+f.token(labgithub.KindClassic, "a token in base64 in a file")) + "\n"
		if k%10 == 0 {
			out[dir+"own.env"] = f.pair("an enrolled AWS key in a file")
			out[dir+"id_rsa"] = f.privateKey("a private key in a file")
		}
	}
	return out
}

func encodeBasic(s string) string {
	r, _ := http.NewRequest(http.MethodGet, "http://x.invalid", nil)
	user, password, _ := strings.Cut(s, ":")
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// echo stands before a provider and answers every third request with an error
// that repeats what was sent: some providers do.
func echo(t *testing.T, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.Out.Host = r.In.Host
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := n.Add(1)
		if k%3 != 0 {
			proxy.ServeHTTP(w, r)
			return
		}
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.Header().Set("X-GitHub-Request-Id", r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader([]int{500, 422, 429, 502}[k/3%4])
		_ = json.NewEncoder(w).Encode(map[string]any{"message": "cannot handle " + r.Header.Get("Authorization"), "errors": []string{string(body)}})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestCanaries plants more than 500 secrets along every way in, lets the service
// do all it does with them, and finds none in anything that it wrote.
func TestCanaries(t *testing.T) {
	began := time.Now()
	w := newWorld(t, options{mode: incident.ModeAct, configure: func(c *config.Config) {
		c.AdminListen = freePort(t)
		c.Log.Level = "debug"
		c.Trail.Polls = []config.Duration{config.Duration(2 * time.Second)}
		p := c.Providers["github"]
		p.BaseURL = echo(t, p.BaseURL)
		c.Providers["github"] = p
		c.Egress.Allow = append(c.Egress.Allow, strings.TrimPrefix(p.BaseURL, "http://"))
	}})
	f := &canaryFarm{world: w, c: newCanaries(), rng: mrand.New(mrand.NewPCG(5, 5))}
	f.push()
	f.knock()
	var outputs bytes.Buffer // what people and callers were shown
	f.hand(&outputs)
	f.misconfigure(&outputs)
	f.settle()
	if n := len(f.c.planted); n < 500 {
		t.Errorf("%d canaries are planted, want 500", n)
	}
	t.Logf("%d canaries planted and handled after %s", len(f.c.planted), time.Since(began).Round(time.Second))
	incidents := f.show(&outputs)
	f.grep("what was shown", outputs.Bytes())
	f.grep("the log", []byte(w.log.String()))
	f.grepFiles("the running service's data")
	rows := f.grepRows()
	w.shutdown()
	total := f.grepFiles("the data directory at rest")
	f.grep("the log at the end", []byte(w.log.String()))
	t.Logf("%d incidents; looked through %d rows, %d MB of files, %d kB of log, %d kB shown; %s",
		incidents, rows, total>>20, len(w.log.String())>>10, outputs.Len()>>10, time.Since(began).Round(time.Second))
}

// push leaks in files, messages, people, paths, branches and tags.
func (f *canaryFarm) push() {
	dir := f.clone()
	f.commit(dir, "Add services", f.files(100))
	f.git(dir, "push", "--quiet", "origin", "main")
	for k := range 5 {
		kind := tokenKinds[k%len(tokenKinds)]
		f.commit(dir, "Rotate "+f.token(kind, "a token in a commit message"), map[string]string{"a.txt": fmt.Sprint(k)})
		f.commit(dir, "Add a path", map[string]string{"keys/" + f.token(kind, "a token in a path") + "/readme": "x"})
		f.git(dir, "-c", "user.name=x", "commit", "--quiet", "--allow-empty", "-m", "By", "--author",
			f.token(kind, "a token as an author")+" <"+f.token(kind, "a token as an e-mail")+"@acme.example>")
	}
	f.git(dir, "push", "--quiet", "origin", "main")
	for k := range 5 {
		kind := tokenKinds[k%len(tokenKinds)]
		branch := "fix/" + f.token(kind, "a token in a branch name")
		f.git(dir, "checkout", "--quiet", "-b", branch)
		f.commit(dir, "On a branch", map[string]string{"b.txt": f.token(kind, "a token on such a branch")})
		tag := "v" + f.token(kind, "a token in a tag name")
		f.git(dir, "tag", "-a", tag, "-m", "Release "+f.token(kind, "a token in a tag message"))
		f.git(dir, "push", "--quiet", "origin", branch, tag)
		f.git(dir, "push", "--quiet", "origin", "--delete", branch)
	}
}

// knock sends what the webhook refuses.
func (f *canaryFarm) knock() {
	post := func(body string, sign bool, header map[string]string, path string) {
		req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(f.hook, "/github/webhook")+path, strings.NewReader(body))
		if err != nil {
			f.t.Fatal(err)
		}
		mac := hmac.New(sha256.New, []byte(f.app.WebhookSecret))
		if sign {
			mac.Write([]byte(body))
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-GitHub-Event", "push")
		req.Header.Set("X-GitHub-Delivery", "00000000-0000-4000-8000-000000000001")
		req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
		for k, v := range header {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			f.t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode/100 == 2 {
			f.t.Errorf("%s was taken: %s", path, res.Status)
		}
	}
	const hook = "/github/webhook"
	for _, kind := range tokenKinds {
		post(`{"ref":"refs/heads/`+f.token(kind, "a token in a body with a bad signature")+`"}`, false, nil, hook)
		post(`{"ref":"refs/heads/`+f.token(kind, "a token in a body that is no push")+`"}`, true, nil, hook)
		post(`{"ref":`+f.token(kind, "a token in a body that is no JSON"), true, nil, hook)
		post(`{"`+f.token(kind, "a token as a key")+`":1,"ref":7}`, true, nil, hook)
		post(`{}`, true, map[string]string{"X-GitHub-Event": f.token(kind, "a token as an event")}, hook)
		post(`{}`, true, map[string]string{"X-GitHub-Delivery": f.token(kind, "a token as a delivery id") + "!"}, hook)
		post(`{}`, true, map[string]string{"X-Hub-Signature-256": f.token(kind, "a token as a signature")}, hook)
		post(`{}`, false, map[string]string{"User-Agent": "agent " + f.token(kind, "a token as a user agent")}, hook)
		post(`{}`, false, map[string]string{"Authorization": "Bearer " + f.token(kind, "a token as authorization")}, hook)
		post(`{}`, false, nil, hook+"?access_token="+f.token(kind, "a token in a query"))
		post(`{}`, false, nil, "/"+f.token(kind, "a token in a URL's path"))
	}
}

// hand gives credentials in by hand, good ones and malformed ones.
func (f *canaryFarm) hand(out io.Writer) {
	for _, in := range []string{
		f.token(labgithub.KindClassic, "a token handed in"),
		`{"token":"` + f.token(labgithub.KindClassic, "a token handed in as JSON") + `"}`,
		`{"token":7,"` + f.token(labgithub.KindClassic, "a token in malformed JSON") + `":1}`,
		`{"` + f.token(labgithub.KindClassic, "a token in broken JSON"),
		"no token at all: " + f.c.plant(f.text(alnum, 40), "an unknown value handed in"),
	} {
		d, err := f.svc.Respond(context.Background(), service.Handed{Provider: "github", By: "erin", Input: []byte(in)}, 0)
		fmt.Fprintln(out, err)
		_ = json.NewEncoder(out).Encode(d)
		var bad *service.InputError
		if errors.As(err, &bad) {
			fmt.Fprintln(out, bad.Hint)
		}
	}
}

// misconfigure loads configurations that hold secrets where none belongs.
func (f *canaryFarm) misconfigure(out io.Writer) {
	dir := f.t.TempDir()
	for n, text := range []string{
		"github: {webhook_secret: " + f.token(labgithub.KindClassic, "a token in a configuration") + "}\n",
		"database: postgres://user:" + f.c.plant(f.text(alnum, 32), "a password in a configuration") + "@db/x\n",
		"providers:\n  aws:\n    credentials:\n      secret_access_key: " + f.c.plant(f.text(alnum, 40), "an AWS secret in a configuration") + "\n",
		"github:\n  private_key: |\n    " + strings.ReplaceAll(f.privateKey("a private key in a configuration"), "\n", "\n    ") + "\n",
		"log: {level: [" + f.token(labgithub.KindClassic, "a token in malformed YAML") + "\n",
	} {
		path := filepath.Join(dir, fmt.Sprintf("%d.yaml", n))
		err := os.WriteFile(path, []byte(text), 0o600)
		if err != nil {
			f.t.Fatal(err)
		}
		_, err = config.Load(path)
		if err == nil {
			f.t.Errorf("configuration %d was taken", n)
		}
		fmt.Fprintf(out, "%v\n%+v\n", err, err)
	}
}

// settle waits until nothing is left to do.
func (f *canaryFarm) settle() {
	f.t.Helper()
	ctx := context.Background()
	err := f.gh.Wait(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	deadline := time.Now().Add(15 * time.Minute) // a bound against hanging; the race detector needs minutes
	for {
		var due, open int
		err := f.svc.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
			return errors.Join(
				tx.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state NOT IN ('completed', 'discarded', 'cancelled')").Scan(&due),
				tx.QueryRow(ctx, "SELECT count(*) FROM deliveries WHERE state <> 'done'").Scan(&open))
		})
		if err != nil {
			f.t.Fatal(err)
		}
		if due == 0 && open == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Errorf("%d jobs and %d deliveries are still open", due, open)
			return
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the service runs in real time
	}
}

// show collects what the commands, /metrics and /healthz give out; it returns the
// number of incidents.
func (f *canaryFarm) show(out *bytes.Buffer) int {
	f.t.Helper()
	ctx := context.Background()
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		res, err := http.Get("http://" + f.cfg.AdminListen + path)
		if err != nil {
			f.t.Fatal(err)
		}
		_, err = io.Copy(out, res.Body)
		res.Body.Close()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	is, err := f.svc.Incidents(ctx, store.IncidentFilter{Limit: 10_000})
	if err != nil {
		f.t.Fatal(err)
	}
	shown := map[string]int{}
	for _, i := range is {
		err := json.NewEncoder(out).Encode(service.Summarise(i))
		if err != nil {
			f.t.Fatal(err)
		}
		shown[i.Provider+"/"+i.Kind]++
		if shown[i.Provider+"/"+i.Kind] > 12 {
			continue // their reports are among the files
		}
		err = json.NewEncoder(out).Encode(f.detail(i.ID))
		if err != nil {
			f.t.Fatal(err)
		}
		r, err := f.svc.Report(ctx, i.ID, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		data, err := report.JSON(r)
		out.Write(data)
		err = errors.Join(err, report.Markdown(out, r), report.HTML(out, r))
		if err != nil {
			f.t.Fatal(err)
		}
	}
	export := filepath.Join(f.cfg.DataDir, "exported-ledger")
	err = f.svc.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		_, err := ledger.Export(ctx, tx, export, f.svc.Ledger.VerifierKey())
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return len(is)
}

// grep fails for every canary in data.
func (f *canaryFarm) grep(what string, data []byte) {
	f.t.Helper()
	for n, h := range f.c.hits(data) {
		if n == 10 {
			f.t.Errorf("%s: and more", what)
			break
		}
		f.t.Errorf("%s: %s", what, h)
	}
}

// grepFiles reads the data directory but for our own keys; it returns its size.
func (f *canaryFarm) grepFiles(what string) int {
	f.t.Helper()
	total := 0
	err := filepath.WalkDir(f.cfg.DataDir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file that is gone
		}
		if err != nil || d.IsDir() {
			f.grep(what+", a name", []byte(path))
			return err
		}
		switch d.Name() {
		case "seal.key", "fingerprint.key", "ledger.key":
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		total += len(data)
		f.grep(what+", "+d.Name(), data)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return total
}

// grepRows reads every column of every table, as a value can lie across pages of
// the file; it returns the number of rows.
func (f *canaryFarm) grepRows() int {
	f.t.Helper()
	ctx := context.Background()
	total := 0
	err := f.svc.DB.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var tables []string
		rows, err := tx.Query(ctx, "SELECT name FROM sqlite_master WHERE type = 'table'")
		if err != nil {
			return err
		}
		for rows.Next() {
			var name string
			err := rows.Scan(&name)
			if err != nil {
				return err
			}
			tables = append(tables, name)
		}
		rows.Close()
		for _, name := range tables {
			var all bytes.Buffer
			rows, err := tx.Query(ctx, `SELECT * FROM "`+name+`"`)
			if err != nil {
				return err
			}
			columns, err := rows.Columns()
			if err != nil {
				return err
			}
			cells := make([]any, len(columns))
			for n := range cells {
				cells[n] = new(any)
			}
			for rows.Next() {
				err := rows.Scan(cells...)
				if err != nil {
					return err
				}
				total++
				for n, c := range cells {
					fmt.Fprintf(&all, "%s=%s\n", columns[n], *c.(*any))
				}
			}
			rows.Close()
			f.grep("table "+name, all.Bytes())
		}
		return rows.Err()
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return total
}
