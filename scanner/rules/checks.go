package rules

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// Check is the outcome of an offline look at a token's own structure.
type Check int

// The outcomes. None: nothing about this token can be checked offline.
const (
	None Check = iota
	Passed
	Failed
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// GitHubChecksum checks the checksum in a GitHub token: for the classic forms
// (ghp_, gho_, ghu_, ghs_, ghr_) the last six characters are the CRC-32 of the
// rest in base 62; for github_pat_ eight characters are the start of a SHA-256
// in base 32. Sources: github.blog 2021-04-05; recomputed on published samples.
func GitHubChecksum(token string) Check {
	rest, ok := strings.CutPrefix(token, "github_pat_")
	if ok {
		head, tail, ok := strings.Cut(rest, "_")
		if !ok || len(head) != 22 || len(tail) != 59 {
			return None
		}
		sum := sha256.Sum256([]byte("github_pat_" + head + "_" + tail[:43]))
		return outcome(base32.StdEncoding.EncodeToString(sum[:])[:8] == tail[43:51])
	}
	if len(token) < 5 || token[:2] != "gh" || token[3] != '_' || !strings.ContainsRune("pousr", rune(token[2])) {
		return None
	}
	body := token[4:]
	if len(body) != 36 && len(body) != 76 || !alnum(body) {
		return None
	}
	body, sum := body[:len(body)-6], body[len(body)-6:]
	n := crc32.ChecksumIEEE([]byte(body))
	var want [6]byte
	for i := 5; i >= 0; i-- {
		want[i] = base62[n%62]
		n /= 62
	}
	return outcome(string(want[:]) == sum)
}

func outcome(ok bool) Check {
	if ok {
		return Passed
	}
	return Failed
}

func alnum(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// GitHubAppToken reads what an installation token of the form ghs_<app>_<JWT>
// says about itself. expires is zero when the token does not say.
func GitHubAppToken(token string) (app string, expires time.Time, ok bool) {
	if len(token) < 5 || token[:2] != "gh" {
		return "", time.Time{}, false
	}
	app, jwt, ok := strings.Cut(token[4:], "_")
	if !ok {
		return "", time.Time{}, false
	}
	part := strings.Split(jwt, ".")
	if len(part) != 3 {
		return "", time.Time{}, false
	}
	var header struct {
		Alg string `json:"alg"`
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if !decodeJSON(part[0], &header) || !decodeJSON(part[1], &claims) || header.Alg == "" {
		return "", time.Time{}, false
	}
	if claims.Exp > 0 && claims.Exp < 1<<33 {
		expires = time.Unix(int64(claims.Exp), 0).UTC()
	}
	return app, expires, true
}

func decodeJSON(s string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return false
	}
	return json.Unmarshal(b, into) == nil
}

// AccountID reads the account number out of an AWS access key id. It is false
// for an id that does not carry one: keys made before 2019 (fifth character I
// or J) and strings that are no key id. Source: the algorithm as TruffleHog
// publishes it, checked here on ids whose account is known.
func AccountID(keyID string) (string, bool) {
	if len(keyID) != 20 || keyID[4] == 'I' || keyID[4] == 'J' {
		return "", false
	}
	switch keyID[:4] {
	case "AKIA", "ASIA", "ABIA", "ACCA":
	default:
		return "", false
	}
	b, err := base32.StdEncoding.DecodeString(keyID[4:])
	if err != nil {
		return "", false
	}
	var z uint64
	for _, c := range b[:6] {
		z = z<<8 | uint64(c)
	}
	return fmt.Sprintf("%012d", (z&0x7fffffffff80)>>7), true
}

// canaries are accounts whose keys are tripwires: a call with one of them
// alerts its owner. Source: the union of the lists in TruffleHog and Kingfisher.
var canaries = map[string]bool{
	"052310077262": true, "171436882533": true, "266735846894": true, "534261010715": true,
	"595918472158": true, "717712589309": true, "730335385048": true, "819147034852": true,
	"893192397702": true, "992382622183": true, "044858866125": true, "251535659677": true,
	"344043088457": true, "351906852752": true, "390477818340": true, "426127672474": true,
	"427150556519": true, "439872796651": true, "445142720921": true, "465867158099": true,
	"637958123769": true, "693412236332": true, "732624840810": true, "735421457923": true,
	"959235150393": true, "982842642351": true, "528757803018": true, "538784191382": true,
	"729780141977": true,
}

// IsCanaryAccount reports whether an AWS account belongs to a known maker of
// canary tokens. A key of such an account must not be verified against AWS
// unless the operator wants that.
func IsCanaryAccount(account string) bool { return canaries[account] }

// documentedSecret is how the secret begins that AWS prints in its documentation;
// others put words of their own in place of its end.
const documentedSecret = "wJalrXUtnFEMI/K7MDENG"

// IsDocumentationKey reports whether the value is one of the keys that AWS
// prints in its documentation: they end in EXAMPLE or EXAMPLEKEY, or begin as its
// secret does.
func IsDocumentationKey(value string) bool {
	return len(value) >= 20 && (strings.HasSuffix(value, "EXAMPLE") || strings.HasSuffix(value, "EXAMPLEKEY") || strings.HasPrefix(value, documentedSecret))
}

// PlausibleAWSSecret reports whether s can be an AWS secret access key: 40
// characters of base 64 with upper case, lower case and a digit, and neither a
// hash in hex nor a path. A random key fails this with a chance below 0.2 %.
func PlausibleAWSSecret(s string) bool {
	if len(s) != 40 {
		return false
	}
	var upper, lower, digit, hex, slash int
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'A' && c <= 'Z':
			upper++
			if c <= 'F' {
				hex++
			}
		case c >= 'a' && c <= 'z':
			lower++
			if c <= 'f' {
				hex++
			}
		case c >= '0' && c <= '9':
			digit++
			hex++
		case c == '/':
			slash++
		case c == '+':
		default:
			return false
		}
	}
	return upper > 0 && lower > 0 && digit > 0 && hex < 40 && slash <= 5
}
