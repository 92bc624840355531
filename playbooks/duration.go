package playbooks

import (
	"fmt"
	"time"
)

// Duration is a time.Duration written as in Go ("15s").
type Duration time.Duration

// Std gives the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String writes it as in Go.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes it as in Go, for YAML and JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration as in Go; a number without a unit is refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("read duration %.40q: want a number with a unit, such as 15s", b)
	}
	*d = Duration(v)
	return nil
}
