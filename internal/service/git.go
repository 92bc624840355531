package service

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
)

// gitVersion asks the git binary for its version and refuses one that is too old
// for partial fetches in an emptied environment.
func gitVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "git", "version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New("git does not run")
	}
	v := strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 2 {
		return "", errors.New("git tells no version")
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err1 != nil || err2 != nil || major < 2 || major == 2 && minor < 36 {
		return "", errors.New("git " + v + " is too old")
	}
	return v, nil
}
