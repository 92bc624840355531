package main

import (
	"encoding/json"
	"fmt"
	goruntime "runtime"

	"stanch/internal/version"
)

type versionCmd struct {
	Format string `enum:"text,json" default:"text" help:"Output: text or json."`
}

func (c *versionCmd) Run(rt *runtime) error {
	if c.Format == "json" {
		return json.NewEncoder(rt.stdout).Encode(map[string]string{
			"version": version.Version(), "go": goruntime.Version(), "os": goruntime.GOOS, "arch": goruntime.GOARCH,
		})
	}
	_, err := fmt.Fprintf(rt.stdout, "stanch %s %s %s/%s\n", version.Version(), goruntime.Version(), goruntime.GOOS, goruntime.GOARCH)
	return err
}
