package playbooks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one complaint of the linter.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // 1-based
	Column  int    `json:"column"` // 1-based
	Rule    string `json:"rule"`   // name of the rule, stable
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do about it
}

// String writes it as compilers do: file:line:column: message (rule).
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s (%s)", p.File, p.Line, p.Column, p.Message, p.Rule)
}

// Error is what [Load] fails with when playbooks have problems.
type Error struct{ Problems []Problem }

// Error shows the first problems, one a line.
func (e *Error) Error() string {
	const shown = 10
	var b strings.Builder
	fmt.Fprintf(&b, "load playbooks: %d problem(s)", len(e.Problems))
	for i, p := range e.Problems {
		if i == shown {
			fmt.Fprintf(&b, "\n... and %d more", len(e.Problems)-shown)
			break
		}
		b.WriteString("\n" + p.String())
	}
	return b.String()
}

// Lint checks one file by itself; problems come in the order of their place.
// It never fails: a file that cannot be parsed is a problem.
func Lint(file []byte, name string) []Problem {
	_, problems := lintFile(file, name)
	return problems
}

// File is a playbook file for [LintAll].
type File struct {
	Name string
	Data []byte
}

// LintAll checks files by themselves and against each other (no finding rule
// and no provider is taken twice).
func LintAll(files []File) []Problem {
	var docs []*document
	var out []Problem
	for _, f := range files {
		d, problems := lintFile(f.Data, f.Name)
		out = append(out, problems...)
		if d != nil {
			docs = append(docs, d)
		}
	}
	return append(out, lintTogether(docs)...)
}

func lintFile(file []byte, name string) (*document, []Problem) {
	doc, problems := parse(file, name)
	if doc != nil {
		l := &linter{doc: doc, problems: problems}
		l.playbook()
		problems = l.problems
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return doc, problems
}

// lintTogether checks what only shows between files.
func lintTogether(docs []*document) []Problem {
	var out []Problem
	provider, rule, ghType := map[string]string{}, map[string]string{}, map[string]string{}
	taken := func(seen map[string]string, d *document, what, id, name string, path ...any) {
		other, ok := seen[id]
		if ok && other != d.name {
			line, col := d.pos(path...)
			out = append(out, Problem{File: d.name, Line: line, Column: col, Rule: name,
				Message: fmt.Sprintf("%s %s is already taken by %s", what, id, other), Hint: "one playbook takes one rule, or two would act on one credential"})
			return
		}
		seen[id] = d.name
	}
	for _, d := range docs {
		taken(provider, d, "provider", d.pb.Provider, "duplicate-provider", "provider")
		for i, c := range d.pb.Credentials {
			for j, r := range c.Rules {
				taken(rule, d, "rule", r, "duplicate-rule", "credentials", i, "rules", j)
			}
			for j, t := range c.GitHubSecretTypes {
				taken(ghType, d, "secret type", t, "duplicate-rule", "credentials", i, "github_secret_types", j)
			}
		}
	}
	return out
}

// linter checks one document. path arguments lead to the value at fault.
type linter struct {
	doc      *document
	problems []Problem
}

func (l *linter) add(rule, message, hint string, path ...any) {
	line, col := l.doc.pos(path...)
	l.problems = append(l.problems, Problem{File: l.doc.name, Line: line, Column: col, Rule: rule, Message: message, Hint: hint})
}

func join(path []any, more ...any) []any { return append(append([]any(nil), path...), more...) }
