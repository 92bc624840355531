package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"stanch": main})
}

// TestScripts runs testdata/*.txtar, which read like shell sessions. Made-up
// credentials are in variables ($GHP ...), so that no script looks like a leak;
// "plant FILE LINE..." writes lines with variables filled in.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			for k, v := range map[string]string{
				"GHP": "gh" + "p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17", "GHP2": "gh" + "p_uRWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17",
				"GHO":    "gh" + "o_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17",
				"AWS_ID": "AK" + "IAQYLPMN5HHHFPZAM2", "AWS_SECRET": "kR7vQ2mZx9LpT4wB" + "n6YcD1sFh8JgU3eAo5iNbVMq",
				"AWS_DOC":         "AK" + "IAIOSFODNN7EXAMPLE",
				"GIT_AUTHOR_NAME": "Ann", "GIT_AUTHOR_EMAIL": "ann@example.com", "GIT_COMMITTER_NAME": "Carl", "GIT_COMMITTER_EMAIL": "carl@example.com",
				"GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_CONFIG_NOSYSTEM": "1",
				"SUM": strings.Repeat("9f86d081884c7d65", 4), "PASS64": base64.StdEncoding.EncodeToString([]byte("Wn4tB8y" + "Hc3sKd6Qp")),
				"CERT": base64.StdEncoding.EncodeToString([]byte("-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq\n-----END CERTIFICATE-----\n")),
				"TAB":  "\t", "ESC": "\x1b",
			} {
				env.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"plant": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 1 {
					ts.Fatalf("usage: plant FILE LINE...")
				}
				path := ts.MkAbs(args[0])
				ts.Check(os.MkdirAll(filepath.Dir(path), 0o755))
				ts.Check(os.WriteFile(path, []byte(strings.Join(args[1:], "\n")+"\n"), 0o644))
			},
			// zeros FILE SIZE: a file of zero bytes.
			"zeros": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: zeros FILE SIZE")
				}
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), make([]byte, n), 0o644))
			},
			// fakegithub MODE: a GitHub API of the test's own at $FAKE (HOST:PORT).
			"fakegithub": startFakeGitHub,
			// githttp DIR: the repositories below DIR at $GITHTTP (URL), by Git's own server.
			"githttp": serveGit,
			// encode FORM FILE LINE...: a file in an encoding of text.
			"encode": encodeFile,
			// githost DIR: a GitHub with the accounts and repositories below DIR at $GITHOST.
			"githost": serveHost,
			// fill FILE: variables in the file get their values.
			"fill": fillTemplate,
			// newest CONFIG: $INCIDENT is the id of the newest incident.
			"newest": newestIncident,
			// flip DATABASE ENTRY: changes one bit of a ledger entry.
			"flip": flipEntry,
			// exits CODE COMMAND...: the command ends with exactly this code.
			"exits": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exits CODE COMMAND...")
				}
				err := ts.Exec(args[1], args[2:]...)
				code := "0"
				if err != nil {
					code = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if code != args[0] {
					ts.Fatalf("%s: %s, want exit status %s", strings.Join(args[1:], " "), code, args[0])
				}
			},
		},
	})
}
