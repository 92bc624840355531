package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"stanch/internal/ledger"
	"stanch/internal/store"
)

// ledgerRun runs "stanch ledger ARGS..." and gives exit code and outputs.
func ledgerRun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var cli struct {
		Ledger ledgerCmd `cmd:""`
	}
	parser, err := kong.New(&cli)
	if err != nil {
		t.Fatal(err)
	}
	kctx, err := parser.Parse(append([]string{"ledger"}, args...))
	if err != nil {
		return exitUsage, "", err.Error()
	}
	var out, errOut bytes.Buffer
	err = kctx.Run(&runtime{ctx: context.Background(), stdout: &out, stderr: &errOut})
	if err == nil {
		return 0, out.String(), errOut.String()
	}
	var f *failure
	if !errors.As(err, &f) {
		t.Fatalf("an error without an exit code: %v", err)
	}
	if f.err != nil {
		errOut.WriteString(f.err.Error() + "\n" + strings.Join(f.hints, "\n"))
	}
	return f.code, out.String(), errOut.String()
}

// ledgerFixture is a data directory with 12 entries, of which 10 are signed.
func ledgerFixture(t *testing.T) (dir string, db *store.DB) {
	t.Helper()
	ctx := context.Background()
	dir = t.TempDir()
	db, err := store.Open(ctx, "sqlite:"+filepath.Join(dir, "stanch.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	err = db.Migrate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ledger.Options{Dir: dir, Origin: "stanch/test"})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Tx(ctx, func(ctx context.Context, tx *store.Tx) error {
		for i := range 12 {
			id := "inc-1"
			if i%2 == 1 {
				id = "inc-2"
			}
			_, err := l.Append(ctx, tx, ledger.Entry{Kind: "act.done", Incident: id, Actor: "stanch", Subject: "aws/access_key", Outcome: "done"})
			if err != nil {
				return err
			}
			if i == 9 {
				_, err = l.Checkpoint(ctx, tx)
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir, db
}

func TestLedger_CommandLine(t *testing.T) {
	dir, db := ledgerFixture(t)
	pub := filepath.Join(dir, ledger.PubFile)
	export := filepath.Join(t.TempDir(), "export")

	code, out, _ := ledgerRun(t, "verify", "--data-dir", dir)
	if code != 0 || !strings.Contains(out, "ledger       ok") || !strings.Contains(out, "12, of which 10 are signed") {
		t.Errorf("verify: %d\n%s", code, out)
	}
	code, out, errOut := ledgerRun(t, "export", "--data-dir", dir, "-o", export)
	if code != 0 || out != "" || !strings.Contains(errOut, "exported 10 entries") || !strings.Contains(errOut, "2 newer ones") {
		t.Errorf("export: %d\n%s%s", code, out, errOut)
	}
	since := filepath.Join(export, "checkpoint")
	code, out, _ = ledgerRun(t, "verify", "--dir", export, "--pubkey", pub, "--since", since, "--format", "json")
	var verdict ledgerVerdict
	err := json.Unmarshal([]byte(out), &verdict)
	if code != 0 || err != nil || !verdict.OK || verdict.Entries != 10 || verdict.PublicKey == "" {
		t.Errorf("verify export: %d, %v\n%s", code, err, out)
	}

	code, proof, _ := ledgerRun(t, "prove", "--data-dir", dir, "3")
	if code != 0 {
		t.Errorf("prove: %d\n%s", code, proof)
	}
	file := filepath.Join(t.TempDir(), "proof.json")
	for text, want := range map[string]int{proof: 0, strings.Replace(proof, "inc-2", "inc-9", 1): exitFindings, "no proof": exitUsage} {
		err = os.WriteFile(file, []byte(text), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		code, out, errOut = ledgerRun(t, "verify", "--proof", file, "--pubkey", pub)
		if code != want {
			t.Errorf("verify proof: %d, want %d\n%s%s", code, want, out, errOut)
		}
	}
	code, _, _ = ledgerRun(t, "prove", "--data-dir", dir, "11")
	if code != exitPartial {
		t.Errorf("prove what is not signed: %d, want %d", code, exitPartial)
	}

	code, out, _ = ledgerRun(t, "show", "--data-dir", dir, "--last", "2", "--incident", "inc-2", "--format", "jsonl")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); code != 0 || len(lines) != 2 || !json.Valid([]byte(lines[0])) || !strings.Contains(lines[1], `"sequence":11`) {
		t.Errorf("show: %d\n%s", code, out)
	}
	code, out, _ = ledgerRun(t, "show", "--data-dir", dir, "--last", "3")
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.HasPrefix(out, "9  ") {
		t.Errorf("show: %d\n%s", code, out)
	}

	err = db.Tx(context.Background(), func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM ledger_entries WHERE idx = $1`, 4)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	code, out, errOut = ledgerRun(t, "verify", "--data-dir", dir)
	if code != exitFindings || errOut != "" || !strings.Contains(out, "first bad    entry 4") {
		t.Errorf("verify a dropped entry: %d\n%s%s", code, out, errOut)
	}
	code, out, _ = ledgerRun(t, "verify", "--data-dir", dir, "--format", "json")
	err = json.Unmarshal([]byte(out), &verdict)
	if code != exitFindings || err != nil || verdict.OK || verdict.FirstBad == nil || *verdict.FirstBad != 4 {
		t.Errorf("verify a dropped entry: %d, %v\n%s", code, err, out)
	}
	code, out, _ = ledgerRun(t, "export", "--data-dir", dir, "-o", export)
	if code == 0 {
		t.Errorf("a broken ledger was exported: %s", out)
	}
}

func TestLedger_Usage(t *testing.T) {
	dir, _ := ledgerFixture(t)
	empty := t.TempDir()
	garbage := filepath.Join(empty, "garbage")
	err := os.WriteFile(garbage, []byte("garbage"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no database":          {"verify", "--data-dir", empty},
		"no configuration":     {"verify", "--config", filepath.Join(empty, "none.yaml")},
		"export without key":   {"verify", "--dir", empty},
		"proof without key":    {"verify", "--proof", garbage},
		"no key file":          {"verify", "--data-dir", dir, "--pubkey", filepath.Join(empty, "none")},
		"garbage as key":       {"verify", "--data-dir", dir, "--pubkey", garbage},
		"garbage as since":     {"verify", "--data-dir", dir, "--since", garbage},
		"no since":             {"verify", "--data-dir", dir, "--since", filepath.Join(empty, "none")},
		"two places":           {"verify", "--data-dir", dir, "--dir", empty},
		"empty directory":      {"verify", "--dir", empty, "--pubkey", filepath.Join(dir, ledger.PubFile)},
		"export to nowhere":    {"export", "--data-dir", dir},
		"negative count":       {"show", "--data-dir", dir, "--last=-1"},
		"no such entry":        {"prove", "--data-dir", dir, "99"},
		"show without storage": {"show", "--data-dir", empty},
	} {
		code, out, errOut := ledgerRun(t, args...)
		if code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%s: %d, want %d\n%s%s", name, code, exitUsage, out, errOut)
		}
	}
}
