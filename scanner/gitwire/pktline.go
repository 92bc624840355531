package gitwire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// maxPacket is the most bytes of a packet line, its length included. Source:
// gitprotocol-common, "pkt-line Format".
const maxPacket = 65520

// The kinds of packet lines in protocol version 2.
const (
	packetData  = iota
	packetFlush // 0000: the end of a message
	packetDelim // 0001: the end of a section
	packetEnd   // 0002: the end of an answer
)

var errPacket = errors.New("not an answer of Git's protocol version 2")

// packets reads packet lines. It is used by one goroutine.
type packets struct {
	r   *bufio.Reader
	buf []byte
}

func newPackets(r io.Reader) *packets { return &packets{r: bufio.NewReaderSize(r, 64<<10)} }

// next reads one packet. Its payload is valid until the next call.
func (p *packets) next() (kind int, payload []byte, err error) {
	head, err := p.r.Peek(4)
	if err != nil {
		return 0, nil, cutShort(err)
	}
	n, ok := packetLength(head)
	if !ok {
		return 0, nil, errPacket
	}
	_, _ = p.r.Discard(4)
	if n < 4 {
		return []int{packetFlush, packetDelim, packetEnd}[n], nil, nil
	}
	if p.buf == nil {
		p.buf = make([]byte, maxPacket)
	}
	payload = p.buf[:n-4]
	_, err = io.ReadFull(p.r, payload)
	if err != nil {
		return 0, nil, cutShort(err)
	}
	return packetData, payload, nil
}

func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("answer is cut short: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// packetLength reads four hexadecimal digits. 3 is no length, nor is what is
// above maxPacket.
func packetLength(head []byte) (int, bool) {
	n := 0
	for _, c := range head[:4] {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		default:
			return 0, false
		}
	}
	return n, n != 3 && n <= maxPacket
}

// line reads one packet as a line of text, without its line feed. What the
// server says in an ERR packet comes as an error.
func (p *packets) line() (kind int, text string, err error) {
	kind, payload, err := p.next()
	if err != nil || kind != packetData {
		return kind, "", err
	}
	if n := len(payload); n > 0 && payload[n-1] == '\n' {
		payload = payload[:n-1]
	}
	text = string(payload)
	if len(text) >= 4 && text[:4] == "ERR " {
		return kind, "", serverError(text[4:])
	}
	return kind, text, nil
}

// appendPacket appends a packet line with a line feed.
func appendPacket(b []byte, text string) []byte {
	b = fmt.Appendf(b, "%04x", len(text)+5)
	b = append(b, text...)
	return append(b, '\n')
}
