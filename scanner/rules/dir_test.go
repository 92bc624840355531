package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDir(t *testing.T) {
	t.Cleanup(func() { operators.Store(nil) })
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := Dir(dir)
	if err == nil {
		t.Error("an empty directory is taken")
	}
	put("b.toml", "# second")
	put("a.toml", "# first")
	put("kinds.json", `{"corp-key": {"provider": "corp", "kind": "api_key", "part": "token", "by": {"c_": "user_key"}}}`)
	before := Sum()
	toml, err := Dir(dir)
	if err != nil || string(toml) != "# first\n# second\n" {
		t.Fatalf("%q %v", toml, err)
	}
	if Sum() == before {
		t.Error("the sum does not tell what is known")
	}
	k, ok := Of("corp-key", "c_1")
	if !ok || k.Provider != "corp" || k.Kind != "user_key" {
		t.Errorf("%+v %v", k, ok)
	}
	for _, bad := range []string{`{"x": {"provider": "y"}}`, `{"x": {"prov": "y"}}`, `nothing`} {
		put("z.json", bad)
		_, err = Dir(dir)
		if err == nil || !strings.Contains(err.Error(), "z.json") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	_, ok = Of("corp-key", "")
	if !ok {
		t.Error("a bad file takes away what was there")
	}
}
