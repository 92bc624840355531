package structured

import (
	"bytes"
	"strings"
)

// The bounds of what is read of one statement of a dump.
const (
	sqlColumns   = 300
	sqlStatement = 16 << 20
)

// insert reads INSERT INTO table (columns) VALUES (...), (...): the columns say what
// the values are. Where they are not named, CREATE TABLE in the same text has them.
func (f *finder) insert(at int) {
	s := sqlReader{d: f.data, i: at + len("insert into"), end: min(len(f.data), at+sqlStatement)}
	table := s.name()
	if table == "" {
		return
	}
	var columns []string
	s.space()
	if s.take('(') {
		columns = s.names()
	} else {
		columns = f.columnsOf(table)
	}
	secret := secretColumns(columns)
	s.space()
	if len(secret) == 0 || !hasFold(s.d[s.i:s.end], "values") {
		return
	}
	s.i += len("values")
	for {
		s.space()
		if !s.take('(') || len(f.hits) >= most {
			return
		}
		row, ok := s.row()
		if !ok {
			return
		}
		f.row(table, columns, secret, row, at)
		s.space()
		if !s.take(',') {
			return
		}
	}
}

// copied reads COPY table (columns) FROM stdin, as pg_dump writes it: rows of values
// between tabs, up to a line with \. alone.
func (f *finder) copied(at int) {
	from, to := f.line(at)
	if !hasFold(f.data[from:to], "copy ") || bytes.IndexByte(f.data[at:to], ';') < 0 {
		return
	}
	s := sqlReader{d: f.data, i: from + len("copy "), end: to}
	table := s.name()
	s.space()
	if table == "" || !s.take('(') {
		return
	}
	columns := s.names()
	secret := secretColumns(columns)
	if len(secret) == 0 {
		return
	}
	end := min(len(f.data), at+sqlStatement)
	for i := to + 1; i < end && len(f.hits) < most; {
		stop := end
		n := bytes.IndexByte(f.data[i:end], '\n')
		if n >= 0 {
			stop = i + n
		}
		line := bytes.TrimRight(f.data[i:stop], "\r")
		if bytes.HasPrefix(line, []byte(`\.`)) {
			return
		}
		var row []text
		for start := 0; start <= len(line) && len(row) < sqlColumns; {
			n := bytes.IndexByte(line[start:], '\t')
			if n < 0 {
				n = len(line) - start
			}
			row = append(row, text{start: i + start, end: i + start + n})
			start += n + 1
		}
		f.row(table, columns, secret, row, i)
		i = stop + 1
	}
}

// row files the secrets of one row. Hashes of passwords are none: they open nothing.
func (f *finder) row(table string, columns []string, secret []int, row []text, from int) {
	for _, n := range secret {
		if n >= len(row) || row[n].end <= row[n].start {
			continue
		}
		t := row[n]
		v := unquoteSQL(f.data[t.start:t.end])
		what, prefix := secretKey(columns[n])
		r := random(v)
		if len(v) < 6 || len(v) > 4096 || strings.HasPrefix(v, "$") || strings.EqualFold(v, "null") || reference(v) || format(v) || r == 0 || what == isKey && r == 1 && len(v) < 16 || hash(v, what) {
			continue
		}
		h := Hit{
			Rule: "structured-sql-value", Description: "Value in a dump of a database, in a column whose name says that it is a secret.", Provider: providerOfName(prefix), Kind: "database_value", Part: "token",
			Secret: v, Start: t.start, End: t.end, From: max(from, t.start-reach), To: t.end, Confidence: Medium, Parts: map[string]string{"table": table, "column": columns[n]},
		}
		if what == isPassword {
			h.Part = "password"
		}
		for i, c := range columns {
			if i >= len(row) || row[i].end-row[i].start > 200 {
				continue
			}
			switch snake(c) {
			case "email", "user", "username", "user_name", "login":
				h.Parts["user"] = unquoteSQL(f.data[row[i].start:row[i].end])
			}
		}
		f.add(h)
	}
}

// hash reports a value under the name of a password that is one of a password.
func hash(v string, what int) bool {
	if what != isPassword {
		return false
	}
	if len(v) == 32 || len(v) == 40 || len(v) == 64 || len(v) == 128 {
		return strings.Trim(strings.ToLower(v), "0123456789abcdef") == ""
	}
	return strings.HasPrefix(v, "pbkdf2_") || strings.HasPrefix(v, "{") || strings.HasPrefix(v, "*") && len(v) == 41 || strings.HasPrefix(v, "bcrypt") || strings.HasPrefix(v, "argon2") || strings.HasPrefix(v, "scrypt") || strings.HasPrefix(v, "sha")
}

func secretColumns(columns []string) (out []int) {
	for i, c := range columns {
		what, _ := secretKey(c)
		if what != notSecret {
			out = append(out, i)
		}
	}
	return out
}

// columnsOf gives the columns of a table in the order of its CREATE TABLE.
func (f *finder) columnsOf(table string) []string {
	if f.tables != nil {
		return f.tables[table]
	}
	f.tables = map[string][]string{}
	const create = "create table"
	for at := 0; len(f.tables) < most; {
		n := indexFold(f.data[at:], create)
		if n < 0 {
			break
		}
		at += n + len(create)
		s := sqlReader{d: f.data, i: at, end: min(len(f.data), at+1<<20)}
		s.space()
		if hasFold(s.d[s.i:s.end], "if not exists") {
			s.i += len("if not exists")
		}
		name := s.name()
		s.space()
		if name == "" || !s.take('(') {
			continue
		}
		f.tables[name] = s.definitions()
		at = s.i
	}
	return f.tables[table]
}

// sqlReader reads the parts of statements that dumps are made of.
type sqlReader struct {
	d      []byte
	i, end int
}

func (s *sqlReader) space() {
	for s.i < s.end && s.d[s.i] <= ' ' {
		s.i++
	}
}

func (s *sqlReader) take(c byte) bool {
	if s.i < s.end && s.d[s.i] == c {
		s.i++
		return true
	}
	return false
}

// name reads a name of a table or column, quoted or not, without its schema.
func (s *sqlReader) name() string {
	for {
		s.space()
		start := s.i
		var out string
		if s.i < s.end && strings.IndexByte("`\"[", s.d[s.i]) >= 0 {
			q := s.d[s.i]
			if q == '[' {
				q = ']'
			}
			n := bytes.IndexByte(s.d[s.i+1:min(s.end, s.i+130)], q)
			if n <= 0 {
				return ""
			}
			out = string(s.d[s.i+1 : s.i+1+n])
			s.i += n + 2
		} else {
			for s.i < s.end && s.i-start < 128 && (word(s.d[s.i]) || s.d[s.i] == '$') {
				s.i++
			}
			out = string(s.d[start:s.i])
		}
		if s.take('.') {
			continue
		}
		return out
	}
}

// names reads names up to the closing parenthesis.
func (s *sqlReader) names() (out []string) {
	for len(out) < sqlColumns {
		n := s.name()
		if n == "" {
			return nil
		}
		out = append(out, n)
		s.space()
		switch {
		case s.take(','):
		case s.take(')'):
			return out
		default:
			return nil
		}
	}
	return nil
}

// definitions reads the columns of CREATE TABLE.
func (s *sqlReader) definitions() (out []string) {
	for len(out) < sqlColumns {
		n := s.name()
		if n == "" {
			return out
		}
		switch strings.ToLower(n) {
		case "primary", "unique", "key", "constraint", "index", "foreign", "check", "fulltext", "spatial":
			return out // what follows are no columns
		}
		out = append(out, n)
		depth := 0
		for s.i < s.end && (depth > 0 || s.d[s.i] != ',' && s.d[s.i] != ')') {
			switch s.d[s.i] {
			case '(':
				depth++
			case ')':
				depth--
			case '\'':
				_, ok := s.quoted()
				if !ok {
					return out
				}
				continue
			}
			s.i++
		}
		if !s.take(',') {
			return out
		}
	}
	return out
}

// row reads the values of one row, behind its opening parenthesis. Each is where it
// stands, without its quotes.
func (s *sqlReader) row() (out []text, ok bool) {
	for len(out) < sqlColumns {
		s.space()
		if s.i < s.end && (s.d[s.i] == 'N' || s.d[s.i] == 'E' || s.d[s.i] == '_') && s.i+1 < s.end && s.d[s.i+1] == '\'' {
			s.i++ // N'national', E'with escapes'
		}
		if s.i >= s.end {
			return nil, false
		}
		if s.d[s.i] == '\'' {
			t, ok := s.quoted()
			if !ok {
				return nil, false
			}
			out = append(out, t)
		} else {
			start, depth := s.i, 0
			for s.i < s.end && (depth > 0 || s.d[s.i] != ',' && s.d[s.i] != ')') {
				switch s.d[s.i] {
				case '(':
					depth++
				case ')':
					depth--
				case '\'':
					_, ok := s.quoted()
					if !ok {
						return nil, false
					}
					continue
				}
				s.i++
			}
			out = append(out, text{start: start, end: start}) // no string: a number, NULL, a call
		}
		for s.i < s.end && s.d[s.i] != ',' && s.d[s.i] != ')' { // 'x'::text
			s.i++
		}
		switch {
		case s.take(','):
		case s.take(')'):
			return out, true
		default:
			return nil, false
		}
	}
	return nil, false
}

// quoted reads a string, in which ” and \' are quotes.
func (s *sqlReader) quoted() (text, bool) {
	start := s.i + 1
	for i := start; i < s.end; i++ {
		switch s.d[i] {
		case '\\':
			i++
		case '\'':
			if i+1 < s.end && s.d[i+1] == '\'' {
				i++
				continue
			}
			s.i = i + 1
			return text{start: start, end: i}, true
		}
	}
	return text{}, false
}

func unquoteSQL(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 && bytes.IndexByte(b, '\'') < 0 {
		return string(b)
	}
	return strings.NewReplacer(`''`, `'`, `\'`, `'`, `\"`, `"`, `\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t").Replace(string(b))
}
