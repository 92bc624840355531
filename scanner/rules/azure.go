package rules

import (
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"strings"
)

// identifiable are the marks that stand before the checksum in the keys of
// Azure's services, and the seeds of the checksum: one for each kind of key.
// A seed is eight letters read as one number. Source: Microsoft's published
// description of its identifiable keys.
var identifiable = map[string][]string{
	"+ASt": {"Default0"},                                                                         // Storage
	"ACDb": {"SysAll00", "Resour00", "MastRO00", "SystRO00", "Encryp00", "MastRW00", "SystRW00"}, // Cosmos DB
	"AzCa": {"Access00"},                                                                         // Cache for Redis
	"+ABa": {"AbAcct00"},                                                                         // Batch
	"AzFu": {"Master00", "System00", "Functi00"},                                                 // Functions
	"AzSe": {"Query000", "PAdmin00"},                                                             // Search
	"+ACR": {"ACRDflt0"},                                                                         // Container Registry
	"AIoT": {"IoTHub00", "DpsKey00", "Device00"},                                                 // IoT
	"APIM": {"Tenant00", "IoTHub00", "Gatewy00", "GitKey00"},                                     // API Management
	"+ASb": {"Send0000", "Listen00", "Manage00", "System00", "Unknown0"},                         // Service Bus
	"+AEh": {"Send0000", "Listen00", "Manage00", "System00", "Unknown0"},                         // Event Hubs
	"+ARm": {"Send0000", "Listen00", "Manage00", "System00", "Unknown0"},                         // Relay
}

// recomputed are the marks whose checksum was seen to hold in keys that others
// published. For the rest one that does not hold says nothing.
var recomputed = map[string]bool{"+ASt": true, "ACDb": true, "AzCa": true}

// AzureChecksum checks the Marvin32 that identifiable keys of Azure end in, and
// the one of the common annotated form (JQQJ99). None for what bears no mark.
func AzureChecksum(key string) Check {
	n := len(key)
	if n < 32 || n > 128 {
		return None
	}
	if n == 84 && key[52:57] == "JQQJ9" {
		return annotated(key)
	}
	text := strings.TrimRight(key, "=")
	if len(text) < 40 {
		return None
	}
	mark := text[len(text)-10 : len(text)-6]
	seeds, ok := identifiable[mark]
	if !ok {
		return None
	}
	// Functions and Search keys are written for URLs.
	b, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text))
	if err != nil || len(b) < 24 {
		return None
	}
	body, end := b[:len(b)-4], b[len(b)-4:]
	for _, seed := range seeds {
		var want [4]byte
		binary.LittleEndian.PutUint32(want[:], marvin(body, seed))
		if string(want[:]) == string(end) {
			return Passed
		}
		if mark == "AzCa" { // its keys hold no + and no /: P and F stand for them
			whole := base64.RawStdEncoding.EncodeToString(append(append([]byte{}, body...), want[:]...))
			if strings.NewReplacer("+", "P", "/", "F").Replace(whole) == text {
				return Passed
			}
		}
	}
	if !recomputed[mark] {
		return None
	}
	return Failed
}

// annotated checks a key in the common annotated form of 84 characters, whose
// last four are the start of the checksum of what is before in base 62 or 64.
func annotated(key string) Check {
	b, err := base64.StdEncoding.DecodeString(key[:80])
	if err != nil {
		return None
	}
	var sum [4]byte
	binary.LittleEndian.PutUint32(sum[:], marvin(b, "Default0"))
	short := ""
	for n := binary.BigEndian.Uint32(sum[:]); n > 0; n /= 62 {
		short = string(base62[n%62]) + short
	}
	short += strings.Repeat("0", 6-len(short))
	return outcome(key[80:] == short[:4] || key[80:] == base64.StdEncoding.EncodeToString(sum[:3]))
}

// marvin is Marvin32 folded to 32 bits. Source: the algorithm as SymCrypt and
// .NET describe it.
func marvin(data []byte, seed string) uint32 {
	a, b := marvin64(data, binary.BigEndian.Uint64([]byte(seed)))
	return a ^ b
}

// marvin64 gives the low and the high half.
func marvin64(data []byte, seed uint64) (lo, hi uint32) {
	lo, hi = uint32(seed), uint32(seed>>32)
	mix := func() {
		hi ^= lo
		lo = bits.RotateLeft32(lo, 20) + hi
		hi = bits.RotateLeft32(hi, 9) ^ lo
		lo = bits.RotateLeft32(lo, 27) + hi
		hi = bits.RotateLeft32(hi, 19)
	}
	for ; len(data) >= 4; data = data[4:] {
		lo += binary.LittleEndian.Uint32(data)
		mix()
	}
	last := [4]byte{}
	copy(last[:], data)
	last[len(data)] = 0x80
	lo += binary.LittleEndian.Uint32(last[:])
	mix()
	mix()
	return lo, hi
}
