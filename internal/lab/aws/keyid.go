package labaws

import (
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
)

const accountMask = 0x7fffffffff80

// AccountOfKey decodes the account that a key id (AKIA or ASIA and 16 more)
// carries. It fails for ids made before 2019, whose fifth character is I or J,
// and for text that is no key id.
func AccountOfKey(id string) (string, error) {
	if len(id) != 20 || id[4] == 'I' || id[4] == 'J' {
		return "", errors.New("decode key id: carries no account")
	}
	raw, err := base32.StdEncoding.DecodeString(id[4:])
	if err != nil {
		return "", errors.New("decode key id: not base32")
	}
	var z uint64
	for _, b := range raw[:6] {
		z = z<<8 | uint64(b)
	}
	return fmt.Sprintf("%012d", (z&accountMask)>>7), nil
}

// newKeyID is the inverse of AccountOfKey, with chance filling the other bits.
func newKeyID(prefix, account string, rng *rand.Rand) (string, error) {
	n, err := strconv.ParseUint(account, 10, 64)
	if err != nil || len(account) != 12 {
		return "", fmt.Errorf("make key id: account %q is not twelve digits", account)
	}
	z := 1<<47 | n<<7 | rng.Uint64()&0x7f
	raw := make([]byte, 10)
	for i := 5; i >= 0; i-- {
		raw[i] = byte(z)
		z >>= 8
	}
	fill(raw[6:], rng)
	return prefix + base32.StdEncoding.EncodeToString(raw), nil
}

func fill(b []byte, rng *rand.Rand) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// uniqueID makes the id of a user, role or group: four letters and 17 more.
func uniqueID(prefix string, rng *rand.Rand) string {
	b := make([]byte, 17)
	for i := range b {
		b[i] = idAlphabet[rng.IntN(len(idAlphabet))]
	}
	return prefix + string(b)
}

// newSecretKey is 40 characters of base64, as AWS makes them.
func newSecretKey(rng *rand.Rand) string {
	b := make([]byte, 30)
	fill(b, rng)
	return base64.StdEncoding.EncodeToString(b)
}

func newToken(rng *rand.Rand) string {
	b := make([]byte, 420)
	fill(b, rng)
	return "IQoJb3JpZ2luX2Vj" + base64.StdEncoding.EncodeToString(b)
}
