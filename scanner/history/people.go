package history

import (
	"bytes"
	"context"
	"sync"

	"stanch/scanner"
	"stanch/scanner/gitpack"
)

// people tells whether commits say anything that the rules find, and remembers it
// of names and addresses, which come again and again. It may be used concurrently.
type people struct {
	engine *scanner.Engine
	mu     sync.Mutex
	known  map[string]bool
}

func newPeople(e *scanner.Engine) *people {
	return &people{engine: e, known: map[string]bool{}}
}

// says reports whether there is a finding in what a commit says about itself.
func (p *people) says(ctx context.Context, c gitpack.Statement) bool {
	author, committer := p.named(ctx, c.Author), p.named(ctx, c.Committer)
	return author || committer || p.text(ctx, c.Message) || p.text(ctx, c.Extra)
}

func (p *people) text(ctx context.Context, text []byte) bool {
	return len(bytes.TrimSpace(text)) > 0 && !p.engine.ScanBlob(ctx, text).Empty()
}

func (p *people) named(ctx context.Context, who scanner.Person) bool {
	text := personText(who)
	p.mu.Lock()
	hot, ok := p.known[text]
	p.mu.Unlock()
	if ok {
		return hot
	}
	hot = p.text(ctx, []byte(text))
	p.mu.Lock()
	p.known[text] = hot
	p.mu.Unlock()
	return hot
}

func personText(p scanner.Person) string { return p.Name + "\n" + p.Email }
