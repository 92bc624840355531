package match

import (
	"sync"

	"github.com/zricethezav/gitleaks/v8/regexp"
)

// expression is a regexp that compiles, and is compiled when it is first used:
// of a thousand rules a scan runs a few. It may be used concurrently.
type expression struct {
	text string
	once sync.Once
	re   *regexp.Regexp

	onceFast sync.Once
	fast     *dfa
}

func newExpression(re *regexp.Regexp) *expression {
	if re == nil {
		return nil
	}
	return &expression{text: re.String(), re: re}
}

func (e *expression) get() *regexp.Regexp {
	e.once.Do(func() {
		if e.re == nil {
			e.re = regexp.MustCompile(e.text)
		}
	})
	return e.re
}

// automata finds the matches of the expression, faster; nil for none.
func (e *expression) automata() *dfa {
	e.onceFast.Do(func() { e.fast = newDFA(e.text) })
	return e.fast
}

// matches reports whether the expression matches anywhere in a text.
func (e *expression) matches(text string) bool {
	d := e.automata()
	if d != nil {
		yes, ok := d.matches([]byte(text))
		if ok {
			return yes
		}
	}
	return e.get().MatchString(text)
}
