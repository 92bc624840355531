package match

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/viper"
	"github.com/zricethezav/gitleaks/v8/config"
)

// gitleaks' Translate reads package globals of gitleaks and viper; one load at
// a time keeps that free of races.
var loading sync.Mutex

// Load gives gitleaks' default rules with the rules of each TOML file added in
// turn. A later file's rule with the id of an earlier one changes it, as with
// gitleaks' [extend]; extend.disabledRules is honoured, extend.path and
// extend.url are refused. Each load starts afresh: gitleaks' own loader loses
// its default rules from the third load on.
func Load(tomls ...[]byte) (config.Config, error) {
	// Reading TOML is half of the work, and needs nobody's globals.
	read := make([]config.ViperConfig, len(tomls))
	errs := make([]error, len(tomls))
	var reading sync.WaitGroup
	for i, t := range tomls {
		if len(bytes.TrimSpace(t)) > 0 {
			reading.Go(func() { read[i], errs[i] = decode(t) })
		}
	}
	loading.Lock()
	defer loading.Unlock()
	cfg, err := defaults()
	reading.Wait()
	if err != nil {
		return config.Config{}, err
	}
	for i, t := range tomls {
		if errs[i] != nil {
			return config.Config{}, errs[i]
		}
		if len(bytes.TrimSpace(t)) == 0 {
			continue
		}
		more, err := addition(read[i], &cfg)
		if err != nil {
			return config.Config{}, err
		}
		extend(&cfg, more)
	}
	return cfg, nil
}

var parseDefaults = sync.OnceValues(func() (config.Config, error) {
	vc, err := decode([]byte(config.DefaultConfig))
	if err != nil {
		return config.Config{}, err
	}
	return translate(vc, nil)
})

// defaults is a copy of gitleaks' default rules that may be changed.
func defaults() (config.Config, error) {
	cfg, err := parseDefaults()
	if err != nil {
		return cfg, fmt.Errorf("load gitleaks' default rules: %w", err)
	}
	cfg.Rules = maps.Clone(cfg.Rules)
	cfg.Keywords = maps.Clone(cfg.Keywords)
	cfg.OrderedRules = slices.Clone(cfg.OrderedRules)
	cfg.Allowlists = slices.Clone(cfg.Allowlists)
	return cfg, nil
}

// decode reads one TOML file.
func decode(data []byte) (vc config.ViperConfig, err error) {
	defer func() {
		r := recover()
		if r != nil {
			err = fmt.Errorf("read rules: %v", r)
		}
	}()
	v := viper.New() // never viper's global instance
	v.SetConfigType("toml")
	err = v.ReadConfig(bytes.NewReader(data))
	if err != nil {
		return vc, fmt.Errorf("read rules: %w", err)
	}
	err = v.Unmarshal(&vc)
	if err != nil {
		return vc, fmt.Errorf("read rules: %w", err)
	}
	return vc, nil
}

// addition compiles one TOML file, with base for the rules that it changes only
// in part.
func addition(vc config.ViperConfig, base *config.Config) (config.Config, error) {
	if vc.Extend.Path != "" || vc.Extend.URL != "" {
		return config.Config{}, errors.New("read rules: extend.path and extend.url are not supported: gitleaks' default rules are always there")
	}
	return translate(vc, base)
}

// translate compiles what was read. A rule that does not compile panics inside
// gitleaks.
func translate(vc config.ViperConfig, base *config.Config) (cfg config.Config, err error) {
	defer func() {
		r := recover()
		if r != nil {
			err = fmt.Errorf("read rules: %v", r)
		}
	}()
	extend := vc.Extend
	vc.Extend = config.Extend{}
	if base != nil {
		for i := range vc.Rules {
			old, ok := base.Rules[vc.Rules[i].ID]
			if ok && vc.Rules[i].Regex == "" && old.Regex != nil {
				vc.Rules[i].Regex = old.Regex.String()
			}
			if ok && vc.Rules[i].Path == "" && old.Path != nil {
				vc.Rules[i].Path = old.Path.String()
			}
		}
	}
	targeted := map[string][]*config.Allowlist{}
	all := vc.Allowlists
	vc.Allowlists = nil
	for i, a := range all {
		if len(a.TargetRules) == 0 {
			vc.Allowlists = append(vc.Allowlists, a)
			continue
		}
		// The target may be a rule of the base, which Translate cannot know.
		targets := a.TargetRules
		a.TargetRules = nil
		one := config.ViperConfig{Allowlists: all[i : i+1]}
		c, err := one.Translate()
		if err != nil {
			return cfg, fmt.Errorf("read rules: %w", err)
		}
		for _, id := range targets {
			targeted[id] = append(targeted[id], c.Allowlists...)
		}
	}
	cfg, err = vc.Translate()
	if err != nil {
		return cfg, fmt.Errorf("read rules: %w", err)
	}
	cfg.Extend = extend
	for id, lists := range targeted {
		r, ok := cfg.Rules[id]
		if !ok {
			if base == nil {
				return cfg, fmt.Errorf("read rules: allowlist for rule %q, which does not exist", id)
			}
			r, ok = base.Rules[id]
			if !ok {
				return cfg, fmt.Errorf("read rules: allowlist for rule %q, which does not exist", id)
			}
			r = config.Rule{RuleID: id, Regex: r.Regex, Path: r.Path}
		}
		r.Allowlists = append(slices.Clone(r.Allowlists), lists...)
		cfg.Rules[id] = r
	}
	return cfg, nil
}

// extend adds what more says to cfg, as gitleaks' extend does.
func extend(cfg *config.Config, more config.Config) {
	for _, id := range more.Extend.DisabledRules {
		delete(cfg.Rules, id)
	}
	for id, r := range more.Rules {
		old, ok := cfg.Rules[id]
		if ok {
			r = merge(old, r)
		} else {
			cfg.OrderedRules = append(cfg.OrderedRules, id)
		}
		for _, k := range r.Keywords {
			cfg.Keywords[strings.ToLower(k)] = struct{}{}
		}
		cfg.Rules[id] = r
	}
	slices.Sort(cfg.OrderedRules)
	cfg.OrderedRules = slices.DeleteFunc(cfg.OrderedRules, func(id string) bool { _, ok := cfg.Rules[id]; return !ok })
	cfg.Allowlists = append(cfg.Allowlists, more.Allowlists...)
}

// merge changes base by what r says, as gitleaks' extend does.
func merge(base, r config.Rule) config.Rule {
	if r.Description != "" {
		base.Description = r.Description
	}
	if r.Entropy != 0 {
		base.Entropy = r.Entropy
	}
	if r.SecretGroup != 0 {
		base.SecretGroup = r.SecretGroup
	}
	if r.Regex != nil {
		base.Regex = r.Regex
	}
	if r.Path != nil {
		base.Path = r.Path
	}
	if len(r.RequiredRules) > 0 {
		base.RequiredRules = r.RequiredRules
	}
	base.Tags = append(slices.Clone(base.Tags), r.Tags...)
	base.Keywords = append(slices.Clone(base.Keywords), r.Keywords...)
	base.Allowlists = append(slices.Clone(base.Allowlists), r.Allowlists...)
	return base
}
