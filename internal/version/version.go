// Package version knows which build this is.
package version

import "runtime/debug"

// version is set by the linker (-X stanch/internal/version.version=v1.2.3).
var version = ""

// Version is the release, the module version of `go install`, or "devel" with
// the commit when the build recorded one.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
