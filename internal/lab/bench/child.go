package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stanch/internal/store"
)

// child is a running `stanch serve`.
type child struct {
	cmd    *exec.Cmd
	exited chan error
	hook   string // URL of the webhook
	ready  string
	data   string // data directory
	log    string // file
}

// startChild writes the configuration (JSON is YAML), starts the service and
// waits until it is ready.
func startChild(ctx context.Context, o Options, dir string, cfg map[string]any) (*child, error) {
	public, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	c := &child{
		exited: make(chan error, 1), hook: "http://" + public + "/github/webhook", ready: "http://" + admin + "/readyz",
		data: filepath.Join(dir, "data"), log: filepath.Join(dir, "service.log"),
	}
	cfg["listen"], cfg["admin_listen"], cfg["data_dir"] = public, admin, c.data
	text, err := json.MarshalIndent(cfg, "", "  ")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "stanch.yaml")
	err = os.WriteFile(path, text, 0o600)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd = exec.Command(o.Binary, "serve", "--config", path)
	c.cmd.Stdout, c.cmd.Stderr = log, log
	err = c.cmd.Start()
	if err != nil {
		return nil, fmt.Errorf("start the service: %w", err)
	}
	go func() { c.exited <- c.cmd.Wait() }()
	err = c.wait(ctx)
	if err != nil {
		_ = c.cmd.Process.Kill()
		return nil, fmt.Errorf("start the service: %w; its log is %s", err, c.log)
	}
	return c, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (c *child) wait(ctx context.Context) error {
	end := time.Now().Add(30 * time.Second)
	for time.Now().Before(end) {
		resp, err := http.Get(c.ready)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-c.exited:
			return fmt.Errorf("it ended: %w", errors.Join(err))
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("it is not ready after 30 s")
}

// usage reads what the process took so far.
func (c *child) usage() (Usage, error) {
	var u Usage
	root := "/proc/" + strconv.Itoa(c.cmd.Process.Pid)
	status, err := os.ReadFile(root + "/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			u.PeakMemoryMB = kb / 1024
		}
	}
	stat, err := os.ReadFile(root + "/stat")
	if err != nil {
		return u, err
	}
	// The fields after the name, which may hold blanks: utime is the 14th of all.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 15 {
		return u, errors.New("read /proc: unexpected form")
	}
	ticks := func(n int) float64 {
		v, _ := strconv.ParseFloat(fields[n], 64)
		return v / 100 // USER_HZ on every Linux that Go runs on
	}
	u.CPUSeconds, u.ChildSeconds = ticks(11)+ticks(12), ticks(13)+ticks(14)
	return u, nil
}

// stop ends the service in order.
func (c *child) stop() error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-c.exited:
		if err != nil {
			return fmt.Errorf("the service did not end in order: %w; its log is %s", err, c.log)
		}
		return nil
	case <-time.After(time.Minute):
		_ = c.cmd.Process.Kill()
		return errors.New("the service did not end within a minute; its log is " + c.log)
	}
}

// database opens the service's database, to read.
func (c *child) database(ctx context.Context) (*store.DB, error) {
	return store.Open(ctx, "sqlite:"+filepath.Join(c.data, "stanch.db"))
}
