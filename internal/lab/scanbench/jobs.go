package scanbench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Peer is another scanner. Kind says how it is called: "gitleaks", "betterleaks"
// or "trufflehog"; several builds of one kind may be measured side by side.
type Peer struct{ Name, Kind, Path string }

// FindPeers gives the peers that lie on PATH, and the fastest build of gitleaks
// under the name gitleaks-re2 (go build -tags gore2regex).
func FindPeers() []Peer {
	var out []Peer
	for _, p := range []Peer{{Name: "gitleaks", Kind: "gitleaks"}, {Name: "gitleaks-re2", Kind: "gitleaks"}, {Name: "betterleaks", Kind: "betterleaks"}, {Name: "trufflehog", Kind: "trufflehog"}} {
		path, err := exec.LookPath(p.Name)
		if err == nil {
			p.Path = path
			out = append(out, p)
		}
	}
	return out
}

// job is one command that is measured.
type job struct {
	tool    string
	argv    []string
	dir     string
	report  string           // file that it writes; "" for standard output
	before  func() error     // brings the start back
	count   func([]byte) int // findings of a report
	partial int              // exit code of a result that lacks what could not be read; 0 for none
}

func (j job) run(ctx context.Context, limit time.Duration) (Usage, error) {
	if j.before != nil {
		err := j.before()
		if err != nil {
			return Usage{}, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.argv[0], j.argv[1:]...)
	cmd.Dir = j.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0")
	var out, said bytes.Buffer
	cmd.Stderr = &said
	if j.report == "" {
		cmd.Stdout = &out
	}
	start := time.Now()
	err := cmd.Start()
	if err != nil {
		return Usage{}, err
	}
	memory := watchMemory(cmd)
	err = cmd.Wait()
	u := Usage{Wall: time.Since(start).Seconds(), Findings: -1, MemoryMB: memory()}
	partial := cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == j.partial && j.partial != 0
	if err != nil && !partial {
		if ctx.Err() != nil {
			return u, fmt.Errorf("took longer than %s", limit)
		}
		return u, fmt.Errorf("%w: %s", err, firstLine(lastLines(said.String())))
	}
	u.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if j.count == nil {
		return u, nil
	}
	report := out.Bytes()
	if j.report != "" {
		report, err = os.ReadFile(j.report)
		if err != nil {
			return u, err
		}
	}
	u.Findings = j.count(report)
	return u, nil
}

func lastLines(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func countLines(b []byte) int { return bytes.Count(b, []byte{'\n'}) }

func countArray(b []byte) int {
	var all []json.RawMessage
	if json.Unmarshal(b, &all) != nil {
		return -1
	}
	return len(all)
}

// jobs lists what is compared in a mode: stanch first.
func (o Options) jobs(ctx context.Context, mode Mode, r repository) ([]job, func(), error) {
	report := func(name string) string { return filepath.Join(r.work, name+".out") }
	run := func(tool, rules string, args ...string) job {
		out := report(tool)
		argv := append([]string{o.Binary, "scan", "--quiet", "--exit-zero", "--rules", rules, "--format", "jsonl", "-o", out}, args...)
		return job{tool: tool, argv: argv, report: out, count: countLines, partial: 3}
	}
	// The same rules as the peers'; and all rules, to tell what those cost.
	ours := func(args ...string) job { return run("stanch", "gitleaks", args...) }
	full := func(args ...string) job { return run("stanch, all rules", "all", args...) }
	none := func() {}
	switch mode {
	case History:
		jobs := []job{ours("--history", r.git), full("--history", r.git)}
		if r.pack != "" {
			jobs = append(jobs, indexPack(r, filepath.Join(r.work, "copy.idx")))
		}
		return append(jobs, o.peers(report, historyArgs, r.git)...), none, nil
	case Patches:
		out := report("compat")
		jobs := []job{{tool: "stanch", argv: []string{o.Binary, "git", "--compat", "--no-banner", "-l", "error", "--exit-code", "0", "-f", "json", "-r", out, r.git}, report: out, count: countArray}}
		return append(jobs, o.peers(report, historyArgs, r.git, "gitleaks")...), none, nil
	case Wire:
		url, stop, err := serve(ctx, r.git)
		if err != nil {
			return nil, none, err
		}
		clone := filepath.Join(r.work, "clone.git")
		empty := func() error { return os.RemoveAll(clone) }
		return []job{
			ours(url),
			{tool: "git clone --bare", argv: []string{"git", "clone", "--quiet", "--bare", "--mirror", url, clone}, before: empty},
		}, func() { stop(); _ = empty() }, nil
	case Tree:
		err := checkout(ctx, r)
		if err != nil {
			return nil, none, err
		}
		jobs := []job{ours("--no-history", r.tree), full("--no-history", r.tree)}
		return append(jobs, o.peers(report, treeArgs, r.tree)...), func() { _ = os.RemoveAll(r.tree) }, nil
	case Start:
		file := filepath.Join(r.work, "one.txt")
		err := os.WriteFile(file, []byte("key = \"ghp_"+strings.Repeat("aB3dE6gH9k", 3)+"mN2pQ5\"\n"), 0o600)
		if err != nil {
			return nil, none, err
		}
		return append([]job{full("--no-history", file)}, o.peers(report, treeArgs, file)...), none, nil
	}
	return nil, none, errors.New("no such mode")
}

func (o Options) peers(report func(string) string, args func(kind, out, path string) []string, path string, kinds ...string) []job {
	var out []job
	for _, p := range o.Peers {
		if len(kinds) > 0 && p.Kind != kinds[0] {
			continue
		}
		j := job{tool: p.Name, report: report(p.Name), count: countArray}
		if p.Kind == "trufflehog" {
			j.report, j.count = "", countLines
		}
		j.argv = append([]string{p.Path}, args(p.Kind, j.report, path)...)
		out = append(out, j)
	}
	return out
}

func historyArgs(kind, out, path string) []string {
	if kind == "trufflehog" {
		return []string{"git", "file://" + path, "--no-verification", "--no-update", "--json", "--bare"}
	}
	return []string{"git", "--no-banner", "-l", "error", "--exit-code", "0", "-f", "json", "-r", out, path}
}

func treeArgs(kind, out, path string) []string {
	if kind == "trufflehog" {
		return []string{"filesystem", path, "--no-verification", "--no-update", "--json"}
	}
	return []string{"dir", "--no-banner", "-l", "error", "--exit-code", "0", "-f", "json", "-r", out, path}
}

// indexPack is what every clone pays: git's own reading of the pack.
func indexPack(r repository, out string) job {
	link := filepath.Join(r.work, "copy.pack")
	return job{
		tool: "git index-pack", argv: []string{"git", "index-pack", "-o", out, link}, dir: r.work,
		before: func() error {
			for _, f := range []string{out, strings.TrimSuffix(out, ".idx") + ".rev", link} {
				err := os.RemoveAll(f)
				if err != nil {
					return err
				}
			}
			return os.Symlink(r.pack, link)
		},
	}
}

// checkout writes the files of HEAD, without asking the repository's
// configuration for filters.
func checkout(ctx context.Context, r repository) error {
	err := os.MkdirAll(r.tree, 0o700)
	if err != nil {
		return err
	}
	archive := exec.CommandContext(ctx, "git", "-C", r.git, "archive", "--format=tar", "HEAD")
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", r.tree)
	pipe, err := archive.StdoutPipe()
	if err != nil {
		return err
	}
	unpack.Stdin = pipe
	err = archive.Start()
	if err != nil {
		return err
	}
	unpackErr := unpack.Run()
	err = errors.Join(archive.Wait(), unpackErr)
	if err != nil {
		return err
	}
	// gitleaks would take its rules and exceptions from here.
	for _, own := range []string{".gitleaks.toml", ".gitleaksignore"} {
		err = errors.Join(err, os.RemoveAll(filepath.Join(r.tree, own)))
	}
	return err
}

// serve offers a repository over Git's smart HTTP on the loopback interface.
func serve(ctx context.Context, gitDir string) (url string, stop func(), err error) {
	core, err := output(ctx, "git", "--exec-path")
	if err != nil {
		return "", nil, err
	}
	backend := filepath.Join(core, "git-http-backend")
	_, err = os.Stat(backend)
	if err != nil {
		return "", nil, fmt.Errorf("find git-http-backend: %w", err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := cgi.Handler{Path: backend, Env: []string{
			"GIT_PROJECT_ROOT=" + filepath.Dir(gitDir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
			"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant", "GIT_CONFIG_VALUE_1=true",
			"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol"),
		}}
		h.ServeHTTP(w, r)
	}))
	return s.URL + "/" + filepath.Base(gitDir), s.Close, nil
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, firstLine(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
