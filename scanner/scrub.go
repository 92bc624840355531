package scanner

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"

	"stanch/internal/secret"
)

// shortestScrubbed is the length of a secret that is looked for in other text;
// anything shorter would blank out ordinary words.
const shortestScrubbed = 8

// Scrub replaces every occurrence of any found secret, plain or in base64, hex
// or URL-escaped form, in the places, reasons and commit messages of all the
// findings. Call it once all findings of a push or scan are known: the path
// of one finding can hold the secret of another. The findings handed in are
// not changed.
func (e *Engine) Scrub(found []Finding) []Finding {
	s := NewScrubber(found)
	out := make([]Finding, len(found))
	for i, f := range found {
		s.place(&f.Place)
		f.CommitMessage = s.Clean(f.CommitMessage)
		f.ClassReason = s.Clean(f.ClassReason)
		if f.Suppressed != "" {
			f.Suppressed = s.Clean(f.Suppressed)
		}
		for n, r := range f.Reasons {
			c := s.Clean(r)
			if c != r {
				f.Reasons = append([]string(nil), f.Reasons...)
				f.Reasons[n] = c
			}
		}
		out[i] = f
	}
	return out
}

// Scrubber finds many needles in short texts, by their first bytes. It is for one
// goroutine.
type Scrubber struct {
	needles map[[shortestScrubbed]byte][]string
	seen    map[string]string
}

// NewScrubber gives a scrubber of all the secrets of found.
func NewScrubber(found []Finding) *Scrubber {
	s := &Scrubber{needles: map[[shortestScrubbed]byte][]string{}, seen: map[string]string{}}
	have := map[string]bool{}
	for _, f := range found {
		v := f.Secret.Reveal()
		if have[v] || len(v) < shortestScrubbed {
			continue
		}
		have[v] = true
		for _, form := range forms(v) {
			s.add(form)
		}
	}
	return s
}

func (s *Scrubber) add(needle string) {
	if len(needle) < shortestScrubbed {
		return
	}
	key := [shortestScrubbed]byte([]byte(needle[:shortestScrubbed]))
	for _, n := range s.needles[key] {
		if n == needle {
			return
		}
	}
	s.needles[key] = append(s.needles[key], needle)
}

// forms are the ways in which a secret may be written. A secret longer than any
// path or name is looked for as it is only.
func forms(v string) []string {
	out := []string{v}
	if len(v) > 1024 {
		return out
	}
	h := hex.EncodeToString([]byte(v))
	out = append(out, h, strings.ToUpper(h), url.QueryEscape(v), url.PathEscape(v))
	for shift := range 3 {
		// Within longer base64 text the secret starts at one of three alignments;
		// the characters that it shares with its neighbours are left out.
		padded := append(make([]byte, shift), v...)
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			out = append(out, enc.EncodeToString(padded)[(shift*8+5)/6:len(padded)*8/6])
		}
	}
	return out
}

func (s *Scrubber) place(p *Place) {
	for _, field := range []*string{&p.Repository, &p.Ref, &p.Path, &p.Author.Name, &p.Author.Email, &p.Committer.Name, &p.Committer.Email} {
		*field = s.Clean(*field)
	}
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_'
}

// Clean gives the text with every form of every secret replaced, to the end of
// the word in which it stands.
func (s *Scrubber) Clean(in string) string {
	if len(in) < shortestScrubbed {
		return in
	}
	done, ok := s.seen[in]
	if ok {
		return done
	}
	var out strings.Builder
	last := 0
	for i := 0; i+shortestScrubbed <= len(in); {
		longest := 0
		for _, n := range s.needles[[shortestScrubbed]byte([]byte(in[i:i+shortestScrubbed]))] {
			if len(n) > longest && strings.HasPrefix(in[i:], n) {
				longest = len(n)
			}
		}
		if longest == 0 {
			i++
			continue
		}
		out.WriteString(in[last:i])
		out.WriteString(secret.Redacted)
		i += longest
		for i < len(in) && wordByte(in[i]) {
			i++ // a rule can find the head of a longer value
		}
		last = i
	}
	result := in
	if last > 0 {
		out.WriteString(in[last:])
		result = out.String()
	}
	s.seen[in] = result
	return result
}
