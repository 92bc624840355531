package format

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxBaseline bounds a report that is read back.
const maxBaseline = 1 << 30

// known is a finding in any of the formats that can be read back.
type known struct {
	Fingerprint string `json:"fingerprint"` // also gitleaks' Fingerprint: names match in any case
}

// ReadBaseline reads the fingerprints out of an earlier report in the formats
// json, jsonl or gitleaks.
func ReadBaseline(r io.Reader) (map[string]bool, error) {
	in := bufio.NewReader(io.LimitReader(r, maxBaseline))
	out := map[string]bool{}
	d := json.NewDecoder(in)
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read baseline: not a report in JSON: %w", err)
		}
		var all []known
		if bytes.HasPrefix(raw, []byte("[")) {
			err = json.Unmarshal(raw, &all)
		} else {
			var doc struct {
				known
				Findings *[]known `json:"findings"`
			}
			err = json.Unmarshal(raw, &doc)
			switch {
			case doc.Findings != nil:
				all = *doc.Findings
			case doc.Fingerprint == "" && err == nil:
				err = errors.New("no findings in it")
			default:
				all = []known{doc.known}
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read baseline: not a report of stanch or gitleaks: %w", err)
		}
		for _, k := range all {
			if k.Fingerprint != "" {
				out[k.Fingerprint] = true
			}
		}
	}
}
