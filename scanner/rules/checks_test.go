package rules

import (
	"crypto/sha256"
	"encoding/base32"
	"hash/crc32"
	"strings"
	"testing"
)

// seal gives body its checksum by the published algorithm, written differently
// from the code under test.
func seal(prefix, body string) string {
	n := crc32.ChecksumIEEE([]byte(body))
	s := ""
	for n > 0 {
		s = string(base62[n%62]) + s
		n /= 62
	}
	return prefix + body + strings.Repeat("0", 6-len(s)) + s
}

func TestGitHubChecksum(t *testing.T) {
	body := "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ"
	good := seal("gh"+"p_", body)
	// Published by GitHub's blog readers and secret scanners as a revoked sample.
	if want := "gh" + "p_" + body + "0mLq17"; good != want {
		t.Fatalf("the test's own checksum is wrong: %s", good)
	}
	fine := "github" + "_pat_" + "11ABCDEFG0hijklmnopqrs" + "_" + strings.Repeat("aB3", 14) + "x"
	sum := sha256.Sum256([]byte(fine))
	fine += base32.StdEncoding.EncodeToString(sum[:])[:8] + "12345678"
	for _, c := range []struct {
		token string
		want  Check
	}{
		{good, Passed},
		{good[:len(good)-1] + "8", Failed},
		{seal("gh"+"r_", strings.Repeat("aB3dE6gH9j", 7)), Passed},
		{seal("gh"+"x_", body), None},
		{"gh" + "s_123_eyJh.b.c", None},
		{fine, Passed},
		{strings.Replace(fine, "aB3", "aB4", 1), Failed},
		{"github" + "_pat_short", None},
		{"", None},
	} {
		if got := GitHubChecksum(c.token); got != c.want {
			t.Errorf("%s: %d, want %d", c.token, got, c.want)
		}
	}
}

func TestAccountID(t *testing.T) {
	for _, c := range []struct {
		id, account string
		canary      bool
	}{
		{"AS" + "IAQNZGKIQY56JQ7WML", "029608264753", false},
		{"AK" + "IAXYZDQCEN4B6JSJQI", "534261010715", true},
		{"AK" + "IAIOSFODNN7EXAMPLE", "", false}, // before 2019, and not base 32
		{"AK" + "IAJ234567ABCDEFGHI", "", false},
		{"AK" + "IAXYZDQCEN4B6JSJQ", "", false},
		{"AI" + "DAXYZDQCEN4B6JSJQI", "", false},
		{"AK" + "IAXYZDQCEN4B6JSJ01", "", false},
	} {
		got, ok := AccountID(c.id)
		if got != c.account || ok != (c.account != "") || IsCanaryAccount(got) != c.canary {
			t.Errorf("%s: %q %v, canary %v", c.id, got, ok, IsCanaryAccount(got))
		}
	}
	if len(canaries) != 29 {
		t.Errorf("%d canary accounts, want 29", len(canaries))
	}
}

func TestPlausibleAWSSecret(t *testing.T) {
	for s, want := range map[string]bool{
		"kR7vQ2mZx9LpT4wB" + "n6YcD1sFh8JgU3eAo5iNbVMq":   true,
		"kR7vQ2mZx9LpT4wB" + "n6YcD1sFh8JgU3eAo5iNbVM":    false, // 39
		"da39a3ee5e6b4b0d3255bfef95601890afd80709":        false, // a hash
		"DA39a3ee5e6b4b0d3255bfef95601890afd80709":        false,
		"a/path/to/Some/where/9/in/the/file/system":       false,
		"abcdefghijklmnopqrstuvwxyzabcdefghijklmnop"[:40]: false,
		"kR7vQ2mZx9LpT4wB-n6YcD1sFh8JgU3eAo5iNbVM":        false, // another alphabet
	} {
		if got := PlausibleAWSSecret(s); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}
