package githubapp

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestCheckJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	good := []string{
		`{}`, `[]`, `null`, ` true `, `false`, `0`, `-1.5e+10`, `"x"`, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`,
		`"\u00e9\n\\\"\/"`, `"é 日本"`, deep(64), many(100), many(1024), `[1e308]`, "\t\r\n{\"a\" : 1 , \"b\":2 }\n",
		`{"a":1,"b":{"c":1},"c":{"b":1}}`,
	}
	for _, s := range good {
		if err := checkJSON([]byte(s)); err != nil {
			t.Errorf("%.60s: %v", s, err)
		}
		if !json.Valid([]byte(s)) {
			t.Errorf("%.60s: test is wrong", s)
		}
	}
	bad := []struct{ text, want string }{
		{``, "ends early"}, {`{`, "unexpected"}, {`{"a"`, "unexpected"}, {`{"a":`, "ends early"}, {`{"a":1`, "unexpected"}, {`{"a":1,}`, "unexpected"},
		{`[1,]`, "unexpected"}, {`[1 2]`, "unexpected"}, {`{a:1}`, "unexpected"}, {`tru`, "unexpected"}, {`nul`, "unexpected"}, {`{} {}`, "after the value"},
		{`01`, "bad number"}, {`-`, "bad number"}, {`1.`, "bad number"}, {`1e`, "bad number"}, {`.5`, "unexpected"}, {`+1`, "unexpected"},
		{`"` + "\x01" + `"`, "control character"}, {`"\x41"`, "bad escape"}, {`"\u12g4"`, "bad escape"}, {`"abc`, "ends early"}, {`"\`, "bad escape"},
		{"\"\xff\"", "UTF-8"}, {"\"\xed\xa0\x80\"", "UTF-8"}, {"{\"\xc0\xaf\":1}", "UTF-8"},
		{deep(65), "too deeply"}, {strings.Repeat("[", 100_000), "too deeply"}, {strings.Repeat(`{"a":`, 100_000), "too deeply"},
		{many(1025), "too many keys"}, {"[" + strings.Repeat("[],", 250_000) + "[]]", "too many objects"}, {`{"` + strings.Repeat("k", 257) + `":1}`, "key too long"},
		{strings.Repeat("9", 41), "out of bounds"}, {"-1." + strings.Repeat("0", 100), "out of bounds"}, {"1e9999", "out of bounds"},
		{`{"a":1,"a":1}`, "key twice"}, {`{"ref":1,"\u0072ef":1}`, "key twice"}, {`{"ref":1,"REF":1}`, "key twice"},
		{`{"s":1,"ſ":1}`, "key twice"}, {`{"k":1,"` + "\u212a" + `":1}`, "key twice"}, {`{"x":{"b":1,"c":2,"b":3}}`, "key twice"},
		{`[{"a":1},{"b":1,"b":1}]`, "key twice"}, {strings.Replace(many(200), `"k150"`, `"k7"`, 1), "key twice"},
		{strings.Replace(many(17), `"k16"`, `"k0"`, 1), "key twice"},
	}
	for _, tt := range bad {
		err := checkJSON([]byte(tt.text))
		if !errors.Is(err, errJSON) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q: %v, want %s", tt.text, err, tt.want)
		}
	}
}

// The hostile forms of 25 MB are refused; BenchmarkCheckJSON says how fast.
func TestCheckJSONRefusesHostileForms(t *testing.T) {
	for name, body := range hostileBodies() {
		err := checkJSON(body)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func hostileBodies() map[string][]byte {
	const n = 25 << 20
	fill := func(unit, end string) []byte {
		return []byte(strings.Repeat(unit, (n-len(end)-2)/len(unit)) + end)
	}
	keys := append(make([]byte, 0, n), '{')
	for i := int64(0); len(keys) < n-20; i++ {
		keys = append(strconv.AppendInt(append(keys, '"'), i, 16), `":0,`...)
	}
	return map[string][]byte{
		"arrays":                  fill("[", ""),
		"objects":                 fill(`{"a":`, ""),
		"many keys":               keys,
		"many objects":            append([]byte("["), fill(`{"a":[0],"b":{}},`, `{"a":1,"a":1}]`)...),
		"one string":              append([]byte(`["`), fill("x", "\x01")...),
		"escapes":                 append([]byte(`["`), fill(`\u0041`, `\x`)...),
		"one number":              fill("9", ""),
		"numbers":                 append([]byte("["), fill("1234567,", "1e9999]")...),
		"white space":             fill(" ", ""),
		"invalid UTF-8 at last":   append([]byte(`["`), fill("é", "\xff")...),
		"nesting up to limit":     append([]byte("["), fill(strings.Repeat("[", 62)+strings.Repeat("]", 62)+",", "[")...),
		"objects of sixteen":      append([]byte("["), fill(`{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0,"m":0,"n":0,"o":0,"p":0},`, "x")...),
		"keys beyond ASCII":       append([]byte("["), fill(`{"é":0,"\u0041":0},`, "x")...),
		"keys in capital letters": append([]byte("["), fill(`{"A":0,"B":0},`, "x")...),
	}
}

func decode(t *testing.T, event, body string) Event {
	t.Helper()
	e, err := Decode(event, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestDecodePush(t *testing.T) {
	want := &Push{
		InstallationID: 77,
		Repository: Repository{
			ID: 42, FullName: "acme/widgets", Owner: "acme", Name: "widgets", Visibility: "public", DefaultBranch: "main",
			PushedAt: time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC),
		},
		Ref: "refs/heads/main", Before: "6113728f27ae82c7b1a177c8d03f9e96e0adf246", After: "1113728f27ae82c7b1a177c8d03f9e96e0adf246",
		Commits:    []Commit{{ID: "1113728f27ae82c7b1a177c8d03f9e96e0adf246", Timestamp: time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC), Distinct: true}},
		Pusher:     "octocat",
		Sender:     Account{ID: 5, Login: "octocat", Type: "User"},
		HeadCommit: "1113728f27ae82c7b1a177c8d03f9e96e0adf246", HeadAt: time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC),
	}
	got := decode(t, "push", pushBody)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// edit replaces in pushBody.
func edit(t *testing.T, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(pushBody, pairs[i]) {
			t.Fatalf("no %s in the body", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(pushBody)
}

func TestDecodePushTruncated(t *testing.T) {
	const zero = "0000000000000000000000000000000000000000"
	const after = `"after":"1113728f27ae82c7b1a177c8d03f9e96e0adf246"`
	const before = `"before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246"`
	list := pushBody[strings.Index(pushBody, `"commits":`):strings.Index(pushBody, `,"head_commit"`)]
	many := make([]string, MaxListedCommits)
	for i := range many {
		many[i] = fmt.Sprintf(`{"id":"%040x"}`, i+1)
	}
	full := `"commits":[` + strings.Join(many, ",") + `]`
	tests := []struct {
		name, body string
		truncated  bool
	}{
		{"usual", pushBody, false},
		{"2,048 commits", edit(t, list, full, after, fmt.Sprintf(`"after":"%040x"`, MaxListedCommits)), true},
		{"2,047 commits", edit(t, list, `"commits":[`+strings.Join(many[:MaxListedCommits-1], ",")+`]`, after, fmt.Sprintf(`"after":"%040x"`, MaxListedCommits-1)), false},
		{"does not end at the tip", edit(t, after, `"after":"2223728f27ae82c7b1a177c8d03f9e96e0adf246"`), true},
		{"moved without commits", edit(t, list, `"commits":[]`), true},
		{"forced back", edit(t, list, `"commits":[]`, `"forced":false`, `"forced":true`), false},
		{"created, nothing new", edit(t, list, `"commits":[]`, before, `"before":"`+zero+`"`, `"created":false`, `"created":true`), false},
		{"deleted", edit(t, list, `"commits":[]`, after, `"after":"`+zero+`"`, `"deleted":false`, `"deleted":true`), false},
		{"annotated tag", edit(t, "refs/heads/main", "refs/tags/v1", after, `"after":"2223728f27ae82c7b1a177c8d03f9e96e0adf246"`), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := decode(t, "push", tt.body).(*Push)
			if p.Truncated != tt.truncated || (p.TruncatedWhy != "") != tt.truncated {
				t.Errorf("truncated = %v %q", p.Truncated, p.TruncatedWhy)
			}
		})
	}
}

func TestDecodePushRefusals(t *testing.T) {
	tests := []struct{ name, old, new string }{
		{"ref option", "refs/heads/main", "--upload-pack=x"},
		{"ref refspec", "refs/heads/main", "refs/heads/a:refs/heads/b"},
		{"ref glob", "refs/heads/main", "refs/heads/*"},
		{"ref dots", "refs/heads/main", "refs/heads/../x"},
		{"ref short", `"refs/heads/main"`, `"main"`},
		{"ref newline", "refs/heads/main", `refs/heads/a\nb`},
		{"ref number", `"ref":"refs/heads/main"`, `"ref":5`},
		{"before", "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "HEAD"},
		{"after", `"after":"1113728f27ae82c7b1a177c8d03f9e96e0adf246"`, `"after":"1113728F27ae82c7b1a177c8d03f9e96e0adf246"`},
		{"after null", `"after":"1113728f27ae82c7b1a177c8d03f9e96e0adf246"`, `"after":null`},
		{"deleted without zeros", `"deleted":false`, `"deleted":true`},
		{"commit id", `"commits":[{"id":"1113728f27ae82c7b1a177c8d03f9e96e0adf246"`, `"commits":[{"id":"-x"`},
		{"repository path", "acme/widgets", "acme/.."},
		{"repository slashes", "acme/widgets", "acme/widgets/x"},
		{"repository other name", `"name":"widgets"`, `"name":"gadgets"`},
		{"repository owner", `"login":"acme"`, `"login":"evil"`},
		{"repository id", `"id":42`, `"id":0`},
		{"repository id huge", `"id":42`, `"id":99999999999999999999`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode("push", []byte(edit(t, tt.old, tt.new)))
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), tt.new) {
				t.Errorf("error quotes the body: %v", err)
			}
		})
	}
}

// What is only nice to know never costs a delivery.
func TestDecodeIsLenientAboutTheRest(t *testing.T) {
	p := decode(t, "push", edit(t, `"pushed_at":1767315845`, `"pushed_at":"2026-01-02T03:04:05Z"`,
		`"visibility":"public"`, `"visibility":{"new":"form"}`, `"private":false`, `"private":true`, `"name":"octocat"`, `"name":["x"]`,
		`"default_branch":"main"`, `"default_branch":"a b"`, `"2026-01-02T03:04:05+02:00"`, `"yesterday"`, `"base_ref":null`, `"base_ref":7`,
		`"type":"User"`, `"type":null`)).(*Push)
	if p.Repository.Visibility != "private" || p.Pusher != "" || p.Repository.DefaultBranch != "" || !p.HeadAt.IsZero() || p.Repository.PushedAt.IsZero() {
		t.Errorf("push = %+v", p)
	}
}

func TestDecodeOthers(t *testing.T) {
	const repo = `"repository":{"id":42,"name":"widgets","full_name":"acme/widgets","private":false,"owner":{"login":"acme"}}`
	const inst = `"installation":{"id":77,"account":{"login":"acme","id":1,"type":"Organization"},"repository_selection":"selected","permissions":{"contents":"read","odd one":"read","metadata":"<script>"},"events":["push","bad event"]}`
	r := Repository{ID: 42, FullName: "acme/widgets", Owner: "acme", Name: "widgets", Visibility: "public"}
	acme := Account{ID: 1, Login: "acme", Type: "Organization"}
	tests := []struct {
		event, body string
		want        Event
	}{
		{"public", `{` + repo + `,"installation":{"id":77}}`, &Public{InstallationID: 77, Repository: r}},
		{"installation", `{"action":"created",` + inst + `,"repositories":[{"id":1,"full_name":"acme/a","private":true}]}`, &Installation{
			Action: "created", InstallationID: 77, Account: acme, RepositorySelection: "selected",
			Permissions: map[string]string{"contents": "read"}, Events: []string{"push"}, Repositories: []RepositoryRef{{1, "acme/a", true}},
		}},
		{"installation_repositories", `{"action":"removed",` + inst + `,"repositories_added":[],"repositories_removed":[{"id":1,"full_name":"acme/a"}]}`, &InstallationRepositories{
			Action: "removed", InstallationID: 77, Account: acme, Removed: []RepositoryRef{{1, "acme/a", false}},
		}},
		{"secret_scanning_alert", `{"action":"created","alert":{"number":3,"secret_type":"aws_access_key_id","secret_type_display_name":"Amazon AWS Access Key ID","secret":"CANARY","html_url":"https://github.com/acme/widgets/security/secret-scanning/3","validity":"active","publicly_leaked":true,"resolution":null,"created_at":"2026-01-02T03:04:05Z"},` + repo + `}`, &SecretScanningAlert{
			Action: "created", Repository: r, Number: 3, SecretType: "aws_access_key_id", SecretTypeDisplayName: "Amazon AWS Access Key ID",
			State: "open", Validity: "active", PubliclyLeaked: true, HTMLURL: "https://github.com/acme/widgets/security/secret-scanning/3",
			CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		}},
		{"secret_scanning_alert", `{"action":"resolved","alert":{"number":3,"secret_type":"x","resolution":"revoked","html_url":"javascript:alert(1)"},` + repo + `}`, &SecretScanningAlert{
			Action: "resolved", Repository: r, Number: 3, SecretType: "x", State: "resolved", Resolution: "revoked",
		}},
		{"ping", `{"zen":"x","hook_id":9,"hook":{"app_id":5,"events":["push"]}}`, &Ping{HookID: 9, AppID: 5, Events: []string{"push"}}},
	}
	for _, tt := range tests {
		got := decode(t, tt.event, tt.body)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tt.event, got, tt.want)
		}
		b, err := json.Marshal(got)
		if err != nil || strings.Contains(string(b), "CANARY") {
			t.Errorf("%s: %s, %v", tt.event, b, err)
		}
		back, err := Restore(tt.event, b)
		if err != nil || !reflect.DeepEqual(back, got) {
			t.Errorf("%s: restored %+v, %v", tt.event, back, err)
		}
	}
	for event, body := range map[string]string{
		"public":                    `{"action":"publicized",` + repo + `}`,
		"installation":              `{"action":"added",` + inst + `,"repositories_added":[]}`,
		"installation_repositories": `{"action":"created",` + inst + `}`,
		"secret_scanning_alert":     `{"action":"created","alert":{"number":3},` + repo + `}`,
		"ping":                      `{"zen":"x"}`,
		"push":                      `{` + repo + `}`,
		"issues":                    `{}`,
	} {
		_, err := Decode(event, []byte(body))
		if err == nil {
			t.Errorf("another event's body was accepted as %s", event)
		}
	}
}

// GitHub's own examples, where npm has them: @octokit/webhooks-examples, MIT.
func TestDecodeOctokitExamples(t *testing.T) {
	files := octokitExamples(t)
	seen := map[string]int{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Name     string            `json:"name"`
			Examples []json.RawMessage `json:"examples"`
		}
		err = json.Unmarshal(b, &groups)
		if err != nil {
			t.Fatal(err)
		}
		h, _, _ := newTestWebhook(t, nil)
		for _, g := range groups {
			for i, body := range g.Examples {
				if w := serve(h, request(g.Name, fmt.Sprintf("%d", i), body)); w.Code != 202 {
					_, err := Decode(g.Name, body)
					t.Errorf("%s: %s %d: %d, %v", filepath.Base(filepath.Dir(file)), g.Name, i, w.Code, err)
				}
				if !Handled(g.Name) {
					continue
				}
				e, err := Decode(g.Name, body)
				if err != nil {
					t.Errorf("%s %d: %v", g.Name, i, err)
					continue
				}
				seen[g.Name]++
				b, err := json.Marshal(e)
				if err != nil {
					t.Fatal(err)
				}
				back, err := Restore(g.Name, b)
				if err != nil || !reflect.DeepEqual(back, e) {
					t.Errorf("%s %d: restored %+v, want %+v, %v", g.Name, i, back, e, err)
				}
			}
		}
	}
	for _, event := range []string{EventPush, EventPublic, EventInstallation, EventInstallationRepositories, EventSecretScanningAlert, EventPing} {
		if seen[event] == 0 {
			t.Errorf("no example of %s", event)
		}
	}
	t.Logf("decoded %v", seen)
}

func TestNames(t *testing.T) {
	for s, want := range map[string]bool{
		"refs/heads/main": true, "refs/tags/v1.0": true, "refs/heads/feature/x-y_z": true, "refs/heads/日本": true, "refs/heads/a@b": true,
		"main": false, "refs/": false, "refs/heads/": false, "refs/heads/a..b": false, "refs/heads/a b": false, "refs/heads/a~1": false,
		"refs/heads/.a": false, "refs/heads/a.lock": false, "refs/heads/a@{1}": false, "refs//a": false, "refs/heads/\x7f": false,
		"refs/heads/" + strings.Repeat("a", 5000): false,
	} {
		if validRef(s) != want {
			t.Errorf("validRef(%.40q) = %v", s, !want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("push", []byte(pushBody))
	f.Add("ping", []byte(`{"hook_id":1}`))
	f.Add("installation", []byte(`{"action":"created","installation":{"id":1},"repositories":[]}`))
	f.Add("secret_scanning_alert", []byte(`{"action":"created","alert":{"number":1,"secret_type":"x"},"repository":{"id":1,"name":"b","full_name":"a/b"}}`))
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		if err := checkJSON(body); err == nil && !json.Valid(body) {
			t.Fatal("checkJSON accepts what encoding/json does not")
		}
		e, err := Decode(event, body)
		if err != nil {
			return
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Restore(event, b)
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Fatalf("restored %+v, want %+v, %v", back, e, err)
		}
		if p, ok := e.(*Push); ok && (!validRef(p.Ref) || !validOwner(p.Repository.Owner) || !validRepo(p.Repository.Name)) {
			t.Fatalf("names: %+v", p)
		}
	})
}

func BenchmarkCheckJSON(b *testing.B) {
	for name, body := range hostileBodies() {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				_ = checkJSON(body)
			}
		})
	}
}
