package secret

// DisableCoreDumps does nothing: Windows writes no core files of its own accord.
func DisableCoreDumps() error { return nil }
