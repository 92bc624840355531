package github

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"time"
)

// The kinds of a user's token, by prefix.
const (
	KindClassic     = "ghp"
	KindFineGrained = "github_pat"
	KindOAuth       = "gho"
	KindAppUser     = "ghu"
	KindAppRefresh  = "ghr"
	kindServer      = "ghs"
)

// token is a credential that the laboratory knows.
type token struct {
	id      int64
	value   string
	kind    string
	owner   *Account
	scopes  []string
	created time.Time
	expires time.Time // zero: never
	deadAt  time.Time // zero: not revoked
	uses    int

	install     *Installation // of an installation token
	repos       map[int64]bool
	permissions map[string]string
	perRequest  bool // narrowed to repositories
}

// alive wants s.mu.
func (t *token) alive(now time.Time) bool {
	return (t.deadAt.IsZero() || now.Before(t.deadAt)) && (t.expires.IsZero() || now.Before(t.expires))
}

// TokenState is what the laboratory knows of a token.
type TokenState struct {
	Known, Alive bool
	RevokedAt    time.Time // when it stops to work; zero when it was not revoked
	Uses         int       // requests that it authenticated
	Accepted     int       // accepted revocation requests that named it
	HashedToken  string    // base64 of SHA-256, as the audit log has it
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func randomText(rng *rand.Rand, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = base62[rng.IntN(len(base62))]
	}
	return string(out)
}

// tokenValue makes a token in GitHub's format with its checksum: the last six
// characters are CRC-32 of the body in base 62 (GitHub's blog, 2021-04-05); a
// fine-grained token ends in base 32 of SHA-256 of all before (Kingfisher's rule).
func tokenValue(rng *rand.Rand, kind string) string {
	switch kind {
	case KindFineGrained:
		head := "github_pat_" + strings.ToUpper(randomText(rng, 22)) + "_" + randomText(rng, 43)
		sum := sha256.Sum256([]byte(head))
		return head + base32.StdEncoding.EncodeToString(sum[:])[:8] + randomText(rng, 8)
	case KindAppRefresh:
		body := randomText(rng, 70)
		return kind + "_" + body + checksum62(body)
	}
	body := randomText(rng, 30)
	return kind + "_" + body + checksum62(body)
}

func checksum62(body string) string {
	n := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, 6)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[n%62]
		n /= 62
	}
	return string(out)
}

// HashedToken is how the audit log names a token.
func HashedToken(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// CreateToken gives a user a token of a kind and returns its value. Scopes are
// those of classic and OAuth tokens.
func (s *Server) CreateToken(login, kind string, scopes ...string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner := s.accounts[strings.ToLower(login)]
	if owner == nil {
		return "", fmt.Errorf("create token: no account %q", login)
	}
	switch kind {
	case KindClassic, KindFineGrained, KindOAuth, KindAppUser, KindAppRefresh:
	default:
		return "", fmt.Errorf("create token: unknown kind %q", kind)
	}
	t := &token{id: s.nextID(), value: tokenValue(s.rng, kind), kind: kind, owner: owner, scopes: scopes, created: s.now()}
	s.tokens[t.value] = t
	return t.value, nil
}

// TokenState says how a token stands.
func (s *Server) TokenState(value string) TokenState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := TokenState{HashedToken: HashedToken(value), Accepted: s.revoked[HashedToken(value)]}
	if t := s.tokens[value]; t != nil {
		st.Known, st.Alive, st.RevokedAt, st.Uses = true, t.alive(s.now()), t.deadAt, t.uses
	}
	return st
}

// access names a kind of token as the audit log does.
func (t *token) access() string {
	switch t.kind {
	case KindClassic:
		return "Personal access token (classic)"
	case KindFineGrained:
		return "Fine-grained personal access token"
	case KindOAuth:
		return "OAuth access token"
	case KindAppUser, KindAppRefresh:
		return "GitHub App user-to-server token"
	}
	return "GitHub App server-to-server token"
}
