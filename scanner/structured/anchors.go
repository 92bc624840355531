package structured

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// An anchor is a word that gives a notation away. All are looked for in one
// pass, without regard to case, by the shift of their two-byte blocks (the
// search of Wu and Manber): most bytes are never looked at.
type anchor struct {
	word string // lower case, at least minAnchor bytes
	what int
}

const minAnchor = 5

const (
	anyWord  = iota // a name that a setting with a secret can have
	isHeader        // authorization, basic, bearer
	isCommand
	isSQL
	isConnection // ;password=
	isPuTTY
	isJSON // the mark of a document that is read as a whole
	isYAML
	isDefine
	isCurl
	isLogin // of a driver: getConnection(url, user, password)
	isInsert
	isCopied  // into a table
	isConsole // the header of a file from AWS
	isNetrc
	isNpmrc
	isPgpass
	isHtpasswd
	isPypirc
	isServer
	kinds
)

var anchorWords = []anchor{
	{"passw", anyWord}, {"passphrase", anyWord}, {"secret", anyWord}, {"token", anyWord}, {"credential", anyWord},
	{"apikey", anyWord}, {"api_key", anyWord}, {"api-key", anyWord}, {"api.key", anyWord}, {"accesskey", anyWord}, {"access_key", anyWord}, {"access-key", anyWord},
	{"privatekey", anyWord}, {"private_key", anyWord}, {"private-key", anyWord}, {"auth_key", anyWord}, {"authkey", anyWord},
	{"encryption_key", anyWord}, {"encryptionkey", anyWord}, {"signing_key", anyWord}, {"signingkey", anyWord}, {"_pass=", anyWord}, {"_pass:", anyWord}, {"_pass\"", anyWord},
	{"_pass'", anyWord}, {".pass=", anyWord}, {"_pwd=", anyWord}, {"_pwd:", anyWord}, {"_pwd\"", anyWord}, {"_pwd'", anyWord}, {"app_key", anyWord}, {"master.key", anyWord},
	{"auth_salt", anyWord}, {"logged_in_", anyWord}, {"nonce_", anyWord}, {"account_key", anyWord}, {"accountkey", anyWord}, {"license_key", anyWord}, {"client_key", anyWord},
	{"authorization", isHeader}, {"basic ", isHeader},
	{"sshpass", isCommand}, {"mysql ", isCommand}, {"mysqldump ", isCommand}, {"mysqladmin ", isCommand}, {"docker login", isCommand},
	{"redis-cli", isCommand}, {"-password", isCommand}, {"net use ", isCommand}, {"convertto-securestring", isCommand}, {"-passin ", isCommand}, {"-passout ", isCommand}, {"pgpassword", isCommand},
	{"identified ", isSQL}, {" password '", isSQL},
	{";password", isConnection}, {"; password", isConnection}, {";pwd=", isConnection}, {"; pwd=", isConnection}, {"password=", isConnection}, {" pwd=", isConnection},
	{"putty-user-key-file-", isPuTTY},
	{"\"auths\"", isJSON}, {"client-key-data", isYAML}, {"kind: secret", isYAML}, {"kind: \"secret", isYAML}, {"\"kind\":\"secret", isJSON}, {"\"kind\": \"secret", isJSON},
	{"\"service_account", isJSON}, {"terraform_version\"", isJSON}, {"primarykeyid\"", isJSON}, {"\"kty\"", isJSON},
	{"\"auth\":", isJSON}, {"\"auth\" :", isJSON},
	{"machine ", isNetrc}, {"_authtoken", isNpmrc}, {"_auth=", isNpmrc}, {"_auth =", isNpmrc}, {"_password=", isNpmrc}, {"_password =", isNpmrc}, {":5432:", isPgpass}, {":*:*:", isPgpass},
	{":$apr1$", isHtpasswd}, {":{sha}", isHtpasswd}, {":$2y$", isHtpasswd}, {":$2a$", isHtpasswd}, {":$2b$", isHtpasswd}, {"[pypi]", isPypirc}, {"index-servers", isPypirc}, {"<server>", isServer},
	{"curl ", isCurl}, {"getconnection(", isLogin}, {"insert into", isInsert}, {" from stdin", isCopied}, {"secret access key", isConsole}, {"console login link", isConsole}, {"console sign-in url", isConsole},
	{"kind: config\n", isYAML}, {"kind: config\r", isYAML},
	{"define(", isDefine}, {"define (", isDefine},
}

// search is the table of one set of anchors. What it says of two bytes is how far
// it is safe to go on, or, from isBucket up, which anchors may end here.
type search struct {
	table   [1 << 16]uint8
	buckets [][]end
}

// end is an anchor of which minAnchor bytes were seen, the first of them at skip.
type end struct {
	*anchor
	skip int
}

const isBucket = 0x10

// common1 is how often a letter is one in source code and prose, roughly, in
// thousandths. The piece of a word that is rarest is looked for.
var common1 = map[byte]int{' ': 160, 'e': 90, 't': 66, 'a': 55, 'o': 52, 'i': 53, 'n': 53, 's': 50, 'r': 50, 'l': 33, 'd': 31, 'c': 30, 'u': 23, 'p': 23, 'm': 22, 'f': 18, 'g': 15, 'h': 18, '_': 12, '-': 12, '.': 18, '=': 12, ':': 12, '"': 20, '\'': 10, '(': 12, ';': 8, 'y': 11, 'b': 11, 'v': 8, 'k': 7, 'w': 7}

func pairCost(s string) int { return (2 + common1[s[0]]) * (2 + common1[s[1]]) }

func newSearch(take func(*anchor) bool) *search {
	s := &search{}
	for i := range s.table {
		s.table[i] = minAnchor - 1
	}
	blocks := map[uint16]int{}
	for n := range anchorWords {
		a := &anchorWords[n]
		if !take(a) {
			continue
		}
		skip, least := 0, 1<<30
		for o := 0; o+minAnchor <= len(a.word); o++ {
			cost := 4 * pairCost(a.word[o+minAnchor-2:])
			for i := range minAnchor - 2 {
				cost += pairCost(a.word[o+i:])
			}
			if cost < least {
				skip, least = o, cost
			}
		}
		piece := a.word[skip : skip+minAnchor]
		for i := 0; i+2 <= minAnchor; i++ {
			for _, x := range both(piece[i]) {
				for _, y := range both(piece[i+1]) {
					k := uint16(x) | uint16(y)<<8
					if i+2 < minAnchor {
						if s.table[k] < isBucket {
							s.table[k] = min(s.table[k], uint8(minAnchor-2-i))
						}
						continue
					}
					b, ok := blocks[k]
					if !ok {
						b = len(s.buckets)
						blocks[k] = b
						s.buckets = append(s.buckets, nil)
						s.table[k] = uint8(isBucket + b)
					}
					s.buckets[b] = append(s.buckets[b], end{a, skip})
				}
			}
		}
	}
	return s
}

var (
	forCode     = sync.OnceValue(func() *search { return newSearch(func(a *anchor) bool { return a.what != anyWord }) })
	forSettings = sync.OnceValue(func() *search { return newSearch(func(*anchor) bool { return true }) })
)

func both(c byte) []byte {
	if c >= 'a' && c <= 'z' {
		return []byte{c, c - 'a' + 'A'}
	}
	return []byte{c}
}

// mark is an anchor in a text.
type mark struct {
	*anchor
	at   int
	live bool // something was read there
}

// far reports an anchor whose reader looks beyond its line.
func (a *anchor) far() bool {
	switch a.what {
	case isJSON, isYAML, isPuTTY, isNetrc, isPypirc, isServer, isInsert, isCopied, isConsole:
		return true
	}
	return false
}

// all gives the anchors in d, in order. A text is cut in four, which are gone
// through at once: one step waits for memory, four wait together.
func (s *search) all(d []byte) (out [4][]mark) {
	if len(d) < 1024 {
		out[0] = s.finish(d, minAnchor-1, len(d), nil)
		return out
	}
	q := len(d) / 4
	i0, i1, i2, i3 := minAnchor-1, q, 2*q, 3*q
	for i0 < q && i1 < 2*q && i2 < 3*q && i3 < len(d) {
		n0, n1 := s.table[binary.LittleEndian.Uint16(d[i0-1:])], s.table[binary.LittleEndian.Uint16(d[i1-1:])]
		n2, n3 := s.table[binary.LittleEndian.Uint16(d[i2-1:])], s.table[binary.LittleEndian.Uint16(d[i3-1:])]
		if n0|n1|n2|n3 >= isBucket {
			n0, out[0] = s.check(d, i0, n0, out[0])
			n1, out[1] = s.check(d, i1, n1, out[1])
			n2, out[2] = s.check(d, i2, n2, out[2])
			n3, out[3] = s.check(d, i3, n3, out[3])
		}
		i0 += int(n0)
		i1 += int(n1)
		i2 += int(n2)
		i3 += int(n3)
	}
	out[0] = s.finish(d, i0, q, out[0])
	out[1] = s.finish(d, i1, 2*q, out[1])
	out[2] = s.finish(d, i2, 3*q, out[2])
	out[3] = s.finish(d, i3, len(d), out[3])
	return out
}

func (s *search) finish(d []byte, i, to int, out []mark) []mark {
	for i < to {
		n := s.table[binary.LittleEndian.Uint16(d[i-1:])]
		if n >= isBucket {
			n, out = s.check(d, i, n, out)
		}
		i += int(n)
	}
	return out
}

// check adds the anchors of which a piece ends at i, and says how far to go on.
func (s *search) check(d []byte, i int, n uint8, out []mark) (uint8, []mark) {
	if n < isBucket {
		return n, out
	}
	for _, e := range s.buckets[n-isBucket] {
		at := i - (minAnchor - 1) - e.skip
		if at >= 0 && len(out) < mostMarks(len(d)) && hasFold(d[at:], e.word) {
			out = append(out, mark{e.anchor, at, false})
		}
	}
	return 1, out
}

// mostMarks bounds the anchors of a quarter of a text, or of a gap in one.
func mostMarks(length int) int { return most + length/32 }

func (f *finder) read(a *anchor, at int) {
	switch a.what {
	case anyWord:
		f.setting(at, len(a.word))
	case isHeader:
		f.header(at)
	case isCommand:
		f.command(at, a.word)
	case isSQL:
		f.sql(at)
	case isConnection:
		f.connection(at)
	case isPuTTY:
		f.putty(at)
	case isDefine:
		f.define(at + len(a.word))
	case isCurl:
		f.curl(at)
	case isLogin:
		f.login(at + len(a.word))
	case isInsert:
		f.insert(at)
	case isCopied:
		f.copied(at)
	case isConsole:
		if !f.done[isConsole] {
			f.done[isConsole] = true
			f.accessKeys(at)
		}
	case isJSON, isYAML:
		if !f.done[a.what] {
			f.done[a.what] = f.document(a.what, at)
		}
	default:
		if f.done[a.what] {
			return
		}
		switch a.what {
		case isNetrc:
			f.need = netrc
			f.netrc(at)
		case isNpmrc:
			f.need = npmrc
			f.npmrc(at)
		case isPgpass:
			f.need = pgpass
			f.pgpass(at)
		case isHtpasswd:
			f.need = htpasswd
			f.htpasswd(at)
		case isPypirc:
			f.need = pypirc
			f.pypirc()
			f.done[isPypirc] = true
		case isServer:
			f.need = servers
			f.server(at)
		}
		f.need = anyFile
	}
}

// hasFold reports whether b begins with word, which is lower case.
func hasFold(b []byte, word string) bool {
	if len(b) < len(word) {
		return false
	}
	for i := range len(word) {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

func indexFold(b []byte, word string) int {
	sign := word[0] < 'a' || word[0] > 'z'
	for i := 0; i+len(word) <= len(b); i++ {
		if sign {
			n := bytes.IndexByte(b[i:], word[0])
			if n < 0 {
				return -1
			}
			i += n
		}
		if hasFold(b[i:], word) {
			return i
		}
	}
	return -1
}

func has(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
