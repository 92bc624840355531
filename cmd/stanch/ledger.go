package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"stanch/internal/config"
	"stanch/internal/ledger"
	"stanch/internal/secret"
	"stanch/internal/store"
)

// ledgerCmd looks at the ledger; no subcommand changes it.
type ledgerCmd struct {
	Verify ledgerVerifyCmd `cmd:"" help:"Compute every hash again and check every signature, offline; exits 1 and names the first bad entry."`
	Export ledgerExportCmd `cmd:"" help:"Write the signed part of the ledger as files (C2SP tlog-tiles) that anyone can verify."`
	Prove  ledgerProveCmd  `cmd:"" help:"Print one entry with the proof that it is in the signed ledger."`
	Show   ledgerShowCmd   `cmd:"" help:"Print entries, the newest last."`
}

// ledgerPlace says which ledger is meant.
type ledgerPlace struct {
	Config  string `short:"c" help:"Configuration file that names the data directory and database." type:"path" placeholder:"FILE" xor:"place"`
	DataDir string `help:"Data directory with stanch.db and ledger.pub. Defaults to ./stanch-data." type:"path" placeholder:"DIR" xor:"place"`
}

// open gives the database and the data directory.
func (p ledgerPlace) open(ctx context.Context) (*store.DB, string, error) {
	cfg := config.Default()
	if p.Config != "" {
		loaded, err := config.Load(p.Config)
		if err != nil {
			return nil, "", failHint(exitUsage, err)
		}
		cfg = loaded
	}
	if p.DataDir != "" {
		cfg.DataDir = p.DataDir
	}
	dsn, err := cfg.DatabaseURL()
	if err != nil {
		return nil, "", failHint(exitUsage, err)
	}
	path, embedded := strings.CutPrefix(dsn.Reveal(), "sqlite:")
	if embedded {
		_, err = os.Stat(path)
		if err != nil {
			return nil, "", fail(exitUsage, fmt.Errorf("open ledger: no database at %s", path),
				"name the data directory with --data-dir, or the configuration with --config")
		}
	}
	db, err := store.Open(ctx, dsn.Reveal())
	if err != nil {
		return nil, "", fail(exitProvider, err)
	}
	return db, cfg.DataDir, nil
}

// failHint makes a failure of an error, with the hint that it carries.
func failHint(code int, err error) error {
	for _, p := range config.Problems(err) {
		if p.Hint != "" {
			return fail(code, err, p.Hint)
		}
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return fail(code, err, h.Hint())
	}
	return fail(code, err)
}

type ledgerVerifyCmd struct {
	ledgerPlace
	Dir    string `help:"Verify an exported directory instead of a database; needs --pubkey." type:"path" placeholder:"DIR" xor:"place"`
	Proof  string `help:"Verify one entry that 'ledger prove' printed; needs --pubkey." type:"path" placeholder:"FILE" xor:"place"`
	Pubkey string `help:"Public key in note format, from a place that you trust. Defaults to ledger.pub in the data directory." type:"path" placeholder:"FILE"`
	Since  string `help:"Checkpoint that was kept elsewhere; the ledger must extend it." type:"path" placeholder:"FILE"`
	Format string `help:"text or json." enum:"text,json" default:"text"`
}

// ledgerVerdict is what verify prints as JSON.
type ledgerVerdict struct {
	ledger.Report
	PublicKey string `json:"public_key"`
}

// Run verifies, prints the result and exits 1 when anything is wrong.
func (c *ledgerVerifyCmd) Run(rt *runtime) error {
	if (c.Dir != "" || c.Proof != "") && c.Pubkey == "" {
		return fail(exitUsage, errors.New("verify ledger: --pubkey is needed"),
			"pass the ledger.pub that you got from the operator before; a key that travels with the ledger proves nothing")
	}
	since, err := readSmall(c.Since)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("read checkpoint: %w", err))
	}
	if c.Proof != "" {
		return c.proof(rt)
	}
	report, key, err := c.verify(rt.ctx, since)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		enc := json.NewEncoder(rt.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(ledgerVerdict{report, key})
	} else {
		err = printVerdict(rt.stdout, report, key)
	}
	if err != nil {
		return err
	}
	if !report.OK {
		return fail(exitFindings, nil)
	}
	return nil
}

func (c *ledgerVerifyCmd) verify(ctx context.Context, since string) (ledger.Report, string, error) {
	if c.Dir != "" {
		key, err := ledger.ReadPublicKey(c.Pubkey)
		if err != nil {
			return ledger.Report{}, "", fail(exitUsage, err)
		}
		report, err := ledger.VerifyDir(ctx, c.Dir, key, since)
		return report, key, usageOrBroken(err)
	}
	db, dir, err := c.open(ctx)
	if err != nil {
		return ledger.Report{}, "", err
	}
	defer db.Close()
	if c.Pubkey == "" {
		c.Pubkey = filepath.Join(dir, ledger.PubFile)
	}
	key, err := ledger.ReadPublicKey(c.Pubkey)
	if err != nil {
		return ledger.Report{}, "", fail(exitUsage, err, "name the public key with --pubkey")
	}
	var report ledger.Report
	err = db.Read(ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		report, err = ledger.VerifyDatabase(ctx, tx, key, since)
		return err
	})
	return report, key, usageOrBroken(err)
}

// usageOrBroken tells what was asked wrongly from what cannot be read.
func usageOrBroken(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ledger.ErrCheckpoint) {
		return fail(exitUsage, err, "pass a signed checkpoint of this ledger with --since, and its public key with --pubkey")
	}
	if errors.Is(err, os.ErrNotExist) {
		return fail(exitUsage, err, "name a directory that 'stanch ledger export' wrote")
	}
	return fail(exitProvider, err)
}

func printVerdict(w io.Writer, r ledger.Report, key string) error {
	var out strings.Builder
	state := "ok"
	if !r.OK {
		state = "BAD"
	}
	fmt.Fprintf(&out, "ledger       %s\n", state)
	if r.Origin != "" {
		fmt.Fprintf(&out, "origin       %s\n", r.Origin)
	}
	fmt.Fprintf(&out, "entries      %d, of which %d are signed; %d checkpoints\n", r.Entries, r.Signed, r.Checkpoints)
	fmt.Fprintf(&out, "root         %s\n", r.Root)
	fmt.Fprintf(&out, "public key   %s\n", key)
	if r.FirstBad != nil && r.LastBad != nil {
		fmt.Fprintf(&out, "first bad    one of the entries %d to %d\n", *r.FirstBad, *r.LastBad)
	} else if r.FirstBad != nil {
		fmt.Fprintf(&out, "first bad    entry %d\n", *r.FirstBad)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&out, "problem      %s\n", p.Text)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// provenEntry is what prove prints and verify --proof reads. Entry is the exact
// text that was hashed.
type provenEntry struct {
	Entry      string       `json:"entry"`
	Proof      ledger.Proof `json:"proof"`
	Checkpoint string       `json:"checkpoint"`
}

func (c *ledgerVerifyCmd) proof(rt *runtime) error {
	key, err := ledger.ReadPublicKey(c.Pubkey)
	if err != nil {
		return fail(exitUsage, err)
	}
	text, err := readSmall(c.Proof)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("read proof: %w", err))
	}
	var p provenEntry
	err = json.Unmarshal([]byte(text), &p)
	if err != nil {
		return fail(exitUsage, errors.New("read proof: it is not what 'stanch ledger prove' prints"))
	}
	bad := ledger.VerifyInclusion([]byte(p.Entry), p.Proof, p.Checkpoint, key)
	result := map[string]any{"ok": bad == nil, "index": p.Proof.Index, "size": p.Proof.Size, "public_key": key}
	if bad != nil {
		result["problem"] = bad.Error()
	}
	if c.Format == "json" {
		err = json.NewEncoder(rt.stdout).Encode(result)
	} else if bad != nil {
		_, err = fmt.Fprintf(rt.stdout, "entry %d      BAD\nproblem      %v\n", p.Proof.Index, bad)
	} else {
		_, err = fmt.Fprintf(rt.stdout, "entry %d      ok, in the signed ledger of %d entries\n", p.Proof.Index, p.Proof.Size)
	}
	if err != nil {
		return err
	}
	if bad != nil {
		return fail(exitFindings, nil)
	}
	return nil
}

// readSmall reads a note or proof; "" for no path.
func readSmall(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const limit = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s is too large", path)
	}
	return string(b), err
}

type ledgerExportCmd struct {
	ledgerPlace
	Output string `help:"Directory to write to; made when missing." short:"o" required:"" type:"path" placeholder:"DIR"`
}

// Run writes the files and tells on standard error how many entries they hold.
func (c *ledgerExportCmd) Run(rt *runtime) error {
	db, dir, err := c.open(rt.ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	key, err := ledger.ReadPublicKey(filepath.Join(dir, ledger.PubFile))
	if err != nil {
		return fail(exitUsage, err)
	}
	err = os.MkdirAll(c.Output, 0o755)
	if err != nil {
		return fail(exitUsage, fmt.Errorf("make output directory: %w", err))
	}
	var signed, all int64
	err = db.Read(rt.ctx, func(ctx context.Context, tx *store.Tx) error {
		var err error
		signed, err = ledger.Export(ctx, tx, c.Output, key)
		if err != nil {
			return err
		}
		all, _, err = ledger.Size(ctx, tx)
		return err
	})
	if errors.Is(err, ledger.ErrUnsigned) {
		return fail(exitPartial, err, "run 'stanch serve' for one checkpoint interval and export again")
	}
	if err != nil {
		return fail(exitProvider, err)
	}
	fmt.Fprintf(rt.stderr, "exported %d entries to %s", signed, c.Output)
	if all > signed {
		fmt.Fprintf(rt.stderr, "; %d newer ones are not signed yet", all-signed)
	}
	fmt.Fprintf(rt.stderr, "\nverify them with: stanch ledger verify --dir %s --pubkey ledger.pub\n", c.Output)
	return nil
}

type ledgerProveCmd struct {
	ledgerPlace
	Index int64 `arg:"" help:"Index of the entry, from 0."`
}

// Run prints entry, proof and checkpoint as one JSON object.
func (c *ledgerProveCmd) Run(rt *runtime) error {
	db, dir, err := c.open(rt.ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	key, err := ledger.ReadPublicKey(filepath.Join(dir, ledger.PubFile))
	if err != nil {
		return fail(exitUsage, err)
	}
	var out provenEntry
	err = db.Read(rt.ctx, func(ctx context.Context, tx *store.Tx) error {
		data, p, signed, err := ledger.ProveLatest(ctx, tx, key, c.Index)
		out = provenEntry{string(data), p, signed}
		return err
	})
	if errors.Is(err, ledger.ErrUnsigned) {
		return fail(exitPartial, err, "wait for the next checkpoint and try again")
	}
	if err != nil {
		return fail(exitUsage, err, "run 'stanch ledger show' for what there is")
	}
	enc := json.NewEncoder(rt.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

type ledgerShowCmd struct {
	ledgerPlace
	Incident string `help:"Only entries of this incident." placeholder:"ID"`
	Last     int64  `help:"How many entries, counted from the newest; 0 for all." default:"50"`
	Format   string `help:"text or jsonl (the exact bytes that were hashed, one entry a line)." enum:"text,jsonl" default:"text"`
}

// Run prints the entries on standard output.
func (c *ledgerShowCmd) Run(rt *runtime) error {
	if c.Last < 0 {
		return fail(exitUsage, errors.New("show ledger: --last must not be negative"))
	}
	db, _, err := c.open(rt.ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	var lines []string
	err = db.Read(rt.ctx, func(ctx context.Context, tx *store.Tx) error {
		size, _, err := ledger.Size(ctx, tx)
		if err != nil {
			return err
		}
		from := int64(0)
		if c.Incident == "" && c.Last > 0 {
			from = max(0, size-c.Last)
		}
		lines, err = c.collect(ctx, tx, from)
		return err
	})
	if err != nil {
		return fail(exitProvider, err)
	}
	for _, line := range lines {
		_, err = fmt.Fprintln(rt.stdout, line)
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *ledgerShowCmd) collect(ctx context.Context, tx *store.Tx, from int64) ([]string, error) {
	var lines []string
	for {
		batch, err := ledger.Read(ctx, tx, from, 512)
		if err != nil || len(batch) == 0 {
			return lines, err
		}
		for _, rec := range batch {
			from = rec.Index + 1
			line, incident := describe(rec)
			if c.Incident != "" && incident != c.Incident {
				continue
			}
			if c.Format == "jsonl" {
				line = string(rec.Data)
			}
			lines = append(lines, line)
			if c.Last > 0 && int64(len(lines)) > c.Last {
				lines = lines[1:]
			}
		}
	}
}

// describe gives an entry on one line. The database is foreign here: what it
// says is made inert.
func describe(rec ledger.Record) (line, incident string) {
	var l struct {
		Unmapped struct {
			At, Kind, Incident, Actor, Subject, Outcome string
			Detail                                      map[string]string
		} `json:"unmapped"`
	}
	err := json.Unmarshal(rec.Data, &l)
	if err != nil {
		return fmt.Sprintf("%d malformed; run 'stanch ledger verify'", rec.Index), ""
	}
	u := l.Unmapped
	text := strings.Join([]string{u.At, u.Kind, u.Outcome, u.Actor, u.Subject, u.Incident}, "  ")
	if len(u.Detail) > 0 {
		detail, err := json.Marshal(u.Detail)
		if err == nil {
			text += "  " + string(detail)
		}
	}
	return fmt.Sprintf("%d  %s", rec.Index, secret.Inert(text, 4096)), u.Incident
}
