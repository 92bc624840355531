package policy

import "strings"

// Stand-ins for a literal star and question mark that came out of a variable.
const (
	literalStar = '\ue000'
	literalMark = '\ue001'
)

// glob matches * (any run) and ? (any one character).
func glob(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	star, mark := -1, 0
	i, j := 0, 0
	for j < len(t) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || literal(p[i]) == t[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

func literal(r rune) rune {
	switch r {
	case literalStar:
		return '*'
	case literalMark:
		return '?'
	}
	return r
}

// matchARN matches segment by segment: a star does not cross a colon of the
// first five segments.
func matchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	pp, aa := strings.SplitN(pattern, ":", 6), strings.SplitN(arn, ":", 6)
	if len(pp) < 6 || len(aa) < 6 {
		return glob(pattern, arn)
	}
	for i := range pp {
		if !glob(pp[i], aa[i]) {
			return false
		}
	}
	return true
}

// expand replaces policy variables; ok is false when one has no value.
func expand(s string, ctx map[string][]string) (string, bool) {
	var b strings.Builder
	for {
		start := strings.Index(s, "${")
		if start < 0 {
			b.WriteString(s)
			return b.String(), true
		}
		end := strings.IndexByte(s[start:], '}')
		if end < 0 {
			b.WriteString(s)
			return b.String(), true
		}
		b.WriteString(s[:start])
		name := s[start+2 : start+end]
		s = s[start+end+1:]
		var value string
		switch name {
		case "*", "?", "$":
			value = name
		default:
			key, fallback, hasFallback := strings.Cut(name, ",")
			values := ctx[strings.ToLower(strings.TrimSpace(key))]
			switch {
			case len(values) == 1:
				value = values[0]
			case hasFallback:
				value = strings.Trim(strings.TrimSpace(fallback), "'")
			default:
				return "", false
			}
		}
		b.WriteString(strings.NewReplacer("*", string(literalStar), "?", string(literalMark)).Replace(value))
	}
}
