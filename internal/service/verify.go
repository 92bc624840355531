package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"stanch/internal/config"
	"stanch/playbooks"
	"stanch/responder/act"
	"stanch/responder/guard"
	"stanch/responder/verdict"
	"stanch/scanner"
)

// mostCandidates bounds how many values are tried for one part.
const mostCandidates = 5

// Verifier asks providers whether credentials are alive, and does nothing else:
// it opens no database and no incident. It goes through the same playbooks,
// guards and guarded transport as the service. It is safe for concurrent use.
type Verifier struct {
	service *Service
	parts   parts
	guard   *guard.Guard

	mu    sync.Mutex
	asked map[string]int // by provider: one process asks for less than an hour
}

// asked is how many questions a provider was sent.
type asked int

// Acts implements [guard.Counts].
func (a asked) Acts(string, string) (int, error) { return 0, nil }

// Verdicts implements [guard.Counts].
func (a asked) Verdicts(string, string, string) (int, error) { return int(a), nil }

// count gives how many questions a provider was sent before this one.
func (v *Verifier) count(provider string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asked[provider]++
	return v.asked[provider] - 1
}

// NewVerifier makes one of the service's configuration.
func NewVerifier(cfg *config.Config) (*Verifier, error) {
	s := &Service{Config: cfg, Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	var err error
	s.Playbooks, err = playbooks.Load(cfg.Playbooks.Dir)
	if err != nil {
		return nil, err
	}
	err = s.checkProviders()
	if err != nil {
		return nil, err
	}
	v := &Verifier{service: s, guard: guard.New(cfg.Guard, cfg.Policy, cfg.Providers), asked: map[string]int{}}
	v.parts, err = s.providers()
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return v, nil
}

// Close ends its connections.
func (v *Verifier) Close() error { return v.service.Close() }

// Verify asks about one credential. What may not or cannot be asked about is
// [verdict.Unknown] with the reason; no usable answer is [verdict.Error].
func (v *Verifier) Verify(ctx context.Context, c scanner.Credential) verdict.Verdict {
	unknown := func(format string, args ...any) verdict.Verdict {
		return verdict.Verdict{Outcome: verdict.Unknown, Reason: fmt.Sprintf(format, args...), At: v.service.Now()}
	}
	book, ok := v.service.Playbooks.ByKind(c.Provider, c.Kind)
	if !ok || book.Identify == nil {
		return unknown("no playbook can ask about it")
	}
	in := guard.Input{Provider: c.Provider, Kind: c.Kind, PublicID: c.PublicID, Account: c.Account, Class: c.Class, Complete: true}
	for _, f := range c.Findings {
		in.Rules = append(in.Rules, f.Rule)
	}
	for _, p := range book.Parts {
		if p.Required && c.Parts[p.Name].IsZero() {
			return unknown("part %s was not found", p.Name)
		}
	}
	in.Counts = asked(v.count(c.Provider))
	may := v.guard.MayIdentify(in)
	if !may.Allow {
		return unknown("not asked: %s", may.Why())
	}
	name, _, _ := strings.Cut(book.Identify.Uses, ".")
	if name == "" {
		name = "http"
	}
	d, ok := v.parts.drivers[name]
	if !ok {
		return unknown("no driver can ask about it")
	}
	s := act.Subject{Provider: c.Provider, Kind: c.Kind, PublicID: c.PublicID, Account: c.Account, Parts: maps.Clone(c.Parts), Facts: map[string]string{}, ExposedAt: v.service.Now()}
	for name, others := range c.Candidates {
		for n, value := range others[:min(len(others), mostCandidates)] {
			s.Parts[act.CandidatePart(name, n+2)] = value
		}
	}
	return d.Identify(ctx, book, s)
}
