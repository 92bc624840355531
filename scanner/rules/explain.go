package rules

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// longestExplained bounds what is decoded, in bytes.
const longestExplained = 16 << 10

// Explain says what a token of some makers tells of itself without a question
// to anybody: whose it is, when it was made. Passed: what stands in it decodes
// as its maker writes it; Failed: it does not; None with a reason: it can be
// read and proves nothing. The reason holds no secret part and is "" where there
// is nothing to tell. Times are those that ids carry, in UTC. Sources: the
// makers' descriptions and published tokens.
func Explain(token string) (reason string, check Check) {
	if len(token) > longestExplained {
		return "", None
	}
	for _, e := range explainers {
		if strings.HasPrefix(token, e.begin) {
			return e.read(token[len(e.begin):])
		}
	}
	if len(token) > 50 && strings.IndexByte("MNO", token[0]) >= 0 {
		return explainDiscord(token)
	}
	return "", None
}

var explainers = []struct {
	begin string
	read  func(rest string) (string, Check)
}{
	{"SG.", explainSendGrid},
	{"xoxb-", explainSlack}, {"xoxp-", explainSlack}, {"xoxs-", explainSlack}, {"xoxa-", explainSlack},
	{"sntrys_", explainSentry},
	{"glc_", explainGrafana},
	{"eyJrIjoi", func(rest string) (string, Check) { return explainGrafanaKey("eyJrIjoi" + rest) }},
	{"pypi-", explainPyPI},
	{"ops_", explainOnePassword},
	{"sk.", explainMapbox},
	{"PMAK-", explainPostman},
	{"tskey-", explainTailscale},
	{"cmVmdGtu", func(rest string) (string, Check) { return explainArtifactory("cmVmdGtu" + rest) }},
}

const unreadable = "what should be readable in the token is not: altered, cut or made up"

func explainSendGrid(rest string) (string, Check) {
	id, _, ok := strings.Cut(rest, ".")
	if !ok || len(id) != 22 {
		return "", None
	}
	return "names the API key " + id, None
}

func explainSlack(rest string) (string, Check) {
	part := strings.Split(rest, "-")
	if len(part) < 2 || len(part[0]) < 9 || !number(part[0]) {
		return "", None
	}
	if number(part[1]) {
		return "names workspace " + part[0] + " and user " + part[1] + ", by their numbers", None
	}
	return "names the bot " + part[0] + ", by its number", None
}

func explainSentry(rest string) (string, Check) {
	text, _, ok := strings.Cut(rest, "_")
	var v struct {
		IssuedAt float64 `json:"iat"`
		Org      string  `json:"org"`
	}
	if !ok || !anyJSON(text, &v) || v.Org == "" {
		return unreadable, Failed
	}
	return "names the organisation " + clean(v.Org) + at(v.IssuedAt), Passed
}

func explainGrafana(rest string) (string, Check) {
	var v struct {
		Org  json.RawMessage `json:"o"`
		Name string          `json:"n"`
		Key  string          `json:"k"`
	}
	switch {
	case !anyJSON(rest, &v) || v.Key == "":
		return unreadable, Failed
	case len(v.Org) == 0:
		return explainGrafanaKey(rest)
	}
	return "names organisation " + clean(strings.Trim(string(v.Org), `"`)) + " and token " + clean(v.Name), Passed
}

func explainGrafanaKey(token string) (string, Check) {
	var v struct {
		Key  string `json:"k"`
		Name string `json:"n"`
		ID   int64  `json:"id"`
	}
	if !anyJSON(token, &v) || v.Key == "" || v.ID == 0 {
		return "does not hold the key, name and organisation that one of Grafana's has", Failed
	}
	return "names the key " + clean(v.Name) + " of organisation " + strconv.FormatInt(v.ID, 10), Passed
}

// explainPyPI reads a macaroon of version 2: fields of a type, a length and a text.
func explainPyPI(rest string) (string, Check) {
	b, ok := anyBase64(rest)
	head := []byte("\x02\x01\x08pypi.org\x02\x24")
	if test := []byte("\x02\x01\x0dtest.pypi.org\x02\x24"); bytes.HasPrefix(b, test) {
		head = test
	}
	if !ok || !bytes.HasPrefix(b, head) || len(b) < len(head)+36 {
		return unreadable, Failed
	}
	id := string(b[len(head) : len(head)+36])
	plain, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(plain) != 16 {
		return unreadable, Failed
	}
	return "a macaroon that names the token " + id, Passed
}

func explainOnePassword(rest string) (string, Check) {
	var v struct {
		Address string `json:"signInAddress"`
		Email   string `json:"email"`
	}
	if !anyJSON(rest, &v) || v.Address == "" {
		return unreadable, Failed
	}
	return "names the account at " + clean(v.Address), Passed
}

func explainMapbox(rest string) (string, Check) {
	text, _, ok := strings.Cut(rest, ".")
	if !ok || !strings.HasPrefix(text, "eyJ") {
		return "", None
	}
	var v struct {
		User string `json:"u"`
		ID   string `json:"a"`
	}
	if !anyJSON(text, &v) || v.User == "" {
		return unreadable, Failed
	}
	return "names the user " + clean(v.User) + " and the token " + clean(v.ID), Passed
}

func explainPostman(rest string) (string, Check) {
	b, err := hex.DecodeString(rest[:min(24, len(rest))])
	if err != nil || len(b) != 12 {
		return "", None
	}
	made := time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC()
	if made.Year() < 2014 || made.Year() > 2045 {
		return "its id says that it was made in " + strconv.Itoa(made.Year()) + ", which cannot be", Failed
	}
	return "made at " + made.Format(time.DateTime) + ", by its id", None
}

func explainTailscale(rest string) (string, Check) {
	part := strings.Split(rest, "-")
	if len(part) != 3 || !strings.HasSuffix(part[1], "CNTRL") {
		return "", None
	}
	return "names the key " + clean(part[1]), None
}

func explainArtifactory(token string) (string, Check) {
	b, ok := anyBase64(token)
	part := strings.Split(string(b), ":")
	if !ok || len(part) < 4 || part[0] != "reftkn" || !number(part[2]) {
		return unreadable, Failed
	}
	end, err := strconv.ParseInt(part[2], 10, 64)
	if err != nil || end > 1<<33 {
		return unreadable, Failed
	}
	if end == 0 {
		return "never expires, by what it says", Passed
	}
	return "expires at " + time.Unix(end, 0).UTC().Format(time.DateTime) + ", by what it says", Passed
}

// explainDiscord reads the bot's id, which holds when the bot was made.
func explainDiscord(token string) (string, Check) {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return "", None
	}
	b, ok := anyBase64(part[0])
	if !ok || len(b) < 15 || len(b) > 20 || !number(string(b)) {
		return unreadable, Failed
	}
	id, err := strconv.ParseUint(string(b), 10, 63)
	if err != nil {
		return unreadable, Failed
	}
	made := time.UnixMilli(int64(id>>22) + 1420070400000).UTC()
	return "names the bot " + string(b) + ", made on " + made.Format(time.DateOnly), Passed
}

func anyBase64(s string) ([]byte, bool) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil
}

func anyJSON(s string, into any) bool {
	b, ok := anyBase64(s)
	return ok && json.Unmarshal(b, into) == nil
}

// clean makes a text from a token fit for one line: letters, digits and few signs,
// 80 bytes at most.
func clean(s string) string {
	keep := func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}
	return strings.Map(keep, s[:min(len(s), 80)])
}

func at(seconds float64) string {
	t := unixTime(seconds)
	if t.Year() < 2000 {
		return ""
	}
	return ", made at " + t.Format(time.DateTime)
}

func number(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
