package rules

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

const base62small = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Checksum checks the CRC-32 that tokens of these makers end in: GitHub, npm,
// Cloudflare, Vercel, Grafana, Zuplo, Atlassian, Apify, Deno and Confluent. None
// for any other. Sources: the makers' own descriptions where there is one, else
// recomputed on published tokens.
func Checksum(token string) Check {
	from := func(n int) string { return token[min(n, len(token)):] }
	switch n := len(token); {
	case strings.HasPrefix(token, "gh") || strings.HasPrefix(token, "github_pat_"):
		return GitHubChecksum(token)
	case strings.HasPrefix(token, "npm_") && n == 40:
		return ends6(from(4), from(4)[:30], base62)
	case strings.HasPrefix(token, "vc") && n == 60 && token[3] == '_':
		return ends6(from(4), from(4)[:50], base62)
	case strings.HasPrefix(token, "apify_api_") && n == 46:
		return ends6(token, token[:40], base62small)
	case strings.HasPrefix(token, "dd") && n == 40 && token[3] == '_':
		return ends6(token, token[:34], base62)
	case n == 53 && (strings.HasPrefix(token, "cfut_") || strings.HasPrefix(token, "cfat_")), n == 52 && strings.HasPrefix(token, "cfk_"):
		body := token[n-48 : n-8]
		return outcome(token[n-8:] == fmt.Sprintf("%08x", sum(body)))
	case strings.HasPrefix(token, "zpka_") && n == 46:
		return outcome(token[38:] == fmt.Sprintf("%08x", sum(token[5:37])))
	case strings.HasPrefix(token, "glsa_") && n == 46:
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], sum(token[:37]))
		return outcome(strings.EqualFold(token[38:], fmt.Sprintf("%x", b)))
	case (strings.HasPrefix(token, "ATATT3") || strings.HasPrefix(token, "ATCTT3")) && n > 100:
		return outcome(token[n-8:] == fmt.Sprintf("%08X", sum(token[:n-8])))
	case strings.HasPrefix(token, "cflt") && n == 64:
		var b [4]byte
		binary.LittleEndian.PutUint32(b[:], sum(token[4:58]))
		return outcome(token[58:] == base64.StdEncoding.EncodeToString(b[:])[:6])
	}
	return None
}

func sum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

// ends6 reports whether token ends in the checksum of body in base 62.
func ends6(token, body, alphabet string) Check {
	n := sum(body)
	var want [6]byte
	for i := 5; i >= 0; i-- {
		want[i] = alphabet[n%62]
		n /= 62
	}
	return outcome(strings.HasSuffix(token, string(want[:])))
}
