package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"stanch/internal/lab/scanbench"
)

type benchScanCmd struct {
	Repos   []string      `arg:"" name:"repository" help:"Git repositories to scan; four or more of different kinds say most."`
	Mode    []string      `help:"What is measured: history, patches, wire, tree, push, start. Default: all." placeholder:"MODE,..." enum:"history,patches,wire,tree,push,start"`
	Peer    []string      `help:"A scanner to compare with, beside those on PATH (gitleaks, gitleaks-re2, betterleaks, trufflehog); NAME begins with the kind: gitleaks-mine=/opt/gitleaks." placeholder:"NAME=PATH"`
	Runs    int           `help:"Runs of each command; they alternate, and the median counts." default:"3"`
	Slow    time.Duration `help:"A command that takes longer than this runs once only; 0 for none." default:"0s"`
	Timeout time.Duration `help:"Of one command; a slower one is left out." default:"15m"`
	Format  string        `help:"Output: table (Markdown) or json." enum:"table,json" default:"table"`
}

func (c *benchScanCmd) Help() string {
	return "Runs stanch, its peers and git on the same repositories in turn and prints processor time (user and system, with children), wall time, memory and ratios, then the promises with what was measured. " +
		"Peers verify nothing. Exit code 1 when a promise is missed."
}

func (c *benchScanCmd) Run(rt *runtime) error {
	peers := scanbench.FindPeers()
	for _, p := range c.Peer {
		name, path, ok := strings.Cut(p, "=")
		peer := scanbench.Peer{Name: name, Path: path}
		for _, kind := range []string{"gitleaks", "betterleaks", "trufflehog"} {
			if strings.HasPrefix(name, kind) {
				peer.Kind = kind
			}
		}
		if !ok || peer.Kind == "" {
			return fail(exitUsage, fmt.Errorf("--peer %s is not NAME=PATH with a known NAME", p), "begin NAME with gitleaks, betterleaks or trufflehog")
		}
		_, err := os.Stat(path)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("peer %s: %w", name, plain(err)), "name the scanner's binary")
		}
		peers = append(peers, peer)
	}
	if c.Runs < 1 {
		return fail(exitUsage, errors.New("--runs must be 1 or more"))
	}
	modes := scanbench.Modes
	if len(c.Mode) > 0 {
		modes = nil
		for _, m := range c.Mode {
			modes = append(modes, scanbench.Mode(m))
		}
	}
	binary, err := os.Executable()
	if err != nil {
		return fail(exitProvider, err)
	}
	dir, err := os.MkdirTemp("", "stanch-bench-")
	if err != nil {
		return fail(exitProvider, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := scanbench.Run(rt.ctx, scanbench.Options{
		Binary: binary, Repos: c.Repos, Peers: peers, Modes: modes, Runs: c.Runs, Slow: c.Slow, Dir: dir, Timeout: c.Timeout,
		Tell: func(format string, args ...any) { fmt.Fprintf(rt.stderr, format+"\n", args...) },
	})
	if err != nil {
		return fail(exitProvider, err)
	}
	if c.Format == "json" {
		e := json.NewEncoder(rt.stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		err = r.Markdown(rt.stdout)
	}
	if err != nil {
		return err
	}
	if !r.OK {
		return fail(exitFindings, nil)
	}
	return nil
}
