package rules

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// alter changes one letter in the middle of what comes after at.
func alter(s string, at int) string {
	i := at + (len(s)-at)/2
	c := byte('a')
	if s[i] == 'a' || s[i] >= 'A' && s[i] <= 'Z' {
		c = 'B'
		if s[i] == 'B' {
			c = 'C'
		}
	}
	return s[:i] + string(c) + s[i+1:]
}

// The vectors are those that implementations of Marvin32 are compared by.
func TestMarvin(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		text string
		want uint64
	}{
		{0x004fb61a001bdbcc, "", 0x30ed35c100cd3c7d},
		{0x004fb61a001bdbcc, "\xaf", 0x48e73fc77d75ddc1},
		{0x004fb61a001bdbcc, "\xe7\x0f", 0xb5f6e1fc485dbff8},
		{0x004fb61a001bdbcc, "\x37\xf4\x95", 0xf0b07c789b8cf7e8},
		{0x004fb61a001bdbcc, "\x86\x42\xdc\x59", 0x7008f2e87e9cf556},
		{0x804fb61a001bdbcc, "\x09\x32\xe6\x24\x6c\x47", 0xd6dd5e40ad1bc2ed},
	} {
		lo, hi := marvin64([]byte(c.text), c.seed)
		if got := uint64(hi)<<32 | uint64(lo); got != c.want {
			t.Errorf("%x of %q: %x, want %x", c.seed, c.text, got, c.want)
		}
	}
}

func TestAzureChecksum(t *testing.T) {
	random := strings.Repeat("k7Rq2Zp9Wd4Xn1Tb8Lc5Vm3", 5)
	for mark, seeds := range identifiable {
		for _, seed := range seeds {
			for _, size := range []int{32, 39, 64} {
				chars := base64.RawStdEncoding.EncodedLen(size)
				b, err := base64.RawStdEncoding.DecodeString(random[:chars-10] + mark + "AAAAAA")
				if err != nil {
					t.Fatal(err)
				}
				binary.LittleEndian.PutUint32(b[size-4:], marvin(b[:size-4], seed))
				key := base64.StdEncoding.EncodeToString(b)
				if got := Checksum(key); got != Passed {
					t.Errorf("%s %s %d: %s: %d", mark, seed, size, key, got)
				}
				web := base64.URLEncoding.EncodeToString(b)
				if !strings.ContainsAny(mark, "+/") && AzureChecksum(web) != Passed {
					t.Errorf("%s %s: %s, for a URL", mark, seed, web)
				}
				want := None
				if recomputed[mark] {
					want = Failed
				}
				if got := Checksum(alter(key[:chars-10], 0) + key[chars-10:]); got != want {
					t.Errorf("%s %s, altered: %d", mark, seed, got)
				}
			}
		}
	}
	// The common annotated form: 80 characters and the start of their checksum.
	text := random[:52] + "JQ" + "QJ99" + random[:22]
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	var sum [4]byte
	binary.LittleEndian.PutUint32(sum[:], marvin(b, "Default0"))
	for _, end := range []string{(base62of(binary.BigEndian.Uint32(sum[:])) + "000000")[:4], base64.StdEncoding.EncodeToString(sum[:3])} {
		if got := Checksum(text + end); got != Passed {
			t.Errorf("%s%s: %d", text, end, got)
		}
		if got := Checksum(alter(text[:52], 0) + text[52:] + end); got != Failed {
			t.Errorf("%s%s, altered: %d", text, end, got)
		}
	}
	for _, none := range []string{"", "JQQJ9", strings.Repeat("A", 84), strings.Repeat("*", 70) + "+ASt******==", "+AStAAAAAA=="} {
		if got := AzureChecksum(none); got != None {
			t.Errorf("%q: %d", none, got)
		}
	}
}

func base62of(n uint32) string {
	s := ""
	for ; n > 0; n /= 62 {
		s = string(base62[n%62]) + s
	}
	return s
}

func TestMoreChecksums(t *testing.T) {
	b := strings.Repeat("aB3dE6gH9j", 8)
	crc := func(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
	gitlab := "gl" + "pat-" + b[:40] + ".01.12"
	n, end := crc(gitlab), ""
	for range 7 {
		end = string("0123456789abcdefghijklmnopqrstuvwxyz"[n%36]) + end
		n /= 36
	}
	salad := base62of(crc(b[:40]))
	// A seed of NATS: two bytes that say what it is, 32 of the seed, the sum.
	raw := append([]byte{0x90, 0xa0}, []byte(b[:32])...)
	crc16 := 0
	for _, c := range raw {
		for bit := 7; bit >= 0; bit-- {
			in := crc16>>15 ^ int(c)>>bit&1
			crc16 = crc16 << 1 & 0xffff
			if in == 1 {
				crc16 ^= 0x1021
			}
		}
	}
	nats := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append(raw, byte(crc16), byte(crc16>>8)))
	for _, good := range []string{
		gitlab + end,
		"salad_cloud_" + "user_" + b[:40] + strings.Repeat("0", 6-len(salad)) + salad,
		nats,
		ageOf("YQZP3R8X"),
	} {
		if got := Checksum(good); got != Passed {
			t.Errorf("%s: %d", good, got)
		}
		i := len(good) / 2
		c := "Q"
		if good[i] == 'Q' {
			c = "Z"
		}
		bad := good[:i] + c + good[i+1:]
		if got := Checksum(bad); got != Failed {
			t.Errorf("%s: %d", bad, got)
		}
	}
	for _, none := range []string{"glpat-" + b[:20], "salad_cloud_user_", "S" + strings.Repeat("1", 57), "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1" + strings.Repeat("B", 58)} {
		if got := Checksum(none); got != None {
			t.Errorf("%q: %d", none, got)
		}
	}
}

// ageOf makes a key of age with the six letters that make its sum right, found
// by trying each letter: the checksum is linear, so that one bit of it at a time
// can be set.
func ageOf(letters string) string {
	const alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	data := strings.ToLower((strings.Repeat(letters, 7))[:52])
	gen := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	chk := uint32(1)
	step := func(v int) {
		b := chk >> 25
		chk = (chk&0x1ffffff)<<5 ^ uint32(v)
		for i := range 5 {
			if (b>>i)&1 != 0 {
				chk ^= gen[i]
			}
		}
	}
	human := strings.ToLower("AGE-SECRET-" + "KEY-")
	for _, c := range human {
		step(int(c) >> 5)
	}
	step(0)
	for _, c := range human {
		step(int(c) & 31)
	}
	for _, c := range data {
		step(strings.IndexRune(alphabet, c))
	}
	for range 6 {
		step(0)
	}
	chk ^= 1
	for i := range 6 {
		data += string(alphabet[chk>>(5*(5-i))&31])
	}
	return strings.ToUpper(human + "1" + data)
}

func TestExplain(t *testing.T) {
	b := strings.Repeat("aB3dE6gH9j", 8)
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	id := "0f1e2d3c-4b5a-4678-9a0b-1c2d3e4f5a6b"
	for _, c := range []struct {
		token, says string
		check       Check
	}{
		{"SG" + "." + b[:22] + "." + b[:43], "API key " + b[:22], None},
		{"xo" + "xb-123456789012-987654321098-" + b[:24], "workspace 123456789012 and user 987654321098", None},
		{"xo" + "xb-123456789012-" + b[:24], "bot 123456789012", None},
		{"sn" + "trys_" + enc(`{"iat":1700000000.5,"org":"acme","url":"https://sentry.io"}`) + "_" + b[:43], "organisation acme, made at 2023-11-14", Passed},
		{"sn" + "trys_" + enc(`{"iat":17`) + "_" + b[:43], "not", Failed},
		{"gl" + "c_" + enc(`{"o":"4711","n":"stack-ci","k":"`+b[:20]+`","m":{"r":"eu"}}`), "organisation 4711 and token stack-ci", Passed},
		{"gl" + "c_" + enc(`{"k":"`+b[:32]+`","n":"old","id":3}`), "key old of organisation 3", Passed},
		{"gl" + "c_" + b[:40], "not", Failed},
		{"py" + "pi-" + raw("\x02\x01\x08pypi.org\x02\x24"+strings.Replace(id, "f", "g", 1)+"\x00"), "not", Failed},
		{enc(`{"k":"` + b[:32] + `","n":"ci\n","id":7}`), "key ci? of organisation 7", Passed},
		{enc(`{"k":"` + id + `","t":"` + id + `","c":9}`), "does not hold", Failed},
		{"py" + "pi-" + raw("\x02\x01\x08pypi.org\x02\x24"+id+"\x00\x02\x07[3, \"x\"]\x00"), "token " + id, Passed},
		{"py" + "pi-" + raw("\x02\x01\x0dtest.pypi.org\x02\x24"+id+"\x00"), "token " + id, Passed},
		{"py" + "pi-" + raw("\x02\x01\x08pypi.org\x02\x24"), "not", Failed},
		{"op" + "s_" + raw(`{"signInAddress":"acme.1password.com","email":"x@y"}`), "acme.1password.com", Passed},
		{"op" + "s_" + raw(`{"email":"x@y"}`), "not", Failed},
		{"sk" + "." + raw(`{"u":"maps","a":"ckx1"}`) + "." + b[:22], "user maps and the token ckx1", Passed},
		{"sk" + "." + b[:30], "", None},
		{"PM" + "AK-" + fmt.Sprintf("%08x", 1700000000) + "0011223344556677-" + b[:34], "made at 2023-11-14 22:13:20", None},
		{"PM" + "AK-" + "fffffff0" + "0011223344556677-" + b[:34], "cannot be", Failed},
		{"ts" + "key-auth-k123456CNTRL-" + b[:32], "key k123456CNTRL", None},
		{enc("reftkn:01:1700000000:" + b[:30]), "expires at 2023-11-14", Passed},
		{enc("reftkn:01:0000000000:" + b[:30]), "never expires", Passed},
		{enc("reftkn:01:x:" + b[:30]), "not", Failed},
		{raw("1012345678901234567") + "." + b[:6] + "." + b[:38], "bot 1012345678901234567, made on 2022-08-", Passed},
		{"M" + b[:25] + "." + b[:6] + "." + b[:38], "not", Failed},
		{"", "", None},
		{b, "", None},
		{"gl" + "c_" + strings.Repeat("A", longestExplained), "", None},
	} {
		why, check := Explain(c.token)
		if check != c.check || !strings.Contains(why, c.says) || (why == "") != (c.says == "") {
			t.Errorf("%s: %q %d, want %q %d", c.token[:min(60, len(c.token))], why, check, c.says, c.check)
		}
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("glc_eyJvIjoiMSIsIm4iOiJ4IiwiayI6InkifQ")
	f.Add("pypi-AgEIcHlwaS5vcmcCJ")
	f.Add("PMAK-ffffffffffffffffffffffff-")
	f.Add("MTAxMjM0NTY3ODkwMTIzNDU2Nw.aB3dE6.aB3dE6gH9jaB3dE6gH9jaB3dE6gH9jaB3dE6")
	f.Fuzz(func(t *testing.T, token string) {
		why, check := Explain(token)
		if why == "" && check != None || len(why) > 400 || strings.ContainsAny(why, "\n\r\x1b") {
			t.Errorf("%q: %q %d", token, why, check)
		}
		Checksum(token)
	})
}
