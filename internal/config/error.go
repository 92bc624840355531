package config

import (
	"errors"
	"fmt"
	"strings"

	"stanch/internal/lazyregexp"
)

// Error is one thing that is wrong with a configuration. The command line prints
// Error() after "error:" and Hint after "hint:".
type Error struct {
	File    string // the configuration file; "" when it is about no file
	Line    int    // 1-based; 0 when there is no place
	Column  int    // 1-based, in characters
	Field   string // "policy.rules[0].mode"; "" for a syntax error
	Msg     string // what is wrong
	Excerpt string // the line and a caret under the column; "" when there is no place
	Hint    string // what to do about it
	Err     error  // the cause, where there is one
}

// Error gives file:line:column, the field, what is wrong, and the excerpt.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Excerpt != "" {
		b.WriteString("\n")
		b.WriteString(e.Excerpt)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errors are all the problems of one file, in the order of their lines. errors.As
// to a *[Error] finds the first.
type Errors []*Error

// Error joins the problems, one after the other.
func (es Errors) Error() string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Error()
	}
	return strings.Join(out, "\n")
}

// Unwrap gives the problems.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// Problems lists every [Error] in err, so that the command line can print each
// with its hint. An error of another kind gives nil.
func Problems(err error) []*Error {
	var es Errors
	if errors.As(err, &es) {
		return es
	}
	var e *Error
	if errors.As(err, &e) {
		return []*Error{e}
	}
	return nil
}

// maxExcerpt bounds a line of an excerpt, in characters.
const maxExcerpt = 120

// keyLike is any run that could be a secret someone wrote into the file.
var keyLike = lazyregexp.New(`[A-Za-z0-9+/_=~.-]{20,}`)

// secretName matches keys whose value is not shown in an excerpt.
var secretName = lazyregexp.New(`(?i)(secret|token|password|passwd|credential|database|private_key|access_key|external_id)`)

// excerpt shows a line of the file and a caret under the column (1-based, in
// characters). With hide set, or where a key's name or a value's shape suggests
// a secret, the value is masked. Control characters are made visible: the excerpt
// goes to a terminal.
func excerpt(src string, line, column int, hide bool) string {
	lines := strings.Split(src, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	text := []rune(strings.TrimRight(lines[line-1], "\r"))
	for i, r := range text {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || (r >= 0x200b && r <= 0x206f) || r == 0xfeff || r == 0xfffd {
			text[i] = '?'
			if r == '\t' {
				text[i] = ' '
			}
		}
	}
	s := string(text)
	key, value, found := strings.Cut(s, ":")
	switch {
	case hide && !found:
		s = strings.Repeat("*", len(text))
	case found && strings.TrimSpace(value) != "" && (hide || secretName().MatchString(key)):
		s = key + ": ***"
	default:
		s = keyLike().ReplaceAllStringFunc(s, func(m string) string {
			if strings.ContainsAny(m, "0123456789") && !strings.HasPrefix(m, "arn") {
				return strings.Repeat("*", len(m))
			}
			return m
		})
	}
	shown := []rune(s)
	column = max(1, min(column, len(shown)+1))
	if len(shown) > maxExcerpt {
		start := max(0, min(column-maxExcerpt/2, len(shown)-maxExcerpt))
		shown, column = shown[start:start+maxExcerpt], column-start
	}
	prefix := fmt.Sprintf("%4d | ", line)
	return prefix + string(shown) + "\n" + strings.Repeat(" ", len(prefix)+column-1) + "^"
}
