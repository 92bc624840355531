package match

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/zricethezav/gitleaks/v8/config"
)

// deepestExtend is how far gitleaks follows extend.path.
const deepestExtend = 2

// LoadAlone reads a TOML file the way gitleaks does with --config: its rules
// alone, and those of gitleaks or of another file only where [extend] says so.
// No data gives gitleaks' default rules. read opens what extend.path names; nil
// refuses it. extend.url does nothing, as with gitleaks.
func LoadAlone(data []byte, read func(path string) ([]byte, error)) (config.Config, error) {
	loading.Lock()
	defer loading.Unlock()
	if len(bytes.TrimSpace(data)) == 0 {
		return defaults()
	}
	return alone(data, read, 0)
}

func alone(data []byte, read func(path string) ([]byte, error), depth int) (config.Config, error) {
	vc, err := decode(data)
	if err != nil {
		return config.Config{}, err
	}
	e := vc.Extend
	var base config.Config
	switch {
	case e.Path != "" && e.UseDefault:
		return base, errors.New("read rules: both extend.path and extend.useDefault are set")
	case depth >= deepestExtend || !e.UseDefault && e.Path == "":
		return translate(vc, nil)
	case e.UseDefault:
		base, err = defaults()
	case read == nil:
		return base, errors.New("read rules: extend.path is not allowed here")
	default:
		var more []byte
		more, err = read(e.Path)
		if err == nil {
			base, err = alone(more, read, depth+1)
		}
	}
	if err != nil {
		return base, fmt.Errorf("read rules that are extended: %w", err)
	}
	own, err := translate(vc, &base)
	if err != nil {
		return own, err
	}
	extend(&base, own)
	return base, nil
}
