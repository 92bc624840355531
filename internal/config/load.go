package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// Limits on the shape of the YAML: the parser is recursive, and no field of
// [Config] is deeper than eight.
const (
	maxFlowDepth    = 32
	maxEntriesALine = 32
	maxDepth        = 64
)

// Load reads, checks and completes a configuration file. Every problem that it
// finds is in the error, which is an [Errors] or, when the file cannot be read, an
// [*Error]. No secret is resolved: see [Secret.Resolve].
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError(path, err)
	}
	if info.IsDir() {
		return nil, &Error{File: path, Msg: "is a directory", Hint: "give the path of the configuration file, for example " + filepath.Join(path, "stanch.yaml")}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	if len(data) > maxConfigFile {
		return nil, &Error{File: path, Msg: fmt.Sprintf("is larger than %d bytes", maxConfigFile), Hint: "is this the right file?"}
	}
	return parse(path, data)
}

// Default is the configuration without a file; paths start at the working directory.
func Default() *Config {
	c := &Config{}
	c.complete(".")
	return c
}

func fileError(path string, err error) *Error {
	e := &Error{File: path, Err: err, Msg: "cannot be read", Hint: "make it readable for the user that runs stanch"}
	if errors.Is(err, os.ErrNotExist) {
		e.Msg, e.Hint = "does not exist", "copy deploy/stanch.yaml to start from, or name another file with --config"
	}
	var pathErr *os.PathError
	if e.Msg == "cannot be read" && errors.As(err, &pathErr) {
		e.Msg += ": " + pathErr.Err.Error()
	}
	return e
}

// parse is Load for bytes; path names them and is where relative paths start.
func parse(path string, data []byte) (*Config, error) {
	src := string(data)
	if i := invalidUTF8(data); i >= 0 {
		line := 1 + strings.Count(src[:i], "\n")
		return nil, Errors{{File: path, Line: line, Column: 1, Msg: "is not UTF-8", Hint: "save the file as UTF-8"}}
	}
	c := &Config{Source: path}
	d := &document{file: path, src: src}
	file, err := d.parse()
	if err != nil {
		return nil, Errors{err}
	}
	if root := d.root(file); root != nil {
		d.check(root, configType, "")
		if len(d.errs) == 0 {
			d.decode(root, c)
		}
		d.node = root
	}
	if len(d.errs) == 0 {
		d.validate(c)
	}
	if len(d.errs) > 0 {
		sort.SliceStable(d.errs, func(i, j int) bool { return d.errs[i].Line < d.errs[j].Line })
		return nil, d.errs
	}
	c.complete(filepath.Dir(path))
	return c, nil
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// document is one file on its way to a Config.
type document struct {
	file string
	src  string
	node ast.Node // root mapping; nil for an empty file
	errs Errors
}

// maxErrors bounds how many problems are reported at once.
const maxErrors = 20

func (d *document) add(tk *token.Token, field, msg, hint string) {
	if len(d.errs) >= maxErrors {
		return
	}
	d.errs = append(d.errs, d.errorAt(tk, field, msg, hint))
}

func (d *document) errorAt(tk *token.Token, field, msg, hint string) *Error {
	e := &Error{File: d.file, Field: field, Msg: msg, Hint: hint}
	if tk != nil && tk.Position != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
		e.Excerpt = excerpt(d.src, e.Line, e.Column, underSecret(field))
	}
	return e
}

func (d *document) parse() (*ast.File, *Error) {
	tokens := lexer.Tokenize(d.src)
	if e := d.shape(tokens); e != nil {
		return nil, e
	}
	file, err := parser.Parse(tokens, 0)
	if err == nil {
		return file, nil
	}
	const hint = "correct the YAML; indent with two spaces, and quote values that hold : # { } [ ] or start with a special character"
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return nil, &Error{File: d.file, Msg: "is not valid YAML", Hint: hint}
	}
	msg := ye.GetMessage()
	if key, rest, found := strings.Cut(strings.TrimPrefix(msg, "mapping key "), " already defined"); found && strings.HasPrefix(msg, "mapping key ") {
		return nil, d.errorAt(ye.GetToken(), "", "key "+key+" is written twice; first"+rest, "remove one of the two")
	}
	if strings.ContainsFunc(msg, func(r rune) bool { return r < 0x20 }) || len(msg) > 200 {
		msg = "is not valid YAML"
	}
	return nil, d.errorAt(ye.GetToken(), "", keyLike().ReplaceAllString(msg, "***"), hint)
}

// shape refuses, before the recursive parser sees it, what no configuration needs:
// anchors (an alias may contain itself), tags, and deep nesting.
func (d *document) shape(tokens token.Tokens) *Error {
	var flow, entries, line int
	for _, tk := range tokens {
		if tk.Position.Line != line {
			line, entries = tk.Position.Line, 0
		}
		switch tk.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType:
			entries++
		case token.AnchorType, token.AliasType, token.MergeKeyType, token.TagType, token.DirectiveType:
			return d.errorAt(tk, "", "YAML anchors, aliases, tags and directives are not accepted", "write the value out where it is used")
		}
		if flow > maxFlowDepth || entries > maxEntriesALine || tk.Position.IndentNum > 2*maxDepth {
			return d.errorAt(tk, "", "is nested too deeply", "see docs/configuration.md for the fields")
		}
	}
	return nil
}

// root gives the one mapping of the file, or nil for an empty file.
func (d *document) root(file *ast.File) ast.Node {
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		bodies = append(bodies, doc.Body)
	}
	switch {
	case len(bodies) == 0:
		return nil
	case len(bodies) > 1:
		d.add(bodies[1].GetToken(), "", "a second YAML document is not read", "remove the --- line and what follows it")
		return nil
	}
	if bodies[0].Type() == ast.NullType {
		return nil
	}
	return bodies[0]
}

// decode is the second net under check: the library's own strict decoder.
func (d *document) decode(root ast.Node, c *Config) {
	err := yaml.NodeToValue(root, c, yaml.Strict())
	if err == nil {
		return
	}
	var ye yaml.Error
	if errors.As(err, &ye) {
		d.add(ye.GetToken(), "", "has a value of the wrong type", "see docs/configuration.md for the fields")
		return
	}
	d.add(nil, "", "cannot be decoded", "see docs/configuration.md for the fields")
}

// Defaults, as the comments of the fields say.
const (
	defaultDataDir         = "stanch-data"
	defaultListen          = ":8080"
	defaultAdminListen     = "127.0.0.1:9090"
	defaultAPIURL          = "https://api.github.com"
	defaultWebURL          = "https://github.com"
	defaultRegion          = "us-east-1"
	defaultApprovalTimeout = Duration(30 * time.Minute)
	defaultScanTimeout     = Duration(10 * time.Minute)
	defaultLookback        = Duration(2160 * time.Hour)
	defaultInterval        = Duration(10 * time.Second)
	defaultMaxPackBytes    = 2 << 30
	defaultMaxBlobBytes    = 32 << 20
	defaultActsPerHour     = 20
	defaultVerdictsPerHour = 600
)

func orDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// complete makes paths absolute from base and fills in the defaults.
func (c *Config) complete(base string) {
	abs := func(p *string) {
		if *p == "" {
			return
		}
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
		full, err := filepath.Abs(*p)
		if err == nil {
			*p = full
		}
	}
	orDefault(&c.DataDir, defaultDataDir)
	abs(&c.DataDir)
	abs(&c.Playbooks.Dir)
	abs(&c.Scan.Rules)
	c.eachSecret(func(_ string, s *Secret) { abs(&s.File) })
	orDefault(&c.Listen, defaultListen)
	orDefault(&c.AdminListen, defaultAdminListen)
	orDefault(&c.Log.Level, "info")
	orDefault(&c.Log.Format, "json")
	orDefault(&c.GitHub.APIURL, defaultAPIURL)
	orDefault(&c.GitHub.WebURL, defaultWebURL)
	c.GitHub.APIURL = strings.TrimRight(c.GitHub.APIURL, "/")
	c.GitHub.WebURL = strings.TrimRight(c.GitHub.WebURL, "/")
	orDefault(&c.Secrets.Keeper, "file://"+filepath.ToSlash(filepath.Join(c.DataDir, "seal.key")))
	orDefault(&c.Policy.Mode, "observe")
	orDefault(&c.Policy.ApprovalTimeout, defaultApprovalTimeout)
	orDefault(&c.Policy.ApprovalDefault, "deny")
	orDefault(&c.Guard.MaxActsPerHour, defaultActsPerHour)
	orDefault(&c.Guard.MaxVerdictsPerHour, defaultVerdictsPerHour)
	orDefault(&c.Guard.ForeignAccounts, "report")
	if c.Guard.ActOnFixtures == nil {
		yes := true
		c.Guard.ActOnFixtures = &yes
	}
	for name, p := range c.Providers {
		p.complete()
		c.Providers[name] = p
	}
	orDefault(&c.Scan.Timeout, defaultScanTimeout)
	orDefault(&c.Scan.MaxPackBytes, defaultMaxPackBytes)
	orDefault(&c.Scan.MaxBlobBytes, defaultMaxBlobBytes)
	orDefault(&c.Scan.Workers, max(8, 4*runtime.NumCPU())) // a fetch mostly waits for GitHub
	if len(c.Trail.Polls) == 0 {
		for _, m := range []time.Duration{0, 2, 5, 10, 15, 30, 60} {
			c.Trail.Polls = append(c.Trail.Polls, Duration(m*time.Minute))
		}
	}
	orDefault(&c.Trail.Lookback, defaultLookback)
	orDefault(&c.Ledger.Interval, defaultInterval)
	if c.Ledger.Origin == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			host = "localhost"
		}
		c.Ledger.Origin = "stanch/" + host
	}
}

func (p *Provider) complete() {
	orDefault(&p.Region, defaultRegion)
	for i := range p.Accounts {
		a := &p.Accounts[i]
		orDefault(&a.Name, a.ID)
		if a.Partition == "" {
			a.Partition, _, _ = parseRoleARN(a.RoleARN)
			orDefault(&a.Partition, "aws")
		}
	}
}
