// Package lazyregexp compiles the regular expressions of packages when they are
// first used: a short command such as a Git hook starts without those of parts
// that it does not run.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New gives the expression, compiled on the first call; that call panics when it
// does not compile. It may be called concurrently.
func New(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
