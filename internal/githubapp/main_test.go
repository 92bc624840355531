package githubapp

import (
	"testing"

	"go.uber.org/goleak"
)

// The rate limiter keeps one goroutine for each limit that it is told of, until
// the limit ends.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_primary_ratelimit.(*RateLimitState).Update.func1"))
}
