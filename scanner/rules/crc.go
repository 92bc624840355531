package rules

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
)

const base62small = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// Checksum checks the checksum that tokens of these makers end in: GitHub, npm,
// GitLab (routable tokens), Cloudflare, Vercel, Grafana, Zuplo, Atlassian, Apify,
// Deno, Confluent, SaladCloud, Azure ([AzureChecksum]), NATS and age. None for any
// other. Sources: the makers' own descriptions where there is one, else
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
	case strings.HasPrefix(token, "gl") && n > 24 && token[n-13:n-9] == ".01.":
		return outcome(token[n-7:] == digits(sum(token[:n-7]), base62small[:36], 7))
	case strings.HasPrefix(token, "salad_cloud_") && n > 40:
		_, body, ok := strings.Cut(from(len("salad_cloud_")), "_")
		if !ok || len(body) < 7 {
			return None
		}
		return ends6(body, body[:len(body)-6], base62)
	case n == 58 && token[0] == 'S' && strings.IndexByte("AONUCX", token[1]) >= 0:
		return natsSeed(token)
	case strings.HasPrefix(token, ageBegin) && n == 74:
		return ageKey(token)
	}
	return AzureChecksum(token)
}

// natsSeed checks the CRC-16 that a seed of NATS ends in. Source: nats-io/nkeys.
func natsSeed(seed string) Check {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(seed)
	if err != nil || len(b) != 36 {
		return None
	}
	var crc uint16
	for _, c := range b[:34] {
		crc ^= uint16(c) << 8
		for range 8 {
			top := crc & 0x8000
			crc <<= 1
			if top != 0 {
				crc ^= 0x1021
			}
		}
	}
	return outcome(binary.LittleEndian.Uint16(b[34:]) == crc)
}

const ageBegin = "AGE-SECRET-KEY-1"

// ageKey checks the Bech32 checksum of a secret key of age. Source: BIP 173 and
// age's specification.
func ageKey(key string) Check {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	lower := strings.ToLower(key)
	human := lower[:len(ageBegin)-1]
	chk := uint32(1)
	add := func(v byte) {
		top := chk >> 25
		chk = chk&0x1ffffff<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				chk ^= g
			}
		}
	}
	for i := range len(human) {
		add(human[i] >> 5)
	}
	add(0)
	for i := range len(human) {
		add(human[i] & 31)
	}
	for i := len(ageBegin); i < len(lower); i++ {
		v := strings.IndexByte(alphabet, lower[i])
		if v < 0 {
			return None
		}
		add(byte(v))
	}
	return outcome(chk == 1)
}

func sum(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

// ends6 reports whether token ends in the checksum of body in base 62.
func ends6(token, body, alphabet string) Check {
	return outcome(strings.HasSuffix(token, digits(sum(body), alphabet, 6)))
}

// digits writes n in the base of an alphabet, with so many places.
func digits(n uint32, alphabet string, places int) string {
	b := make([]byte, places)
	for i := places - 1; i >= 0; i-- {
		b[i] = alphabet[n%uint32(len(alphabet))]
		n /= uint32(len(alphabet))
	}
	return string(b)
}
