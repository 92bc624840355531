package structured

import (
	"bytes"
	"strings"
)

// accessKeys reads a file that the console of AWS gives out: a header that names its
// columns, and rows of a user each. An access key's id and secret are found by their
// own rules; what the header alone can tell is told here.
func (f *finder) accessKeys(at int) {
	d := f.data
	from, to := f.line(at)
	header := cells(d, from, to)
	name := map[string]int{}
	for i, c := range header {
		name[strings.ToLower(strings.Trim(string(d[c.start:c.end]), "\ufeff "))] = i + 1
	}
	column := func(row []text, names ...string) text {
		for _, n := range names {
			if i := name[n]; i > 0 && i <= len(row) {
				return row[i-1]
			}
		}
		return text{}
	}
	for i := to; len(f.hits) < most; {
		for i < len(d) && (d[i] == '\r' || d[i] == '\n') {
			i++
		}
		if i >= len(d) {
			return
		}
		from, to := f.line(i)
		if f.budget < 0 {
			return
		}
		row := cells(d, from, to)
		i = max(to, i+1)
		value := func(names ...string) string {
			t := column(row, names...)
			return string(d[t.start:t.end])
		}
		about := map[string]string{"user": value("user name", "username"), "access_key_id": value("access key id"), "url": value("console login link", "console sign-in url")}
		t := column(row, "password")
		if v := string(d[t.start:t.end]); len(v) >= 6 && about["user"] != "" {
			f.add(Hit{
				Rule: "structured-aws-console-password", Description: "Password for the console of AWS, in a file that the console gave out.", Provider: "aws", Kind: "console_password", Secret: v, Start: t.start, End: t.end, From: from, To: to, Confidence: High,
				Parts: map[string]string{"user": about["user"], "url": about["url"]},
			})
		}
		t = column(row, "secret access key")
		if t.end-t.start == 40 && about["access_key_id"] != "" {
			f.add(Hit{
				Rule: "structured-aws-access-key", Description: "Secret access key of AWS, in a file that the console gave out.", Provider: "aws", Kind: "secret_access_key", Part: "secret_access_key", Secret: string(d[t.start:t.end]), Start: t.start, End: t.end, From: from, To: to, Confidence: High,
				Parts: map[string]string{"user": about["user"]},
			})
		}
	}
}

// cells gives the fields of a line of comma separated values, without their quotes.
func cells(d []byte, from, to int) (out []text) {
	for i := from; i <= to && len(out) < 64; {
		if i < to && d[i] == '"' {
			n := bytes.IndexByte(d[i+1:to], '"')
			if n >= 0 {
				out = append(out, text{start: i + 1, end: i + 1 + n})
				i += n + 2
				for i < to && d[i] != ',' {
					i++
				}
				i++
				continue
			}
		}
		n := bytes.IndexByte(d[i:to], ',')
		if n < 0 {
			n = to - i
		}
		out = append(out, text{start: i, end: i + n})
		i += n + 1
	}
	return out
}
