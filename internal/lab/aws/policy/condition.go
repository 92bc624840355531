package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// condition is one operator on one key. A key that is absent fails a positive
// operator, satisfies a negated one, and satisfies any with IfExists.
type condition struct {
	key      string
	values   []string
	test     func(want, have string) bool
	negated  bool
	ifExists bool
	null     bool
	each     quantifier
}

type quantifier int

const (
	single quantifier = iota
	forAnyValue
	forAllValues
)

var operators = map[string]func(want, have string) bool{
	"StringEquals":             func(w, h string) bool { return unliteral(w) == h },
	"StringEqualsIgnoreCase":   func(w, h string) bool { return strings.EqualFold(unliteral(w), h) },
	"StringLike":               glob,
	"ArnEquals":                matchARN,
	"ArnLike":                  matchARN,
	"Bool":                     strings.EqualFold,
	"NumericEquals":            numeric(func(h, w float64) bool { return h == w }),
	"NumericLessThan":          numeric(func(h, w float64) bool { return h < w }),
	"NumericLessThanEquals":    numeric(func(h, w float64) bool { return h <= w }),
	"NumericGreaterThan":       numeric(func(h, w float64) bool { return h > w }),
	"NumericGreaterThanEquals": numeric(func(h, w float64) bool { return h >= w }),
	"DateEquals":               date(func(h, w time.Time) bool { return h.Equal(w) }),
	"DateLessThan":             date(func(h, w time.Time) bool { return h.Before(w) }),
	"DateLessThanEquals":       date(func(h, w time.Time) bool { return !h.After(w) }),
	"DateGreaterThan":          date(func(h, w time.Time) bool { return h.After(w) }),
	"DateGreaterThanEquals":    date(func(h, w time.Time) bool { return !h.Before(w) }),
	"IpAddress":                inNetwork,
}

var negations = map[string]string{
	"StringNotEquals":           "StringEquals",
	"StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
	"StringNotLike":             "StringLike",
	"ArnNotEquals":              "ArnEquals",
	"ArnNotLike":                "ArnLike",
	"NumericNotEquals":          "NumericEquals",
	"DateNotEquals":             "DateEquals",
	"NotIpAddress":              "IpAddress",
}

func newCondition(op, key string, values []string) (condition, error) {
	c := condition{key: strings.ToLower(key), values: values}
	name := op
	switch {
	case strings.HasPrefix(name, "ForAnyValue:"):
		c.each, name = forAnyValue, strings.TrimPrefix(name, "ForAnyValue:")
	case strings.HasPrefix(name, "ForAllValues:"):
		c.each, name = forAllValues, strings.TrimPrefix(name, "ForAllValues:")
	}
	if name == "Null" {
		c.null = true
		return c, nil
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
		c.ifExists, name = true, rest
	}
	if positive, ok := negations[name]; ok {
		c.negated, name = true, positive
	}
	test, ok := operators[name]
	if !ok {
		return c, fmt.Errorf("unknown condition operator %q", op)
	}
	if !strings.Contains(key, ":") {
		return c, fmt.Errorf("condition key %q names no service", key)
	}
	if strings.HasPrefix(name, "Date") {
		for _, v := range values {
			_, ok := parseDate(v)
			if !ok {
				return c, fmt.Errorf("condition value %q is no date", v)
			}
		}
	}
	c.test = test
	return c, nil
}

func (c condition) holds(d *Document, ctx map[string][]string) bool {
	have, present := ctx[c.key]
	present = present && len(have) > 0
	if c.null {
		for _, v := range c.values {
			if strings.EqualFold(v, "true") != present {
				return true
			}
		}
		return false
	}
	if !present {
		return c.ifExists || c.each == forAllValues || (c.negated && c.each == single)
	}
	switch c.each {
	case forAllValues:
		for _, h := range have {
			if !c.one(d, ctx, h) {
				return false
			}
		}
		return true
	default:
		for _, h := range have {
			if c.one(d, ctx, h) {
				return true
			}
		}
		return false
	}
}

// one compares one value of the request with all of the policy's: for a positive
// operator any may match, for a negated one none.
func (c condition) one(d *Document, ctx map[string][]string, have string) bool {
	for _, want := range c.values {
		if d.variables {
			var ok bool
			want, ok = expand(want, ctx)
			if !ok {
				continue
			}
		}
		if c.test(want, have) {
			return !c.negated
		}
	}
	return c.negated
}

func unliteral(s string) string {
	return strings.Map(literal, s)
}

func numeric(compare func(have, want float64) bool) func(string, string) bool {
	return func(want, have string) bool {
		w, err := strconv.ParseFloat(want, 64)
		if err != nil {
			return false
		}
		h, err := strconv.ParseFloat(have, 64)
		return err == nil && compare(h, w)
	}
}

func date(compare func(have, want time.Time) bool) func(string, string) bool {
	return func(want, have string) bool {
		w, ok := parseDate(want)
		if !ok {
			return false
		}
		h, ok := parseDate(have)
		return ok && compare(h, w)
	}
}

// parseDate reads what AWS reads: ISO 8601 down to a day, or seconds of the epoch.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		t, err := time.Parse(layout, s)
		if err == nil {
			return t, true
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(n, 0), true
}

func inNetwork(want, have string) bool {
	address, err := netip.ParseAddr(have)
	if err != nil {
		return false
	}
	network, err := netip.ParsePrefix(want)
	if err != nil {
		one, err := netip.ParseAddr(want)
		return err == nil && one == address
	}
	return network.Contains(address)
}
