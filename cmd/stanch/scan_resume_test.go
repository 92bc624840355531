package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// gitIn runs git in a directory and gives what it says.
func gitIn(t *testing.T, dir, in string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(in)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// manyCommits makes a bare repository of n commits with a file each; every tenth
// holds a token, and one file is a finding by its name alone.
func manyCommits(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	gitIn(t, dir, "", "init", "-q", "--bare", "-b", "main")
	var in strings.Builder
	for i := range n {
		text := fmt.Sprintf("nothing in file %d\n", i)
		if i%10 == 0 {
			text += "token = " + "gh" + "p_" + fmt.Sprintf("zQWBu%03dSOoRi4A9spHcVY5ncnsDkxkJ0mLq", i) + "\n"
		}
		name := fmt.Sprintf("f%d.env", i)
		if i == n/2 {
			name = "store.p12"
		}
		fmt.Fprintf(&in, "commit refs/heads/main\ncommitter A <a@example.com> %d +0000\ndata 1\nm\nM 644 inline %s\ndata %d\n%s\n", 1_700_000_000+i, name, len(text), text)
	}
	gitIn(t, dir, in.String(), "fast-import", "--quiet")
	return dir
}

// interrupted is a context that is cancelled when it was asked a number of times.
type interrupted struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func newInterrupted(after int64) *interrupted {
	c := &interrupted{}
	c.Context, c.cancel = context.WithCancel(context.Background())
	c.left.Store(after)
	return c
}

func (c *interrupted) Err() error {
	if c.left.Add(-1) == 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// scanWith runs a scan and gives its exit code and output.
func scanWith(t *testing.T, ctx context.Context, c scanCmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	c.Format, c.Rules, c.MaxSize, c.NoProgress = "jsonl", "all", 64, true
	err := c.Run(&runtime{ctx: ctx, stdout: &out, stderr: &errOut})
	var f *failure
	if err != nil && !errors.As(err, &f) {
		t.Fatal(err)
	}
	if f != nil {
		code = f.code
	}
	return code, out.String(), errOut.String()
}

// A scan with a state that is interrupted, wherever that is, and the next one
// together report what one scan does.
func TestInterruptedScanGoesOn(t *testing.T) {
	dir := manyCommits(t, 200)
	code, want, _ := scanWith(t, context.Background(), scanCmd{Paths: []string{dir}})
	if code != exitFindings || strings.Count(want, "\n") != 21 {
		t.Fatalf("code %d, %d findings", code, strings.Count(want, "\n"))
	}
	spared := false
	for after := int64(1); ; after += after/2 + 1 {
		state := filepath.Join(t.TempDir(), "state")
		ctx := newInterrupted(after)
		code, _, _ := scanWith(t, ctx, scanCmd{Paths: []string{dir}, State: state})
		if ctx.Context.Err() == nil {
			ctx.cancel()
			break // it was done before
		}
		if code != exitPartial {
			t.Fatalf("interrupted after %d: code %d", after, code)
		}
		_, err := os.Stat(state)
		if err == nil {
			t.Errorf("interrupted after %d: the state is advanced", after)
		}
		code, got, said := scanWith(t, context.Background(), scanCmd{Paths: []string{dir}, State: state})
		if code != exitFindings || got != want {
			t.Errorf("interrupted after %d: the next scan gives code %d and\n%s, want\n%s", after, code, got, want)
		}
		spared = spared || !strings.Contains(said, " 200 files")
		_, err = os.Stat(state + ".resume")
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what an interrupted scan left is still there: %v", err)
		}
		code, got, _ = scanWith(t, context.Background(), scanCmd{Paths: []string{dir}, State: state})
		if code != 0 || got != "" {
			t.Errorf("a third scan: code %d, %s", code, got)
		}
	}
	if !spared {
		t.Error("no scan was spared anything")
	}
}

// Whether a partial clone has a commit is asked of it alone.
func TestSinceFetchesNothing(t *testing.T) {
	full, dir := manyCommits(t, 3), t.TempDir()
	gitIn(t, full, "", "config", "uploadpack.allowFilter", "true")
	gitIn(t, full, "", "config", "uploadpack.allowAnySHA1InWant", "true")
	gitIn(t, full, "", "branch", "old", "main~1")
	gitIn(t, dir, "", "clone", "-q", "--bare", "--filter=blob:none", "--single-branch", "--branch", "old", "file://"+full, ".")
	code, _, _ := scanWith(t, context.Background(), scanCmd{Paths: []string{dir}, Since: gitIn(t, full, "", "rev-parse", "main")})
	if code != exitUsage {
		t.Errorf("a commit that is not there: code %d", code)
	}
	code, _, said := scanWith(t, context.Background(), scanCmd{Paths: []string{dir}})
	if code != exitPartial || !strings.Contains(said, "objects are not in the repository") {
		t.Errorf("code %d, %s", code, said)
	}
}
