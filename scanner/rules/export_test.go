package rules

// DocsKnown is how many providers have an address.
func DocsKnown() int { return len(docs()) }
