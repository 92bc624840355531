package githubapp

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"stanch/internal/lazyregexp"
)

// Forms of GitHub's names. Logins of managed users have an underscore, those of
// Apps end in [bot].
var (
	ownerForm      = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
	repoForm       = lazyregexp.New(`^[A-Za-z0-9._-]{1,100}$`)
	loginForm      = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}(\[bot\])?$`)
	objectForm     = lazyregexp.New(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	zeroForm       = lazyregexp.New(`^(0{40}|0{64})$`)
	wordForm       = lazyregexp.New(`^[A-Za-z0-9_.-]{1,100}$`)
	permissionForm = lazyregexp.New(`^(read|write|admin)$`)
)

// maxRef bounds a ref name, in bytes; Git's own limit is that of a path.
const maxRef = 4096

func validOwner(s string) bool { return ownerForm().MatchString(s) }

func validRepo(s string) bool { return repoForm().MatchString(s) && s != "." && s != ".." }

// validRef accepts full ref names: nothing that could be an option, a refspec, a
// glob or a way out of refs/ (git-check-ref-format(1)).
func validRef(s string) bool {
	if !strings.HasPrefix(s, "refs/") || len(s) > maxRef || !utf8.ValidString(s) {
		return false
	}
	if strings.HasSuffix(s, "/") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") || strings.Contains(s, "//") || strings.Contains(s, "@{") {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r <= 0x20 || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	})
}

// keep gives s where it has the form, else "": for what is nice to know.
func keep(s string, form *regexp.Regexp) string {
	if form.MatchString(s) {
		return s
	}
	return ""
}

// keepURL gives an http(s) URL without credentials, else "".
func keepURL(s string) string {
	u, err := url.Parse(s)
	if len(s) > 2048 || err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

// keepText gives printable text of at most n bytes, else "".
func keepText(s string, n int) string {
	if len(s) > n || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || (r >= 0x7f && r < 0xa0) }) {
		return ""
	}
	return s
}
