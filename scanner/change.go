package scanner

import "context"

// ScanChange looks at a unit that replaces old and gives what is new in it: a
// finding whose rule and secret stand more often in the unit than in old. Where
// a part of a multi-part credential is new, its other parts in the same unit are
// given too, so that they can be joined.
func (e *Engine) ScanChange(ctx context.Context, u Unit, old []byte) []Finding {
	found := e.Scan(ctx, u)
	if len(old) == 0 || len(found) == 0 {
		return found
	}
	return fresh(found, e.Scan(ctx, Unit{Data: old, Place: u.Place}))
}

// fresh gives what of found stands there more often than in the old findings.
func fresh(found, old []Finding) []Finding {
	type key struct{ rule, secret string }
	before := map[key]int{}
	for _, f := range old {
		before[key{f.Rule, f.Secret.Reveal()}]++
	}
	if len(before) == 0 {
		return found
	}
	isNew := make([]bool, len(found))
	parts := map[string]bool{} // providers with a new part
	for i, f := range found {
		k := key{f.Rule, f.Secret.Reveal()}
		before[k]--
		isNew[i] = before[k] < 0
		if isNew[i] && f.Part != "" && f.Part != PartToken {
			parts[f.Provider] = true
		}
	}
	out := found[:0]
	for i, f := range found {
		if isNew[i] || f.Part != "" && f.Part != PartToken && parts[f.Provider] {
			out = append(out, f)
		}
	}
	return out
}
