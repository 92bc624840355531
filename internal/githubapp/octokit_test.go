package githubapp

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// octokitVersion is the release of @octokit/webhooks-examples that tests use.
const octokitVersion = "7.6.1"

// octokitExamples gives the example files, installing the package once into the
// user's cache directory.
func octokitExamples(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("no cache directory for npm packages: %v", err)
	}
	dir := filepath.Join(cache, "stanch-test", "webhooks-examples-"+octokitVersion)
	pattern := filepath.Join(dir, "node_modules", "@octokit", "webhooks-examples", "*", "index.json")
	files, _ := filepath.Glob(pattern)
	if len(files) > 0 {
		return files
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		t.Skip("npm is not installed")
	}
	err = os.MkdirAll(dir, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "@octokit/webhooks-examples@"+octokitVersion)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Skipf("npm cannot install @octokit/webhooks-examples: %v\n%s", err, out)
	}
	files, _ = filepath.Glob(pattern)
	if len(files) == 0 {
		t.Fatal("the package holds no examples")
	}
	return files
}
