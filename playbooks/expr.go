package playbooks

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"
)

// Limits of one expression. The cost limit is in CEL's own units; a playbook's
// longest expression needs a few hundred.
const (
	maxExprBytes = 4096
	maxExprCost  = 200_000
)

// Response is what an expression sees: a provider's answer and what is known
// of the credential.
type Response struct {
	Status   int
	Headers  map[string]string // lower-case name to value
	Body     any               // decoded JSON; nil when the body was none
	Facts    map[string]string
	PublicID string
	Kind     string
}

// Program is a compiled expression, safe for concurrent use.
type Program struct {
	source string
	prg    cel.Program
}

// CallJudge holds the compiled expressions of a [Call].
type CallJudge struct {
	Live    *Program
	Dead    *Program
	Capture map[string]*Program
}

// ActionJudge holds the compiled expressions of an [Action]; a nil Program was
// not written.
type ActionJudge struct {
	Accepted     *Program
	UndoAccepted *Program
	When         *Program
}

var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("status", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType),
		cel.Variable("facts", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("public_id", cel.StringType),
		cel.Variable("kind", cel.StringType),
		ext.Strings(ext.StringsVersion(2)),
		cel.ParserRecursionLimit(40),
	)
})

// compileExpr compiles an expression that must give a bool or a string. A
// string may be of dynamic type (a field of the body); a bool may not.
func compileExpr(src string, want *cel.Type) (*Program, error) {
	prg, _, err := checkExpr(src, want)
	return prg, err
}

func checkExpr(src string, want *cel.Type) (*Program, *cel.Ast, error) {
	if len(src) > maxExprBytes {
		return nil, nil, fmt.Errorf("expression is longer than %d bytes", maxExprBytes)
	}
	env, err := celEnv()
	if err != nil {
		return nil, nil, fmt.Errorf("prepare expressions: %w", err)
	}
	ast, iss := env.Compile(src)
	if iss != nil && iss.Err() != nil {
		if errs := iss.Errors(); len(errs) > 0 {
			return nil, nil, errors.New(errs[0].Message)
		}
		return nil, nil, iss.Err()
	}
	got := ast.OutputType()
	dynString := want.IsExactType(cel.StringType) && got.IsExactType(cel.DynType)
	if !got.IsExactType(want) && !dynString {
		return nil, nil, fmt.Errorf("gives %s, want %s", got, want)
	}
	prg, err := env.Program(ast, cel.CostLimit(maxExprCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, nil, fmt.Errorf("build program: %w", err)
	}
	return &Program{source: src, prg: prg}, ast, nil
}

// Source gives the expression as written.
func (p *Program) Source() string { return p.source }

// Bool evaluates an expression that was compiled as bool. An error (a field
// that the answer lacks, the cost limit) means: not proved.
func (p *Program) Bool(ctx context.Context, r Response) (bool, error) {
	v, err := p.eval(ctx, r)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("evaluate expression: got %T, want bool", v)
	}
	return b, nil
}

// String evaluates an expression that was compiled as string. A value of
// another type in the answer is an error.
func (p *Program) String(ctx context.Context, r Response) (string, error) {
	v, err := p.eval(ctx, r)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("evaluate expression: got %T, want string", v)
	}
	return s, nil
}

func (p *Program) eval(ctx context.Context, r Response) (any, error) {
	headers, facts := r.Headers, r.Facts
	if headers == nil {
		headers = map[string]string{}
	}
	if facts == nil {
		facts = map[string]string{}
	}
	out, _, err := p.prg.ContextEval(ctx, map[string]any{
		"status": r.Status, "headers": headers, "body": r.Body,
		"facts": facts, "public_id": r.PublicID, "kind": r.Kind,
	})
	if err != nil {
		// The text of an evaluation error may quote the answer; it stays here.
		return nil, errors.New("evaluate expression: the answer does not have the expected shape")
	}
	return out.Value(), nil
}

// Compile compiles every expression of a credential and fills in what its
// actions need from it. [Load] does it for every playbook; it is exported for
// credentials that are built in code.
func Compile(c *Credential) error {
	if c.Identify != nil {
		err := compileCall(c.Identify)
		if err != nil {
			return fmt.Errorf("compile identify of %s: %w", c.Kind, err)
		}
	}
	for i := range c.Contain {
		a := &c.Contain[i]
		a.Provider, a.Hosts, a.BaseURL = c.Provider, c.Hosts, c.BaseURL
		a.Identify, a.Parts = c.Identify, c.Parts
		a.Judge = &ActionJudge{}
		for _, e := range []struct {
			src string
			dst **Program
		}{{a.Accepted, &a.Judge.Accepted}, {a.UndoAccepted, &a.Judge.UndoAccepted}, {a.When, &a.Judge.When}} {
			if e.src == "" {
				continue
			}
			p, err := compileExpr(e.src, cel.BoolType)
			if err != nil {
				return fmt.Errorf("compile action %s: %w", a.Name, err)
			}
			*e.dst = p
		}
	}
	return nil
}

func compileCall(c *Call) error {
	j := &CallJudge{Capture: make(map[string]*Program, len(c.Capture))}
	var err error
	if c.Live != "" {
		j.Live, err = compileExpr(c.Live, cel.BoolType)
		if err != nil {
			return fmt.Errorf("live: %w", err)
		}
	}
	if c.Dead != "" {
		j.Dead, err = compileExpr(c.Dead, cel.BoolType)
		if err != nil {
			return fmt.Errorf("dead: %w", err)
		}
	}
	for name, src := range c.Capture {
		j.Capture[name], err = compileExpr(src, cel.StringType)
		if err != nil {
			return fmt.Errorf("capture %s: %w", name, err)
		}
	}
	c.Judge = j
	return nil
}

// Applies reports whether the action's own condition ([Action.When]) holds; an
// action without one always applies. An error means that it could not be told.
func (a Action) Applies(ctx context.Context, facts map[string]string, publicID, kind string) (bool, error) {
	if a.When == "" {
		return true, nil
	}
	if a.Judge == nil || a.Judge.When == nil {
		return false, fmt.Errorf("judge action %s: playbook is not compiled", a.Name)
	}
	return a.Judge.When.Bool(ctx, Response{Facts: facts, PublicID: publicID, Kind: kind})
}
