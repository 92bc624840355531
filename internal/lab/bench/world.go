package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	labaws "stanch/internal/lab/aws"
	labgithub "stanch/internal/lab/github"
)

// The latency that a call of a provider has, where no real one can be had.
const (
	latencyMin = 50 * time.Millisecond
	latencyMax = 200 * time.Millisecond
)

// world is the laboratories and an organisation in them.
type world struct {
	dir  string
	gh   *labgithub.Server
	rest *httptest.Server // the laboratory's REST API behind a slow line
	aws  *labaws.Server
	org  *labaws.Organisation
	app  *labgithub.App
	dev  *labgithub.Account

	owners []string // of leaked tokens
}

func newWorld(o Options, dir string) (*world, error) {
	w := &world{dir: dir}
	err := w.build(o)
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) build(o Options) error {
	var err error
	w.gh, err = labgithub.Start(labgithub.Options{Seed: uint64(o.Seed), RevokeLimit: 1 << 30})
	if err != nil {
		return err
	}
	w.aws, err = labaws.Start(labaws.Options{Seed: o.Seed, Latency: &labaws.Span{Min: latencyMin, Max: latencyMax}})
	if err != nil {
		return err
	}
	w.org, err = w.aws.Seed()
	if err != nil {
		return err
	}
	w.rest, err = slowLine(w.gh.APIURL())
	if err != nil {
		return err
	}
	w.dev, err = w.gh.CreateUser("dana")
	if err != nil {
		return err
	}
	w.owners = []string{"acme", "dana"}
	_, err = w.gh.CreateOrg("acme", labgithub.PlanEnterprise, "dana")
	if err != nil {
		return err
	}
	w.app, err = w.gh.CreateApp(labgithub.AppOptions{Name: "stanch", Owner: "acme", Permissions: map[string]string{
		"contents": "read", "organization_administration": "read", "secret_scanning_alerts": "read",
	}})
	return err
}

func (w *world) close() {
	if w.rest != nil {
		w.rest.Close()
	}
	if w.aws != nil {
		_ = w.aws.Close()
	}
	if w.gh != nil {
		w.gh.Close()
	}
}

// slowLine passes requests on after a latency.
func slowLine(to string) (*httptest.Server, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: transport,
	}
	return httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		t := time.NewTimer(latencyMin + rand.N(latencyMax-latencyMin))
		defer t.Stop()
		select {
		case <-t.C:
			proxy.ServeHTTP(rw, r)
		case <-r.Context().Done():
		}
	})), nil
}

// config is the service's configuration for this world.
func (w *world) config() (map[string]any, error) {
	dir := filepath.Join(w.dir, "credentials")
	err := os.MkdirAll(dir, 0o700)
	if err != nil {
		return nil, err
	}
	file := func(name, content string) map[string]any {
		path := filepath.Join(dir, name)
		werr := os.WriteFile(path, []byte(content), 0o600)
		if err == nil {
			err = werr
		}
		return map[string]any{"file": path}
	}
	cfg := map[string]any{
		"github": map[string]any{
			"api_url": w.rest.URL, "web_url": w.gh.URL(), "app_id": w.app.ID,
			"private_key": file("app.pem", string(w.app.PrivateKeyPEM)), "webhook_secret": file("webhook", w.app.WebhookSecret),
		},
		"policy": map[string]any{"mode": "act"},
		"guard":  map[string]any{"max_verdicts_per_hour": 1_000_000, "max_acts_per_hour": 1_000_000},
		"ledger": map[string]any{"origin": "stanch-bench"},
		"pprof":  true,
		"providers": map[string]any{
			"aws": map[string]any{
				"endpoint_url": w.aws.URL,
				"credentials":  map[string]any{"access_key_id": file("aws-id", w.org.Stanch.ID), "secret_access_key": file("aws-secret", w.org.Stanch.Secret.Reveal())},
				"accounts": []map[string]any{{
					"id": w.org.Account, "name": "acme-production", "role_arn": w.org.RoleARN, "external_id": file("aws-external-id", w.org.ExternalID), "owner": "platform team",
				}},
			},
			"github": map[string]any{"base_url": w.rest.URL, "owners": w.owners},
		},
		"egress": map[string]any{"allow": []string{host(w.aws.URL), host(w.gh.URL()), host(w.rest.URL)}},
	}
	return cfg, err
}

func host(u string) string { return strings.TrimPrefix(u, "http://") }

// git runs a developer's git, with nothing of this machine's configuration.
func (w *world) git(ctx context.Context, dir, stdin string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// repo is a repository and a developer's clone of it, in which every commit that
// will be pushed is there already.
type repo struct {
	made    *labgithub.Repo
	url     string
	clone   string
	commits []string
}

// newRepo makes a repository whose first commit is pushed, and a clone with one
// more commit for each leak.
func (w *world) newRepo(ctx context.Context, n int, leaks []string) (*repo, error) {
	name := fmt.Sprintf("service-%02d", n)
	made, err := w.gh.CreateRepo("acme", name, n%2 == 1)
	if err != nil {
		return nil, err
	}
	r := &repo{
		made:  made,
		url:   strings.Replace(made.CloneURL, "http://", "http://"+w.dev.Login+":"+w.dev.Password+"@", 1),
		clone: filepath.Join(w.dir, "clones", name+".git"),
	}
	err = w.git(ctx, w.dir, "", "init", "--quiet", "--bare", "--initial-branch=main", r.clone)
	if err != nil {
		return nil, err
	}
	marks := filepath.Join(w.dir, "clones", name+".marks")
	err = w.git(ctx, r.clone, history(name, leaks), "fast-import", "--quiet", "--export-marks="+marks)
	if err != nil {
		return nil, err
	}
	r.commits, err = readMarks(marks, len(leaks)+1)
	if err != nil {
		return nil, err
	}
	err = r.push(ctx, w, 0)
	return r, err
}

// push pushes the commits up to n.
func (r *repo) push(ctx context.Context, w *world, n int) error {
	return w.git(ctx, r.clone, "", "push", "--quiet", r.url, r.commits[n]+":refs/heads/main")
}

// history is a stream for git fast-import: a first commit with some source, and
// one commit for each leak that changes source and adds the leaking file.
func history(name string, leaks []string) string {
	var b strings.Builder
	at := time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC).Unix()
	commit := func(mark int, message string, files map[string]string) {
		fmt.Fprintf(&b, "commit refs/heads/prepared\nmark :%d\nauthor Dana <dana@acme.example> %d +0000\ncommitter Dana <dana@acme.example> %d +0000\n", mark, at, at)
		fmt.Fprintf(&b, "data %d\n%s\n", len(message), message)
		if mark > 1 {
			fmt.Fprintf(&b, "from :%d\n", mark-1)
		}
		for path, text := range files {
			fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", path, len(text), text)
		}
		b.WriteByte('\n')
		at += 60
	}
	first := map[string]string{"README.md": "# " + name + "\n"}
	for f := range 40 {
		first[fmt.Sprintf("src/part%02d.go", f)] = source(f, 0)
	}
	commit(1, "Start", first)
	for n, leak := range leaks {
		commit(n+2, fmt.Sprintf("Deploy step %d", n+1), map[string]string{
			fmt.Sprintf("src/part%02d.go", n%40):  source(n%40, n+1),
			fmt.Sprintf("deploy/step%03d.env", n): leak,
		})
	}
	return b.String()
}

// source is about 4 KiB of clean text.
func source(part, version int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package part%02d\n\n", part)
	for n := range 60 {
		fmt.Fprintf(&b, "// Step%d returns the %d. of part %d.\nfunc Step%d() int { return %d }\n", n, n, part, n, n*part+version)
	}
	return b.String()
}

func readMarks(path string, want int) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	ids := make([]string, want)
	for line := range strings.Lines(string(data)) {
		var mark int
		var id string
		_, err := fmt.Sscanf(line, ":%d %s", &mark, &id)
		if err != nil || mark < 1 || mark > want {
			return nil, fmt.Errorf("read marks of git fast-import: %q", line)
		}
		ids[mark-1] = id
	}
	return ids, nil
}
