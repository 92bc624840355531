package scanbench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"stanch/scanner/match"
	"stanch/scanner/rules"
)

// Pushed is how long the matcher takes for what a commit adds to a file, in
// this process, on one core, with all rules and decoding.
type Pushed struct {
	Repo        string  `json:"repository"`
	Ours        Micros  `json:"ours"`
	Gitleaks    Micros  `json:"gitleaks"` // its own Detect with its own rules, of this build, on the first texts
	MBperSecond float64 `json:"mb_per_second"`
}

// Micros is a distribution in microseconds.
type Micros struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	Max   float64 `json:"max_us"`
}

const (
	pushTexts      = 4000
	referenceTexts = 400
	treeBytes      = 64 << 20
)

func (o Options) push(ctx context.Context, r repository) (Pushed, error) {
	o.Tell("push of %s", r.Name)
	texts, err := added(ctx, r.git)
	if err != nil {
		return Pushed{}, err
	}
	cfg, err := match.Load(rules.Extra())
	if err != nil {
		return Pushed{}, err
	}
	m := match.New(cfg, match.Options{})
	measure := func(m match.Matcher, texts []match.Input) Micros {
		each := make([]float64, 0, len(texts))
		for _, t := range texts {
			begin := time.Now()
			m.Match(ctx, t)
			each = append(each, float64(time.Since(begin).Nanoseconds())/1e3)
		}
		return percentiles(each)
	}
	measure(m, texts) // warms up
	p := Pushed{Repo: r.Name, Ours: measure(m, texts)}
	plain, err := match.Load()
	if err != nil {
		return p, err
	}
	reference := match.New(plain, match.Options{Reference: true})
	p.Gitleaks = measure(reference, texts[:min(len(texts), referenceTexts)])
	p.MBperSecond, err = throughput(ctx, m, r)
	return p, err
}

func percentiles(v []float64) Micros {
	if len(v) == 0 {
		return Micros{}
	}
	slices.Sort(v)
	return Micros{Count: len(v), P50: v[len(v)/2], P99: v[len(v)*99/100], Max: v[len(v)-1]}
}

// added collects what the newest commits added to a file, where that is 1 to
// 10 KB.
func added(ctx context.Context, git string) ([]match.Input, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "-C", git, "log", "--all", "-p", "-U0", "--no-renames", "--no-color", "--no-ext-diff", "--no-textconv", "--format=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	err = cmd.Start()
	if err != nil {
		return nil, err
	}
	var texts []match.Input
	var path string
	var text []byte
	keep := func() {
		if len(text) >= 1<<10 && len(text) <= 10<<10 {
			texts = append(texts, match.Input{Data: bytes.Clone(text), Path: path})
		}
		text = text[:0]
	}
	in := bufio.NewReaderSize(out, 1<<20)
	for len(texts) < pushTexts {
		line, err := in.ReadSlice('\n')
		switch {
		case bytes.HasPrefix(line, []byte("diff --git ")):
			keep()
		case bytes.HasPrefix(line, []byte("+++ b/")):
			path = string(bytes.TrimSpace(line[6:]))
		case len(line) > 0 && line[0] == '+' && !bytes.HasPrefix(line, []byte("+++ ")) && len(text) <= 10<<10:
			text = append(text, line[1:]...)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			keep()
			break
		}
	}
	cancel()
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // it was stopped
	if len(texts) == 0 {
		return nil, fmt.Errorf("no commit adds 1 to 10 KB to a file")
	}
	return texts, nil
}

// throughput is that of matching the files of HEAD, one after another.
func throughput(ctx context.Context, m match.Matcher, r repository) (float64, error) {
	err := checkout(ctx, r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(r.tree) }()
	var files []match.Input
	total := 0
	err = filepath.WalkDir(r.tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || total > treeBytes {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
			return nil
		}
		name, err := filepath.Rel(r.tree, path)
		if err != nil {
			return err
		}
		files = append(files, match.Input{Data: data, Path: filepath.ToSlash(name)})
		total += len(data)
		return nil
	})
	if err != nil || total == 0 {
		return 0, err
	}
	begin := time.Now()
	for _, f := range files {
		m.Match(ctx, f)
	}
	return float64(total) / 1e6 / time.Since(begin).Seconds(), nil
}
