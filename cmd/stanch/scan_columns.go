package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"unicode/utf8"

	"stanch/scanner"
)

// columns counts columns the way editors and code hosts do, in UTF-16 units. A
// finding has them in bytes, so the line is read again where it stands: from the
// file, or from the commit.
type columns struct {
	ctx    context.Context
	gitDir string
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	name   string // what data holds
	data   []byte
}

// maxLineSource bounds what is read again for one finding.
const maxLineSource = 64 << 20

func newColumns(ctx context.Context) *columns { return &columns{ctx: ctx} }

// repository says where commits are from now on.
func (c *columns) repository(gitDir string) {
	c.close()
	c.gitDir = gitDir
}

func (c *columns) close() {
	if c.cmd == nil {
		return
	}
	_ = c.in.Close()
	_, _ = io.Copy(io.Discard, c.out)
	_ = c.cmd.Wait()
	c.cmd = nil
}

// utf16 gives the columns of the first and after the last character of a
// finding; those in bytes where its line cannot be read.
func (c *columns) utf16(p scanner.Place) (start, end int) {
	start, end = p.Column, p.EndColumn+1
	if p.Path == "" || p.Object != "" && p.Object != "blob" || strings.ContainsRune(p.Path, '\n') {
		return start, end
	}
	name := p.Commit + ":" + p.Path
	if name != c.name {
		c.name, c.data = name, nil
		if p.Commit == "" {
			c.data = readFile(p.Path)
		} else {
			c.data = c.object(name)
		}
	}
	return wide(lineOf(c.data, p.Line), start), wide(lineOf(c.data, max(p.Line, p.EndLine)), end)
}

// wide turns a column in bytes into one in UTF-16 units; both count from 1.
func wide(line []byte, column int) int {
	if column-1 > len(line) {
		return column
	}
	n := 1
	for i := 0; i < column-1; {
		r, size := utf8.DecodeRune(line[i:])
		n++
		if r > 0xffff {
			n++
		}
		i += size
	}
	return n
}

func readFile(path string) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxLineSource {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return data
}

// object reads a file of a commit from one git process.
func (c *columns) object(name string) []byte {
	if c.cmd == nil {
		cmd := exec.CommandContext(c.ctx, "git", "--git-dir="+c.gitDir, "cat-file", "--batch")
		cmd.Env = gitEnv()
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err1 != nil || err2 != nil || cmd.Start() != nil {
			return nil
		}
		c.cmd, c.in, c.out = cmd, in, bufio.NewReader(out)
	}
	_, err := io.WriteString(c.in, name+"\n")
	if err != nil {
		return nil
	}
	head, err := c.out.ReadString('\n')
	f := strings.Fields(head)
	if err != nil || strings.HasSuffix(head, " missing\n") || len(f) < 3 {
		return nil
	}
	n, err := strconv.ParseInt(f[len(f)-1], 10, 64)
	if err != nil {
		return nil
	}
	if n > maxLineSource {
		_, _ = io.CopyN(io.Discard, c.out, n+1)
		return nil
	}
	data := make([]byte, n)
	_, err = io.ReadFull(c.out, data)
	_, _ = c.out.Discard(1)
	if err != nil {
		return nil
	}
	return data
}
