package rules

import (
	_ "embed" // of docs.json
	"encoding/json"
	"sync"
)

//go:embed docs.json
var docsJSON []byte

var docs = sync.OnceValue(func() map[string]string {
	var m map[string]string
	err := json.Unmarshal(docsJSON, &m)
	if err != nil {
		panic("docs.json: " + err.Error()) // embedded; a test reads it
	}
	return m
})

// Docs is the address of the page on which a provider says what its credentials
// look like or how they are revoked; "" where we know of none.
func Docs(provider string) string { return docs()[provider] }
