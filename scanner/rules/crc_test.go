package rules

import (
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// The sums are made as the makers describe them and then altered.
func TestChecksum(t *testing.T) {
	b := strings.Repeat("aB3dE6gH9j", 20)
	crc := func(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }
	turned := func(n uint32) string { return fmt.Sprintf("%02x%02x%02x%02x", n&255, n>>8&255, n>>16&255, n>>24) }
	at := "ATA" + "TT3" + b[:170] + "="
	for _, good := range []string{
		seal("np"+"m_", b[:30]), seal("vc"+"p_", b[:50]),
		"cf" + "ut_" + b[:40] + fmt.Sprintf("%08x", crc(b[:40])),
		"cf" + "k_" + b[:40] + fmt.Sprintf("%08x", crc(b[:40])),
		"zp" + "ka_" + b[:32] + "_" + fmt.Sprintf("%08x", crc(b[:32])),
		"gl" + "sa_" + b[:32] + "_" + turned(crc("gl"+"sa_"+b[:32])),
		at + fmt.Sprintf("%08X", crc(at)),
	} {
		if got := Checksum(good); got != Passed {
			t.Errorf("%s: %d", good, got)
		}
		bad := strings.Replace(good, "aB3", "aB4", 1)
		if got := Checksum(bad); got != Failed {
			t.Errorf("%s: %d", bad, got)
		}
	}
	for _, none := range []string{"", "npm_", "vcp_", "glsa_x", "cflt", "sk_live_x", "dd"} {
		if got := Checksum(none); got != None {
			t.Errorf("%q: %d", none, got)
		}
	}
}
