package rules

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// mostBytes is how long a file of an operator's rules may be.
const mostBytes = 8 << 20

// Dir reads an operator's own rules: every *.toml of a directory, in gitleaks'
// form and in the order of the names, as one; and what their secrets are from
// every *.json, in the form of rules.json, which [Of] then knows from here on.
// The TOML is what scanner.Options.ExtraRules takes. A file that cannot be read
// is named by the error, and nothing is changed then.
func Dir(dir string) (toml []byte, err error) {
	var b bytes.Buffer
	texts, err := filepath.Glob(filepath.Join(dir, "*.toml"))
	if err != nil {
		return nil, fmt.Errorf("look for rules: %w", err)
	}
	kinds, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("look for kinds of rules: %w", err)
	}
	if len(texts)+len(kinds) == 0 {
		return nil, fmt.Errorf("no *.toml and no *.json in %s", dir)
	}
	for _, name := range texts {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	own := map[string]Kind{}
	for _, name := range kinds {
		text, err := read(name)
		if err != nil {
			return nil, err
		}
		m, err := parseKinds(text)
		if err != nil {
			return nil, fmt.Errorf("kinds of rules in %s: %w", name, err)
		}
		for id, k := range m {
			if k.Kind == "" || k.Part == "" {
				return nil, fmt.Errorf("kinds of rules in %s: %s has no kind or no part", name, id)
			}
			own[id] = k
		}
	}
	operators.Store(&own)
	return b.Bytes(), nil
}

// Read reads an operator's own rules from a file of gitleaks TOML or from a
// directory: see [Dir].
func Read(path string) (toml []byte, err error) {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return Dir(path)
	}
	return read(path)
}

func read(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	if info.Size() > mostBytes {
		return nil, fmt.Errorf("read rules in %s: %w", name, errors.New("longer than 8 MB"))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	return text, nil
}
