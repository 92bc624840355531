package rules_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// The language of testdata/examples.json. An example is a text in which «...»
// marks the secret and <class count> stands for so many letters of a class, so
// that the repository holds the form of a token and no token:
//
//	h 0-9a-f    H 0-9A-F   m both     d digits    l a-z    u A-Z    k letters
//	a a-z0-9    A A-Z0-9   b letters and digits   v with _   w with _ and -
//	s base 64   e with =   x A-Z2-7   y a-z2-7    U a UUID  a dot: and .
var letter = map[string]string{
	"h": "0123456789abcdef", "H": "0123456789ABCDEF", "m": "0123456789abcdefABCDEF", "d": "0123456789",
	"l": lowers, "u": uppers, "k": lowers + uppers, "a": digits + lowers, "A": digits + uppers,
	"b": digits + lowers + uppers, "v": digits + lowers + uppers + "_", "w": digits + lowers + uppers + "_-",
	"s": digits + lowers + uppers + "+/", "e": digits + lowers + uppers + "+/", "x": uppers + "234567", "y": lowers + "234567",
}

const (
	digits = "0123456789"
	lowers = "abcdefghijklmnopqrstuvwxyz"
	uppers = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

var place = regexp.MustCompile(`<(?:U|([a-zA-Z])(\.?)(\d+)(?:-(\d+))?)>`)

// write makes a text of an example; the same for the same seed.
func write(example string, seed uint64) string {
	h := fnv.New64a()
	h.Write([]byte(example))
	r := rand.New(rand.NewPCG(seed, h.Sum64()))
	text := func(set string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = set[r.IntN(len(set))]
			// Neither - nor _ nor . stands first or last, where forms differ.
			if (i == 0 || i == n-1) && strings.IndexByte("-_.+/", b[i]) >= 0 {
				b[i] = 'k'
				if strings.IndexByte(set, 'k') < 0 {
					b[i] = set[0]
				}
			}
		}
		return string(b)
	}
	return place.ReplaceAllStringFunc(example, func(p string) string {
		m := place.FindStringSubmatch(p)
		if m[1] == "" {
			hex := letter["h"]
			return fmt.Sprintf("%s-%s-4%s-a%s-%s", text(hex, 8), text(hex, 4), text(hex, 3), text(hex, 3), text(hex, 12))
		}
		n, _ := strconv.Atoi(m[3])
		if m[4] != "" {
			most, _ := strconv.Atoi(m[4])
			n += r.IntN(most - n + 1)
		}
		set, ok := letter[m[1]]
		if !ok {
			panic("no class " + m[1])
		}
		if m[2] != "" && n > 2 {
			set += "."
		}
		return text(set, n)
	})
}

// cut takes the marks out of a text and gives the secret between them.
func cut(marked string) (text, secret string, at int) {
	before, rest, _ := strings.Cut(marked, "«")
	secret, after, _ := strings.Cut(rest, "»")
	return before + secret + after, secret, len(before)
}
