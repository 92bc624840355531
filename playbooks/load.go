package playbooks

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stanch/internal/secret"
)

//go:embed *.yaml
var embedded embed.FS

// Set is all playbooks, linted and compiled. It does not change after [Load]
// and is safe for concurrent use.
type Set struct {
	playbooks []Playbook
	byRule    map[string][]*Credential
	byType    map[string][]*Credential
	byKind    map[string]*Credential
}

// Load reads the embedded playbooks and those in dir ("" for none). A file in
// dir replaces the embedded one of the same provider as a whole, or adds a
// provider. When anything has a problem, nothing is loaded and the error is an
// [*Error] with all of them.
func Load(dir string) (*Set, error) {
	docs, problems, err := read(dir)
	if err != nil {
		return nil, err
	}
	problems = append(problems, lintTogether(docs)...)
	if len(problems) > 0 {
		return nil, &Error{problems}
	}
	s := &Set{byRule: map[string][]*Credential{}, byType: map[string][]*Credential{}, byKind: map[string]*Credential{}}
	for _, d := range docs {
		pb := d.pb
		pb.Source = d.name
		s.playbooks = append(s.playbooks, pb)
	}
	slices.SortFunc(s.playbooks, func(a, b Playbook) int { return strings.Compare(a.Provider, b.Provider) })
	for i := range s.playbooks {
		err := s.index(&s.playbooks[i])
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Set) index(pb *Playbook) error {
	for j := range pb.Credentials {
		c := &pb.Credentials[j]
		c.Provider, c.Hosts, c.BaseURL = pb.Provider, pb.Hosts, pb.BaseURL
		err := Compile(c)
		if err != nil {
			return fmt.Errorf("load playbook %s: %w", pb.Source, err)
		}
		s.byKind[pb.Provider+"/"+c.Kind] = c
		for _, r := range c.Rules {
			s.byRule[r] = append(s.byRule[r], c)
		}
		for _, t := range c.GitHubSecretTypes {
			s.byType[t] = append(s.byType[t], c)
		}
	}
	return nil
}

// read parses the embedded files and those of dir that replace or join them.
func read(dir string) ([]*document, []Problem, error) {
	var docs []*document
	var problems []Problem
	files, err := Files(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range files {
		d, p := lintFile(f.Data, f.Name)
		problems = append(problems, p...)
		if d == nil {
			continue
		}
		if !strings.HasPrefix(f.Name, embeddedPrefix) {
			docs = slices.DeleteFunc(docs, func(o *document) bool {
				return o.pb.Provider == d.pb.Provider && strings.HasPrefix(o.name, embeddedPrefix)
			})
		}
		docs = append(docs, d)
	}
	return docs, problems, nil
}

const embeddedPrefix = "embedded:"

// Files gives the embedded files (named "embedded:aws.yaml") and then those of
// dir, each sorted by name.
func Files(dir string) ([]File, error) {
	var out []File
	names, err := fs.Glob(embedded, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("list embedded playbooks: %w", err)
	}
	for _, n := range names {
		b, err := embedded.ReadFile(n)
		if err != nil {
			return nil, fmt.Errorf("read embedded playbook: %w", err)
		}
		out = append(out, File{embeddedPrefix + n, b})
	}
	if dir == "" {
		return out, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read playbook directory: %w", err)
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		name := filepath.Join(dir, e.Name())
		b, err := ReadFile(name)
		if err != nil {
			return nil, err
		}
		out = append(out, File{name, b})
	}
	return out, nil
}

// ReadFile reads a playbook file that is not larger than a playbook may be.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("read playbook: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFileBytes {
		return nil, fmt.Errorf("read playbook %s: %w", name, errors.New("not a regular file of at most 1 MiB"))
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read playbook: %w", err)
	}
	return b, nil
}

// All gives every playbook, by provider. The caller must not change them.
func (s *Set) All() []Playbook { return s.playbooks }

// ByKind finds the credential of a provider by its kind.
func (s *Set) ByKind(provider, kind string) (Credential, bool) {
	c, ok := s.byKind[provider+"/"+kind]
	if !ok {
		return Credential{}, false
	}
	return *c, true
}

// ByRule finds the credential that takes a finding rule. Where several kinds
// share the rule it is the first of its file; [Set.ByRuleValue] tells them
// apart.
func (s *Set) ByRule(ruleID string) (Credential, bool) { return first(s.byRule[ruleID]) }

// ByRuleValue finds the credential that takes a finding rule by the value that
// was found, where several kinds share the rule.
func (s *Set) ByRuleValue(ruleID string, value secret.Value) (Credential, bool) {
	return byPrefix(s.byRule[ruleID], value)
}

// ByGitHubSecretType finds the credential by the secret type of GitHub's own
// secret scanning. A zero value gives the first where several share the type.
func (s *Set) ByGitHubSecretType(t string, value secret.Value) (Credential, bool) {
	if value.IsZero() {
		return first(s.byType[t])
	}
	return byPrefix(s.byType[t], value)
}

func first(cs []*Credential) (Credential, bool) {
	if len(cs) == 0 {
		return Credential{}, false
	}
	return *cs[0], true
}

func byPrefix(cs []*Credential, value secret.Value) (Credential, bool) {
	if len(cs) == 1 {
		return *cs[0], true
	}
	for _, c := range cs {
		if len(c.Prefixes) == 0 {
			return *c, true
		}
		for _, p := range c.Prefixes {
			if strings.HasPrefix(value.Reveal(), p) {
				return *c, true
			}
		}
	}
	return Credential{}, false
}
