package match

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/zricethezav/gitleaks/v8/config"
)

// A plan is what [Load] and the analysis of the rules come to, written down: a
// process that has one reads no TOML, compiles no expression that it does not
// run and takes none apart. It belongs to the rules from which it was made and
// to the way it is written.

// planVersion changes with what a plan says or how it is read.
const planVersion = "stanch rules, planned 1\n"

// Plan makes the plan of gitleaks' default rules with those of each TOML file.
// The same rules give the same bytes.
func Plan(tomls ...[]byte) ([]byte, error) {
	cfg, err := Load(tomls...)
	if err != nil {
		return nil, err
	}
	return writePlan(analyse(cfg), planOf(tomls)), nil
}

// Open gives what [New] gives for the rules of [Load], from a plan if that is of
// these rules; from the rules themselves if it is not, or there is none.
func Open(plan string, o Options, tomls ...[]byte) (*Gitleaks, error) {
	p := readPlan(plan, planOf(tomls))
	if p == nil {
		cfg, err := Load(tomls...)
		if err != nil {
			return nil, err
		}
		return New(cfg, o), nil
	}
	cfg := sync.OnceValue(func() config.Config {
		cfg, err := Load(tomls...)
		if err != nil {
			panic("rules of a plan: " + err.Error()) // they were loaded when it was made
		}
		return cfg
	})
	return newGitleaks(p, cfg, o), nil
}

// planOf names the rules that a plan is of.
func planOf(tomls [][]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%s%d %s", planVersion, len(config.DefaultConfig), config.DefaultConfig)
	for _, t := range tomls {
		fmt.Fprintf(h, "%d ", len(t))
		h.Write(t)
	}
	h.Sum(sum[:0])
	return sum
}

func writePlan(p *program, of [sha256.Size]byte) []byte {
	body := &planner{writing: true, shared: newShared()}
	body.shared.from = p
	body.program(p)
	out := append([]byte(planVersion), of[:]...)
	for _, t := range body.shared.tables() {
		out = binary.AppendUvarint(out, uint64(t.count()+1)) // a list
		out = append(out, t.written()...)
	}
	return append(out, body.out...)
}

// readPlan gives the program of a plan; nil when it is not of these rules.
func readPlan(plan string, of [sha256.Size]byte) *program {
	head := planVersion + string(of[:])
	if len(plan) < len(head) || plan[:len(head)] != head {
		return nil
	}
	c := &planner{in: plan[len(head):], shared: newShared()}
	for _, t := range c.shared.tables() {
		t.read(c)
	}
	p := &program{}
	c.program(p)
	if c.bad || c.in != "" {
		return nil
	}
	p.sets, p.runs = &sets{all: c.shared.sets.all}, &sets{all: c.shared.runs.all}
	return p
}
