package github

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The packages that hold GitHub's own payload examples and API description.
const (
	examplesPackage = "@octokit/webhooks-examples@7.6.1"
	openAPIPackage  = "@octokit/openapi@23.0.2"
)

// octokit installs the packages once into the user's cache and returns the
// folder that holds them.
var octokit = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "stanch-test")
	modules := filepath.Join(dir, "node_modules", "@octokit")
	_, errA := os.Stat(filepath.Join(modules, "webhooks-examples", "package.json"))
	_, errB := os.Stat(filepath.Join(modules, "openapi", "package.json"))
	if errA == nil && errB == nil {
		return modules, nil
	}
	err = os.MkdirAll(dir, 0o755)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund", examplesPackage, openAPIPackage).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, out)
	}
	return modules, nil
})

func octokitDir(t *testing.T) string {
	t.Helper()
	_, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm, which brings GitHub's own descriptions, is not installed")
	}
	dir, err := octokit()
	must(t, err)
	return dir
}

// description is an OpenAPI document made usable as JSON Schema.
type description struct {
	doc      map[string]any
	compiler *jsonschema.Compiler
}

func openAPI(t *testing.T, file string) *description {
	t.Helper()
	f, err := os.Open(filepath.Join(octokitDir(t), "openapi", "generated", file))
	must(t, err)
	defer func() { _ = f.Close() }()
	doc, err := jsonschema.UnmarshalJSON(f)
	must(t, err)
	nullable(doc)
	c := jsonschema.NewCompiler()
	must(t, c.AddResource("https://openapi.example/doc", doc))
	return &description{doc.(map[string]any), c}
}

// nullable turns OpenAPI 3.0's nullable into JSON Schema's null.
func nullable(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			nullable(x)
		}
	case map[string]any:
		for _, x := range v {
			nullable(x)
		}
		if v["nullable"] != true {
			return
		}
		delete(v, "nullable")
		if kind, ok := v["type"].(string); ok {
			v["type"] = []any{kind, "null"}
		}
		if values, ok := v["enum"].([]any); ok && !slices.Contains(values, nil) {
			v["enum"] = append(values, nil)
		}
		for _, key := range []string{"anyOf", "oneOf"} {
			if list, ok := v[key].([]any); ok {
				v[key] = append(list, map[string]any{"type": "null"})
			}
		}
		if list, ok := v["allOf"].([]any); ok {
			// an account is a user or an enterprise: the package says allOf where GitHub says anyOf
			v["anyOf"] = append([]any{map[string]any{"type": "null"}}, list...)
			delete(v, "allOf")
		}
	}
}

func (d *description) check(t *testing.T, what, pointer string, answer any) {
	t.Helper()
	schema, err := d.compiler.Compile("https://openapi.example/doc#" + pointer)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	raw, err := json.Marshal(answer)
	must(t, err)
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	must(t, err)
	err = schema.Validate(v)
	if err != nil {
		t.Errorf("%s is not what GitHub describes: %v", what, err)
	}
}

// response is the pointer of the schema of an operation's answer.
func (d *description) response(t *testing.T, method, path string, status int) string {
	t.Helper()
	node := any(d.doc)
	segments := []string{"paths", path, strings.ToLower(method), "responses", strconv.Itoa(status)}
	pointer := ""
	for _, s := range segments {
		m, ok := node.(map[string]any)
		if !ok || m[s] == nil {
			t.Fatalf("%s %s has no answer %d", method, path, status)
		}
		node = m[s]
		pointer += "/" + url.PathEscape(strings.ReplaceAll(s, "/", "~1"))
	}
	if ref, ok := node.(map[string]any)["$ref"].(string); ok {
		pointer = strings.TrimPrefix(ref, "#")
	}
	return pointer + "/content/application~1json/schema"
}

func TestPayloadsAreGitHubs(t *testing.T) {
	api := openAPI(t, "api.github.com.json")
	w := newWorld(t, Options{})
	w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	_, push := w.last("push")
	_, install := w.last("installation")
	must(t, w.lab.SendPing(w.app.ID))
	_, ping := w.last("ping")
	must(t, w.lab.Publicize("octo/shop"))
	_, public := w.last("public")
	w.lab.SendSecretScanningAlert(w.repo, "created", SecretAlert{Number: 1, SecretType: "github_personal_access_token", DisplayName: "GitHub Personal Access Token", Validity: "active"})
	_, alert := w.last("secret_scanning_alert")
	w.lab.SendInstallationRepositories(w.in, []*Repo{w.repo}, nil)
	_, added := w.last("installation_repositories")
	for name, payload := range map[string]any{
		"webhook-push": push, "webhook-ping": ping, "webhook-public": public, "webhook-installation-created": install,
		"webhook-secret-scanning-alert-created": alert, "webhook-installation-repositories-added": added,
	} {
		api.check(t, name, "/components/schemas/"+name, payload)
	}

	var events []struct {
		Name     string
		Examples []map[string]any
	}
	raw, err := os.ReadFile(filepath.Join(octokitDir(t), "webhooks-examples", "api.github.com", "index.json"))
	must(t, err)
	must(t, json.Unmarshal(raw, &events))
	ours := map[string]map[string]any{"push": push, "public": public, "installation": install, "installation_repositories": added}
	compared := 0
	for _, e := range events {
		for i, example := range e.Examples {
			if ours[e.Name] == nil {
				continue
			}
			compared++
			for _, miss := range lacking("", example, ours[e.Name]) {
				t.Errorf("%s, example %d: %s", e.Name, i, miss)
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d examples were compared", compared)
	}
}

// lacking lists what the example has and ours lacks or has with another type.
// Null fits any type. What depends on the
// case, or is a number in GitHub's older examples and a
// string in the newer (times of an installation), is left out.
func lacking(path string, example, ours any) []string {
	if example == nil || ours == nil {
		return nil
	}
	switch e := example.(type) {
	case map[string]any:
		o, ok := ours.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, not an object", path, ours)}
		}
		var out []string
		for key, value := range e {
			at := path + "." + key
			if slices.Contains([]string{".repository.temp_clone_token", ".organization", ".installation.permissions", ".installation.created_at", ".installation.updated_at"}, at) || strings.HasSuffix(at, ".username") {
				continue
			}
			if slices.Contains([]string{"allow_merge_commit", "allow_rebase_merge", "allow_squash_merge", "delete_branch_on_merge", "allow_auto_merge"}, key) {
				continue // shown to administrators only
			}
			got, ok := o[key]
			if !ok {
				out = append(out, at+" is missing")
				continue
			}
			out = append(out, lacking(at, value, got)...)
		}
		return out
	case []any:
		o, ok := ours.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %T, not a list", path, ours)}
		}
		if len(e) == 0 || len(o) == 0 {
			return nil
		}
		return lacking(path+"[]", e[0], o[0])
	}
	if fmt.Sprintf("%T", example) != fmt.Sprintf("%T", ours) {
		return []string{fmt.Sprintf("%s is %T, GitHub's is %T", path, ours, example)}
	}
	return nil
}

func TestAnswersAreGitHubs(t *testing.T) {
	api := openAPI(t, "api.github.com.json")
	w := newWorld(t, Options{})
	w.commit("a", "1")
	w.git("push", "-q", "origin", "main")
	w.settle()
	app := w.jwt(0, 9*time.Minute)
	id := strconv.FormatInt(w.in.ID, 10)
	delivery := strconv.FormatInt(w.lab.Deliveries(w.app.ID)[1].ID, 10)
	token := w.installationToken(`{"repositories":["shop"]}`)
	classic, err := w.lab.CreateToken("mona", KindClassic, "repo")
	must(t, err)
	for _, c := range []struct {
		method, path, operation, auth, body string
		status                              int
	}{
		{"GET", "/app", "/app", app, "", 200},
		{"GET", "/app/hook/deliveries", "/app/hook/deliveries", app, "", 200},
		{"GET", "/app/hook/deliveries?cursor=x", "/app/hook/deliveries", app, "", 422},
		{"GET", "/app/hook/deliveries/" + delivery, "/app/hook/deliveries/{delivery_id}", app, "", 200},
		{"POST", "/app/hook/deliveries/" + delivery + "/attempts", "/app/hook/deliveries/{delivery_id}/attempts", app, "", 202},
		{"GET", "/app/installations", "/app/installations", app, "", 200},
		{"GET", "/app/installations/" + id, "/app/installations/{installation_id}", app, "", 200},
		{"GET", "/app/installations/1", "/app/installations/{installation_id}", app, "", 404},
		{"POST", "/app/installations/" + id + "/access_tokens", "/app/installations/{installation_id}/access_tokens", app, `{"repositories":["shop"]}`, 201},
		{"POST", "/app/installations/" + id + "/access_tokens", "/app/installations/{installation_id}/access_tokens", app, `{"repositories":["no"]}`, 422},
		{"POST", "/app/installations/" + id + "/access_tokens", "/app/installations/{installation_id}/access_tokens", "", `{}`, 401},
		{"GET", "/installation/repositories", "/installation/repositories", token, "", 200},
		{"GET", "/installation/repositories", "/installation/repositories", classic, "", 403},
		{"GET", "/repos/octo/shop", "/repos/{owner}/{repo}", token, "", 200},
		{"GET", "/repos/octo/none", "/repos/{owner}/{repo}", token, "", 404},
		{"GET", "/repos/octo/shop/installation", "/repos/{owner}/{repo}/installation", app, "", 200},
		{"GET", "/user", "/user", classic, "", 200},
		{"GET", "/user", "/user", "", "", 401},
		{"GET", "/user", "/user", token, "", 403},
		{"GET", "/rate_limit", "/rate_limit", token, "", 200},
		{"POST", "/credentials/revoke", "/credentials/revoke", "", `{"credentials":["ghp_x"]}`, 202},
		{"POST", "/credentials/revoke", "/credentials/revoke", "", `{}`, 422},
	} {
		what := c.method + " " + c.path
		status, _, answer := w.call(c.method, c.path, c.auth, c.body)
		if status != c.status {
			t.Errorf("%s: %d, want %d: %v", what, status, c.status, answer)
			continue
		}
		api.check(t, what+" "+strconv.Itoa(status), api.response(t, c.method, c.operation, status), answer)
	}
}

func TestAuditLogIsGitHubs(t *testing.T) {
	cloud := openAPI(t, "ghec.json")
	w := newWorld(t, Options{})
	w.commit("a", "1")
	token, err := w.lab.CreateToken("mona", KindClassic, "repo", "read:audit_log")
	must(t, err)
	w.git("push", "-q", strings.Replace(w.repo.CloneURL, "://", "://mona:"+token+"@", 1), "main")
	w.settle()
	w.status(200, "GET", "/user", token, "")
	v := w.status(200, "GET", "/orgs/octo/audit-log?include=all", token, "").([]any)
	if len(v) < 2 {
		t.Fatalf("%d events", len(v))
	}
	cloud.check(t, "audit log", cloud.response(t, "GET", "/orgs/{org}/audit-log", 200), v)
}
