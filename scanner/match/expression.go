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
