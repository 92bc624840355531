package aws

import (
	"encoding/base32"
	"fmt"
	"strings"

	"stanch/responder/act"
	"stanch/scanner"
)

// AccountID decodes the account from an access key id. It is written in the ten
// characters after the prefix, in base32; ids from before 2019 (fifth character
// I or J) do not hold it.
func AccountID(keyID string) (string, bool) {
	if len(keyID) != 20 || keyID[4] == 'I' || keyID[4] == 'J' {
		return "", false
	}
	raw, err := base32.StdEncoding.DecodeString(keyID[4:])
	if err != nil || len(raw) < 6 {
		return "", false
	}
	var z uint64
	for _, b := range raw[:6] {
		z = z<<8 | uint64(b)
	}
	id := (z & 0x7fffffffff80) >> 7
	if id > 999999999999 {
		return "", false
	}
	return fmt.Sprintf("%012d", id), true
}

type class int

const (
	classOther class = iota
	classLongTerm
	classSession
)

// classOf tells what an id is by its prefix.
func classOf(keyID string) class {
	switch {
	case len(keyID) != 20:
		return classOther
	case strings.HasPrefix(keyID, "AKIA"):
		return classLongTerm
	case strings.HasPrefix(keyID, "ASIA"):
		return classSession
	}
	return classOther
}

func keyIDOf(s act.Subject) string {
	if s.PublicID != "" {
		return s.PublicID
	}
	return s.Parts[scanner.PartAccessKeyID].Reveal() // an identifier, no secret
}
