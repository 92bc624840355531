package scanner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"stanch/internal/secret"
	"stanch/internal/version"
	"stanch/scanner/match"
	"stanch/scanner/quoted"
	"stanch/scanner/rules"
)

// DefaultMaxBlobBytes is the size above which the readers of repositories and
// directories leave a blob out and mark their result partial.
const DefaultMaxBlobBytes = 64 << 20

// tagNearKeyID marks a secret that was found for its nearness to an access key
// id alone. It is a candidate, and no credential of its own.
const tagNearKeyID = "near-key-id"

// Options of [New]. The zero value is right for a service.
type Options struct {
	ExtraRules   []byte        // gitleaks TOML of the operator, added last; never from what is scanned
	MaxBlobBytes int64         // for the readers (see [Engine.MaxBlobBytes]); 0 means DefaultMaxBlobBytes
	DecodeDepth  int           // passes of decoding (base64, hex, percent, unicode); 0 means 5, negative none
	HonourAllow  bool          // honour "gitleaks:allow" comments; off, since the leaker writes them
	Matcher      match.Matcher // replaces the built-in matcher; ExtraRules and DecodeDepth then mean nothing
	GitleaksOnly bool          // gitleaks' default rules and ExtraRules alone, or Matcher alone: no rules of ours, no parsing of known forms
}

// Unit is what is looked at in one go: a blob, a commit message, an author's
// name. Place says where it stands; its Line and Column are ignored.
type Unit struct {
	Data  []byte
	Place Place
}

// Engine turns units into findings and findings into credentials. It may be
// used concurrently.
type Engine struct {
	matcher match.Matcher
	rules   *match.Gitleaks // the matcher, where it is gitleaks'; else nil
	plain   bool            // what the matcher finds is all there is
	maxBlob int64
	nothing *Scanned // of texts in which nothing was seen
	binary  *Scanned // of other blobs
	print   func() string
}

// New makes an engine: in some milliseconds, or with ExtraRules, which have to be
// compiled, in half a second. The error names the rule that does not compile.
func New(o Options) (*Engine, error) {
	e := &Engine{matcher: o.Matcher, maxBlob: o.MaxBlobBytes, plain: o.GitleaksOnly}
	if e.maxBlob <= 0 {
		e.maxBlob = DefaultMaxBlobBytes
	}
	e.nothing, e.binary = &Scanned{engine: e}, &Scanned{engine: e, whole: true}
	if e.matcher != nil {
		e.rules, _ = e.matcher.(*match.Gitleaks)
		return e, nil
	}
	plan, own := rules.ExtraPlan, [][]byte{rules.Extra()}
	if e.plain {
		plan, own = rules.GitleaksPlan, nil
	}
	if len(o.ExtraRules) > 0 {
		own = append(own, o.ExtraRules)
	}
	var err error
	e.rules, err = match.Open(plan, match.Options{DecodeDepth: o.DecodeDepth, HonourAllow: o.HonourAllow}, own...)
	if err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	e.matcher = e.rules
	e.print = sync.OnceValue(func() string { return fingerprint(o) })
	return e, nil
}

// Fingerprint names what an engine looks for: two engines with the same one find
// the same in the same text. It is made of the version, the rules, what they
// mean and the options, and is the key under which to remember what was scanned.
// It is "" for an engine with a matcher of the caller's, of which nothing is
// known.
func (e *Engine) Fingerprint() string {
	if e.print == nil {
		return ""
	}
	return e.print()
}

func fingerprint(o Options) string {
	h := sha256.New()
	own := sha256.Sum256(o.ExtraRules)
	fmt.Fprintf(h, "%q %x %x %d %t %t %d", version.Version(), rules.Sum(), own,
		max(-1, o.DecodeDepth), o.HonourAllow, o.GitleaksOnly, max(0, o.MaxBlobBytes))
	return hex.EncodeToString(h.Sum(nil))
}

// MaxBlobBytes is the size above which a reader should not hand in a blob.
func (e *Engine) MaxBlobBytes() int64 { return e.maxBlob }

// Scan looks at one unit of any size and content, and gives its findings in the
// order in which they stand. Text in UTF-16 is read as text; of other binary
// data the printable runs are. Scan never fails: when ctx is done it gives what
// it has, and the caller knows from ctx that this is not all. Of a text that is
// nothing but credentials it leaves some out: [Engine.ScanAll] tells.
func (e *Engine) Scan(ctx context.Context, u Unit) []Finding {
	found, _ := e.scan(ctx, u)
	return found
}

// scan is Scan; whole is false when something was left out.
func (e *Engine) scan(ctx context.Context, u Unit) (out []Finding, whole bool) {
	t := readable(u.Data)
	in := match.Input{Data: t.text, Path: pathOf(u.Place)}
	found := e.matcher.Match(ctx, in)
	var noted *notes
	var literals *layer
	whole = true
	if !e.plain {
		noted, whole = notesAt(t.text, in.Path)
		if !t.binary {
			literals = e.layerOf(ctx, t.text, quoted.Everything(t.text), 0)
			whole = whole && literals.whole()
		}
	}
	if len(found) == 0 && noted == nil && literals == nil {
		return []Finding{}, whole
	}
	var beside near
	if !e.plain {
		beside = nearKeyIDs(t.text, found)
		noted = noted.about(t.text, found, beside)
	}
	out = noted.findings(u.Place, beside.findings(u.Place, found, t.binary))
	raw := lineCounter{text: u.Data}
	for i := range out {
		assess(&out[i])
		if !out[i].Secret.IsZero() { // else the path alone was looked at
			t.restore(&out[i], &raw)
		}
	}
	return over(out, literals.at(u.Place)), whole
}

// pathOf is the path by which rules judge what stands at a place.
func pathOf(p Place) string {
	if p.Object == "" || p.Object == "blob" {
		return p.Path
	}
	return ""
}

func finding(place Place, m match.Match) Finding {
	k, _ := rules.OfMatch(m.Rule, m.Text, m.Secret)
	place.Line, place.Column = m.SecretAt.Line, m.SecretAt.Column
	place.EndLine, place.EndColumn = m.SecretAt.EndLine, m.SecretAt.EndColumn
	return Finding{
		Rule: m.Rule, Description: m.Description,
		Provider: k.Provider, Kind: k.Kind, Part: k.Part,
		Secret: secret.New(m.Secret), Match: secret.New(m.Text),
		Place: place, Entropy: m.Entropy, Tags: slices.Clip(m.Tags), Offset: m.SecretAt.Start, end: m.SecretAt.End,
		MatchAt: Span{m.At.Line, m.At.Column, m.At.EndLine, m.At.EndColumn},
	}
}

// rank orders rules that claim the same string: one that names a provider, one
// that names what the secret is, one that knows the place where it stands, a
// generic one.
func rank(m *match.Match) int {
	k, typed := rules.Of(m.Rule, m.Secret)
	switch {
	case typed:
		return 3
	case strings.Contains(m.Rule, "generic"):
		return 0
	case k.Form:
		return 1
	}
	return 2
}

// specific drops a match where another one claims the same string with better
// knowledge: of a higher rank; or of the same provider and longer, since a rule
// for an older form finds a piece of the newer one.
func specific(ms []match.Match) []match.Match {
	drop := make([]bool, len(ms))
	ends := 0 // ms is sorted by where the secret starts
	first := 0
	for i := range ms {
		if ms[i].SecretAt.Start >= ends {
			first = i
		}
		ends = max(ends, ms[i].SecretAt.End)
		// A hostile input can make one run of overlaps as long as it likes.
		for j := max(first, i-64); j < i; j++ {
			if drop[j] || ms[j].PathOnly || ms[i].PathOnly {
				continue
			}
			switch better(&ms[j], &ms[i]) {
			case -1:
				drop[i] = true
			case 1:
				drop[j] = true
			}
			if drop[i] {
				break
			}
		}
	}
	out := ms[:0:0]
	for i := range ms {
		if !drop[i] {
			out = append(out, ms[i])
		}
	}
	return out
}

// better is -1 when a makes b redundant, 1 when b makes a so, else 0.
func better(a, b *match.Match) int {
	within := func(in, of *match.Match) bool {
		if in.Decoded || of.Decoded {
			return strings.Contains(of.Secret, in.Secret)
		}
		return in.SecretAt.Start >= of.SecretAt.Start && in.SecretAt.End <= of.SecretAt.End
	}
	ab, ba := within(a, b), within(b, a)
	if !ab && !ba {
		return 0
	}
	ra, rb := rank(a), rank(b)
	switch {
	case ra > rb && (ba || mostly(a, b)):
		return -1
	case rb > ra && (ab || mostly(b, a)):
		return 1
	case ra == rb && ab && ba && named(a) && named(b):
		return -1 // two services in one name
	case ra != rb || ra < 3:
		return 0
	}
	ka, _ := rules.Of(a.Rule, a.Secret)
	kb, _ := rules.Of(b.Rule, b.Secret)
	switch {
	case ka.Provider != kb.Provider:
		return 0
	case ab && ba:
		return -1
	case ba:
		return -1
	}
	return 1
}

func named(m *match.Match) bool {
	k, _ := rules.Of(m.Rule, m.Secret)
	return k.Kind == rules.NamedSecret
}

// mostly reports whether the secret of in makes up half or more of that of of:
// a private key is not explained by a key id that its block happens to hold.
func mostly(in, of *match.Match) bool { return 2*len(in.Secret) >= len(of.Secret) }

// The window in which parts belong together: so many lines or bytes.
const (
	windowLines = 8
	windowBytes = 1024
	windowMost  = 8 << 10 // of bytes, however long the lines are
)

// near is what can be the secret of an AWS access key id, for all the ids of a
// text.
type near struct {
	ids    []keyID
	values []nearValue
}

// keyID is an id at an offset, and the window around it.
type keyID struct{ at, from, to int }

type nearValue struct {
	at, line, column int
	text             string
}

// nearKeyIDs looks around every AWS access key id for what can be its secret
// but stands near no word that says so (a CSV from the console, a list).
func nearKeyIDs(text []byte, found []match.Match) (n near) {
	lines := lineCounter{text: text}
	done := 0 // windows of ids close together overlap
	for i := range found {
		m := &found[i]
		k, _ := rules.Of(m.Rule, m.Secret)
		if k.Part != PartAccessKeyID || rules.IsDocumentationKey(m.Secret) || m.PathOnly {
			continue
		}
		from, to := window(text, m.SecretAt.Start)
		n.ids = append(n.ids, keyID{m.SecretAt.Start, from, to})
		for at := max(from, done); at < to; {
			end := at
			for end < len(text) && end-at <= windowMost && base64Byte(text[end]) {
				end++
			}
			if end == at {
				at++
				continue
			}
			s := text[at:end]
			if len(s) == 40 && !(at > 0 && base64Byte(text[at-1])) && !(end < len(text) && text[end] == '=') &&
				rules.PlausibleAWSSecret(string(s)) && entropy(s) >= 4 {
				line, col := lines.at(at)
				n.values = append(n.values, nearValue{at, line, col, string(s)})
			}
			at = end
		}
		done = max(done, to)
	}
	return n
}

// findings makes findings at a place of the matches there, in order.
func (n *near) findings(place Place, found []match.Match, binary bool) []Finding {
	out := make([]Finding, 0, len(found))
	for _, m := range specific(found) {
		if binary && strings.Contains(m.Rule, "generic") {
			continue // words between random bytes: noise without end
		}
		f := finding(place, m)
		if f.Kind == rules.NamedSecret && f.Provider == "" {
			continue // no name stands there as a word of its own
		}
		out = append(out, f)
	}
	if len(n.values) > 0 {
		taken, ids := map[int]bool{}, map[int]bool{}
		for i := range out {
			taken[out[i].Offset] = taken[out[i].Offset] || out[i].Provider != ""
			ids[out[i].Offset] = ids[out[i].Offset] || out[i].Part == PartAccessKeyID
		}
		for _, v := range n.values {
			of := slices.ContainsFunc(n.ids, func(k keyID) bool { return ids[k.at] && v.at >= k.from && v.at < k.to })
			if of && !taken[v.at] {
				c := candidate(place, v.line, v.column, []byte(v.text))
				c.Offset, c.end = v.at, v.at+len(v.text)
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return a.Offset - b.Offset })
	return out
}

func candidate(place Place, line, col int, s []byte) Finding {
	last := col + len(s) - 1
	place.Line, place.EndLine, place.Column, place.EndColumn = line, line, col, last
	return Finding{
		Rule: rules.AWSSecretAccessKey, Description: "40 characters that can be the secret of the AWS access key id near them.",
		Provider: "aws", Kind: "secret_access_key", Part: PartSecretAccessKey,
		Secret: secret.FromBytes(s), Match: secret.FromBytes(s), Place: place,
		Entropy: float32(entropy(s)), Tags: []string{tagNearKeyID},
		MatchAt: Span{line, col, line, last},
	}
}

// lineCounter gives line and column of offsets; it is linear in the text for
// offsets that ascend.
type lineCounter struct {
	text []byte
	line int // newlines before pos
	pos  int
	bol  int // where the line of pos begins
}

func (c *lineCounter) at(offset int) (line, column int) {
	if offset < c.pos {
		c.line, c.pos, c.bol = 0, 0, 0
	}
	for {
		n := bytes.IndexByte(c.text[c.pos:offset], '\n')
		if n < 0 {
			break
		}
		c.line++
		c.pos += n + 1
		c.bol = c.pos
	}
	return c.line + 1, offset - c.bol + 1
}

// window is the range of text that is near offset.
func window(text []byte, offset int) (from, to int) {
	from, to = offset, offset
	for n := 0; from > 0 && offset-from < windowMost; from-- {
		if text[from-1] == '\n' {
			n++
			if n > windowLines && offset-from >= windowBytes {
				break
			}
		}
		if n > windowLines && offset-from >= windowBytes {
			break
		}
	}
	for n := 0; to < len(text) && to-offset < windowMost; to++ {
		if text[to] == '\n' {
			n++
		}
		if n > windowLines && to-offset >= windowBytes {
			break
		}
	}
	return from, to
}

func base64Byte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '/' || c == '+'
}

// entropy is Shannon's, in bits a byte.
func entropy(s []byte) float64 {
	var count [256]int
	for _, c := range s {
		count[c]++
	}
	e := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(s))
			e -= p * math.Log2(p)
		}
	}
	return e
}

// IgnoresPath reports whether the rules leave a path out whatever it holds, so
// that a reader can spare itself the bytes.
func (e *Engine) IgnoresPath(path string) bool {
	m, ok := e.matcher.(interface{ IgnoresPath(string) bool })
	return ok && m.IgnoresPath(path)
}
