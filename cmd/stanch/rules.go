package main

import (
	"fmt"

	"stanch/scanner/rules"
)

// operatorRules reads the operator's own rules from what a flag names: nothing, a
// file or a directory.
func operatorRules(flag, path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	toml, err := rules.Read(path)
	if err != nil {
		return nil, fail(exitUsage, fmt.Errorf("read %s: %w", flag, plain(err)), "name a gitleaks TOML file that exists, or a directory of such files")
	}
	return toml, nil
}
