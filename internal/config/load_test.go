package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stanch.yaml")
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadSample(t *testing.T) {
	c, err := Load(filepath.Join("..", "..", "deploy", "stanch.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := filepath.Abs(filepath.Join("..", "..", "deploy"))
	if want := filepath.Join(dir, "secrets", "github-app.pem"); c.GitHub.PrivateKey.File != want {
		t.Errorf("private key file = %s, want %s", c.GitHub.PrivateKey.File, want)
	}
	if c.DataDir != filepath.Join(dir, "stanch-data") || c.Policy.Rules[0].Mode != "act" {
		t.Errorf("data_dir %s, rules %+v", c.DataDir, c.Policy.Rules)
	}
	a := c.Providers["aws"].Accounts[0]
	if a.Partition != "aws" || a.ID != "123456789012" || a.ExternalID.Env == "" {
		t.Errorf("account = %+v", a)
	}
}

func TestDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "{}\n"} {
		path := write(t, text)
		c, err := Load(path)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		dir := filepath.Dir(path)
		if c.DataDir != filepath.Join(dir, "stanch-data") || c.Secrets.Keeper != "file://"+filepath.Join(dir, "stanch-data", "seal.key") {
			t.Errorf("data_dir = %s, keeper = %s", c.DataDir, c.Secrets.Keeper)
		}
		if c.Policy.Mode != "observe" || c.Policy.ApprovalDefault != "deny" || c.Policy.ApprovalTimeout.Std() != 30*time.Minute {
			t.Errorf("policy = %+v", c.Policy)
		}
		if len(c.Trail.Polls) != 7 || c.Trail.Polls[1].Std() != 2*time.Minute || c.Trail.Polls[6].Std() != time.Hour {
			t.Errorf("polls = %v", c.Trail.Polls)
		}
		if c.Guard.ActOnFixtures == nil || !*c.Guard.ActOnFixtures || c.Scan.Workers < 1 || c.Ledger.Origin == "" {
			t.Errorf("guard %+v, scan %+v, ledger %+v", c.Guard, c.Scan, c.Ledger)
		}
	}
	if d := Default(); !filepath.IsAbs(d.DataDir) || d.GitHub.APIURL != "https://api.github.com" {
		t.Errorf("Default() = %+v", d)
	}
}

// Each case names the place, the field and the action that a person would take.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name, text, place, msg, hint string
	}{
		{"unknown key", "listn: x\n", ":1:1:", "listn: unknown field", "did you mean listen?"},
		{"unknown nested key", "log:\n  levle: info\n", ":2:3:", "log.levle: unknown field", "did you mean level?"},
		{"unknown far key", "log:\n  colour: red\n", ":2:3:", "log.colour: unknown field", "known here: format, level"},
		{"duplicate key", "listen: :1\nlisten: :2\n", ":2:1:", "listen", "remove one of the two"},
		{"wrong type bool", "pprof: \"yes\"\n", ":1:8:", "pprof: must be true or false, not text", "without quotes"},
		{"wrong type string", "listen: 8080\n", ":1:9:", "listen: must be text, not a number", "quotes"},
		{"wrong type int", "github:\n  app_id: abc\n", ":2:11:", "github.app_id: must be a whole number", "digits"},
		{"float for int", "github:\n  app_id: 1.5\n", ":2:11:", "github.app_id: must be a whole number", "digits"},
		{"int overflow", "scan:\n  workers: 99999999999999999999\n", ":2:12:", "scan.workers", ""},
		{"list for map", "log: [a]\n", ":1:6:", "log: must be fields of its own, not a list", "indented"},
		{"text for list", "egress:\n  allow: localhost\n", ":2:10:", "egress.allow: must be a list", "- "},
		{"null", "log:\n", ":1:6:", "log: has no value", "remove the line"},
		{"account id number", "providers:\n  aws:\n    accounts:\n      - id: 123456789012\n        role_arn: x\n", ":4:13:", "providers.aws.accounts[0].id: must be text", "quotes"},
		{"duration number", "scan:\n  timeout: 10\n", ":2:12:", "scan.timeout: must be a duration", "15s"},
		{"duration text", "scan:\n  timeout: soon\n", ":2:12:", "scan.timeout: is not a duration", "15s"},
		{"negative duration", "scan:\n  timeout: -5s\n", ":2:12:", "scan.timeout: is negative", "positive"},
		{"mode", "policy:\n  mode: yolo\n", ":2:9:", "policy.mode: is none of observe, approve, act", "one of"},
		{"rule mode missing", "policy:\n  rules:\n    - playbook: aws\n", ":3:7:", "policy.rules[0]: has no mode", "add mode"},
		{"rule repository", "policy:\n  rules:\n    - mode: act\n      repository: foo\n", ":4:19:", "policy.rules[0].repository", "owner/name"},
		{"rule glob", "policy:\n  rules:\n    - mode: act\n      repository: \"a/[\"\n", ":4:19:", "is not a glob", "*"},
		{"listen", "listen: nowhere\n", ":1:9:", "listen: is not an address", "HOST:PORT"},
		{"listen port", "listen: \":99999\"\n", ":1:9:", "listen: is not an address", "HOST:PORT"},
		{"http url", "github:\n  api_url: http://ghe.example.com/api/v3\n", ":2:12:", "github.api_url: uses plain http", "egress.allow"},
		{"url password", "github:\n  api_url: https://a:b@ghe.example.com\n", ":2:12:", "holds a user name", "remove"},
		{"file and env", "database:\n  file: a\n  env: B\n", ":2:3:", "database: has both file and env", "keep one"},
		{"env name", "database:\n  env: \"postgres://x\"\n", ":2:8:", "database.env: is not the name", "its name alone"},
		{"role of other account", "providers:\n  aws:\n    accounts:\n      - id: \"111111111111\"\n        role_arn: arn:aws:iam::222222222222:role/r\n", ":5:19:", "names another account", "account itself"},
		{"account twice", "providers:\n  aws:\n    accounts:\n      - {id: \"111111111111\", role_arn: \"arn:aws:iam::111111111111:role/r\"}\n      - {id: \"111111111111\", role_arn: \"arn:aws:iam::111111111111:role/r\"}\n", ":5:14:", "enrolled twice", "remove"},
		{"two accounts without role", "providers:\n  aws:\n    accounts:\n      - id: \"111111111111\"\n      - id: \"222222222222\"\n", ":5:9:", "second account without role_arn", "add role_arn"},
		{"external id without role", "providers:\n  aws:\n    accounts:\n      - id: \"111111111111\"\n        external_id:\n          env: X\n", ":6:11:", "of no use without role_arn", "role_arn"},
		{"egress", "egress:\n  allow: [\"https://x.example\"]\n", ":2:11:", "egress.allow[0]: is not a host", "without https://"},
		{"keeper", "secrets:\n  keeper: file://relative\n", ":2:11:", "secrets.keeper", "absolute"},
		{"polls", "trail:\n  polls: [0s, 5m, 2m]\n", ":2:19:", "trail.polls[2]: is not later", "rising"},
		{"no rules file", "scan:\n  rules: nowhere.toml\n", ":2:10:", "scan.rules: is not a file or directory", "gitleaks"},
		{"origin", "ledger:\n  origin: a b\n", ":2:11:", "ledger.origin", "without blanks"},
		{"proxy", "github:\n  trusted_proxies: [nginx]\n", ":2:21:", "github.trusted_proxies[0]", "10.0.0.0/8"},
		{"empty credential", "providers:\n  github:\n    credentials:\n      token: {}\n", ":4:14:", "providers.github.credentials.token: has neither", "env"},
		{"alias", "a: &x [*x]\n", ":1:4:", "anchors", "write the value out"},
		{"second document", "listen: :1\n---\nlisten: :2\n", ":3:7:", "second YAML document", "remove"},
		{"not fields", "hello\n", ":1:1:", "the file holds text", "docs/configuration.md"},
		{"syntax", "log: {level: info\n", "", "stanch.yaml", "correct the YAML"},
		{"tab", "log:\n\tlevel: info\n", "", "stanch.yaml", "correct the YAML"},
		{"deep flow", "log: " + strings.Repeat("[", 100000) + "\n", "", "nested too deeply", ""},
		{"deep entries", strings.Repeat("- ", 100000) + "\n", "", "nested too deeply", ""},
		{"not UTF-8", "log: \xff\n", ":1:1:", "is not UTF-8", "UTF-8"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(write(t, tt.text))
			if err == nil {
				t.Fatal("accepted")
			}
			problems := Problems(err)
			if len(problems) == 0 {
				t.Fatalf("no Error in %v", err)
			}
			first := problems[0]
			text := first.Error()
			for _, want := range []string{tt.place, tt.msg} {
				if !strings.Contains(text, want) {
					t.Errorf("error does not hold %q:\n%s", want, text)
				}
			}
			if !strings.Contains(first.Hint, tt.hint) || first.Hint == "" {
				t.Errorf("hint = %q, want %q", first.Hint, tt.hint)
			}
			if tt.place != "" && tt.name != "not UTF-8" && !strings.HasSuffix(text, "^") {
				t.Errorf("no caret:\n%s", text)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(write(t, "listn: x\nlog:\n  levle: y\npprof: 3\n"))
	if got := Problems(err); len(got) != 3 || got[0].Line != 1 || got[2].Line != 4 {
		t.Errorf("problems = %v", err)
	}
	var one *Error
	if !errors.As(err, &one) || one.Field != "listn" {
		t.Errorf("errors.As found %v", one)
	}
}

func TestExcerpt(t *testing.T) {
	_, err := Load(write(t, "log:\n  level: loud\n"))
	want := "   2 |   level: loud\n                ^"
	if got := Problems(err)[0].Excerpt; got != want {
		t.Errorf("excerpt:\n%s\nwant:\n%s", got, want)
	}
}

// A secret that someone wrote into the file must not come out in the error.
func TestRefusalsHoldNoSecret(t *testing.T) {
	const canary = "hunter2"
	const long = "AKIAIOSFODNN7EXAMPLEwJalrXUtnFEMIK7MDENG"
	for _, text := range []string{
		"database: postgres://u:hunter2@h/d\n",
		"database:\n  value: hunter2\n",
		"database: {value: hunter2}\n",
		"github:\n  private_key: |\n    hunter2\n",
		"github:\n  webhook_secret: hunter2\n",
		"github: {webhook_secret: hunter2}\n",
		"github:\n  webhook_secret: [hunter2]\n",
		"providers:\n  aws:\n    credentials:\n      foo: hunter2\n",
		"providers:\n  \"a.b\":\n    credentials:\n      foo: hunter2\n",
		"password: hunter2\n",
		"github:\n  webhook_secret: \"hunter2\n",
		"github:\n  webhook_secret: {hunter2\n",
		"log: " + long + "\n",
		long + "\n",
		"log: [" + long + "\n",
	} {
		_, err := Load(write(t, text))
		if err == nil {
			t.Errorf("accepted %q", text)
			continue
		}
		for _, p := range Problems(err) {
			all := p.Error() + p.Hint
			if strings.Contains(all, canary) || strings.Contains(all, long) {
				t.Errorf("secret in the error for %q:\n%s", text, all)
			}
		}
	}
}

func TestLoadFileProblems(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "none.yaml"), t.TempDir()} {
		_, err := Load(path)
		if p := Problems(err); len(p) != 1 || p[0].Hint == "" {
			t.Errorf("Load(%s) = %v", path, err)
		}
	}
}

func TestSecretResolve(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		err := os.WriteFile(path, []byte(text), mode)
		if err == nil {
			err = os.Chmod(path, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("STANCH_TEST_SECRET", "from env\n")
	t.Setenv("STANCH_TEST_EMPTY", "")
	tests := []struct {
		name      string
		ref       Secret
		want      string
		msg, hint string
	}{
		{"none", Secret{}, "", "", ""},
		{"file", Secret{File: file("good", "s3cret \r\n\n", 0o600)}, "s3cret", "", ""},
		{"multi-line file", Secret{File: file("pem", "-----BEGIN\nx\n-----END\n", 0o400)}, "-----BEGIN\nx\n-----END", "", ""},
		{"env", Secret{Env: "STANCH_TEST_SECRET"}, "from env", "", ""},
		{"both", Secret{File: "a", Env: "B"}, "", "both file and env", "keep one"},
		{"group", Secret{File: file("group", "hunter2", 0o640)}, "", "0640", "chmod 600"},
		{"others", Secret{File: file("others", "hunter2", 0o604)}, "", "0604", "chmod 600"},
		{"empty file", Secret{File: file("empty", " \n", 0o600)}, "", "is empty", "write the secret"},
		{"large file", Secret{File: file("large", strings.Repeat("x", maxSecretFile+1), 0o600)}, "", "larger", "nothing else"},
		{"directory", Secret{File: dir}, "", "not a regular file", "write the secret"},
		{"missing file", Secret{File: filepath.Join(dir, "none")}, "", "does not exist", "0600"},
		{"missing env", Secret{Env: "STANCH_TEST_NONE"}, "", "STANCH_TEST_NONE", "set STANCH_TEST_NONE"},
		{"empty env", Secret{Env: "STANCH_TEST_EMPTY"}, "", "empty", "set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := tt.ref.Resolve()
			if tt.msg == "" {
				if err != nil || v.Reveal() != tt.want {
					t.Errorf("got %d bytes, %v", v.Len(), err)
				}
				return
			}
			p := Problems(err)
			if len(p) != 1 || !strings.Contains(p[0].Error(), tt.msg) || !strings.Contains(p[0].Hint, tt.hint) {
				t.Fatalf("error = %v", err)
			}
			if strings.Contains(p[0].Error(), "hunter2") {
				t.Error("secret in the error")
			}
		})
	}
}

func TestServeSecrets(t *testing.T) {
	_, err := Default().ServeSecrets()
	if p := Problems(err); len(p) != 3 {
		t.Errorf("problems = %v", err)
	}
	t.Setenv("STANCH_TEST_NEW", "0123456789abcdef")
	t.Setenv("STANCH_TEST_OLD", "fedcba9876543210")
	t.Setenv("STANCH_TEST_SHORT", "short")
	c := Default()
	c.GitHub.AppID = 7
	c.GitHub.PrivateKey = Secret{Env: "STANCH_TEST_NEW"}
	c.GitHub.WebhookSecret = Secret{Env: "STANCH_TEST_NEW"}
	c.GitHub.PreviousWebhookSecret = Secret{Env: "STANCH_TEST_OLD"}
	got, err := c.ServeSecrets()
	if err != nil || len(got.Webhook) != 2 || got.Webhook[0].Reveal() != "0123456789abcdef" {
		t.Errorf("got %d secrets, %v", len(got.Webhook), err)
	}
	c.GitHub.WebhookSecret = Secret{Env: "STANCH_TEST_SHORT"}
	_, err = c.ServeSecrets()
	if p := Problems(err); len(p) != 1 || p[0].Field != "github.webhook_secret" || strings.Contains(err.Error(), "short\n") {
		t.Errorf("problems = %v", err)
	}
}

func TestDatabaseURL(t *testing.T) {
	c := Default()
	v, err := c.DatabaseURL()
	if err != nil || v.Reveal() != "sqlite:"+filepath.Join(c.DataDir, "stanch.db") {
		t.Errorf("database = %s, %v", v.Reveal(), err)
	}
	t.Setenv("STANCH_TEST_DB", "postgres://u:hunter2@db.example/stanch")
	c.Database = Secret{Env: "STANCH_TEST_DB"}
	v, err = c.DatabaseURL()
	if err != nil || !strings.HasPrefix(v.Reveal(), "postgres://") {
		t.Errorf("database: %v", err)
	}
	t.Setenv("STANCH_TEST_DB", "mysql://u:hunter2@db.example/stanch")
	_, err = c.DatabaseURL()
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}

func TestDurationRoundTrip(t *testing.T) {
	for _, s := range []string{"15s", "30m0s", "2160h0m0s", "1.5s"} {
		var d Duration
		err := d.UnmarshalText([]byte(s))
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.MarshalText()
		if err != nil || string(b) != s {
			t.Errorf("%s became %s, %v", s, b, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "deploy", "stanch.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	for _, s := range []string{"", "a: &x [*x]", "? [a]: b", "log: {level: info", "- - - -", "providers: {a.b: {credentials: {x: {}}}}", "policy: {rules: [{mode: act}, null, 3]}", "---\n---\n", "\"listen\": |\n  x", "!!binary x", "log: {<<: {a: b}}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse("fuzz.yaml", data)
		if err != nil {
			p := Problems(err)
			if len(p) == 0 {
				t.Fatalf("untyped error %v", err)
			}
			for _, e := range p {
				if e.Hint == "" || strings.ContainsAny(e.Excerpt, "\x1b\r\x00") {
					t.Fatalf("bad error %q hint %q", e.Error(), e.Hint)
				}
			}
			return
		}
		if c.DataDir == "" || c.Policy.Mode == "" || !filepath.IsAbs(c.DataDir) {
			t.Fatalf("incomplete %+v", c)
		}
	})
}
