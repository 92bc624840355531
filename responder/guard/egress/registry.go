package egress

import (
	"fmt"
	"net/netip"
)

// block is one entry of the address registries.
type block struct {
	prefix netip.Prefix
	name   string
}

// special lists the IANA IPv4 and IPv6 Special-Purpose Address Registries
// (https://www.iana.org/assignments/iana-ipv4-special-registry/,
// https://www.iana.org/assignments/iana-ipv6-special-registry/; RFC 6890,
// entries as of 2025-10) and the multicast blocks (RFC 5771, RFC 4291). Blocks
// that the registry calls globally reachable (anycast services, AS112) are here
// too: no provider's API stands in them. 64:ff9b::/96 is not listed, see [check].
var special = blocks(
	"0.0.0.0/8", "this network",
	"10.0.0.0/8", "private use",
	"100.64.0.0/10", "shared address space",
	"127.0.0.0/8", "loopback",
	"169.254.0.0/16", "link local",
	"172.16.0.0/12", "private use",
	"192.0.0.0/24", "IETF protocol assignments",
	"192.0.2.0/24", "documentation",
	"192.31.196.0/24", "AS112",
	"192.52.193.0/24", "AMT",
	"192.88.99.0/24", "6to4 relay anycast",
	"192.168.0.0/16", "private use",
	"192.175.48.0/24", "AS112",
	"198.18.0.0/15", "benchmarking",
	"198.51.100.0/24", "documentation",
	"203.0.113.0/24", "documentation",
	"224.0.0.0/4", "multicast",
	"240.0.0.0/4", "reserved",
	"::1/128", "loopback",
	"::/128", "unspecified",
	"::/96", "IPv4-compatible",
	"::ffff:0:0/96", "IPv4-mapped",
	"64:ff9b:1::/48", "IPv4-IPv6 translation, local use",
	"100::/64", "discard only",
	"100:0:0:1::/64", "dummy prefix",
	"2001::/23", "IETF protocol assignments",
	"2001:db8::/32", "documentation",
	"2002::/16", "6to4",
	"2620:4f:8000::/48", "AS112",
	"3fff::/20", "documentation",
	"5f00::/16", "segment routing",
	"fc00::/7", "unique local",
	"fe80::/10", "link local",
	"fec0::/10", "site local",
	"ff00::/8", "multicast",
)

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
	// never are the blocks that a listed host name may not lead to either: an
	// instance's metadata service, the machine itself by its wildcard address,
	// groups and reserved space.
	never = blocks(
		"0.0.0.0/8", "this network",
		"169.254.0.0/16", "link local",
		"224.0.0.0/4", "multicast",
		"240.0.0.0/4", "reserved",
		"::/128", "unspecified",
		"fe80::/10", "link local",
		"ff00::/8", "multicast",
		"fd00:ec2::254/128", "instance metadata",
	)
)

func blocks(pairs ...string) []block {
	out := make([]block, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, block{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

// plain takes an address out of the forms that hide an IPv4 address: mapped and
// NAT64 (RFC 6052).
func plain(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// check says why an address must not be reached; nil when it may.
func check(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("%w: no address", ErrRefused)
	}
	if a.Zone() != "" {
		return fmt.Errorf("%w: address with a zone", ErrRefused)
	}
	a = plain(a)
	for _, b := range special {
		if b.prefix.Contains(a) {
			return fmt.Errorf("%w: %s is %s (%s)", ErrRefused, a, b.name, b.prefix)
		}
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		return fmt.Errorf("%w: %s is not global unicast", ErrRefused, a)
	}
	return nil
}

// checkListed says why a host that the operator listed by name must not lead to
// an address; nil when it may.
func checkListed(a netip.Addr) error {
	if a.Zone() != "" {
		return fmt.Errorf("%w: address with a zone", ErrRefused)
	}
	a = plain(a)
	for _, b := range never {
		if b.prefix.Contains(a) {
			return fmt.Errorf("%w: %s is %s (%s), which only its own address in the list opens", ErrRefused, a, b.name, b.prefix)
		}
	}
	return nil
}
